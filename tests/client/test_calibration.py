"""What is measured at one bed: kept whole, and found from what a real room would record."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonia.client import Calibration
from harmonia.client.calibration import clicks, full_scale_spl, latency_ms, signal
from harmonia.errors import BadInput

RATE = 48_000


def test_a_calibration_is_kept_and_nothing_is_known_without_one(tmp_path: Path) -> None:
    path = tmp_path / "platform.json"
    assert Calibration.load(path) == Calibration()
    Calibration(92.5, 180.25).save(path)
    assert Calibration.load(path) == Calibration(92.5, 180.25)
    for damaged in ("", "[]", '{"harmonia": 1, "full_scale_spl_db": "loud"}', '{"harmonia": 1, "volume": 3}'):
        path.write_text(damaged)
        with pytest.raises(BadInput, match="calibrate again"):
            Calibration.load(path)


@pytest.mark.parametrize(
    "wrong",
    [
        '"output_latency_ms": 2000.5',
        '"output_latency_ms": -1',
        '"output_latency_ms": NaN',
        '"full_scale_spl_db": 1e300',
        '"full_scale_spl_db": -Infinity',
        '"full_scale_spl_db": 1' + "0" * 400,
    ],
)
def test_a_calibration_that_nobody_can_have_measured_is_refused_by_name(wrong: str, tmp_path: Path) -> None:
    path = tmp_path / "platform.json"
    path.write_text(f'{{"harmonia": 1, {wrong}}}')
    with pytest.raises(BadInput, match=rf"platform.json: {wrong[1:18]} is .* calibrate again"):
        Calibration.load(path)


@given(reading=st.floats(0, 120), level=st.floats(-80, -10), spl=st.floats(0, 120))
def test_a_tone_at_the_ceiling_reads_what_was_asked_for(reading: float, level: float, spl: float) -> None:
    known = Calibration(full_scale_spl(reading, level))
    ceiling_dbfs = known.ceiling_dbfs(spl)
    assert ceiling_dbfs <= 0
    # The meter read `reading` at `level`; a tone at the ceiling is so many decibels away from that.
    assert reading + (ceiling_dbfs - level) <= spl + 1e-9
    assert ceiling_dbfs == 0 or known.spl_db(ceiling_dbfs) == pytest.approx(spl)


def test_what_no_meter_reads_is_refused_and_so_is_a_ceiling_without_one() -> None:
    for reading in (-1.0, 121.0, math.nan, math.inf):
        with pytest.raises(BadInput, match="0 to 120 dB"):
            full_scale_spl(reading, -30)
    with pytest.raises(BadInput, match="-80 to -10 dBFS"):
        full_scale_spl(60, 0)
    with pytest.raises(BadInput, match="platform calibrate spl"):
        Calibration().ceiling_dbfs(45)


@pytest.mark.parametrize("kind", ["tone", "pink"])
def test_a_signal_is_as_loud_as_a_sine_of_its_level(kind: str) -> None:
    sound = signal(kind, -30, 10, RATE)
    assert sound.shape == (10 * RATE, 2)
    middle = sound[RATE:-RATE, 0].astype(float)
    level_dbfs = 10 * math.log10(2 * np.mean(middle**2))
    assert level_dbfs == pytest.approx(-30, abs=0.2)
    assert abs(sound[0]).max() < 1e-4, "it begins softly"


@settings(max_examples=15, deadline=None)
@given(delay=st.integers(0, 40_000), echo=st.floats(0, 0.7), seed=st.integers(0, 2**32 - 1))
def test_latency_is_found_through_noise_and_an_echo(delay: int, echo: float, seed: int) -> None:
    played = clicks(10, RATE)[:, 0].astype(float)
    chance = np.random.default_rng(seed)
    card = np.concatenate((np.zeros(777), played, np.zeros(50_000)))
    heard = np.concatenate((np.zeros(777 + delay), played, np.zeros(50_000 - delay)))
    heard = -0.3 * (heard + echo * np.roll(heard, 333)) + chance.normal(0, 0.003, heard.size)
    found = latency_ms(card, heard, RATE)
    assert found == pytest.approx(delay / RATE * 1e3, abs=0.02)


@pytest.mark.parametrize("frames", [RATE, 60_000, 120_000])
def test_latency_is_found_in_a_recording_that_is_short(frames: int) -> None:
    """A latency of more than half of it is no other one, the other way round."""
    played = clicks(3, RATE)[:frames, 0].astype(float)
    heard = np.concatenate((np.zeros(40_000), played))[:frames]
    assert latency_ms(played, heard, RATE) == pytest.approx(40_000 / RATE * 1e3, abs=0.02)


def test_tracks_that_have_nothing_in_common_or_are_swapped_are_refused() -> None:
    chance = np.random.default_rng(5)
    with pytest.raises(BadInput, match="nothing in common"):
        latency_ms(chance.normal(size=200_000), chance.normal(size=200_000), RATE)
    with pytest.raises(BadInput, match="nothing in common"):
        latency_ms(np.zeros(200_000), np.zeros(200_000), RATE)
    played = clicks(5, RATE)[:, 0].astype(float)
    with pytest.raises(BadInput, match="swap the two tracks"):
        latency_ms(np.roll(played, 5_000), played, RATE)
