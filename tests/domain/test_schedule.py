"""Laws of civil time: what a night's words mean, also where the clocks change, and what they cannot mean."""

from contextlib import suppress
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia.domain.circle import LEAD_NS, Circle, apply
from harmonia.domain.events import CircleCreated
from harmonia.domain.recurrence import nights, parse_night
from harmonia.domain.schedule import (
    Instants,
    NightPlan,
    TimesOfDay,
    instants,
    local_time,
    parse_plan,
    plan_on,
    utc_ns,
)
from harmonia.domain.states import CircleState
from harmonia.domain.timetable import next_due, waking_ns
from harmonia.errors import BadInput
from tests.domain.test_circle import advance

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = [ZoneInfo(name) for name in ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC")]
HOUR_NS = 3600 * 10**9
NOW_NS = utc_ns(datetime(2026, 8, 1, 12), BERLIN)[0]


def plan(gather: str, lights: str, wake: str = "", zone: str = "Europe/Berlin") -> tuple[NightPlan, list[str]]:
    return parse_plan(zone, ZoneInfo(zone), gather, lights, wake, NOW_NS)


def test_times_of_day_are_the_next_ones() -> None:
    made, notes = plan("2026-12-04 22:00", "23:00", "06:30..07:00")
    assert made == NightPlan(
        "Europe/Berlin", "2026-12-04T22:00:00", "2026-12-04T23:00:00", "2026-12-05T06:30:00", "2026-12-05T07:00:00"
    )
    assert not notes
    found, _ = instants(made, BERLIN)
    assert found.wake_until_ns == utc_ns(datetime(2026, 12, 5, 6), ZoneInfo("UTC"))[0]
    assert plan("", "13:00")[0].lights_out == "2026-08-01T13:00:00"
    assert plan("", "11:00")[0].lights_out == "2026-08-02T11:00:00"


@given(st.datetimes(datetime(2000, 1, 1), datetime(2037, 1, 1)), st.sampled_from(ZONES))
def test_a_local_time_that_exists_is_itself_and_one_that_does_not_lies_behind_the_gap(
    local: datetime, zone: ZoneInfo
) -> None:
    t_ns, note = utc_ns(local, zone)
    back = local_time(t_ns, zone).replace(tzinfo=None, fold=0)
    if "does not exist" in note:
        assert timedelta(0) < back - local <= timedelta(hours=1)
    else:
        assert back == local


def test_who_is_refused_for_the_clocks_sake_is_told_so() -> None:
    with pytest.raises(BadInput, match=r"not within 12 h .*02:30 does not exist in Europe/Berlin"):
        plan("2027-03-28 02:30", "03:00")


@pytest.mark.parametrize(
    ("local", "utc", "said"),
    [
        (datetime(2027, 3, 28, 2, 30), datetime(2027, 3, 28, 1, 30), "does not exist"),
        (datetime(2026, 10, 25, 2, 30), datetime(2026, 10, 25, 0, 30), "comes twice"),
        (datetime(2026, 10, 25, 3, 30), datetime(2026, 10, 25, 2, 30), ""),
    ],
)
def test_where_the_clocks_change_the_rule_is_that_of_calendars(local: datetime, utc: datetime, said: str) -> None:
    t_ns, note = utc_ns(local, BERLIN)
    assert t_ns == utc_ns(utc, ZoneInfo("UTC"))[0]
    assert said in note
    assert bool(said) == bool(note)


def test_a_night_in_which_the_clocks_change_is_as_long_as_it_is() -> None:
    for evening, hours in (("2027-03-27 22:00", 7), ("2026-10-24 22:00", 9), ("2026-11-14 22:00", 8)):
        found, notes = instants(plan(evening, "23:00", "07:00")[0], BERLIN)
        assert found.wake_from_ns is not None
        assert found.wake_from_ns - found.lights_ns == hours * HOUR_NS
        assert not notes
    assert "comes twice" in plan("2026-10-24 22:00", "23:00", "02:30")[1][0]


@pytest.mark.parametrize(
    ("gather", "lights", "wake", "said"),
    [
        ("2026-07-31 22:00", "23:00", "", "has passed in Europe/Berlin, where it is 2026-08-01 12:00"),
        ("", "2026-08-01 11:59", "", "has passed"),
        ("2027-12-04 22:00", "23:00", "", "more than 366 days ahead"),
        ("2026-12-04 22:00", "21:00", "", "not within 12 h after gathering at 2026-12-04 22:00"),
        ("2026-12-04 22:00", "2026-12-04 21:00", "", "not within 12 h"),
        ("2026-12-04 22:00", "23:00", "2026-12-04 22:30", "would end before it begins"),
        ("2026-12-04 22:00", "23:00", "07:00..2026-12-05 06:00", "would end before it begins"),
        ("2026-12-04 22:00", "23:00", "2026-12-06 07:00", "within 24 h after lights-out at 2026-12-04 23:00"),
        ("2027-03-27 22:00", "2027-03-28 02:45", "2027-03-28 03:15", "would end before it begins"),
        ("tomorrow", "23:00", "", "gather-at must be YYYY-MM-DD HH:MM, local time of its zone, not 'tomorrow'"),
        ("22:00", "23:00", "", "gather-at must be"),
        ("2026-12-04", "23:00", "", "gather-at must be"),
        ("2026-12-04 22:00Z", "23:00", "", "local time of its zone"),
        ("2026-12-04 22:00", "25:00", "", "lights-out must be HH:MM or"),
        ("2026-12-04 22:00", "23:00", "late..later", "wake must be HH:MM or"),
    ],
)
def test_a_night_that_cannot_be_is_refused_with_what_was_given(gather: str, lights: str, wake: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        plan(gather, lights, wake)


def walk(circle: Circle, planned: Instants) -> list[tuple[CircleState, int]]:
    """Lets the timetable run; returns what it did and when."""
    seen = []
    while (due := next_due(circle, planned)) is not None:
        circle = advance(circle, due.state, due.t_ns)
        seen.append((due.state, due.t_ns))
    return seen


@given(st.integers(0, 12 * 3600), st.integers(1, 24 * 3600), st.floats(0, 1), st.integers(-(10**18), 10**18))
def test_a_plan_is_kept_to_the_nanosecond_on_whatever_clock(
    gather_s: int, night_s: int, window: float, shift_ns: int
) -> None:
    lights_ns = 1000 + gather_s * 10**9
    until_ns = lights_ns + night_s * 10**9
    wake_ns = until_ns - round(window * (night_s - 1)) * 10**9
    planned = Instants(1000, lights_ns, wake_ns, until_ns)
    event = CircleCreated("c", "t", "n", "sbg", "x", 2, None, 3, None, None, 0, draft=True)
    seen = walk(apply(None, event), planned)
    assert [state for state, _ in seen] in (
        [S.GATHERING, S.ENTRAINING, S.DREAMING, S.WAKING, S.DIALOGUE, S.CLOSED],
        [S.GATHERING, S.ENTRAINING, S.WAKING, S.DIALOGUE, S.CLOSED],
    )
    at = dict(seen)
    assert (at[S.GATHERING], at[S.WAKING], at[S.DIALOGUE]) == (1000, wake_ns, until_ns)
    assert 0 <= lights_ns - at[S.ENTRAINING] <= LEAD_NS
    shifted = walk(apply(None, event), planned.shifted(shift_ns))
    assert shifted == [(state, t_ns + shift_ns) for state, t_ns in seen]


def test_a_clock_that_is_set_moves_what_lies_ahead_and_leaves_what_has_happened() -> None:
    planned = Instants(1000, 10 * HOUR_NS, 18 * HOUR_NS, 19 * HOUR_NS)
    draft = apply(None, CircleCreated("c", "t", "n", "sbg", "x", 2, None, 3, None, None, 0, draft=True))
    begun = advance(advance(draft, S.GATHERING, 1000), S.ENTRAINING, 10 * HOUR_NS - LEAD_NS)
    epoch_ns = begun.epoch_ns
    later = planned.shifted(HOUR_NS)
    dreaming = advance(begun, S.DREAMING, 11 * HOUR_NS)
    assert dreaming.epoch_ns == epoch_ns
    assert waking_ns(dreaming, planned) == 18 * HOUR_NS
    due = next_due(dreaming, later)
    assert due is not None
    assert due.t_ns == 19 * HOUR_NS


S = CircleState


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York", "UTC"])
@pytest.mark.parametrize("day", ["0001-01-01", "9999-01-01", "9999-12-31"])
def test_a_day_beyond_the_calendar_is_refused_in_words(day: str, zone: str) -> None:
    now_ns, where = 1_800_000_000 * 10**9, ZoneInfo(zone)
    evening, said = f"{day} 23:30", r"must be in a year from 1900 to 9998, not \d+"
    times = TimesOfDay(zone, "23:30", "23:00", "06:30")
    for words in ((evening, "23:00", ""), ("", evening, ""), ("", "23:00", evening)):
        with pytest.raises(BadInput, match=said):
            parse_plan(zone, where, *words, now_ns)
    with pytest.raises(BadInput, match=said):
        plan_on(date.fromisoformat(day), times, where)
    with pytest.raises(BadInput, match=said):
        parse_night(day)


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York"])
@pytest.mark.parametrize("rule", ["daily", "full-moon", "FREQ=MONTHLY;BYDAY=-1FR"])
def test_the_last_years_nights_end_and_break_nothing(rule: str, zone: str) -> None:
    times = TimesOfDay(zone, "23:30", "23:00", "06:30")
    for night in nights(rule, date(9998, 11, 1), ZoneInfo(zone)):
        with suppress(BadInput):
            plan_on(night, times, ZoneInfo(zone))
    with pytest.raises(BadInput, match="366 days ahead"):
        parse_plan(zone, ZoneInfo(zone), "9998-12-31 23:59", "00:30", "23:00..00:10", 1_800_000_000 * 10**9)
