"""Plays one night: each act against the running engine, then every invariant, then a line of the record.

A night is a chain of lives: a sanctuary starts, reads its journal, is acted upon, and dies, by a crash that cancels
everything wherever it is, by a power cut inside an append, or at the end. The journal and the people live on.
"""

import hashlib
import itertools
import logging
import math
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from harmonia.domain.advance import AdvanceWish, Since, WishKind
from harmonia.domain.apart import Apart
from harmonia.domain.consent import ALL_PURPOSES, Purpose
from harmonia.domain.events import CircleCreated, ConsentGranted, ConsentWithdrawn, Event
from harmonia.domain.offers import OfferedGrant, OfferKind
from harmonia.domain.states import TRANSITIONS, CircleState
from harmonia.domain.weaving import CircleMode
from harmonia.engine import offering
from harmonia.engine.conductor import Conductor
from harmonia.engine.doors import Doors
from harmonia.engine.person import Person
from harmonia.engine.plane import number_of
from harmonia.engine.sanctuary import Sanctuary
from harmonia.errors import HarmoniaError, MutedNotRecorded, StaleGrant, StorageError
from harmonia.journal import OutcomeUnknown
from harmonia.journal.erasures import Erasures
from harmonia.journal.keys import KeyStore
from harmonia.journal.memory import MemoryJournal
from harmonia.journal.opening import erase_again, open_sealed
from harmonia.journal.sealing import SealedJournal
from harmonia.testing import fake_scores, virtual_node_clock
from sim.nights.calendar import EVENINGS, Calendar
from sim.nights.door import Door
from sim.nights.house import Disk, JudgedPlane, PowerCut
from sim.nights.leaving import Leaving
from sim.nights.offices import Offices
from sim.nights.oracle import Account, Broken, Where, Yes
from sim.nights.plot import Act
from sim.nights.topic import MissingAct, Play

