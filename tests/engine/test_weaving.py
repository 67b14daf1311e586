"""The weave in the engine: what reaches the data plane, after which command, through restarts and withdrawals."""

from typing import Any

import pytest
import trio

from harmonia.domain.consent import ALL_PURPOSES, Purpose
from harmonia.domain.rhythm import Rhythm
from harmonia.domain.sleeper import FOLLOWING
from harmonia.domain.states import CircleState
from harmonia.domain.weaving import CircleMode, Weaving
from harmonia.engine.conductor import Conductor
from harmonia.engine.person import Person
from harmonia.engine.sanctuary import Sanctuary
from harmonia.errors import BadInput, NotNow, NotPermitted
from harmonia.journal import Position
from tests.engine.nights import HOUR_NS, House, in_virtual_time, plane_of, settle

PULL = frozenset({Purpose.PULL})
WOVEN = Weaving(CircleMode.WOVEN, 2.0, 0.5)


async def woven(sanctuary: Sanctuary) -> Conductor:
    return await sanctuary.create_circle(
        title="Night", score_name="night.sbg", score_format="sbg", score_text="4", weaving=WOVEN
    )


def bond(sanctuary: Sanctuary, person: Person) -> tuple[float, float]:
    held = plane_of(sanctuary).sleepers[person.number]
    return held.coupling, held.weight


def own(sanctuary: Sanctuary, person: Person) -> Rhythm | None:
    return plane_of(sanctuary).sleepers[person.number].own_rhythm


def test_nobody_is_pulled_before_they_set_a_coupling_and_grant_pull() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            circle = await woven(sanctuary)
            person = await house.join(circle)
            for purpose in ALL_PURPOSES - PULL:
                await house.grant(person, purpose)
            assert bond(sanctuary, person) == (0.0, 0.0)
            await person.set_coupling(0.75, 1.0)
            assert bond(sanctuary, person) == (0.0, 0.0), "the purpose is missing"
            await house.grant(person, Purpose.PULL)
            assert bond(sanctuary, person) == (0.75, 1.0)
            sanctuary.doors.withdraw(person, PULL, house.event_id())
            assert bond(sanctuary, person) == (0.0, 0.0), "at once"
            with pytest.raises(BadInput, match="from 0 to 1"):
                await person.set_coupling(1.01, 1.0)

    in_virtual_time(scenario)


def test_a_grant_of_pull_alone_pulls_nobody() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            person = await house.join(await woven(sanctuary))
            await house.grant(person, Purpose.PULL)
            assert bond(sanctuary, person) == (0.0, 1.0), "they are counted, and not pulled: coupling is theirs to set"

    in_virtual_time(scenario)


def test_a_restart_finds_strength_rhythm_and_coupling_as_they_were() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            circle = await woven(sanctuary)
            person = await house.join(circle)
            with pytest.raises(NotNow, match="no rhythm yet"):
                await person.set_own_rhythm(4.25, 0)
            await circle.advance(CircleState.ENTRAINING)
            await trio.sleep(10)
            await house.grant(person, Purpose.PULL)
            await person.set_coupling(0.5, 0.25)
            await person.set_own_rhythm(4.25, 0)
            await circle.weave(None, 1.5)
            before = own(sanctuary, person)
            assert before is not None
            assert plane_of(sanctuary).strengths[circle.number] == (1.5, 0.5)
        async with house.awake() as sanctuary:
            again = sanctuary.roll.by_number(person.number)
            assert again is not None
            assert own(sanctuary, again) == before
            assert bond(sanctuary, again) == (0.5, 0.25)
            assert plane_of(sanctuary).strengths[circle.number] == (1.5, 0.5)
            with pytest.raises(BadInput, match="only be lowered"):
                await again.conductor.weave(None, 1.6)
            await again.conductor.weave(CircleMode.FREE, None)
            assert plane_of(sanctuary).strengths[circle.number] == (0.0, 0.5)
            assert own(sanctuary, again) == before, "a mode is an offer"
            assert bond(sanctuary, again) == (0.5, 0.25)

    in_virtual_time(scenario)


