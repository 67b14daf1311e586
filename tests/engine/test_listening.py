"""Listening in: only with `monitoring`, told before the first frame, over at once, and never by mere habit."""

from dataclasses import replace

import pytest

from harmonia.domain.consent import ALL_PURPOSES, Purpose
from harmonia.engine.listening import nobody
from harmonia.engine.person import Person
from harmonia.engine.sanctuary import Sanctuary
from harmonia.errors import BadInput, NotFound, NotNow, NotPermitted
from tests.engine.nights import HOUR_NS, House, in_virtual_time, plane_of, settle

MONITORING = frozenset({Purpose.MONITORING})
NEEDED = MONITORING | {Purpose.RECORDING}


async def two(house: House, sanctuary: Sanctuary) -> tuple[Person, Person]:
    """A sleeper who allows everything but to be listened in to, and whose platform is connected; and somebody else."""
    circle = await house.circle(sanctuary)
    sleeper, listener = await house.join(circle), await house.join(circle)
    for purpose in ALL_PURPOSES - NEEDED:
        await house.grant(sleeper, purpose)
    sleeper.watched(1)
    return sleeper, listener


def ear(sanctuary: Sanctuary, listener: Person) -> tuple[int, float] | None:
    return plane_of(sanctuary).sleepers[listener.number].ear


def see(sleeper: Person) -> None:
    """The sleeper's platform was sent who listens."""
    sleeper.saw(list(sleeper.listeners))


def test_nobody_is_listened_in_to_without_monitoring_whatever_else_they_allow() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            sleeper, listener = await two(house, sanctuary)
            with pytest.raises(NotPermitted, match="granting monitoring"):
                sleeper.admit(listener)
            see(sleeper)
            assert (sleeper.listeners, ear(sanctuary, listener)) == ({}, None)
            await house.grant(sleeper, Purpose.MONITORING)
            sleeper.admit(listener)
            see(sleeper)
            assert ear(sanctuary, listener) == (sleeper.number, 1.0)
            with pytest.raises(BadInput, match="your own mix"):
                sleeper.admit(sleeper)

    in_virtual_time(scenario)


def test_no_frame_goes_before_the_sleeper_was_told_and_none_to_who_cannot_be_told() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            sleeper, listener = await two(house, sanctuary)
            await house.grant(sleeper, Purpose.MONITORING)
            told: list[int] = []
            sleeper.changed.subscribe(lambda: told.append(len(sleeper.listeners)))
            sleeper.admit(listener)
            assert told == [1]
            await house.grant(sleeper, Purpose.RESEARCH)  # whatever else makes a plan
            assert ear(sanctuary, listener) is None, "shown, and not yet seen"
            see(sleeper)
            assert ear(sanctuary, listener) is not None
            sleeper.watched(-1)
            assert (sleeper.listeners, ear(sanctuary, listener)) == ({}, None), "nobody there to see it"
            with pytest.raises(NotNow, match="not connected"):
                sleeper.admit(listener)

    in_virtual_time(scenario)


def test_asking_does_not_tell_who_hides_from_who_is_not_here() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            sleeper, listener = await two(house, sanctuary)
            hidden, left = [await house.join(sleeper.conductor) for _ in range(2)]
            elsewhere = await house.join(await house.circle(sanctuary))
            for person in (left, elsewhere):
                await house.grant(person, Purpose.PRESENCE)
                await house.grant(person, Purpose.MONITORING)
            await left.leave()
            for person in (hidden, left, elsewhere):
                with pytest.raises(NotFound) as told:
                    person.admit(listener)
                assert str(told.value) == str(nobody(person.sleeper.sleeper_id))
            await house.grant(hidden, Purpose.MONITORING)
            with pytest.raises(NotNow, match="not connected"):
                hidden.admit(listener)

    in_virtual_time(scenario)


def test_a_withdrawal_ends_it_in_the_same_step_with_a_cut() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            sleeper, listener = await two(house, sanctuary)
            await house.grant(sleeper, Purpose.MONITORING)
            sleeper.admit(listener)
            see(sleeper)
            before = plane_of(sanctuary).gate_epoch
            withdrawal = sanctuary.doors.mute(sleeper, MONITORING, house.event_id())
            assert (sleeper.listeners, ear(sanctuary, listener)) == ({}, None), "before it is on disk"
            assert plane_of(sanctuary).gate_epoch > before
            see(sleeper)
            assert ear(sanctuary, listener) is None, "a late word of the sleeper's platform brings nobody back"
            sanctuary.doors.record(withdrawal)
            await settle()
            with pytest.raises(NotPermitted):
                sleeper.admit(listener)

    in_virtual_time(scenario)


