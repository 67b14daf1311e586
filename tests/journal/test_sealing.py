"""What people said is sealed under a key that is on disk first, and is gone with it."""

import resource
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import apsw
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from harmonia import failpoints
from harmonia._core import ByStream, PersonKey
from harmonia.domain.events import OffsetSet, SleeperLeft, encode
from harmonia.domain.recollection import REPLACED
from harmonia.errors import Forgotten, StorageError, StorageUnavailable, StorageUnreadable
from harmonia.journal import ALL, ANY, NO_STREAM, SHREDDED, Expected, OutcomeUnknown, Position, Snapshot, pages
from harmonia.journal.erasures import Erasures, name_of
from harmonia.journal.keys import KeyStore
from harmonia.journal.memory import MemoryJournal
from harmonia.journal.opening import open_sealed
from harmonia.journal.sealing import SealedJournal, seal

SECRET = b'{"type":"ConsentGranted","purpose":"VOICE"}'


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[tuple[MemoryJournal, SealedJournal, Path]]:
    inner = MemoryJournal()
    sealed = SealedJournal(inner, KeyStore(tmp_path / "keys.sqlite"), Erasures(tmp_path / "erasures"))
    yield inner, sealed, tmp_path
    sealed.close()


def test_only_peoples_streams_are_sealed_and_they_are(parts: tuple[MemoryJournal, SealedJournal, Path]) -> None:
    inner, sealed, _ = parts
    for stream in ("person/a", "circle/a", "sanctuary"):
        sealed.append(stream, NO_STREAM, b"1", SECRET)
    sealed.save_snapshot("person/a", Snapshot(Position(1, 1), SECRET))
    raw = {record.stream: record.data for record in inner.read(ALL)}
    assert raw["circle/a"] == raw["sanctuary"] == SECRET
    snapshot = inner.load_snapshot("person/a")
    assert snapshot is not None
    for hidden in (raw["person/a"], snapshot.data):
        assert SECRET not in hidden and b"VOICE" not in hidden
    assert [record.data for record in sealed.read(ALL)] == [SECRET] * 3
    assert sealed.load_snapshot("person/a") == Snapshot(Position(1, 1), SECRET)


def test_no_event_passes_for_another(parts: tuple[MemoryJournal, SealedJournal, Path]) -> None:
    inner, sealed, _ = parts
    sealed.append("person/a", ANY, b"1", SECRET)
    assert [record.data for record in sealed.read("person/a")] == [SECRET]
    data = inner.read("person/a")[0].data
    for place in (("person/a", b"2"), ("person/b", b"1")):
        sealed.append("person/b", ANY, b"0", b"so that b has a key")
        inner.append(place[0], ANY, place[1], data)
        with pytest.raises(StorageUnreadable, match=f"damaged event in {place[0]}, at"):
            sealed.read(place[0])


@given(st.binary(max_size=200), st.binary(min_size=32, max_size=32))
def test_the_cipher_is_the_one_that_others_have(data: bytes, key: bytes) -> None:
    other, sealed = AESGCM(key), seal(PersonKey(key), b"id", data)
    assert other.decrypt(sealed[:12], sealed[12:], b"id") == data
    assert PersonKey(key).open(b"id", sealed[:12] + other.encrypt(sealed[:12], data, b"id")) == data
    assert PersonKey(key).open(b"another", sealed) is None
    with pytest.raises(ValueError, match="must be 32 bytes, not 31"):
        PersonKey(key[1:])
    with pytest.raises(ValueError, match="must be 12 bytes, not 2"):
        PersonKey(key).seal(b"no", b"id", data)


