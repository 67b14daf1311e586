"""Advance wishes in the sanctuary: at their time, through restarts, gone clocks and full disks, and only once."""

import pytest
import trio

from harmonia.domain.advance import AdvanceWish, Since, WishKind
from harmonia.domain.consent import ALL_PURPOSES, Purpose
from harmonia.domain.events import ConsentWithdrawn, decode
from harmonia.domain.states import CircleState
from harmonia.engine.person import Person
from harmonia.engine.sanctuary import Sanctuary
from harmonia.engine.scores import ReadScore
from harmonia.errors import BadInput, BadScore
from harmonia.testing import FakePlane
from tests.engine.nights import HOUR_NS, House, audible, in_virtual_time, plane_of, settle

VOICE = (Purpose.VOICE,)


def after(
    hours: float, wish_id: bytes = b"w" * 16, purposes: tuple[Purpose, ...] = VOICE, **more: object
) -> AdvanceWish:
    return AdvanceWish(wish_id, WishKind.AFTER, purposes, after_ns=round(hours * HOUR_NS), **more)  # type: ignore[arg-type]


def withdrawals(house: House, person: Person) -> list[ConsentWithdrawn]:
    events = [decode(record.data) for record in house.journal.read(person.stream)]
    return [event for event in events if isinstance(event, ConsentWithdrawn)]


def found(sanctuary: Sanctuary, person: Person) -> Person:
    again = sanctuary.roll.by_id(person.sleeper.sleeper_id)
    assert again is not None
    return again


def test_after_three_hours_the_voice_is_gone_and_nothing_else() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            person = await house.join(await house.circle(sanctuary))
            for purpose in (Purpose.VOICE, Purpose.HEARING):
                await house.grant(person, purpose)
            await person.add_wish(after(3))
            await trio.sleep(3 * 3600 - 1)
            assert audible(sanctuary, person)
            await trio.sleep(2)
            assert not audible(sanctuary, person)
            assert person.sleeper.consent[Purpose.HEARING].grant is not None
            (withdrawn,) = withdrawals(house, person)
            assert withdrawn.event_id == after(3).event_id(person.sleeper.sleeper_id)
            assert person.sleeper.wishes[0].fired

    in_virtual_time(scenario)


def test_a_grant_after_a_wish_has_acted_stands_through_every_restart_and_repetition() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            person = await house.join(await house.circle(sanctuary))
            await house.grant(person, Purpose.VOICE)
            await person.add_wish(after(1))
            await trio.sleep(3601)
            event_id = after(1).event_id(person.sleeper.sleeper_id)
            await house.grant(person, Purpose.VOICE, supersedes=event_id)
            sanctuary.doors.withdraw(person, frozenset(VOICE), event_id)  # the platform, late
            await settle()
            await trio.sleep(7200)
            assert audible(sanctuary, person)
            assert len(withdrawals(house, person)) == 1
        async with house.awake() as again:
            await trio.sleep(10)
            assert audible(again, found(again, person))

    in_virtual_time(scenario)


def test_platform_and_sanctuary_make_one_withdrawal_whoever_is_first() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            person = await house.join(await house.circle(sanctuary))
            await house.grant(person, Purpose.VOICE)
            await person.add_wish(after(1))
            event_id = after(1).event_id(person.sleeper.sleeper_id)
            await trio.sleep(3000)
            sanctuary.doors.withdraw(person, frozenset(VOICE), event_id)  # its own clock is ahead
            await trio.sleep(7200)
            assert [one.event_id for one in withdrawals(house, person)] == [event_id]

    in_virtual_time(scenario)


def test_a_wish_whose_time_came_while_the_sanctuary_was_down_acts_before_anybody_sounds() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            person = await house.join(await house.circle(sanctuary))
            await house.grant(person, Purpose.VOICE)
            await person.add_wish(after(1))
        await trio.sleep(2 * 3600)
        async with house.awake() as again:
            assert "release" not in plane_of(again).trail
            await settle()
            assert not audible(again, found(again, person))
            assert len(withdrawals(house, person)) == 1

    in_virtual_time(scenario)


def test_a_wish_for_waking_acts_where_the_circle_is_closed_by_a_start_or_a_crash() -> None:
    async def scenario(house: House) -> None:
        for crash in (False, True):
            async with house.awake() as sanctuary:
                conductor = await house.circle(sanctuary)
                person = await house.join(conductor)
                await house.grant(person, Purpose.RESEARCH)
                await person.add_wish(AdvanceWish(b"w" * 16, WishKind.WAKING, (Purpose.RESEARCH,)))
                if crash:
                    await conductor.advance(CircleState.CLOSED)
            if not crash:
                again = Sanctuary(house.journal, FakePlane(house.now_ns), house.entropy, unreadable, house.utc_ns)
                async with trio.open_nursery() as nursery:
                    await nursery.start(again.run)
                    nursery.cancel_scope.cancel()
                assert len(withdrawals(house, person)) == 1
            async with house.awake() as later:
                known = found(later, person)
                assert known.conductor.circle.state is CircleState.CLOSED
                assert known.sleeper.consent[Purpose.RESEARCH].grant is None
                assert len(withdrawals(house, person)) == 1
            async with house.awake() as once_more:
                assert found(once_more, person).sleeper.wishes[0].fired
                assert len(withdrawals(house, person)) == 1

    in_virtual_time(scenario)


