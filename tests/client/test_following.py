"""What a rhythm takes from a living signal: smooth, within the band, never from a guess, and never chatter."""

import itertools
import math

from hypothesis import given
from hypothesis import strategies as st

from harmonia.client.following import CATCH_UP_MAX, CONFIDENCE_MIN, SAID_EVERY_S, Pursuit
from harmonia.client.phase import PhaseEstimate

BAND = (0.1, 0.5)
STEP_S = 0.5

estimates = st.lists(
    st.tuples(st.floats(0.0, 1.0, exclude_max=True), st.floats(*BAND), st.floats(0.0, 1.0), st.floats(0.0, 1.0)),
    min_size=1,
    max_size=80,
)


def run(given_: list[tuple[float, float, float, float]]) -> list[tuple[float, float]]:
    """When what was said."""
    pursuit, said = Pursuit(BAND), []
    for i, (phase, hz, confidence, own) in enumerate(given_):
        estimate, now_s = PhaseEstimate(phase, hz, confidence), i * STEP_S
        pursuit.see(estimate, now_s)
        wish = pursuit.wish(estimate, own, now_s)
        if wish is not None:
            pursuit.said(wish, now_s)
            said.append((now_s, wish))
    return said


@given(estimates)
def test_what_is_said_lies_within_the_band_and_seldom(given_: list[tuple[float, float, float, float]]) -> None:
    said = run(given_)
    assert all(BAND[0] <= hz <= BAND[1] for _, hz in said)
    assert all(later[0] - earlier[0] >= SAID_EVERY_S for earlier, later in itertools.pairwise(said))


@given(estimates)
def test_an_unsure_estimate_changes_nothing(given_: list[tuple[float, float, float, float]]) -> None:
    assert run([(phase, hz, 0.99 * CONFIDENCE_MIN * sure, own) for phase, hz, sure, own in given_]) == []


@given(st.floats(0.12, 0.4), st.floats(0.0, 1.0, exclude_max=True))
def test_a_steady_breath_is_reached_in_frequency_and_phase_and_then_nothing_more_is_said(
    hz: float, begin: float
) -> None:
    pursuit, own, own_hz, last_s = Pursuit(BAND), begin, 0.2, 0.0
    for i in range(4000):
        now_s = i * STEP_S
        estimate = PhaseEstimate(hz * now_s % 1.0, hz, 0.9)
        pursuit.see(estimate, now_s)
        wish = pursuit.wish(estimate, own, now_s)
        if wish is not None:
            assert abs(wish / hz - 1) <= CATCH_UP_MAX + 1e-9
            pursuit.said(wish, now_s)
            own_hz, last_s = wish, now_s
        own = (own + own_hz * STEP_S) % 1.0
    off = (own - hz * 4000 * STEP_S + 0.5) % 1.0 - 0.5
    assert abs(off) < 0.1
    assert abs(own_hz / hz - 1) < 0.01
    assert math.isfinite(last_s)


def test_a_cough_is_smoothed() -> None:
    steady = [(0.0, 0.25, 0.9, 0.0)] * 100
    said = run([*steady, (0.0, 0.5, 0.9, 0.0), *steady])
    assert all(abs(hz - 0.25) < 0.03 for _, hz in said), said
