"""`harmonia mix`: the same circle for the same seed, figures known beforehand, and clear words where it cannot."""

import json
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import signal as scipy_signal

from harmonia.bridges import sounds
from harmonia.cli.loudness import k_weight, measure
from harmonia.cli.mix_woven import FREE_ONE_IN, cast

Run = Callable[..., tuple[int, str, str]]
RATE = 48_000
WOVEN = Path(__file__).parents[2] / "examples" / "scores" / "woven-circle.toml"
SCORE = """
end = "00:00:20"
rhythm = 0.5
[tone-sets]
one = [
  { wave = "binaural", carrier_hz = 100, locked = 1, amplitude_pct = 10 },
  { wave = "binaural", carrier_hz = 180, locked = 2, lead = "left", amplitude_pct = 10 },
  { wave = "noise", color = "brown", amplitude_pct = 1 },
]
[[timeline]]
at = 0
play = "one"
transition = "cut"
"""


@pytest.fixture
def score(tmp_path: Path) -> Path:
    path = tmp_path / "short.toml"
    path.write_text(SCORE)
    return path


def sine(hz: float, dbfs: float, seconds: float = 20) -> NDArray[np.float32]:
    one = 10 ** (dbfs / 20) * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)
    return np.stack([one, one], axis=1).astype(np.float32)


# Loudness


def test_the_calibration_tone_of_r_128_reads_as_it_says() -> None:
    for dbfs in (-23.0, -33.0):
        loudness = measure(sine(1000, dbfs), RATE)
        assert loudness.integrated_lufs == pytest.approx(dbfs, abs=0.1)
        assert loudness.range_lu == pytest.approx(0.0, abs=0.1)
        assert loudness.true_peak_dbtp == pytest.approx(dbfs, abs=0.1)
        assert loudness.correlation == pytest.approx(1.0)


def test_silence_and_quiet_parts_do_not_count() -> None:
    """Tech 3341, case 3: -36, -23 and -36 LUFS for 10, 60 and 10 s are -23 LUFS."""
    sound = np.concatenate([sine(1000, -36, 10), sine(1000, -23, 60), sine(1000, -36, 10), 0 * sine(1000, 0, 30)])
    assert measure(sound, RATE).integrated_lufs == pytest.approx(-23.0, abs=0.1)


def test_the_range_is_that_of_tech_3342() -> None:
    """Case 1: 20 s at -20 LUFS, then 20 s at -30: a range of 10 LU."""
    sound = np.concatenate([sine(1000, -20), sine(1000, -30)])
    assert measure(sound, RATE).range_lu == pytest.approx(10.0, abs=1.0)


def test_the_weighting_is_that_of_filters_run_over_samples() -> None:
    random = np.random.default_rng(5)
    sound = (0.1 * random.standard_normal((12 * RATE, 2))).astype(np.float32)
    filtered = sound.astype(np.float64)
    for b, a in k_weight(RATE):
        filtered = scipy_signal.lfilter(b, a, filtered, axis=0)
    hop = RATE // 10
    power = (filtered**2).sum(axis=1).reshape(-1, hop).mean(axis=1)
    expected = 10 * np.log10(np.convolve(power, np.full(4, 0.25), "valid")) - 0.691
    assert measure(sound, RATE).momentary_lufs[3:] == pytest.approx(expected, abs=1e-3)
    # The table of BS.1770 for 48 kHz.
    (shelf, shelf_past), (high, high_past) = k_weight(RATE)
    assert shelf / shelf_past[0] == pytest.approx([1.53512485958697, -2.69169618940638, 1.19839281085285])
    assert high == pytest.approx([1, -2, 1])
    assert high_past == pytest.approx([1, -1.99004745483398, 0.99007225036621])


def test_peaks_between_samples_are_seen() -> None:
    quarter = np.sin(2 * np.pi * (np.arange(RATE) / 4 + 0.125)) * 0.5  # every sample 3 dB below the curve
    sound = np.stack([quarter, quarter], axis=1).astype(np.float32)
    assert measure(sound, RATE).true_peak_dbtp == pytest.approx(-6.02, abs=0.1)


@settings(max_examples=12)
@given(st.integers(1000, 3 * RATE - 1000), st.floats(0.1, 0.3))
def test_an_edge_is_a_click_and_nothing_else_is(at: int, step: float) -> None:
    random = np.random.default_rng(at)
    sound = sine(110, -20, 3) + (0.003 * random.standard_normal((3 * RATE, 1))).astype(np.float32)
    assert measure(sound, RATE).clicks == 0
    sound[at:] += np.float32(step)
    assert measure(sound, RATE).clicks == 1


@given(st.sampled_from([2, 3]), st.integers(0, 2**32 - 1))
def test_a_wav_file_of_any_width_reads_as_it_was_meant(width: int, seed: int) -> None:
    import tempfile

    samples = np.random.default_rng(seed).integers(-(1 << 15), 1 << 15, (100, 2))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.wav"
        with wave.open(str(path), "wb") as file:
            file.setnchannels(2)
            file.setsampwidth(width)
            file.setframerate(RATE)
            raw = (samples << 8 * (width - 2)).astype("<i4").reshape(-1, 1).view(np.uint8).reshape(-1, 4)[:, :width]
            file.writeframes(raw.tobytes())
        sound, rate = sounds.read(path)
    assert rate == RATE
    assert np.array_equal(sound * 32768, samples.astype(np.float32))


