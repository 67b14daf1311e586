"""The sanctuary: reads its journal, then lets its conductors work. The engine's one entry point.

Everything here runs in the engine's trio thread, except where it says "any thread". Nobody sounds before the journal is
read to its end: only then does the data plane hear of circles and sleepers, each of them muted until released.
"""

import gc
import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from operator import itemgetter

import trio

from harmonia import failpoints
from harmonia.domain import circle as circles
from harmonia.domain import series as kept
from harmonia.domain import sleeper as sleepers
from harmonia.domain.admission import identifier
from harmonia.domain.circle import CAPACITY_DEFAULT, REASON_MAX, decide_creation, parse_score_text
from harmonia.domain.events import (
    CircleCreated,
    CircleEvent,
    ClockBegun,
    ConsentWithdrawn,
    Event,
    PersonEvent,
    SanctuaryFounded,
    SeriesCreated,
    SeriesEvent,
    SeriesTemplate,
    SleeperForgotten,
    SleeperJoined,
    decode,
)
from harmonia.domain.reading import made, read_all
from harmonia.domain.recollection import REPLACED, Recollection
from harmonia.domain.schedule import NightPlan, local_time
from harmonia.domain.series import decide_series
from harmonia.domain.states import BEFORE
from harmonia.domain.weaving import Weaving
from harmonia.engine.conductor import UNREADABLE, Conductor
from harmonia.engine.desk import Desk, Entropy, Roll, circle_stream
from harmonia.engine.doors import Doors, journal_key
from harmonia.engine.forgetting import Shred, forget
from harmonia.engine.person import Person
from harmonia.engine.plane import DataPlane
from harmonia.engine.scores import ReadScore, ScoreReader, read_score
from harmonia.engine.series import Keeper, series_stream
from harmonia.engine.wall import Wall, zone_of
from harmonia.errors import BadInput, BadScore, NotFound, StorageUnreadable
from harmonia.journal import ANY, NO_STREAM, SHREDDED, Journal, Page, Position, pages

STREAM = "sanctuary"
CIRCLES_MAX = 1000
"""Circles that are open at once."""
SERIES_MAX = 200
"""Series that go on at once."""
_PAGE = 300_000
"""Events that are in memory at once: the more, the more of each person are read together."""


