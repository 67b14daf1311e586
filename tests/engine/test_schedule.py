"""Nights in civil time: kept through clock changes and restarts, made up for or called off with a reason."""

from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonia.domain.consent import Purpose
from harmonia.domain.schedule import NightPlan, local_time, parse_plan, utc_ns
from harmonia.domain.states import Ending
from tests.engine.nights import HOUR_NS, House, in_virtual_time, settle
from tests.engine.test_waiting import S, place, wait

BERLIN = ZoneInfo("Europe/Berlin")
AUTUMN = "2026-10-24"
"""The clocks go back in the night that follows."""


def tonight(house: House, zone: str = "Europe/Berlin", evening: str = AUTUMN) -> NightPlan:
    house.wall_ns = utc_ns(datetime.fromisoformat(f"{evening} 18:00"), ZoneInfo(zone))[0] - house.now_ns()
    words = (f"{evening} 22:00", "23:00", "06:30..07:00")
    return parse_plan(zone, ZoneInfo(zone), *words, house.utc_ns())[0]


def test_a_night_on_which_the_clocks_go_back_keeps_its_times_of_day() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary, plan=tonight(house))
            assert conductor.circle.state is S.DRAFT
            (token,) = await wait(conductor, 1)
            seen = []

            def note() -> None:
                at = local_time(house.utc_ns() + 500, BERLIN)
                seen.append(f"{conductor.circle.state.name} {at:%d %H:%M:%S}")

            conductor.moved.subscribe(note)
            began_ns = house.now_ns()
            await trio.sleep(15 * 3600)
            assert seen == [
                "GATHERING 24 22:00:00",
                "ENTRAINING 24 22:59:58",
                "DREAMING 24 23:10:00",
                "WAKING 25 06:30:00",
                "DIALOGUE 25 07:00:00",
                "CLOSED 25 07:30:00",
            ]
            assert conductor.circle.epoch_ns is not None
            assert abs(conductor.circle.epoch_ns - began_ns - 5 * HOUR_NS) < 1000
            assert conductor.circle.ending is Ending.ENDED
            assert conductor.entrance.standing(token, b"q" * 32) is None

    in_virtual_time(scenario)


def test_a_clock_that_is_set_moves_what_lies_ahead_and_nothing_that_has_happened() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary, plan=tonight(house))
            person_token = (await wait(conductor, 1))[0]
            await trio.sleep(4.5 * 3600)
            assert conductor.circle.state is S.GATHERING
            house.wall_ns += HOUR_NS // 2 - 90 * 10**9  # it is set a minute and a half before 23:00
            await trio.sleep(180)
            assert conductor.circle.state.name == "ENTRAINING"
            epoch_ns, rhythm = conductor.circle.epoch_ns, conductor.circle.rhythm
            house.wall_ns -= HOUR_NS  # and sets it back
            await trio.sleep(3600)
            assert (conductor.circle.epoch_ns, conductor.circle.rhythm) == (epoch_ns, rhythm)
            assert conductor.circle.state.name == "DREAMING"
            assert place(conductor, person_token) == 0
            woke_at = []
            conductor.moved.subscribe(lambda: woke_at.append(f"{local_time(house.utc_ns(), BERLIN):%d %H:%M}"))
            await trio.sleep(9 * 3600)
            assert woke_at[0] == "25 06:30"

    in_virtual_time(scenario)


def test_what_was_missed_is_made_up_for_while_it_can_be_held_and_else_fails_with_the_reason() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            circle_id = (await house.circle(sanctuary, plan=tonight(house))).circle.circle_id
            other_id = (await house.circle(sanctuary, plan=tonight(house))).circle.circle_id
        await trio.sleep(7 * 3600)
        async with house.awake() as again:
            await settle()
            late = again.conductor(circle_id).circle
            assert late.state is S.ENTRAINING
            assert late.epoch_ns == house.now_ns() + 2_000_000_000
            await again.conductor(other_id).advance(S.CLOSED)
            tomorrow = await house.circle(again, plan=tonight(house, evening="2026-11-02"))
        await trio.sleep(16 * 3600)
        async with house.awake() as again:
            await settle()
            missed = again.conductor(tomorrow.circle.circle_id).circle
            assert (missed.state, missed.ending) == (S.CLOSED, Ending.FAILED)
            assert missed.reason == "its night was over before it could begin: the sanctuary was not running"

    in_virtual_time(scenario)


ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Kathmandu"]
DAYS = st.integers(0, 364).map(lambda day: f"{datetime(2026, 1, 1) + timedelta(days=day):%Y-%m-%d}")
CHANGES = st.sampled_from(["2026-03-28", "2026-10-24", "2026-03-07", "2026-10-31", "2026-04-04", "2026-10-03"])


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(ZONES), DAYS | CHANGES, st.lists(st.integers(1, 15 * 3600), max_size=4), st.integers(0, 3))
def test_a_night_restarted_at_any_instants_is_the_night_that_was_not(
    zone: str, evening: str, stops_s: list[int], joins: int
) -> None:
    """Whatever the zone, the date and the restarts: the same instants, and nobody's settings are touched."""
    seen: list[list[tuple[str, int]]] = []

    def night(stops: list[int]) -> None:
        async def scenario(house: House) -> None:
            plan = tonight(house, zone, evening)
            circle_id, sleepers, began_ns = "", [], house.now_ns()
            for stop_s in [*stops, 16 * 3600]:
                async with house.awake() as sanctuary:
                    if not circle_id:
                        conductor = await house.circle(sanctuary, plan=plan)
                        circle_id = conductor.circle.circle_id
                        await conductor.advance(S.GATHERING)
                        for _ in range(joins):
                            person = await house.join(conductor)
                            await person.set_offset(0.25)
                            await house.grant(person, Purpose.VOICE)
                            sleepers.append(person.sleeper)
                    await trio.sleep(max(0, stop_s - (house.now_ns() - began_ns) / 1e9))
                    people = [sanctuary.roll.by_id(one.sleeper_id) for one in sleepers]
                    assert [replace(one.sleeper, uses=()) for one in people if one] == sleepers
            states = [record.data for record in house.journal.read(f"circle/{circle_id}")]
            advanced = [data for data in states if b'"CircleAdvanced"' in data]
            seen.append([(str(data[:60]), 0) for data in advanced])
            closed = sanctuary.conductor(circle_id).circle
            assert closed.state is S.CLOSED
            assert closed.ending is Ending.ENDED
            assert closed.epoch_ns is not None
            local = local_time(closed.epoch_ns + house.wall_ns + 500, ZoneInfo(zone))
            assert f"{local:%Y-%m-%d %H:%M:%S}" == f"{evening} 23:00:00"

        in_virtual_time(scenario)

    night([])
    night(sorted(stops_s))
    assert seen[0] == seen[1]
