"""`harmonia phase`: causal to the byte, as good as it says, and clear about what it cannot read."""

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path

import edfio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import signal as scipy_signal

from harmonia import _core
from harmonia.cli.phase_track import ESTIMATORS
from harmonia.cli.phase_truth import analytic, errors

Run = Callable[..., tuple[int, str, str]]
Floats = NDArray[np.float64]
REAL = os.environ.get("HARMONIA_REAL_DATA")
real = pytest.mark.skipif(REAL is None, reason="set HARMONIA_REAL_DATA to a folder with eeg/ and respiration/")
SLOW, BREATH = (0.5, 1.5), (0.1, 0.5)


def slow_waves(seed: int, rate_hz: float = 64, seconds: float = 240) -> Floats:
    """Noise whose power falls with its frequency, with a hump near 0.9 Hz, louder and softer over time: sleep EEG."""
    random = np.random.default_rng(seed)
    count = int(rate_hz * seconds)
    hz = np.fft.rfftfreq(count, 1 / rate_hz)
    size = np.maximum(hz, 0.2) ** -random.uniform(0.7, 1.1) + random.uniform(0, 3) * np.exp(-(((hz - 0.9) / 0.3) ** 2))
    wave = np.fft.irfft(size * np.exp(2j * np.pi * random.random(len(hz))), count)
    swell: Floats = wave / wave.std() * 15 * (1 + 0.5 * np.sin(2 * np.pi * np.arange(count) / rate_hz / 47))
    return swell


def breath(seed: int, rate_hz: float = 25, seconds: float = 300) -> Floats:
    """Breaths whose pace and depth change all the time, with pauses."""
    random = np.random.default_rng(seed)
    count = int(rate_hz * seconds)
    forget = np.exp(-1 / (8 * rate_hz))
    slow = [scipy_signal.lfilter([np.sqrt(1 - forget**2)], [1, -forget], random.standard_normal(count)) for _ in "12"]
    phase = np.cumsum(0.25 * np.exp(0.15 * slow[0])) / rate_hz
    depth = np.exp(0.3 * slow[1])
    for begin in random.uniform(20, seconds - 20, 5):
        depth[int(begin * rate_hz) : int((begin + 6) * rate_hz)] *= 0.1
    result: Floats = depth * np.cos(2 * np.pi * phase) + 0.05 * random.standard_normal(count)
    return result


def track(samples: Floats, rate_hz: float, band: tuple[float, float]) -> tuple[Floats, Floats, Floats]:
    return _core.Tracker(*band, rate_hz).feed(samples)


def write_edf(path: Path, channels: dict[str, Floats], rate_hz: float) -> Path:
    made = [
        edfio.EdfSignal(samples, rate_hz, label=label, physical_dimension="uV") for label, samples in channels.items()
    ]
    edfio.Edf(made).write(path)
    return path


@settings(max_examples=15)
@given(st.integers(0, 999), st.integers(1, 3999), st.sampled_from(ESTIMATORS))
def test_the_track_of_a_prefix_is_the_prefix_of_the_track(seed: int, cut: int, estimator: str) -> None:
    samples = breath(seed, seconds=160)
    samples[1000:1100] = np.nan
    name = next(one for one in ESTIMATORS if one == estimator)
    whole = _core.Tracker(*BREATH, 25, name).feed(samples)
    part = _core.Tracker(*BREATH, 25, name).feed(samples[:cut])
    for one, other in zip(whole, part, strict=True):
        assert one[:cut].tobytes() == other.tobytes()


def test_the_file_of_a_prefix_is_the_prefix_of_the_file(harmonia: Run, tmp_path: Path) -> None:
    samples = slow_waves(3, seconds=90)
    texts = []
    for name, part in (("whole", samples), ("part", samples[: 64 * 60])):
        edf = tmp_path / f"{name}.edf"
        edfio.Edf([edfio.EdfSignal(part, 64, label="EEG", physical_range=(-200.0, 200.0))]).write(edf)
        out = tmp_path / f"{name}.csv"
        code, _, _ = harmonia("phase", "track", str(edf), "--band", "0.5", "1.5", "--output", str(out))
        assert code == 0
        texts.append(out.read_bytes())
    assert texts[1].count(b"\n") == 64 * 60 + 1
    assert texts[0].startswith(texts[1])


def test_rows_are_in_range_and_one_a_sample(harmonia: Run, tmp_path: Path) -> None:
    edf = write_edf(tmp_path / "two.edf", {"EEG 0": slow_waves(1, seconds=60), "EEG 1": slow_waves(2, seconds=60)}, 64)
    out = tmp_path / "track.csv"
    code, text, _ = harmonia(
        *("phase", "track", str(edf), "--channel", "eeg 1", "--band", "0.5", "1.5", "--output", str(out), "--json")
    )
    assert code == 0
    assert json.loads(text)["channel"] == "EEG 1"
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 60 * 64
    for i, row in enumerate(rows):
        assert float(row["t_s"]) == pytest.approx(i / 64, abs=1e-6)
        assert 0 <= float(row["phase_turns"]) < 1
        assert 0.5 <= float(row["frequency_hz"]) <= 1.5
        assert 0 <= float(row["confidence"]) <= 1


