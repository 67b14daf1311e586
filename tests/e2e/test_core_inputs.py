"""Numbers that no honest caller sends: each is refused in words; none ends a thread or the process."""

import pytest

from harmonia import _core

SCORE = _core.Score.parse("t: 200+4/10\nNOW t\n", "t.sbg", "sbg")


@pytest.mark.parametrize("frames", [2**27 + 1, 2**62, 2**63])
def test_more_samples_than_memory_are_refused(frames: int) -> None:
    renderer, platform = _core.Renderer(SCORE, 0, 8000), _core.Platform()
    with pytest.raises(ValueError, match="in pieces"):
        renderer.render(0, frames)
    with pytest.raises(ValueError, match="in pieces"):
        platform.render(frames)
    platform.close()


@pytest.mark.parametrize("drift_ppb", [-1_000_000_000, -(2**63)])
def test_a_clock_that_stands_still_is_refused(drift_ppb: int) -> None:
    with pytest.raises(ValueError, match="ppb"):
        _core.Platform(clock_drift_ppb=drift_ppb)


def test_a_ramp_of_less_than_no_time_is_refused() -> None:
    with pytest.raises(_core.RhythmError, match="ramp"):
        _core.Rhythm([(0, 0, 0, 0, -1)])
