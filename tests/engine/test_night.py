"""Whole nights: the timetable, restarts, and what each leaves of the other."""

from contextlib import suppress

import pytest
import trio

from harmonia.domain.consent import Purpose
from harmonia.domain.states import Cause, CircleState, Ending
from harmonia.engine.sanctuary import Sanctuary
from harmonia.engine.scores import ReadScore
from harmonia.errors import BadInput, CredentialEnded, NotFound, NotNow, StaleGrant, WrongExpectedRevision
from harmonia.journal import OutcomeUnknown, Position, Record
from harmonia.journal.memory import MemoryJournal
from harmonia.testing import FakePlane, fake_scores
from tests.engine.nights import HOUR_NS, KEY, House, audible, came_in, in_virtual_time, plane_of, settle

S = CircleState


def test_an_eight_hour_night_runs_by_itself() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary, gather_ns=HOUR_NS, night_ns=8 * HOUR_NS)
            began_ns = conductor.circle.created_ns
            person = await house.join(conductor)
            await house.grant(person, Purpose.VOICE)
            states = []
            conductor.moved.subscribe(lambda: states.append((conductor.circle.state, house.now_ns() - began_ns)))
            heard = {}
            while conductor.circle.open:
                await trio.sleep(600)
                heard[conductor.circle.state] = audible(sanctuary, person)
            minute_ns = HOUR_NS // 60
            assert states == [
                (S.ENTRAINING, HOUR_NS - 2_000_000_000),
                (S.DREAMING, HOUR_NS + 10 * minute_ns),
                (S.WAKING, 9 * HOUR_NS - 10 * minute_ns),
                (S.DIALOGUE, 9 * HOUR_NS),
                (S.CLOSED, 9 * HOUR_NS + 30 * minute_ns),
            ]
            assert conductor.circle.epoch_ns == began_ns + HOUR_NS
            assert heard == {
                **dict.fromkeys((S.GATHERING, S.ENTRAINING, S.DREAMING, S.WAKING), True),
                **dict.fromkeys((S.DIALOGUE, S.CLOSED), False),
            }
            assert not plane_of(sanctuary).circles
            assert not plane_of(sanctuary).sleepers

    in_virtual_time(scenario)


def test_a_score_that_ends_ends_the_night() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary, text="4 100", gather_ns=0)
            await trio.sleep(101)  # it begins two seconds after its circle
            assert conductor.circle.state.name == "WAKING"
            await trio.sleep(1.1)
            assert conductor.circle.state.name == "DIALOGUE"

    in_virtual_time(scenario)


def test_the_host_may_be_faster_than_the_timetable() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary, gather_ns=HOUR_NS, night_ns=HOUR_NS)
            await conductor.advance(S.ENTRAINING)
            assert conductor.circle.epoch_ns == house.now_ns() + 2_000_000_000
            await conductor.advance(S.WAKING)
            with pytest.raises(NotNow, match="cannot become dreaming"):
                await conductor.advance(S.DREAMING)
            await trio.sleep(3600)
            assert conductor.circle.state == S.CLOSED

    in_virtual_time(scenario)


def test_a_restart_brings_everything_back_exactly() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary, gather_ns=0, night_ns=8 * HOUR_NS)
            (unused, used) = await conductor.entrance.create_tokens(2, 0)
            person = came_in(await conductor.entrance.join(used, KEY))
            quiet, gone = await house.join(conductor), await house.join(conductor)
            await house.grant(person, Purpose.VOICE)
            await house.grant(quiet, Purpose.VOICE)
            withdrawal = house.event_id()
            sanctuary.doors.withdraw(quiet, frozenset({Purpose.VOICE}), withdrawal)
            await person.set_offset(0.25)
            await person.set_voice((0.5 + 0.5j, 1j))
            await person.set_hearing(0.5, 0.25)
            await trio.sleep(3)
            await conductor.lead(7.5, HOUR_NS)
            await gone.leave()
            await trio.sleep(3600)
            circle, sleepers = conductor.circle, [each.sleeper for each in (person, quiet)]
            sanctuary_id = sanctuary.sanctuary_id
        async with house.awake() as again:
            back = again.conductor(circle.circle_id)
            assert again.sanctuary_id == sanctuary_id
            assert back.circle == circle
            assert list(back.entrance.people) == [person.sleeper.sleeper_id, quiet.sleeper.sleeper_id]
            found = [again.roll.by_id(sleeper.sleeper_id) for sleeper in sleepers]
            assert [each.sleeper for each in found if each] == sleepers
            assert [audible(again, each) for each in found if each] == [True, False]
            speaker, listener = (each for each in found if each)
            assert plane_of(again).sleepers[speaker.number].voice == (0.5 + 0.5j, 1j)
            with pytest.raises(Exception, match="has been used"):
                await back.entrance.join(used, b"q" * 32)
            assert came_in(await back.entrance.join(used, KEY)) is speaker
            await back.entrance.join(unused, KEY)
            await house.grant(listener, Purpose.VOICE, supersedes=withdrawal)
            assert audible(again, listener)
            await trio.sleep(8 * 3600 + 1800)
            assert back.circle.state == S.CLOSED

    in_virtual_time(scenario)


