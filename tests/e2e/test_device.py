"""Through a sound device: what `join --output device` plays and fades; the soak; the calibration by hand.

ALSA's own `file` device is the sound card: it keeps what it was given.
"""

import json
import signal
import wave
from pathlib import Path

import numpy as np
import pytest

from harmonia import _core
from harmonia.client import Calibration
from harmonia.client.calibration import clicks
from tests.e2e.terminal import harmonia, sanctuary, terminal

RATE = 48_000
SCORE = "soft: 200+4/20\nNOW soft\n"


@pytest.fixture(autouse=True)
def _alsa() -> None:
    try:
        _core.sound_devices()
    except _core.IoError as error:
        pytest.skip(str(error))


def test_a_night_through_a_device_comes_in_slowly_keeps_its_ceiling_and_fades_out(tmp_path: Path) -> None:
    data, played, score = tmp_path / "data", tmp_path / "played.raw", tmp_path / "soft.sbg"
    score.write_text(SCORE)
    with sanctuary(data):
        Calibration(full_scale_spl_db=90.0).save(data / "platform.json")
        made = harmonia("circle", "create", "--score", str(score), "--gather", "0.5", "--json", data=data)
        circle = json.loads(made.stdout)["circle_id"]
        sound = ("--output", "device", "--device", f"file:{played},raw", "--ceiling-spl", "50", "--light", "0.5")
        with terminal("join", circle, *sound, "--json-lines", "--interval", "0.05", data=data) as one:
            assert one.until(event="joined")["output"] == f"device file:{played},raw"
            loud, lights = -120.0, []
            while loud < -45:
                moment = one.until(event="moment")
                loud = moment["sound"]["momentary_lufs"]
                lights.append(moment["light"])
            assert moment["sound"]["ceiling_dbfs"] == pytest.approx(-40, abs=0.1), "50 dB SPL where 90 is full scale"
            assert moment["sound"]["dropped"] == 0
            assert 0 <= min(lights) < max(lights) <= 0.5
            one.process.send_signal(signal.SIGINT)
            end = one.until(event="end")
            assert "0 underruns" in end["message"]
            assert one.process.wait(60) == 0
    heard = np.fromfile(played, "<f4").reshape(-1, 2)
    assert np.abs(heard).max() <= 0.01, "the ceiling"
    assert np.abs(np.diff(heard, axis=0)).max() < 0.001, "no click"
    # The momentary loudness, near enough for one tone: over 400 ms.
    window = 4 * RATE // 10
    levels = np.sqrt(np.mean(heard[: len(heard) // window * window].reshape(-1, window, 2) ** 2, axis=(1, 2)))
    rises_db = 20 * np.diff(np.log10(np.maximum(levels, 1e-3)))
    assert rises_db.max() <= 0.4 * 3, "3 dB/s"
    falling = levels[np.argmax(levels) :]
    assert len(falling) > 6, "it took seconds to go"
    assert np.abs(heard[-240:]).max() < 1e-4, "and ended in silence"


def test_a_soak_counts_and_says_how_it_went() -> None:
    done = harmonia("platform", "soak", "--device", "null", "--seconds", "2", "--json")
    told = json.loads(done.stdout)
    # On a busy machine a block may be late, and then it says so: by its exit code, too.
    assert done.returncode == (1 if told["output"]["glitches"] else 0), done.stderr
    assert told["output"]["frames"] > RATE
    assert told["sound"]["momentary_lufs"] > -62


def test_a_device_that_is_none_is_one_line() -> None:
    done = harmonia("platform", "soak", "--device", "no-such-card", "--seconds", "1")
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert "platform devices" in done.stderr
    assert "null" in harmonia("platform", "devices").stdout


def test_calibration_by_hand(tmp_path: Path) -> None:
    data, train, both = tmp_path / "data", tmp_path / "clicks.wav", tmp_path / "both.wav"
    spl = ("platform", "calibrate", "spl", "--device", "null", "--seconds", "1", "--level", "-30", "--reading", "58.5")
    assert harmonia(*spl, data=data).returncode == 0
    assert harmonia("platform", "calibrate", "clicks", "--output", str(train), data=data).returncode == 0
    with wave.open(str(train), "rb") as file:
        mono = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)[:, 0]
    assert np.abs(mono - clicks(10, RATE)[:, 0] * 32767).max() <= 1
    # A cable on the left; on the right a microphone, 180 ms later, upside down and quieter.
    late = round(0.180 * RATE)
    ear = np.concatenate((np.zeros(late, "<i2"), -(mono[:-late] // 3)))
    with wave.open(str(both), "wb") as file:
        file.setparams((2, 2, RATE, 0, "NONE", ""))
        file.writeframes(np.stack((mono, ear), axis=1).astype("<i2").tobytes())
    assert harmonia("platform", "calibrate", "latency", "--recording", str(both), data=data).returncode == 0
    shown = json.loads(harmonia("platform", "calibrate", "show", "--json", data=data).stdout)
    assert shown["full_scale_spl_db"] == 88.5
    assert shown["output_latency_ms"] == pytest.approx(180, abs=0.05)
    for wrong in (["latency"], ["latency", "--set", "3000"], ["latency", "--recording", str(tmp_path / "none.wav")]):
        done = harmonia("platform", "calibrate", *wrong, data=data)
        assert done.returncode in (2, 3)
        assert done.stderr.startswith("error: ")
    unknown = harmonia("join", "c-1", "--ceiling-spl", "40", data=tmp_path / "elsewhere")
    assert unknown.returncode == 2
    assert "platform calibrate spl" in unknown.stderr