class Sanctuary:
    """One node's supervisor."""

    def __init__(
        self,
        journal: Journal,
        plane: DataPlane,
        entropy: Entropy,
        scores: ScoreReader = read_score,
        utc_ns: Callable[[], int] = time.time_ns,
        *,
        in_doubt: bool = False,
    ) -> None:
        """``in_doubt``: the journal is known to have lost somebody's no, so nobody's yes is gone by."""
        self._desk = Desk(journal, plane, entropy, utc_ns)
        self._scores = scores
        self._in_doubt = in_doubt
        self._forgotten_until: Position | None = None
        """Where the last of those begins who were forgotten, if the circle of one of them does not know it."""
        self._conductors: dict[str, Conductor] = {}
        self._keepers: dict[str, Keeper] = {}
        self._nursery: trio.Nursery | None = None
        self._doors: Doors | None = None
        self.started_ns = plane.node_time_ns()
        self.sanctuary_id = ""
        self._clock_id: int | None = None
        """The clock of the journal's newest times."""

    @property
    def plane(self) -> DataPlane:
        return self._desk.plane

    @property
    def wall(self) -> Wall:
        """Civil time. Any thread."""
        return self._desk.wall

    @property
    def roll(self) -> Roll:
        """Everybody who ever joined. Any thread."""
        return self._desk.roll

    @property
    def doors(self) -> Doors:
        """The ways for withdrawals. Any thread, once :meth:`run` has started."""
        assert self._doors is not None, "the doors open once the journal is read"
        return self._doors

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Reads the journal, reports as started, and works until cancelled. Raises StorageError."""
        await self.read_journal()
        failpoints.hit("start.read")
        await self._settle_doubts()
        await self._begin_clock()
        failpoints.hit("start.clock")
        going_on = [conductor for conductor in self._conductors.values() if conductor.circle.open]
        opened = [(one, score) for one in going_on if (score := await self._read_again(one)) is not None]
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            token = trio.lowlevel.current_trio_token()
            self._doors = self._desk.doors = Doors(self._desk, token.run_sync_soon)
            for conductor in self._conductors.values():
                if not conductor.circle.open:  # closed just now, or too suddenly for its wishes to be written
                    await conductor.wishes.finish()
            nursery.start_soon(self.wall.watch)
            for conductor, score in opened:
                conductor.open(score)
                nursery.start_soon(conductor.run)
            for keeper in self._keepers.values():
                nursery.start_soon(keeper.run)
            failpoints.hit("start.opened")
            task_status.started()
            await trio.sleep_forever()

    async def create_circle(
        self,
        *,
        title: str,
        score_name: str,
        score_format: str,
        score_text: str,
        capacity: int = 0,
        gather_ns: int | None = None,
        night_ns: int | None = None,
        weaving: Weaving | None = None,
        plan: NightPlan | None = None,
        draft: bool = False,
    ) -> Conductor:
        """Opens a circle in gathering, or as a draft: also where its ``plan`` says when it gathers.

        Raises BadInput, BadScore or StorageError.
        """
        assert self._nursery is not None, "a sanctuary is run before it opens circles"
        if sum(conductor.circle.open for conductor in self._conductors.values()) >= CIRCLES_MAX:
            raise BadInput(f"this sanctuary has {CIRCLES_MAX} open circles, its most: close one first")
        score, *_ = self.read_score(score_name, score_format, score_text)
        circle_id = identifier("circle-", self._desk.entropy(10))
        given = (circle_id, title, score_name, score_format, score_text, score.channels, score.duration_ns)
        weaving = weaving or Weaving()
        wishes = (capacity or CAPACITY_DEFAULT, gather_ns, night_ns)
        pulls = (weaving.mode, weaving.strength_rad_s, weaving.lag_rad)
        draft = draft or (plan is not None and bool(plan.gather_at))
        event = CircleCreated(*given, *wishes, self._desk.now_ns(), *pulls, draft, plan)
        position = await self._desk.append(circle_stream(circle_id), NO_STREAM, decide_creation(event))
        return self._set_to_work(event, position, score)

    def _set_to_work(self, event: CircleCreated, position: Position, score: ReadScore) -> Conductor:
        assert self._nursery is not None, "a sanctuary is run before it opens circles"
        conductor = self._admit(event, position)
        conductor.open(score)
        self._nursery.start_soon(conductor.run)
        return conductor

    async def create_series(
        self, *, rule: str, first: str, excluded: tuple[str, ...], template: SeriesTemplate
    ) -> Keeper:
        """Makes a circle recur. ``first``: the date from which the rule counts; empty: today. Raises BadInput."""
        assert self._nursery is not None, "a sanctuary is run before it opens circles"
        if sum(not keeper.series.ended for keeper in self._keepers.values()) >= SERIES_MAX:
            raise BadInput(f"this sanctuary has {SERIES_MAX} series, its most: end one first")
        zone = zone_of(template.times.zone)
        first = first or local_time(self.wall.utc_ns(), zone).date().isoformat()
        series_id = identifier("series-", self._desk.entropy(10))
        event = decide_series(SeriesCreated(series_id, rule, first, excluded, template, self._desk.now_ns()), zone)
        await self._desk.append(series_stream(series_id), NO_STREAM, event)
        keeper = self._keepers[series_id] = Keeper(self._desk, kept.apply(None, event), self._make_night)
        self._nursery.start_soon(keeper.run)
        return keeper

    def keeper(self, series_id: str) -> Keeper:
        """The keeper of a series. Raises NotFound. Any thread."""
        found = self._keepers.get(series_id)
        if found is None:
            raise NotFound(f"there is no series {series_id[:80]!r} here: `circle schedule` lists them")
        return found

    def keepers(self) -> list[Keeper]:
        """Those of all series, in the order of their making. Any thread."""
        return list(self._keepers.values())

    async def _make_night(self, event: CircleCreated) -> Conductor:
        """The circle of one night of a series. Who asks again, since nobody knew whether it was written, gets that."""
        if (made := self._conductors.get(event.circle_id)) is not None:
            return made
        score, *_ = self.read_score(event.score_name, event.score_format, event.score_text)
        event_id = hashlib.sha256(event.circle_id.encode()).digest()[:16]
        stream = circle_stream(event.circle_id)
        position = await self._desk.append(stream, NO_STREAM, decide_creation(event), event_id)
        return self._set_to_work(event, position, score)

    def read_score(self, name: str, format: str, text: str) -> tuple[ReadScore, str, str, str]:
        """A score, read, and as it was given. Raises BadInput, BadScore."""
        name, text = parse_score_text(name, text)
        return self._scores(name, format, text), name, format, text

    def conductor(self, circle_id: str) -> Conductor:
        """The conductor of a circle. Raises NotFound. Any thread."""
        found = self._conductors.get(circle_id)
        if found is None:
            raise NotFound(f"there is no circle {circle_id[:80]!r} here: list the circles to see their ids")
        return found

    def circles(self, after: str, limit: int) -> tuple[list[Conductor], str]:
        """At most ``limit`` circles in the order of their making, after the circle ``after``, and where to go on."""
        ids = list(self._conductors)
        if after and after not in self._conductors:
            raise BadInput(f"{after[:80]!r} is not a page token of this sanctuary: begin with an empty one")
        start = ids.index(after) + 1 if after else 0
        page = ids[start : start + limit]
        more = page[-1] if start + limit < len(ids) else ""
        return [self._conductors[circle_id] for circle_id in page], more

    async def forget(self, person: Person, shred: Shred) -> None:
        """Forgets a sleeper for good: see :mod:`harmonia.engine.forgetting`. Raises StorageError."""
        await forget(self._desk, self.doors, person, shred)

    def census(self) -> tuple[int, int]:
        """How many circles are open, and how many sleepers are in them."""
        present = [conductor.entrance.present for conductor in self._conductors.values() if conductor.circle.open]
        return len(present), sum(present)

    async def read_journal(self) -> None:
        """The first thing that :meth:`run` does: reads it to its end, or founds the sanctuary. Raises StorageError."""
        with _uncollected():
            await self._read_records()
        if not self.sanctuary_id:
            founded = SanctuaryFounded(identifier("sanctuary-", self._desk.entropy(10)), self._desk.now_ns())
            await self._desk.append(STREAM, NO_STREAM, founded)
            self.sanctuary_id = founded.sanctuary_id

    async def _read_records(self) -> None:
        people: dict[str, Recollection] = {}
        """By their streams."""
        newest: dict[str, int] = {}
        """Where each stream ends."""
        forgotten: dict[str, Position] = {}
        """Where the stream of each person begins of whom nothing can be read."""
        used, joined = set[bytes](), set[bytes]()
        """The tokens of whom circles know to be forgotten, and of whoever can be read."""
        end = Position(0, 0)
        with closing(pages(self._desk.journal, _PAGE, REPLACED)) as reading:
            while (page := await self._desk.in_thread(next, reading, None)) is not None:
                end = page.end
                newest.update((strand.stream, strand.revisions[-1]) for strand in page.strands)
                for revision, stream, event in _recollect(page, people, forgotten):
                    if isinstance(event, PersonEvent) and (person := self._person_of(people.get(stream))) is not None:
                        person.pass_on(event)
                        continue
                    self._take_in(stream, Position(end.epoch, revision), event)
                    if isinstance(event, SleeperForgotten):
                        used.add(event.token_hash)
                    if isinstance(event, SleeperJoined):
                        joined.add(event.token_hash)
        if len(forgotten) > len(used - joined):
            self._forgotten_until = max(forgotten.values())
        for stream, recollection in people.items():
            if (person := self._person_of(recollection)) is not None:
                person.recall(recollection.sleeper, Position(end.epoch, newest[stream]))

    def _person_of(self, recollection: Recollection | None) -> Person | None:
        return None if recollection is None else self.roll.by_id(recollection.sleeper_id)

    async def _settle_doubts(self) -> None:
        """Does what is safe where nobody can tell any more what was said.

        If the journal has lost somebody's no, every grant that stands is withdrawn. And who was forgotten must not come
        in again by themself: where it cannot be told whose token theirs was, all that may be theirs are ended, and
        nobody waits with one any more. All of it is recorded; a crash on the way leaves it to be done again.
        """
        if self._in_doubt or self._forgotten_until is not None:
            for conductor in self._conductors.values():
                if conductor.circle.open:
                    await conductor.entrance.end_doubtful(None if self._in_doubt else self._forgotten_until)
        if not self._in_doubt:
            return
        for person in self.roll.everybody():
            standings = person.sleeper.consent.standings.items()
            granted = tuple(sorted(purpose for purpose, standing in standings if standing.grant is not None))
            if granted:
                ended = ConsentWithdrawn(granted, self._desk.entropy(16), self._desk.now_ns())
                person.take_in(ended, await self._desk.append(person.stream, ANY, ended))

    async def _begin_clock(self) -> None:
        """Withdraws every grant whose end lies on a clock that is gone.

        Whether it has passed cannot be told any more: a machine that comes up with its date set back would let it begin
        again. For the same reason wishes to stop after some time act, and offers and roles that have an end are over.
        It is written before the new clock is, so that a crash in between leaves no such grant standing.
        """
        if self._clock_id == self.plane.clock_id:
            return
        for conductor in self._conductors.values():
            await conductor.stewarding.end_timed()
            await conductor.end_timed_offers()
            for person in list(conductor.entrance.people.values()):
                standings = person.sleeper.consent.standings.items()
                timed = tuple(p for p, s in standings if s.grant is not None and s.grant.until_ns is not None)
                if timed:
                    ended = ConsentWithdrawn(timed, self._desk.entropy(16), self._desk.now_ns())
                    person.take_in(ended, await self._desk.append(person.stream, ANY, ended))
                for one in person.sleeper.wishes:
                    if not one.fired and one.due_ns(person.sleeper.joined_ns, conductor.circle.epoch_ns) is not None:
                        event_id = one.wish.event_id(person.sleeper.sleeper_id)
                        ended = ConsentWithdrawn(one.wish.purposes, event_id, self._desk.now_ns())
                        key = journal_key(ended)
                        person.take_in(ended, await self._desk.append(person.stream, ANY, ended, key))
        if self._clock_id is not None:
            await self._fail_without_clock()
        self._clock_id = self.plane.clock_id
        await self._desk.append(STREAM, ANY, ClockBegun(self._clock_id, self._desk.now_ns()))

    async def _fail_without_clock(self) -> None:
        """Ends the nights whose clock is lost: the one that runs now has not reached what has happened in them."""
        now_ns = self._desk.now_ns()
        for conductor in self._conductors.values():
            circle = conductor.circle
            if circle.open and circle.state not in BEFORE and circle.entered_ns > now_ns:
                behind_s = (circle.entered_ns - now_ns) / 1e9
                await conductor.fail(f"its clock was lost: after a restart the sanctuary's is {behind_s:.0f} s behind")

    def _take_in(self, stream: str, position: Position, event: Event) -> None:
        kind, _, identity = stream.partition("/")
        match event:
            case SanctuaryFounded():
                self.sanctuary_id = event.sanctuary_id
            case ClockBegun():
                self._clock_id = event.clock_id
            case CircleCreated():
                self._admit(event, position)
            case SeriesCreated():
                series = kept.apply(None, event)
                self._keepers[event.series_id] = Keeper(self._desk, series, self._make_night)
            case _ if isinstance(event, SeriesEvent) and identity in self._keepers:
                self._keepers[identity].take_in(event)
            case SleeperJoined() if event.circle_id in self._conductors:
                self._conductors[event.circle_id].entrance.take_in_joining(event, position)
            case _ if kind == "circle" and identity in self._conductors and isinstance(event, CircleEvent):
                self._conductors[identity].take_in(event, position)
            case _:
                raise StorageUnreadable(
                    f"the journal holds an event in {stream} before its beginning: restore a backup"
                )

    def _admit(self, event: CircleCreated, position: Position) -> Conductor:
        conductor = Conductor(self._desk, circles.apply(None, event), position)
        self._conductors[event.circle_id] = conductor
        if event.series_id in self._keepers:
            self._keepers[event.series_id].made[event.night] = conductor
        return conductor

    async def _read_again(self, conductor: Conductor) -> ReadScore | None:
        """The circle's score; None where nobody can read it any more, for which the circle fails and no other."""
        circle = conductor.circle
        try:
            return self._scores(circle.score_name, circle.score_format, circle.score_text)
        except BadScore as error:
            await conductor.fail(f"{UNREADABLE} ({error})"[:REASON_MAX])
            return None


