"""Re-stamping after the night: what is certain holds in every allowed world, and what is likely is better."""

import math
import random
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia import _core
from harmonia.client.restamp import Era, Exchange, _Ceiling, era_at, eras

MAX_DRIFT_PPB, MAX_WANDER = 200_000, 3e-8

Truth = Callable[[int], float]


def world(
    seed: int,
    *,
    count: int = 300,
    jitter_ns: float = 200e3,
    floors_ns: tuple[float, float] = (100e3, 100e3),
    wander: float = 1e-9,
    stamp_error_ns: int = 0,
    gap_s: float = 0.0,
) -> tuple[list[Exchange], Truth]:
    """Exchanges a second apart, and the true offset (node − platform) at a platform instant."""
    dice = random.Random(seed)
    rate, offset = dice.uniform(-1e5, 1e5), dice.uniform(-1e12, 1e12)
    grid = [offset]
    step_s = 0.1
    for _ in range(int((count + gap_s) / step_s) + 100):
        grid.append(grid[-1] + rate * step_s)
        rate += max(-MAX_WANDER, min(MAX_WANDER, dice.gauss(0, wander) / math.sqrt(step_s))) * 1e9 * step_s

    def truth(platform_ns: int) -> float:
        at = platform_ns / 1e9 / step_s
        low = int(at)
        return grid[low] + (grid[low + 1] - grid[low]) * (at - low)

    exchanges = []
    for number in range(count):
        away_s = gap_s if number >= count // 2 else 0.0
        left = round((number + away_s + 0.5 + dice.random() * 0.06) * 1e9)
        arrived = left + floors_ns[0] + dice.expovariate(1 / jitter_ns)
        t2 = math.floor(arrived + truth(round(arrived)))
        answered = arrived + 20_000
        t3 = math.ceil(answered + truth(round(answered)))
        back = answered + floors_ns[1] + dice.expovariate(1 / jitter_ns)
        wrong = [round(dice.uniform(-1, 1) * stamp_error_ns) for _ in range(2)]
        exchanges.append(Exchange(left + wrong[0], t2, t3, round(back) + wrong[1], stamp_error_ns))
    return exchanges, truth


