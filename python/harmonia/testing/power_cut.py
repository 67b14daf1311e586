"""A disk that loses what was not synced: SQLite's files on it, and the power cut that shows what a promise was worth.

``kill -9`` leaves the system's cache, so it says nothing of fsync. Pulling the plug ten thousand times is slow. So this
is a VFS below SQLite that keeps two things of every file: what a reader sees, which is a real file, and what has
reached the platter, which is in memory. Between two syncs a write is only pending. At the cut each sector of each
pending write has or has not arrived, whatever the order; sizes, truncations and the names in the folder likewise; where
a file grew, a sector that did not arrive holds zeros or noise. A name is on disk once its folder was synced, which
SQLite does with the first sync of a journal that it has made (os_unix.c), and with a deletion that asks for it.

The same disk can fail instead: at any one call, or at that and all after it, as full or as broken.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Literal

import apsw

SECTOR = 512
_numbers = count()
_NEW_NAME = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL

Fault = Literal["cut", "full", "broken"]


class _Stored:
    """One file: what has arrived, and what is under way, in order: (offset, bytes), or a size that it is cut to."""

    def __init__(self, arrived: bytes = b"") -> None:
        self.arrived = bytearray(arrived)
        self.under_way: list[tuple[int, bytes] | int] = []

    def sync(self) -> None:
        for change in self.under_way:
            self._arrive(change)
        self.under_way.clear()

    def lose(self, source: random.Random) -> bytes:
        """What is left of it."""
        likely = source.choice((0.0, 0.2, 0.5, 0.8, 1.0))
        for change in self.under_way:
            if isinstance(change, int):
                if source.random() < likely:
                    self._arrive(change)
                continue
            offset, data = change
            start, end = 0, len(data)
            while start < end:
                stop = min(end, start + SECTOR - (offset + start) % SECTOR)
                if source.random() < likely:
                    self._arrive((offset + start, data[start:stop]))
                elif offset + stop > len(self.arrived) and source.random() < likely:  # it grew, by whatever was there
                    noise = source.randbytes(stop - start) if source.random() < 0.5 else bytes(stop - start)
                    self._arrive((offset + start, noise))
                start = stop
        self.under_way.clear()
        return bytes(self.arrived)

    def _arrive(self, change: tuple[int, bytes] | int) -> None:
        if isinstance(change, int):
            del self.arrived[change:]
            return
        offset, data = change
        if len(self.arrived) < offset:
            self.arrived.extend(bytes(offset - len(self.arrived)))
        self.arrived[offset : offset + len(data)] = data


class PowerCutDisk:
    """A disk with one folder. ``vfs`` is what SQLite has to be given to use it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.vfs = f"power-cut-{next(_numbers)}"
        self.life = 0
        """Which time the power is on; files that were opened before belong to the dead."""
        self.calls = 0
        """Writes, syncs, truncations, deletions, openings and readings since the power came."""
        self.powered = True
        self._fault: tuple[Fault, int, bool] | None = None
        self._names: dict[str, _Stored] = {}
        self._arrived: dict[str, _Stored] = {}
        self._under_way: list[tuple[str, _Stored | None]] = []
        self._registered = _Vfs(self)

    def fail(self, fault: Fault, at_call: int, *, lasting: bool = False) -> None:
        """Lets the ``at_call``-th call from now on fail, and with ``lasting`` all after it; a cut lasts by itself."""
        self.calls, self._fault = 0, (fault, at_call, lasting or fault == "cut")

    def repair(self) -> None:
        """Nothing fails any more."""
        self._fault = None

    @property
    def failing(self) -> bool:
        """Whether a call is still to fail."""
        return self._fault is not None and (self._fault[2] or self.calls < self._fault[1])

    @property
    def failed(self) -> bool:
        """Whether the call that was to fail has come."""
        return self._fault is not None and self.calls >= self._fault[1]

    def survive(self, source: random.Random) -> None:
        """The power is back: the folder holds what had arrived of it, and what happened to arrive of the rest."""
        self.life, self._fault, self.powered = self.life + 1, None, True
        for name, stored in self._under_way[: source.randint(0, len(self._under_way))]:
            self._name(self._arrived, name, stored)
        left = {name: stored.lose(source) for name, stored in self._arrived.items()}
        for path in self.folder.iterdir():
            path.unlink()
        for name, data in left.items():
            (self.folder / name).write_bytes(data)
        self._arrived = {name: _Stored(data) for name, data in left.items()}
        self._names = dict(self._arrived)
        self._under_way.clear()

    def close(self) -> None:
        """SQLite knows it no more."""
        self._registered.unregister()

    def call(self, life: int, *, writes: bool = False) -> None:
        """One call of SQLite's. Raises what it is to fail with; only what writes can find the disk full."""
        if life != self.life or not self.powered:
            raise apsw.IOError("the power is off")
        self.calls += 1
        if self._fault is None:
            return
        fault, at, lasting = self._fault
        if self.calls == at or (lasting and self.calls > at):
            self.powered = fault != "cut"
            if fault != "full":
                raise apsw.IOError("broken")
            if writes:
                raise apsw.FullError("no room")

    def opened(self, name: str) -> _Stored:
        """The file of that name, new if there is none."""
        if name not in self._names:
            self._rename(name, _Stored())
        return self._names[name]

    def deleted(self, name: str, *, synced: bool) -> None:
        """It has no name any more."""
        if name in self._names:
            self._rename(name, None)
        if synced:
            self.sync_names()

    def sync_names(self) -> None:
        """The folder is synced: names given and taken are on disk."""
        for name, stored in self._under_way:
            self._name(self._arrived, name, stored)
        self._under_way.clear()

    def _rename(self, name: str, stored: _Stored | None) -> None:
        self._name(self._names, name, stored)
        self._under_way.append((name, stored))

    @staticmethod
    def _name(names: dict[str, _Stored], name: str, stored: _Stored | None) -> None:
        if stored is None:
            names.pop(name, None)
        else:
            names[name] = stored


class _Vfs(apsw.VFS):
    def __init__(self, disk: PowerCutDisk) -> None:
        super().__init__(disk.vfs, "")
        self._disk = disk

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        self._disk.call(self._disk.life)
        return _File(self._disk, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        self._disk.call(self._disk.life)
        super().xDelete(filename, False)
        self._disk.deleted(Path(filename).name, synced=syncdir)


class _File(apsw.VFSFile):
    def __init__(self, disk: PowerCutDisk, name: Any, flags: list[int]) -> None:
        new_name = bool(flags[0] & _NEW_NAME and flags[0] & apsw.SQLITE_OPEN_CREATE)
        super().__init__("", name, flags)
        self._disk, self._life, self._unnamed = disk, disk.life, new_name
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._stored = disk.opened(Path(path).name) if path else _Stored()

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        self._disk.call(self._life)
        return super().xRead(amount, offset)

    def xWrite(self, data: Any, offset: int) -> None:  # noqa: N802
        self._disk.call(self._life, writes=True)
        super().xWrite(data, offset)
        self._stored.under_way.append((offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        self._disk.call(self._life)
        super().xTruncate(newsize)
        self._stored.under_way.append(newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802, ARG002
        self._disk.call(self._life)
        self._stored.sync()
        if self._unnamed:
            self._disk.sync_names()
            self._unnamed = False


@contextmanager
def power_cut_disk(folder: Path) -> Iterator[PowerCutDisk]:
    """A disk for the length of the block."""
    disk = PowerCutDisk(folder)
    try:
        yield disk
    finally:
        disk.close()