@contextmanager
def _uncollected() -> Iterator[None]:
    """Makes many objects that stay, and none in circles: looking for those would take longer than all the reading."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.freeze()  # and back: they are old now, and the next collection of what is young does not look at them
            gc.unfreeze()
            gc.enable()


def _recollect(
    page: Page, people: dict[str, Recollection], forgotten: dict[str, Position]
) -> list[tuple[int, str, Event]]:
    """What of ``page`` concerns more than one person, each with its revision and stream, in the order of writing.

    The rest is absorbed by ``people``, by their streams; of whoever is ``forgotten`` there is nothing but where they
    began. Raises StorageUnreadable.
    """
    concerning: list[tuple[int, str, Event]] = []
    try:
        for stream, revisions, lines in page.strands:
            if lines == SHREDDED:
                forgotten.setdefault(stream, Position(page.end.epoch, revisions[0]))
                continue
            reads, begun = read_all(lines), 0
            if (one := people.get(stream)) is None and isinstance(first := made(reads[0]), SleeperJoined):
                one, begun = Recollection(sleepers.apply(None, first)), 1
                people[stream] = one
                concerning.append((revisions[0], stream, first))
            told = enumerate(map(made, reads)) if one is None else one.absorb(reads[begun:])
            concerning += ((revisions[begun + place], stream, event) for place, event in told)
    except StorageUnreadable as error:
        raise _at_its_place(error, page) from None
    return sorted(concerning, key=itemgetter(0))


def _at_its_place(error: StorageUnreadable, page: Page) -> StorageUnreadable:
    """``error`` with the name of the first event of ``page`` that cannot be read."""
    rows = (
        (revision, stream, data)
        for stream, revisions, lines in page.strands
        for revision, data in zip(revisions, lines.split(b"\n"), strict=False)
    )
    for revision, stream, data in sorted(rows):
        try:
            decode(data)
        except StorageUnreadable as first:
            place = f"{page.end.epoch}.{revision}, in {stream}"
            return StorageUnreadable(f"{first} (it is event {place}; nothing was changed)")
    return error
