"""A way to files on which nothing is left behind where they end: what is cut off or deleted is overwritten first.

SQLite overwrites what is deleted within its file (``secure_delete``), but its write-ahead log is cut off or deleted as
it is, and the blocks go back to the file system with everybody's keys in them, legible until something else needs the
place. So a VFS of our own stands between, which writes zeros over a log before either. SQLite does both only once all
that the log holds is in the file and synced. Its header goes first, and is synced: a log without is none to SQLite,
while one of which a power cut left the beginning would be believed, and would bring back what is older than the file.

On a file system that copies on write, and on a flash disk, the old blocks stay somewhere all the same.
"""

import itertools
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import apsw

_HEAD_BYTES = 512
"""A sector, with the log's header of 32 bytes."""
_CHUNK_BYTES = 1 << 16
_numbers = itertools.count()


def _wipe(write: Callable[[bytes, int], object], sync: Callable[[], None], start: int, end: int) -> None:
    """Zeros from ``start`` to below ``end``, on disk when it returns."""
    write(bytes(min(_HEAD_BYTES, end - start)), start)
    sync()
    for offset in range(start, end, _CHUNK_BYTES):
        write(bytes(min(_CHUNK_BYTES, end - offset)), offset)
    sync()


class Wiping(apsw.VFS):
    """The VFS ``base``, or the usual one, in which a log is overwritten. Keep it while a connection uses it."""

    def __init__(self, base: str | None = None) -> None:
        self._base = base or ""
        self.name = f"wiping-{next(_numbers)}"
        super().__init__(self.name, self._base)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        """Opens a file, as SQLite asks for it."""
        return (_Log if flags[0] & apsw.SQLITE_OPEN_WAL else apsw.VFSFile)(self._base, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        """Deletes a file that SQLite has closed."""
        path = Path(filename)
        if path.name.endswith("-wal") and path.exists():
            with path.open("rb+", buffering=0) as file:
                fd = file.fileno()
                _wipe(partial(os.pwrite, fd), partial(os.fsync, fd), 0, path.stat().st_size)
        super().xDelete(filename, syncdir)


class _Log(apsw.VFSFile):
    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        """Cuts the log off at ``newsize`` bytes."""
        size = self.xFileSize()
        if newsize < size:
            _wipe(self.xWrite, partial(self.xSync, apsw.SQLITE_SYNC_NORMAL), newsize, size)
        super().xTruncate(newsize)
