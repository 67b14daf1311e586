"""One sleeper in the engine: their newest state, what of it is recorded, and what the data plane may do with it.

A person's own events are written one after the other under a lock. Withdrawals are not: they come through their own
doors (see :mod:`harmonia.engine.doors`), from other threads, at any time. That is sound because withdrawals commute
with everything but grants, and a grant is decided where every no in force is on disk, and names the position that it
has seen: if a withdrawal slipped in between, the journal refuses the grant, and the person's state is read again before
deciding anew. `rust/model/src/person/` walks every order of these steps.

A withdrawal is in force when :meth:`Person.narrow` returns, also while the engine's thread is busy with something else:
what follows from a person's newest state reaches the data plane under one lock, held for microseconds.
"""

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from itertools import takewhile
from typing import TYPE_CHECKING, NamedTuple

import trio

from harmonia.domain import sleeper as sleepers
from harmonia.domain.advance import WISHES_MAX, AdvanceWish, StandingWish, find, parse_wish
from harmonia.domain.apart import Apart, about, check_room, parse_other, replaced
from harmonia.domain.circle import LEAD_NS, RAMP_NS_DEFAULT, closed_words, require_rhythm
from harmonia.domain.consent import Consent, Grant, Purpose, parse_event_id, parse_level, parse_scope
from harmonia.domain.edges import FADE_NS, Edges, parse_fade, parse_schedule_offset, still_there
from harmonia.domain.events import (
    ApartKept,
    AskingEvent,
    AwakeSet,
    ConsentGranted,
    ConsentWithdrawn,
    CouplingSet,
    HearingSet,
    OffsetSet,
    PersonEvent,
    RhythmOwned,
    ScheduleOffsetSet,
    SleeperCameBack,
    SleeperLeft,
    SleeperWentAway,
    UsageNoted,
    VoiceSet,
    WishMade,
    WishRemoved,
    decode,
)
from harmonia.domain.rhythm import Rhythm, offset_from_turns
from harmonia.domain.sleeper import Sleeper, parse_hearing, parse_voice
from harmonia.domain.usage import Use
from harmonia.domain.weaving import parse_coupling
from harmonia.engine import listening
from harmonia.engine.desk import Desk, person_stream
from harmonia.engine.listening import Listening
from harmonia.engine.plane import number_of
from harmonia.engine.signal import Signal
from harmonia.errors import BadInput, CredentialEnded, NotFound, NotNow, NotPermitted
from harmonia.journal import ANY, Position, Record, WrongExpectedRevision

if TYPE_CHECKING:
    from harmonia.engine.conductor import Conductor

_OFF_PLANE = (LookupError, ValueError, OSError)
"""What the data plane raises for somebody who is not on it (any more)."""
_ATTEMPTS = 16


class Unrecorded(NamedTuple):
    """A withdrawal in force that is not known to be on disk."""

    event: ConsentWithdrawn
    key: bytes
    """Its event id in the journal."""
    behind: Position | None
    """Where the journal stood for its person when it came into force; None: it was in force before."""

    def stale(self, position: Position) -> bool:
        """Whether what the journal has at ``position`` under its key is an earlier one.

        It is a repetition so late that all but the journal have forgotten the first. It applies again, so that it has
        to be written again, under ``key_again``, or a restart would undo it.
        """
        return self.behind is not None and position <= self.behind

    @property
    def key_again(self) -> bytes:
        """Its event id in the journal where an earlier one has its key; the same for whoever writes it."""
        return self.key if self.behind is None else self.key + self.behind.revision.to_bytes(8, "big")


