"""Roles, the silent room, calls for help and dialogues, in virtual time: what holds whoever is host or steward."""

from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonia.domain.consent import ALL_PURPOSES, Purpose
from harmonia.domain.dialogue import WITHDRAWN_MAX
from harmonia.domain.roles import Role
from harmonia.domain.states import CircleState
from harmonia.engine.conductor import Conductor
from harmonia.engine.person import Person
from harmonia.engine.room import BOUND_NS_MAX, OBEYS_NS, Trouble
from harmonia.engine.sanctuary import Sanctuary
from harmonia.engine.usage import LOOK_S
from harmonia.errors import BadInput, NotFound, NotNow, NotPermitted, StorageError
from harmonia.journal import Expected, Position, Unavailable
from harmonia.testing import FakePlane, FlakyJournal
from harmonia.testing.plane import FakeStatus
from tests.engine.nights import HOUR_NS, House, audible, in_virtual_time, plane_of

SOUND = (Purpose.VOICE, Purpose.HEARING)


async def sounding(house: House, conductor: Conductor) -> Person:
    """Somebody who hears and is heard."""
    person = await house.join(conductor)
    for purpose in SOUND:
        await house.grant(person, purpose)
    return person


def hears(sanctuary: Sanctuary, person: Person) -> bool:
    return plane_of(sanctuary).sleepers[person.number].hearing_planned


async def withdraw(house: House, sanctuary: Sanctuary, person: Person, *purposes: Purpose) -> bytes:
    event_id = house.event_id()
    sanctuary.doors.withdraw(person, frozenset(purposes) or ALL_PURPOSES, event_id)
    return event_id


# The silent room


def test_a_silence_is_in_force_for_all_before_it_is_written_and_stays_if_the_disk_refuses() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            people = [await sounding(house, conductor) for _ in range(3)]
            assert all(audible(sanctuary, one) and hears(sanctuary, one) for one in people)
            house.journal.full = True
            with pytest.raises(StorageError):
                await conductor.stewarding.silence("quiet, please", False, "Sam")
            assert not any(audible(sanctuary, one) or hears(sanctuary, one) for one in people)
            house.journal.full = False
            assert conductor.circle.silence is not None
            assert conductor.circle.silence.message == "quiet, please"
            late = await sounding(house, conductor)
            assert not audible(sanctuary, late)

    in_virtual_time(scenario)


def said(sanctuary: Sanctuary, conductor: Conductor) -> tuple[bool, bool]:
    """What frames say of the room: silent, alarm; and platforms are told the same, of the same gate epoch."""
    silent, alarm, epoch = plane_of(sanctuary).hushes[conductor.number]
    silence = conductor.circle.silence
    assert conductor.hushed == (silence, epoch)
    assert (silence is not None, silence is not None and silence.alarm) == (silent, alarm)
    return silent, alarm


def test_frames_say_that_the_room_is_silent_before_the_disk_knows_and_after_a_restart_until_it_is_lifted() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            assert said(sanctuary, conductor) == (False, False)
            house.journal.full = True
            with pytest.raises(StorageError):
                await conductor.stewarding.silence("", False, "Sam")
            assert said(sanctuary, conductor) == (True, False)
            house.journal.full = False
            _, before = conductor.hushed
            await conductor.stewarding.silence("", False, "Kim")
            assert conductor.hushed[1] == before, "as silent as it was"
            await conductor.stewarding.silence("fire", True, "Sam")
            assert said(sanctuary, conductor) == (True, True)
            assert conductor.hushed[1] != before
        async with house.awake() as sanctuary:
            conductor = sanctuary.conductor(conductor.circle.circle_id)
            assert said(sanctuary, conductor) == (True, True)
            silence = conductor.circle.silence
            assert silence is not None
            house.journal.full = True
            with pytest.raises(StorageError):
                await conductor.stewarding.lift(silence.silence_id, "Sam")
            assert said(sanctuary, conductor) == (True, True), "a lift is written first"
            house.journal.full = False
            await conductor.stewarding.lift(silence.silence_id, "Sam")
            assert said(sanctuary, conductor) == (False, False)

    in_virtual_time(scenario)


