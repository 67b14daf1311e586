"""Plays one night: each act against the running engine, then every invariant, then a line of the record.

A night is a chain of lives: a sanctuary starts, reads its journal, is acted upon, and dies, by a crash that cancels
everything wherever it is, by a power cut inside an append, or at the end. The journal and the people live on.
"""

import hashlib
import itertools
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from harmonia.domain.advance import AdvanceWish, Since, WishKind
from harmonia.domain.apart import Apart
from harmonia.domain.consent import ALL_PURPOSES, Purpose
from harmonia.domain.events import ConsentGranted, ConsentWithdrawn, Event
from harmonia.domain.offers import OfferedGrant, OfferKind
from harmonia.domain.states import TRANSITIONS, CircleState
from harmonia.domain.weaving import CircleMode, Weaving
from harmonia.engine import offering
from harmonia.engine.conductor import Conductor
from harmonia.engine.doors import Doors
from harmonia.engine.person import Person
from harmonia.engine.plane import number_of
from harmonia.engine.sanctuary import Sanctuary
from harmonia.errors import HarmoniaError, MutedNotRecorded, StaleGrant, StorageError
from harmonia.journal import OutcomeUnknown
from harmonia.journal.memory import MemoryJournal
from harmonia.journal.sqlite import SqliteJournal
from harmonia.testing import fake_scores, virtual_node_clock
from sim.nights.house import Disk, JudgedPlane, PowerCut
from sim.nights.oracle import Account, Broken, Where, Yes
from sim.nights.plot import Act

CAPACITY = 24
VOICE = frozenset({Purpose.VOICE})
_HOUR_NS = 3600 * 1_000_000_000
_ANYTHING = object()
_CRASH_STEPS = 8


class Restart(BaseException):
    """The sanctuary's process ends, wherever it is."""


@dataclass
class Played:
    """What a night came to."""

    seed: int
    events: int = 0
    """Acts that were played, those of storms one by one."""
    checked: int = 0
    """Invariants that were looked at."""
    lives: int = 1
    digest: str = ""
    broken: str = ""
    """The first invariant that did not hold; empty: all did."""
    at: int = 0
    """After so many acts."""


def play(seed: int, acts: Sequence[Act], *, on_disk: bool = False) -> Played:
    """Plays ``acts`` in virtual time. ``on_disk``: with the SQLite journal in place of the one in memory."""
    clock = MockClock(autojump_threshold=0)
    logging.disable(logging.CRITICAL)  # disks fail all night
    try:
        with TemporaryDirectory(prefix="harmonia-night-") as folder, _in_order(seed):
            night = Night(seed, clock, Path(folder) / "journal.sqlite" if on_disk else None)
            with night.watched():
                trio.run(night.run, acts, clock=clock)
            return night.result()
    finally:
        logging.disable(logging.NOTSET)


@contextmanager
def _in_order(seed: int) -> Iterator[None]:
    """Tasks that could run run in an order of the seed's, not of chance."""
    from trio._core import _run

    with mock.patch.object(_run, "_ALLOW_DETERMINISTIC_SCHEDULING", True):
        _run._r.seed(seed)
        yield


