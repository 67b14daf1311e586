"""Consent where it counts: on the data plane, through both doors, with disks that fail and messages that race."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import trio

from harmonia.domain.consent import ALL_PURPOSES, Purpose
from harmonia.domain.events import ConsentWithdrawn, decode, encode
from harmonia.domain.roles import Role
from harmonia.domain.states import CircleState
from harmonia.engine import doors
from harmonia.engine.doors import Withdrawal
from harmonia.engine.person import Person
from harmonia.errors import BadInput, CredentialEnded, MutedNotRecorded, StaleGrant
from harmonia.journal import ANY, OutcomeUnknown
from tests.engine.nights import House, audible, in_virtual_time, plane_of, settle

VOICE = frozenset({Purpose.VOICE})


def test_a_new_sleeper_is_silent_until_they_grant_their_voice() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            person = await house.join(await house.circle(sanctuary))
            held = plane_of(sanctuary).sleepers[person.number]
            assert not audible(sanctuary, person)
            for purpose in ALL_PURPOSES - VOICE:
                await house.grant(person, purpose)
            assert not audible(sanctuary, person)
            assert held.latched
            await house.grant(person, Purpose.VOICE)
            assert audible(sanctuary, person)

    in_virtual_time(scenario)


def test_muted_in_memory_then_on_disk_then_acknowledged() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            person = await house.join(await house.circle(sanctuary))
            await house.grant(person, Purpose.VOICE)
            plane, event_id = plane_of(sanctuary), house.event_id()
            house.journal.hold()
            with ThreadPoolExecutor(1) as door:
                plane.hear(person.number, event_id)
                waiting = door.submit(sanctuary.doors.hear, person.number, event_id, 0)
                while plane.trail.count("mute") < 2:
                    await trio.lowlevel.checkpoint()
                assert not audible(sanctuary, person)
                assert not plane.sleepers[person.number].acknowledged
                assert not any(isinstance(decode(r.data), ConsentWithdrawn) for r in house.journal.read(person.stream))
                house.journal.let_go()
                waiting.result()
            assert isinstance(decode(house.journal.read(person.stream)[-1].data), ConsentWithdrawn)
            assert plane.sleepers[person.number].acknowledged == [event_id]
            await settle()
            assert all(person.sleeper.consent[purpose].grant is None for purpose in Purpose)

    in_virtual_time(scenario)


def test_only_a_grant_that_names_the_withdrawal_lowers_the_latch() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            person = await house.join(await house.circle(sanctuary))
            await house.grant(person, Purpose.VOICE)
            first, second = house.event_id(), house.event_id()
            for event_id in (first, second):
                epoch = sanctuary.doors.withdraw(person, VOICE, event_id).gate_epoch
                assert epoch > 1
                await settle()
            for stale in (b"", first, house.event_id()):
                with pytest.raises(StaleGrant, match="read the consent again"):
                    await house.grant(person, Purpose.VOICE, supersedes=stale)
                assert not audible(sanctuary, person)
            answer = house.event_id()
            await house.grant(person, Purpose.VOICE, supersedes=second, event_id=answer)
            assert audible(sanctuary, person)
            # Late repetitions of what has been answered change nothing in the end.
            sanctuary.doors.withdraw(person, VOICE, first)
            await settle()
            assert audible(sanctuary, person)
            await house.grant(person, Purpose.VOICE, supersedes=second, event_id=answer)
            assert len([r for r in house.journal.read(person.stream) if r.event_id == b"g" + answer]) == 1

    in_virtual_time(scenario)


def test_an_old_grant_that_is_repeated_after_a_newer_one_does_not_come_back() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            person = await house.join(await house.circle(sanctuary))
            old, soon_ns = house.event_id(), house.now_ns() + 1_000_000_000
            await house.grant(person, Purpose.HEARING, event_id=old)
            await house.grant(person, Purpose.HEARING, until_ns=soon_ns)
            await house.grant(person, Purpose.HEARING, event_id=old)
            grant = person.sleeper.consent[Purpose.HEARING].grant
            assert grant is not None
            assert grant.until_ns == soon_ns

    in_virtual_time(scenario)


def test_a_withdrawal_that_overtakes_a_grant_on_its_way_to_the_journal_wins() -> None:
    """The withdrawal is written between the grant's decision and its append: the journal refuses the grant."""

    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            person = await house.join(await house.circle(sanctuary))
            doors, append = sanctuary.doors, house.journal.append
            withdrawal, slipped_in = house.event_id(), list[bool]()

            def overtaken(stream, expected, event_id, data):  # type: ignore[no-untyped-def]
                if event_id.startswith(b"g") and not slipped_in:
                    slipped_in.append(True)
                    doors.withdraw(person, VOICE, withdrawal)
                return append(stream, expected, event_id, data)

            house.journal.append = overtaken  # type: ignore[method-assign]
            with pytest.raises(StaleGrant):
                await house.grant(person, Purpose.VOICE)
            await settle()
            assert not audible(sanctuary, person)
            assert person.sleeper.consent[Purpose.VOICE].withdrawal == withdrawal
            await house.grant(person, Purpose.VOICE, supersedes=withdrawal)
            assert audible(sanctuary, person)

    in_virtual_time(scenario)


