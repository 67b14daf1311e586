"""Coming and going softly: nobody hears a jump, nothing withdrawn comes back, and an opt-out waits for none of it."""

import itertools
from collections.abc import Callable
from datetime import UTC

import pytest
import trio

from harmonia.domain.consent import Purpose
from harmonia.domain.edges import FADE_NS
from harmonia.domain.schedule import parse_plan
from harmonia.domain.states import CircleState
from harmonia.domain.timetable import ends_ns
from harmonia.engine.person import Person
from harmonia.engine.sanctuary import Sanctuary
from harmonia.errors import BadInput, NotNow
from harmonia.journal import Unavailable
from tests.engine.nights import HOUR_NS, House, audible, in_virtual_time, plane_of, settle


def loudness(sanctuary: Sanctuary, person: Person) -> float:
    """How loud others hear them, 0 to 1."""
    return abs(plane_of(sanctuary).sleepers[person.number].voice[0])


def hearing(sanctuary: Sanctuary, person: Person) -> float:
    """How loud they hear others, 0 to 1."""
    return plane_of(sanctuary).sleepers[person.number].hearing


async def both(sanctuary: Sanctuary, people: list[Person]) -> list[float]:
    """How loud they are, a quarter of a second before this returns."""
    seen = [loudness(sanctuary, one) for one in people]
    await trio.sleep(0.25)
    return seen


async def rises(
    sanctuary: Sanctuary,
    person: Person,
    seconds: float,
    steps: int = 40,
    level: Callable[[Sanctuary, Person], float] = loudness,
) -> list[float]:
    """How loud they are over a time, or hear."""
    seen = []
    for _ in range(steps):
        seen.append(level(sanctuary, person))
        await trio.sleep(seconds / steps)
    return seen


def test_who_joins_late_fades_in_and_who_came_in_time_does_not() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            early = await house.join(conductor)
            await house.grant(early, Purpose.VOICE)
            await conductor.advance(CircleState.ENTRAINING)
            await trio.sleep(3600)
            late = await house.join(conductor)
            await house.grant(late, Purpose.VOICE)
            assert loudness(sanctuary, early) == 1.0
            seen = await rises(sanctuary, late, FADE_NS / 1e9 + 1)
            assert seen[0] < 0.05
            assert seen == sorted(seen)
            assert max(b - a for a, b in itertools.pairwise(seen)) < 0.1
            assert loudness(sanctuary, late) == 1.0

    in_virtual_time(scenario)


def test_who_wakes_early_fades_for_the_others_and_may_sleep_on_also_after_a_restart() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary, gather_ns=0, night_ns=8 * HOUR_NS)
            person, other = await house.join(conductor), await house.join(conductor)
            await house.grant(person, Purpose.VOICE)
            await house.grant(other, Purpose.VOICE)
            before = other.sleeper
            await trio.sleep(3600)
            await person.set_awake(True, 600 * 10**9)
            seen = await rises(sanctuary, person, 601)
            assert seen == sorted(seen, reverse=True)
            assert max(a - b for a, b in itertools.pairwise(seen)) < 0.05
            assert loudness(sanctuary, person) == 0.0
            assert loudness(sanctuary, other) == 1.0
            assert other.sleeper.consent == before.consent
        async with house.awake() as again:
            back = again.roll.by_id(person.sleeper.sleeper_id)
            assert back is not None
            assert loudness(again, back) == 0.0
            await back.set_awake(False, 0)
            await trio.sleep(FADE_NS / 2e9)
            assert 0.3 < loudness(again, back) < 0.7
            await trio.sleep(FADE_NS / 2e9 + 1)
            assert loudness(again, back) == 1.0
            await back.set_awake(True, 600 * 10**9)
            again.doors.withdraw(back, frozenset({Purpose.VOICE}), house.event_id())
            assert not audible(again, back), "an opt-out waits for no fade"
            with pytest.raises(BadInput, match="up to an hour"):
                await back.set_awake(True, 2 * HOUR_NS)

    in_virtual_time(scenario)


def test_a_schedule_offset_wakes_its_sleeper_and_nobody_else() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary, gather_ns=0, night_ns=8 * HOUR_NS)
            person, other = await house.join(conductor), await house.join(conductor)
            for one in (person, other):
                await house.grant(one, Purpose.VOICE)
            await person.set_schedule_offset(-2 * HOUR_NS)
            edges = person.edges
            assert edges.woken_ns is not None
            assert conductor.circle.created_ns is not None
            assert edges.woken_ns == (conductor.circle.epoch_ns or 0) + 6 * HOUR_NS
            await trio.sleep(5.8 * 3600)
            assert (loudness(sanctuary, person), loudness(sanctuary, other)) == (1.0, 1.0)
            await trio.sleep(0.12 * 3600)
            assert 0.0 < loudness(sanctuary, person) < 1.0
            await trio.sleep(0.1 * 3600)
            assert (loudness(sanctuary, person), loudness(sanctuary, other)) == (0.0, 1.0)
            await person.set_schedule_offset(0)
            assert loudness(sanctuary, person) == 1.0
            with pytest.raises(BadInput, match="at most 12 hours"):
                await person.set_schedule_offset(13 * HOUR_NS)

    in_virtual_time(scenario)


