"""Circles that recur: each night made once, ahead of time, through restarts and full disks; what is missed is said."""

from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonia.domain.events import SeriesTemplate
from harmonia.domain.schedule import parse_times, utc_ns
from harmonia.domain.states import CircleState, Ending
from harmonia.domain.weaving import CircleMode
from harmonia.engine.conductor import Schedule
from harmonia.engine.sanctuary import Sanctuary
from harmonia.engine.series import Keeper
from harmonia.errors import BadInput, NotNow
from tests.engine.nights import House, in_virtual_time, settle

S = CircleState
BERLIN = ZoneInfo("Europe/Berlin")
DAY_S = 24 * 3600
TIMES = parse_times("Europe/Berlin", "22:00", "23:00", "06:30..07:00")
TEMPLATE = SeriesTemplate("Moon", "n.sbg", "sbg", "4", 2, None, 8, None, CircleMode.STANDARD, 0.0, 0.0, TIMES)


async def begin(house: House, sanctuary: Sanctuary, rule: str, excluded: tuple[str, ...] = ()) -> Keeper:
    """A series from the evening of 4 December 2026, a Friday, 18:00 in Berlin."""
    house.wall_ns = utc_ns(datetime(2026, 12, 4, 18), BERLIN)[0] - house.now_ns()
    keeper = await sanctuary.create_series(rule=rule, first="", excluded=excluded, template=TEMPLATE)
    await settle()
    return keeper


def test_nights_are_made_a_week_ahead_without_those_left_out() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            daily = await begin(house, sanctuary, "daily", ("2026-12-06",))
            assert list(daily.made) == [f"2026-12-{day:02}" for day in (4, 5, 7, 8, 9, 10)]
            first = daily.made["2026-12-04"].circle
            assert (first.title, first.state, first.series_id) == ("Moon 2026-12-04", S.DRAFT, daily.series.series_id)
            await trio.sleep(2 * DAY_S)
            await settle()
            assert list(daily.made)[-1] == "2026-12-12"
            assert daily.made["2026-12-05"].circle.ending is Ending.ENDED
            assert not daily.series.missed

    in_virtual_time(scenario)


def test_the_next_moon_is_made_however_far_and_the_one_after_it_once_it_gathers() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            moon = await begin(house, sanctuary, "full-moon")
            # Full on 2026-12-24 01:28, 2027-01-22 12:17 and 2027-02-20 23:23 UTC (F. Espenak's tables): noon to noon.
            assert list(moon.made) == ["2026-12-23"]
            assert [night.night for night in moon.coming(3)] == ["2026-12-23", "2027-01-22", "2027-02-20"]
            house.wall_ns += 18 * DAY_S * 10**9  # somebody sets the clock: 22 December
            await trio.sleep(1.5 * DAY_S)
            await settle()
            assert list(moon.made) == ["2026-12-23", "2027-01-22"]
            await trio.sleep(DAY_S / 2)
            assert moon.made["2026-12-23"].circle.ending is Ending.ENDED

    in_virtual_time(scenario)


def test_a_change_holds_for_later_nights_and_drafts_and_leaves_what_was_changed_alone_otherwise() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            keeper = await begin(house, sanctuary, "friday")
            first = keeper.made["2026-12-04"]
            assert list(keeper.made) == ["2026-12-04"]
            await first.edit(title="Opening", schedule=Schedule(None, None, first.circle.plan))
            await trio.sleep(DAY_S)
            await settle()
            assert list(keeper.made) == ["2026-12-04", "2026-12-11"]
            second = keeper.made["2026-12-11"]
            await second.edit(title="Guests")
            later = parse_times("Europe/Berlin", "21:00", "22:00", "06:30")
            await keeper.change(replace(TEMPLATE, capacity=99, times=later), ("2026-12-18",), None)
            plan = second.circle.plan
            assert plan is not None
            assert (second.circle.title, second.circle.capacity) == ("Guests", 99)
            assert plan.gather_at == "2026-12-11T21:00:00"
            assert first.circle.capacity == 8, "it is over"
            await trio.sleep(7 * DAY_S)
            await settle()
            assert list(keeper.made) == ["2026-12-04", "2026-12-11", "2026-12-25"]
            assert keeper.made["2026-12-25"].circle.capacity == 99
            await keeper.end()
            with pytest.raises(NotNow, match="has ended"):
                await keeper.change(TEMPLATE, (), None)
            house.wall_ns += 21 * DAY_S * 10**9
            await trio.sleep(7200)
            assert len(keeper.made) == 3

    in_virtual_time(scenario)


def test_what_was_missed_while_down_is_made_if_it_can_be_held_and_else_recorded() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            keeper = await begin(house, sanctuary, "friday")
        await trio.sleep(21 * DAY_S + 8 * 3600)  # Saturday 26 December, 02:00: in the middle of Friday's night
        async with house.awake() as again:
            await settle()
            back = again.keeper(keeper.series.series_id)
            assert list(back.series.missed) == ["2026-12-11", "2026-12-18"]
            assert list(back.made) == ["2026-12-04", "2026-12-25", "2027-01-01"]
            assert back.made["2026-12-25"].circle.state is S.ENTRAINING
            first = back.made["2026-12-04"].circle
            assert (first.ending, first.state) == (Ending.FAILED, S.CLOSED)

    in_virtual_time(scenario)


def test_what_can_be_no_series_is_refused() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            for rule, excluded, said in (
                ("sometimes", (), "is no rule for nights"),
                ("FREQ=DAILY;COUNT=1", ("2026-12-04",), "are left out"),
                ("daily", ("soon",), "YYYY-MM-DD"),
            ):
                with pytest.raises(BadInput, match=said):
                    await begin(house, sanctuary, rule, excluded)
            assert not sanctuary.keepers()
            with pytest.raises(BadInput, match="gather-at must be HH:MM"):
                parse_times("UTC", "2026-12-04 22:00", "23:00", "")

    in_virtual_time(scenario)


STOPS = st.lists(st.tuples(st.integers(0, 3 * DAY_S), st.booleans()), max_size=5)


@settings(max_examples=15, deadline=None)
@given(STOPS, st.sampled_from(["daily", "friday", "full-moon", "FREQ=DAILY;INTERVAL=3;COUNT=5"]))
def test_whatever_happens_no_night_is_made_twice_and_each_is_made_or_missed(
    stops: list[tuple[int, bool]], rule: str
) -> None:
    """The sanctuary is restarted and kept down at any instants, and its disk fills up and is emptied."""

    async def scenario(house: House) -> None:
        series_id = ""
        for length_s, up in [*stops, (0, True)]:
            if not up and series_id:
                await trio.sleep(length_s)
                continue
            async with house.awake() as sanctuary:
                if not series_id:
                    series_id = (await begin(house, sanctuary, rule)).series.series_id
                await trio.sleep(length_s)
                house.journal.full = True
                await trio.sleep(min(length_s, 120))
                house.journal.full = False
                await trio.sleep(15)
                await settle()
                keeper = sanctuary.keeper(series_id)
                dealt = sorted([*keeper.made, *keeper.series.missed])
                circles = [one.circle for one in sanctuary.circles("", 1000)[0]]
                assert len({circle.night for circle in circles}) == len(circles) == len(keeper.made)
                assert not set(keeper.made) & set(keeper.series.missed)
                every = keeper.series.nights(BERLIN, None)
                assert [next(every).isoformat() for _ in dealt] == dealt, "in order, and none left out"
                coming = keeper.coming(1)
                assert not coming or coming[0].circle_id, "the next one is made"

    in_virtual_time(scenario)
