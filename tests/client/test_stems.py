"""The music that a score wants: found by name and by hash, decoded, and said to be missing where it is."""

import hashlib
import wave
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from harmonia import _core, errors
from harmonia.client import join, stems
from harmonia.rpc.stems import StemStore
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


class Cupboard:
    """A sanctuary's store without the wire, that may break off."""

    def __init__(self, folder: Path, parts: int = 99) -> None:
        self.store = StemStore(folder)
        self.parts = parts
        self.offsets: list[int] = []

    def add(self, path: Path) -> bytes:
        data = path.read_bytes()
        sha256 = hashlib.sha256(data).digest()
        self.store.write(sha256, path.name, len(data), 0, data)
        return sha256

    async def find_stem(self, file: str, sha256: bytes = b"") -> tuple[bytes, int]:
        return self.store.find(sha256, file)

    async def read_stem(self, sha256: bytes, offset: int) -> bytes:
        if not self.parts:
            raise errors.Unreachable("the line is cut")
        self.parts -= 1
        self.offsets.append(offset)
        return self.store.read(sha256, offset, 100_000)


async def test_what_is_nowhere_is_fetched_once_and_goes_on_after_an_interruption(tmp_path: Path) -> None:
    record(tmp_path / "river.wav")
    house, cache = Cupboard(tmp_path / "house", parts=2), tmp_path / "cache"
    said: list[str] = []
    sha256 = house.add(tmp_path / "river.wav")
    wanted = score('file = "river.wav"')
    broken = await stems.fetch(wanted, [], house, cache, said.append)
    assert "the line is cut" in broken.missing["river"]
    house.parts = 99
    found = await stems.fetch(wanted, [], house, cache, said.append)
    assert found.paths == {"river": cache / sha256.hex()}
    assert house.offsets == [0, 100_000, 200_000, 300_000]
    assert "fetched" in said[-1]
    assert (cache / sha256.hex()).read_bytes() == (tmp_path / "river.wav").read_bytes()
    # A second time, and by its hash, nothing is fetched.
    house.parts = 0
    assert (await stems.fetch(wanted, [], house, cache, said.append)).paths == found.paths
    by_hash = score(f'sha256 = "{sha256.hex()}"')
    assert (await stems.fetch(by_hash, [], house, cache, said.append)).paths == found.paths


async def test_what_came_damaged_is_thrown_away(tmp_path: Path) -> None:
    record(tmp_path / "river.wav")
    house, cache = Cupboard(tmp_path / "house"), tmp_path / "cache"
    sha256 = house.add(tmp_path / "river.wav")
    cache.mkdir()
    (cache / f"{sha256.hex()}.part").write_bytes(b"something else came before")
    wanted = score('file = "river.wav"')
    damaged = await stems.fetch(wanted, [], house, cache, lambda _: None)
    assert "another hash" in damaged.missing["river"]
    assert list(cache.iterdir()) == []
    assert (await stems.fetch(wanted, [], house, cache, lambda _: None)).stems
    # What lies there under its hash and is not that, is not believed either.
    (cache / sha256.hex()).write_bytes(b"no music")
    assert (await stems.fetch(wanted, [], house, cache, lambda _: None)).stems


async def test_what_the_sanctuary_has_not_is_missing_in_words(tmp_path: Path) -> None:
    house = Cupboard(tmp_path / "house")
    lost = await stems.fetch(score('file = "river.wav"'), [], house, tmp_path / "cache", lambda _: None)
    assert "harmonia stem add" in lost.missing["river"]