def test_who_wakes_hears_the_others_fade_and_so_does_who_listens_to_what_they_hear() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary, gather_ns=0, night_ns=8 * HOUR_NS)
            person, other = await house.join(conductor), await house.join(conductor)
            for one in (person, other):
                await house.grant(one, Purpose.HEARING)
            await house.grant(person, Purpose.MONITORING)
            person.watched(1)
            person.admit(other)
            person.saw([other.sleeper.sleeper_id])
            await trio.sleep(3600)
            await person.set_hearing(0.8, 0.5)
            await person.set_awake(True, 60 * 10**9)
            seen = await rises(sanctuary, person, 61, level=hearing)
            assert seen[0] > 0.75
            assert seen == sorted(seen, reverse=True)
            assert max(a - b for a, b in itertools.pairwise(seen)) < 0.05
            assert hearing(sanctuary, person) == 0.0
            assert hearing(sanctuary, other) == 1.0
            assert plane_of(sanctuary).sleepers[other.number].ear == (person.number, 0.0)
            await person.set_awake(False, 0)
            await trio.sleep(FADE_NS / 1e9 + 1)
            assert hearing(sanctuary, person) == 0.8
            assert plane_of(sanctuary).sleepers[other.number].ear == (person.number, 0.5)
            await other.set_schedule_offset(-6 * HOUR_NS)
            assert hearing(sanctuary, other) == 1.0
            await trio.sleep(3600)
            assert (hearing(sanctuary, person), hearing(sanctuary, other)) == (0.8, 0.0)

    in_virtual_time(scenario)


@pytest.mark.parametrize("wake", ["06:00", "05:59:58..06:00", "05:00..06:00", ""])
def test_nobodys_voice_stops_at_once_when_the_score_is_over(wake: str) -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            plan = None
            if wake:
                plan, _ = parse_plan("UTC", UTC, "", "2027-01-15 22:00", wake, house.utc_ns())
            conductor = await house.circle(sanctuary, gather_ns=None if wake else 0, night_ns=8 * HOUR_NS, plan=plan)
            people = [await house.join(conductor) for _ in range(2)]
            for one in people:
                await house.grant(one, Purpose.VOICE)
            await people[1].set_schedule_offset(HOUR_NS)
            over_ns = ends_ns(conductor.circle, conductor.planned())
            assert over_ns is not None
            await trio.sleep((over_ns - house.now_ns()) / 1e9 - 11)
            assert [loudness(sanctuary, one) for one in people] == [1.0, 1.0]
            seen = list(zip(*[await both(sanctuary, people) for _ in range(44)], strict=True))
            for levels in seen:
                assert levels == tuple(sorted(levels, reverse=True))
                assert max(a - b for a, b in itertools.pairwise(levels)) < 0.06
                assert levels[-1] < 0.06
        async with house.awake() as again:
            back = again.roll.by_id(people[0].sleeper.sleeper_id)
            assert back is not None
            assert loudness(again, back) < 0.06, "a restart finds it as it was"

    in_virtual_time(scenario)


def test_a_host_who_wakes_a_circle_early_lets_the_voices_go_in_its_last_seconds() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary, gather_ns=0, night_ns=8 * HOUR_NS)
            person = await house.join(conductor)
            await house.grant(person, Purpose.VOICE)
            await trio.sleep(3600)
            await conductor.advance(CircleState.WAKING)
            await trio.sleep(595)
            assert 0.4 < loudness(sanctuary, person) < 0.6

    in_virtual_time(scenario)


def test_who_comes_back_finds_all_as_it_was_but_for_a_voice_that_is_muted_until_they_say_otherwise() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary, capacity=1)
            person = await house.join(conductor)
            for purpose in (Purpose.VOICE, Purpose.HEARING, Purpose.RECORDING):
                await house.grant(person, purpose)
            await person.set_offset(0.25)
            sanctuary.doors.withdraw(person, frozenset({Purpose.RECORDING}), house.event_id())
            leaving = house.event_id()
            sanctuary.doors.withdraw(person, frozenset({Purpose.VOICE}), leaving)
            await person.go_away()
            (token,) = await conductor.entrance.create_tokens(1, 0)
            await conductor.entrance.join(token, b"k" * 32, wait=True)
            await settle()
            assert conductor.entrance.waiting == 1, "the place is kept"
            assert person.number not in plane_of(sanctuary).sleepers
            with pytest.raises(NotNow, match="come back first"):
                person.attach(False)
        async with house.awake() as again:
            back = again.roll.by_id(person.sleeper.sleeper_id)
            assert back is not None
            assert back.number not in plane_of(again).sleepers
            await back.come_back()
            await back.come_back()
            held = plane_of(again).sleepers[back.number]
            assert (held.hearing_planned, held.recording_planned, audible(again, back)) == (True, False, False)
            assert back.sleeper.offset == person.sleeper.offset
            await house.grant(back, Purpose.VOICE, supersedes=leaving)
            assert audible(again, back)

    in_virtual_time(scenario)


def test_leaving_for_a_while_is_silent_at_once_also_if_the_disk_refuses() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            person = await house.join(await house.circle(sanctuary))
            await house.grant(person, Purpose.VOICE)
            house.journal.full = True
            with pytest.raises(Unavailable):
                await person.go_away()
            assert not audible(sanctuary, person)
            house.journal.full = False
            await person.come_back()

    in_virtual_time(scenario)
