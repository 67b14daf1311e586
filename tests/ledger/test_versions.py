"""A ledger outlives the version that began it: what became an entry later is not missed before."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest

from harmonia.domain.events import OffsetSet, encode
from harmonia.errors import StorageUnreadable
from harmonia.journal import ALL, ANY
from harmonia.journal.opening import open_sealed
from harmonia.journal.sealing import PERSON, SealedJournal
from harmonia.ledger import leaves, store
from harmonia.ledger.audit import Findings, audit, audit_openings
from harmonia.ledger.ledger import Ledger
from harmonia.ledger.publishing import Stored
from harmonia.ledger.reading import opened
from harmonia.rpc.files import write_private

FIXTURES = Path(__file__).parent / "fixtures"


def unpacked(version: int, folder: Path) -> Path:
    """A data folder as a sanctuary of that version left it."""
    return Path(shutil.copytree(FIXTURES / f"version-{version}", folder))


def audited(folder: Path) -> Findings:
    with opened(folder) as parts:
        since = {str(old.size): old for old in parts.store.checkpoints()}
        found = audit(Stored(parts.store), [parts.signer.verifier], since)
        return audit_openings(found, parts.journal, parts.store, parts.salt)


@contextmanager
def awake(folder: Path) -> Iterator[tuple[SealedJournal, Ledger]]:
    journal = open_sealed(folder)
    ledger = Ledger(journal, folder, "fixture.example/ledger", write_private)
    try:
        yield journal, ledger
    finally:
        ledger.close()
        journal.close()


def somebody(journal: SealedJournal) -> str:
    return next(r.stream for r in journal.read(ALL) if r.stream.startswith(PERSON) and r.data)


def of_offsets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Harmonia that is one version newer, and has entries of offsets too."""
    newer = (*leaves.VERSIONS, {OffsetSet.__name__: "offset"})
    monkeypatch.setattr(leaves, "VERSIONS", newer)
    monkeypatch.setattr(store, "VERSIONS", newer)


@pytest.mark.parametrize("version", range(1, len(leaves.VERSIONS) + 1))
def test_every_version_has_a_fixture_that_audits_and_goes_on(tmp_path: Path, version: int) -> None:
    folder = unpacked(version, tmp_path / "data")
    before = audited(folder)
    assert before.opened and before.shredded and before.checkpoint.size == before.opened + before.shredded
    with awake(folder) as (_, ledger):
        assert ledger.checkpoint() == before.checkpoint
    assert audited(folder).opened == before.opened


def test_what_became_no_entry_then_is_not_missed_now_and_becomes_one_from_now_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = unpacked(1, tmp_path / "data")
    before = audited(folder)
    of_offsets(monkeypatch)
    again = audited(folder)
    assert (again.opened, again.behind) == (before.opened, 0), "nobody has gone on with it yet"
    for n in range(2):
        with awake(folder) as (journal, ledger):
            stream = somebody(journal)
            assert any(b"OffsetSet" in record.data for record in journal.read(stream))
            journal.append(stream, ANY, bytes([n]) * 16, encode(OffsetSet(n, 3600 * 10**9)))
            assert [one.entry.kind for one in ledger.entries_of(stream)].count("offset") == n + 1
        after = audited(folder)
        assert after.kinds["offset"] == n + 1
        assert after.opened == before.opened + n + 1


def test_an_entry_is_judged_by_the_version_it_is_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_offsets(monkeypatch)
    folder = tmp_path / "data"
    folder.mkdir()
    with awake(folder) as (journal, ledger):
        for n in range(3):
            event = OffsetSet(n, 3600 * 10**9)
            journal.append("circle/a", ANY, bytes([n]), encode(event))
        ledger._scribe.wait_for(journal.read(ALL)[-1].position)
        assert ledger.checkpoint().size == 3
    with apsw.Connection(str(folder / "ledger.sqlite")) as connection:
        connection.execute("UPDATE meta SET value = 1 WHERE key = 'version 2'")
    with opened(folder) as parts:
        found = audit(Stored(parts.store), [parts.signer.verifier], {})
        with pytest.raises(StorageUnreadable, match="has an entry for the event at 1 of the journal"):
            audit_openings(found, parts.journal, parts.store, parts.salt)


def test_a_ledger_of_a_newer_version_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = unpacked(1, tmp_path / "data")
    with monkeypatch.context() as newer:
        of_offsets(newer)
        with awake(folder):
            pass
    line = r"ledger\.sqlite has entries of version 2, .* knows up to 1: start the version that wrote it"
    with pytest.raises(StorageUnreadable, match=line), awake(folder):
        pass
    with pytest.raises(StorageUnreadable, match=line):
        audited(folder)


def test_an_entrys_type_belongs_to_one_version() -> None:
    assert len(leaves.KINDS) == sum(map(len, leaves.VERSIONS))