def test_a_silence_upon_an_alarm_leaves_the_alarm_on() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            await conductor.stewarding.silence("fire", True, "Sam")
            later = await conductor.stewarding.silence("", False, "Kim")
            assert (later.alarm, later.message, later.by) == (True, "fire", "Kim")
            assert conductor.circle.silence == later
            newer = await conductor.stewarding.silence("use the stairs", False, "Kim")
            assert (newer.alarm, newer.message) == (True, "use the stairs")
            await conductor.stewarding.lift(newer.silence_id, "Kim")
            assert conductor.circle.silence is None
            assert not (await conductor.stewarding.silence("", False, "Kim")).alarm
        async with house.awake() as sanctuary:
            silence = sanctuary.conductor(conductor.circle.circle_id).circle.silence
            assert silence is not None and not silence.alarm

    in_virtual_time(scenario)


@pytest.mark.parametrize("alarm", [False, True])
def test_what_is_left_of_a_silence_in_a_closed_circle_is_newer_than_every_frame_that_may_come_late(alarm: bool) -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            silence = await conductor.stewarding.silence("", alarm, "Sam")
            _, since = conductor.hushed
            assert since is not None
            await conductor.advance(CircleState.CLOSED)
            left = silence if alarm else None
            told, epoch = conductor.hushed
            assert told == left
            assert epoch is not None
            assert (epoch == since) if alarm else (epoch > since)
            if alarm:
                await conductor.stewarding.lift(silence.silence_id, "Sam")
                left = None
                assert conductor.hushed == (None, None), "of that no frame says anything any more"
        async with house.awake() as sanctuary:
            assert sanctuary.conductor(conductor.circle.circle_id).hushed == (left, None)

    in_virtual_time(scenario)


def test_nobody_sounds_after_a_restart_until_the_silence_is_lifted() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            ids = [(await sounding(house, conductor)).sleeper.sleeper_id for _ in range(2)]
            silence = await conductor.stewarding.silence("", True, "Sam")
        async with house.awake() as sanctuary:
            conductor = sanctuary.conductor(conductor.circle.circle_id)
            people = [conductor.entrance.people[name] for name in ids]
            assert conductor.circle.silence == silence
            assert not any(audible(sanctuary, one) or hears(sanctuary, one) for one in people)
            await conductor.stewarding.lift(silence.silence_id, "Sam")
            assert all(audible(sanctuary, one) and hears(sanctuary, one) for one in people)

    in_virtual_time(scenario)


@pytest.mark.parametrize("written", [True, False], ids=["on disk", "refused by the disk"])
@pytest.mark.parametrize("alarm", [True, False], ids=["alarm", "silence"])
def test_a_silence_ends_with_its_circle_and_an_alarm_does_not(alarm: bool, written: bool) -> None:
    async def scenario(house: House) -> None:
        async with house.awake(journal := Picky()) as sanctuary:
            conductor = await house.circle(sanctuary, gather_ns=0, night_ns=HOUR_NS)
            await sounding(house, conductor)
            with nullcontext() if written else pytest.raises(StorageError):
                await conductor.stewarding.silence("", alarm, "Sam" if written else "Kim")
            assert conductor.circle.silence is not None
            await trio.sleep(2 * 3600)
            assert not conductor.circle.open
            assert (conductor.circle.silence is not None) == alarm
        async with house.awake(journal) as sanctuary:
            again = sanctuary.conductor(conductor.circle.circle_id)
            assert (again.circle.silence is not None) == (alarm and written)

    in_virtual_time(scenario)


def test_a_lift_lets_nobody_sound_who_withdrew_meanwhile() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            stays, goes = [await sounding(house, conductor) for _ in range(2)]
            silence = await conductor.stewarding.silence("", False, "Sam")
            await withdraw(house, sanctuary, goes)
            await conductor.stewarding.lift(silence.silence_id, "Sam")
            assert audible(sanctuary, stays) and hears(sanctuary, stays)
            assert not audible(sanctuary, goes)
            assert not hears(sanctuary, goes)

    in_virtual_time(scenario)