class Night:
    """One night's people, houses and oracle."""

    def __init__(self, seed: int, clock: MockClock, path: Path | None) -> None:
        self._played = Played(seed)
        self._trail = hashlib.sha256()
        self._path = path
        self._disk = Disk(self._open_journal(), self._written)
        self._shift_ns = 0
        self._clock_ns = virtual_node_clock(clock)
        self._clock_id = 1
        self._new_clock = False
        self._entropy = itertools.count(1)
        self._ids = itertools.count(1)
        self._accounts: dict[str, Account] = {}
        self._numbers: dict[int, Account] = {}
        self._joined_ns: dict[str, int] = {}
        self._said_nos: list[tuple[str, bytes, frozenset[Purpose]]] = []
        self._wishes: list[tuple[Account, AdvanceWish, int]] = []
        self._circles: list[str] = []
        self._seen_circles: dict[str, tuple[CircleState, int | None, tuple[object, ...]]] = {}
        self._sanctuary: Sanctuary | None = None
        self._plane: JudgedPlane | None = None
        self._next = 0

    # --- lives ------------------------------------------------------------------------------------------------------

    async def run(self, acts: Sequence[Act]) -> None:
        """Plays all acts, in as many lives as it takes, or until an invariant does not hold."""
        over = False
        while not over and not self._played.broken:
            over = self._next == len(acts)  # then once more, for what is left when everybody has gone
            try:
                await self._live(acts)
            except BaseExceptionGroup as group:
                _, rest = group.split((PowerCut, Restart))
                if rest is not None:
                    error = _innermost(rest)
                    self._fail(str(error) if isinstance(error, Broken) else f"the engine raised {error!r}")
            except (PowerCut, Restart):
                pass
            except AssertionError as error:
                self._fail(str(error))
            self._played.lives += 1
            self._power_up()

    async def _live(self, acts: Sequence[Act]) -> None:
        self._plane = JudgedPlane(self.now_ns, self._judge)
        self._plane.clock_id = self._clock_id
        self._sanctuary = Sanctuary(self._disk, self._plane, self._draw, fake_scores)
        for account in self._accounts.values():
            account.reread(self._disk.events(f"person/{account.sleeper_id}"))
        async with trio.open_nursery() as nursery:
            await nursery.start(self._sanctuary.run)
            await wait_all_tasks_blocked()
            self._new_clock = False
            self._settle_all()
            self._check()
            while self._next < len(acts) and not self._played.broken:
                act = acts[self._next]
                self._next += 1
                self._played.at = self._next
                await trio.sleep(act.after_s)
                await self._perform(act)
                await wait_all_tasks_blocked()
                self._check()
            nursery.cancel_scope.cancel()

    def _power_up(self) -> None:
        if self._path is not None:
            self._disk.inner.close()
            self._disk.inner = self._open_journal()
        self._disk.restarted()

    def _open_journal(self) -> Any:
        return MemoryJournal() if self._path is None else SqliteJournal(self._path)

    def now_ns(self) -> int:
        """Node time, on whichever clock it is now."""
        return self._clock_ns() + self._shift_ns

    def _draw(self, count: int) -> bytes:
        """Never the same twice, and the same in every run."""
        return hashlib.sha256(next(self._entropy).to_bytes(8, "big")).digest()[:count].ljust(count, b"\0")

    def _id(self) -> bytes:
        return next(self._ids).to_bytes(16, "big")

    def result(self) -> Played:
        """What was seen, once the night is over."""
        for record in self._disk.inner.read(None):
            self._trail.update(record.stream.encode() + record.event_id + record.data)
        self._played.digest = self._trail.hexdigest()
        self._disk.inner.close()
        return self._played

    # --- what the oracle is told ------------------------------------------------------------------------------------

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Every word that reaches the engine reaches the oracle first, whoever says it."""
        mute, record, grant = Doors.mute, Doors.record, Person.grant

        def hears(doors: Doors, person: Person, purposes: frozenset[Purpose], event_id: bytes) -> Any:
            self._hears_no(person.sleeper.sleeper_id, purposes, event_id)
            return mute(doors, person, purposes, event_id)

        def records(doors: Doors, withdrawal: Any) -> Any:
            withdrawn = record(doors, withdrawal)
            self._accounts[withdrawal.person.sleeper.sleeper_id].hushed = False
            return withdrawn

        async def grants(person: Person, purpose: Purpose, **said: Any) -> Any:
            account = self._accounts[person.sleeper.sleeper_id]
            given = (yes for yes in account.said if yes.event_id == said["event_id"] and yes.purpose is purpose)
            yes = next(given, None)
            if yes is None:
                raise Broken(f"{account.sleeper_id}: a grant of {purpose.name} is recorded that nobody gave")
            try:
                consent = await grant(person, purpose, **said)
            except StaleGrant:
                if yes.names == account.newest(purpose):
                    raise Broken(f"{account.sleeper_id}: a grant that names the newest withdrawal is refused") from None
                raise
            except BaseException as error:
                if isinstance(error, OutcomeUnknown) or not isinstance(error, HarmoniaError):
                    account.doubt.add(purpose)
                raise
            account.accepted(yes)
            return consent

        with (
            mock.patch.object(Doors, "mute", hears),
            mock.patch.object(Doors, "record", records),
            mock.patch.object(Person, "grant", grants),
        ):
            yield

    def _hears_no(self, sleeper_id: str, purposes: frozenset[Purpose], event_id: bytes) -> None:
        account = self._accounts[sleeper_id]
        wished = any(one is account and wish.event_id(sleeper_id) == event_id for one, wish, _ in self._wishes) or any(
            said[:2] == (sleeper_id, event_id) for said in self._said_nos
        )
        if not wished:
            self._fail(f"{sleeper_id}: a withdrawal that nobody said")
        account.hushed = True
        account.hears_no(sorted(purposes), event_id)

    def _written(self, stream: str, event: Event) -> None:
        """The disk has taken an event."""
        kind, _, identity = stream.partition("/")
        if kind != "person":
            return
        if identity not in self._accounts:
            account = Account(identity, event.circle_id)  # type: ignore[union-attr]
            account.settings = dict(_UNTOUCHED)
            self._accounts[identity] = self._numbers[number_of(identity)] = account
            self._joined_ns[identity] = event.t_ns
            return
        account = self._accounts[identity]
        match event:
            case ConsentGranted():
                account.on_disk.add(event.event_id)
            case ConsentWithdrawn():
                known = all(event.event_id in account.nos[purpose] for purpose in event.purposes)
                if not known and not self._new_clock:
                    self._fail(f"{identity}: a withdrawal is written that nobody said")
                account.hears_no(event.purposes, event.event_id)
                account.writes_no(event.purposes, event.event_id)
            case _:
                pass

    # --- invariants -------------------------------------------------------------------------------------------------

    def _fail(self, message: str) -> None:
        if not self._played.broken:
            self._played.broken = message

    def _require(self, holds: bool, *words: object) -> None:
        self._played.checked += 1
        if not holds:
            self._fail(" ".join(str(word) for word in words))

    def _where(self, account: Account) -> Where:
        assert self._sanctuary is not None
        circle = self._sanctuary.conductor(account.circle_id).circle
        return Where(circle.state, circle.silence is not None, self.now_ns())

    def _judge(self, what: str, number: int) -> None:
        """The data plane was told something about somebody."""
        plane, account = self._plane, self._numbers.get(number)
        if plane is None or account is None or number not in plane.sleepers:
            return
        held, where = plane.sleepers[number], self._where(account)
        if what == "plan":
            in_use = {
                Purpose.VOICE: plane.audible(number),
                Purpose.HEARING: held.hearing_planned,
                Purpose.RECORDING: held.recording_planned,
            }
            read = self._sanctuary is not None and self._sanctuary._doors is not None
            self._require(read or not plane.audible(number), account.sleeper_id, "sounds before the journal is read")
        elif what == "coupling":
            in_use = {Purpose.PULL: held.coupling > 0}
        else:
            heard = self._numbers.get(held.ear[0]) if held.ear else None
            if heard is not None:
                self._require(heard.may(Purpose.MONITORING, where), heard.sleeper_id, "is listened in to without a yes")
            return
        for purpose, used in in_use.items():
            self._require(
                not used or account.may(purpose, where), account.sleeper_id, purpose.name, "in use after a no"
            )

    def _check(self) -> None:
        """Everything, after an event."""
        assert self._sanctuary is not None
        assert self._plane is not None
        now_ns, sounding = self.now_ns(), []
        for account in self._accounts.values():
            person = self._sanctuary.roll.by_id(account.sleeper_id)
            if person is None:
                self._fail(f"{account.sleeper_id} is forgotten")
                continue
            self._check_consent(account, person, now_ns)
            self._check_settings(account, person)
            for what in ("plan", "coupling", "ear"):
                self._judge(what, person.number)
            if self._plane.audible(person.number):
                sounding.append(account.sleeper_id)
        for account, wish, set_ns in self._wishes:
            self._check_wish(account, wish, set_ns, now_ns)
        for circle_id in self._circles:
            self._check_circle(self._sanctuary.conductor(circle_id))
        line = f"{self._next} {now_ns} {self._plane.gate_epoch} {' '.join(sounding)}\n"
        self._trail.update(line.encode())

    def _check_consent(self, account: Account, person: Person, now_ns: int) -> None:
        assert self._plane is not None
        where, sure = self._where(account), [purpose for purpose in Purpose if purpose not in account.doubt]
        for purpose in sure:
            allowed = person.sleeper.allows(purpose, person.conductor.circle, now_ns)
            said = account.level(purpose, where)
            self._require(allowed == said, account.sleeper_id, purpose.name, f"is {allowed}, and was said to be {said}")
        if Purpose.VOICE in sure and person.on_plane and not account.hushed and account.level(Purpose.VOICE, where) > 0:
            self._require(self._plane.audible(person.number), account.sleeper_id, "said yes and stays mute")
        for event_id, purposes in account.promised:
            known = all(event_id in account.nos[purpose] for purpose in purposes)
            self._require(known, account.sleeper_id, "has lost an acknowledged withdrawal")

    def _check_settings(self, account: Account, person: Person) -> None:
        for name, value in account.settings.items():
            now, maybe = _setting(person, name), account.maybe.get(name, [])
            self._require(
                now == value or now in maybe or _ANYTHING in maybe,
                account.sleeper_id,
                f"has {name} {now}, and set {value}",
            )

    def _check_wish(self, account: Account, wish: AdvanceWish, set_ns: int, now_ns: int) -> None:
        if account.left:
            return
        due_ns = min(self._joined_ns[account.sleeper_id], set_ns) + (wish.after_ns or 0)
        state = self._where(account).state
        awake = state in (CircleState.WAKING, CircleState.DIALOGUE)
        if awake if wish.kind is WishKind.WAKING else due_ns < now_ns and state is not CircleState.CLOSED:
            event_id = wish.event_id(account.sleeper_id)
            acted = all(event_id in account.nos[purpose] for purpose in wish.purposes)
            self._require(acted, account.sleeper_id, "wished to stop by now, and was not stopped")

    def _check_circle(self, conductor: Conductor) -> None:
        circle = conductor.circle
        state, epoch_ns = circle.state, circle.epoch_ns
        segments: tuple[object, ...] = circle.rhythm.segments if circle.rhythm else ()
        before = self._seen_circles.get(circle.circle_id)
        if before is not None:
            self._require(state in _follows(before[0]), circle.circle_id, f"went from {before[0].name} to {state.name}")
            self._require(before[1] in (None, epoch_ns), circle.circle_id, "begins at another time than it did")
            self._require(segments[: len(before[2])] == before[2], circle.circle_id, "has another past than it had")
        self._require(conductor.entrance.present <= circle.capacity, circle.circle_id, "is fuller than full")
        self._seen_circles[circle.circle_id] = (state, epoch_ns, segments)

    def _settle_all(self) -> None:
        """What was asked for and not acknowledged before a crash is there now or is not: from here on it stays so."""
        assert self._sanctuary is not None
        for account in self._accounts.values():
            person = self._sanctuary.roll.by_id(account.sleeper_id)
            if person is not None:
                self._check_settings(account, person)
                self._settle(account, person, list(account.settings))

    def _settle(self, account: Account, person: Person, names: Sequence[str]) -> None:
        for name in names:
            account.settings[name] = _setting(person, name)
            account.maybe.pop(name, None)

    # --- acts -------------------------------------------------------------------------------------------------------

    async def _perform(self, act: Act) -> None:
        self._played.events += 1
        try:
            await _ACTS[act.kind](self, act)
            outcome = "done"
        except HarmoniaError as error:
            outcome = type(error).__name__
        self._trail.update(f"{act.kind} {outcome}\n".encode())

    async def _at_once(self, parts: Sequence[Act]) -> None:
        async with trio.open_nursery() as nursery:
            for part in parts:
                nursery.start_soon(self._perform, part)

    def _person(self, act: Act) -> tuple[Account, Person]:
        assert self._sanctuary is not None
        if not self._accounts:
            raise MissingAct("nobody has joined yet")
        account = list(self._accounts.values())[act.who % len(self._accounts)]
        person = self._sanctuary.roll.by_id(account.sleeper_id)
        assert person is not None, f"{account.sleeper_id} is forgotten"
        return account, person

    def _conductor(self, act: Act) -> Conductor:
        assert self._sanctuary is not None
        if not self._circles:
            raise MissingAct("there is no circle yet")
        return self._sanctuary.conductor(self._circles[act.who % len(self._circles)])

    async def circle(self, act: Act) -> None:
        assert self._sanctuary is not None
        hours = (None, 1, 6, 8)[act.a % 4]
        conductor = await self._sanctuary.create_circle(
            title="Night",
            score_name="night.sbg",
            score_format="sbg",
            score_text="4",
            capacity=CAPACITY,
            gather_ns=(None, 60, 1800, 3600)[act.b % 4] and (60, 60, 1800, 3600)[act.b % 4] * 1_000_000_000,
            night_ns=hours and hours * _HOUR_NS,
            weaving=Weaving(CircleMode.WOVEN, 0.5, 0.0) if act.a & 4 else None,
        )
        self._circles.append(conductor.circle.circle_id)

    async def join(self, act: Act) -> None:
        conductor = self._conductor(act)
        (token,) = await conductor.entrance.create_tokens(1, 0)
        await conductor.entrance.join(token, self._draw(32))

    async def join_storm(self, act: Act) -> None:
        conductor, storm = self._conductor(act), 2 + act.a % 12
        tokens = await conductor.entrance.create_tokens(storm, 0)

        async def one(token: str) -> None:
            try:
                await conductor.entrance.join(token, self._draw(32))
            except HarmoniaError:
                return  # full, closed, or a disk that refuses

        async with trio.open_nursery() as nursery:
            for token in tokens:
                nursery.start_soon(one, token)

    async def grant(self, act: Act) -> None:
        account, person = self._person(act)
        purpose = (Purpose.VOICE, Purpose.HEARING, *Purpose)[act.a % (2 + len(Purpose))]
        nos = account.nos[purpose]
        names = account.newest(purpose)
        if act.b % 8 == 0:  # stale, or never heard of
            names = (b"", nos[0] if nos else b"", self._id())[act.b // 8 % 3]
        until_ns = self.now_ns() + (1, 60, 3600)[act.b // 64 % 3] * 1_000_000_000 if act.b % 5 == 0 else None
        yes = Yes(self._id(), purpose, names, (1.0, 0.5, 0.0)[(act.b % 11 == 0) + (act.b % 77 == 0)], until_ns)
        await self._say(account, person, yes)

    async def _say(self, account: Account, person: Person, yes: Yes) -> None:
        account.said.append(yes)
        await person.grant(
            yes.purpose,
            scope=yes.scope,
            level=yes.level,
            until_ns=yes.until_ns,
            supersedes=yes.names,
            event_id=yes.event_id,
        )

    async def withdraw(self, act: Act) -> None:
        account, person = self._person(act)
        some = frozenset(purpose for purpose in Purpose if act.a >> purpose & 1)
        purposes = (VOICE, some or VOICE, ALL_PURPOSES, frozenset({Purpose.HEARING}))[act.b % 4]
        self._withdraw(account, person, purposes, self._id(), by_datagram=act.b & 8 > 0)

    def _withdraw(
        self, account: Account, person: Person, purposes: frozenset[Purpose], event_id: bytes, *, by_datagram: bool
    ) -> None:
        """One device says no, through one of the doors, and notes if it was told that this is on disk."""
        assert self._sanctuary is not None
        assert self._plane is not None
        self._said_nos.append((account.sleeper_id, event_id, purposes))
        if not by_datagram:
            self._sanctuary.doors.withdraw(person, purposes, event_id)
        else:
            mask = sum(1 << purpose for purpose in purposes)
            if person.number not in self._plane.sleepers:
                return  # no session: nothing that this door could open with
            if Purpose.VOICE in purposes:
                account.hears_no([Purpose.VOICE], event_id)
            self._plane.hear(person.number, event_id, mask)
            self._sanctuary.doors.hear(person.number, event_id, mask)
            held = self._plane.sleepers.get(person.number)
            if held is None or event_id not in held.acknowledged:
                return
        account.promised.append((event_id, tuple(sorted(purposes))))

    async def repeat(self, act: Act) -> None:
        account, person = self._person(act)
        own = [said for said in self._said_nos if said[0] == account.sleeper_id]
        if own:
            _, event_id, purposes = own[act.a % len(own)]
            self._withdraw(account, person, purposes, event_id, by_datagram=act.b & 1 > 0)

    async def toggle(self, act: Act) -> None:
        account, person = self._person(act)
        for _ in range(1 + act.a % 4):
            await self._say(account, person, Yes(self._id(), Purpose.VOICE, account.newest(Purpose.VOICE), 1.0, None))
            self._withdraw(account, person, VOICE, self._id(), by_datagram=act.b & 1 > 0)
        if act.b & 2:
            await self._say(account, person, Yes(self._id(), Purpose.VOICE, account.newest(Purpose.VOICE), 1.0, None))

    async def fire_alarm(self, act: Act) -> None:
        assert self._sanctuary is not None
        for number, account in enumerate(list(self._accounts.values())):
            person = self._sanctuary.roll.by_id(account.sleeper_id)
            assert person is not None
            try:
                self._withdraw(account, person, ALL_PURPOSES, self._id(), by_datagram=(act.a >> number % 16) & 1 > 0)
            except MutedNotRecorded:
                continue  # muted all the same

    async def two_doors(self, act: Act) -> None:
        """Two devices say no in the same instant: heard in one order, written in the other."""
        assert self._sanctuary is not None
        account, person = self._person(act)
        ids = self._id(), self._id()
        self._said_nos += [(account.sleeper_id, event_id, VOICE) for event_id in ids]
        muted = [self._sanctuary.doors.mute(person, VOICE, event_id) for event_id in ids]
        for withdrawal in reversed(muted):
            self._sanctuary.doors.record(withdrawal)
            account.promised.append((withdrawal.event.event_id, (Purpose.VOICE,)))

    async def _set(
        self, account: Account, person: Person, name: str, value: object, wish: Callable[[], Awaitable[object]]
    ) -> None:
        account.settings.setdefault(name, _setting(person, name))
        asked = account.maybe.setdefault(name, [])
        asked.append(value)
        try:
            await wish()
        except StorageError:
            raise  # there or not
        except HarmoniaError:
            asked.remove(value)
            raise
        asked.remove(value)
        account.settings[name] = _setting(person, name) if value is _ANYTHING else value

    async def offset(self, act: Act) -> None:
        account, person = self._person(act)
        turns = act.a / 65536 - 0.5
        await self._set(account, person, "offset", round(turns * 2**64), lambda: person.set_offset(turns))

    async def hearing(self, act: Act) -> None:
        account, person = self._person(act)
        levels = (act.a % 5 * 1.0, act.b % 3 / 2)  # 4 is the loudest
        await self._set(account, person, "hearing", levels, lambda: person.set_hearing(*levels))

    async def voice(self, act: Act) -> None:
        account, person = self._person(act)
        voice = (complex(act.a % 3, 1), complex(0, act.b % 3))
        await self._set(account, person, "voice", voice, lambda: person.set_voice(voice))

    async def coupling(self, act: Act) -> None:
        account, person = self._person(act)
        bond = (act.a % 3 / 2, act.b % 3 / 2)
        await self._set(account, person, "coupling", bond, lambda: person.set_coupling(*bond))

    async def apart(self, act: Act) -> None:
        account, person = self._person(act)
        other = list(self._accounts)[act.a % len(self._accounts)]
        directions = (act.b & 1 > 0, act.b & 2 > 0)
        await self._set(
            account,
            person,
            f"apart {other}",
            directions,
            lambda: person.keep_apart(other, directions[0], directions[1]),
        )

    async def own_rhythm(self, act: Act) -> None:
        account, person = self._person(act)
        hertz = None if act.a % 3 == 0 else 0.1 + act.a % 50 / 10
        await self._set(account, person, "own rhythm", _ANYTHING, lambda: person.set_own_rhythm(hertz, 0))

    async def wish(self, act: Act) -> None:
        account, person = self._person(act)
        purposes = (Purpose.VOICE, Purpose.HEARING)[: 1 + act.b % 2]
        if act.a % 3 == 0:
            wish = AdvanceWish(self._id(), WishKind.WAKING, purposes)
        else:
            after_ns = (60, 3600, 3 * 3600)[act.a % 3] * 1_000_000_000
            wish = AdvanceWish(self._id(), WishKind.AFTER, purposes, after_ns, Since.JOINING)
        made_ns = self.now_ns()
        self._said_nos.append((account.sleeper_id, wish.event_id(account.sleeper_id), frozenset(purposes)))
        await person.add_wish(wish)
        self._wishes.append((account, wish, made_ns))

    async def unwish(self, act: Act) -> None:
        account, person = self._person(act)
        own = [entry for entry in self._wishes if entry[0] is account]
        if own:
            entry = own[act.a % len(own)]
            self._wishes.remove(entry)  # also if the disk does not say whether it is gone
            await person.remove_wish(entry[1].wish_id)

    async def answer(self, act: Act) -> None:
        account, person = self._person(act)
        offers, now_ns = person.conductor.circle.offers, self.now_ns()
        if not offers:
            return
        offer, event_id = offers[act.a % len(offers)], self._id()
        supersedes = {grant.purpose: account.newest(grant.purpose) for grant in offer.grants}
        accept = act.b % 4 > 0
        if accept:
            for grant in offer.grants:
                own_id = hashlib.sha256(event_id + bytes([grant.purpose])).digest()[:16]
                account.said.append(Yes(own_id, grant.purpose, supersedes[grant.purpose], grant.level, None))
        theirs = ("offset", "coupling", "own rhythm") if accept else ()
        for name in theirs:
            account.maybe.setdefault(name, []).append(_ANYTHING)
        await offering.answer(person, offer.offer_id, accept, supersedes, event_id, now_ns)
        self._settle(account, person, theirs)

    async def leave(self, act: Act) -> None:
        account, person = self._person(act)
        if act.a % 4 == 0:  # most stay
            await person.leave()
            account.left = True

    async def watch(self, act: Act) -> None:
        _, person = self._person(act)
        if act.a % 3 and person.present:
            person.watched(1)
        elif person.watchers:
            person.watched(-1)

    async def listen(self, act: Act) -> None:
        (_, person), (_, listener) = self._person(act), self._person(act._replace(who=act.a))
        person.admit(listener)

    async def see(self, act: Act) -> None:
        _, person = self._person(act)
        person.saw(list(person.listeners))

    async def dismiss(self, act: Act) -> None:
        _, person = self._person(act)
        for one in list(person.listeners.values()):
            person.dismiss(one.listener)

    async def advance(self, act: Act) -> None:
        conductor = self._conductor(act)
        allowed = sorted(TRANSITIONS[conductor.circle.state] - {CircleState.CLOSED})
        to = CircleState.CLOSED if act.a % 9 == 0 or not allowed else allowed[act.b % len(allowed)]
        await conductor.advance(to)

    async def lead(self, act: Act) -> None:
        await self._conductor(act).lead(0.5 + act.a % 100 / 10, act.b % 3 * 1_000_000_000)

    async def mode(self, act: Act) -> None:
        await self._conductor(act).weave(list(CircleMode)[act.a % len(CircleMode)], None)

    async def pattern(self, act: Act) -> None:
        await self._conductor(act).offer([act.a / 65536, act.b / 65536])

    async def offer(self, act: Act) -> None:
        kind = (OfferKind.CONSENT, OfferKind.RULING)[act.a % 2]
        grants = (OfferedGrant(Purpose.VOICE), OfferedGrant(Purpose.MONITORING))[: 1 + act.b % 2]
        await self._conductor(act).make_offer(kind, "that everybody sound", None, grants)

    async def silence(self, act: Act) -> None:
        await self._conductor(act).stewarding.silence("", act.a % 2 > 0, "host")

    async def lift(self, act: Act) -> None:
        conductor = self._conductor(act)
        silence = conductor.circle.silence
        await conductor.stewarding.lift(silence.silence_id if silence and act.b % 4 else "none", "host")

    async def help(self, act: Act) -> None:
        _, person = self._person(act)
        await person.conductor.stewarding.call(person, self._id(), "")

    async def disk_full(self, _act: Act) -> None:
        self._disk.full = True

    async def disk_free(self, _act: Act) -> None:
        self._disk.full = False

    async def unknown(self, act: Act) -> None:
        self._disk.unknown = 1 + act.a % 4

    async def crash(self, act: Act) -> None:
        """The process ends while things happen, so many steps after they began."""
        async with trio.open_nursery() as nursery:
            for part in act.parts:
                nursery.start_soon(self._perform, part)
            for _ in range(act.a % _CRASH_STEPS):
                await trio.lowlevel.checkpoint()
            raise Restart

    async def power_cut(self, act: Act) -> None:
        self._disk.cut_in, self._disk.cut_after = act.a % 4, act.b & 1 > 0

    async def new_clock(self, act: Act) -> None:
        """The machine comes up with another clock, which may be behind."""
        self._clock_id += 1
        self._new_clock = True
        self._shift_ns += (act.a - 32768) * 1_000_000_000
        raise Restart

    async def rest(self, _act: Act) -> None:
        """Time passes."""

    async def storm(self, act: Act) -> None:
        await self._at_once(act.parts)


class MissingAct(HarmoniaError):
    """Nobody is there yet for this."""


Play = Callable[[Night, Act], Awaitable[None]]

_ACTS: dict[str, Play] = {
    name.replace("_", "-"): getattr(Night, name)
    for name in (
        *("circle", "join", "join_storm", "grant", "withdraw", "repeat", "toggle", "fire_alarm", "two_doors"),
        *("offset", "hearing", "voice", "coupling", "apart", "own_rhythm", "wish", "unwish", "answer", "leave"),
        *("watch", "listen", "see", "dismiss", "advance", "lead", "mode", "pattern", "offer"),
        *("silence", "lift", "help"),
        *("disk_full", "disk_free", "unknown", "crash", "power_cut", "new_clock", "rest", "storm"),
    )
}

_UNTOUCHED = {"offset": 0, "hearing": (1.0, 1.0), "voice": (), "coupling": (0.0, 1.0)}


def _setting(person: Person, name: str) -> object:
    """What the engine has of it."""
    sleeper = person.sleeper
    match name.split():
        case ["offset"]:
            return sleeper.offset
        case ["hearing"]:
            return sleeper.hearing_level, sleeper.own_level
        case ["voice"]:
            return sleeper.voice
        case ["coupling"]:
            return sleeper.coupling, sleeper.weight
        case ["own", "rhythm"]:
            return sleeper.own_rhythm
        case _:
            wish = next((one for one in sleeper.apart if one.other_id == name.split()[1]), Apart(""))
            return wish.unheard, wish.unhearing


def _follows(state: CircleState) -> set[CircleState]:
    """Every state that may come after, soon or late, with itself."""
    found = {state}
    while more := {to for one in found for to in TRANSITIONS[one]} - found:
        found |= more
    return found


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
