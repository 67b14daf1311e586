"""One circle's conductor: moves it through its night, leads its rhythm, lets people in, shows it.

Two loops, each: look for the next thing due, sleep until then or until something changes, act. One keeps the timetable
and waits for the disk; the other ends grants and waits for nothing. A third writes what the ends of grants have ended.
"""

import logging
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import trio

from harmonia.domain import circle as circles
from harmonia.domain.circle import (
    Circle,
    decide_advance,
    decide_end,
    decide_new_offer,
    decide_offer,
    decide_rhythm,
    decide_weaving,
)
from harmonia.domain.consent import Limits, Purpose
from harmonia.domain.events import (
    CircleAdvanced,
    CircleEvent,
    OfferEnded,
    RhythmLed,
    RoomLifted,
    RoomSilenced,
    ScoreSet,
    SleeperForgotten,
    TokensCreated,
    WaitingBegun,
    WaitingEnded,
    WeavingSet,
    decode,
)
from harmonia.domain.offers import Offer, OfferedGrant, OfferKind
from harmonia.domain.rhythm import Rhythm
from harmonia.domain.schedule import Instants, NightPlan
from harmonia.domain.silence import Silence
from harmonia.domain.sleeper import limits_of
from harmonia.domain.states import Cause, CircleState
from harmonia.domain.timetable import Due, next_due, parting
from harmonia.domain.weaving import CircleMode, Thread, Woven, woven
from harmonia.engine.desk import Desk, circle_stream
from harmonia.engine.entrance import Entrance
from harmonia.engine.person import Person
from harmonia.engine.plane import PlatformStatus, WeaveThread, number_of
from harmonia.engine.scores import ReadScore
from harmonia.engine.signal import Signal
from harmonia.engine.stewarding import QUIET, Stewarding
from harmonia.engine.usage import UsageKeeper
from harmonia.engine.views import CircleView, SleeperRow, row_of
from harmonia.engine.wishes import Wishes
from harmonia.errors import StorageError, WrongExpectedRevision
from harmonia.journal import Position

_log = logging.getLogger(__name__)

VIEW_NS_MAX = 50_000_000
"""How old a view may be: what platforms say of themselves changes without a signal."""
_RETRY_S = 1.0
_FADE_STEP_S = 0.25
"""Between two steps of a voice that comes or goes; platforms glide from frame to frame."""
UNREADABLE = "its score cannot be read any more"


class Schedule(NamedTuple):
    """When a circle is to be: lengths, or a plan in civil time."""

    gather_ns: int | None = None
    night_ns: int | None = None
    plan: NightPlan | None = None