def test_however_many_wait_for_the_disk_the_next_datagram_is_in_force_at_once() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            many, one = await house.join(conductor), await house.join(conductor)
            await house.grant(one, Purpose.RECORDING)
            plane, in_force, narrow = plane_of(sanctuary), threading.Event(), one.narrow

            def narrowed(event, key):  # type: ignore[no-untyped-def]
                answer = narrow(event, key)
                in_force.set()
                return answer

            one.narrow = narrowed  # type: ignore[method-assign]
            house.journal.hold()
            try:
                for _ in range(2 * doors._THREADS):
                    plane.hear(many.number, house.event_id())
                plane.hear(one.number, house.event_id())
                sanctuary.doors.listen()
                assert in_force.wait(10)
                assert one.sleeper.consent[Purpose.RECORDING].grant is None
            finally:
                house.journal.let_go()

    in_virtual_time(scenario)


def test_a_full_disk_leaves_the_sleeper_muted_and_says_so() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            person = await house.join(await house.circle(sanctuary))
            for purpose in (Purpose.VOICE, Purpose.HEARING, Purpose.RECORDING):
                await house.grant(person, purpose)
            plane, withdrawal = plane_of(sanctuary), house.event_id()
            held = plane.sleepers[person.number]
            house.journal.full = True
            with pytest.raises(MutedNotRecorded, match=r"stays so, but not yet on disk; repeat it: .*free some space"):
                sanctuary.doors.withdraw(person, ALL_PURPOSES, withdrawal)
            plane.hear(person.number, withdrawal)
            sanctuary.doors.hear(person.number, withdrawal, 0)
            await settle()
            assert not audible(sanctuary, person)
            assert not held.hearing_planned
            assert not held.recording_planned
            assert held.acknowledged == []
            # Room again: a grant that answers it first records what it answers.
            house.journal.full = False
            await house.grant(person, Purpose.VOICE, supersedes=withdrawal)
            assert audible(sanctuary, person)
            kinds = [type(decode(record.data)).__name__ for record in house.journal.read(person.stream)]
            assert kinds[-2:] == ["ConsentWithdrawn", "ConsentGranted"]
            sanctuary.doors.hear(person.number, house.event_id(), 1 << Purpose.VOICE)
            assert len(held.acknowledged) == 1

    in_virtual_time(scenario)


def test_what_was_withdrawn_on_a_full_disk_is_still_withdrawn_after_a_repetition_and_a_restart() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            person = await house.join(await house.circle(sanctuary))
            await house.grant(person, Purpose.VOICE)
            withdrawal = house.event_id()
            house.journal.full = True
            with pytest.raises(MutedNotRecorded):
                sanctuary.doors.withdraw(person, VOICE, withdrawal)
            house.journal.full = False
            sanctuary.doors.withdraw(person, VOICE, withdrawal)
        async with house.awake() as again:
            back = again.roll.by_id(person.sleeper.sleeper_id)
            assert back is not None
            assert not audible(again, back)

    in_virtual_time(scenario)


