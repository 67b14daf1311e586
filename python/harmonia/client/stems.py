"""The music that a score wants, found among the files of this machine.

A score names its music by a file, by the SHA-256 of one, or by both. A file of the right name is what is meant only if
the hash agrees, where there is one; a file of another name is, if the hash does. What is found is decoded before the
night: a platform may not wait for a disk while it plays.

What is not found is fetched from the sanctuary, in parts, into a folder where it keeps its hash for a name. A part that
came before an interruption does not come again, and what has another hash than was said is thrown away. Of several
sleepers who share a folder one fetches, and the others wait.
"""

import fcntl
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import trio

from harmonia import _core, errors

MUSIC = (".flac", ".wav", ".ogg", ".oga")
"""What may hold a recording that is only known by its hash."""
HASH_BYTES = 32
LOOK_AGAIN_S = 0.2
"""How often those look who wait for another one's fetching."""


@dataclass(frozen=True)
class Found:
    """What became of the music that a score wants."""

    stems: Mapping[str, _core.Stem]
    """What plays, by the score's names."""
    paths: Mapping[str, Path]
    """Where it was found."""
    missing: Mapping[str, str]
    """Why a stem is silent, by the score's names."""

    def words(self) -> list[str]:
        """One line for each stem, for a person."""
        lines = [f"stem {name or '(unnamed)'}: {path}" for name, path in self.paths.items()]
        return lines + [f"stem {name or '(unnamed)'} is silent: {why}" for name, why in self.missing.items()]


class Source(Protocol):
    """Where stems can be fetched from; `SleeperCalls` is one."""

    async def find_stem(self, file: str, sha256: bytes = b"") -> tuple[bytes, int]:
        """Hash and size. Raises NotFound."""

    async def read_stem(self, sha256: bytes, offset: int) -> bytes:
        """A part, empty at the end."""


def needs(score: _core.Score) -> list[dict[str, Any]]:
    """The music that a score wants: name, file (or None), sha256 (or None)."""
    wanted: list[dict[str, Any]] = json.loads(score.summary())["stems"]
    return wanted


def beside(score: _core.Score, folders: Iterable[Path]) -> list[Path]:
    """The files in ``folders`` that a score wants. Blocks."""
    searched = list(dict.fromkeys(folders))
    found = (_search(need, searched) for need in needs(score))
    return [path for path in found if isinstance(path, Path)]


def find(
    score: _core.Score,
    folders: Iterable[Path],
    fetched: Mapping[str, Path] | None = None,
    trouble: Mapping[str, str] | None = None,
) -> Found:
    """Looks in ``folders``, the first one first, and decodes what it finds there. Blocks; for minutes, if it is much.

    ``fetched`` are files that are known to be meant, ``trouble`` is why others could not be fetched, by the names that
    the score has for them.
    """
    stems: dict[str, _core.Stem] = {}
    paths: dict[str, Path] = {}
    missing: dict[str, str] = {}
    searched = list(dict.fromkeys(folders))
    for need in needs(score):
        name = need["name"]
        found = (fetched or {}).get(name) or _search(need, searched)
        if isinstance(found, str):
            missing[name] = "; ".join(filter(None, [found, (trouble or {}).get(name)]))
            continue
        try:
            stems[name] = _core.Stem.load(found)
        except (OSError, ValueError) as error:
            missing[name] = str(error)
        else:
            paths[name] = found
    return Found(stems, paths, missing)


def _search(need: dict[str, Any], folders: list[Path]) -> Path | str:
    """The file that is meant, or why there is none."""
    wanted, file = need["sha256"], need["file"]
    where = ", ".join(str(folder) for folder in folders) or "nowhere"
    if file is None and wanted is None:
        return "the score names no file for it"
    other = ""
    unread: list[str] = []
    for path in _candidates(file, wanted, folders, unread):
        try:
            if not path.is_file():
                continue
            if wanted is None or _core.Stem.hash(path) == wanted:
                return path
        except OSError as error:
            other = f"; {path} cannot be read: {error}"
        else:
            if file is not None and path.name == Path(file).name:
                other = f"; {path} is another recording, by its hash"
    return f"{file or f'a recording with SHA-256 {wanted}'} is not in {where}{other}{''.join(unread)}"