# The woven circle


@given(st.integers(1, 60), st.integers(1, 40), st.integers(0, 2), st.integers(0, 99))
def test_a_cast_sings_everything_once_and_leaves_some_free(sleepers: int, notes: int, noises: int, seed: int) -> None:
    channels = [False] * notes + [True] * noises
    people = cast(sleepers, channels, 0.2, 120, seed)
    assert people == cast(sleepers, channels, 0.2, 120, seed)
    assert len(people) == sleepers
    assert sum(one.coupling == 0 for one in people) == sleepers // FREE_ONE_IN
    assert all(0.1 < one.own_hz < 0.35 for one in people)
    assert all(np.linalg.norm(one.voice) > 0 for one in people)
    for channel in range(len(channels)):
        assert sum(abs(one.voice[channel]) for one in people) == pytest.approx(1.0)


def test_a_rehearsal_is_a_sound_a_picture_and_figures_and_the_same_again(
    harmonia: Run, score: Path, tmp_path: Path
) -> None:
    files = []
    for folder, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        output = tmp_path / folder
        people = ("--sleepers", "7", "--seed", seed, "--seconds", "6")
        code, out, err = harmonia("mix", "woven", str(score), *people, "--output", str(output), "--json")
        assert code == 0, err
        said = json.loads(out)
        assert said["sleepers"] == 7
        assert said["uncoupled"] == 1
        assert said["sound"]["clicks"] == 0
        assert (output / "picture.png").read_bytes().startswith(b"\x89PNG")
        assert json.loads((output / "summary.json").read_text())["people"] == said["people"]
        files.append((output / "mix.wav").read_bytes())
    assert files[0] == files[1]
    assert files[0] != files[2]


def test_the_two_minutes_of_the_documentation_are_a_sound_to_fall_asleep_to(harmonia: Run, tmp_path: Path) -> None:
    code, out, err = harmonia("mix", "woven", str(WOVEN), "--output", str(tmp_path), "--json")
    assert code == 0, err
    said = json.loads(out)
    assert (said["sleepers"], said["seconds"]) == (20, 120.0)
    assert said["unity_first_quarter"] < 0.4
    assert said["unity_last_quarter"] > 0.6
    sound = said["sound"]
    assert -27 < sound["integrated_lufs"] < -20
    assert sound["momentary_max_lufs"] - sound["integrated_lufs"] < 5
    assert sound["true_peak_dbtp"] < -6
    assert sound["clicks"] == 0
    assert sound["ear_correlation"] < 0.6
    samples, _ = sounds.read(tmp_path / "mix.wav")
    assert np.abs(samples[: RATE // 10]).max() < 1e-3
    assert np.abs(samples[-RATE // 10 :]).max() < 1e-2


# Plot


def test_the_phase_between_the_ears_is_n_times_the_offset(harmonia: Run, score: Path, tmp_path: Path) -> None:
    output, picture = tmp_path / "x.wav", tmp_path / "x.png"
    rendered = harmonia("score", "render", str(score), "--seconds", "20", "--offset", "0.1", "--output", str(output))
    assert rendered[0] == 0, rendered
    code, out, err = harmonia("mix", "plot", str(output), "--score", str(score), "--output", str(picture), "--json")
    assert code == 0, err
    for one in json.loads(out)["between_ears"]:
        assert one["off_turns_p50"] == pytest.approx(0.1 * one["locked"], abs=2e-3), one
        assert one["coherence"] > 0.98
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_log_of_moments_is_drawn_too(harmonia: Run, tmp_path: Path) -> None:
    log = tmp_path / "moments.jsonl"
    lines: list[dict[str, object]] = [{"event": "joined"}]
    for i in range(50):
        off = 0.05 * (i >= 25)
        lines.append(
            {"event": "moment", "node_ns": i * 10**8, "level_dbfs": -30.0, "phase_turns": (0.02 * i + off) % 1}
        )
    log.write_text("\n".join(map(json.dumps, lines)))
    code, out, err = harmonia("mix", "plot", "--log", str(log), "--output", str(tmp_path / "x.png"), "--json")
    assert code == 0, err
    told = json.loads(out)["told"]
    assert told["moments"] == 50
    assert told["level_max_dbfs"] == -30.0
    assert 0.01 < told["phase_off_max_turns"] < 0.05


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("plot",), 2, "a WAV file, a --log, or both"),
        (("plot", "nowhere.wav"), 3, "no such file"),
        (("plot", "text.wav"), 2, "not a PCM WAV"),
        (("plot", "short.wav"), 2, "it ends early"),
        (("plot", "--log", "text.wav"), 2, "text.wav:1"),
        (("woven", "short.toml", "--ear", "21"), 2, "one of 20"),
        (("woven", "endless.toml"), 2, "--seconds"),
        (("woven", "text.wav"), 2, "must end in"),
    ],
)
def test_what_cannot_be_drawn_or_rehearsed_is_said(
    arguments: tuple[str, ...], code: int, told: str, harmonia: Run, score: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(score.parent)
    Path("text.wav").write_text("hello, this is text\n")
    Path("short.wav").write_bytes(b"RIFF")
    Path("endless.toml").write_text(SCORE.replace('end = "00:00:20"\n', ""))
    answer = harmonia("mix", *arguments, "--output", "out")
    assert answer[0] == code, answer
    assert told in answer[2]