def test_the_same_event_id_for_other_purposes_is_not_mistaken_for_a_repetition() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            person = await house.join(await house.circle(sanctuary))
            event_id = house.event_id()
            await house.grant(person, Purpose.VOICE, event_id=event_id)
            await house.grant(person, Purpose.HEARING)
            sanctuary.doors.withdraw(person, frozenset({Purpose.HEARING}), event_id)
            sanctuary.doors.withdraw(person, VOICE, event_id)
        async with house.awake() as again:
            back = again.roll.by_id(person.sleeper.sleeper_id)
            assert back is not None
            assert back.sleeper.consent[Purpose.VOICE].grant is None
            assert back.sleeper.consent[Purpose.HEARING].grant is None

    in_virtual_time(scenario)


def test_a_withdrawal_still_works_after_leaving_or_closing_and_nothing_else_does() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            left, stayed = await house.join(conductor), await house.join(conductor)
            await house.grant(stayed, Purpose.RESEARCH)
            await left.leave()
            await conductor.advance(CircleState.CLOSED)
            for person in (left, stayed):
                withdrawn = sanctuary.doors.withdraw(person, ALL_PURPOSES, house.event_id())
                assert withdrawn.consent[Purpose.RESEARCH].grant is None
                await settle()
                for attempt in (
                    person.set_offset(0.1),
                    person.set_voice((0j, 0j)),
                    house.grant(person, Purpose.VOICE, supersedes=withdrawn.consent[Purpose.VOICE].withdrawal),
                ):
                    with pytest.raises(CredentialEnded, match="can withdraw consent and nothing else"):
                        await attempt

    in_virtual_time(scenario)


def test_leaving_takes_the_voice_out() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            person = await house.join(conductor)
            await house.grant(person, Purpose.VOICE)
            await person.leave()
            assert person.number not in plane_of(sanctuary).sleepers
            assert conductor.entrance.present == 0

    in_virtual_time(scenario)


def test_a_view_shows_those_who_wish_it_and_counts_only_the_present() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            shown, counted, secret = [await house.join(conductor) for _ in range(3)]
            await house.grant(shown, Purpose.VISIBILITY)
            await house.grant(counted, Purpose.PRESENCE)
            view = conductor.view()
            assert [row.sleeper.sleeper_id for row in view.rows] == [shown.sleeper.sleeper_id]
            assert (view.present, len(view.hidden_ids)) == (3, 1)
            assert conductor.view() is view
            assert conductor.own_row(secret).sleeper is secret.sleeper
            sanctuary.doors.withdraw(shown, frozenset({Purpose.VISIBILITY}), house.event_id())
            await settle()
            assert conductor.view().rows == ()

    in_virtual_time(scenario)


@pytest.mark.parametrize("scope", ["", "host", "steward", "sleeper", "{friend}"])
def test_visibility_to_somebody_alone_shows_a_person_to_them_and_to_nobody_else(scope: str) -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            person, friend, other = [await house.join(conductor) for _ in range(3)]
            names = {"friend": friend.sleeper.sleeper_id}
            await house.grant(person, Purpose.VISIBILITY, scope=scope.format(**names))

            def seen_by(role: Role, who: Person | None = None) -> bool:
                view, name = conductor.view(), "" if who is None else who.sleeper.sleeper_id
                rows = (*view.rows, *view.shown_to(role.word, name))
                assert len(rows) <= 1, "once"
                return bool(rows)

            async def used_by(role: Role, who: Person | None = None) -> bool:
                before = [use for use in person.sleeper.uses if use.by == role.word]
                conductor.usage.looked(role.word, "" if who is None else who.sleeper.sleeper_id)
                await conductor.usage.note([person])
                await trio.sleep(3600)
                return [use for use in person.sleeper.uses if use.by == role.word] != before

            seen = {
                "host": seen_by(Role.HOST),
                "steward": any(one.row is not None for one in conductor.stewarding.room(Role.STEWARD).beds),
                "friend": seen_by(Role.SLEEPER, friend),
                "other": seen_by(Role.SLEEPER, other),
            }
            everybody = {"host", "steward", "friend", "other"}
            meant = {"": everybody, "sleeper": {"friend", "other"}, "{friend}": {"friend"}}.get(scope, {scope})
            assert {name for name, is_seen in seen.items() if is_seen} == meant
            assert not conductor.view().shown_to(Role.SLEEPER.word, person.sleeper.sleeper_id), "that is their own row"
            used = {
                "host": await used_by(Role.HOST),
                "friend": await used_by(Role.SLEEPER, friend),
                "other": await used_by(Role.SLEEPER, other),
            }
            assert {name for name, is_used in used.items() if is_used} == meant - {"steward"}
            sanctuary.doors.withdraw(person, frozenset({Purpose.VISIBILITY}), house.event_id())
            await settle()
            assert not any((seen_by(Role.HOST), seen_by(Role.SLEEPER, friend), seen_by(Role.SLEEPER, other)))
            assert all(one.row is None for one in conductor.stewarding.room(Role.STEWARD).beds)

    in_virtual_time(scenario)


