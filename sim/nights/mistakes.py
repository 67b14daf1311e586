"""Known bugs, put into the real engine: what the nights are worth is whether they find them.

The first five are the model's (`rust/model/src/bugs.rs`), by the same names; the others are of what no model has:
waiting, civil time, series, roles, being forgotten. Each is a change as small as a mistake is. Nothing but the tests
and `--mistake` asks for them.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any
from unittest import mock

from harmonia.domain import schedule
from harmonia.domain import sleeper as sleepers
from harmonia.domain.circle import Circle
from harmonia.domain.consent import Grant, Purpose, Standing
from harmonia.domain.events import AwakeSet, PersonEvent, encode
from harmonia.domain.offers import OfferKind
from harmonia.domain.roles import RolePass
from harmonia.domain.series import Series
from harmonia.engine import stewarding
from harmonia.engine.desk import Roll
from harmonia.engine.doors import Doors, Withdrawal, Withdrawn
from harmonia.engine.entrance import Entrance
from harmonia.engine.person import Person
from harmonia.engine.room import Bed, troubles
from harmonia.engine.views import SleeperRow
from harmonia.journal import Position
from harmonia.testing.plane import FakeSleeper


@contextmanager
def accepting(accepts: Callable[[Standing, bytes], bool]) -> Iterator[None]:
    """Grants are also taken where ``accepts`` says so, whatever withdrawal they name."""
    granted = Standing.granted

    def lenient(standing: Standing, purpose: Purpose, grant: Grant, supersedes: bytes) -> Standing:
        return granted(standing, purpose, grant, standing.withdrawal if accepts(standing, supersedes) else supersedes)

    with mock.patch.object(Standing, "granted", lenient):
        yield


@contextmanager
def _unmute_before_reading() -> Iterator[None]:
    """A sleeper is on the data plane, and released, as soon as the journal has told of them."""
    recall = Person.recall

    def early(person: Person, sleeper: sleepers.Sleeper, position: Position) -> None:
        recall(person, sleeper, position)
        plane: Any = person._desk.plane
        if person.sleeper.consent[Purpose.VOICE].grant is not None and not person.on_plane:
            plane.circles.setdefault(person.conductor.number, person.conductor.circle.channels)
            plane.sleepers.setdefault(person.number, FakeSleeper(person.conductor.number))
            plane.set_plan(person.number, voice=True, hearing=False, recording=False)
            plane.release(person.number, b"")

    with mock.patch.object(Person, "recall", early):
        yield


@contextmanager
def _acknowledge_before_sync() -> Iterator[None]:
    """A withdrawal is acknowledged when it is handed over, and written some time later."""

    def record(doors: Doors, withdrawal: Withdrawal) -> Withdrawn:
        person, (event, key, _), gate_epoch, _ = withdrawal
        doors._desk.journal.cached.append((person.stream, key, encode(event)))  # type: ignore[attr-defined]
        return Withdrawn(sleepers.apply(person.sleeper, event).consent, gate_epoch)

    with mock.patch.object(Doors, "record", record):
        yield


@contextmanager
def _tie_to_yes() -> Iterator[None]:
    """A grant that names the withdrawal before the newest one, which it raced, is taken."""

    with accepting(lambda standing, supersedes: supersedes in (b"", *standing.withdrawals)[-2:]):
        yield


@contextmanager
def _ruling_lifts_gate() -> Iterator[None]:
    """A ruling that lies open counts without anybody's acceptance."""
    allows = sleepers.Sleeper.allows

    def ruled(sleeper: sleepers.Sleeper, purpose: Purpose, circle: Circle, t_ns: int, scope: str = "") -> float:
        rulings = (offer for offer in circle.offers if offer.kind is OfferKind.RULING)
        imposed = max(
            (grant.level for offer in rulings for grant in offer.grants if grant.purpose is purpose), default=0
        )
        return max(allows(sleeper, purpose, circle, t_ns, scope), imposed)

    with mock.patch.object(sleepers.Sleeper, "allows", ruled):
        yield


