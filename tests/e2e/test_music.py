"""Music in a circle: given by the host, fetched over the wire by who joins, and heard at node time."""

import hashlib
import wave
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.terminal import answer, harmonia, sanctuary

RATE = 44_100
JOINED_S = 18
"""The mix comes in at 3 dB a second, from below -60 LUFS: only then the level is the true one. So it is a quiet one."""
SCORE = """
stems.river = { file = "river.wav", loop = false }
tone-sets.one = [
  { wave = "stem", stem = "river", amplitude_pct = 5 },
  { wave = "tone", carrier_hz = 200, amplitude_pct = 0.5 },
]
[[timeline]]
at = 0
play = "one"
transition = "cut"
"""


def river(path: Path) -> None:
    """Two tones in one file: 440 Hz in the first six seconds, 660 Hz after that."""
    t = np.arange(60 * RATE) / RATE
    tone = 0.5 * np.sin(2 * np.pi * np.where(t < 6, 440, 660) * t)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.rint(tone * 32767).astype("<i2").tobytes())


def strength(sound: np.ndarray, hz: float) -> float:
    """The amplitude of one frequency."""
    turns = np.exp(-2j * np.pi * hz * np.arange(len(sound)) / 48_000)
    return float(2 * abs(np.mean(sound * turns)))


def test_who_joins_fetches_the_circles_music_and_hears_it(tmp_path: Path) -> None:
    river(tmp_path / "river.wav")
    (tmp_path / "night.toml").write_text(SCORE)
    house, elsewhere, mix = tmp_path / "house", tmp_path / "elsewhere", tmp_path / "mix.wav"
    sha256 = hashlib.sha256((tmp_path / "river.wav").read_bytes()).hexdigest()
    with sanctuary(house):
        made = answer("circle", "create", "--score", str(tmp_path / "night.toml"), "--gather", "2", data=house)
        assert (house / "stems" / sha256).stat().st_size == (tmp_path / "river.wav").stat().st_size
        invited = harmonia("invite", made["circle_id"], data=house)
        [invitation] = [word for word in invited.stdout.split() if word.startswith("harmonia://")]
        arguments = ("join", invitation, "--output", str(mix), "--seconds", str(JOINED_S), "--no-view")
        joined = harmonia(*arguments, data=elsewhere)
        assert joined.returncode == 0, joined.stderr
        assert "fetched" in joined.stderr
        assert hashlib.sha256((elsewhere / "stems" / sha256).read_bytes()).hexdigest() == sha256
        # Whoever comes again has it already.
        [invitation] = [
            word for word in harmonia("invite", made["circle_id"], data=house).stdout.split() if "://" in word
        ]
        again = harmonia("join", invitation, "--seconds", "1", "--no-view", data=elsewhere)
        assert again.returncode == 0, again.stderr
        assert "fetching" not in again.stderr
        assert sha256 in again.stderr
    with wave.open(str(mix)) as file:
        sound = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)[:, 0] / 32768
    late = sound[-24_000:-4_800]
    heard = max(strength(late, 440), strength(late, 660))
    assert heard == pytest.approx(0.025, rel=0.05)


def test_a_host_adds_music_and_is_told_what_is_no_file(tmp_path: Path) -> None:
    river(tmp_path / "river.wav")
    house = tmp_path / "house"
    with sanctuary(house):
        added = harmonia("stem", "add", str(tmp_path / "river.wav"), data=house)
        assert added.stdout.split() == [
            hashlib.sha256((tmp_path / "river.wav").read_bytes()).hexdigest(),
            "river.wav",
        ]
        assert harmonia("stem", "add", str(tmp_path / "nowhere.wav"), data=house).returncode == 3
