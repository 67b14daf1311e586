"""Nights in virtual time: a sanctuary on fakes, restarted as often as a test likes."""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from harmonia.domain.consent import Consent, Purpose
from harmonia.domain.schedule import NightPlan
from harmonia.engine.conductor import Conductor
from harmonia.engine.entrance import Joined, Place
from harmonia.engine.person import Person
from harmonia.engine.sanctuary import Sanctuary
from harmonia.journal import Journal
from harmonia.testing import FakePlane, FlakyJournal, fake_scores, virtual_node_clock

HOUR_NS = 3600 * 1_000_000_000
KEY = b"k" * 32


class House:
    """What a restart keeps: the journal and the clock."""

    def __init__(self, clock: MockClock) -> None:
        self.clock = clock
        self.journal = FlakyJournal()
        self.now_ns = virtual_node_clock(clock)
        self.wall_ns = 0
        """How far the time of day is ahead of node time."""
        self._entropy = itertools.count(1)
        self._ids = itertools.count(1)

    def entropy(self, count: int) -> bytes:
        """Never the same twice; not random, so that a failing test fails again."""
        return next(self._entropy).to_bytes(8, "big").rjust(count, b"\0")[:count][::-1]

    def utc_ns(self) -> int:
        return self.now_ns() + self.wall_ns

    def event_id(self) -> bytes:
        return next(self._ids).to_bytes(16, "big")

    @asynccontextmanager
    async def awake(
        self, journal: Journal | None = None, plane: FakePlane | None = None, *, in_doubt: bool = False
    ) -> AsyncIterator[Sanctuary]:
        """A sanctuary from its start to its sudden end."""
        plane = plane or FakePlane(self.now_ns)
        sanctuary = Sanctuary(journal or self.journal, plane, self.entropy, fake_scores, self.utc_ns, in_doubt=in_doubt)
        async with trio.open_nursery() as nursery:
            await nursery.start(sanctuary.run)
            yield sanctuary
            nursery.cancel_scope.cancel()

    async def circle(
        self,
        sanctuary: Sanctuary,
        *,
        text: str = "4",
        gather_ns: int | None = None,
        night_ns: int | None = None,
        capacity: int = 8,
        plan: NightPlan | None = None,
        draft: bool = False,
    ) -> Conductor:
        return await sanctuary.create_circle(
            title="Night",
            score_name="night.sbg",
            score_format="sbg",
            score_text=text,
            capacity=capacity,
            gather_ns=gather_ns,
            night_ns=night_ns,
            plan=plan,
            draft=draft,
        )

    async def join(self, conductor: Conductor) -> Person:
        (token,) = await conductor.entrance.create_tokens(1, 0)
        return came_in(await conductor.entrance.join(token, KEY))

    async def grant(
        self,
        person: Person,
        purpose: Purpose,
        *,
        supersedes: bytes = b"",
        until_ns: int | None = None,
        event_id: bytes | None = None,
        level: float = 1.0,
        scope: str = "",
    ) -> Consent:
        event_id = event_id or self.event_id()
        return await person.grant(
            purpose, scope=scope, level=level, until_ns=until_ns, supersedes=supersedes, event_id=event_id
        )


def came_in(answer: Joined | Place) -> Person:
    """Who came in by an answer that says so."""
    assert isinstance(answer, Joined)
    return answer.person


def plane_of(sanctuary: Sanctuary) -> FakePlane:
    assert isinstance(sanctuary.plane, FakePlane)
    return sanctuary.plane


def audible(sanctuary: Sanctuary, person: Person) -> bool:
    return plane_of(sanctuary).audible(person.number)


def in_virtual_time(scenario: Callable[[House], Awaitable[None]]) -> None:
    """Runs ``scenario``; time jumps whenever everybody waits."""
    clock = MockClock(autojump_threshold=0)

    async def run() -> None:
        await scenario(House(clock))

    trio.run(run, clock=clock)


async def settle() -> None:
    """Until everything that was set off has been done."""
    await wait_all_tasks_blocked()
