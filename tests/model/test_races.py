"""Every order in which two withdrawals can cross a grant in the real engine, down to the waits for the disk.

The model walks the same steps (``rust/model/src/person/step.rs``). Here the journal is the place from which the doors'
halves are called: whatever a thread of theirs could do while a grant waits, it does there. What has to come of it is
said by a judge who knows only who said what when.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations_with_replacement

from harmonia.domain import sleeper as sleepers
from harmonia.domain.consent import Consent, Purpose
from harmonia.domain.events import PersonEvent, decode
from harmonia.engine.doors import Withdrawal
from harmonia.engine.person import Person
from harmonia.engine.sanctuary import Sanctuary
from harmonia.errors import StaleGrant
from tests.engine.nights import House, audible, in_virtual_time, plane_of, settle

VOICE = frozenset({Purpose.VOICE})
PLACES = ("before", "while a no is written for it", "when that is written", "before its append", "behind it", "after")
"""Where in a grant something else may happen."""
LATER = ("write a", "mute b", "write b")
"""What may happen there; the first no is muted before the grant comes."""


def orders() -> Iterator[list[tuple[str, str]]]:
    """Every way to spread :data:`LATER` over :data:`PLACES`, each no muted before it is written."""
    for first, second, third in (LATER, ("mute b", "write a", "write b"), ("mute b", "write b", "write a")):
        for places in combinations_with_replacement(PLACES, 3):
            yield list(zip(places, (first, second, third), strict=True))


@dataclass
class Race:
    """One grant, and two withdrawals that cross it."""

    house: House
    sanctuary: Sanctuary
    person: Person
    plan: list[tuple[str, str]]
    names: str
    """Which of the two the grant answers."""
    muted: dict[str, Withdrawal] = field(default_factory=dict)
    came: list[str] = field(default_factory=list)
    """What was said, in that order."""

    def reach(self, place: str) -> None:
        """Does what is planned up to there."""
        while self.plan and PLACES.index(self.plan[0][0]) <= PLACES.index(place):
            self.do(self.plan.pop(0)[1])

    def do(self, what: str) -> None:
        kind, no = what.split()
        if kind == "mute":
            self.came.append(no)
            self.muted[no] = self.sanctuary.doors.mute(self.person, VOICE, self.ids[no])
        else:
            self.sanctuary.doors.record(self.muted[no])

    async def run(self) -> None:
        append = self.house.journal.append
        self.ids = {"": b"", "a": self.house.event_id(), "b": self.house.event_id()}
        granting, writing = False, False

        def watched(stream, expected, event_id, data):  # type: ignore[no-untyped-def]
            nonlocal writing
            if not granting or writing:
                return append(stream, expected, event_id, data)
            writing = True  # what happens here is another thread's
            own = event_id.startswith(b"g")
            self.reach("before its append" if own else "while a no is written for it")
            try:
                position = append(stream, expected, event_id, data)
                self.reach("behind it" if own else "when that is written")
            finally:
                writing = False
            return position

        self.house.journal.append = watched  # type: ignore[method-assign]
        try:
            await self.house.grant(self.person, Purpose.VOICE)
            self.do("mute a")
            self.reach("before")
            self.came.append("yes")
            granting = True
            try:
                await self.house.grant(self.person, Purpose.VOICE, supersedes=self.ids[self.names])
                self.accepted = True
            except StaleGrant:
                self.accepted = False
            granting = False
            self.reach("after")
        finally:
            self.house.journal.append = append  # type: ignore[method-assign]
        await settle()

    def judge(self) -> None:
        """What was said last counts, in memory, on disk and at the gate."""
        words = (self.names, self.came)
        said = max(self.came.index(one) for one in ("yes", self.names) if one)
        overtaken = any(self.came.index(no) > said for no in "ab" if no != self.names)
        if overtaken or not self.accepted:
            assert not audible(self.sanctuary, self.person), words
        else:
            assert audible(self.sanctuary, self.person), words
        answers_the_newest = self.came[self.came.index("yes") - 1] == self.names and self.came[-1] == "yes"
        assert self.accepted or not answers_the_newest, words
        consent = self.person.sleeper.consent
        assert consent == on_disk(self.house, self.person), words
        held = plane_of(self.sanctuary).sleepers[self.person.number]
        assert held.latched == (consent[Purpose.VOICE].grant is None), words


def on_disk(house: House, person: Person) -> Consent:
    """What a restart would find."""
    sleeper = None
    for record in house.journal.read(person.stream):
        event = decode(record.data)
        assert isinstance(event, PersonEvent)
        sleeper = sleepers.apply(sleeper, event)
    assert sleeper is not None
    return sleeper.consent


def test_every_way_in_which_two_withdrawals_cross_a_grant_ends_as_the_last_word_says() -> None:
    plans = [(plan, names) for plan in orders() for names in ("", "a", "b")]
    accepted = [0, 0]

    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary, capacity=len(plans))
            for plan, names in plans:
                race = Race(house, sanctuary, await house.join(conductor), list(plan), names)
                await race.run()
                race.judge()
                accepted[race.accepted] += 1
            heard = {one.sleeper.sleeper_id: audible(sanctuary, one) for one in sanctuary.roll.everybody()}
        async with house.awake() as again:
            for one in again.roll.everybody():
                assert audible(again, one) == heard[one.sleeper.sleeper_id]

    in_virtual_time(scenario)
    assert len(plans) == 3 * 56 * 3
    assert min(accepted) > 50, "some are taken and some are not"
