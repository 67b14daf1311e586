"""The music that a score wants: found by name and by hash, decoded, and said to be missing where it is."""

import hashlib
import wave
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from harmonia import _core
from harmonia.client import join, stems
from tests.client.house import FakeCore, House
from tests.client.test_sleeper import begin, until

RATE = 44_100


def record(path: Path, hz: float = 330.0, seconds: float = 2.0) -> str:
    """Writes a tone, and returns the hash of the file."""
    t = np.arange(round(RATE * seconds)) / RATE
    tone = np.rint(16_000 * np.sin(2 * np.pi * hz * t)).astype("<i2")
    with wave.open(str(path), "wb") as out:
        out.setnchannels(2)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(np.repeat(tone, 2).tobytes())
    return hashlib.sha256(path.read_bytes()).hexdigest()


def score(stem: str) -> _core.Score:
    text = f"""
stems.river = {{ {stem} }}
tone-sets.a = [{{ wave = "stem", stem = "river", amplitude_pct = 50 }}]
[[timeline]]
at = 0
play = "a"
transition = "cut"
"""
    return _core.Score.parse(text, "night.toml", "toml")


def test_what_is_found_by_name_is_heard_at_its_level(tmp_path: Path) -> None:
    record(tmp_path / "river.wav")
    wanted = score('file = "river.wav"')
    found = stems.find(wanted, [tmp_path / "nowhere", tmp_path])
    assert found.paths == {"river": tmp_path / "river.wav"}
    assert (found.stems["river"].sample_rate, found.stems["river"].frames) == (RATE, 2 * RATE)
    sound = _core.Renderer(wanted, 0, 48_000, found.stems).render(500_000_000, 24_000)
    assert np.abs(sound).max() == pytest.approx(0.5 * 16_000 / 32_768, rel=0.01)
    spectrum = np.abs(np.fft.rfft(sound[:, 0] * np.hanning(24_000)))
    assert np.argmax(spectrum) * 48_000 / 24_000 == pytest.approx(330, abs=2)


def test_a_hash_decides_whatever_the_name(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    wanted = record(there / "another name.wav", 440.0)
    record(here / "river.wav")
    found = stems.find(score(f'file = "river.wav", sha256 = "{wanted}"'), [here, there])
    assert found.paths == {"river": there / "another name.wav"}
    assert found.stems["river"].sha256 == wanted == _core.Stem.hash(there / "another name.wav")
    lost = stems.find(score(f'file = "river.wav", sha256 = "{wanted}"'), [here])
    assert not lost.stems
    assert "another recording" in lost.missing["river"]
    assert lost.words() == [f"stem river is silent: {lost.missing['river']}"]


def test_what_is_missing_is_silent_and_said(tmp_path: Path) -> None:
    wanted = score('file = "river.wav"')
    found = stems.find(wanted, [tmp_path])
    assert str(tmp_path) in found.missing["river"]
    assert not np.any(_core.Renderer(wanted, 0, 48_000, found.stems).render(0, 1000))
    (tmp_path / "river.wav").write_bytes(b"this is no recording")
    assert "neither FLAC" in stems.find(wanted, [tmp_path]).missing["river"]


def test_a_score_reaches_no_file_beyond_the_folders(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    record(tmp_path / "river.wav")
    for file in ("../river.wav", str(tmp_path / "river.wav"), "..\\\\river.wav", "..", "."):
        assert "river" in stems.find(score(f'file = "{file}"'), [inside]).missing


async def test_a_sleeper_plays_what_they_found(house: House, core: FakeCore, tmp_path: Path) -> None:
    record(tmp_path / "river.wav")
    text = house.state.circle.score.text
    house.state.circle.score.text = (
        'stems.river = { file = "river.wav" }\n'
        'tone-sets.a = [{ wave = "stem", stem = "river", amplitude_pct = 50 }]\n'
        'timeline = [{ at = 0, play = "a" }]\n'
    )
    assert text != house.state.circle.score.text
    async with join(house.invitation(), core=cast(_core.Platform, core)) as sleeper:
        found = await sleeper.find_stems(tmp_path)
        assert list(found.paths) == ["river"]
        await until(lambda: house.watching)
        begin(house)
        house.report()
        await until(lambda: core.did("score"))
        assert list(core.stems) == ["river"]
        # And again while it plays.
        assert (await sleeper.find_stems()).missing
        assert core.stems == {}