def test_nobody_is_on_the_data_plane_before_the_journal_is_read_to_its_end() -> None:
    class Watched(MemoryJournal):
        plane: FakePlane | None = None

        def read(self, stream: str | None, after: Position | None = None, limit: int | None = None) -> list[Record]:
            assert self.plane is None or not (self.plane.sleepers or self.plane.circles)
            return super().read(stream, after, min(limit or 2, 2))  # many pages

    async def scenario(house: House) -> None:
        journal = Watched()
        async with house.awake(journal) as sanctuary:
            person = await house.join(await house.circle(sanctuary))
            await house.grant(person, Purpose.VOICE)
        journal.plane = FakePlane(house.now_ns)
        async with house.awake(journal, journal.plane) as again:
            assert audible(again, person)

    in_virtual_time(scenario)


def test_a_night_missed_while_down_is_over_and_a_beginning_missed_is_made_up_for() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            over = (await house.circle(sanctuary, gather_ns=0, night_ns=HOUR_NS)).circle.circle_id
            await settle()
            missed = (await house.circle(sanctuary, gather_ns=HOUR_NS, night_ns=9 * HOUR_NS)).circle.circle_id
        await trio.sleep(5 * 3600)
        async with house.awake() as again:
            await settle()
            assert again.conductor(over).circle.state is S.CLOSED
            late = again.conductor(missed).circle
            assert late.state is S.ENTRAINING
            assert late.epoch_ns == house.now_ns() + 2_000_000_000

    in_virtual_time(scenario)


def test_a_host_and_a_timetable_that_move_at_the_same_instant_do_not_trip_over_each_other() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            for _ in range(30):  # trio wakes tasks of one instant in any order
                conductor = await house.circle(sanctuary, gather_ns=HOUR_NS)
                await trio.sleep(3598)
                with suppress(NotNow):
                    await conductor.advance(S.ENTRAINING)
                await settle()
                assert conductor.circle.state is S.ENTRAINING

    in_virtual_time(scenario)


def test_a_full_disk_delays_the_night_and_does_not_end_it() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary, gather_ns=HOUR_NS, night_ns=HOUR_NS)
            house.journal.full = True
            await trio.sleep(4000)
            assert conductor.circle.state.name == "GATHERING"
            house.journal.full = False
            await trio.sleep(2)
            assert conductor.circle.state.name == "ENTRAINING"

    in_virtual_time(scenario)


def test_a_rhythm_is_led_without_a_jump() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary, gather_ns=0)
            await settle()
            before = conductor.circle.rhythm
            after = await conductor.lead(8.0, 0)
            assert before is not None
            assert after.segments[:-1] == before.segments
            start_ns = after.segments[-1].start_ns
            assert start_ns >= house.now_ns() + 2_000_000_000
            assert after.phase_at(start_ns) == before.phase_at(start_ns)

    in_virtual_time(scenario)


def test_a_grant_that_ends_ends_by_itself() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            person = await house.join(await house.circle(sanctuary))
            await house.grant(person, Purpose.VOICE, until_ns=house.now_ns() + HOUR_NS)
            await trio.sleep(3599)
            assert audible(sanctuary, person)
            await trio.sleep(1.5)
            assert not audible(sanctuary, person)
            with pytest.raises(BadInput, match="must end in the future"):
                await house.grant(person, Purpose.VOICE, until_ns=house.now_ns())

    in_virtual_time(scenario)


def test_a_grant_whose_end_lies_on_a_clock_that_is_gone_does_not_begin_again() -> None:
    """A reboot with the date set back: the end, once passed, lies ahead again."""

    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            person, other = [await house.join(await house.circle(sanctuary)) for _ in range(2)]
            await house.grant(person, Purpose.VOICE, until_ns=house.now_ns() + HOUR_NS)
            await house.grant(other, Purpose.VOICE)
            await trio.sleep(3601)
            assert not audible(sanctuary, person)
        earlier = house.now_ns

        def set_back() -> FakePlane:
            plane = FakePlane(lambda: earlier() - 2 * HOUR_NS)
            plane.clock_id = 2
            return plane

        for _ in range(2):  # the second start finds the new clock going on
            async with house.awake(plane=set_back()) as again:
                back, stayed = (again.roll.by_id(who.sleeper.sleeper_id) for who in (person, other))
                assert back is not None
                assert stayed is not None
                assert not audible(again, back)
                assert audible(again, stayed)
        async with house.awake(plane=set_back()) as again:
            back = again.roll.by_id(person.sleeper.sleeper_id)
            assert back is not None
            with pytest.raises(StaleGrant):
                await house.grant(back, Purpose.VOICE)

    in_virtual_time(scenario)


