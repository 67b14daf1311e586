"""Times as people write them, on a night in which the clocks change and in zones other than the sanctuary's."""

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia.cli.times import MAX_S, parse_span, parse_until, span_text, until_text
from harmonia.errors import BadInput


@pytest.fixture
def vienna(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(os.environ, "TZ", "Europe/Vienna")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("3h", 10800), ("90m", 5400), ("1h30m", 5400), ("1h 30min", 5400), ("20s", 20), ("0.5h", 1800), ("7d", 604800)],
)
def test_a_length_of_time(text: str, seconds: float) -> None:
    assert parse_span(text) == seconds


@pytest.mark.parametrize("text", ["", "3", "h", "3 weeks", "-3h", "0s", "8d", "3h!", "1e3s", "٣h"])
def test_what_is_no_length_of_time_is_refused_in_words(text: str) -> None:
    with pytest.raises(BadInput, match=r"3h, 1h30m|at most a week"):
        parse_span(text)


@given(st.floats(60, MAX_S))
def test_a_length_that_is_shown_reads_back_to_the_minute(seconds: float) -> None:
    assert abs(parse_span(span_text(seconds)) - seconds) <= 30.5


@pytest.mark.usefixtures("vienna")
def test_a_time_of_day_is_the_next_one_by_the_wall_clock() -> None:
    evening = datetime(2026, 11, 28, 22, 0, tzinfo=UTC).astimezone()  # 23:00 in Vienna
    assert parse_until("23:30", evening) == 1800
    assert parse_until("03:00", evening) == 4 * 3600
    assert parse_until("23:00", evening) == 24 * 3600


@pytest.mark.usefixtures("vienna")
def test_a_time_of_day_holds_on_the_nights_in_which_the_clocks_change() -> None:
    back = datetime(2026, 10, 24, 21, 0, tzinfo=UTC).astimezone()  # 23:00, and at 03:00 it is 02:00 again
    assert parse_until("06:00", back) == 8 * 3600
    forth = datetime(2026, 3, 28, 22, 0, tzinfo=UTC).astimezone()  # 23:00, and at 02:00 it is 03:00
    assert parse_until("06:00", forth) == 6 * 3600


@pytest.mark.usefixtures("vienna")
def test_a_date_and_time_has_a_zone_of_its_own_or_this_machines() -> None:
    now = datetime(2026, 11, 28, 22, 0, tzinfo=UTC).astimezone()
    assert parse_until("2026-11-29T00:00", now) == 3600
    assert parse_until("2026-11-28T23:00+00:00", now) == 3600
    assert parse_until("2026-11-29T08:00:00+09:00", now) == 3600


@pytest.mark.parametrize("text", ["soon", "25:00", "12:60", "2020-01-01T00:00", "2999-01-01T00:00", ""])
def test_what_is_no_time_ahead_is_refused_in_words(text: str) -> None:
    with pytest.raises(BadInput, match=r"write for instance 03:00|within the next seven days"):
        parse_until(text, datetime.now(UTC).astimezone())


@pytest.mark.usefixtures("vienna")
def test_an_end_is_shown_by_the_wall_clock_and_as_how_long() -> None:
    now = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
    assert until_text(3600 * 10**9, 0, now) == "until 14:00 (in 1 h)"
    assert until_text(14 * 3600 * 10**9, 0, now) == "until 2026-11-29 03:00 (in 14 h)"
    assert until_text(5, 5, now) == "over"
    assert span_text(timedelta(hours=2, minutes=10).total_seconds()) == "2 h 10 min"