def test_a_lift_ends_the_silence_that_it_names_and_no_newer_one() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            person = await sounding(house, conductor)
            first = await conductor.stewarding.silence("", False, "Sam")
            second = await conductor.stewarding.silence("", True, "Kim")
            with pytest.raises(NotNow, match="look at it again"):
                await conductor.stewarding.lift(first.silence_id, "Sam")
            assert not audible(sanctuary, person)
            # A silence that the disk does not know yet outlasts the lift of the one before it.
            house.journal.full = True
            with pytest.raises(StorageError):
                await conductor.stewarding.silence("", False, "Lee")
            house.journal.full = False
            third = conductor.circle.silence
            with pytest.raises(NotNow):
                await conductor.stewarding.lift(second.silence_id, "Kim")
            await conductor.advance(CircleState.ENTRAINING)
            assert conductor.circle.silence == third
            assert not audible(sanctuary, person)
            assert third is not None
            await conductor.stewarding.lift(third.silence_id, "Lee")
            assert audible(sanctuary, person)

    in_virtual_time(scenario)


def test_who_listens_in_hears_nothing_of_a_silent_room() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            heard, listener = [await sounding(house, conductor) for _ in range(2)]
            await house.grant(heard, Purpose.MONITORING)
            heard.watched(1)
            heard.admit(listener)
            heard.saw([listener.sleeper.sleeper_id])
            assert plane_of(sanctuary).sleepers[listener.number].ear is not None
            await conductor.stewarding.silence("", False, "Sam")
            assert plane_of(sanctuary).sleepers[listener.number].ear is None

    in_virtual_time(scenario)


ROOM_ACTS = ["silence", "alarm", "lift", "role", "revoke", "help", "coming", "open", "say", "close", "petition", "file"]
OTHER_ACTS = ["withdraw", "withdraw-voice", "grant", "offset", "restart", "advance"]
ACTS = st.lists(st.sampled_from([*ROOM_ACTS, *OTHER_ACTS]), max_size=14)


@settings(max_examples=60, deadline=None)
@given(ACTS)
def test_no_sequence_of_role_acts_turns_a_no_into_a_yes_or_touches_a_setting(acts: Sequence[str]) -> None:
    """Beside the acts of roles two people live; what is theirs is what a person alone, told the same, would have."""

    async def scenario(house: House) -> None:
        wants: set[Purpose] = set()
        offset = 0.0
        circle_id = sleeper_id = ""

        async def life(sanctuary: Sanctuary, todo: list[str]) -> bool:
            nonlocal offset, circle_id, sleeper_id
            if not circle_id:
                circle_id = (await house.circle(sanctuary)).circle.circle_id
                sleeper_id = (await house.join(sanctuary.conductor(circle_id))).sleeper.sleeper_id
            conductor = sanctuary.conductor(circle_id)
            person, room = conductor.entrance.people[sleeper_id], conductor.stewarding
            while todo:
                act = todo.pop(0)
                silent, talk = conductor.circle.silence, next(reversed(list(room.dialogues)), "")
                match act:
                    case "silence" | "alarm":
                        await room.silence("", act == "alarm", "Sam")
                    case "lift" if silent is not None:
                        await room.lift(silent.silence_id, "Sam")
                    case "withdraw":
                        await withdraw(house, sanctuary, person)
                        wants.clear()
                    case "withdraw-voice":
                        await withdraw(house, sanctuary, person, Purpose.VOICE)
                        wants.discard(Purpose.VOICE)
                    case "grant":
                        for purpose in SOUND:
                            newest = person.sleeper.consent[purpose].withdrawal
                            await house.grant(person, purpose, supersedes=newest)
                        wants.update(SOUND)
                    case "offset":
                        offset = 0.125
                        await person.set_offset(offset)
                    case "role":
                        await room.grant(Role.STEWARD, "Sam", None)
                    case "revoke" if room.passes:
                        await room.revoke(next(reversed(room.passes)))
                    case "help":
                        with suppress(NotNow):  # eight wait already
                            await room.call(person, house.event_id(), "")
                    case "coming":
                        for call in list(room.calls.values()):
                            await room.answer(call.help_id, "Sam", False)
                    case "open":
                        await room.open_dialogue("what now", Role.COUNCIL, "Kim")
                    case "say" | "close" if talk and room.dialogues[talk].closed_ns is None:
                        if act == "say":
                            await room.say(talk, "this", Role.STEWARD, "Sam")
                        else:
                            await room.close_dialogue(talk, "")
                    case "petition":
                        with suppress(NotNow):
                            await room.petition(person, house.event_id(), "more light")
                    case "file":
                        for petition in room.waiting_petitions():
                            await room.file(petition.petition_id, "", "a petition", "Ann")
                    case "advance" if conductor.circle.state is CircleState.GATHERING:
                        await conductor.advance(CircleState.ENTRAINING)
                    case "restart":
                        return True
                silenced = conductor.circle.silence is not None
                assert audible(sanctuary, person) == (Purpose.VOICE in wants and not silenced), act
                assert hears(sanctuary, person) == (Purpose.HEARING in wants and not silenced), act
                assert person.sleeper.offset == int(offset * 2**64)
                assert {p for p in Purpose if person.sleeper.consent[p].grant is not None} == wants
            return False

        todo = [*acts, *acts]
        going = True
        while going:
            async with house.awake() as sanctuary:
                going = await life(sanctuary, todo)

    in_virtual_time(scenario)