@pytest.mark.parametrize("rate_hz", [25, 64, 128, 256, 512])
def test_the_predictor_beats_its_peers_on_waves_that_nobody_tuned_it_for(rate_hz: int) -> None:
    for seed in (11, 12):
        samples = slow_waves(seed, rate_hz)
        truth = analytic(samples, rate_hz, SLOW)
        at_s = np.arange(len(samples)) / rate_hz
        where = (at_s > 60) & (at_s < at_s[-1] - 5)
        found = {name: _core.Tracker(*SLOW, rate_hz, name).feed(samples)[0] for name in ESTIMATORS}
        lengths = {name: errors(phases, truth, where).resultant for name, phases in found.items()}
        ours = lengths.pop("predictor")
        assert ours > max(lengths.values()) + 0.03, lengths


def test_confidence_grows_with_the_resultant_length_of_the_errors_and_claims_no_more() -> None:
    confidences, phasors = [], []
    for seed in range(20, 26):
        samples = slow_waves(seed)
        truth = analytic(samples, 64, SLOW)
        phases, _, confidence = track(samples, 64, SLOW)
        confidences.append(confidence[60 * 64 : -5 * 64])
        phasors.append(np.exp(1j * (2 * np.pi * phases - np.angle(truth)))[60 * 64 : -5 * 64])
    confidence, phasor = np.concatenate(confidences), np.concatenate(phasors)
    lengths = []
    for low in (0.0, 0.2, 0.4, 0.6, 0.8):
        where = (confidence >= low) & (confidence < low + 0.2)
        lengths.append(abs(phasor[where].mean()))
        claimed = confidence[where].mean()
        assert claimed - 0.05 < lengths[-1] < claimed + 0.25, low
    assert lengths[-1] == pytest.approx(claimed, abs=0.03)
    assert lengths == sorted(lengths)


def test_artefacts_cost_confidence_and_it_comes_back() -> None:
    clean = slow_waves(40)
    truth = analytic(clean, 64, SLOW)
    random = np.random.default_rng(4)
    bad = clean.copy()
    for begin in range(70, 230, 20):
        part = slice(begin * 64, begin * 64 + 160)
        kind = begin // 20 % 4
        if kind == 0:
            bad[part] = np.nan
        elif kind == 1:
            bad[part] = bad[part.start]
        elif kind == 2:
            bad[part] = 600 * random.standard_normal(160)
        else:
            bad[begin * 64 :] += 800 * np.exp(-np.arange(len(bad) - begin * 64) / 64 / 0.7)
    phases, _, confidence = track(bad, 64, SLOW)
    for begin in range(70, 230, 20):
        assert confidence[(begin + 2) * 64] < 0.15, begin
        assert confidence[(begin + 5) * 64 : (begin + 20) * 64].max() > 0.5, begin
    sure = confidence > 0.6
    sure[: 60 * 64] = False
    assert sure.mean() > 0.15
    assert errors(phases, truth, sure).resultant > 0.75


def test_the_truth_is_what_scipy_says_it_is() -> None:
    for samples, rate_hz, band in ((slow_waves(5), 64.0, SLOW), (breath(5), 25.0, BREATH)):
        sections = scipy_signal.butter(2, band, "band", fs=rate_hz, output="sos")
        theirs = scipy_signal.hilbert(scipy_signal.sosfiltfilt(sections, samples - samples.mean()))
        ours = analytic(samples, rate_hz, band)
        middle = slice(int(20 * rate_hz), -int(20 * rate_hz))
        scale = np.abs(theirs[middle]).mean()
        assert np.abs(ours - theirs)[middle].max() < 0.02 * scale


def test_a_table_is_read_with_its_gaps(harmonia: Run, tmp_path: Path) -> None:
    samples = breath(7, seconds=120)
    rows = [f"{i / 25:.3f},{value:.5f}" for i, value in enumerate(samples) if not 1500 <= i < 1900]
    table, out = tmp_path / "breath.csv", tmp_path / "track.csv"
    table.write_text("t_s,value\n" + "\n".join(rows) + "\n")
    code, text, _ = harmonia(*("phase", "track", str(table), "--band", "0.1", "0.5", "--output", str(out), "--json"))
    assert code == 0
    assert json.loads(text)["samples"] == 3000
    confidence = np.loadtxt(out, delimiter=",", skiprows=1)[:, 3]
    assert confidence[1450] > 0.5
    assert (confidence[1700:1890] == 0).all()
    assert confidence[-100] > 0.5


