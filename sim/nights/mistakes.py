"""Five known bugs, put into the real engine: what the nights are worth is whether they find them.

They are the model's five (`rust/model/src/bugs.rs`), by the same names, each a change as small as a mistake is. Nothing
but the tests and `--mistake` asks for them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from harmonia.domain import sleeper as sleepers
from harmonia.domain.circle import Circle
from harmonia.domain.consent import Grant, Purpose, Standing
from harmonia.domain.events import encode
from harmonia.domain.offers import OfferKind
from harmonia.engine.doors import Doors, Withdrawal, Withdrawn
from harmonia.engine.person import Person
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
        person, event, key, gate_epoch, *_ = withdrawal
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


MISTAKES = {
    "unmute-before-reading": _unmute_before_reading,
    "acknowledge-before-sync": _acknowledge_before_sync,
    "tie-to-yes": _tie_to_yes,
    "ruling-lifts-gate": _ruling_lifts_gate,
    "stale-opt-out-dropped": _stale_opt_out_dropped,
}
