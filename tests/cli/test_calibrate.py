"""`harmonia platform calibrate` on files that are damaged, cut or nowhere: a result, or one line of reason."""

import gc
import json
import struct
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harmonia.client.calibration import clicks

Run = Callable[..., tuple[int, str, str]]
RATE = 48_000


def wav(path: Path, data: bytes, rate: int = RATE, bits: int = 16) -> Path:
    """A stereo WAV file, whatever its header says of the data."""
    form = struct.pack("<HHIIHH", 1, 2, rate, rate * 2 * bits // 8, 2 * bits // 8, bits)
    path.write_bytes(
        b"RIFF"
        + struct.pack("<I", 36 + len(data))
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + form
        + b"data"
        + struct.pack("<I", len(data))
        + data
    )
    return path


@pytest.mark.parametrize("bits", [16, 32])
def test_a_recording_that_was_cut_within_a_frame_is_read(bits: int, harmonia: Run, tmp_path: Path) -> None:
    played = clicks(4, RATE)[:, 0].astype(float)
    tracks = np.stack([played, np.roll(played, 4_800)], axis=1) * (2 ** (bits - 1) - 1)
    path = wav(tmp_path / "both.wav", tracks.astype(f"<i{bits // 8}").tobytes(), bits=bits)
    for cut in (1, 2, 3, 5):
        path.write_bytes(path.read_bytes()[:-cut])
        code, out, err = harmonia(
            *("platform", "calibrate", "latency", "--data", str(tmp_path), "--recording", str(path), "--json")
        )
        assert code == 0, err
        assert json.loads(out)["output_latency_ms"] == pytest.approx(100, abs=0.1)


def test_recordings_in_which_nothing_can_be_found_are_refused_in_a_line(harmonia: Run, tmp_path: Path) -> None:
    second = bytes(4 * RATE)
    (tmp_path / "text.wav").write_text("bad\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for path, said in (
            (tmp_path / "text.wav", "it ends early"),
            (wav(tmp_path / "empty.wav", b""), "holds 0.00 s"),
            (wav(tmp_path / "short.wav", b"abcde"), "holds 0.00 s"),
            (wav(tmp_path / "still.wav", second * 3), "nothing in common"),
            (wav(tmp_path / "zero.wav", second, rate=0), "samples a second"),
            (wav(tmp_path / "fast.wav", second, rate=2**29), "samples a second"),
        ):
            code, _, err = harmonia(
                "platform", "calibrate", "latency", "--data", str(tmp_path), "--recording", str(path)
            )
            assert (code, err.count("\n")) == (2, 1), err
            assert said in err


@pytest.mark.filterwarnings("error")
def test_clicks_go_nowhere_in_a_line(harmonia: Run, tmp_path: Path) -> None:
    code, _, err = harmonia("platform", "calibrate", "clicks", "--output", str(tmp_path / "nowhere" / "a.wav"))
    assert (code, err.count("\n")) == (6, 1), err
    assert "No such file or directory" in err
    gc.collect()


def test_what_is_no_calibration_is_said_by_those_who_need_it(harmonia: Run, tmp_path: Path) -> None:
    (tmp_path / "platform.json").write_text('{"harmonia": 1, "output_latency_ms": 5000}')
    for command in (("platform", "calibrate", "show"), ("join", "anything", "--no-view")):
        code, _, err = harmonia(*command, "--data", str(tmp_path))
        assert (code, err.count("\n")) == (2, 1), err
        assert "output_latency_ms is 0 to 2000, not 5000" in err


def test_a_sound_without_a_rate_is_not_drawn(harmonia: Run, tmp_path: Path) -> None:
    path = wav(tmp_path / "zero.wav", bytes(4 * RATE), rate=0)
    for more in ((), ("--start", "1"), ("--start", "inf"), ("--seconds", "nan")):
        code, _, err = harmonia("mix", "plot", str(path), *more, "--output", str(tmp_path / "x.png"))
        assert (code, err.count("\n")) == (2, 1), err


@pytest.mark.parametrize("last", ["1e18", "1e300", "1e11"])
def test_a_table_whose_time_is_out_of_this_world_is_refused(last: str, harmonia: Run, tmp_path: Path) -> None:
    table = tmp_path / "breath.csv"
    table.write_text("t_s,value\n" + "".join(f"{i / 20},{i % 7}\n" for i in range(100)) + f"{last},1\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for command in (
            ("phase", "track", str(table), "--output", str(tmp_path / "x.csv")),
            ("join", "anything", "--biosignal", str(table), "--data", str(tmp_path)),
        ):
            code, _, err = harmonia(*command, "--band", "0.1", "0.5")
            assert (code, err.count("\n")) == (2, 1), err
            assert "nearly all are missing" in err


def test_a_table_whose_first_times_hardly_differ_is_refused(harmonia: Run, tmp_path: Path) -> None:
    table = tmp_path / "breath.csv"
    table.write_text("t_s,value\n" + "".join(f"{i}e-320,1\n" for i in range(100)) + "5,1\n")
    code, _, err = harmonia("phase", "track", str(table), "--output", str(tmp_path / "x.csv"), "--band", "0.1", "0.5")
    assert (code, err.count("\n")) == (2, 1), err