def test_pages_tell_the_forgotten_from_the_damaged(
    parts: tuple[MemoryJournal, SealedJournal, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    inner, sealed, _ = parts
    for n in range(40):  # of what is noise now, some has a line feed in it and some not
        sealed.append("person/ada", ANY, b"%d" % n, SECRET)
    sealed.append("person/bo", ANY, b"1", SECRET)
    sealed.shred("person/ada")
    strands = [strand for page in pages(sealed, 20) for strand in page.strands]
    assert {(one.stream, one.lines) for one in strands} == {("person/ada", SHREDDED), ("person/bo", SECRET)}
    good = inner.read("person/bo")[0].data
    for stream, data, said in (
        ("person/bo", good, "damaged event in person/bo, at 42"),
        ("circle/c", b"", r"the journal's event 1\.42, in circle/c, is empty"),
        ("person/cleo", good, "in person/cleo, cannot be read: its person's key is gone"),
    ):
        other = MemoryJournal()
        for record in inner.read(ALL):
            other.append(record.stream, ANY, record.event_id, record.data)
        other.append(stream, ANY, b"2", data)
        monkeypatch.setattr(sealed, "_inner", other)
        with pytest.raises(StorageUnreadable, match=said):
            list(pages(sealed, 100))


@pytest.mark.parametrize("place", ["keys.commit", "keys.committed"])
def test_after_a_failure_to_make_a_key_one_is_made_or_is_there(tmp_path: Path, place: str) -> None:
    journal = open_sealed(tmp_path)
    failpoints.arm(f"{place}=error")
    try:
        with pytest.raises(OutcomeUnknown):
            journal.append("person/ada", ANY, b"1", SECRET)
    finally:
        failpoints.arm("")
    for _ in range(2):  # and after a restart
        journal.append("person/ada", ANY, b"1", SECRET)
        assert [record.data for record in journal.read("person/ada")] == [SECRET]
        journal.close()
        journal = open_sealed(tmp_path)
    journal.close()


def test_who_came_while_pages_are_read_is_unsealed_too(parts: tuple[MemoryJournal, SealedJournal, Path]) -> None:
    _, sealed, _ = parts
    sealed.append("circle/c", ANY, b"1", SECRET)
    sealed.append("circle/c", ANY, b"2", SECRET)
    gathering = sealed.gathering()
    for n in range(40):  # of what is sealed, some has a line feed in it and some not
        sealed.append(f"person/{n}", ANY, b"1", SECRET)
        sealed.append(f"person/{n}", ANY, b"2", SECRET)
    gathered = ByStream()
    gathered.add(sealed.rows(None, 100)[1])
    page = gathering.page(Position(1, 82), gathered, ())
    assert {strand.lines for strand in page.strands} == {SECRET + b"\n" + SECRET}


def test_of_sealed_settings_that_are_replaced_a_page_has_the_last_and_of_others_all(
    parts: tuple[MemoryJournal, SealedJournal, Path],
) -> None:
    _, sealed, _ = parts
    newer = encode(OffsetSet(3, 0)).replace(b'"v":1', b'"v":2')
    said = [encode(OffsetSet(n, 0)) for n in (1, 2)] + [newer, encode(SleeperLeft(0)), newer, encode(SleeperLeft(0))]
    for n, data in enumerate(said):
        sealed.append("person/ada", ANY, b"%d" % n, data)
        sealed.append("circle/c", ANY, b"%d" % n, data)
    strands = {one.stream: one for page in pages(sealed, 800, REPLACED) for one in page.strands}
    assert strands["person/ada"].lines.split(b"\n") == said[1:]
    assert strands["person/ada"].revisions == [3, 5, 7, 9, 11]
    assert strands["circle/c"].lines.split(b"\n") == said


def test_who_is_forgotten_cannot_be_read_or_written_to_nor_come_back(tmp_path: Path) -> None:
    journal = open_sealed(tmp_path)
    journal.append("person/ada", NO_STREAM, b"1", SECRET)
    journal.append("person/bo", NO_STREAM, b"1", b"other")
    assert journal.salt("person/ada", b"1")
    journal.shred("person/ada")
    journal.shred("person/ada")  # a repetition is harmless
    for _ in range(2):  # and after a restart
        assert [record.data for record in journal.read(ALL)] == [SHREDDED, b"other"]
        assert journal.salt("person/ada", b"1") is None
        with pytest.raises(Forgotten, match="was forgotten"):
            journal.append("person/ada", ANY, b"2", SECRET)
        journal.close()
        journal = open_sealed(tmp_path)
    journal.close()


def test_a_deleted_key_is_nowhere_in_the_folder(tmp_path: Path) -> None:
    journal = open_sealed(tmp_path)
    for name in ("ada", "bo", "cleo"):
        journal.append(f"person/{name}", NO_STREAM, b"1", SECRET)
    with closing(apsw.Connection(str(tmp_path / "keys.sqlite"))) as other:
        keys = dict(cast("list[tuple[str, bytes]]", other.execute("SELECT stream, key FROM keys").fetchall()))

    def everywhere() -> bytes:
        return b"".join(path.read_bytes() for path in tmp_path.iterdir())

    assert keys["person/ada"] in everywhere()
    journal.shred("person/ada")
    assert keys["person/ada"] not in everywhere()
    assert keys["person/bo"] in everywhere()
    journal.close()
    assert keys["person/ada"] not in everywhere()


def test_a_restored_key_store_brings_nobody_back(tmp_path: Path) -> None:
    journal = open_sealed(tmp_path)
    journal.append("person/ada", NO_STREAM, b"1", SECRET)
    journal.close()
    backup = (tmp_path / "keys.sqlite").read_bytes()
    journal = open_sealed(tmp_path)
    journal.shred("person/ada")
    journal.close()
    for stale in tmp_path.glob("keys.sqlite*"):
        stale.unlink()
    (tmp_path / "keys.sqlite").write_bytes(backup)  # against all advice
    journal = open_sealed(tmp_path)
    assert [record.data for record in journal.read(ALL)] == [SHREDDED]
    journal.close()
    assert "person/ada" not in KeyStore(tmp_path / "keys.sqlite")


def test_an_erasure_journal_kept_apart_survives_the_whole_folders_restore(tmp_path: Path) -> None:
    folder, apart = tmp_path / "data", tmp_path / "apart"
    folder.mkdir()
    journal = open_sealed(folder, erasures=apart)
    journal.append("person/ada", NO_STREAM, b"1", SECRET)
    journal.close()
    backup = {path.name: path.read_bytes() for path in folder.iterdir()}
    journal = open_sealed(folder, erasures=apart)
    journal.shred("person/ada")
    journal.close()
    for path in list(folder.iterdir()):
        path.unlink()
    for name, data in backup.items():
        (folder / name).write_bytes(data)
    journal = open_sealed(folder, erasures=apart)
    assert [record.data for record in journal.read(ALL)] == [SHREDDED]
    journal.close()


def test_a_missing_key_is_not_a_wish_to_be_forgotten(tmp_path: Path) -> None:
    journal = open_sealed(tmp_path)
    journal.append("person/ada", NO_STREAM, b"1", SECRET)
    journal.close()
    (tmp_path / "keys.sqlite").unlink()
    with pytest.raises(StorageUnreadable, match=r"what 1 people said.*keys\.sqlite has not.*--forget-unreadable"):
        open_sealed(tmp_path)
    journal = open_sealed(tmp_path, shred_unreadable=True)
    assert [record.data for record in journal.read(ALL)] == [SHREDDED]
    journal.close()
    open_sealed(tmp_path).close()  # it was said once; from now on they are forgotten


def test_an_erasure_that_was_cut_off_is_dropped_and_a_damaged_file_is_said(tmp_path: Path) -> None:
    path = tmp_path / "erasures"
    first = Erasures(path)
    first.add("person/ada")
    first.close()
    assert path.read_text().splitlines()[1:] == [name_of("person/ada")]
    assert "ada" not in path.read_text()
    path.write_bytes(path.read_bytes() + b"0123")
    second = Erasures(path)
    assert "person/ada" in second and "person/bo" not in second
    second.add("person/bo")
    second.close()
    assert path.read_text().splitlines()[1:] == [name_of("person/ada"), name_of("person/bo")]
    path.write_bytes(b"x" * 65)
    with pytest.raises(StorageUnreadable, match="is damaged"):
        Erasures(path)
    with pytest.raises(StorageUnavailable, match="nobody is forgotten without it"):
        Erasures(tmp_path)


def test_an_erasure_of_which_only_a_part_fits_is_refused_and_leaves_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "erasures"
    erasures = Erasures(path)
    erasures.add("person/ada")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(StorageUnavailable, match="nobody is forgotten without it"):
            erasures.add("person/bo")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "person/bo" not in erasures
    erasures.note_ledger(b"abcd", 7, b"r" * 32)
    erasures.add("person/cy")
    erasures.close()
    again = Erasures(path)
    assert "person/ada" in again and "person/bo" not in again and "person/cy" in again
    assert len(again) == 2 and again.mark(b"abcd") == (7, (b"r" * 32).hex()) and again.mark(b"dcba") is None
    again.close()


def test_whoever_ends_a_stream_waits_for_what_is_being_written_and_nothing_follows(tmp_path: Path) -> None:
    at_work, go_on = threading.Event(), threading.Event()

    class Slow(MemoryJournal):
        def append(self, stream: str, expected: Expected | Position, event_id: bytes, data: bytes) -> Position:
            at_work.set()
            go_on.wait()
            return super().append(stream, expected, event_id, data)

    sealed = SealedJournal(Slow(), KeyStore(tmp_path / "keys.sqlite"), Erasures(tmp_path / "erasures"))

    ending = threading.Event()

    class Told(set[str]):
        def add(self, stream: str) -> None:
            super().add(stream)
            ending.set()

    sealed._ended = Told()

    def end() -> int:
        with sealed.ended("person/ada"):
            with pytest.raises(Forgotten):
                sealed.append("person/ada", ANY, b"2", SECRET)
            return len(sealed.read("person/ada"))

    with ThreadPoolExecutor(2) as pool:
        written = pool.submit(sealed.append, "person/ada", ANY, b"1", SECRET)
        at_work.wait()
        ended = pool.submit(end)
        ending.wait()
        early = ended.done()
        go_on.set()
        assert not early
        assert ended.result() == 1
        written.result()
    sealed.append("person/ada", ANY, b"3", SECRET)  # whoever could not be shredded may speak again
    sealed.close()


class Watched(apsw.VFS):
    """The usual files, and which of them have been written to since they were last synced."""

    def __init__(self, name: str) -> None:
        self.unsynced: set[str] = set()
        super().__init__(name, "")

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        return _WatchedFile(self, name, flags)


class _WatchedFile(apsw.VFSFile):
    def __init__(self, vfs: Watched, name: Any, flags: list[int]) -> None:
        self._vfs, self._name = vfs, name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        super().xWrite(data, offset)
        self._vfs.unsynced.add(self._name)

    def xSync(self, flags: int) -> None:  # noqa: N802
        super().xSync(flags)
        self._vfs.unsynced.discard(self._name)


class Strict(MemoryJournal):
    """A journal that takes what is sealed only under keys that a power cut would leave."""

    def __init__(self, check: Callable[[str], None]) -> None:
        super().__init__()
        self._check = check

    def append(self, stream: str, expected: Expected | Position, event_id: bytes, data: bytes) -> Position:
        self._check(stream)
        return super().append(stream, expected, event_id, data)


def test_a_key_is_on_disk_before_anything_under_it_is_written(tmp_path: Path) -> None:
    watched = Watched("watched-keys")
    path = tmp_path / "keys.sqlite"
    keys = KeyStore(path, vfs="watched-keys")
    checked = []

    def check(stream: str) -> None:
        assert not watched.unsynced, "a power cut now would take the key"
        with closing(apsw.Connection(str(path))) as other:
            assert other.execute("SELECT count(*) FROM keys WHERE stream = ?", (stream,)).get == 1
        checked.append(stream)

    sealed = SealedJournal(Strict(check), keys, Erasures(tmp_path / "erasures"))
    for n in range(5):
        sealed.append(f"person/{n}", NO_STREAM, b"1", SECRET)
    assert len(checked) == 5
    sealed.close()


def test_a_key_that_cannot_be_written_refuses_the_event(tmp_path: Path) -> None:
    inner, keys = MemoryJournal(), KeyStore(tmp_path / "keys.sqlite")
    sealed = SealedJournal(inner, keys, Erasures(tmp_path / "erasures"))
    with apsw.Connection(str(tmp_path / "keys.sqlite")) as other:
        other.execute("CREATE TRIGGER full BEFORE INSERT ON keys BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    with pytest.raises(StorageError, match=r"keys\.sqlite could not be written"):
        sealed.append("person/ada", NO_STREAM, b"1", SECRET)
    assert inner.read(ALL) == []
    with apsw.Connection(str(tmp_path / "keys.sqlite")) as other:
        other.execute("DROP TRIGGER full")
    sealed.append("person/ada", NO_STREAM, b"1", SECRET)
    assert [record.data for record in sealed.read(ALL)] == [SECRET]
    sealed.close()


def test_many_who_come_at_once_each_get_one_key(tmp_path: Path) -> None:
    keys = KeyStore(tmp_path / "keys.sqlite")
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: keys.ensure(f"person/{n % 40}"), range(400)))
    held = {stream: keys.get(stream) for stream in keys}
    keys.close()
    assert len(held) == 40 and len(set(held.values())) == 40
    again = KeyStore(tmp_path / "keys.sqlite")
    assert {stream: again.get(stream) for stream in again} == held
    again.close()


def test_a_newer_key_store_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys.sqlite"
    KeyStore(path).close()
    with apsw.Connection(str(path)) as connection:
        connection.execute("UPDATE meta SET value = 9 WHERE key = 'format'")
    with pytest.raises(StorageUnreadable, match=r"keys\.sqlite has format 9.*start the version that wrote it"):
        KeyStore(path)
