"""Recordings in the data folder, each under its hash, in parts until it is whole.

A recording of an hour does not come in one message, and connections break. So it grows as ``HASH.part``, may be gone on
with after any interruption, and becomes ``HASH`` only when all has come and the hash agrees: what has a hash for a name
is what it says. A name that scores use leads to a hash through ``names.json``. Blocking; call it from a thread.
"""

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Literal, cast

from harmonia import failpoints
from harmonia.errors import BadInput, NotFound, StorageError, StorageUnreadable
from harmonia.rpc.files import PRIVATE, replace_synced, write_private

PART_BYTES_MAX = 1 << 20
SIZE_MAX = 1 << 31
NAME_MAX = 200
HASH_BYTES = 32


class StemStore:
    """The recordings of one sanctuary."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()

    def find(self, sha256: bytes, file: str) -> tuple[bytes, int]:
        """Hash and size of the recording that is meant. Raises NotFound or BadInput."""
        if not sha256:
            sha256 = bytes.fromhex(self._names().get(_name(file), ""))
        path = self._path(sha256) if sha256 else None
        with _storage(self._folder):
            if path is None or not path.is_file():
                wanted = file or sha256.hex()
                raise NotFound(f"this sanctuary has no stem {wanted}; its host adds it with: harmonia stem add FILE")
            return sha256, path.stat().st_size

    def names_of(self, sha256: bytes) -> list[str]:
        """The names by which scores may ask for a recording."""
        return [name for name, wanted in self._names().items() if wanted == sha256.hex()]

    def read(self, sha256: bytes, offset: int, size_max: int) -> bytes:
        """A part from ``offset`` on, empty at the end. Raises NotFound or BadInput."""
        sha256, _ = self.find(sha256, "")
        if not 0 <= offset <= SIZE_MAX:
            raise BadInput(f"an offset is 0 or more, to {SIZE_MAX}, not {offset}")
        with _storage(self._folder), self._path(sha256).open("rb") as stored:
            stored.seek(offset)
            return stored.read(min(size_max or PART_BYTES_MAX, PART_BYTES_MAX))

    def write(self, sha256: bytes, file: str, size: int, offset: int, data: bytes) -> tuple[int, bool]:
        """Takes a part if it continues what has come; returns how much has come and whether that is all.

        Raises BadInput if the whole is not what its hash says; then it has to come again.
        """
        name, path = _name(file), self._path(sha256)
        if not 0 < size <= SIZE_MAX:
            raise BadInput(f"a stem has 1 to {SIZE_MAX} bytes, not {size}")
        if len(data) > PART_BYTES_MAX:
            raise BadInput(f"a part has at most {PART_BYTES_MAX} bytes, not {len(data)}")
        part = path.with_name(path.name + ".part")
        with self._lock, _storage(self._folder):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if path.is_file():
                self._call_it(name, sha256)
                return path.stat().st_size, True
            received = part.stat().st_size if part.exists() else 0
            if data and offset == received and received + len(data) <= size:
                with os.fdopen(os.open(part, os.O_CREAT | os.O_APPEND | os.O_WRONLY, PRIVATE), "ab") as growing:
                    growing.write(data)
                received += len(data)
                failpoints.hit("stem.part")
            if received < size:
                return received, False
            with part.open("rb") as whole:
                os.fsync(whole.fileno())
                arrived = hashlib.file_digest(whole, "sha256").digest()
            if received != size or arrived != sha256:
                part.unlink()
                raise BadInput(f"what came as stem {name} has another hash or size than was said; send it again")
            replace_synced(part, path)
            failpoints.hit("stem.whole")
            self._call_it(name, sha256)
            failpoints.hit("stem.named")
            return received, True

    def _path(self, sha256: bytes) -> Path:
        if len(sha256) != HASH_BYTES:
            raise BadInput(f"a SHA-256 has {HASH_BYTES} bytes, not {len(sha256)}")
        return self._folder / sha256.hex()

    def _names(self) -> dict[str, str]:
        path = self._folder / "names.json"
        with _storage(self._folder):
            try:
                names: dict[str, str] = json.loads(path.read_text())
                if any(len(bytes.fromhex(sha256)) != HASH_BYTES for sha256 in names.values()):
                    raise ValueError
            except FileNotFoundError:
                return {}
            except (ValueError, TypeError, AttributeError):
                raise StorageUnreadable(
                    f"{path} is damaged: restore it, or delete it and add the stems that scores name again"
                ) from None
            return names

    def _call_it(self, name: str, sha256: bytes) -> None:
        names = self._names()
        if names.get(name) != sha256.hex():
            write_private(self._folder / "names.json", json.dumps(names | {name: sha256.hex()}, indent=1).encode())


@lru_cache(maxsize=64)
def named_by(score_name: str, score_format: str, score_text: str) -> tuple[frozenset[str], frozenset[str]]:
    """What a score wants: names of files, without folders, and hashes in hexadecimal; where it has both, the hash."""
    from harmonia import _core  # so that the daemon's tests run without the extension

    try:
        score = _core.Score.parse(score_text, score_name, cast(Literal["toml", "sbg"], score_format))
    except _core.ScoreError:
        return frozenset(), frozenset()
    wanted = json.loads(score.summary())["stems"]
    hashes = frozenset(need["sha256"] for need in wanted if need["sha256"] is not None)
    files = [need["file"] for need in wanted if need["sha256"] is None and need["file"] is not None]
    return frozenset(Path(file.replace("\\", "/")).name for file in files), hashes


def _name(file: str) -> str:
    """A file's name, if it is one."""
    if not file or len(file) > NAME_MAX or "/" in file or "\\" in file or not file.isprintable():
        raise BadInput(f"a stem's name is a file's, without folders and of at most {NAME_MAX} characters, not {file!r}")
    return file


@contextmanager
def _storage(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        at = error.filename or folder
        raise StorageError(f"cannot use {at} ({error.strerror}): check it, or free some space") from None
