"""The sanctuary: reads its journal, then lets its conductors work. The engine's one entry point.

Everything here runs in the engine's trio thread, except where it says "any thread". Nobody sounds before the journal is
read to its end: only then does the data plane hear of circles and sleepers, each of them muted until released.
"""

import trio

from harmonia.domain import circle as circles
from harmonia.domain.admission import identifier
from harmonia.domain.circle import CAPACITY_DEFAULT, decide_creation, parse_score_text
from harmonia.domain.events import (
    CircleCreated,
    ClockBegun,
    ConsentWithdrawn,
    Event,
    PersonEvent,
    SanctuaryFounded,
    SleeperJoined,
    decode,
)
from harmonia.domain.weaving import Weaving
from harmonia.engine.conductor import Conductor
from harmonia.engine.desk import Desk, Entropy, Roll, circle_stream
from harmonia.engine.doors import Doors, journal_key
from harmonia.engine.forgetting import Shred, forget
from harmonia.engine.person import Person
from harmonia.engine.plane import DataPlane
from harmonia.engine.scores import ReadScore, ScoreReader, read_score
from harmonia.errors import BadInput, BadScore, NotFound, StorageUnreadable
from harmonia.journal import ALL, ANY, NO_STREAM, SHREDDED, Journal, Position, Record

STREAM = "sanctuary"
CIRCLES_MAX = 1000
"""Circles that are open at once."""
_PAGE = 1000


class Sanctuary:
    """One node's supervisor."""

    def __init__(self, journal: Journal, plane: DataPlane, entropy: Entropy, scores: ScoreReader = read_score) -> None:
        self._desk = Desk(journal, plane, entropy)
        self._scores = scores
        self._conductors: dict[str, Conductor] = {}
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
        await self._read_journal()
        await self._begin_clock()
        going_on = [conductor for conductor in self._conductors.values() if conductor.circle.open]
        opened = [(conductor, self._read_again(conductor)) for conductor in going_on]
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            token = trio.lowlevel.current_trio_token()
            self._doors = self._desk.doors = Doors(self._desk, token.run_sync_soon)
            for conductor, score in opened:
                conductor.open(score)
                nursery.start_soon(conductor.run)
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
    ) -> Conductor:
        """Opens a circle in gathering. Raises BadInput, BadScore or StorageError."""
        assert self._nursery is not None, "a sanctuary is run before it opens circles"
        if sum(conductor.circle.open for conductor in self._conductors.values()) >= CIRCLES_MAX:
            raise BadInput(f"this sanctuary has {CIRCLES_MAX} open circles, its most: close one first")
        score_name, score_text = parse_score_text(score_name, score_text)
        score = self._scores(score_name, score_format, score_text)
        circle_id = identifier("circle-", self._desk.entropy(10))
        given = (circle_id, title, score_name, score_format, score_text, score.channels, score.duration_ns)
        weaving = weaving or Weaving()
        wishes = (capacity or CAPACITY_DEFAULT, gather_ns, night_ns)
        pulls = (weaving.mode, weaving.strength_rad_s, weaving.lag_rad)
        event = CircleCreated(*given, *wishes, self._desk.now_ns(), *pulls)
        position = await self._desk.append(circle_stream(circle_id), NO_STREAM, decide_creation(event))
        conductor = self._admit(event, position)
        conductor.open(score)
        self._nursery.start_soon(conductor.run)
        return conductor

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

    async def _read_journal(self) -> None:
        after: Position | None = None
        while records := await self._desk.read(ALL, after, _PAGE):
            for record in records:
                if record.data != SHREDDED:
                    self._take_in(record, decode(record.data))
            after = records[-1].position
        if not self.sanctuary_id:
            founded = SanctuaryFounded(identifier("sanctuary-", self._desk.entropy(10)), self._desk.now_ns())
            await self._desk.append(STREAM, NO_STREAM, founded)
            self.sanctuary_id = founded.sanctuary_id

    async def _begin_clock(self) -> None:
        """Withdraws every grant whose end lies on a clock that is gone.

        Whether it has passed cannot be told any more: a machine that comes up with its date set back would let it begin
        again. Wishes to stop after some time act for the same reason. It is written before the new clock is, so that a
        crash in between leaves no such grant standing.
        """
        if self._clock_id == self.plane.clock_id:
            return
        for conductor in self._conductors.values():
            await conductor.stewarding.end_timed()
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
        self._clock_id = self.plane.clock_id
        await self._desk.append(STREAM, ANY, ClockBegun(self._clock_id, self._desk.now_ns()))

    def _take_in(self, record: Record, event: Event) -> None:
        kind, _, identity = record.stream.partition("/")
        match event:
            case SanctuaryFounded():
                self.sanctuary_id = event.sanctuary_id
            case ClockBegun():
                self._clock_id = event.clock_id
            case CircleCreated():
                self._admit(event, record.position)
            case SleeperJoined() if event.circle_id in self._conductors:
                self._conductors[event.circle_id].entrance.take_in_joining(event, record.position)
            case _ if kind == "circle" and identity in self._conductors and not isinstance(event, PersonEvent):
                self._conductors[identity].take_in(event, record.position)
            case _ if isinstance(event, PersonEvent) and (person := self.roll.by_id(identity)) is not None:
                person.take_in(event, record.position)
            case _:
                raise StorageUnreadable(
                    f"the journal holds an event in {record.stream} before its beginning: restore a backup"
                )

    def _admit(self, event: CircleCreated, position: Position) -> Conductor:
        conductor = Conductor(self._desk, circles.apply(None, event), position)
        self._conductors[event.circle_id] = conductor
        return conductor

    def _read_again(self, conductor: Conductor) -> ReadScore:
        circle = conductor.circle
        try:
            return self._scores(circle.score_name, circle.score_format, circle.score_text)
        except BadScore as error:
            raise StorageUnreadable(
                f"the score of {circle.circle_id} cannot be read any more ({error}): start the version that accepted it"
            ) from None
