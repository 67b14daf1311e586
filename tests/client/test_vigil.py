"""What a platform takes for a reason: each kind of wish, what cannot be told, and never twice."""

import dataclasses
import math

from hypothesis import given
from hypothesis import strategies as st

from harmonia.client.vigil import HOLD_S, Reading, Vigil
from harmonia.domain.advance import AdvanceWish, LevelUnit, Since, StandingWish, WishKind
from harmonia.domain.consent import Purpose

ALL = tuple(Purpose)
SURE = 0.9


def wish(kind: WishKind, **fields: object) -> StandingWish:
    return StandingWish(AdvanceWish(b"w" * 16, kind, ALL, **fields), 0)  # type: ignore[arg-type]


def acts_at(one: StandingWish, readings: list[tuple[float, Reading]], epoch_ns: int | None = None) -> float | None:
    """The time of the first look at which it acts."""
    vigil = Vigil()
    for t_s, reading in readings:
        if vigil.look(t_s, reading, [one], 0, epoch_ns):
            return t_s
    return None


def breaths(*rates_a_minute: float, confidence: float = SURE, step_s: float = 1.0) -> list[tuple[float, Reading]]:
    return [
        (n * step_s, Reading(breath_hz=rate / 60, breath_confidence=confidence))
        for n, rate in enumerate(rates_a_minute)
    ]


def test_after_some_time_is_by_node_time_and_only_by_a_clock_that_follows_it() -> None:
    one = wish(WishKind.AFTER, after_ns=10)
    looks = [(0.0, Reading(node_ns=9)), (1.0, Reading(node_ns=None)), (2.0, Reading(node_ns=10))]
    assert acts_at(one, looks) == 2.0
    night = wish(WishKind.AFTER, after_ns=10, since=Since.NIGHT)
    assert acts_at(night, looks) is None
    assert acts_at(night, [(0.0, Reading(node_ns=14)), (1.0, Reading(node_ns=15))], epoch_ns=5) == 1.0


def test_waking_is_the_circles_or_what_a_sensor_says() -> None:
    one = wish(WishKind.WAKING)
    assert acts_at(one, [(0.0, Reading()), (1.0, Reading(awake=False)), (2.0, Reading(awake=True))]) == 2.0
    assert acts_at(one, [(0.0, Reading(awake=False)), (1.0, Reading(awake=False, circle_awake=True))]) == 1.0


def test_too_loud_is_one_reading_above_the_level() -> None:
    one = wish(WishKind.LOUD, level=-20.0)
    levels = [-120.0, -20.0, math.nan, -19.9]
    assert acts_at(one, [(float(n), Reading(level_dbfs=level)) for n, level in enumerate(levels)]) == 3.0


def test_decibels_of_sound_pressure_are_unreadable_until_calibrated() -> None:
    one = wish(WishKind.LOUD, level=40.0, unit=LevelUnit.DB_SPL)
    assert acts_at(one, [(float(n), Reading(level_dbfs=0.0)) for n in range(1000)]) is None
    assert acts_at(one, [(0.0, Reading(level_dbfs=-60.0, level_spl_db=41.0))]) == 0.0


def test_a_breath_is_out_of_bounds_after_ten_seconds_and_one_cough_is_not() -> None:
    slow, fast = wish(WishKind.BREATH, under_hz=8 / 60), wish(WishKind.BREATH, over_hz=20 / 60)
    assert acts_at(slow, breaths(*[12.0] * 30, *[7.0] * 30)) == 30 + HOLD_S
    assert acts_at(fast, breaths(*[12.0] * 30, *[25.0] * 30)) == 30 + HOLD_S
    assert acts_at(fast, breaths(*[12.0] * 5, *[25.0] * 9, *[12.0] * 5, *[25.0] * 9, *[12.0] * 50)) is None


def test_a_breath_that_nobody_is_sure_of_makes_no_wish_act() -> None:
    fast = wish(WishKind.BREATH, over_hz=20 / 60)
    assert acts_at(fast, breaths(*[25.0] * 500, confidence=0.3)) is None
    assert acts_at(fast, breaths(*[math.nan] * 500)) is None
    assert acts_at(fast, [(float(n), Reading()) for n in range(500)]) is None


def test_an_irregular_breath_is_one_whose_rate_varies_by_more_than_its_share() -> None:
    one = wish(WishKind.BREATH, irregular=0.25)
    assert acts_at(one, breaths(*[12.0, 13.0] * 200)) is None
    assert acts_at(one, breaths(*[6.0, 18.0] * 200)) == 30.0
    assert acts_at(one, breaths(*[6.0, 18.0] * 14)) is None  # too little to say


def test_what_cannot_be_told_acts_only_for_wishes_that_say_for_how_long_they_bear_it() -> None:
    patient = wish(WishKind.BREATH, over_hz=0.5, unknown_ns=60 * 10**9)
    silence = [(float(n), Reading()) for n in range(300)]
    assert acts_at(patient, silence) == 60.0
    # One sure reading begins the count anew.
    heard = [(50.0, Reading(breath_hz=0.2, breath_confidence=SURE))]
    assert acts_at(patient, sorted([*silence[:50], *heard, *silence[51:]], key=lambda look: look[0])) == 111.0
    uncalibrated = wish(WishKind.LOUD, level=40.0, unit=LevelUnit.DB_SPL, unknown_ns=60 * 10**9)
    assert acts_at(uncalibrated, [(float(n), Reading(level_dbfs=-50.0)) for n in range(300)]) == 60.0


def test_a_wish_that_has_acted_is_not_looked_at_again() -> None:
    one = dataclasses.replace(wish(WishKind.LOUD, level=-20.0), fired=True)
    assert acts_at(one, [(0.0, Reading(level_dbfs=0.0))]) is None


readings = st.builds(
    Reading,
    st.none() | st.integers(0, 100),
    st.booleans(),
    st.none() | st.booleans(),
    st.none() | st.floats(),
    st.none() | st.floats(),
    st.none() | st.floats(),
    st.floats(),
)
standing = st.one_of(
    st.just(wish(WishKind.AFTER, after_ns=50)),
    st.just(wish(WishKind.WAKING, unknown_ns=10**9)),
    st.just(wish(WishKind.LOUD, level=-20.0)),
    st.just(wish(WishKind.BREATH, under_hz=0.1, over_hz=0.4, irregular=0.2)),
)


@given(standing, st.lists(readings, max_size=20))
def test_whatever_a_sensor_says_a_look_ends_in_a_plain_answer(one: StandingWish, seen: list[Reading]) -> None:
    vigil = Vigil()
    for n, reading in enumerate(seen):
        assert vigil.look(float(n), reading, [one], 0, 0) in ([], [one])