def test_a_grant_ends_in_time_while_the_timetable_waits_for_the_disk() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary, gather_ns=HOUR_NS)
            person = await house.join(conductor)
            await house.grant(person, Purpose.VOICE, until_ns=conductor.circle.created_ns + HOUR_NS)
            house.journal.full = True
            await trio.sleep(3599)  # the timetable is waiting for room by now
            assert audible(sanctuary, person)
            await trio.sleep(1.01)
            assert not audible(sanctuary, person)
            assert conductor.circle.state is S.GATHERING

    in_virtual_time(scenario)


def test_an_event_that_was_written_although_the_disk_said_otherwise_does_not_end_the_night() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary, gather_ns=HOUR_NS, night_ns=HOUR_NS)
            hosted = await house.circle(sanctuary)
            append = house.journal.append

            def doubtful(stream, expected, event_id, data):  # type: ignore[no-untyped-def]
                append(stream, expected, event_id, data)
                raise OutcomeUnknown("it may be written")

            house.journal.append = doubtful  # type: ignore[method-assign]
            with pytest.raises(OutcomeUnknown):
                await hosted.advance(S.CLOSED)
            await trio.sleep(3600)
            house.journal.append = append  # type: ignore[method-assign]
            await trio.sleep(3)
            assert conductor.circle.state is S.ENTRAINING
            with pytest.raises(WrongExpectedRevision):
                await hosted.entrance.create_tokens(1, 0)
            assert hosted.circle.state is S.CLOSED

    in_virtual_time(scenario)


def test_what_is_not_there_is_said() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            with pytest.raises(NotFound, match="no circle 'circle-x' here"):
                sanctuary.conductor("circle-x")
            ids = [(await house.circle(sanctuary)).circle.circle_id for _ in range(5)]
            listed, after = [], ""
            while True:
                page, after = sanctuary.circles(after, 2)
                listed += [conductor.circle.circle_id for conductor in page]
                if not after:
                    break
            assert listed == ids
            with pytest.raises(BadInput, match="page token"):
                sanctuary.circles("circle-x", 2)

    in_virtual_time(scenario)


def test_a_score_that_no_longer_reads_matters_no_more_once_its_circle_is_closed() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            await conductor.advance(S.CLOSED)

        def forgetful(name: str, _format: str, _text: str) -> ReadScore:
            raise AssertionError(f"nobody plays {name} any more")

        again = Sanctuary(house.journal, FakePlane(house.now_ns), house.entropy, forgetful)
        async with trio.open_nursery() as nursery:
            await nursery.start(again.run)
            assert not again.conductor(conductor.circle.circle_id).circle.open
            nursery.cancel_scope.cancel()

    in_virtual_time(scenario)


def test_a_score_that_no_longer_reads_fails_its_circle_with_a_reason_and_no_other() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            broken, whole = await house.circle(sanctuary, text="5"), await house.circle(sanctuary)
            person = await house.join(broken)
            await house.grant(person, Purpose.VOICE)

        def stricter(name: str, format: str, text: str) -> ReadScore:
            return fake_scores(name, format, "nonsense" if text == "5" else text)

        again = Sanctuary(house.journal, FakePlane(house.now_ns), house.entropy, stricter)
        async with trio.open_nursery() as nursery:
            await nursery.start(again.run)
            failed = again.conductor(broken.circle.circle_id).circle
            assert (failed.state, failed.ending, failed.cause) == (S.CLOSED, Ending.FAILED, Cause.FAILURE)
            assert failed.reason == "its score cannot be read any more (night.sbg:1: not HERTZ or HERTZ SECONDS)"
            assert again.conductor(whole.circle.circle_id).circle == whole.circle
            back = again.roll.by_id(person.sleeper.sleeper_id)
            assert back is not None
            with pytest.raises(CredentialEnded, match="this circle failed: its score cannot be read"):
                await back.set_offset(0.5)
            nursery.cancel_scope.cancel()

    in_virtual_time(scenario)


def test_a_night_whose_clock_is_lost_fails_and_one_that_has_not_begun_waits() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            sounding = await house.circle(sanctuary, gather_ns=0, night_ns=8 * HOUR_NS)
            gathering = await house.circle(sanctuary)
            await trio.sleep(3600)
        later = house.now_ns
        for clock_id, behind_ns in ((2, 0), (3, 2 * HOUR_NS)):
            plane = FakePlane(lambda behind_ns=behind_ns: later() - behind_ns)  # type: ignore[misc]
            plane.clock_id = clock_id
            async with house.awake(plane=plane) as again:
                circle = again.conductor(sounding.circle.circle_id).circle
                assert circle.open == (behind_ns == 0)
                assert again.conductor(gathering.circle.circle_id).circle.state is S.GATHERING
        assert circle.ending is Ending.FAILED
        assert circle.reason.startswith("its clock was lost: after a restart the sanctuary's is")

    in_virtual_time(scenario)
