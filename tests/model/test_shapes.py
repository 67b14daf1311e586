"""Every short history of grants with a level, a scope or an end, through the engine itself, judged by a few lines.

The judge here shares no rule with the engine: it is told what
is said, and says what may be used. Each history ends with one more start.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import product

import trio

from harmonia.domain.consent import ALL_PURPOSES, Purpose
from harmonia.engine.person import Person
from harmonia.engine.sanctuary import Sanctuary
from harmonia.errors import HarmoniaError
from harmonia.testing import FakePlane
from tests.engine.nights import HOUR_NS, House, in_virtual_time, plane_of, settle

VOICE, MONITORING = Purpose.VOICE, Purpose.MONITORING
LENGTH = 2
SCOPES = ("", "sleeper-b", "sleeper-c")


class Restart(HarmoniaError):
    """The process ends."""


@dataclass
class Judge:
    """What one person has said, and what surrounds them."""

    house: House
    yes: dict[Purpose, tuple[float, str, int | None] | None] = field(default_factory=lambda: dict.fromkeys(Purpose))
    """Level, scope and end."""
    no: dict[Purpose, bytes] = field(default_factory=lambda: dict.fromkeys(Purpose, b""))
    silent: bool = False
    shift_ns: int = 0
    clock_id: int = 1
    sanctuary: Sanctuary | None = None
    person: Person | None = None

    def now_ns(self) -> int:
        return self.house.now_ns() + self.shift_ns

    async def allow(self, purpose: Purpose, level: float, scope: str, for_ns: int | None) -> None:
        assert self.person is not None
        until_ns = None if for_ns is None else self.now_ns() + for_ns
        await self.person.grant(
            purpose,
            scope=scope,
            level=level,
            until_ns=until_ns,
            supersedes=self.person.sleeper.consent[purpose].withdrawal,
            event_id=self.house.event_id(),
        )
        self.yes[purpose] = (level, scope, until_ns)

    async def withdraw(self, purposes: frozenset[Purpose]) -> None:
        assert self.sanctuary is not None
        assert self.person is not None
        event_id = self.house.event_id()
        self.sanctuary.doors.withdraw(self.person, purposes, event_id)
        for purpose in purposes:
            self.yes[purpose], self.no[purpose] = None, event_id

    async def hush(self, silent: bool) -> None:
        assert self.person is not None
        stewarding, silence = self.person.conductor.stewarding, self.person.conductor.circle.silence
        if silent and silence is None:
            await stewarding.silence("", False, "host")
        if not silent and silence is not None:
            await stewarding.lift(silence.silence_id, "host")
        self.silent = silent

    async def restart(self, behind_ns: int | None) -> None:
        if behind_ns is not None:
            self.shift_ns -= behind_ns
            self.clock_id += 1
            self.yes = {p: None if yes and yes[2] is not None else yes for p, yes in self.yes.items()}
        raise Restart("restart")

    async def wait(self) -> None:
        await trio.sleep(3600)

    def may(self, purpose: Purpose, scope: str) -> float:
        yes = self.yes[purpose]
        if yes is None or self.silent or yes[1] not in ("", scope):
            return 0.0
        return 0.0 if yes[2] is not None and self.now_ns() >= yes[2] else yes[0]

    def check(self, words: object) -> None:
        assert self.sanctuary is not None
        assert self.person is not None
        sleeper, circle = self.person.sleeper, self.person.conductor.circle
        for purpose, scope in product((VOICE, MONITORING), SCOPES):
            assert sleeper.allows(purpose, circle, self.now_ns(), scope) == self.may(purpose, scope), (words, scope)
            # The house may have said no itself, where a clock was lost; never does it forget one.
            assert self.no[purpose] in (b"", *sleeper.consent[purpose].withdrawals), words
        plane, loud = plane_of(self.sanctuary), self.may(VOICE, "")
        assert plane.audible(self.person.number) == (loud > 0), words
        if loud:
            assert {abs(v) for v in plane.sleepers[self.person.number].voice} == {loud}, words


Event = Callable[[Judge], Awaitable[None]]
EVENTS: dict[str, Event] = {
    "half a voice": lambda judge: judge.allow(VOICE, 0.5, "", None),
    "a voice for an hour": lambda judge: judge.allow(VOICE, 1.0, "", HOUR_NS),
    "half an ear to one": lambda judge: judge.allow(MONITORING, 0.5, SCOPES[1], None),
    "ears to one for an hour": lambda judge: judge.allow(MONITORING, 1.0, SCOPES[1], HOUR_NS),
    "no voice": lambda judge: judge.withdraw(frozenset({VOICE})),
    "no ears": lambda judge: judge.withdraw(frozenset({MONITORING})),
    "no": lambda judge: judge.withdraw(ALL_PURPOSES),
    "the room is silent": lambda judge: judge.hush(True),
    "the room is lifted": lambda judge: judge.hush(False),
    "an hour passes": lambda judge: judge.wait(),
    "restart": lambda judge: judge.restart(None),
    "restart, another clock, behind": lambda judge: judge.restart(2 * HOUR_NS),
}


async def live(judge: Judge, names: tuple[str, ...], left: list[str]) -> None:
    """One life of the house: until it ends, or nothing is left to happen."""
    plane = FakePlane(judge.now_ns)
    plane.clock_id = judge.clock_id
    async with judge.house.awake(plane=plane) as sanctuary:
        judge.sanctuary = sanctuary
        if judge.person is None:
            judge.person = await judge.house.join(await judge.house.circle(sanctuary))
        else:
            judge.person = sanctuary.roll.by_id(judge.person.sleeper.sleeper_id)
        judge.check((names, left))
        while left:
            try:
                await EVENTS[left.pop(0)](judge)
            except Restart:
                return
            await settle()
            judge.check((names, left))


def test_every_history_of_two_events_allows_what_was_said_and_no_more() -> None:
    played = []

    async def scenario(house: House) -> None:
        for names in product(EVENTS, repeat=LENGTH):
            judge, left = Judge(House(house.clock)), list(names)
            while left:
                await live(judge, names, left)
            await live(judge, names, left)
            played.append(names)

    in_virtual_time(scenario)
    assert len(played) == len(EVENTS) ** LENGTH