class Conductor:
    """``circle`` is replaced whole, so any thread may read it; everything else belongs to the engine's thread."""

    def __init__(self, desk: Desk, circle: Circle, position: Position) -> None:
        self.circle = circle
        self.number = number_of(circle.circle_id)
        self.entrance = Entrance(desk, self)
        self.stewarding = Stewarding(desk, self)
        self.wishes = Wishes(desk, self)
        self.usage = UsageKeeper(desk, self)
        self.changed = Signal()
        """Anything that a view of the circle shows."""
        self.moved = Signal()
        """Only the circle's own state and rhythm: what its platforms follow."""
        self._desk = desk
        self._position = position
        self._score: ReadScore | None = None
        self._lock = trio.Lock()
        self._wake = trio.Event()
        self._ends_moved = trio.Event()
        self._released = trio.Event()
        self._room = trio.Event()
        self._edges_moved = trio.Event()
        self.parting: tuple[int, int] | None = None
        """From when to when all voices fade out, node time; None while nobody knows."""
        self._fading: set[Person] = set()
        self._on_plane = False
        self.hushed: tuple[Silence | None, int | None] = (None, None)
        """The silence in force, and from which gate epoch frames say so (None: they say nothing). Replaced whole."""
        self._ended_ns = desk.now_ns()
        """Up to this node time every grant that had an end has ended on the data plane too."""
        self._view: CircleView | None = None
        self._statuses: dict[int, PlatformStatus] = {}
        self._threads: dict[int, WeaveThread] = {}
        self.changed.subscribe(self._forget_view)

    def take_in(self, event: CircleEvent, position: Position) -> None:
        """Takes in an event of the journal."""
        self.stewarding.take_in(event)
        self.circle = self.stewarding.still_silent(circles.apply(self.circle, event))
        if not self._on_plane:
            self._show_hush()
        self._position = position
        match event:
            case TokensCreated():
                self.entrance.take_in_tokens(event, position)
            case WaitingBegun() | WaitingEnded():
                self.entrance.take_in_waiting(event)
            case SleeperForgotten():
                self.entrance.take_in_forgotten(event)

    def open(self, score: ReadScore) -> None:
        """Makes the data plane know the circle and everybody in it. Only once the journal is read to its end."""
        self._score = score
        self._ended_ns = self._desk.now_ns()
        if self.circle.on_plane:
            self._put_on_plane()

    def _put_on_plane(self) -> None:
        weight = 1.0 / math.sqrt(self.circle.voices)  # so many unlike voices are as loud as one voice
        self._desk.plane.add_circle(self.number, self.circle.channels, weight)
        self._on_plane = True
        self._show_hush()
        self._show_rhythm()
        self._show_weaving()
        self._look_at_end()
        for person in self.entrance.people.values():
            person.end_following()
            self.wishes.act(person)
            person.put_on_plane()

    async def run(self) -> None:
        """Keeps the timetable and the ends of grants until the circle is closed."""
        unsubscribe = self._desk.wall.set.subscribe(self._look_at_time)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._end_grants)
            nursery.start_soon(self._record_releases)
            nursery.start_soon(self._fill_places)
            nursery.start_soon(self._fade_edges)
            nursery.start_soon(self.wishes.run)
            nursery.start_soon(self.usage.run)
            people = self.entrance.people
            await self._keep_timetable()
            await self.wishes.finish()
            await self.usage.note(list(people.values()))
            nursery.cancel_scope.cancel()
        unsubscribe()

    def planned(self) -> Instants | None:
        """The instants of the circle's plan in node time, as of now; None without a plan."""
        return None if self.circle.plan is None else self._desk.wall.on_node(self.circle.plan)

    def _look_at_time(self) -> None:
        self._wake.set()
        self.look_at_edges()

    def _look_at_end(self) -> None:
        self.parting = parting(self.circle, self.planned())

    def look_at_edges(self) -> None:
        """Somebody comes or goes at another time than before."""
        self._edges_moved.set()

    async def _fade_edges(self) -> None:
        """Lets the voices of those who come or go rise and fall, and what they hear."""
        while True:
            self._edges_moved = trio.Event()
            with trio.move_on_after(self._fade_step()):
                await self._edges_moved.wait()

    def _fade_step(self) -> float:
        """Shows everybody's edges who comes or goes; returns for how many seconds nothing changes then."""
        # By itself, as all that goes through everybody: a task that waits must hold on to nobody who may be forgotten.
        self._look_at_end()
        now_ns, parting_ns = self._desk.now_ns(), None
        if self.parting is not None and now_ns < self.parting[1]:
            parting_ns = max(self.parting[0], now_ns)
        all_go = parting_ns is not None and parting_ns <= now_ns
        changes = [(person, person.edges.next_ns(now_ns)) for person in self.entrance.people.values()]
        moving = {person for person, t_ns in changes if all_go or (t_ns is not None and t_ns <= now_ns)}
        for person in moving | self._fading:
            person.show_edges()
        self._fading = moving
        next_ns = min((t_ns for t_ns in (parting_ns, *(t for _, t in changes)) if t_ns is not None), default=None)
        return math.inf if next_ns is None else max(_FADE_STEP_S, (next_ns - now_ns) / 1e9)

    def look_at_room(self) -> None:
        """There may be a place for somebody who waits."""
        self._room.set()

    async def _fill_places(self) -> None:
        """Lets those in who wait, as places get free; a disk that refuses is asked again."""
        while True:
            self._room = trio.Event()
            try:
                await self.entrance.fill()
            except StorageError as error:
                _log.error("%s: nobody who waits comes in: %s", self.circle.circle_id, error)
                await trio.sleep(_RETRY_S)
                continue
            await self._room.wait()

    def look_at_ends(self) -> None:
        """Somebody's grant ends at another time than before."""
        self._ends_moved.set()

    def look_at_releases(self) -> None:
        """Somebody's rhythm follows nothing any more, which is still to be written."""
        self._released.set()

    async def _keep_timetable(self) -> None:
        while self.circle.open:
            self._wake = trio.Event()
            now_ns, due = self._desk.now_ns(), self._due()
            if due is not None and due.t_ns <= now_ns:
                await self._keep()
                continue
            with trio.move_on_after(math.inf if due is None else (due.t_ns - now_ns) / 1e9):
                await self._wake.wait()

    def _due(self) -> Due | None:
        return next_due(self.circle, self.planned())

    async def _end_grants(self) -> None:
        """Ends grants on the data plane, each at its own time: no disk and no timetable delays a no."""
        while True:
            self._ends_moved = trio.Event()
            # From where all have ended, not from now: an end between two looks at the clock must not be passed over.
            now_ns, end_ns = self._desk.now_ns(), self._next_end_ns(self._ended_ns)
            if end_ns is not None and end_ns <= now_ns:
                self._ended_ns = now_ns
                self._show_ends()
                continue
            with trio.move_on_after(math.inf if end_ns is None else (end_ns - now_ns) / 1e9):
                await self._ends_moved.wait()

    def _show_ends(self) -> None:
        for person in self.entrance.people.values():
            person.end_following()
        self._show_plans()
        for person in self.entrance.people.values():
            person.changed.send()
        self.changed.send()

    async def _record_releases(self) -> None:
        """Writes which rhythms follow nothing any more; a disk that refuses is asked again."""
        while True:
            self._released = trio.Event()
            try:
                await self._record_all_releases()
            except StorageError as error:
                _log.error("%s: the end of following is not written: %s", self.circle.circle_id, error)
                await trio.sleep(_RETRY_S)
                continue
            await self._released.wait()

    async def _record_all_releases(self) -> None:
        for person in list(self.entrance.people.values()):
            await person.record_release()

    async def advance(self, to: CircleState, reason: str = "") -> Circle:
        """Moves the circle on by its host's wish. ``reason``: why, if that cancels it."""
        async with self._lock:
            await self._move(Due(self._desk.now_ns(), to, cause=Cause.HOST, reason=reason))
        return self.circle

    async def fail(self, reason: str) -> None:
        """Ends a circle that cannot be held; everybody in it is told why. Raises StorageError."""
        async with self._lock:
            await self._move(Due(self._desk.now_ns(), CircleState.CLOSED, cause=Cause.FAILURE, reason=reason))

    async def edit(
        self,
        *,
        title: str | None = None,
        capacity: int | None = None,
        schedule: Schedule | None = None,
        score: tuple[ReadScore, str, str, str] | None = None,
    ) -> Circle:
        """Changes what its host wishes (None: as it is): all of it, or nothing if one of it cannot be.

        ``score``: the score as it is read, its name, format and text. A disk that fails in between may leave a part.
        """
        async with self._lock:
            now_ns, circle, events = self._desk.now_ns(), self.circle, list[CircleEvent]()
            if title is not None:
                events.append(circles.decide_title(circle, title, now_ns))
            if capacity is not None:
                events.append(circles.decide_capacity(circle, capacity, now_ns))
            if schedule is not None:
                events.append(circles.decide_schedule(circle, *schedule, now_ns))
            if score is not None:
                read, name, format, text = score
                event = ScoreSet(name, format, text, read.channels, read.duration_ns, now_ns)
                events.append(circles.decide_score(circle, event))
            for wished in events:
                await self._record(wished)
                if isinstance(wished, ScoreSet) and score is not None:
                    self._score = score[0]
        return self.circle

    async def lead(self, frequency_hz: float, ramp_ns: int) -> Rhythm:
        """Leads the rhythm to another frequency, in the future and without a jump."""
        async with self._lock:
            await self._record(decide_rhythm(self.circle, frequency_hz, ramp_ns, self._desk.now_ns()))
        return circles.require_rhythm(self.circle)

    async def weave(self, mode: CircleMode | None, strength_rad_s: float | None) -> Circle:
        """Changes the mode or lowers the strength by the host's wish."""
        async with self._lock:
            await self._record(decide_weaving(self.circle, mode, strength_rad_s, self._desk.now_ns()))
        return self.circle

    async def offer(self, pattern_turns: Sequence[float]) -> None:
        """Offers everybody an offset; nobody's own changes."""
        async with self._lock:
            await self._record(decide_offer(self.circle, pattern_turns, self._desk.now_ns()))

    async def make_offer(
        self, kind: OfferKind, text: str, until_ns: int | None, grants: tuple[OfferedGrant, ...]
    ) -> Offer:
        """Offers everybody consents or a ruling; nothing follows from it until they accept."""
        async with self._lock:
            now_ns = self._desk.now_ns()
            offer = Offer(kind, now_ns, text, until_ns, grants=grants)
            await self._record(decide_new_offer(self.circle, offer, now_ns))
        return offer

    async def end_offer(self, offer_id: bytes) -> None:
        """Takes an offer back."""
        async with self._lock:
            await self._record(decide_end(self.circle, offer_id, self._desk.now_ns()))

    async def end_timed_offers(self) -> None:
        """Ends every offer that has an end, before the circle is opened: the clock that it lies on is gone."""
        for offer in self.circle.offers if self.circle.open else ():
            if offer.until_ns is not None:
                event = OfferEnded(offer.offer_id, self._desk.now_ns())
                stream = circle_stream(self.circle.circle_id)
                self.take_in(event, await self._desk.append(stream, self._position, event))

    def timeline(self, rhythm: Rhythm) -> Any:
        """A rhythm as the data plane takes it."""
        assert self._score is not None, "a circle is opened before it shows a rhythm"
        return self._score.timeline(rhythm)

    async def record(self, wish: CircleEvent | Callable[[], CircleEvent]) -> None:
        """Writes one event of the circle's, or what follows from its newest state, and takes it in."""
        async with self._lock:
            await self._record(wish() if callable(wish) else wish)

    def hush(self) -> None:
        """Puts the newest silence in force for everybody, on its way to the journal."""
        self.circle = self.stewarding.still_silent(self.circle)
        self._show_plans()
        self.changed.send()
        self.moved.send()

    def view(self) -> CircleView:
        """The circle as everybody may see it; the same object for all who look between two changes, for 50 ms."""
        now_ns = self._desk.now_ns()
        if self._view is None or not 0 <= now_ns - self._view.node_time_ns < VIEW_NS_MAX:
            self._view = self._look(now_ns)
        return self._view

    def own_row(self, person: Person) -> SleeperRow:
        """``person`` as they see themself, as of the newest view."""
        return self._row(person, limits_of(self.circle), self.view().node_time_ns)

    async def _keep(self) -> None:
        """Moves on as the timetable says; a disk that refuses delays the night and does not end it."""
        try:
            async with self._lock:
                due = self._due()
                if due is not None and due.t_ns <= self._desk.now_ns():  # else the host was faster
                    await self._move(due)
        except (StorageError, WrongExpectedRevision) as error:
            _log.error("%s stays %s: %s", self.circle.circle_id, self.circle.state.name.lower(), error)
            await trio.sleep(_RETRY_S)

    async def _move(self, due: Due) -> None:
        now_ns, planned = self._desk.now_ns(), self.planned()
        t_ns, lead_ns = due.t_ns, due.lead_ns
        if due.state is CircleState.ENTRAINING:
            # A beginning that was missed while the daemon was down is made up for now, and not begun in the past.
            if t_ns + lead_ns <= now_ns:
                t_ns, lead_ns = now_ns, circles.LEAD_NS
            if planned is not None and planned.wake_from_ns is not None and t_ns + lead_ns >= planned.wake_from_ns:
                reason = "its night was over before it could begin: the sanctuary was not running"
                due, t_ns = Due(now_ns, CircleState.CLOSED, cause=Cause.FAILURE, reason=reason), now_ns
        await self._record(
            decide_advance(self.circle, due.state, t_ns, self._rhythm_from, lead_ns, cause=due.cause, reason=due.reason)
        )

    def _rhythm_from(self, epoch_ns: int) -> Rhythm:
        assert self._score is not None, "a circle is opened before it begins"
        return self._score.rhythm_from(epoch_ns)

    def _show_rhythm(self) -> None:
        # What is written of a circle that has closed meanwhile (a lifted silence) is shown to nobody.
        if self.circle.rhythm is not None and self._score is not None and self._on_plane:
            self._desk.plane.set_rhythm(self.number, self._score.timeline(self.circle.rhythm))

    def _show_weaving(self) -> None:
        weaving = self.circle.weaving
        self._desk.plane.set_strength(self.number, weaving.pulling_rad_s, weaving.lag_rad)

    async def _record(self, event: CircleEvent) -> None:
        stream = circle_stream(self.circle.circle_id)
        try:
            position = await self._desk.append(stream, self._position, event)
        except WrongExpectedRevision:
            # An event whose writing seemed to fail is there after all. It has happened; what was decided without it
            # has to be decided anew.
            for record in await self._desk.read(stream, self._position):
                written = decode(record.data)
                assert isinstance(written, CircleEvent), "only a circle's events are in a circle's stream"
                self._follow(written, record.position)
            raise
        self._follow(event, position)

    def _follow(self, event: CircleEvent, position: Position) -> None:
        """Takes in an event that the journal holds, and lets everybody follow."""
        self.take_in(event, position)
        self._wake.set()
        self.wishes.look()
        self.usage.look()
        self.changed.send()
        self.look_at_room()
        self.look_at_edges()
        if isinstance(event, QUIET):
            return
        if self.circle.on_plane and not self._on_plane:
            self._put_on_plane()
        if isinstance(event, RoomSilenced | RoomLifted):
            self._show_plans()
        self._show_rhythm()
        if isinstance(event, WeavingSet) and self._on_plane:
            self._show_weaving()
        if isinstance(event, RhythmLed):
            for person in self.entrance.people.values():
                if person.sleeper.own_rhythm.home_ns is not None:  # theirs joins the circle's
                    person.show_plan()
        self.moved.send()
        if not isinstance(event, CircleAdvanced):
            return
        if not self.circle.open and self._on_plane:
            for person in self.entrance.people.values():
                person.take_off_plane()
            self._show_hush()  # newer than every frame: one that comes late must not silence who sleeps on alone
            self._on_plane = False
            self._desk.plane.remove_circle(self.number)
        self._show_plans()

    def _show_hush(self) -> None:
        """Tells the data plane whether the room is silent, for its frames to say so."""
        silence, (told, epoch) = self.circle.silence, self.hushed
        if not self._on_plane:
            epoch = epoch if silence == told else None
        else:
            alarm = silence is not None and silence.alarm
            epoch = self._desk.plane.set_hush(self.number, silent=silence is not None, alarm=alarm)
        self.hushed = (silence, epoch)

    def _show_plans(self) -> None:
        self._show_hush()
        for person in self.entrance.people.values():
            person.show_plan()

    def _next_end_ns(self, after_ns: int) -> int | None:
        ends = (person.sleeper.consent.next_end_ns(after_ns) for person in self.entrance.people.values())
        return min((end for end in ends if end is not None), default=None)

    def _look(self, now_ns: int) -> CircleView:
        heard = self._desk.plane.status(self.number) if self._on_plane else ()
        self._statuses = {status.sleeper: status for status in heard}
        unity, threads = self._desk.plane.weave(self.number) if self._on_plane else (0.0, ())
        self._threads = {thread.sleeper: thread for thread in threads}
        limits = limits_of(self.circle)
        rows = [self._row(person, limits, now_ns) for person in self.entrance.people.values()]
        seen = tuple(row for row in rows if Purpose.VISIBILITY in row.granted)
        shown = frozenset(row.sleeper.sleeper_id for row in seen)
        here = frozenset(row.sleeper.sleeper_id for row in rows if Purpose.PRESENCE in row.granted)
        private = defaultdict[str, tuple[SleeperRow, ...]](tuple)
        for row in rows:
            grant = row.sleeper.consent[Purpose.VISIBILITY].grant
            if grant and grant.scope and row.sleeper.allows(Purpose.VISIBILITY, self.circle, now_ns, grant.scope):
                private[grant.scope] += (row,)
        woven, waiting = self._woven(unity, seen, now_ns), self.entrance.waiting
        return CircleView(
            self.circle, len(rows), now_ns, seen, here - shown, shown, woven, self.planned(), waiting, private
        )

    def _row(self, person: Person, limits: Limits, t_ns: int) -> SleeperRow:
        number = person.number
        return row_of(person, self._statuses.get(number), self._threads.get(number), limits, t_ns)

    def _woven(self, unity: float, seen: Sequence[SleeperRow], now_ns: int) -> Woven | None:
        if self.circle.rhythm is None:
            return None
        shown = (row.thread for row in seen if row.thread is not None and row.thread.woven)
        threads = (Thread(thread.own_hz, thread.achieved_hz, thread.pull) for thread in shown)
        together = sum(thread.woven for thread in self._threads.values())
        return woven(together, unity, threads, self.circle.rhythm.frequency_hz_at(now_ns))

    def _forget_view(self) -> None:
        self._view, self._statuses, self._threads = None, {}, {}