class Person:
    """``sleeper`` is replaced whole, so any thread may read it, and only under the lock.

    Everything but :meth:`narrow` belongs to the engine's thread.
    """

    def __init__(self, desk: Desk, conductor: "Conductor", sleeper: Sleeper, position: Position, place: int) -> None:
        self._desk = desk
        self.conductor = conductor
        self.sleeper = sleeper
        self.number = number_of(sleeper.sleeper_id)
        self.place = place
        """In the order of joining, from 0; nobody's changes when others leave or are forgotten."""
        self.changed = Signal()
        self.on_plane = False
        self.recording = False
        """Whether their platform keeps what it plays."""
        self.watchers = 0
        """Streams by which their platform follows what happens."""
        self.listeners: dict[str, Listening] = {}
        """Who listens in to them; replaced whole, so any thread may read it."""
        self.listens_to: Person | None = None
        self._position = position
        self._unrecorded: dict[bytes, Unrecorded] = {}
        """By their keys, in the order in which they came into force."""
        self._unrecorded_apart: dict[str, Apart] = {}
        """Wishes that are not on disk: in force as far as they narrow."""
        self._unrecorded_release: int | None = None
        """Since when the rhythm follows nothing any more, node time, if the disk does not know it."""
        self._lock = trio.Lock()
        self._newest = threading.RLock()
        """Held while ``sleeper`` is replaced and while the data plane is told of it: never while anything waits."""

    @property
    def stream(self) -> str:
        return person_stream(self.sleeper.sleeper_id)

    @property
    def present(self) -> bool:
        """Whether the credential is good for more than withdrawing. Any thread."""
        return not self.sleeper.left and self.conductor.circle.open

    def take_in(self, event: PersonEvent, position: Position) -> None:
        """Takes in an event that the journal holds."""
        if isinstance(event, ConsentWithdrawn):
            for key in [key for key, heard in self._unrecorded.items() if _same(heard.event, event)]:
                self._confirm(key, position)
        self._position = max(self._position, position)
        with self._newest:
            self.sleeper = sleepers.apply(self.sleeper, event)
        if isinstance(event, RhythmOwned) and event.segments == self.sleeper.own_rhythm.segments:
            self._unrecorded_release = None
        self.pass_on(event)
        self.tell()

    def pass_on(self, event: PersonEvent) -> None:
        """Gives an event that is taken in to whom else of the engine it concerns."""
        if isinstance(event, SleeperLeft):
            self.conductor.entrance.people.pop(self.sleeper.sleeper_id, None)
            self.conductor.look_at_room()
        if isinstance(event, AskingEvent):
            self.conductor.stewarding.take_in_asking(self, event)

    def recall(self, sleeper: Sleeper, position: Position) -> None:
        """As the journal has this person, who has just been made of it: nobody sounds, watches or withdraws yet."""
        self.sleeper, self._position = sleeper, position

    async def set_offset(self, turns: float) -> int:
        """Records the sleeper's own displacement; returns it in 2⁻⁶⁴ turn."""
        offset = offset_from_turns(turns)
        await self.record(OffsetSet(offset, self._desk.now_ns()))
        return offset

    async def set_own_rhythm(
        self, frequency_hz: float | None, ramp_ns: int, from_biosignal: bool = False
    ) -> Rhythm | None:
        """Leads the sleeper's own rhythm to a frequency, or (None) back to the circle's; None if it is that already.

        Never a jump: it begins where the present one is, late enough for their platform to hear of it.
        ``from_biosignal``: it is that of a living signal. Raises NotPermitted unless biosignal and pull are allowed.
        Such a one without a frequency follows nothing any more and goes back to what was set, if it is not there yet.
        """
        if ramp_ns < 0:
            raise BadInput(f"a ramp must last 0 ns (10 s) or longer, not {ramp_ns} ns")
        circle, ramp_ns = require_rhythm(self.conductor.circle), ramp_ns or RAMP_NS_DEFAULT

        def decide() -> RhythmOwned | None:
            own, now_ns = self.sleeper.own_rhythm, self._desk.now_ns()
            if from_biosignal and frequency_hz is not None:
                return self._follow(circle, frequency_hz, ramp_ns, now_ns)
            if from_biosignal:
                led = self.sleeper.let_go(circle, ramp_ns, now_ns)
                if led == own:
                    return None
            elif frequency_hz is None:
                led = own.led_home(circle, ramp_ns, now_ns, now_ns + LEAD_NS)
            else:
                led = own.led(circle, frequency_hz, ramp_ns, now_ns, now_ns + LEAD_NS)
            return RhythmOwned(led.segments, led.home_ns, now_ns)

        await self.record(decide)
        return self.sleeper.own_rhythm.over(circle)

    def _follow(self, circle: Rhythm, frequency_hz: float, ramp_ns: int, now_ns: int) -> RhythmOwned:
        missing = self.sleeper.may_follow(self.conductor.circle, now_ns)
        if missing:
            names = " and ".join(purpose.name.lower() for purpose in missing)
            raise NotPermitted(
                f"a rhythm follows a biosignal only where biosignal and pull are both allowed; {names} is not"
            )
        led = self.sleeper.own_rhythm.following(circle, frequency_hz, ramp_ns, now_ns, now_ns + LEAD_NS)
        return RhythmOwned(led.segments, led.home_ns, now_ns, led.set_hz)

    def end_following(self) -> None:
        """Lets the rhythm go back, at once, where what it takes to follow a living signal has ended without a no."""
        with self._newest:
            own, now_ns = self.sleeper.own_rhythm, self._desk.now_ns()
            if own.set_hz is None or not self.sleeper.may_follow(self.conductor.circle, now_ns):
                return
            self.sleeper = replace(self.sleeper, own_rhythm=own.released(now_ns, now_ns + LEAD_NS))
            self._unrecorded_release = now_ns
            self.show_plan()
        self.tell()
        self.conductor.look_at_releases()

    async def record_release(self) -> None:
        """Writes that the rhythm follows nothing any more, unless the disk knows it. Raises StorageError."""
        async with self._lock:
            if self._unrecorded_release is not None and self.present:
                own = self.sleeper.own_rhythm
                event = RhythmOwned(own.segments, own.home_ns, self._unrecorded_release)
                self.take_in(event, await self._desk.append(self.stream, ANY, event))

    async def set_coupling(self, coupling: float, weight: float) -> None:
        """Records how far the circle may pull this sleeper, and what they count in its mean."""
        await self.record(CouplingSet(*parse_coupling(coupling, weight), self._desk.now_ns()))

    async def set_voice(self, voice: tuple[complex, ...]) -> None:
        await self.record(VoiceSet(parse_voice(voice, self.conductor.circle.channels), self._desk.now_ns()))

    async def set_hearing(self, hearing_level: float, own_level: float) -> None:
        await self.record(HearingSet(*parse_hearing(hearing_level, own_level), self._desk.now_ns()))

    async def keep_apart(self, other_id: str, unheard: bool | None, unhearing: bool | None) -> tuple[Apart, ...]:
        """Sets the wish about another sleeper, each direction as given or (None) as it is; returns all wishes.

        What it silences is silent at once, and stays so if the disk refuses; what it lets be heard again is, once that
        is on disk. Raises BadInput, StorageError.
        """
        self.check_present()
        parse_other(other_id, self.sleeper.sleeper_id)
        wish = about(self.sleeper.apart, other_id).changed(unheard, unhearing)
        check_room(replaced(self.sleeper.apart, wish))
        with self._newest:
            mine = self._unrecorded_apart[other_id] = wish.joined(self._unrecorded_apart.get(other_id, wish))
        self.show_plan()

        def decide() -> ApartKept:
            newest = about(self.sleeper.apart, other_id).changed(unheard, unhearing)
            check_room(replaced(self.sleeper.apart, newest))
            return ApartKept(other_id, newest.unheard, newest.unhearing, self._desk.now_ns())

        await self.record(decide)
        with self._newest:
            if self._unrecorded_apart.get(other_id) is mine:  # else another call's, which holds this one's too
                del self._unrecorded_apart[other_id]
        self.show_plan()
        return self.sleeper.apart

    def admit(self, listener: "Person") -> None:
        """Lets somebody listen in as soon as this person has been told.

        Raises BadInput, NotPermitted, NotNow, and NotFound where they are not here or hide it.
        """
        listener.check_present()
        with self._newest:
            self.listeners = listening.admitted(self, listener, self._desk.now_ns())
            listener.listens_to = self
        self.tell()

    def dismiss(self, listener: "Person") -> None:
        """That one listens in no more."""
        with self._newest:
            self._keep_listeners({name: one for name, one in self.listeners.items() if one.listener is not listener})
        self.tell()

    def watched(self, streams: int) -> None:
        """So many more streams follow this person, or fewer; without any, nobody listens in."""
        self.watchers += streams
        if not self.watchers and self.listeners:
            self.show_plan()
            self.tell()

    def saw(self, names: Iterable[str]) -> None:
        """This person's platform was sent the names of those who listen in: now they may."""
        with self._newest:
            before, self.listeners = self.listeners, listening.told(self.listeners, names)
            self.show_plan()
            self.conductor.usage.listened(self, (name for name, one in self.listeners.items() if one.flows))
        if self.listeners != before:
            self.tell()

    def _keep_listeners(self, kept: dict[str, Listening]) -> None:
        for name, one in self.listeners.items():
            if name not in kept:
                one.listener.listens_to = None
                # Also where no frame is known to go: the ear must be gone for certain.
                self._set_ear(one.listener, None)
        self.listeners = kept

    def _set_ear(self, listener: "Person", number: int | None, own_level: float = 1.0) -> None:
        """Through whose ears that one hears; who left the data plane meanwhile keeps nothing else from reaching it."""
        if listener.on_plane:
            with suppress(*_OFF_PLANE):
                self._desk.plane.set_ear(listener.number, number, own_level)

    async def add_wish(self, wish: AdvanceWish) -> tuple[StandingWish, ...]:
        """Records an advance wish; returns all of them. Raises BadInput, StorageError."""
        parse_wish(wish)

        def decide() -> WishMade | None:
            if find(self.sleeper.wishes, wish.wish_id) is not None:
                return None
            event_id = wish.event_id(self.sleeper.sleeper_id)
            if any(event_id in standing.withdrawals for standing in self.sleeper.consent.standings.values()):
                raise BadInput("a wish of this id has acted, and acts once: choose another id for it, at random")
            if len(self.sleeper.wishes) >= WISHES_MAX:
                raise BadInput(f"a sleeper has at most {WISHES_MAX} advance wishes: remove one first")
            return WishMade(wish, self._desk.now_ns())

        await self.record(decide)
        self.conductor.wishes.look()
        return self.sleeper.wishes

    async def remove_wish(self, wish_id: bytes) -> tuple[StandingWish, ...]:
        """Records that a wish is no more; returns those that are left. Raises NotFound, StorageError."""

        def decide() -> WishRemoved:
            if find(self.sleeper.wishes, wish_id) is None:
                raise NotFound(f"there is no advance wish {wish_id.hex()[:32]!r} of this sleeper: list them first")
            return WishRemoved(wish_id, self._desk.now_ns())

        await self.record(decide)
        return self.sleeper.wishes

    async def note(self, uses: tuple[Use, ...]) -> None:
        """Writes who used what. Also of somebody who has left. Raises StorageError."""
        async with self._lock:
            event = UsageNoted(uses, self._desk.now_ns())
            self.take_in(event, await self._desk.append(self.stream, ANY, event))

    async def events(self, after: Position | None, limit: int) -> list[Record]:
        """Everything that the journal has of this person, as it was written, oldest first."""
        return await self._desk.read(self.stream, after, limit)

    async def leave(self) -> None:
        """Ends the credential; the voice is out of the field when this returns."""
        await self.record(SleeperLeft(self._desk.now_ns()))
        self.take_off_plane()
        await self.conductor.usage.note([self])

    async def go_away(self) -> None:
        """Leaves for a while: off the data plane at once, whatever the disk says. Their voice is withdrawn before."""
        self.check_present()
        self.take_off_plane()
        if not self.sleeper.away:
            await self.record(SleeperWentAway(self._desk.now_ns()))

    async def come_back(self) -> None:
        """Is here again, if they had left for a while: with what they allowed, and muted until they say otherwise."""
        self.check_present()
        if self.sleeper.away:
            await self.record(SleeperCameBack(self._desk.now_ns()))
        if self.conductor.circle.on_plane and not self.on_plane:
            self.put_on_plane()
            self.conductor.look_at_edges()
            self.tell()

    async def set_awake(self, awake: bool, fade_ns: int) -> None:
        """Wakes softly, within a time (0: a minute), or goes back to sleep."""
        fade_ns = parse_fade(fade_ns) if awake else FADE_NS
        await self.record(AwakeSet(awake, fade_ns, self._desk.now_ns()))
        self.conductor.wishes.look()
        self.conductor.look_at_edges()

    async def set_schedule_offset(self, offset_ns: int) -> None:
        """Records how much later than the circle this sleeper wakes."""
        await self.record(ScheduleOffsetSet(parse_schedule_offset(offset_ns), self._desk.now_ns()))
        self.conductor.look_at_edges()

    @property
    def edges(self) -> Edges:
        """When this person comes and goes, as of now."""
        planned = self.conductor.planned() if self.sleeper.schedule_offset_ns else None
        return self.sleeper.edges(self.conductor.circle, planned)

    def show_edges(self) -> None:
        """Tells the data plane how loud their voice is, and the others are for them, while they come or go."""
        with self._newest:
            if not self.on_plane:
                return
            sleeper, circle, now_ns, edges = self.sleeper, self.conductor.circle, self._desk.now_ns(), self.edges
            voice, hearing = (sleeper.allows(one, circle, now_ns) for one in (Purpose.VOICE, Purpose.HEARING))
            voice *= edges.voice(now_ns) * still_there(self.conductor.parting, now_ns)
            mix = edges.mix(now_ns)
            self._desk.plane.set_voice(self.number, [voice * v for v in sleeper.voice_of(circle.channels)])
            self._desk.plane.set_hearing(self.number, hearing * sleeper.hearing_level * mix)
            for one in self.listeners.values():
                if one.flows:
                    self._set_ear(one.listener, self.number, sleeper.own_level * mix)

    async def grant(
        self, purpose: Purpose, *, scope: str, level: float, until_ns: int | None, supersedes: bytes, event_id: bytes
    ) -> Consent:
        """Records a grant and lets the data plane act on it; returns the consent as it then stands.

        Raises StaleGrant unless ``supersedes`` is the newest withdrawal of the purpose.
        """
        now_ns = self._desk.now_ns()
        parse_event_id(event_id)
        parse_scope(purpose, scope)
        if until_ns is not None and until_ns <= now_ns:
            raise BadInput(f"a grant must end in the future, after {now_ns} ns of node time, not at {until_ns} ns")
        event = ConsentGranted(purpose, scope, parse_level(level), until_ns, supersedes, event_id, now_ns)
        async with self._lock:
            self.check_present()
            for _ in range(_ATTEMPTS):
                seen = await self._decided_at(purpose, Grant(event_id, scope, level, until_ns), supersedes)
                try:
                    position = await self._desk.append(self.stream, seen, event, b"g" + event_id)
                    break
                except WrongExpectedRevision as overtaken:
                    last = overtaken
                    await self._catch_up()
            else:
                raise last
            # Against what was seen then: a withdrawal of something else may have been recorded behind it meanwhile.
            if position > seen or await self._stands(purpose, event_id):  # else an older grant, which has had its time
                self.take_in(event, position)
        if purpose is Purpose.VOICE:
            self._release()
        self.end_following()
        self.show_plan()
        self.conductor.look_at_ends()
        self.conductor.usage.look()
        return self.sleeper.consent

    async def _decided_at(self, purpose: Purpose, grant: Grant, supersedes: bytes) -> Position:
        """Up to where the journal says nothing against a grant, and holds every no in force: it can name any of them.

        Raises StaleGrant, StorageError.
        """
        while True:
            with self._newest:
                one = next(iter(self._unrecorded.values()), None)
                if one is None:
                    self.sleeper.consent.grant(purpose, grant, supersedes)
                    return self._position
            position = await self._desk.append(self.stream, ANY, one.event, one.key)
            if one.stale(position):
                position = await self._desk.append(self.stream, ANY, one.event, one.key_again)
            self._confirm(one.key, position)

    async def _stands(self, purpose: Purpose, event_id: bytes) -> bool:
        """Whether a grant that was written before is in force by the journal: the answer to it may have been lost."""
        held = self.sleeper.consent[purpose].grant
        if held is not None and held.event_id == event_id:
            return True
        sleeper: Sleeper | None = None
        for record in await self._desk.read(self.stream, None):
            event = decode(record.data)
            assert isinstance(event, PersonEvent), "only a person's events are in a person's stream"
            sleeper = sleepers.apply(sleeper, event)
        found = None if sleeper is None else sleeper.consent[purpose].grant
        return found is not None and found.event_id == event_id

    def narrow(self, event: ConsentWithdrawn, key: bytes) -> tuple[Unrecorded, tuple[Unrecorded, ...]]:
        """Puts a withdrawal in force, on its way to the journal. Any thread.

        Returns what has to be written, and those that have to be written before it. Of a repetition of what could not
        be written yet, that is what had to be.
        """
        with self._newest:
            consent = self.sleeper.consent
            news = any(event.event_id not in consent[purpose].withdrawals for purpose in event.purposes)
            if news:
                self._unrecorded.pop(key, None)  # it is the newest
            one = self._unrecorded.setdefault(key, Unrecorded(event, key, self._position if news else None))
            before = tuple(takewhile(lambda earlier: earlier is not one, self._unrecorded.values()))
            self.sleeper = sleepers.apply(self.sleeper, event)
            self.show_plan()
        return one, before

    def tell(self) -> None:
        """Lets all who watch look again."""
        self.changed.send()
        self.conductor.changed.send()

    def recorded(self, key: bytes, position: Position) -> None:
        """That withdrawal is on disk."""
        self._confirm(key, position)
        # A late repetition of an answered withdrawal has raised the latches again; its answer is on record.
        self._release()
        with self._newest:
            if self.on_plane:
                self._desk.plane.set_coupling(self.number, 0.0, 0.0)
            self.show_plan()

    def _confirm(self, key: bytes, position: Position) -> None:
        """That withdrawal is in the journal."""
        with self._newest:
            self._unrecorded.pop(key, None)
            self._position = max(self._position, position)

    def put_on_plane(self) -> None:
        """Makes the data plane know this person: muted, until their recorded grants say otherwise."""
        if self.sleeper.away:
            return
        with self._newest:
            self._desk.plane.add_sleeper(self.conductor.number, self.number)
            self.on_plane = True
            self.show_plan()
        self._release()

    def take_off_plane(self) -> None:
        with self._newest:
            if self.on_plane:
                self._keep_listeners({})
                self.on_plane = False
                self._desk.plane.detach(self.number)
                self._desk.plane.remove_sleeper(self.number)

    def show_plan(self) -> None:
        """Tells the data plane what this person and everybody else allow now."""
        with self._newest:  # or a plan made of an older state could arrive behind a newer one
            if not self.on_plane:
                return
            plane, sleeper, circle, now_ns = self._desk.plane, self.sleeper, self.conductor.circle, self._desk.now_ns()
            self._keep_listeners(listening.still_allowed(self, now_ns))
            voice, hearing, recording = (
                sleeper.allows(purpose, circle, now_ns)
                for purpose in (Purpose.VOICE, Purpose.HEARING, Purpose.RECORDING)
            )
            plane.set_apart(self.number, *self._apart())
            self.show_edges()
            # A recorder is given the voice as loud as everybody else: not where less than that may be recorded.
            recorded = recording > 0 and recording >= voice
            plane.set_plan(self.number, voice=voice > 0, hearing=hearing > 0, recording=recorded)
            plane.set_coupling(self.number, *sleeper.bond(circle, now_ns))
            own = None if circle.rhythm is None else sleeper.own_rhythm.over(circle.rhythm)
            plane.set_own_rhythm(self.number, None if own is None else self.conductor.timeline(own))

    def _apart(self) -> tuple[list[int], list[int]]:
        """Whom this person does not want to hear and who may not hear them, as the data plane numbers them."""
        wishes = self.sleeper.apart
        for wish in self._unrecorded_apart.values():
            wishes = replaced(wishes, wish.joined(about(wishes, wish.other_id)))
        unheard = [number_of(wish.other_id) for wish in wishes if wish.unheard]
        return unheard, [number_of(wish.other_id) for wish in wishes if wish.unhearing]

    def attach(self, recording: bool, hears_hush: bool = True) -> tuple[int, bytes]:
        """Opens a data-plane session, in place of an earlier one: its id and its secret.

        ``hears_hush``: the platform understands frames that say whether the room is silent.
        """
        self.check_present()
        if not self.on_plane:
            raise NotNow("this sleeper has left for a while: come back first")
        self.recording = recording
        if recording:
            self.conductor.usage.recorder(self.sleeper.sleeper_id)
        if (heard := self.listens_to) is not None:
            heard.show_plan()
            heard.tell()
        session_id = int.from_bytes(self._desk.entropy(8), "big")
        secret = self._desk.entropy(32)
        self._desk.plane.attach(self.number, session_id, secret, recording, hears_hush)
        return session_id, secret

    def _release(self) -> None:
        """Lowers the latch if a recorded grant answers what raised it; else it stays up."""
        with self._newest:  # or a withdrawal could end the grant in between
            standing = self.sleeper.consent[Purpose.VOICE]
            if not self.on_plane or standing.grant is None:
                return
            # The grant named the newest withdrawal and so knew of all before it; b"" is the latch of joining.
            for name in (*reversed(standing.withdrawals), b""):
                if self._desk.plane.release(self.number, name):
                    return

    async def record(self, wish: PersonEvent | Callable[[], PersonEvent | None]) -> None:
        """Writes an event, or what follows from the newest state: no other of this person's is written in between."""
        async with self._lock:
            self.check_present()
            event = wish() if callable(wish) else wish
            if event is None:
                return
            self.take_in(event, await self._desk.append(self.stream, ANY, event))
        self.end_following()
        self.show_plan()

    async def _catch_up(self) -> None:
        for record in await self._desk.read(self.stream, self._position):
            event = decode(record.data)
            assert isinstance(event, PersonEvent), "only a person's events are in a person's stream"
            self.take_in(event, record.position)

    def check_present(self) -> None:
        """Raises CredentialEnded unless this person is in an open circle."""
        if not self.present:
            raise ended(self)


def _same(one: ConsentWithdrawn, other: ConsentWithdrawn) -> bool:
    return (one.event_id, one.purposes) == (other.event_id, other.purposes)


def ended(person: Person) -> CredentialEnded:
    """The error of a request with a credential that has ended."""
    why = "this sleeper has left" if person.sleeper.left else closed_words(person.conductor.circle)
    return CredentialEnded(
        f"{why}: this credential can withdraw consent and nothing else but show what is kept about you (`harmonia me`);"
        " join with a new token"
    )
