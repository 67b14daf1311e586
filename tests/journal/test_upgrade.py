"""Every format that was ever released is read for ever; a crash in between loses nothing."""

import json
import os
import shutil
from pathlib import Path

import apsw
import pytest

from harmonia.domain.events import decode
from harmonia.errors import StorageUnreadable
from harmonia.journal import ALL, SHREDDED, upgrade
from harmonia.journal import sqlite as current
from harmonia.journal.erasures import Erasures
from harmonia.journal.keys import KeyStore
from harmonia.journal.opening import open_sealed

FIXTURES = Path(__file__).parent / "fixtures"


def expected(version: int) -> list[tuple[str, bytes, bytes]]:
    rows = json.loads((FIXTURES / f"format-{version}.json").read_text())
    return [(stream, bytes.fromhex(event_id), data.encode()) for stream, event_id, data in rows]


def unpacked(version: int, folder: Path) -> Path:
    """A data folder as a sanctuary of that time left it."""
    folder.mkdir(exist_ok=True)
    shutil.copy(FIXTURES / f"format-{version}.sqlite", folder / "journal.db")
    if (keys := FIXTURES / f"format-{version}-keys.sqlite").exists():
        shutil.copy(keys, folder / "keys.sqlite")
    return folder


def test_every_format_has_its_fixture() -> None:
    for version in range(1, current.FORMAT_VERSION + 1):
        assert expected(version)


@pytest.mark.parametrize("version", range(1, current.FORMAT_VERSION + 1))
def test_every_format_reads_as_it_was_written(tmp_path: Path, version: int) -> None:
    folder = unpacked(version, tmp_path)
    for _ in range(2):
        journal = open_sealed(folder)
        records = journal.read(ALL)
        journal.close()
        assert [(record.stream, record.event_id, record.data) for record in records] == expected(version)
        for record in records:
            decode(record.data)


def test_an_upgrade_leaves_nothing_that_people_said_in_the_clear(tmp_path: Path) -> None:
    folder = unpacked(1, tmp_path)
    with apsw.Connection(str(folder / "journal.db")) as old:  # and what lies in pages that are free again
        old.execute("PRAGMA secure_delete=OFF").fetchall()
        for n in range(3):
            old.execute("INSERT INTO snapshots VALUES (?, 1, ?)", (f"person/{n}", b"VoiceSet" * 1000))
        old.execute("DELETE FROM snapshots WHERE stream != 'person/1'")
    assert b"VoiceSet" in (folder / "journal.db").read_bytes()
    journal = open_sealed(folder)
    assert journal.load_snapshot("person/1") is None
    journal.close()
    for path in folder.iterdir():
        assert b"VoiceSet" not in path.read_bytes()
        assert b"ConsentWithdrawn" not in path.read_bytes()
    assert b"CircleCreated" in (folder / "journal.db").read_bytes()


def upgrade_and_die(folder: Path, statements: int) -> bool:
    """Upgrades in a child that dies, without a word to SQLite, before its next statement; whether it did."""
    child = os.fork()
    if child:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in (0, 1), "the child broke"
        return code == 1
    try:
        keys, erasures = KeyStore(folder / "keys.sqlite"), Erasures(folder / "erasures")
        left = iter(range(statements))

        def trace(*_: object) -> bool:
            if next(left, None) is None:
                os._exit(1)
            return True

        apsw.connection_hooks.append(lambda connection: setattr(connection, "exec_trace", trace))
        upgrade.bring_up_to_date(folder / "journal.db", keys, erasures)
        os._exit(0)
    finally:
        os._exit(2)


def test_an_upgrade_that_dies_before_any_of_its_statements_goes_on(tmp_path: Path) -> None:
    deaths = 0
    while upgrade_and_die(folder := unpacked(1, tmp_path / str(deaths)), deaths):
        deaths += 1
        journal = open_sealed(folder)
        assert [(r.stream, r.event_id, r.data) for r in journal.read(ALL)] == expected(1)
        journal.close()
        assert b"VoiceSet" not in b"".join(path.read_bytes() for path in folder.iterdir())
    assert deaths > 30, "each event is a statement, and the sweeping is some"


def test_who_was_forgotten_is_not_in_an_old_backup_either(tmp_path: Path) -> None:
    folder = unpacked(1, tmp_path)
    first, *others = upgrade.person_streams(folder / "journal.db")
    erasures = Erasures(folder / "erasures")
    erasures.add(first)
    erasures.close()
    journal = open_sealed(folder)
    assert {r.data for r in journal.read(first)} == {SHREDDED}
    assert all(r.data != SHREDDED for other in others for r in journal.read(other))
    journal.close()


def test_who_cannot_upgrade_says_how(tmp_path: Path) -> None:
    folder = unpacked(1, tmp_path)
    with pytest.raises(StorageUnreadable, match=r"journal\.db has the older format 1: start a sanctuary"):
        current.SqliteJournal(folder / "journal.db")


def test_a_newer_format_is_refused_untouched(tmp_path: Path) -> None:
    folder = unpacked(1, tmp_path)
    with apsw.Connection(str(folder / "journal.db")) as connection:
        connection.execute("UPDATE meta SET value = 99 WHERE key = 'format'")
    with pytest.raises(StorageUnreadable, match=r"journal\.db has format 99.*start the version that wrote it"):
        open_sealed(folder)
    assert b"VoiceSet" in (folder / "journal.db").read_bytes()
