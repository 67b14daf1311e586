"""`harmonia score`: what is shown and rendered is what the core plays."""

import json
import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia import _core
from harmonia.bridges.sounds import pcm16
from harmonia.cli.score import CHUNK_S
from tests.cli.conftest import Run

SCORE = "one: 200+4/20 300+8/10\n23:30:00 == one\n23:31:00 == one\n23:32:00 == one\n"


@pytest.fixture
def score_file(tmp_path: Path) -> Path:
    path = tmp_path / "night.sbg"
    path.write_text(SCORE)
    return path


def test_show_gives_programs_the_promised_keys(harmonia: Run, score_file: Path) -> None:
    code, out, _ = harmonia("score", "show", str(score_file), "--json")
    shown = json.loads(out)
    assert code == 0
    assert {"duration_s", "tone_sets", "timeline", "channels_max"} <= set(shown)
    assert shown["channels_max"] == 2


def test_show_names_every_tone_set_for_people(harmonia: Run, score_file: Path) -> None:
    code, out, _ = harmonia("score", "show", str(score_file))
    assert code == 0
    assert "one" in out
    assert "2 channels" in out


def read(path: Path) -> np.ndarray:
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (2, 2)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)


@pytest.mark.parametrize(
    ("title", "read"),
    [
        (b"Na\xc3\xafve \xe2\x80\x9cnight\xe2\x80\x9d", "Naïve “night”"),
        (b"Na\xefve \x93night\x94", "Naïve “night”"),
        (b"Na\xefve \x81", "Naïve"),
    ],
)
def test_an_older_sbg_file_may_be_in_windows_1252_or_latin_1(
    harmonia: Run, tmp_path: Path, title: bytes, read: str
) -> None:
    path = tmp_path / "old.sbg"
    path.write_bytes(b"## " + title + b"\n" + SCORE.encode())
    code, out, _ = harmonia("score", "show", str(path), "--json")
    assert code == 0
    assert json.loads(out)["title"].rstrip("\x81 ") == read


def test_words_beyond_the_sixteenth_are_noted(harmonia: Run, tmp_path: Path) -> None:
    path = tmp_path / "wide.sbg"
    path.write_text("wide:" + " 200+4/1" * 16 + " 300+8/1\n0:00 wide\n")
    code, out, _ = harmonia("score", "show", str(path))
    assert code == 0
    assert f'{path}:1: note: "300+8/1"' in out
    assert "up to 16 channels" in out


def test_render_is_the_cores_sound_in_sixteen_bits(harmonia: Run, score_file: Path, tmp_path: Path) -> None:
    output = tmp_path / "part.wav"
    code, out, _ = harmonia(
        "score",
        "render",
        str(score_file),
        "--start",
        "23:30:20",
        "--seconds",
        "2",
        "--rate",
        "44100",
        "--output",
        str(output),
    )
    assert code == 0
    assert "2 s" in out
    score = _core.Score.parse(SCORE, "night.sbg", "sbg")
    expected = _core.Renderer(score, 0, 44100).render(20_000_000_000, 2 * 44100)
    assert np.abs(expected).max() > 0.01
    assert read(output).tobytes() == pcm16(expected)


def test_a_long_part_has_no_seam_between_chunks(harmonia: Run, score_file: Path, tmp_path: Path) -> None:
    output = tmp_path / "long.wav"
    seconds = CHUNK_S + 2
    code, _, _ = harmonia(
        "score", "render", str(score_file), "--seconds", str(seconds), "--rate", "48000", "--output", str(output)
    )
    sound = read(output).astype(float)
    assert (code, len(sound)) == (0, seconds * 48000)
    seam = CHUNK_S * 48000
    steps = np.abs(np.diff(sound, axis=0)).max(axis=1)
    assert steps[seam - 50 : seam + 50].max() <= 1.1 * steps[seam - 24000 : seam - 50].max()


def test_a_time_before_the_scores_beginning_is_the_next_day(harmonia: Run, score_file: Path, tmp_path: Path) -> None:
    output = tmp_path / "late.wav"
    code, _, _ = harmonia(
        "score", "render", str(score_file), "--start", "23:29:59", "--seconds", "0.1", "--output", str(output)
    )
    assert code == 0


@pytest.mark.parametrize("start", ["25", "23:60:00", "soon", "23:30:00:00", "-1:00:00"])
def test_what_is_no_time_of_day_is_refused(harmonia: Run, score_file: Path, tmp_path: Path, start: str) -> None:
    output = tmp_path / "x.wav"
    code, _, err = harmonia(
        "score", "render", str(score_file), f"--start={start}", "--seconds", "1", "--output", str(output)
    )
    assert code == 2
    assert "HH:MM:SS" in err
    assert not output.exists()


def test_a_folder_that_is_not_there_is_said(harmonia: Run, score_file: Path, tmp_path: Path) -> None:
    output = tmp_path / "no" / "x.wav"
    code, _, err = harmonia("score", "render", str(score_file), "--seconds", "1", "--output", str(output))
    assert code == 6
    assert str(output) in err


@given(st.lists(st.floats(-2, 2), min_size=2, max_size=20))
def test_sixteen_bits_are_the_nearest_and_never_wrap(samples: list[float]) -> None:
    sound = np.array(samples, np.float32)[:, None].repeat(2, axis=1)
    back = np.frombuffer(pcm16(sound), "<i2").reshape(-1, 2) / 32767
    assert np.abs(back - np.clip(sound, -32768 / 32767, 1.0)).max() <= 0.51 / 32767 + 1e-7


def test_music_beside_the_score_is_played_and_what_is_missing_is_said(harmonia: Run, tmp_path: Path) -> None:
    score = tmp_path / "night.sbg"
    score.write_text("-m river.wav\none: mix/50\n0:00 one\n")
    output = tmp_path / "out.wav"
    arguments = ("score", "render", str(score), "--seconds", "1", "--output", str(output))
    code, _, err = harmonia(*arguments)
    assert code == 0
    assert "stem river.wav is silent" in err
    assert not read(output).any()
    elsewhere = tmp_path / "music"
    elsewhere.mkdir()
    with wave.open(str(elsewhere / "river.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(48000)
        file.writeframes(np.full(96000, 8000, "<i2").tobytes())
    code, _, err = harmonia(*arguments, "--stems", str(elsewhere))
    assert code == 0
    assert f"stem river.wav: {elsewhere / 'river.wav'}" in err
    assert read(output)[1000:].mean() == pytest.approx(4000, rel=0.01)


def test_a_curve_is_a_score(harmonia: Run, tmp_path: Path) -> None:
    curve = tmp_path / "ease.sbgf"
    curve.write_text("# Ease out\nbeat = lerp(b0, b1, 1 - pow(1 - ramp(m,0,D), 2))\n")
    code, out, _ = harmonia("score", "show", str(curve), "--json")
    assert code == 0
    assert json.loads(out)["duration_s"] == 1815
    curve.write_text("beat = 4 +\n")
    code, _, err = harmonia("score", "show", str(curve))
    assert code == 2
    assert f"{curve}:1: " in err