# Roles


def test_a_revoked_role_is_good_for_nothing_at_once_and_ever_after() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            held, credential = await conductor.stewarding.grant(Role.STEWARD, "Sam", None)
            assert credential not in str(vars(house.journal))
            conductor.stewarding.require(held)
            house.journal.full = True
            with pytest.raises(StorageError):
                await conductor.stewarding.revoke(held.role_id)
            with pytest.raises(NotPermitted, match="revoked"):
                conductor.stewarding.require(held)
            house.journal.full = False
            await conductor.stewarding.revoke(held.role_id)
        async with house.awake() as sanctuary:
            with pytest.raises(NotPermitted, match="revoked"):
                sanctuary.conductor(conductor.circle.circle_id).stewarding.require(held)

    in_virtual_time(scenario)


def test_a_role_ends_with_its_time_with_its_circle_and_with_the_clock_that_its_time_is_on() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            room = conductor.stewarding
            short = (await room.grant(Role.GUEST, "Lee", house.now_ns() + HOUR_NS)).held
            timed = (await room.grant(Role.GUEST, "Lee", house.now_ns() + 9 * HOUR_NS)).held
            whole = (await room.grant(Role.COUNCIL, "Kim", None)).held
            house.clock.jump(3601)
            with pytest.raises(NotPermitted, match="expired"):
                room.require(short)
            for good in (timed, whole):
                room.require(good)
        other = FakePlane(house.now_ns)
        other.clock_id = 2
        async with house.awake(plane=other) as sanctuary:
            conductor = sanctuary.conductor(conductor.circle.circle_id)
            room = conductor.stewarding
            with pytest.raises(NotPermitted, match="revoked"):
                room.require(timed)
            room.require(whole)
            await conductor.advance(CircleState.CLOSED)
            with pytest.raises(NotPermitted, match="ended with its circle"):
                room.require(whole)
            with pytest.raises(NotNow):
                await room.grant(Role.GUEST, "Lee", None)

    in_virtual_time(scenario)


@pytest.mark.parametrize("role", [Role.HOST, Role.SLEEPER])
def test_nobody_is_given_what_comes_with_the_house_or_with_joining(role: Role) -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            with pytest.raises(BadInput, match="choose one of advocate, council, guest, steward, weaver"):
                await conductor.stewarding.grant(role, "Sam", None)

    in_virtual_time(scenario)


# The room