@given(
    seed=st.integers(0, 10_000),
    jitter_ns=st.sampled_from([100.0, 50e3, 5e6]),
    up=st.floats(0, 2e7),
    down=st.floats(0, 2e7),
    wander=st.sampled_from([0.0, 1e-9, 1e-8]),
    stamp_error_ns=st.sampled_from([0, 40_000]),
    gap_s=st.sampled_from([0.0, 90.0]),
)
def test_the_truth_is_never_outside_the_bound_however_lopsided_the_path(
    seed: int, jitter_ns: float, up: float, down: float, wander: float, stamp_error_ns: int, gap_s: float
) -> None:
    exchanges, truth = world(
        seed,
        count=40,
        jitter_ns=jitter_ns,
        floors_ns=(up, down),
        wander=wander,
        stamp_error_ns=stamp_error_ns,
        gap_s=gap_s,
    )
    era = Era(exchanges, MAX_DRIFT_PPB, MAX_WANDER)
    for at_ns in range(era.first_ns - 10**9 // 3, era.last_ns + 3 * 10**9, 10**9 // 3):
        found = era.at(at_ns)
        assert abs(found.node_ns - at_ns - truth(at_ns)) <= found.bound_ns + 1
        assert found.uncertainty_ns <= found.bound_ns
        assert found.inside == (era.first_ns <= at_ns <= era.last_ns)


@pytest.mark.parametrize("jitter_ns", [20e3, 200e3, 5e6])
def test_both_sides_know_more_than_the_night_did(jitter_ns: float) -> None:
    live_squares = squares = likely = count = 0.0
    live_bounds, bounds = [], []
    for seed in range(3):
        exchanges, truth = world(seed, jitter_ns=jitter_ns)
        stamps = [(e.t1_ns, e.t2_ns, e.t3_ns, e.t4_ns, e.stamp_error_ns) for e in exchanges]
        live = _core.estimates(stamps, max_drift_ppb=MAX_DRIFT_PPB, max_wander=MAX_WANDER)
        era = Era(exchanges, MAX_DRIFT_PPB, MAX_WANDER)
        for exchange, (at_ns, offset_ns, *_) in list(zip(exchanges, live, strict=True))[30:]:
            assert at_ns == exchange.t4_ns
            found = era.at(at_ns)
            error = found.node_ns - at_ns - truth(at_ns)
            squares += error**2
            live_squares += (offset_ns - truth(at_ns)) ** 2
            likely += abs(error) <= found.uncertainty_ns
            count += 1
            bounds.append(found.bound_ns)
            live_bounds.append((exchange.t4_ns - exchange.t1_ns) / 2)
    assert math.sqrt(squares) <= 0.75 * math.sqrt(live_squares)
    assert likely / count >= 0.99
    assert sorted(bounds)[len(bounds) // 2] < sorted(live_bounds)[len(bounds) // 2]


def test_a_gap_widens_the_bound_and_its_ends_do_not_hear_of_it() -> None:
    exchanges, _ = world(7, count=60, gap_s=90)
    era = Era(exchanges, MAX_DRIFT_PPB, MAX_WANDER)
    before, after = next((a, b) for a, b in pairwise(exchanges) if b.t1_ns - a.t4_ns > 10**10)
    middle = era.at((before.t4_ns + after.t1_ns) // 2).bound_ns
    # Half of w·T²/8 at least, and all of it at most: far less than the 9 ms that the drift alone would allow.
    curve_ns = MAX_WANDER * 90**2 / 8 * 1e9
    edge = era.at(before.t4_ns - 10**9).bound_ns
    assert edge + curve_ns / 2 < middle < edge + 1.1 * curve_ns + 1e5


@given(
    st.lists(st.tuples(st.floats(0, 100), st.floats(-1e6, 1e6)), min_size=1, max_size=30),
    st.floats(-10, 110),
    st.floats(0, 1e3),
)
def test_a_further_bound_never_loosens_what_was_known(
    points: list[tuple[float, float]], t: float, wander: float
) -> None:
    """And none lies above a bound at its own instant."""
    ceiling = _Ceiling(points, 1e5, wander)
    for at, y in points:
        assert ceiling.at(at) <= y + 1e-3
    more = _Ceiling([*points, (points[0][0], points[0][1] - 10)], 1e5, wander)
    assert more.at(t) <= ceiling.at(t) + 1e-3


def test_eras_are_never_bridged() -> None:
    first, _ = world(1, count=20)
    second, _ = world(2, count=20)
    moved = [
        Exchange(e.t1_ns + 10**11, e.t2_ns + 10**11 + 12_345, e.t3_ns + 10**11 + 12_345, e.t4_ns + 10**11, 0, 1)
        for e in second
    ]
    night = eras([*first, *moved], MAX_DRIFT_PPB, MAX_WANDER)
    assert len(night) == 2
    assert era_at(night, first[3].t4_ns) == (night[0], True)
    assert era_at(night, moved[3].t4_ns) == (night[1], True)
    assert era_at(night, first[-1].t4_ns + 1) == (night[0], False)
    # Each era's answers are its own, to the nanosecond.
    alone = Era(moved, MAX_DRIFT_PPB, MAX_WANDER)
    assert night[1].at(moved[5].t4_ns) == alone.at(moved[5].t4_ns)


@pytest.mark.parametrize(("drift", "wander"), [(-1, 0.0), (2_000_000_000, 0.0), (1, math.nan), (1, -1.0)])
def test_absurd_assumptions_are_refused(drift: int, wander: float) -> None:
    with pytest.raises(ValueError, match="largest drift"):
        _core.estimates([], max_drift_ppb=drift, max_wander=wander)