VOICE = frozenset({Purpose.VOICE})
_HOUR_NS = 3600 * 1_000_000_000
_ANYTHING = object()
_CRASH_STEPS = 8
_FULL_S_MAX = 900.0
"""No disk stays full for longer: what is refused is tried again every second."""


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
            night = Night(seed, clock, Path(folder), on_disk)
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

    def __init__(self, seed: int, clock: MockClock, folder: Path, on_disk: bool) -> None:
        self._played = Played(seed)
        self._trail = hashlib.sha256()
        self._folder = folder
        self._stores = None if on_disk else (MemoryJournal(), _keys_in_memory(folder), Erasures(folder / "erasures"))
        """What outlives every sanctuary of a night without files."""
        self.disk = Disk(self._open_journal(), self._written, self._troubled)
        self._troubled_s = -math.inf
        self._shift_ns = 0
        self._clock_ns = virtual_node_clock(clock)
        self._clock_id = 1
        self.new_clock_came = False
        self._wall_ns = EVENINGS[seed % len(EVENINGS)] - self._clock_ns()
        self._wall_set_s = self._born_s = -math.inf
        self._entropy = itertools.count(1)
        self._ids = itertools.count(1)
        self.accounts: dict[str, Account] = {}
        self.numbers: dict[int, Account] = {}
        self._joined_ns: dict[str, int] = {}
        self.said_nos: list[tuple[str, bytes, frozenset[Purpose]]] = []
        self.wishes: list[tuple[Account, AdvanceWish, int]] = []
        self.circles: list[str] = []
        """Those that a sanctuary knows."""
        self._written_circles: list[str] = []
        self._seen_circles: dict[str, tuple[CircleState, int | None, tuple[object, ...]]] = {}
        self._sanctuary: Sanctuary | None = None
        self._plane: JudgedPlane | None = None
        self._next = 0
        self.forgotten: dict[str, Account] = {}
        self.topics = Door(self), Leaving(self), Calendar(self), Offices(self)
        self._acts: dict[str, Play] = {name: partial(play, self) for name, play in _ACTS.items()}
        for topic in self.topics:
            self._acts.update(topic.acts())

    @property
    def sanctuary(self) -> Sanctuary:
        """The one of this life."""
        assert self._sanctuary is not None, "acts come once a sanctuary is there"
        return self._sanctuary

    @property
    def plane(self) -> JudgedPlane:
        """Its data plane."""
        assert self._plane is not None, "acts come once a sanctuary is there"
        return self._plane

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
                    self.fail(str(error) if isinstance(error, Broken) else f"the engine raised {error!r}")
            except (PowerCut, Restart):
                pass
            except AssertionError as error:
                self.fail(str(error))
            self._played.lives += 1
            self._power_up()

    async def _live(self, acts: Sequence[Act]) -> None:
        self._plane = JudgedPlane(self.now_ns, self._judge)
        self.plane.clock_id = self._clock_id
        self._sanctuary = Sanctuary(self.disk, self._plane, self.draw, fake_scores, self.utc_ns)
        for account in self.accounts.values():
            account.reread(self.disk.events(f"person/{account.sleeper_id}"))
        async with trio.open_nursery() as nursery:
            await nursery.start(self.sanctuary.run)
            await wait_all_tasks_blocked()
            self._born_s = trio.current_time()
            self._settle_all()
            for topic in self.topics:
                topic.started()
            self.new_clock_came = False
            self._check()
            while self._next < len(acts) and not self._played.broken:
                act = acts[self._next]
                self._next += 1
                self._played.at = self._next
                if act.after_s > _FULL_S_MAX:
                    self.disk.full_in = None
                await trio.sleep(act.after_s)
                await self._perform(act)
                await wait_all_tasks_blocked()
                self._check()
            nursery.cancel_scope.cancel()

    def _power_up(self) -> None:
        if self._stores is None:
            self.disk.inner.close()
        self.disk.inner = self._open_journal()
        self.disk.restarted()
        for account in list(self.accounts.values()):
            if account.forgetting and self.disk.inner.forgot(f"person/{account.sleeper_id}"):
                self.forget(account)

    def _open_journal(self) -> SealedJournal:
        """As a daemon opens its own: first whoever was forgotten is erased again."""
        if self._stores is None:
            return open_sealed(self._folder)
        journal, keys, erasures = self._stores
        erase_again(keys, erasures)
        return SealedJournal(journal, keys, erasures)

    def _troubled(self) -> None:
        """The disk refuses, or does not say."""
        self._troubled_s = trio.current_time()

    @property
    def calm_s(self) -> float:
        """For how long the disk has done what it is for, and nobody has set the clock on the wall."""
        return 0.0 if self.disk.full else trio.current_time() - max(self._troubled_s, self._wall_set_s)

    @property
    def life_s(self) -> float:
        """How long this sanctuary has been open."""
        return trio.current_time() - self._born_s

    def utc_ns(self) -> int:
        """The time of day, on whichever clock node time is."""
        return self._clock_ns() + self._wall_ns

    def set_wall(self, by_ns: int) -> None:
        """Somebody sets the clock on the wall."""
        self._wall_ns += by_ns
        self._wall_set_s = trio.current_time()

    def forget(self, account: Account) -> None:
        """Nothing is known of them any more, and nothing is asked about them."""
        del self.accounts[account.sleeper_id]
        del self.numbers[number_of(account.sleeper_id)]
        self.wishes = [entry for entry in self.wishes if entry[0] is not account]
        self.forgotten[account.sleeper_id] = account

    def now_ns(self) -> int:
        """Node time, on whichever clock it is now."""
        return self._clock_ns() + self._shift_ns

    def draw(self, count: int) -> bytes:
        """Never the same twice, and the same in every run."""
        return hashlib.sha256(next(self._entropy).to_bytes(8, "big")).digest()[:count].ljust(count, b"\0")

    def new_id(self) -> bytes:
        return next(self._ids).to_bytes(16, "big")

    def result(self) -> Played:
        """What was seen, once the night is over."""
        for record in self.disk.inner.read(None):
            self._trail.update(record.stream.encode() + record.event_id + record.data)
        self._played.digest = self._trail.hexdigest()
        self.disk.inner.close()
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
            self.account(withdrawal.person.sleeper.sleeper_id).hushed = False
            return withdrawn

        async def grants(person: Person, purpose: Purpose, **said: Any) -> Any:
            account = self.account(person.sleeper.sleeper_id)
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

    def account(self, sleeper_id: str) -> Account:
        """Somebody's, forgotten or not."""
        return self.accounts.get(sleeper_id) or self.forgotten[sleeper_id]

    def _hears_no(self, sleeper_id: str, purposes: frozenset[Purpose], event_id: bytes) -> None:
        account = self.account(sleeper_id)
        if account.forgetting and purposes == ALL_PURPOSES:  # the house says it, for them
            self.said_nos.append((sleeper_id, event_id, purposes))
        wished = any(one is account and wish.event_id(sleeper_id) == event_id for one, wish, _ in self.wishes) or any(
            said[:2] == (sleeper_id, event_id) for said in self.said_nos
        )
        if not wished:
            self.fail(f"{sleeper_id}: a withdrawal that nobody said")
        account.hushed = True
        account.hears_no(sorted(purposes), event_id)

    def _written(self, stream: str, event: Event) -> None:
        """The disk has taken an event."""
        kind, _, identity = stream.partition("/")
        if isinstance(event, CircleCreated):
            self._written_circles.append(identity)
        self.require(identity not in self.forgotten, identity, "was forgotten, and something is written of them")
        if kind == "person":
            self._written_of(identity, event)
        for topic in self.topics:
            topic.written(stream, event)

    def _written_of(self, identity: str, event: Event) -> None:
        if identity not in self.accounts:
            account = Account(identity, event.circle_id)  # type: ignore[union-attr]
            account.settings = dict(_UNTOUCHED)
            self.accounts[identity] = self.numbers[number_of(identity)] = account
            self._joined_ns[identity] = event.t_ns
            return
        account = self.accounts[identity]
        match event:
            case ConsentGranted():
                account.on_disk.add(event.event_id)
            case ConsentWithdrawn():
                known = all(event.event_id in account.nos[purpose] for purpose in event.purposes)
                if not known and not self.new_clock_came:
                    self.fail(f"{identity}: a withdrawal is written that nobody said")
                account.hears_no(event.purposes, event.event_id)
                account.writes_no(event.purposes, event.event_id)
            case _:
                pass

    # --- invariants -------------------------------------------------------------------------------------------------

    def fail(self, message: str) -> None:
        if not self._played.broken:
            self._played.broken = message

    def require(self, holds: bool, *words: object) -> None:
        self._played.checked += 1
        if not holds:
            self.fail(" ".join(str(word) for word in words))

    def where(self, account: Account) -> Where:
        circle = self.sanctuary.conductor(account.circle_id).circle
        return Where(circle.state, circle.silence is not None, self.now_ns())

    def _judge(self, what: str, number: int) -> None:
        """The data plane was told something about somebody."""
        plane, account = self._plane, self.numbers.get(number)
        if plane is None or account is None or number not in plane.sleepers:
            return
        held, where = plane.sleepers[number], self.where(account)
        if what == "plan":
            in_use = {
                Purpose.VOICE: plane.audible(number),
                Purpose.HEARING: held.hearing_planned,
                Purpose.RECORDING: held.recording_planned,
            }
            read = self._sanctuary is not None and self._sanctuary._doors is not None
            self.require(read or not plane.audible(number), account.sleeper_id, "sounds before the journal is read")
        elif what == "coupling":
            in_use = {Purpose.PULL: held.coupling > 0}
        else:
            heard = self.numbers.get(held.ear[0]) if held.ear else None
            if heard is not None:
                self.require(heard.may(Purpose.MONITORING, where), heard.sleeper_id, "is listened in to without a yes")
            return
        for purpose, used in in_use.items():
            self.require(not used or account.may(purpose, where), account.sleeper_id, purpose.name, "in use after a no")

    def _check(self) -> None:
        """Everything, after an event."""
        now_ns, sounding = self.now_ns(), []
        known = [one.circle.circle_id for one in self.sanctuary.circles("", 1000)[0]]
        self.require(set(self.circles) <= set(known) <= set(self._written_circles), "circles come and go:", known)
        self.circles = [one for one in self._written_circles if one in known]
        for account in self.accounts.values():
            person = self.sanctuary.roll.by_id(account.sleeper_id)
            if person is None:
                # Whose coming in was written and not acknowledged is there after the next start.
                self.require(not account.known, account.sleeper_id, "is unknown")
                continue
            account.known = True
            self._check_consent(account, person, now_ns)
            self._check_settings(account, person)
            for what in ("plan", "coupling", "ear"):
                self._judge(what, person.number)
            if self.plane.audible(person.number):
                sounding.append(account.sleeper_id)
        for account, wish, set_ns in self.wishes:
            self._check_wish(account, wish, set_ns, now_ns)
        for circle_id in self.circles:
            self._check_circle(self.sanctuary.conductor(circle_id))
        for topic in self.topics:
            topic.check()
        line = f"{self._next} {now_ns} {self.plane.gate_epoch} {' '.join(sounding)}\n"
        self._trail.update(line.encode())

    def _check_consent(self, account: Account, person: Person, now_ns: int) -> None:
        where, sure = self.where(account), [purpose for purpose in Purpose if purpose not in account.doubt]
        for purpose in sure:
            allowed = person.sleeper.allows(purpose, person.conductor.circle, now_ns)
            said = account.level(purpose, where)
            self.require(allowed == said, account.sleeper_id, purpose.name, f"is {allowed}, and was said to be {said}")
        if Purpose.VOICE in sure and person.on_plane and not account.hushed and account.level(Purpose.VOICE, where) > 0:
            self.require(self.plane.audible(person.number), account.sleeper_id, "said yes and stays mute")
        for event_id, purposes in account.promised:
            known = all(event_id in account.nos[purpose] for purpose in purposes)
            self.require(known, account.sleeper_id, "has lost an acknowledged withdrawal")

    def _check_settings(self, account: Account, person: Person) -> None:
        for name, value in account.settings.items():
            now, maybe = _setting(person, name), account.maybe.get(name, [])
            self.require(
                now == value or now in maybe or _ANYTHING in maybe,
                account.sleeper_id,
                f"has {name} {now}, and set {value}",
            )

    def _check_wish(self, account: Account, wish: AdvanceWish, set_ns: int, now_ns: int) -> None:
        if account.left:
            return
        due_ns = min(self._joined_ns[account.sleeper_id], set_ns) + (wish.after_ns or 0)
        state = self.where(account).state
        awake = state in (CircleState.WAKING, CircleState.DIALOGUE)
        if awake if wish.kind is WishKind.WAKING else due_ns < now_ns and state is not CircleState.CLOSED:
            event_id = wish.event_id(account.sleeper_id)
            acted = all(event_id in account.nos[purpose] for purpose in wish.purposes)
            self.require(acted, account.sleeper_id, "wished to stop by now, and was not stopped")

    def _check_circle(self, conductor: Conductor) -> None:
        circle = conductor.circle
        state, epoch_ns = circle.state, circle.epoch_ns
        segments: tuple[object, ...] = circle.rhythm.segments if circle.rhythm else ()
        before = self._seen_circles.get(circle.circle_id)
        if before is not None:
            self.require(state in _follows(before[0]), circle.circle_id, f"went from {before[0].name} to {state.name}")
            self.require(before[1] in (None, epoch_ns), circle.circle_id, "begins at another time than it did")
            self.require(segments[: len(before[2])] == before[2], circle.circle_id, "has another past than it had")
        self._seen_circles[circle.circle_id] = (state, epoch_ns, segments)

    def _settle_all(self) -> None:
        """What was asked for and not acknowledged before a crash is there now or is not: from here on it stays so."""
        for account in self.accounts.values():
            person = self.sanctuary.roll.by_id(account.sleeper_id)
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
            await self._acts[act.kind](act)
            outcome = "done"
        except HarmoniaError as error:
            outcome = type(error).__name__
        self._trail.update(f"{act.kind} {outcome}\n".encode())

    async def _at_once(self, parts: Sequence[Act]) -> None:
        async with trio.open_nursery() as nursery:
            for part in parts:
                nursery.start_soon(self._perform, part)

    def person(self, act: Act) -> tuple[Account, Person]:
        """Whom an act is of."""
        there = [one for one in self.accounts.values() if self.sanctuary.roll.by_id(one.sleeper_id) is not None]
        if not there:
            raise MissingAct("nobody has joined yet")
        account = there[act.who % len(there)]
        person = self.sanctuary.roll.by_id(account.sleeper_id)
        assert person is not None
        return account, person

    def conductor(self, act: Act) -> Conductor:
        if not self.circles:
            raise MissingAct("there is no circle yet")
        return self.sanctuary.conductor(self.circles[act.who % len(self.circles)])

    async def grant(self, act: Act) -> None:
        account, person = self.person(act)
        purpose = (Purpose.VOICE, Purpose.HEARING, *Purpose)[act.a % (2 + len(Purpose))]
        nos = account.nos[purpose]
        names = account.newest(purpose)
        if act.b % 8 == 0:  # stale, or never heard of
            names = (b"", nos[0] if nos else b"", self.new_id())[act.b // 8 % 3]
        until_ns = self.now_ns() + (1, 60, 3600)[act.b // 64 % 3] * 1_000_000_000 if act.b % 5 == 0 else None
        yes = Yes(self.new_id(), purpose, names, (1.0, 0.5, 0.0)[(act.b % 11 == 0) + (act.b % 77 == 0)], until_ns)
        await self.say_yes(account, person, yes)

    async def say_yes(self, account: Account, person: Person, yes: Yes) -> None:
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
        account, person = self.person(act)
        some = frozenset(purpose for purpose in Purpose if act.a >> purpose & 1)
        purposes = (VOICE, some or VOICE, ALL_PURPOSES, frozenset({Purpose.HEARING}))[act.b % 4]
        self.say_no(account, person, purposes, self.new_id(), by_datagram=act.b & 8 > 0)

    def say_no(
        self, account: Account, person: Person, purposes: frozenset[Purpose], event_id: bytes, *, by_datagram: bool
    ) -> None:
        """One device says no, through one of the doors, and notes if it was told that this is on disk."""
        self.said_nos.append((account.sleeper_id, event_id, purposes))
        if not by_datagram:
            self.sanctuary.doors.withdraw(person, purposes, event_id)
        else:
            mask = sum(1 << purpose for purpose in purposes)
            if person.number not in self.plane.sleepers:
                return  # no session: nothing that this door could open with
            if Purpose.VOICE in purposes:
                account.hears_no([Purpose.VOICE], event_id)
            self.plane.hear(person.number, event_id, mask)
            self.sanctuary.doors.hear(person.number, event_id, mask)
            held = self.plane.sleepers.get(person.number)
            if held is None or event_id not in held.acknowledged:
                return
        account.promised.append((event_id, tuple(sorted(purposes))))

    async def repeat(self, act: Act) -> None:
        account, person = self.person(act)
        own = [said for said in self.said_nos if said[0] == account.sleeper_id]
        if own:
            _, event_id, purposes = own[act.a % len(own)]
            self.say_no(account, person, purposes, event_id, by_datagram=act.b & 1 > 0)

    async def toggle(self, act: Act) -> None:
        account, person = self.person(act)
        for _ in range(1 + act.a % 4):
            await self.say_yes(
                account, person, Yes(self.new_id(), Purpose.VOICE, account.newest(Purpose.VOICE), 1.0, None)
            )
            self.say_no(account, person, VOICE, self.new_id(), by_datagram=act.b & 1 > 0)
        if act.b & 2:
            await self.say_yes(
                account, person, Yes(self.new_id(), Purpose.VOICE, account.newest(Purpose.VOICE), 1.0, None)
            )

    async def fire_alarm(self, act: Act) -> None:
        for number, account in enumerate(list(self.accounts.values())):
            person = self.sanctuary.roll.by_id(account.sleeper_id)
            if person is None:
                continue
            try:
                self.say_no(account, person, ALL_PURPOSES, self.new_id(), by_datagram=(act.a >> number % 16) & 1 > 0)
            except MutedNotRecorded:
                continue  # muted all the same

    async def two_doors(self, act: Act) -> None:
        """Two devices say no in the same instant: heard in one order, written in the other."""
        account, person = self.person(act)
        ids = self.new_id(), self.new_id()
        self.said_nos += [(account.sleeper_id, event_id, VOICE) for event_id in ids]
        muted = [self.sanctuary.doors.mute(person, VOICE, event_id) for event_id in ids]
        for withdrawal in reversed(muted):
            self.sanctuary.doors.record(withdrawal)
            account.promised.append((withdrawal.unrecorded.event.event_id, (Purpose.VOICE,)))

    async def set(
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
        account, person = self.person(act)
        turns = act.a / 65536 - 0.5
        await self.set(account, person, "offset", round(turns * 2**64), lambda: person.set_offset(turns))

    async def hearing(self, act: Act) -> None:
        account, person = self.person(act)
        levels = (act.a % 5 * 1.0, act.b % 3 / 2)  # 4 is the loudest
        await self.set(account, person, "hearing", levels, lambda: person.set_hearing(*levels))

    async def voice(self, act: Act) -> None:
        account, person = self.person(act)
        voice = (complex(act.a % 3, 1), complex(0, act.b % 3))
        await self.set(account, person, "voice", voice, lambda: person.set_voice(voice))

    async def coupling(self, act: Act) -> None:
        account, person = self.person(act)
        bond = (act.a % 3 / 2, act.b % 3 / 2)
        await self.set(account, person, "coupling", bond, lambda: person.set_coupling(*bond))

    async def apart(self, act: Act) -> None:
        account, person = self.person(act)
        other = list(self.accounts)[act.a % len(self.accounts)]
        directions = (act.b & 1 > 0, act.b & 2 > 0)
        await self.set(
            account,
            person,
            f"apart {other}",
            directions,
            lambda: person.keep_apart(other, directions[0], directions[1]),
        )

    async def own_rhythm(self, act: Act) -> None:
        account, person = self.person(act)
        hertz = None if act.a % 3 == 0 else 0.1 + act.a % 50 / 10
        await self.set(account, person, "own rhythm", _ANYTHING, lambda: person.set_own_rhythm(hertz, 0))

    async def wish(self, act: Act) -> None:
        account, person = self.person(act)
        purposes = (Purpose.VOICE, Purpose.HEARING)[: 1 + act.b % 2]
        if act.a % 3 == 0:
            wish = AdvanceWish(self.new_id(), WishKind.WAKING, purposes)
        else:
            after_ns = (60, 3600, 3 * 3600)[act.a % 3] * 1_000_000_000
            wish = AdvanceWish(self.new_id(), WishKind.AFTER, purposes, after_ns, Since.JOINING)
        made_ns = self.now_ns()
        self.said_nos.append((account.sleeper_id, wish.event_id(account.sleeper_id), frozenset(purposes)))
        await person.add_wish(wish)
        self.wishes.append((account, wish, made_ns))

    async def unwish(self, act: Act) -> None:
        account, person = self.person(act)
        own = [entry for entry in self.wishes if entry[0] is account]
        if own:
            entry = own[act.a % len(own)]
            self.wishes.remove(entry)  # also if the disk does not say whether it is gone
            await person.remove_wish(entry[1].wish_id)

    async def answer(self, act: Act) -> None:
        account, person = self.person(act)
        offers, now_ns = person.conductor.circle.offers, self.now_ns()
        if not offers:
            return
        offer, event_id = offers[act.a % len(offers)], self.new_id()
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

    async def watch(self, act: Act) -> None:
        _, person = self.person(act)
        if act.a % 3 and person.present:
            person.watched(1)
        elif person.watchers:
            person.watched(-1)

    async def listen(self, act: Act) -> None:
        (_, person), (_, listener) = self.person(act), self.person(act._replace(who=act.a))
        person.admit(listener)

    async def see(self, act: Act) -> None:
        _, person = self.person(act)
        person.saw(list(person.listeners))

    async def dismiss(self, act: Act) -> None:
        _, person = self.person(act)
        for one in list(person.listeners.values()):
            person.dismiss(one.listener)

    async def advance(self, act: Act) -> None:
        conductor = self.conductor(act)
        allowed = sorted(TRANSITIONS[conductor.circle.state] - {CircleState.CLOSED})
        to = CircleState.CLOSED if act.a % 9 == 0 or not allowed else allowed[act.b % len(allowed)]
        await conductor.advance(to)

    async def lead(self, act: Act) -> None:
        await self.conductor(act).lead(0.5 + act.a % 100 / 10, act.b % 3 * 1_000_000_000)

    async def mode(self, act: Act) -> None:
        await self.conductor(act).weave(list(CircleMode)[act.a % len(CircleMode)], None)

    async def pattern(self, act: Act) -> None:
        await self.conductor(act).offer([act.a / 65536, act.b / 65536])

    async def offer(self, act: Act) -> None:
        kind = (OfferKind.CONSENT, OfferKind.RULING)[act.a % 2]
        grants = (OfferedGrant(Purpose.VOICE), OfferedGrant(Purpose.MONITORING))[: 1 + act.b % 2]
        await self.conductor(act).make_offer(kind, "that everybody sound", None, grants)

    async def disk_full(self, act: Act) -> None:
        self.disk.full_in = act.a % 3

    async def disk_free(self, _act: Act) -> None:
        self.disk.full_in = None

    async def unknown(self, act: Act) -> None:
        self.disk.unknown, self.disk.unknown_in = 1 + act.a % 4, act.b % 4

    async def crash(self, act: Act) -> None:
        """The process ends while things happen, so many steps after they began."""
        async with trio.open_nursery() as nursery:
            for part in act.parts:
                nursery.start_soon(self._perform, part)
            for _ in range(act.a % _CRASH_STEPS):
                await trio.lowlevel.checkpoint()
            raise Restart

    async def power_cut(self, act: Act) -> None:
        self.disk.cut_in, self.disk.cut_after = act.a % 4, act.b & 1 > 0

    async def new_clock(self, act: Act) -> None:
        """The machine comes up with another clock, which may be behind."""
        self._clock_id += 1
        self.new_clock_came = True
        self._shift_ns += (act.a - 32768) * 1_000_000_000
        raise Restart

    async def rest(self, _act: Act) -> None:
        """Time passes."""

    async def sleep_long(self, _act: Act) -> None:
        """Much time passes."""

    async def storm(self, act: Act) -> None:
        await self._at_once(act.parts)


_ACTS: dict[str, Callable[[Night, Act], Awaitable[None]]] = {
    name.replace("_", "-"): getattr(Night, name)
    for name in (
        *("grant", "withdraw", "repeat", "toggle", "fire_alarm", "two_doors"),
        *("offset", "hearing", "voice", "coupling", "apart", "own_rhythm", "wish", "unwish", "answer"),
        *("watch", "listen", "see", "dismiss", "advance", "lead", "mode", "pattern", "offer"),
        *("disk_full", "disk_free", "unknown", "crash", "power_cut", "new_clock", "rest", "sleep_long", "storm"),
    )
}

_UNTOUCHED = {
    "offset": 0,
    "hearing": (1.0, 1.0),
    "voice": (),
    "coupling": (0.0, 1.0),
    "away": False,
    "awake": False,
    "schedule offset": 0,
}


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
        case ["away"]:
            return sleeper.away
        case ["awake"]:
            return sleeper.awake
        case ["schedule", "offset"]:
            return sleeper.schedule_offset_ns
        case ["own", "rhythm"]:
            return sleeper.own_rhythm
        case _:
            wish = next((one for one in sleeper.apart if one.other_id == name.split()[1]), Apart(""))
            return wish.unheard, wish.unhearing


def _keys_in_memory(folder: Path) -> KeyStore:
    return KeyStore(folder / "keys.sqlite", vfs="memdb")


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
