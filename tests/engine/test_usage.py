"""Usage in the engine: what was used is noted, for its person, however short; what was not, is not."""

import trio

from harmonia.domain.consent import Purpose
from harmonia.domain.states import CircleState
from harmonia.domain.usage import MINUTE_NS
from harmonia.engine.person import Person
from tests.engine.nights import House, in_virtual_time, settle


def noted(person: Person) -> set[tuple[Purpose, str]]:
    return {(use.purpose, use.by) for use in person.sleeper.uses}


def test_a_voice_in_a_sounding_field_is_a_use_and_a_granted_one_in_silence_is_none() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            person, silent = await house.join(conductor), await house.join(conductor)
            await house.grant(person, Purpose.VOICE)
            await trio.sleep(300)
            assert noted(person) == set()
            await conductor.advance(CircleState.ENTRAINING)
            await trio.sleep(3 * 3600)
            sanctuary.doors.withdraw(person, frozenset({Purpose.VOICE}), house.event_id())
            await trio.sleep(120)
            (use,) = person.sleeper.uses
            assert (use.purpose, use.by) == (Purpose.VOICE, "circle")
            assert 180 <= (use.until_ns - use.since_ns) / MINUTE_NS <= 182
            assert noted(silent) == set()
        async with house.awake() as again:
            back = again.roll.by_id(person.sleeper.sleeper_id)
            assert back is not None and back.sleeper.uses == (use,)

    in_virtual_time(scenario)


def test_who_listened_in_is_named_even_if_it_was_for_a_moment() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            person, listener = await house.join(conductor), await house.join(conductor)
            await house.grant(person, Purpose.MONITORING)
            await trio.sleep(5)
            person.watched(1)
            person.admit(listener)
            await trio.sleep(61)
            assert noted(person) == set()  # admitted, and no frame went yet
            person.saw([listener.sleeper.sleeper_id])
            person.dismiss(listener)
            await trio.sleep(60)
            assert noted(person) == {(Purpose.MONITORING, listener.sleeper.sleeper_id)}
            assert noted(listener) == set()

    in_virtual_time(scenario)


def test_looks_are_told_by_role_and_only_to_those_who_were_shown() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            shown, hidden = await house.join(conductor), await house.join(conductor)
            await house.grant(shown, Purpose.VISIBILITY)
            conductor.usage.looked("sleeper", shown.sleeper.sleeper_id)  # at themself
            await trio.sleep(61)
            assert noted(shown) == set()
            conductor.usage.looked("sleeper", hidden.sleeper.sleeper_id)
            conductor.usage.looked("host")
            await trio.sleep(61)
            assert noted(shown) == {(Purpose.VISIBILITY, "host"), (Purpose.VISIBILITY, "sleeper")}
            assert noted(hidden) == set()

    in_virtual_time(scenario)


def test_a_recorder_is_a_use_of_the_voices_that_may_be_recorded() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            person, private, recorder = [await house.join(conductor) for _ in range(3)]
            for one in (person, private):
                await house.grant(one, Purpose.VOICE)
            await house.grant(person, Purpose.RECORDING)
            await house.grant(private, Purpose.RECORDING, level=0.5)  # less than the voice: not recorded
            await conductor.advance(CircleState.ENTRAINING)
            await trio.sleep(61)
            recorder.attach(True)
            await trio.sleep(61)
            assert (Purpose.RECORDING, "circle") in noted(person)
            assert noted(private) == {(Purpose.VOICE, "circle")}

    in_virtual_time(scenario)


def test_a_full_disk_loses_no_use_and_leaving_ends_them() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            person = await house.join(conductor)
            await house.grant(person, Purpose.VOICE)
            await conductor.advance(CircleState.ENTRAINING)
            house.journal.full = True
            await trio.sleep(125)
            assert noted(person) == set()
            house.journal.full = False
            await trio.sleep(60)
            assert noted(person) == {(Purpose.VOICE, "circle")}
            await trio.sleep(600)
            await person.leave()
            await settle()
            (use,) = person.sleeper.uses
            assert (use.until_ns - use.since_ns) / MINUTE_NS >= 10

    in_virtual_time(scenario)
