"""A way to files on which nothing is left behind where they end: what is cut off or deleted is overwritten first.

SQLite overwrites what is deleted within its file (``secure_delete``), but its write-ahead log is cut off or deleted as
it is, and the blocks go back to the file system with everybody's keys in them, legible until something else needs the
place. So a VFS of our own stands between, which writes zeros and syncs them before either. SQLite does both only once
all that the log holds is in the file and synced; zeros in its place are no log to it after any crash.

On a file system that copies on write, and on a flash disk, the old blocks stay somewhere all the same.
"""

import itertools
import os
from pathlib import Path
from typing import Any

import apsw

_CHUNK_BYTES = 1 << 16
_numbers = itertools.count()


class Wiping(apsw.VFS):
    """The VFS ``base``, or the usual one, in which what goes is overwritten. Keep it while a connection uses it."""

    def __init__(self, base: str | None = None) -> None:
        self._base = base or ""
        self.name = f"wiping-{next(_numbers)}"
        super().__init__(self.name, self._base)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        """Opens a file, as SQLite asks for it."""
        return _WipingFile(self._base, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        """Deletes a file that SQLite has closed: its log."""
        path = Path(filename)
        if path.exists():
            size = path.stat().st_size
            with path.open("rb+", buffering=0) as file:
                for offset in range(0, size, _CHUNK_BYTES):
                    file.write(bytes(min(_CHUNK_BYTES, size - offset)))
                os.fsync(file.fileno())
        super().xDelete(filename, syncdir)


class _WipingFile(apsw.VFSFile):
    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        """Cuts a file off at ``newsize`` bytes."""
        size = self.xFileSize()
        for offset in range(newsize, size, _CHUNK_BYTES):
            self.xWrite(bytes(min(_CHUNK_BYTES, size - offset)), offset)
        if newsize < size:
            self.xSync(apsw.SQLITE_SYNC_NORMAL)
        super().xTruncate(newsize)