@pytest.mark.parametrize(
    ("purpose", "scope", "said"),
    [
        (Purpose.VISIBILITY, "council", "a sleeper's id, host, sleeper, steward, not to 'council'"),
        (Purpose.MONITORING, "host", "one of a sleeper's id, not to 'host'"),
        (Purpose.VOICE, "sleeper-b", "voice is allowed to the whole circle or not at all"),
        (Purpose.VISIBILITY, "sleeper-\n", "printable"),
        (Purpose.VISIBILITY, "sleeper-" + 200 * "x", "at most 200"),
    ],
)
def test_a_scope_without_a_meaning_is_refused(purpose: Purpose, scope: str, said: str) -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            person = await house.join(await house.circle(sanctuary))
            with pytest.raises(BadInput, match=said):
                await house.grant(person, purpose, scope=scope)
            assert person.sleeper.consent[purpose].grant is None

    in_virtual_time(scenario)


def test_every_withdrawal_is_in_force_before_it_is_acknowledged_however_busy_the_engine_is() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            person = await house.join(conductor)
            for purpose in (Purpose.VOICE, Purpose.HEARING, Purpose.RECORDING, Purpose.VISIBILITY):
                await house.grant(person, purpose)
            held = plane_of(sanctuary).sleepers[person.number]
            assert held.recording_planned
            # This test is the engine's thread: until it awaits, nothing that was posted to the engine happens.
            for purpose in (Purpose.RECORDING, Purpose.HEARING):
                sanctuary.doors.withdraw(person, frozenset({purpose}), house.event_id())
            assert (held.voice_planned, held.hearing_planned, held.recording_planned) == (True, False, False)
            sanctuary.doors.withdraw(person, frozenset({Purpose.VISIBILITY}), house.event_id())
            assert person.sleeper.consent[Purpose.VISIBILITY].grant is None

    in_virtual_time(scenario)


def test_a_grant_that_another_withdrawal_overtakes_after_it_was_written_stands() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            person = await house.join(await house.circle(sanctuary))
            doors, append = sanctuary.doors, house.journal.append

            def overtaken(stream, expected, event_id, data):  # type: ignore[no-untyped-def]
                position = append(stream, expected, event_id, data)
                if event_id.startswith(b"g"):
                    one = doors.mute(person, frozenset({Purpose.HEARING}), house.event_id()).unrecorded
                    person.recorded(one.key, append(person.stream, ANY, one.key, encode(one.event)))
                return position

            house.journal.append = overtaken  # type: ignore[method-assign]
            consent = await house.grant(person, Purpose.VOICE)
            assert consent[Purpose.VOICE].grant is not None
            assert audible(sanctuary, person)

    in_virtual_time(scenario)


