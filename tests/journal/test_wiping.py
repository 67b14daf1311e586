"""A deleted key is nowhere: in no file, not in what SQLite cuts off or deletes, nor after a death on the way."""

import os
import random
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, cast

import apsw
import pytest

from harmonia.errors import StorageUnavailable
from harmonia.journal import NO_STREAM
from harmonia.journal.erasures import Erasures
from harmonia.journal.keys import KeyStore
from harmonia.journal.opening import open_sealed
from harmonia.journal.wiping import _wipe
from harmonia.testing.power_cut import power_cut_disk

SECRET = b"what somebody said, and nobody else is to read"


def keys_in(folder: Path) -> dict[str, bytes]:
    with closing(apsw.Connection(str(folder / "keys.sqlite"))) as other:
        return dict(cast("list[tuple[str, bytes]]", other.execute("SELECT stream, key FROM keys").fetchall()))


def everywhere(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


class Spying(apsw.VFS):
    """The usual files, and what was in each when it was cut off or deleted."""

    def __init__(self) -> None:
        self.given_back: dict[str, bytes] = {}
        super().__init__("spying", "")

    def look(self, verb: str, path: Path) -> None:
        if path.exists():
            self.given_back[f"{verb} {path.name}"] = path.read_bytes()

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        return _SpyingFile(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        self.look("deleted", Path(filename))
        super().xDelete(filename, syncdir)


class _SpyingFile(apsw.VFSFile):
    def __init__(self, vfs: Spying, name: Any, flags: list[int]) -> None:
        self._vfs, self._name = vfs, Path(name.filename() if isinstance(name, apsw.URIFilename) else str(name))
        super().__init__("", name, flags)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        self._vfs.look("cut", self._name)
        super().xTruncate(newsize)


@pytest.fixture
def spying() -> Iterator[Spying]:
    vfs = Spying()
    yield vfs
    vfs.unregister()


def test_what_is_given_back_to_the_disk_holds_no_key(tmp_path: Path, spying: Spying) -> None:
    erasures = Erasures(tmp_path / "erasures")
    store = KeyStore(tmp_path / "keys.sqlite", vfs="spying")
    for n in range(200):  # a log of many pages
        store.ensure(f"person/{n}")
    keys = keys_in(tmp_path)
    assert len(keys) == 200 and all(key in everywhere(tmp_path) for key in keys.values())
    store.delete("person/0", erasures=erasures)
    store.ensure("person/late")
    late = keys_in(tmp_path)["person/late"]
    assert late in (tmp_path / "keys.sqlite-wal").read_bytes()
    store.close()
    cut, deleted = spying.given_back["cut keys.sqlite-wal"], spying.given_back["deleted keys.sqlite-wal"]
    assert len(cut) > 1 << 16 and not any(key in cut for key in keys.values())
    assert deleted and late not in deleted
    assert not any(cut) and not any(deleted)
    left = KeyStore(tmp_path / "keys.sqlite")
    assert len(list(left)) == 200 and left.get("person/late") == late
    left.close()


def test_who_dies_between_deleting_a_key_and_emptying_the_log_leaves_none_after_the_next_start(tmp_path: Path) -> None:
    journal = open_sealed(tmp_path)
    for name in ("ada", "bo"):
        journal.append(f"person/{name}", NO_STREAM, b"1", SECRET)
    keys = keys_in(tmp_path)
    child = os.fork()
    if not child:
        try:
            journal._keys._connection.set_wal_hook(lambda *_: os._exit(1))  # committed, and no more
            journal.shred("person/ada")
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    dead = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    journal.close()
    for name, data in dead.items():  # as the death left them
        (tmp_path / name).write_bytes(data)
    assert keys["person/ada"] in everywhere(tmp_path)
    journal = open_sealed(tmp_path)
    assert keys["person/ada"] not in everywhere(tmp_path)
    assert keys["person/bo"] in everywhere(tmp_path)
    assert journal.forgot("person/ada")
    journal.close()


def test_while_somebody_reads_the_log_nobody_is_told_that_they_were_forgotten(tmp_path: Path) -> None:
    journal = open_sealed(tmp_path)
    journal.append("person/ada", NO_STREAM, b"1", SECRET)
    key = keys_in(tmp_path)["person/ada"]
    journal._keys._connection.set_busy_timeout(1)
    with closing(apsw.Connection(str(tmp_path / "keys.sqlite"))) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM keys").fetchall()
        with pytest.raises(StorageUnavailable, match=r"keys\.sqlite could not be written"):
            journal.shred("person/ada")
        assert key in everywhere(tmp_path)
    journal.shred("person/ada")
    assert key not in everywhere(tmp_path)
    journal.close()


def test_no_power_cut_takes_a_key_or_brings_one_back(tmp_path: Path) -> None:
    """Also one that strikes while the log is overwritten, cut off or deleted."""
    erasures, source = Erasures(tmp_path / "erasures"), random.Random(5)
    (tmp_path / "disk").mkdir()
    cuts = 0
    with power_cut_disk(tmp_path / "disk") as disk:
        kept: dict[str, bytes] = {}
        gone: set[str] = set()
        for life in range(120):
            store = KeyStore(tmp_path / "disk" / "keys.sqlite", vfs=disk.vfs)
            assert {name: store.get(name) for name in kept} == kept
            assert not gone & set(store)
            disk.fail("cut", source.randint(1, 70))
            with suppress(StorageUnavailable, apsw.Error), closing(store):
                for n in range(4):
                    store.ensure(name := f"person/{life}-{n}")
                    key = store.get(name)
                    assert key is not None
                    kept[name] = key
                for name in source.sample(sorted(kept), 2):
                    del kept[name]  # from here on it may be gone
                    store.delete(name, erasures=erasures)
                    gone.add(name)
            if disk.powered:
                disk.repair()
            else:
                cuts += 1
                disk.survive(source)
    assert cuts > 60 and len(gone) > 60 and len(kept) > 60


def test_the_logs_header_is_gone_for_certain_before_anything_else_of_it() -> None:
    did = list[object]()
    _wipe(lambda data, offset: did.append((offset, data)), lambda: did.append("sync"), 0, 100_000)
    assert did == [(0, bytes(512)), "sync", (0, bytes(65_536)), (65_536, bytes(34_464)), "sync"]


def test_a_log_that_lost_its_end_is_believed_and_one_that_lost_its_header_is_not(tmp_path: Path) -> None:
    """Why the header goes first: the beginning of a log is older than the file beside it."""
    store = KeyStore(tmp_path / "keys.sqlite")
    for n in range(40):
        store.ensure(f"person/{n}")
    store._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_FULL)
    data, log = ((tmp_path / name).read_bytes() for name in ("keys.sqlite", "keys.sqlite-wal"))
    store.close()
    half, found = len(log) // 2, list[int]()
    for name, left in ("without end", log[:half] + bytes(len(log) - half)), ("without header", bytes(512) + log[512:]):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "keys.sqlite").write_bytes(data)
        (folder / "keys.sqlite-wal").write_bytes(left)
        again = KeyStore(folder / "keys.sqlite")
        found.append(len(list(again)))
        again.close()
    assert 0 < found[0] < 40 == found[1]
