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
    assert levels[-1] < 1e-4