class TellingPlane(FakePlane):
    """A plane whose platforms say what a test lets them say."""

    def __init__(self, house: House) -> None:
        super().__init__(house.now_ns)
        self.told: dict[int, dict[str, Any]] = {}

    def status(self, circle: int) -> list[FakeStatus]:
        return [replace(one, **self.told.get(one.sleeper, {})) for one in super().status(circle)]


WELL: dict[str, Any] = {"age_ns": 10, "session_age_ns": 10, "lock_state": 3, "gate_open": True}


def test_whoever_is_awake_sees_of_each_person_what_that_one_shows_and_nothing_else() -> None:
    async def scenario(house: House) -> None:
        plane = TellingPlane(house)
        async with house.awake(plane=plane) as sanctuary:
            conductor = await house.circle(sanctuary)
            seen, present, hidden = [await house.join(conductor) for _ in range(3)]
            await house.grant(seen, Purpose.VISIBILITY)
            await house.grant(present, Purpose.PRESENCE)
            for person in (seen, present, hidden):
                plane.told[person.number] = WELL
            room = conductor.stewarding.room(Role.STEWARD)
            assert [(bed.place, bed.row is not None) for bed in room.beds] == [(0, True), (1, False)]
            assert room.present == 3
            assert "sleeper" not in repr(room.beds[1])
            await trio.sleep(1.5 * LOOK_S)
            assert [(use.purpose, use.by) for use in seen.sleeper.uses] == [(Purpose.VISIBILITY, "steward")]
            assert present.sleeper.uses == hidden.sleeper.uses == ()
            # A call shows place and words, and no more of who hides.
            for person in (seen, hidden):
                await conductor.stewarding.call(person, house.event_id(), "cold")
            room = conductor.stewarding.room(Role.STEWARD)
            assert [(call.place, call.message) for call in room.calls] == [(0, "cold"), (2, "cold")]
            assert list(room.callers.values()) == [seen.sleeper.sleeper_id]
            assert [bed.place for bed in room.beds] == [0, 1]

    in_virtual_time(scenario)


def test_the_room_shows_what_is_wrong_with_a_platform() -> None:
    async def scenario(house: House) -> None:
        plane = TellingPlane(house)
        async with house.awake(plane=plane) as sanctuary:
            conductor = await house.circle(sanctuary)
            person = await house.join(conductor)
            await house.grant(person, Purpose.VISIBILITY)

            def troubles(**told: int | bool) -> tuple[Trouble, ...]:
                plane.told[person.number] = {**WELL, **told}
                conductor.changed.send()
                return conductor.stewarding.room(Role.STEWARD).beds[0].troubles

            assert troubles() == ()
            assert troubles(session_age_ns=-1) == (Trouble.NO_SESSION,)
            assert troubles(age_ns=6_000_000_000) == (Trouble.SILENT,)
            assert troubles(age_ns=-1) == (Trouble.SILENT,)
            assert troubles(lock_state=4) == (Trouble.UNLOCKED,)
            assert troubles(bound_ns=BOUND_NS_MAX + 1) == (Trouble.BOUND,)
            await conductor.stewarding.silence("", False, "Sam")
            assert troubles() == ()
            house.clock.jump(OBEYS_NS / 1e9 + 0.1)
            assert troubles() == (Trouble.SOUNDING,)
            assert troubles(gate_open=False) == ()

    in_virtual_time(scenario)


# Help


def test_a_call_for_help_needs_no_purpose_waits_for_no_disk_and_outlives_a_restart() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            await house.join(conductor)
            person = await house.join(conductor)
            await withdraw(house, sanctuary, person)
            event_id = house.event_id()
            house.journal.full = True
            with pytest.raises(StorageError):
                await conductor.stewarding.call(person, event_id, "dizzy")
            (shown,) = conductor.stewarding.room(Role.STEWARD).calls
            assert (shown.place, shown.message) == (1, "dizzy")
            house.journal.full = False
            assert await conductor.stewarding.call(person, event_id, "dizzy") == shown
            assert await conductor.stewarding.call(person, event_id, "dizzy") == shown
        async with house.awake() as sanctuary:
            conductor = sanctuary.conductor(conductor.circle.circle_id)
            room = conductor.stewarding
            assert room.room(Role.STEWARD).calls == (shown,)
            coming = await room.answer(shown.help_id, "Sam", False)
            assert (await room.answer(shown.help_id, "Kim", False)) == coming
            assert (coming.by, coming.resolved_ns) == ("Sam", None)
        async with house.awake() as sanctuary:
            conductor = sanctuary.conductor(conductor.circle.circle_id)
            room = conductor.stewarding
            person = conductor.entrance.people[person.sleeper.sleeper_id]
            assert room.calls_of(person) == (coming,)
            assert (await room.answer(shown.help_id, "Kim", True)).resolved_ns is not None
            house.clock.jump(3601)
            assert room.room(Role.STEWARD).calls == ()

    in_virtual_time(scenario)


