"""Who was forgotten: a file that only grows, and that outlives every backup.

A backup that is restored brings back what was deleted after it was made, keys too if somebody kept them against all
advice. So whoever is forgotten is named here first, and whoever is named here is erased again before a sanctuary reads
anything else. For that it must not be restored with the rest: keep it, or a copy, apart.

It names nobody to anybody else: a line is the SHA-256 of a sleeper's id, and an id has 80 random bits. A line is synced
before the key is deleted. A line that was cut off by a crash was never acknowledged, and is dropped.

Since what was forgotten cannot be written into a ledger again, a ledger that is restored from before would go on
otherwise than it was signed. So how far it had come is noted here too: a line ``ledger``, its key's id, size and root.
"""

import errno
import os
import re
import threading
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from harmonia import failpoints
from harmonia.errors import StorageUnavailable, StorageUnreadable

_LINE = re.compile(rb"([0-9a-f]{64})|ledger ([0-9a-f]{8}) ([0-9]{1,19}) ([0-9a-f]{64})")
_NAME_BYTES = 64
_CUT = re.compile(rb"[ledgr 0-9a-f]{0,100}")
"""A line's beginning."""


def name_of(stream: str) -> str:
    """How the sleeper of that stream is named here."""
    return sha256(stream.partition("/")[2].encode()).hexdigest()


class Mark(NamedTuple):
    """How far a ledger had come when somebody was forgotten."""

    size: int
    root: str
    """Hexadecimal."""


class Erasures:
    """The erasure journal in the file ``path``, made if it is not there. Thread-safe."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Opens the file. ``read_only``: as it is, which may be nothing. Raises StorageError."""
        self._path, self._lock, self._read_only = path, threading.Lock(), read_only
        try:
            if read_only:
                path = path if path.exists() else Path(os.devnull)
                self._file = path.open("rb", buffering=0)
            else:
                self._file = os.fdopen(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600), "rb+", buffering=0)
            data = self._file.read()
            whole = data.rfind(b"\n") + 1
            lines = [_LINE.fullmatch(line) for line in data[:whole].split(b"\n")[:-1]]
            if not all(lines) or not _CUT.fullmatch(data[whole:]):
                raise StorageUnreadable(
                    f"{path} is damaged: its lines are hashes of 64 hexadecimal digits, or say how far a ledger is;"
                    " restore it from its copy"
                )
            if whole != len(data) and not read_only:
                self._file.truncate(whole)
            self._file.seek(whole)
            if not read_only:
                self._sync_folder()
        except OSError as error:
            raise self._unavailable(error) from None
        said = [line.groups() for line in lines if line]
        self._names = {name.decode() for name, *_ in said if name}
        self._marks = {id.decode(): Mark(int(size), root.decode()) for _, id, size, root in said if id}

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, stream: str) -> bool:
        """Whether the sleeper of that stream was forgotten; where the file is only read, also a moment ago."""
        name = name_of(stream)
        if self._read_only and name not in self._names and self._path.exists():
            self._names |= {line.decode() for line in self._path.read_bytes().split(b"\n") if len(line) == _NAME_BYTES}
        return name in self._names

    def add(self, stream: str) -> None:
        """Names the sleeper of ``stream``; on disk when this returns. Raises StorageUnavailable."""
        with self._lock:
            name = name_of(stream)
            if name in self._names:
                return
            failpoints.hit("erasures.name")
            self._write(name)
            failpoints.hit("erasures.named")
            self._names.add(name)

    def mark(self, key_id: bytes) -> Mark | None:
        """How far the ledger of that key had come at least."""
        return self._marks.get(key_id.hex())

    def note_ledger(self, key_id: bytes, size: int, root: bytes) -> None:
        """Notes how far the ledger of that key has come; on disk when this returns. Raises StorageUnavailable."""
        with self._lock:
            id, mark = key_id.hex(), Mark(size, root.hex())
            if self._marks.get(id) != mark:
                failpoints.hit("erasures.mark")
                self._write(f"ledger {id} {mark.size} {mark.root}")
                failpoints.hit("erasures.marked")
                self._marks[id] = mark

    def _write(self, line: str) -> None:
        data = line.encode() + b"\n"
        try:
            whole = self._file.tell()
            try:
                self._file.truncate()  # what an earlier failure may have left
                if self._file.write(data) != len(data):
                    raise OSError(errno.ENOSPC, "only a part of a line fits")
                failpoints.hit("erasures.written")
                os.fsync(self._file.fileno())
            except OSError:
                self._file.seek(whole)
                self._file.truncate()
                raise
        except OSError as error:
            raise self._unavailable(error) from None

    def close(self) -> None:
        """Idempotent."""
        self._file.close()

    def _sync_folder(self) -> None:
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _unavailable(self, error: OSError) -> StorageUnavailable:
        return StorageUnavailable(
            f"the erasure journal {self._path} could not be written ({error.strerror}): nobody is forgotten without it;"
            " check the disk and its permissions"
        )
