"""A short night from beginning to report, and one that is interrupted."""

import json
import os
import signal
import subprocess
import wave
from pathlib import Path

import numpy as np

from tests.e2e.terminal import COMMAND, PATIENCE_S

NIGHT = [*COMMAND, "night", "--sleepers", "4", "--minutes", "0.5", "--seed", "7", "--plain"]


def children(folder: Path) -> list[int]:
    """Processes that have this night's folder in their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if str(folder).encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def said(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:  # it has ended
        return b""


def test_a_night_ends_in_a_report_that_holds(tmp_path: Path) -> None:
    folder = tmp_path / "night"
    done = subprocess.run(
        [*NIGHT, "--output", str(folder)], capture_output=True, text=True, timeout=3 * PATIENCE_S, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "opts out of everything" in done.stdout
    assert len(done.stdout.strip().split("\n\n")[-1].split("\n")) == 3, "three lines say what to try next"
    assert children(folder) == []
    assert not (folder / "data").exists()
    assert not (folder / "sleepers").exists()

    summary = json.loads((folder / "summary.json").read_text())
    assert len(summary["sleepers"]) == 4
    assert summary["every_error_within_its_bound"]
    assert summary["error_us_p95"] <= 200
    _mixes, offsets, opts_out, unrecorded = summary["sleepers"]
    assert offsets["offset_turns"] == 0.25
    assert opts_out["opted_out_ns"] is not None
    assert opts_out["level_dbfs_last"] == -120
    assert not unrecorded["grants_recording"]
    for person in summary["sleepers"]:
        assert person["phase_error_turns_p95"] < 0.01

    for name in ("mix.wav", "field.wav"):
        with wave.open(str(folder / name)) as file:
            assert (file.getnchannels(), file.getframerate(), file.getsampwidth()) == (2, 48000, 2), name
            sound = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        assert len(sound) / 2 / 48000 > 25, name
        assert np.abs(sound.astype(int)).max() > 300, f"{name} is silent"
    assert (folder / "night.png").read_bytes().startswith(b"\x89PNG")
    assert "<audio" in (folder / "index.html").read_text()


def test_fifty_wrong_clocks_are_right_within_five_seconds(tmp_path: Path) -> None:
    """Fifty processes, up to ±0.5 s and ±100 ppm wrong. Only what lies five seconds after a first exchange counts."""
    folder = tmp_path / "fifty"
    options = ["--sleepers", "50", "--minutes", "0.5", "--seed", "11", "--plain", "--output", str(folder)]
    done = subprocess.run(
        [*COMMAND, "night", *options], capture_output=True, text=True, timeout=5 * PATIENCE_S, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    summary = json.loads((folder / "summary.json").read_text())
    people = summary["sleepers"]
    assert len(people) == 50
    assert max(abs(person["clock_offset_s"]) for person in people) > 0.4
    assert max(abs(person["clock_drift_ppm"]) for person in people) > 80
    assert min(person["moments"] for person in people) > 20
    print({key: summary[key] for key in ("error_us_p50", "error_us_p95", "error_us_max")})
    assert summary["error_us_p95"] <= 200
    assert all(person["within_bound"] for person in people)


def test_an_interrupted_night_leaves_nobody_running(tmp_path: Path) -> None:
    folder = tmp_path / "night"
    with subprocess.Popen(
        [*NIGHT, "--output", str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as night:
        assert night.stdout is not None
        assert night.stderr is not None
        for line in night.stdout:
            if "sleepers come" in line:
                coming: list[bytes] = []
                while not coming and night.poll() is None:
                    words = [Path(f"/proc/{pid}/cmdline") for pid in children(folder)]
                    coming = [one for one in map(said, words) if b"join" in one.split(b"\0")]
                assert coming
                assert not any(b"token=" in one for one in coming), "everybody on this machine reads these"
                night.send_signal(signal.SIGINT)
        assert night.wait(PATIENCE_S) == 130
        assert night.stderr.read() == ""
    assert children(folder) == []
