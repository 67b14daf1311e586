"""The nights of series: the moon against published dates, rules as calendars read them, and what is no rule."""

from datetime import date, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia.domain.moon import MoonPhase, phases
from harmonia.domain.recurrence import nights, parse_night, parse_rule
from harmonia.domain.schedule import local_time, utc_ns
from harmonia.errors import BadInput

UTC, BERLIN = ZoneInfo("UTC"), ZoneInfo("Europe/Berlin")
MINUTE_NS = 60 * 10**9

# U.S. Naval Observatory, Phases of the Moon, universal time (aa.usno.navy.mil/api/moon/phases), as the tests of other
# public programs have it too. PyEphem 4.2, which computes where sun and moon are, is within 15 s of what we find.
FULL = """2026-01-03 10:03|2026-02-01 22:09|2026-03-03 11:38|2026-04-02 02:12|2026-05-01 17:23
2026-05-31 08:45|2026-06-29 23:56|2026-07-29 14:36|2026-08-28 04:18|2026-09-26 16:49|2026-10-26 04:12
2026-11-24 14:53|2026-12-24 01:28"""
NEW = """2026-01-18 19:52|2026-02-17 12:01|2026-03-19 01:23|2026-04-17 11:52|2026-05-16 20:01|2026-06-15 02:54
2026-07-14 09:43|2026-08-12 17:37|2026-09-11 03:27|2026-10-10 15:50|2026-11-09 07:02|2026-12-09 00:52"""


@pytest.mark.parametrize(("phase", "published"), [(MoonPhase.FULL, FULL), (MoonPhase.NEW, NEW)])
def test_the_moon_is_where_it_was_published_to_be_within_a_minute(phase: MoonPhase, published: str) -> None:
    found = phases(phase, utc_ns(datetime(2026, 1, 1), UTC)[0])
    for text in published.replace("\n", "|").split("|"):
        expected_ns, _ = utc_ns(datetime.fromisoformat(text), UTC)
        assert abs(next(found) - expected_ns) <= MINUTE_NS, text


def test_the_worked_example_of_the_series_is_met() -> None:
    """Meeus, Astronomical Algorithms, 2nd edition, example 49.a: new moon on 1977 February 18, 3:37:42 TD."""
    found = next(phases(MoonPhase.NEW, utc_ns(datetime(1977, 2, 10), UTC)[0]))
    expected_ns, _ = utc_ns(datetime(1977, 2, 18, 3, 37, 42), UTC)
    # We take terrestrial time to be 69.184 s ahead of UTC, as it is since 2017 (it was 48 s in 1977).
    assert abs(found + 69_184_000_000 - expected_ns) <= 10**9


@given(st.integers(0, 2**61), st.sampled_from(MoonPhase))
def test_phases_come_once_a_month_and_only_after(after_ns: int, phase: MoonPhase) -> None:
    found = list(islice(phases(phase, after_ns), 14))
    day_ns = 86_400 * 10**9
    assert after_ns < found[0] <= after_ns + 30 * day_ns
    assert all(29.2 < (later - earlier) / day_ns < 29.9 for earlier, later in pairwise(found))


def test_a_moons_night_lasts_from_noon_to_noon() -> None:
    found = list(islice(nights("full-moon", date(2026, 1, 1), BERLIN), 13))
    assert found[3] == date(2026, 4, 1)  # full at 04:12 on the 2nd in Berlin
    assert found[0] == date(2026, 1, 2)  # full at 11:03 on the 3rd
    assert found[2] == date(2026, 3, 3)  # full at 12:38
    for night, t_ns in zip(found, phases(MoonPhase.FULL, utc_ns(datetime(2026, 1, 1, 12), BERLIN)[0]), strict=False):
        local = local_time(t_ns, BERLIN).replace(tzinfo=None)
        noon = datetime.combine(night, datetime.min.time()) + timedelta(hours=12)
        assert noon <= local < noon + timedelta(days=1)


def test_rules_are_those_of_calendars() -> None:
    first = date(2026, 12, 4)

    def some(rule: str, **more: object) -> list[str]:
        kept = parse_rule(rule, first, BERLIN)
        return [night.isoformat() for night in islice(nights(kept, first, BERLIN, **more), 3)]  # type: ignore[arg-type]

    assert some("daily") == ["2026-12-04", "2026-12-05", "2026-12-06"]
    assert some("Friday") == ["2026-12-04", "2026-12-11", "2026-12-18"]
    assert some("friday", excluded=("2026-12-11",)) == ["2026-12-04", "2026-12-18", "2026-12-25"]
    assert some("friday", after=first) == ["2026-12-11", "2026-12-18", "2026-12-25"]
    assert some("RRULE:FREQ=MONTHLY;BYDAY=-1SA") == ["2026-12-26", "2027-01-30", "2027-02-27"]
    assert some("freq=weekly;count=2") == ["2026-12-04", "2026-12-11"]


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("", "is no rule for nights: choose full-moon, new-moon, daily, monday"),
        ("fridays", "is no rule for nights"),
        ("FREQ=HOURLY", "is finer than a day"),
        ("FREQ=DAILY;BYHOUR=1,2", "is finer than a day"),
        ("FREQ=SOMETIMES", "is no rule for nights"),
        ("FREQ=DAILY;INTERVAL=x", "is no rule for nights"),
        ("FREQ=DAILY\nDTSTART:20200101T000000", "is no rule for nights"),
        ("DTSTART:20200101T000000 RRULE:FREQ=DAILY", "is no rule for nights"),
        ("FREQ=DAILY;INTERVAL=0", "would stand still"),
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "has no night from 2026-12-04 on"),
        ("FREQ=DAILY;UNTIL=20261201", "has no night from 2026-12-04 on"),
        ("FREQ=DAILY;" + "X" * 300, "is no rule for nights"),
    ],
)
def test_what_is_no_rule_is_refused_with_what_is_allowed(rule: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        parse_rule(rule, date(2026, 12, 4), BERLIN)


def test_a_night_is_a_date() -> None:
    assert parse_night("2026-12-24") == "2026-12-24"
    for bad in ("24.12.", "2026-12-24 22:00", ""):
        with pytest.raises(BadInput, match="YYYY-MM-DD"):
            parse_night(bad)