@pytest.mark.parametrize("kept_back", ["", "repeated", "with the next", "with a grant"])
def test_a_withdrawal_that_is_repeated_after_all_have_forgotten_it_is_written_again(kept_back: str) -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            person = await house.join(await house.circle(sanctuary))
            forgotten = house.event_id()
            for event_id in (forgotten, *(house.event_id() for _ in range(64))):
                sanctuary.doors.withdraw(person, VOICE, event_id)
                await settle()
            await house.grant(person, Purpose.VOICE, supersedes=event_id)
            if kept_back:
                house.journal.full = True
                with pytest.raises(MutedNotRecorded):
                    sanctuary.doors.withdraw(person, VOICE, forgotten)
                house.journal.full = False
            if kept_back == "with a grant":
                await house.grant(person, Purpose.HEARING)
            elif kept_back == "with the next":
                sanctuary.doors.withdraw(person, frozenset({Purpose.HEARING}), house.event_id())
            else:
                sanctuary.doors.withdraw(person, VOICE, forgotten)
            await settle()
            assert not audible(sanctuary, person)
        async with house.awake() as again:
            back = again.roll.by_id(person.sleeper.sleeper_id)
            assert back is not None
            assert not audible(again, back)

    in_virtual_time(scenario)


def test_withdrawals_are_written_in_the_order_in_which_they_were_heard_whichever_is_asked_for_first() -> None:
    """Or a restart would find another one newest than the one that a grant had to name."""

    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            person = await house.join(await house.circle(sanctuary))
            heard = [sanctuary.doors.mute(person, VOICE, house.event_id()) for _ in range(2)]
            for withdrawal in reversed(heard):
                sanctuary.doors.record(withdrawal)
            await settle()
            with pytest.raises(StaleGrant):
                await house.grant(person, Purpose.VOICE, supersedes=heard[0].unrecorded.event.event_id)
            await house.grant(person, Purpose.VOICE, supersedes=heard[1].unrecorded.event.event_id)
            assert audible(sanctuary, person)
        async with house.awake() as again:
            back = again.roll.by_id(person.sleeper.sleeper_id)
            assert back is not None
            assert audible(again, back)

    in_virtual_time(scenario)


def test_a_withdrawal_that_a_full_disk_kept_back_is_written_with_the_next() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            person = await house.join(await house.circle(sanctuary))
            kept_back, newer = house.event_id(), house.event_id()
            house.journal.full = True
            with pytest.raises(MutedNotRecorded):
                sanctuary.doors.withdraw(person, VOICE, kept_back)
            house.journal.full = False
            sanctuary.doors.withdraw(person, VOICE, newer)
            events = [decode(record.data) for record in house.journal.read(person.stream)]
            assert [e.event_id for e in events if isinstance(e, ConsentWithdrawn)] == [kept_back, newer]
            with pytest.raises(StaleGrant):
                await house.grant(person, Purpose.VOICE, supersedes=kept_back)
            await house.grant(person, Purpose.VOICE, supersedes=newer)
        async with house.awake() as again:
            back = again.roll.by_id(person.sleeper.sleeper_id)
            assert back is not None
            assert audible(again, back)

    in_virtual_time(scenario)


@pytest.mark.parametrize(("level", "recorded"), [(0.25, False), (0.5, True), (1.0, True)])
def test_a_voice_is_recorded_only_as_loud_as_its_owner_allows(level: float, recorded: bool) -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            person = await house.join(await house.circle(sanctuary))
            for purpose, far in ((Purpose.VOICE, 0.5), (Purpose.RECORDING, level)):
                event_id = house.event_id()
                await person.grant(purpose, scope="", level=far, until_ns=None, supersedes=b"", event_id=event_id)
            held = plane_of(sanctuary).sleepers[person.number]
            assert held.voice == (0.5 + 0j, 0.5 + 0j)
            assert held.recording_planned is recorded

    in_virtual_time(scenario)


