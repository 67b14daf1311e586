"""The music that a score wants, found among the files of this machine.

A score names its music by a file, by the SHA-256 of one, or by both. A file of the right name is what is meant only if
the hash agrees, where there is one; a file of another name is, if the hash does. What is found is decoded before the
night: a platform may not wait for a disk while it plays.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harmonia import _core

MUSIC = (".flac", ".wav", ".ogg", ".oga")
"""What may hold a recording that is only known by its hash."""


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


def find(score: _core.Score, folders: Iterable[Path]) -> Found:
    """Looks in ``folders``, the first one first, and decodes what it finds there. Blocks; for minutes, if need be."""
    stems: dict[str, _core.Stem] = {}
    paths: dict[str, Path] = {}
    missing: dict[str, str] = {}
    searched = list(dict.fromkeys(folders))
    for need in json.loads(score.summary())["stems"]:
        name = need["name"]
        found = _search(need, searched)
        if isinstance(found, str):
            missing[name] = found
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
    for path in _candidates(file, wanted, folders):
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
    return f"{file or f'a recording with SHA-256 {wanted}'} is not in {where}{other}"


def _candidates(file: str | None, wanted: str | None, folders: list[Path]) -> Iterable[Path]:
    """Files to look at, likely ones first. A score may not reach beyond the folders: only the name counts."""
    names = [] if file is None else [Path(file.replace("\\", "/")).name]
    names += [] if wanted is None else [wanted + suffix for suffix in MUSIC]
    for folder in folders:
        yield from (folder / name for name in names if name)
    if wanted is not None:
        for folder in folders:
            if folder.is_dir():
                yield from sorted(path for path in folder.iterdir() if path.suffix.lower() in MUSIC)