def test_what_cannot_be_tracked_is_refused_in_a_line(harmonia: Run, tmp_path: Path) -> None:
    edf = write_edf(tmp_path / "two.edf", {"EEG 0": slow_waves(1, seconds=60), "RESP": slow_waves(2, seconds=60)}, 64)
    text = tmp_path / "notes.txt"
    text.write_text("no recording\n")
    damaged = tmp_path / "cut.edf"
    damaged.write_bytes(edf.read_bytes()[:300])
    table = tmp_path / "table.csv"
    table.write_text("t_s,value\n0,1\n0,2\n")
    out = tmp_path / "out.csv"
    for arguments, code, said in (
        ((str(edf), "--channel", "EMG", "--band", "0.5", "1.5"), 2, "there are: 'EEG 0', 'RESP'"),
        ((str(edf), "--band", "0.5", "1.5"), 2, "choose with --channel"),
        ((str(edf), "--channel", "RESP", "--band", "0.5", "32"), 2, "below half"),
        ((str(edf), "--channel", "RESP", "--band", "0.5", "9"), 2, "too wide"),
        ((str(edf), "--channel", "RESP", "--band", "0.5", "0.52"), 2, "too narrow"),
        ((str(edf), "--channel", "RESP", "--band", "1.5", "0.5"), 2, "LO must be"),
        ((str(text), "--band", "0.5", "1.5"), 2, "not an EDF file"),
        ((str(damaged), "--band", "0.5", "1.5"), 2, "damaged"),
        ((str(table), "--band", "0.5", "1.5"), 2, "table.csv:3"),
        ((str(tmp_path / "none.edf"), "--band", "0.5", "1.5"), 3, "no such file"),
    ):
        ended, _, error = harmonia("phase", "track", *arguments, "--output", str(out))
        assert (ended, error.count("\n")) == (code, 1), error
        assert said in error
        assert not out.exists()


def test_a_picture_and_a_table_of_all_estimators(harmonia: Run, tmp_path: Path) -> None:
    edf = write_edf(tmp_path / "one.edf", {"EEG": slow_waves(1, seconds=120)}, 64)
    track_csv, png = tmp_path / "track.csv", tmp_path / "track.png"
    band = ("--band", "0.5", "1.5")
    assert harmonia("phase", "track", str(edf), *band, "--output", str(track_csv))[0] == 0
    for more in ((), ("--track", str(track_csv), "--start", "60", "--seconds", "20")):
        assert harmonia("phase", "plot", str(edf), *band, *more, "--output", str(png))[0] == 0
        assert png.read_bytes().startswith(b"\x89PNG")
    other = write_edf(tmp_path / "other.edf", {"EEG": slow_waves(1, seconds=60)}, 64)
    code, _, error = harmonia("phase", "plot", str(other), *band, "--track", str(track_csv), "--output", str(png))
    assert code == 2
    assert "no track of it" in error
    code, text, _ = harmonia("phase", "compare", str(edf), *band, "--json")
    assert code == 0
    rows = json.loads(text)["estimators"]
    assert [row["estimator"] for row in rows] == list(ESTIMATORS)
    assert rows[0]["from_60_s"]["resultant"] > max(row["from_60_s"]["resultant"] for row in rows[1:])
    assert all(name in harmonia("phase", "compare", str(edf), *band)[1] for name in ESTIMATORS)


@real
@pytest.mark.parametrize("channel", ["EEG 0", "EEG 1"])
def test_slow_waves_of_a_real_night(harmonia: Run, channel: str) -> None:
    edf = Path(REAL or "") / "eeg" / "sleep-eeg-64hz.edf"
    code, text, _ = harmonia("phase", "compare", str(edf), "--channel", channel, "--band", "0.5", "1.5", "--json")
    assert code == 0
    ours, *others = json.loads(text)["estimators"]
    for since, sd_deg, resultant in (("from_60_s", 52, 0.66), ("from_180_s", 50, 0.68)):
        assert ours[since]["sd_deg"] <= sd_deg
        assert ours[since]["resultant"] >= resultant
        assert abs(ours[since]["mean_deg"]) <= 10
        assert all(other[since]["resultant"] < ours[since]["resultant"] for other in others)
    assert ours["sure"]["resultant"] > 0.85


@real
def test_a_real_breath(harmonia: Run) -> None:
    edf = Path(REAL or "") / "respiration" / "resp-125hz.edf"
    code, text, _ = harmonia("phase", "compare", str(edf), "--band", "0.1", "0.5", "--json")
    assert code == 0
    ours = json.loads(text)["estimators"][0]
    for since in ("from_60_s", "from_180_s"):
        assert ours[since]["sd_deg"] <= 12
        assert ours[since]["resultant"] >= 0.975
        assert abs(ours[since]["mean_deg"]) <= 10
