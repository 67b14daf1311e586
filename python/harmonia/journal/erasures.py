"""Who was forgotten: a file that only grows, and that outlives every backup.

A backup that is restored brings back what was deleted after it was made, keys too if somebody kept them against all
advice. So whoever is forgotten is named here first, and whoever is named here is erased again before a sanctuary reads
anything else. For that it must not be restored with the rest: keep it, or a copy, apart.

It names nobody to anybody else: a line is the SHA-256 of a sleeper's id, and an id has 80 random bits. A line is synced
before the key is deleted. A line that was cut off by a crash was never acknowledged, and is dropped.

Since what was forgotten cannot be written into a ledger again, a ledger that is restored from before would go on
otherwise than it was signed. So how far it had come is noted here too: a line ``ledger``, its key's id, size and root.

A file that is kept apart can be missing: its disk is not mounted, or an older copy lies in its place. Begun anew in
silence, it would let everybody come back whom it named. So its first line is a random name of its own, and the key
store notes how much of which file was used last (:class:`Extent`); one that does not go on from there is refused. Where
the key store is restored together with an older erasure journal, against all advice, there is nothing to notice it by.
"""

import errno
import os
import re
import secrets
import threading
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from harmonia import failpoints
from harmonia.errors import StorageError, StorageUnavailable, StorageUnreadable

_LINE = re.compile(rb"([0-9a-f]{64})|ledger ([0-9a-f]{8}) ([0-9]{1,19}) ([0-9a-f]{64})|journal [0-9a-f]{32}")
_NAME_BYTES = 64
_CUT = re.compile(rb"[ledgrjoun 0-9a-f]{0,100}")
"""A line's beginning."""


def name_of(stream: str) -> str:
    """How the sleeper of that stream is named here."""
    return sha256(stream.partition("/")[2].encode()).hexdigest()


class Mark(NamedTuple):
    """How far a ledger had come when somebody was forgotten."""

    size: int
    root: str
    """Hexadecimal."""


class Extent(NamedTuple):
    """How much of which erasure journal there was: one that goes on from there begins with the same bytes."""

    size: int
    """Bytes."""
    digest: bytes
    """Their SHA-256."""


class Erasures:
    """The erasure journal in the file ``path``, made if it is not there. Thread-safe."""

    def __init__(self, path: Path, *, read_only: bool = False, known: Extent | None = None) -> None:
        """Opens the file. ``read_only``: as it is, which may be nothing. Raises StorageError.

        Also where the file does not go on from what is ``known`` of it; then it is left as it is, or absent.
        """
        self._path, self._lock, self._read_only = path, threading.Lock(), read_only
        try:
            data = path.read_bytes() if path.exists() else b""
            whole = data.rfind(b"\n") + 1
            lines = [_LINE.fullmatch(line) for line in data[:whole].split(b"\n")[:-1]]
            if not all(lines) or not _CUT.fullmatch(data[whole:]):
                raise StorageUnreadable(
                    f"{path} is damaged: its lines are hashes of 64 hexadecimal digits, or say which file it is or how"
                    " far a ledger is; restore it from its copy"
                )
            said = [line.groups() for line in lines if line]
            self._names = {name.decode() for name, *_ in said if name}
            self._marks = {id.decode(): Mark(int(size), root.decode()) for _, id, size, root in said if id}
            self._size, self._digest = whole, sha256(data[:whole])
            if known is not None and sha256(data[:whole][: known.size]).digest() != known.digest:
                raise self._not_the_one()
            if read_only:
                return
            self._file = os.fdopen(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600), "rb+", buffering=0)
            self._file.truncate(whole)
            self._file.seek(whole)
            if not whole:
                self._write(f"journal {secrets.token_hex(16)}")
            self._sync_folder()
        except OSError as error:
            raise self._unavailable(error) from None

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, stream: str) -> bool:
        """Whether the sleeper of that stream was forgotten; where the file is only read, also a moment ago."""
        name = name_of(stream)
        if self._read_only and name not in self._names and self._path.exists():
            self._names |= {line.decode() for line in self._path.read_bytes().split(b"\n") if len(line) == _NAME_BYTES}
        return name in self._names

    @property
    def extent(self) -> Extent:
        """How much is on disk."""
        with self._lock:
            return Extent(self._size, self._digest.digest())

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
            except (OSError, StorageError):
                self._file.seek(whole)
                self._file.truncate()
                raise
        except OSError as error:
            raise self._unavailable(error) from None
        self._size += len(data)
        self._digest.update(data)

    def close(self) -> None:
        """Idempotent."""
        if not self._read_only:
            self._file.close()

    def _sync_folder(self) -> None:
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _not_the_one(self) -> StorageUnreadable:
        what = (
            "is not the one that this sanctuary used last, or an older copy of it"
            if self._size
            else "is gone, or its disk is not mounted"
        )
        return StorageUnreadable(
            f"the erasure journal {self._path} {what}: without it whoever was forgotten could come back; mount the"
            " disk, put its newest copy there, or name it with --erasures (to begin another one: `serve --new-erasures`"
            " once)"
        )

    def _unavailable(self, error: OSError) -> StorageUnavailable:
        return StorageUnavailable(
            f"the erasure journal {self._path} could not be written ({error.strerror}): nobody is forgotten without it;"
            " check the disk and its permissions"
        )