def test_a_no_that_comes_while_an_earlier_one_is_written_is_not_answered_by_a_yes_to_the_earlier_one() -> None:
    """Written behind it, the earlier one would become the newest, and the yes to it would lift the later no."""

    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            person = await house.join(await house.circle(sanctuary))
            await house.grant(person, Purpose.VOICE)
            earlier = sanctuary.doors.mute(person, VOICE, house.event_id())
            later, append = house.event_id(), house.journal.append

            def slow(stream, expected, event_id, data):  # type: ignore[no-untyped-def]
                if event_id == earlier.unrecorded.key:
                    house.journal.append = append  # type: ignore[method-assign]
                    sanctuary.doors.withdraw(person, VOICE, later)
                return append(stream, expected, event_id, data)

            house.journal.append = slow  # type: ignore[method-assign]
            with pytest.raises(StaleGrant):
                await house.grant(person, Purpose.VOICE, supersedes=earlier.unrecorded.event.event_id)
            assert not audible(sanctuary, person)
            await house.grant(person, Purpose.VOICE, supersedes=later)
        async with house.awake() as again:
            back = again.roll.by_id(person.sleeper.sleeper_id)
            assert back is not None
            assert audible(again, back)

    in_virtual_time(scenario)


def test_a_yes_to_a_no_that_is_not_written_yet_is_written_behind_it() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            person = await house.join(await house.circle(sanctuary))
            earlier = sanctuary.doors.mute(person, VOICE, house.event_id())
            later, append = house.event_id(), house.journal.append
            muted = list[Withdrawal]()

            def overtaken(stream, expected, event_id, data):  # type: ignore[no-untyped-def]
                if event_id == earlier.unrecorded.key and not muted:
                    muted.append(sanctuary.doors.mute(person, VOICE, later))
                return append(stream, expected, event_id, data)

            house.journal.append = overtaken  # type: ignore[method-assign]
            await house.grant(person, Purpose.VOICE, supersedes=later)
            assert audible(sanctuary, person)
            for withdrawal in (earlier, *muted):
                sanctuary.doors.record(withdrawal)
            await settle()
            assert audible(sanctuary, person)
        async with house.awake() as again:
            back = again.roll.by_id(person.sleeper.sleeper_id)
            assert back is not None
            assert audible(again, back)

    in_virtual_time(scenario)


def test_a_yes_whose_first_answer_was_lost_counts_when_it_is_repeated_behind_something_else() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            person = await house.join(await house.circle(sanctuary))
            yes, append = house.event_id(), house.journal.append

            def silent(stream, expected, event_id, data):  # type: ignore[no-untyped-def]
                append(stream, expected, event_id, data)
                raise OutcomeUnknown("the disk did not say whether it was written")

            house.journal.append = silent  # type: ignore[method-assign]
            with pytest.raises(OutcomeUnknown):
                await house.grant(person, Purpose.VOICE, event_id=yes)
            house.journal.append = append  # type: ignore[method-assign]
            await person.set_offset(0.25)
            consent = await house.grant(person, Purpose.VOICE, event_id=yes)
            assert consent[Purpose.VOICE].grant is not None
            assert audible(sanctuary, person)

    in_virtual_time(scenario)


def test_a_no_that_a_yes_to_another_overtakes_between_gate_and_memory_raises_the_gate_again() -> None:
    """Its thread is held up where it has muted and nobody knows of it; the epoch that it names has no voice in it."""

    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            person = await house.join(await house.circle(sanctuary))
            plane, narrow = plane_of(sanctuary), person.narrow
            other, held_up, go_on, epochs = house.event_id(), threading.Event(), threading.Event(), []

            def slowly(event, key):  # type: ignore[no-untyped-def]
                held_up.set()
                go_on.wait()
                return narrow(event, key)

            def withdraw() -> None:
                epochs.append(sanctuary.doors.mute(person, VOICE, own).gate_epoch)

            own = house.event_id()
            person.narrow = slowly  # type: ignore[method-assign]
            thread = threading.Thread(target=withdraw)
            thread.start()
            held_up.wait()
            person.narrow = narrow  # type: ignore[method-assign]
            sanctuary.doors.withdraw(person, VOICE, other)
            await house.grant(person, Purpose.VOICE, supersedes=other)
            assert audible(sanctuary, person), "the other no is the newest, and is answered"
            sounded = plane.gate_epoch
            go_on.set()
            thread.join()
            assert plane.sleepers[person.number].latched
            assert epochs[0] > sounded

    in_virtual_time(scenario)
