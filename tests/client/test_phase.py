"""A platform's own tracker: fed with time stamps, asked for any instant."""

import math

import pytest

from harmonia.client import PhaseTracker
from harmonia.errors import BadInput

STEP_NS = 40_000_000
BEGAN_NS = 7_000_000_000


def fed(seconds: int, hz: float) -> PhaseTracker:
    tracker = PhaseTracker((0.1, 0.5), 25)
    for i in range(seconds * 25):
        assert tracker.feed(BEGAN_NS + i * STEP_NS, math.cos(2 * math.pi * hz * i / 25))
    return tracker


def test_a_steady_breath_is_known_also_between_samples() -> None:
    tracker = fed(60, 0.25)
    for ahead_ns in (0, 15_000_000, 39_000_000):
        estimate = tracker.at(BEGAN_NS + 1499 * STEP_NS + ahead_ns)
        wrong = (estimate.phase_turns - 0.25 * (1499 / 25 + ahead_ns / 1e9) + 0.5) % 1 - 0.5
        assert abs(wrong) < 0.01
        assert estimate.frequency_hz == pytest.approx(0.25, rel=0.01)
        assert estimate.confidence > 0.9


def test_a_sensor_that_falls_silent_is_trusted_ever_less() -> None:
    tracker = fed(60, 0.25)
    sure = [tracker.at(BEGAN_NS + 1499 * STEP_NS + s * 1_000_000_000).confidence for s in range(4)]
    assert sure == sorted(sure, reverse=True)
    assert sure[-1] == 0


def test_a_late_sample_is_left_out() -> None:
    tracker = fed(10, 0.25)
    before = tracker.at(BEGAN_NS + 249 * STEP_NS)
    assert not tracker.feed(BEGAN_NS + 200 * STEP_NS, 1e6)
    assert tracker.at(BEGAN_NS + 249 * STEP_NS) == before


def test_a_band_that_cannot_be_tracked_is_refused() -> None:
    with pytest.raises(BadInput, match="below half"):
        PhaseTracker((5, 15), 25)