def _candidates(file: str | None, wanted: str | None, folders: list[Path], unread: list[str]) -> Iterable[Path]:
    """Files to look at, likely ones first. A score may not reach beyond the folders: only the name counts.

    What folder could not be listed is added to ``unread``, in words.
    """
    names = [] if file is None else [Path(file.replace("\\", "/")).name]
    names += [] if wanted is None else [wanted + suffix for suffix in ("", *MUSIC)]
    for folder in folders:
        yield from (folder / name for name in names if name)
    if wanted is not None:
        for folder in folders:
            try:
                listed = sorted(path for path in folder.iterdir() if path.suffix.lower() in MUSIC)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                unread.append(f"; {folder} cannot be read: {error.strerror}")
                continue
            yield from listed


async def fetch(
    score: _core.Score, folders: Iterable[Path], source: Source, cache: Path, tell: Callable[[str], None]
) -> Found:
    """As `find`, and what is in none of ``folders`` is fetched from ``source`` into ``cache``.

    ``tell`` is given a line for a person whenever a tenth of something has come. What cannot be fetched is missing.
    """
    searched = list(dict.fromkeys([*folders, cache]))
    fetched: dict[str, Path] = {}
    trouble: dict[str, str] = {}
    for need in needs(score):
        if need["file"] is None and need["sha256"] is None:
            continue
        if isinstance(await trio.to_thread.run_sync(_search, need, searched), Path):
            continue
        try:
            fetched[need["name"]] = await _fetch(need, source, cache, tell)
        except errors.HarmoniaError as error:
            trouble[need["name"]] = str(error)
        except OSError as error:
            trouble[need["name"]] = f"cannot write {error.filename}: {error.strerror}"
    return await trio.to_thread.run_sync(find, score, searched, fetched, trouble)


async def _fetch(need: dict[str, Any], source: Source, cache: Path, tell: Callable[[str], None]) -> Path:
    wanted = bytes.fromhex(need["sha256"] or "")
    name = "" if need["file"] is None else Path(need["file"].replace("\\", "/")).name
    sha256, size = await source.find_stem(name, wanted)
    if len(sha256) != HASH_BYTES or (wanted and sha256 != wanted):
        raise errors.BadInput("the sanctuary offers another recording than the score names")
    whole = cache / sha256.hex()
    await trio.Path(cache).mkdir(mode=0o700, parents=True, exist_ok=True)
    told = False
    while not (whole.is_file() and await _is(whole, sha256)):
        part = whole.with_name(whole.name + ".part")
        with part.open("ab") as growing:
            if _held(growing.fileno(), part):
                if whole.is_file() and await _is(whole, sha256):  # since it was looked for above
                    part.unlink()
                    return whole
                await _grow(need["name"], source, sha256, size, growing, tell)
                if not await _is(part, sha256):
                    part.unlink()
                    raise errors.BadInput("what came has another hash than was said; try again")
                part.replace(whole)
                tell(f"stem {need['name']}: fetched, {size / 1e6:.1f} MB")
                return whole
        if not told:
            tell(f"stem {need['name']}: another sleeper of this machine is fetching it")
            told = True
        await trio.sleep(LOOK_AGAIN_S)
    return whole


def _held(growing: int, part: Path) -> bool:
    """Keeps others from an open file until it is closed; False if another one does, or finished with it just now."""
    try:
        fcntl.flock(growing, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(growing), part.stat())
    except (BlockingIOError, FileNotFoundError):
        return False


async def _grow(
    name: str, source: Source, sha256: bytes, size: int, growing: BinaryIO, tell: Callable[[str], None]
) -> None:
    told = -1
    growing.seek(0, os.SEEK_END)
    while (done := growing.tell()) < size:
        if (tenths := done * 10 // size) != told:
            tell(f"stem {name}: fetching, {done / 1e6:.1f} of {size / 1e6:.1f} MB")
            told = tenths
        data = await source.read_stem(sha256, done)
        if not data:
            raise errors.Unreachable("the sanctuary's file ended early; try again")
        growing.write(data)
    growing.flush()
    await trio.to_thread.run_sync(os.fsync, growing.fileno())


async def _is(path: Path, sha256: bytes) -> bool:
    return await trio.to_thread.run_sync(_core.Stem.hash, path) == sha256.hex()