def test_an_answer_that_the_disk_took_before_the_call_outlives_a_restart() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            person, event_id = await house.join(conductor), house.event_id()
            house.journal.full = True
            with pytest.raises(StorageError):
                await conductor.stewarding.call(person, event_id, "dizzy")
            house.journal.full = False
            (shown,) = conductor.stewarding.room(Role.STEWARD).calls
            coming = await conductor.stewarding.answer(shown.help_id, "Sam", False)
            assert await conductor.stewarding.call(person, event_id, "dizzy") == coming
        async with house.awake() as sanctuary:
            room = sanctuary.conductor(conductor.circle.circle_id).stewarding
            assert room.room(Role.STEWARD).calls == (coming,)

    in_virtual_time(scenario)


def test_the_caller_is_told_that_somebody_is_coming() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            person = await house.join(conductor)
            call = await conductor.stewarding.call(person, house.event_id(), "")
            told = []
            person.changed.subscribe(lambda: told.append(conductor.stewarding.calls_of(person)[0].by))
            await conductor.stewarding.answer(call.help_id, "Sam", False)
            assert told[-1] == "Sam"

    in_virtual_time(scenario)


def test_a_call_is_its_callers_to_take_back_until_it_is_resolved_and_stays_so_over_a_restart() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            person, other = await house.join(conductor), await house.join(conductor)
            room, events = conductor.stewarding, [house.event_id() for _ in range(3)]
            # One that the disk refused is not written behind its end.
            house.journal.full = True
            with pytest.raises(StorageError):
                await room.call(person, events[0], "dizzy")
            (shown,) = room.room(Role.STEWARD).calls
            with pytest.raises(StorageError):
                await room.take_back(person, shown.help_id)
            assert room.calls_of(person) == (shown,)
            house.journal.full = False
            gone = await room.take_back(person, shown.help_id)
            assert gone.taken_back
            assert await room.call(person, events[0], "dizzy") == gone
            # One that somebody comes to; and one that is resolved.
            coming, resolved = [await room.call(person, event_id, "") for event_id in events[1:]]
            await room.answer(coming.help_id, "Sam", False)
            coming = await room.take_back(person, coming.help_id)
            assert (coming.by, coming.taken_back) == ("Sam", True)
            resolved = await room.answer(resolved.help_id, "Sam", True)
            assert await room.take_back(person, resolved.help_id) == resolved
            with pytest.raises(NotFound, match="list your calls"):
                await room.take_back(other, coming.help_id)
        async with house.awake() as sanctuary:
            room = sanctuary.conductor(conductor.circle.circle_id).stewarding
            assert set(room.room(Role.STEWARD).calls) == {coming, resolved}, "the other was never written"

    in_virtual_time(scenario)


def test_bad_calls_are_refused() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            one, other = await house.join(conductor), await house.join(conductor)
            room, event_id = conductor.stewarding, house.event_id()
            with pytest.raises(BadInput, match="printable"):
                await room.call(one, event_id, "a\nb")
            await room.call(one, event_id, "")
            assert (await room.call(other, event_id, "")).place == 1  # another's of the same name is another call
            for _ in range(7):
                await room.call(one, house.event_id(), "")
            with pytest.raises(NotNow, match="8 of your calls"):
                await room.call(one, house.event_id(), "")
            with pytest.raises(NotFound, match="look at the room"):
                await room.answer("help-x", "Sam", True)

    in_virtual_time(scenario)