def test_who_went_home_follows_the_circle_again() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            circle = await woven(sanctuary)
            person = await house.join(circle)
            await circle.advance(CircleState.ENTRAINING)
            await trio.sleep(10)
            await person.set_own_rhythm(3.5, 0)
            await trio.sleep(60)
            assert await person.set_own_rhythm(None, 0) is not None
            await trio.sleep(60)
            led = await circle.lead(6.0, 0)
            await settle()
            mine, at_ns = own(sanctuary, person), house.now_ns() + 3600 * 10**9
            assert mine is not None
            assert abs((mine.phase_at(at_ns) - led.phase_at(at_ns) + 8) % 2**64) <= 16

    in_virtual_time(scenario)


def test_an_offer_reaches_everybody_and_sets_nobodys_offset() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            circle = await woven(sanctuary)
            people = [await house.join(circle) for _ in range(3)]
            await circle.offer([0.0, 0.25])
            assert circle.circle.offered == (0, 1 << 62)
            assert [person.place for person in people] == [0, 1, 2]
            assert [person.sleeper.offset for person in people] == [0, 0, 0]

    in_virtual_time(scenario)


def test_a_rhythm_follows_a_living_signal_only_where_biosignal_and_pull_are_allowed() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            circle = await woven(sanctuary)
            person = await house.join(circle)
            await circle.advance(CircleState.ENTRAINING)
            await trio.sleep(10)
            for purpose in ALL_PURPOSES - FOLLOWING:
                await house.grant(person, purpose)
            with pytest.raises(NotPermitted, match="pull and biosignal is not"):
                await person.set_own_rhythm(4.25, 0, from_biosignal=True)
            await house.grant(person, Purpose.BIOSIGNAL)
            with pytest.raises(NotPermitted, match="; pull is not"):
                await person.set_own_rhythm(4.25, 0, from_biosignal=True)
            assert own(sanctuary, person) is None
            await house.grant(person, Purpose.PULL)
            await person.set_own_rhythm(4.25, 0, from_biosignal=True)
            led = own(sanctuary, person)
            assert led is not None
            assert led.frequency_hz_at(house.now_ns() + 60 * 10**9) == pytest.approx(4.25)

    in_virtual_time(scenario)


def test_a_withdrawn_biosignal_is_off_the_data_plane_at_once_also_after_a_restart() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            circle = await woven(sanctuary)
            person = await house.join(circle)
            await circle.advance(CircleState.ENTRAINING)
            await trio.sleep(10)
            for purpose in FOLLOWING:
                await house.grant(person, purpose)
            await person.set_own_rhythm(4.25, 0, from_biosignal=True)
            await trio.sleep(30)
            before = own(sanctuary, person)
            assert before is not None
            sanctuary.doors.withdraw(person, frozenset({Purpose.BIOSIGNAL}), house.event_id())
            after, now_ns = own(sanctuary, person), house.now_ns()
            assert after is not None
            assert after.phase_at(now_ns) == before.phase_at(now_ns), "no jump"
            assert after.frequency_hz_at(now_ns + 10 * 10**9) == pytest.approx(4.0)
            with pytest.raises(NotPermitted):
                await person.set_own_rhythm(4.25, 0, from_biosignal=True)
            await settle()
        async with house.awake() as sanctuary:
            again = sanctuary.roll.by_number(person.number)
            assert again is not None
            assert own(sanctuary, again) == after

    in_virtual_time(scenario)


