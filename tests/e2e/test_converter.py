"""The converter's clock from Python: a sound card's callbacks, told to a platform that renders for it."""

import random

import pytest

from harmonia import _core

RATE, BLOCK = 48_000, 1_024


@pytest.mark.parametrize("drift_ppm", [-100, 100])
def test_a_card_that_is_told_of_is_rendered_for(drift_ppm: int) -> None:
    core = _core.Platform(sample_rate=RATE, seed=1)
    core.set_output_latency(40)
    assert core.converter() is None
    core.render(BLOCK)
    begin_ns = core.clock().raw_ns
    period_ns = BLOCK * 1e9 / (RATE * (1 + drift_ppm * 1e-6))
    dice = random.Random(drift_ppm)
    for block in range(1, 3000):
        # Called back up to 2 ms late.
        core.played(block * BLOCK, begin_ns + round(block * period_ns + dice.random() * 2e6))
        core.render(BLOCK)
    converter = core.converter()
    assert converter is not None
    assert converter["rate_ppb"] == pytest.approx(drift_ppm * 1000, abs=2000)
    assert (converter["pairs"], converter["gaps"]) == (2999, 0)
    next_sample = core.next_sample()
    assert next_sample is not None
    heard_ns = begin_ns + 3000 * period_ns + 40_000_000
    # The platform's clock is the raw one here.
    assert abs(next_sample[0] - heard_ns) < 100_000
    core.close()


@pytest.mark.parametrize("latency_ms", [-0.001, 2000.001, float("nan"), float("inf")])
def test_an_output_latency_that_none_has_is_refused(latency_ms: float) -> None:
    core = _core.Platform()
    with pytest.raises(ValueError, match="0 to 2000 ms"):
        core.set_output_latency(latency_ms)
    core.close()


def test_a_simulated_card_is_a_crystal_not_a_wreck() -> None:
    with pytest.raises((ValueError, RuntimeError), match="1000 ppm"):
        _core.Platform(card_drift_ppb=1_000_001)


def test_exchanges_of_a_platform_that_never_met_anybody() -> None:
    core = _core.Platform()
    assert core.exchanges(0) == []
    drift_ppb, wander = core.assumptions()
    assert drift_ppb > 0
    assert wander > 0
    core.close()