# Dialogues and petitions


@pytest.mark.parametrize("state", [CircleState.GATHERING, CircleState.ENTRAINING, CircleState.DREAMING])
def test_a_dialogue_opens_beside_the_night_and_the_night_goes_on(state: CircleState) -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            person = await sounding(house, conductor)
            for step in (CircleState.ENTRAINING, CircleState.DREAMING):
                if conductor.circle.state < state:
                    await conductor.advance(step)
            held = await conductor.stewarding.open_dialogue("the window", Role.COUNCIL, "Kim")
            said = await conductor.stewarding.say(held.dialogue_id, "open it", Role.SLEEPER, "")
            assert conductor.circle.state is state
            assert audible(sanctuary, person)
            assert [(one.role, one.text) for one in said.statements] == [(Role.SLEEPER, "open it")]
            done = await conductor.stewarding.close_dialogue(held.dialogue_id, "it is open")
            with pytest.raises(NotNow, match="closed"):
                await conductor.stewarding.say(held.dialogue_id, "too late", Role.HOST, "")
        async with house.awake() as sanctuary:
            room = sanctuary.conductor(conductor.circle.circle_id).stewarding
            assert list(room.dialogues.values()) == [done]

    in_virtual_time(scenario)


def test_no_dialogue_opens_in_a_closed_circle() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            await conductor.advance(CircleState.CLOSED)
            with pytest.raises(NotNow, match="live phase"):
                await conductor.stewarding.open_dialogue("the window", Role.COUNCIL, "Kim")

    in_virtual_time(scenario)


def test_a_petition_reaches_the_advocate_as_text_and_its_maker_sees_what_became_of_it() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            person, other = await house.join(conductor), await house.join(conductor)
            room = conductor.stewarding
            event_id = house.event_id()
            made = await room.petition(person, event_id, "less bass")
            assert await room.petition(person, event_id, "less bass") == made
            gone = await room.petition(person, house.event_id(), "more bass")
            await room.withdraw_petition(person, gone.petition_id)
            with pytest.raises(NotFound, match="you have made no petition"):
                await room.withdraw_petition(other, made.petition_id)
            assert [one.text for one in room.waiting_petitions()] == ["less bass"]
            for dialogue_id, topic in (("", ""), ("dialogue-x", "a topic")):
                with pytest.raises(BadInput, match="a dialogue's id, or a topic"):
                    await room.file(made.petition_id, dialogue_id, topic, "Ann")
            with pytest.raises(NotFound, match="no petition"):
                await room.file(gone.petition_id, "", "bass", "Ann")
            held = await room.file(made.petition_id, "", "bass", "Ann")
            assert person.sleeper.sleeper_id not in repr(held)
            assert (held.role, held.statements[0].petition_id) == (Role.ADVOCATE, made.petition_id)
            with pytest.raises(NotNow, match="is filed"):
                await room.withdraw_petition(person, made.petition_id)
            with pytest.raises(NotFound, match="no petition"):
                await room.file(made.petition_id, "", "bass", "Ann")
        async with house.awake() as sanctuary:
            conductor = sanctuary.conductor(conductor.circle.circle_id)
            person = conductor.entrance.people[person.sleeper.sleeper_id]
            became = [(one.withdrawn, one.dialogue_id) for one in conductor.stewarding.petitions_of(person)]
            assert became == [(False, held.dialogue_id), (True, "")]
            assert conductor.stewarding.waiting_petitions() == []

    in_virtual_time(scenario)


def test_of_withdrawn_petitions_the_newest_few_are_kept() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            person, other = await house.join(conductor), await house.join(conductor)
            room = conductor.stewarding
            waiting = (await room.petition(person, house.event_id(), "stays")).text
            theirs = await room.petition(other, house.event_id(), "theirs")
            await room.withdraw_petition(other, theirs.petition_id)
            for n in range(WITHDRAWN_MAX + 3):
                made = await room.petition(person, house.event_id(), f"number {n}")
                assert (await room.withdraw_petition(person, made.petition_id)).withdrawn
        async with house.awake() as again:
            for stewarding in (room, again.conductor(conductor.circle.circle_id).stewarding):
                kept = [one.text for one in stewarding.petitions_of(person)]
                assert kept == [waiting, *(f"number {n}" for n in range(3, WITHDRAWN_MAX + 3))]
                assert len(stewarding.petitions_of(other)) == 1

    in_virtual_time(scenario)