@contextmanager
def _stale_opt_out_dropped() -> Iterator[None]:
    """A withdrawal is taken for outdated where another device's came before it and stands."""
    withdrawn = Standing.withdrawn

    def fresh_only(standing: Standing, event_id: bytes) -> Standing:
        return standing if len(standing.withdrawals) % 2 else withdrawn(standing, event_id)

    with mock.patch.object(Standing, "withdrawn", fresh_only):
        yield


@contextmanager
def _put(owner: Any, name: str, mistaken: Any) -> Iterator[None]:
    with mock.patch.object(owner, name, mistaken):
        yield


def _last_in_line() -> AbstractContextManager[None]:
    """Of those who wait the last comes in first."""

    async def fill(entrance: Entrance) -> None:
        while entrance._has_room() and entrance._waiting:
            event = list(entrance._waiting.values())[-1].event
            await entrance._enter(event.token_hash, event.credential_hash, event.platform_key)

    return _put(Entrance, "fill", fill)


def _one_too_many() -> AbstractContextManager[None]:
    """There seems to be one place more than there is."""

    def has_room(entrance: Entrance) -> bool:
        circle = entrance._conductor.circle
        return circle.on_plane and entrance.present + len(entrance._coming) <= circle.capacity

    return _put(Entrance, "_has_room", has_room)


def _stays_on_roll() -> AbstractContextManager[None]:
    """Whoever is forgotten is, but by the roll."""
    return _put(Roll, "remove", lambda *_: None)


def _revoked_is_good() -> AbstractContextManager[None]:
    """A role that was revoked is not asked whether it was."""
    over = RolePass.over

    def lenient(held: RolePass, circle_open: bool, t_ns: int) -> str:
        return over(replace(held, revoked=False), circle_open, t_ns)

    return _put(RolePass, "over", lenient)


def _presence_shows_all() -> AbstractContextManager[None]:
    """A steward sees of those who grant presence what only visibility shows."""

    def bed(person: Person, row: SleeperRow, visible: bool, circle: Circle, t_ns: int) -> Bed | None:
        shown = visible or Purpose.PRESENCE in row.granted
        return Bed(person.place, row, troubles(row, circle, t_ns)) if shown else None

    return _put(stewarding, "bed", bed)


def _winter_for_ever() -> AbstractContextManager[None]:
    """A time of day is taken by the offset that its zone has on the first of the year."""
    read = schedule.utc_ns

    def utc_ns(local: datetime, zone: tzinfo) -> tuple[int, str]:
        ahead = local.replace(month=1, day=1, tzinfo=zone).utcoffset() or timedelta()
        return read(local - ahead, UTC)

    return _put(schedule, "utc_ns", utc_ns)


def _left_out_is_made() -> AbstractContextManager[None]:
    """A series makes the nights that its host left out."""
    nights = Series.nights

    def every(series: Series, zone: tzinfo, after: date | None) -> Iterator[date]:
        return nights(replace(series, excluded=()), zone, after)

    return _put(Series, "nights", every)


def _waking_resets() -> AbstractContextManager[None]:
    """Who wakes is put back onto the circle's rhythm."""
    changes = sleepers.changes_after

    def resetting(sleeper: sleepers.Sleeper, event: PersonEvent) -> dict[str, Any]:
        return {**changes(sleeper, event), **({"offset": 0} if isinstance(event, AwakeSet) else {})}

    return _put(sleepers, "changes_after", resetting)


MISTAKES: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "unmute-before-reading": _unmute_before_reading,
    "acknowledge-before-sync": _acknowledge_before_sync,
    "tie-to-yes": _tie_to_yes,
    "ruling-lifts-gate": _ruling_lifts_gate,
    "stale-opt-out-dropped": _stale_opt_out_dropped,
    "last-in-line-first": _last_in_line,
    "one-too-many": _one_too_many,
    "stays-on-roll": _stays_on_roll,
    "revoked-is-good": _revoked_is_good,
    "presence-shows-all": _presence_shows_all,
    "winter-for-ever": _winter_for_ever,
    "left-out-is-made": _left_out_is_made,
    "waking-resets": _waking_resets,
}