@pytest.mark.parametrize("ending", ["dismissed", "withdrawn"])
def test_a_second_admission_is_refused_and_leaves_no_ear_behind(ending: str) -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            sleeper, listener = await two(house, sanctuary)
            await house.grant(sleeper, Purpose.MONITORING)
            sleeper.admit(listener)
            see(sleeper)
            with pytest.raises(NotNow, match="already"):
                sleeper.admit(listener)
            assert sleeper.listeners[listener.sleeper.sleeper_id].flows, "the first stands as it did"
            if ending == "dismissed":
                sleeper.dismiss(listener)
            else:
                sanctuary.doors.mute(sleeper, MONITORING, house.event_id())
            assert (sleeper.listeners, ear(sanctuary, listener)) == ({}, None)

    in_virtual_time(scenario)


@pytest.mark.parametrize("ending", ["dismissed", "withdrawn"])
def test_an_ear_goes_also_where_no_frame_is_known_to_go(ending: str) -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            sleeper, listener = await two(house, sanctuary)
            await house.grant(sleeper, Purpose.MONITORING)
            sleeper.admit(listener)
            see(sleeper)
            sleeper.listeners = {name: replace(one, flows=False) for name, one in sleeper.listeners.items()}
            if ending == "dismissed":
                sleeper.dismiss(listener)
            else:
                sanctuary.doors.mute(sleeper, MONITORING, house.event_id())
            assert (sleeper.listeners, ear(sanctuary, listener)) == ({}, None)

    in_virtual_time(scenario)


def test_a_withdrawal_reaches_the_data_plane_also_where_a_listener_leaves_it_just_then() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            sleeper, listener = await two(house, sanctuary)
            await house.grant(sleeper, Purpose.MONITORING)
            sleeper.admit(listener)
            see(sleeper)
            plane_of(sanctuary).remove_sleeper(listener.number)  # and nobody here has noticed yet
            for purpose in (Purpose.HEARING, Purpose.MONITORING):
                assert plane_of(sanctuary).sleepers[sleeper.number].hearing_planned == (purpose is Purpose.HEARING)
                sanctuary.doors.mute(sleeper, frozenset({purpose}), house.event_id())
            assert sleeper.listeners == {}
            listener.on_plane = False

    in_virtual_time(scenario)


def test_an_expired_grant_ends_it_too() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            sleeper, listener = await two(house, sanctuary)
            await house.grant(sleeper, Purpose.MONITORING, until_ns=house.now_ns() + HOUR_NS)
            sleeper.admit(listener)
            see(sleeper)
            house.clock.jump(3601)
            await settle()
            assert (sleeper.listeners, ear(sanctuary, listener)) == ({}, None)

    in_virtual_time(scenario)


def test_recording_what_one_hears_takes_recording_as_well() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            sleeper, listener = await two(house, sanctuary)
            await house.grant(sleeper, Purpose.MONITORING)
            listener.attach(recording=True)
            with pytest.raises(NotPermitted, match="granting recording"):
                sleeper.admit(listener)
            listener.attach(recording=False)
            sleeper.admit(listener)
            see(sleeper)
            assert ear(sanctuary, listener) is not None
            listener.attach(recording=True)
            assert (sleeper.listeners, ear(sanctuary, listener)) == ({}, None), "who begins to record is no listener"
            await house.grant(sleeper, Purpose.RECORDING)
            sleeper.admit(listener)
            see(sleeper)
            assert ear(sanctuary, listener) is not None

    in_virtual_time(scenario)


def test_one_listens_in_to_one_and_who_leaves_is_dismissed() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            sleeper, listener = await two(house, sanctuary)
            other = await house.join(sleeper.conductor)
            other.watched(1)
            for person in (sleeper, other):
                await house.grant(person, Purpose.MONITORING)
            sleeper.admit(listener)
            see(sleeper)
            with pytest.raises(NotNow, match="already"):
                other.admit(listener)
            sleeper.dismiss(listener)
            assert ear(sanctuary, listener) is None
            other.admit(listener)
            see(other)
            await listener.leave()
            await house.grant(other, Purpose.RESEARCH)
            assert other.listeners == {}

    in_virtual_time(scenario)


def test_nobody_listens_after_a_restart() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            sleeper, listener = await two(house, sanctuary)
            await house.grant(sleeper, Purpose.MONITORING)
            sleeper.admit(listener)
            see(sleeper)
        async with house.awake() as sanctuary:
            again = sanctuary.roll.by_number(sleeper.number)
            assert again is not None
            assert again.listeners == {}
            assert ear(sanctuary, listener) is None

    in_virtual_time(scenario)