@pytest.mark.parametrize("filed_first", [True, False])
def test_a_petition_that_is_withdrawn_while_it_is_filed_is_the_one_or_the_other(filed_first: bool) -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            person, room = await house.join(conductor), conductor.stewarding
            for ticks in 6 * [*range(5)]:  # one at every step of the other's way to the disk, whoever runs first there
                name = (await room.petition(person, house.event_id(), "less bass")).petition_id
                before = len(room.dialogues)

                async def file(name: str = name) -> None:
                    with suppress(NotFound):
                        await room.file(name, "", "bass", "Ann")

                async def withdraw(name: str = name) -> None:
                    with suppress(NotNow):
                        await room.withdraw_petition(person, name)

                one, other = (file, withdraw) if filed_first else (withdraw, file)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(one)
                    for _ in range(ticks):
                        await trio.lowlevel.checkpoint()
                    await other()
                held = room.petitions[name]
                assert held.withdrawn != bool(held.dialogue_id)
                assert len(room.dialogues) - before == bool(held.dialogue_id)

    in_virtual_time(scenario)


class Picky(FlakyJournal):
    """A journal that refuses what one of two people does."""

    def append(self, stream: str, expected: Expected | Position, event_id: bytes, data: bytes) -> Position:
        if b'"Kim"' in data:
            raise Unavailable("not for Kim: free some space")
        return super().append(stream, expected, event_id, data)


def test_a_silence_that_the_disk_refused_outlasts_the_writing_and_the_lift_of_one_before_it() -> None:
    async def scenario(house: House) -> None:
        async with house.awake(Picky()) as sanctuary:
            conductor = await house.circle(sanctuary)
            person, room = await sounding(house, conductor), conductor.stewarding
            async with trio.open_nursery() as nursery:
                nursery.start_soon(room.silence, "", False, "Sam")
                while (older := conductor.circle.silence) is None:
                    await trio.lowlevel.checkpoint()
                with pytest.raises(StorageError):
                    await room.silence("", False, "Kim")
            newer = conductor.circle.silence
            assert newer is not None
            assert (older.by, newer.by) == ("Sam", "Kim")
            with pytest.raises(NotNow):
                await room.lift(older.silence_id, "Sam")
            assert not audible(sanctuary, person)
            await room.lift(newer.silence_id, "Sam")
            assert audible(sanctuary, person)

    in_virtual_time(scenario)


class Late(FlakyJournal):
    """A journal whose next writing seems to fail, and is there after all."""

    fails = False

    def append(self, stream: str, expected: Expected | Position, event_id: bytes, data: bytes) -> Position:
        position = super().append(stream, expected, event_id, data)
        if self.fails:
            self.fails = False
            raise Unavailable("the disk did not answer: free some space")
        return position


def test_a_silence_and_a_revocation_are_written_behind_what_seemed_to_fail() -> None:
    async def scenario(house: House) -> None:
        journal = Late()
        async with house.awake(journal) as sanctuary:
            conductor = await house.circle(sanctuary)
            room = conductor.stewarding
            held = (await room.grant(Role.STEWARD, "Sam", None)).held
            for narrow in (lambda: room.silence("", False, "Sam"), lambda: room.revoke(held.role_id)):
                journal.fails = True
                with pytest.raises(StorageError):
                    await conductor.offer([0.25])
                await narrow()
        async with house.awake(journal) as sanctuary:
            conductor = sanctuary.conductor(conductor.circle.circle_id)
            assert conductor.circle.silence is not None
            assert conductor.stewarding.passes[held.role_id].revoked

    in_virtual_time(scenario)