@pytest.mark.parametrize("purpose", sorted(FOLLOWING))
@pytest.mark.parametrize("ending", ["expired", "level 0", "expired while away"])
def test_a_consent_that_ends_without_a_no_ends_following_as_a_no_does(purpose: Purpose, ending: str) -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            circle = await woven(sanctuary)
            person = await house.join(circle)
            await circle.advance(CircleState.ENTRAINING)
            await trio.sleep(10)
            for each in FOLLOWING:
                until_ns = house.now_ns() + HOUR_NS if each is purpose and ending != "level 0" else None
                await house.grant(person, each, until_ns=until_ns)
            await person.set_own_rhythm(4.25, 0, from_biosignal=True)
            await trio.sleep(60)
            before = own(sanctuary, person)
            assert before is not None
            if ending == "expired":
                house.journal.full = True
                house.clock.jump(3600)
                await settle()
            elif ending == "level 0":
                await house.grant(person, purpose, level=0.0)
            after, now_ns = own(sanctuary, person), house.now_ns()
            assert after is not None
            if ending != "expired while away":
                assert after.phase_at(now_ns) == before.phase_at(now_ns), "no jump"
                assert after.frequency_hz_at(now_ns + 10 * 10**9) == pytest.approx(4.0), "whatever the disk does"
                assert person.sleeper.own_rhythm.set_hz is None
            house.journal.full = False
            await trio.sleep(5)
        house.clock.jump(3600)
        async with house.awake() as sanctuary:
            again = sanctuary.roll.by_number(person.number)
            assert again is not None
            assert again.sleeper.own_rhythm.set_hz is None
            back = own(sanctuary, again)
            assert back is not None
            assert ending == "expired while away" or back == after
            assert back.frequency_hz_at(house.now_ns() + 10 * 10**9) == pytest.approx(4.0)
            await settle()
        async with house.awake() as sanctuary:
            once_more = sanctuary.roll.by_number(person.number)
            assert once_more is not None
            assert own(sanctuary, once_more) == back, "written once"
            assert once_more.sleeper.strayed, "and still to be led home"

    in_virtual_time(scenario)


@pytest.mark.parametrize("withdrawn", [False, True])
@pytest.mark.parametrize(("before_hz", "by_hand_hz"), [(None, None), (3.5, None), (None, 3.75), (3.5, 3.75)])
def test_letting_go_of_a_signal_leads_to_what_was_set_also_after_a_restart(
    before_hz: float | None, by_hand_hz: float | None, withdrawn: bool
) -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            circle = await woven(sanctuary)
            person = await house.join(circle)
            await circle.advance(CircleState.ENTRAINING)
            await trio.sleep(10)
            for purpose in FOLLOWING:
                await house.grant(person, purpose)
            if before_hz is not None:
                await person.set_own_rhythm(before_hz, 0)
                await trio.sleep(60)
            for frequency_hz in (4.25, 4.5):
                await person.set_own_rhythm(frequency_hz, 0, from_biosignal=True)
                await trio.sleep(60)
            if withdrawn:
                sanctuary.doors.withdraw(person, frozenset({Purpose.BIOSIGNAL}), house.event_id())
                await settle()
            if by_hand_hz is not None:
                await person.set_own_rhythm(by_hand_hz, 0)
        async with house.awake() as sanctuary:
            again = sanctuary.roll.by_number(person.number)
            assert again is not None
            await again.set_own_rhythm(None, 0, from_biosignal=True)
            await trio.sleep(60)
            mine, shared, now_ns = own(sanctuary, again), again.conductor.circle.rhythm, house.now_ns()
            assert mine is not None
            assert shared is not None
            assert mine.frequency_hz_at(now_ns) == pytest.approx(by_hand_hz or before_hz or 4.0)
            if before_hz is None and by_hand_hz is None:
                assert abs((mine.phase_at(now_ns) - shared.phase_at(now_ns) + 8) % 2**64) <= 16, "home, phase and all"

    in_virtual_time(scenario)


def test_a_consent_that_ends_while_the_disk_takes_its_time_ends_what_is_written_then() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            circle = await woven(sanctuary)
            person = await house.join(circle)
            await circle.advance(CircleState.ENTRAINING)
            await trio.sleep(10)
            for purpose in FOLLOWING:
                await house.grant(person, purpose, until_ns=house.now_ns() + HOUR_NS)
            write = house.journal.append

            def slowly(*args: Any) -> Position:
                house.clock.jump(3600)
                return write(*args)

            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(house.journal, "append", slowly)
                await person.set_own_rhythm(4.25, 0, from_biosignal=True)
            assert person.sleeper.own_rhythm.set_hz is None
            back = own(sanctuary, person)
            assert back is not None
            assert back.frequency_hz_at(house.now_ns() + 10 * 10**9) == pytest.approx(4.0)

    in_virtual_time(scenario)