def unreadable(*_score: str) -> ReadScore:
    raise BadScore("nobody reads this")


def test_hours_on_a_clock_that_is_gone_are_over() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            person, other = await house.join(conductor), await house.join(conductor)
            for one in (person, other):
                await house.grant(one, Purpose.VOICE)
            await person.add_wish(after(3))
            await other.add_wish(after(3, since=Since.NIGHT))  # the night has not begun: still to be counted
        plane = FakePlane(house.now_ns)
        plane.clock_id += 1
        async with house.awake(plane=plane) as again:
            assert not audible(again, found(again, person))
            assert audible(again, found(again, other))
        async with house.awake(plane=FakePlane(house.now_ns)) as back:
            assert found(back, person).sleeper.wishes[0].fired
            assert len(withdrawals(house, person)) == 1

    in_virtual_time(scenario)


def test_a_wish_that_has_acted_and_is_removed_needs_another_id_to_be_made_again() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            person = await house.join(await house.circle(sanctuary))
            await house.grant(person, Purpose.VOICE)
            await person.add_wish(after(1))
            await person.remove_wish(after(1).wish_id)
            await person.add_wish(after(1))  # it has not acted: it is as new
            await trio.sleep(3601)
            assert len(await person.add_wish(after(1))) == 1  # a repetition
            await person.remove_wish(after(1).wish_id)
            with pytest.raises(BadInput, match="choose another id"):
                await person.add_wish(after(2))
            await house.grant(person, Purpose.VOICE, supersedes=after(1).event_id(person.sleeper.sleeper_id))
            await person.add_wish(after(2, b"v" * 16))
            await trio.sleep(3601)
            assert not audible(sanctuary, person)

    in_virtual_time(scenario)


def test_the_nights_hours_are_counted_from_the_scores_beginning() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            person = await house.join(conductor)
            await house.grant(person, Purpose.VOICE)
            await person.add_wish(after(1, since=Since.NIGHT))
            await trio.sleep(5 * 3600)
            assert audible(sanctuary, person)
            await conductor.advance(CircleState.ENTRAINING)
            await trio.sleep(3600)
            assert audible(sanctuary, person)
            await trio.sleep(3)  # the score begins two seconds after the word
            assert not audible(sanctuary, person)

    in_virtual_time(scenario)


def test_on_waking_means_the_circles_waking_too() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            person = await house.join(conductor)
            await house.grant(person, Purpose.VISIBILITY)
            await person.add_wish(AdvanceWish(b"w" * 16, WishKind.WAKING, tuple(sorted(ALL_PURPOSES))))
            await conductor.advance(CircleState.ENTRAINING)
            await conductor.advance(CircleState.DREAMING)
            await settle()
            assert person.sleeper.consent[Purpose.VISIBILITY].grant is not None
            await conductor.advance(CircleState.WAKING)
            await settle()
            assert all(person.sleeper.consent[purpose].grant is None for purpose in Purpose)

    in_virtual_time(scenario)


def test_on_waking_means_ones_own_waking_too() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            person = await house.join(await house.circle(sanctuary))
            await house.grant(person, Purpose.VOICE)
            await person.add_wish(AdvanceWish(b"w" * 16, WishKind.WAKING, VOICE))
            await settle()
            assert audible(sanctuary, person)
            await person.set_awake(True, 60 * 10**9)
            await settle()
            assert not audible(sanctuary, person)

    in_virtual_time(scenario)


def test_a_wish_that_acts_as_its_circle_closes_is_written() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            person = await house.join(conductor)
            await house.grant(person, Purpose.RESEARCH)
            await person.add_wish(AdvanceWish(b"w" * 16, WishKind.WAKING, (Purpose.RESEARCH,)))
            await conductor.advance(CircleState.CLOSED)
            await settle()
            assert [one.purposes for one in withdrawals(house, person)] == [(Purpose.RESEARCH,)]

    in_virtual_time(scenario)


def test_a_full_disk_delays_the_writing_and_not_the_mute() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            person = await house.join(await house.circle(sanctuary))
            await house.grant(person, Purpose.VOICE)
            await person.add_wish(after(1))
            house.journal.full = True
            await trio.sleep(3601)
            assert not audible(sanctuary, person)
            assert withdrawals(house, person) == []
            house.journal.full = False
            await trio.sleep(2)
            assert len(withdrawals(house, person)) == 1

    in_virtual_time(scenario)


def test_a_removed_wish_does_not_act_and_what_one_has_done_stays() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            person = await house.join(await house.circle(sanctuary))
            for purpose in (Purpose.VOICE, Purpose.HEARING):
                await house.grant(person, purpose)
            await person.add_wish(after(1))
            await person.add_wish(after(2, b"x" * 16, (Purpose.HEARING,)))
            await person.remove_wish(b"x" * 16)
            await trio.sleep(3 * 3600)
            await person.remove_wish(b"w" * 16)
            assert person.sleeper.wishes == ()
            assert not audible(sanctuary, person)
            assert person.sleeper.consent[Purpose.HEARING].grant is not None
        async with house.awake() as again:
            assert not audible(again, found(again, person))

    in_virtual_time(scenario)
