"""The music that a score wants: found by name and by hash, decoded, and said to be missing where it is."""

import errno
import hashlib
import os
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import trio

from harmonia import _core, errors
from harmonia.client import Endpoint, Sanctuary, join, sanctuary, stems
from harmonia.rpc.stems import StemStore
from harmonia.v1 import stem_pb2
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


async def test_of_two_sleepers_of_one_machine_one_fetches_and_both_hear(tmp_path: Path) -> None:
    record(tmp_path / "river.wav")
    house, cache = Cupboard(tmp_path / "house"), tmp_path / "cache"
    sha256 = house.add(tmp_path / "river.wav")
    wanted = score('file = "river.wav"')
    said: list[str] = []
    found: list[stems.Found] = []
    both_wait = trio.Event()

    def say(line: str) -> None:
        said.append(line)
        if sum("another sleeper" in line for line in said) == 2:
            both_wait.set()

    class Slow(Cupboard):
        async def read_stem(self, sha256: bytes, offset: int) -> bytes:
            await both_wait.wait()
            return await super().read_stem(sha256, offset)

    slow = Slow(tmp_path / "house")

    async def one() -> None:
        found.append(await stems.fetch(wanted, [], slow, cache, say))

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(one)
    assert [each.paths for each in found] == [{"river": cache / sha256.hex()}] * 3, [each.missing for each in found]
    assert slow.offsets == [0, 100_000, 200_000, 300_000]
    assert sum("another sleeper" in line for line in said) == 2
    assert list(cache.iterdir()) == [cache / sha256.hex()]


async def test_another_recording_than_the_score_names_is_refused(tmp_path: Path) -> None:
    record(tmp_path / "river.wav")
    house, cache = Cupboard(tmp_path / "house"), tmp_path / "cache"
    answer = house.add(tmp_path / "river.wav")

    class Wrong(Cupboard):
        async def find_stem(self, file: str, sha256: bytes = b"") -> tuple[bytes, int]:
            return offered, (await super().find_stem(file, answer))[1]

    for offered in (answer, b"", answer + b"/../x"):
        wanted = score(f'sha256 = "{"ab" * 32}"' if offered == answer else 'file = "river.wav"')
        found = await stems.fetch(wanted, [], Wrong(tmp_path / "house"), cache, lambda _: None)
        assert "another recording than the score names" in found.missing["river"]
    assert not cache.exists()


def test_a_folder_that_cannot_be_listed_is_left_out_with_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed, here = tmp_path / "closed", tmp_path / "here"
    closed.mkdir()
    here.mkdir()
    wanted = record(here / "another name.wav")
    listing = Path.iterdir

    def iterdir(self: Path) -> Iterator[Path]:
        if self == closed:  # root may list everything
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return listing(self)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    by_hash = score(f'sha256 = "{wanted}"')
    assert stems.find(by_hash, [closed, here]).paths == {"river": here / "another name.wav"}
    assert f"{closed} cannot be read: Permission denied" in stems.find(by_hash, [closed]).missing["river"]


class Shelf:
    """What a sanctuary answers to one who adds a stem, with something that happens after the first part."""

    def __init__(self, then: Callable[[], object]) -> None:
        self.then = then
        self.requests: list[Any] = []

    async def __call__(self, _method: Any, request: Any) -> Any:
        self.requests.append(request)
        assert len(self.requests) < 10, "it goes on for ever"
        received = sum(len(one.data) for one in self.requests)
        if request.data:
            self.then()
        return stem_pb2.WriteStemResponse(received=received, complete=received == request.size)


async def test_a_file_that_changes_while_it_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "river.wav"
    whole = bytes(sanctuary.PART_BYTES + 1000)
    with Sanctuary(Endpoint("127.0.0.1", 1, "")) as house:
        path.write_bytes(whole)
        monkeypatch.setattr(house, "_call", Shelf(lambda: path.write_bytes(b"")))
        with pytest.raises(errors.BadInput, match="became shorter"):
            await house.add_stem(path)
        # What is added at its end meanwhile is not sent.
        path.write_bytes(whole)
        shelf = Shelf(lambda: path.write_bytes(2 * whole))
        monkeypatch.setattr(house, "_call", shelf)
        assert await house.add_stem(path) == hashlib.sha256(whole).hexdigest()
        assert [len(one.data) for one in shelf.requests] == [0, sanctuary.PART_BYTES, 1000]


async def test_a_file_whose_name_is_no_text_is_refused(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/r\xff.wav"))
    await trio.Path(path).write_bytes(b"music")
    with (
        Sanctuary(Endpoint("127.0.0.1", 1, "")) as house,
        pytest.raises(errors.BadInput, match="a name that is no UTF-8") as caught,
    ):
        await house.add_stem(path)
    str(caught.value).encode()
