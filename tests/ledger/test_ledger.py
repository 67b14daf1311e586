"""The ledger follows the journal: to the same bytes after any death, and never back."""

import fcntl
import json
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from hashlib import sha256
from pathlib import Path

import apsw
import pytest
from click.testing import CliRunner

from harmonia import failpoints
from harmonia.cli.main import cli
from harmonia.domain.consent import ALL_PURPOSES, Purpose
from harmonia.domain.events import (
    ConsentGranted,
    ConsentWithdrawn,
    Event,
    OffsetSet,
    OffsetsOffered,
    SleeperJoined,
    encode,
)
from harmonia.errors import Forgotten, NotFound, NotNow, StorageError, StorageUnreadable
from harmonia.journal import ALL, ANY, Position, Record
from harmonia.journal.opening import open_sealed
from harmonia.journal.sealing import SealedJournal
from harmonia.ledger import publishing, tiles
from harmonia.ledger.audit import Replay, audit, audit_openings, check_opening
from harmonia.ledger.leaves import KINDS, Entry, kind_of
from harmonia.ledger.ledger import STORE_FILE, Ledger, doubtful
from harmonia.ledger.note import COSIGNATURE, Checkpoint, Signer, Verifier
from harmonia.ledger.publishing import Folder, Stored, add_signature, publish, put
from harmonia.ledger.reading import opened, store_of
from harmonia.ledger.scribe import Scribe
from harmonia.ledger.store import Store
from harmonia.ledger.tiles import entries_of
from harmonia.ledger.tree import leaf_hash
from harmonia.rpc.files import held, write_private

HOUR_NS = 3600 * 10**9


def said(n: int) -> Event:
    """Something that somebody says; not all of it becomes an entry."""
    id = n.to_bytes(16, "big")
    if n % 5 == 0:
        return OffsetSet(n, n * HOUR_NS)
    if n % 7 == 0:
        return OffsetsOffered((n,), n * HOUR_NS)
    if n % 3 == 0:
        return withdrawal(n)
    return ConsentGranted(Purpose.VOICE, "", 1.0, None, b"", id, n * HOUR_NS)


def withdrawal(n: int) -> Event:
    return ConsentWithdrawn(tuple(sorted(ALL_PURPOSES)), n.to_bytes(16, "big"), n * HOUR_NS)


def fill(journal: SealedJournal, count: int, first: int = 0) -> None:
    for n in range(first, first + count):
        event = said(n)
        if n < 3:
            event = SleeperJoined("circle-a", f"{n}", b"t", b"c", b"p" * 32, 0)
        stream = "circle/a" if isinstance(event, OffsetsOffered) else f"person/{n % 3}"
        journal.append(stream, ANY, n.to_bytes(16, "big"), encode(event))


@contextmanager
def awake(folder: Path) -> Iterator[tuple[SealedJournal, Ledger]]:
    journal = open_sealed(folder)
    ledger = Ledger(journal, folder, "example.org/ledger", write_private)
    try:
        yield journal, ledger
    finally:
        ledger.close()
        journal.close()


def caught_up(journal: SealedJournal, ledger: Ledger) -> Checkpoint:
    for n in range(3):
        ledger.entries_of(f"person/{n}")
    return ledger.checkpoint()


def everything(folder: Path) -> bytes:
    """The published tree, without the signature."""
    with store_of(folder) as store:
        return repr([store.entries(0, store.size), Stored(store).checkpoint().text]).encode()


def verifier(folder: Path) -> Verifier:
    with opened(folder) as ledger:
        return ledger.signer.verifier


def test_what_becomes_an_entry_is_in_the_order_of_the_journal_and_names_nobody(tmp_path: Path) -> None:
    with awake(tmp_path) as (journal, ledger):
        fill(journal, 60)
        caught_up(journal, ledger)
        wanted = [(KINDS[kind], r) for r in journal.read(ALL) if (kind := type_of(r.data)) in KINDS]
    with store_of(tmp_path) as store:
        entries = [Entry.parse(data, "e") for data in store.entries(0, store.size)]
        public = b"".join(store.entries(0, store.size))
    assert [entry.kind for entry in entries] == [kind for kind, _ in wanted]
    assert {entry.by for entry in entries} == {"person", "circle"}
    for entry in entries:
        assert entry.hour_s % 3600 == 0
    for _, record in wanted:
        assert record.event_id.hex().encode() not in public
        assert record.stream.encode() not in public
    assert b"VOICE" not in public


def type_of(data: bytes) -> str:
    return str(json.loads(data)["type"])


def test_every_kind_of_entry_says_when() -> None:
    from harmonia.domain import events

    for name in KINDS:
        assert "t_ns" in {field.name for field in fields(getattr(events, name))}


def test_kinds_are_read_as_the_events_decoder_reads_them() -> None:
    from harmonia.domain.events import decode
    from harmonia.journal import Position, Record

    for n in range(40):
        data = encode(said(n))
        record = Record("person/a", Position(1, 1), b"i", data)
        assert kind_of(record) == KINDS.get(type(decode(data)).__name__)


def test_openings_open_and_only_theirs(tmp_path: Path) -> None:
    with awake(tmp_path) as (journal, ledger):
        fill(journal, 30)
        caught_up(journal, ledger)
        (one, other) = ledger.entries_of("person/1")[:2]
        proof, opening = ledger.prove("person/1", str(one.place))
        assert ledger.prove("person/1", one.event_id.hex()) == (proof, opening)
        proof.verify([Verifier.parse(ledger.key)], "p")
        assert opening is not None
        entry = Entry.parse(proof.entry, "p")
        assert entry.commitment == sha256(opening).hexdigest()
        check_opening(entry, opening, "o")
        with pytest.raises(StorageUnreadable, match=r"^o is not the opening"):
            check_opening(other.entry, opening, "o")
        with pytest.raises(NotFound, match="no entry"):
            ledger.prove("person/0", str(one.place))


def die_while_writing(folder: Path, statements: int) -> bool:
    """Lets a scribe write until it dies, without a word to SQLite, before one of its statements; whether it did."""
    child = os.fork()
    if child:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in (0, 1), "the child broke"
        return code == 1
    try:
        journal = open_sealed(folder)
        records = journal.read(ALL)
        with opened(folder) as parts:
            signer, salt = parts.signer, parts.salt
            left = iter(range(statements))

            def trace(_: object, sql: str, __: object) -> bool:
                if not sql.startswith(("SELECT", "PRAGMA")) and next(left, None) is None:
                    os._exit(1)
                return True

            apsw.connection_hooks.append(lambda connection: setattr(connection, "exec_trace", trace))
            scribe = Scribe(journal, Store(folder / STORE_FILE), signer, salt)
            for at in range(0, len(records), 40):
                scribe.write(records[at : at + 40])
        os._exit(0)
    finally:
        os._exit(2)


def test_killed_before_any_of_its_statements_the_ledger_is_completed_to_the_same_bytes(tmp_path: Path) -> None:
    whole, begun = tmp_path / "whole", tmp_path / "begun"
    begun.mkdir()
    with awake(begun) as (journal, _):
        pass
    with awake(begun) as (journal, ledger):
        fill(journal, 3)
        caught_up(journal, ledger)
    journal = open_sealed(begun)
    fill(journal, 150, 3)
    journal.close()
    shutil.copytree(begun, whole)
    with awake(whole) as (journal, ledger):
        caught_up(journal, ledger)
    expected, deaths = everything(whole), 0
    step = 0
    while die_while_writing(shutil.copytree(begun, folder := tmp_path / f"died-{step}"), step):
        deaths += 1
        step += 5
        with awake(folder) as (journal, ledger):
            caught_up(journal, ledger)
        assert everything(folder) == expected
    assert deaths > 10
    assert everything(folder) != b"" and everything(folder) == expected


@pytest.mark.parametrize("place", ["ledger.batch", "ledger.begun", "ledger.sign", "ledger.commit", "ledger.committed"])
def test_after_a_failure_of_which_nobody_knows_what_was_written_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setattr("harmonia.ledger.scribe._RETRY_S", 0.0)
    with awake(tmp_path) as (journal, ledger):
        fill(journal, 9)
        caught_up(journal, ledger)
        failpoints.arm(f"{place}=error")
        try:
            fill(journal, 3, 12)
            size = caught_up(journal, ledger).size
        finally:
            failpoints.arm("")
        fill(journal, 3, 17)
        assert caught_up(journal, ledger).size > size
    with opened(tmp_path) as parts:
        found = audit(Stored(parts.store), [parts.signer.verifier], {})
        assert audit_openings(found, parts.journal, parts.store, parts.salt).behind == 0


def test_any_batches_give_the_same_tree(tmp_path: Path) -> None:
    with awake(tmp_path) as (journal, ledger):
        fill(journal, 700)
        assert caught_up(journal, ledger).size > 512
        records = journal.read(ALL)
        with opened(tmp_path) as parts:
            for k, step in enumerate((1, 100, 701)):
                again = Store(tmp_path / f"again-{k}")
                scribe = Scribe(journal, again, parts.signer, parts.salt)
                for at in range(0, len(records), step):
                    scribe.write(records[at : at + step])
                assert str(Stored(again).checkpoint()) == str(ledger.checkpoint())
                again.close()


def test_a_restored_older_journal_takes_nothing_out_of_the_ledger(tmp_path: Path) -> None:
    with awake(tmp_path) as (journal, ledger):
        fill(journal, 40)
        caught_up(journal, ledger)
    backup = (tmp_path / "journal.db").read_bytes()
    with awake(tmp_path) as (journal, ledger):
        fill(journal, 20, 40)
        before = caught_up(journal, ledger)
    (tmp_path / "journal.db").write_bytes(backup)
    journal = open_sealed(tmp_path)
    for _ in range(2):  # as often as a start is broken off
        assert doubtful(journal, tmp_path)
    journal.close()
    for _ in range(2):
        with awake(tmp_path) as (journal, ledger):
            fill(journal, 5, 100)
            after = caught_up(journal, ledger)
            assert after.size > before.size
        with opened(tmp_path) as parts:
            found = audit(Stored(parts.store), [parts.signer.verifier], {"before": before})
            audit_openings(found, parts.journal, parts.store, parts.salt)
            assert found.orphans and found.opened + found.orphans == after.size
            assert found.lost_noes
            assert not doubtful(parts.journal, tmp_path)


def test_the_ledger_keeps_up_with_people_who_never_pause(tmp_path: Path) -> None:
    with awake(tmp_path) as (journal, ledger):
        fill(journal, 3)
        stop = threading.Event()

        def go_on_and_on() -> None:
            n = 5
            while not stop.wait(0.01):
                fill(journal, 1, n)
                n += 5  # an offset, which becomes no entry

        feeder = threading.Thread(target=go_on_and_on)
        feeder.start()
        try:
            fill(journal, 1, 4)
            assert [entry.event_id for entry in ledger.entries_of("person/1")] == [(4).to_bytes(16, "big")]
        finally:
            stop.set()
            feeder.join()


def test_forgotten_entries_stay_and_audit_as_shredded(tmp_path: Path) -> None:
    with awake(tmp_path) as (journal, ledger):
        fill(journal, 90)
        before = caught_up(journal, ledger)
        own = len(ledger.entries_of("person/1"))
        ledger.shred("person/1")
        assert ledger.checkpoint() == before
        fill(journal, 1, 102)
    with awake(tmp_path):
        pass
    with opened(tmp_path) as parts:
        found = audit_openings(
            audit(Stored(parts.store), [parts.signer.verifier], {"before": before}),
            parts.journal,
            parts.store,
            parts.salt,
        )
        assert found.shredded == own


def test_what_is_deleted_is_in_the_ledger_first(tmp_path: Path) -> None:
    """An entry can only be made while its event can be read."""
    with awake(tmp_path) as (journal, ledger):
        fill(journal, 60)
        ledger.shred("person/1")
    journal = open_sealed(tmp_path)
    records = journal.read(ALL)
    journal.close()
    with store_of(tmp_path) as store:
        logged = {leaf.event_id for leaf in store.leaves(0, store.size)}
    shredded = [int.from_bytes(r.event_id, "big") for r in records if not r.data]
    assert shredded
    assert {n.to_bytes(16, "big") for n in shredded if type(said(n)).__name__ in KINDS and n > 2} <= logged


def test_a_new_ledger_signs_that_it_is_empty(tmp_path: Path) -> None:
    with awake(tmp_path) as (_, ledger):
        ledger.checkpoint().verify([Verifier.parse(ledger.key)], "first")
        assert ledger.checkpoint().size == 0


def test_a_lost_ledger_is_not_made_anew(tmp_path: Path) -> None:
    with awake(tmp_path) as (journal, ledger):
        fill(journal, 20)
        caught_up(journal, ledger)
    for path in tmp_path.glob("ledger.sqlite*"):
        path.unlink()
    for _ in range(2):
        with pytest.raises(StorageUnreadable, match=r"ledger\.sqlite is gone.*ledger\.key"), awake(tmp_path):
            pass
    (tmp_path / "ledger.key").unlink()  # as the message says
    with awake(tmp_path) as (journal, ledger):
        assert caught_up(journal, ledger).size


def test_a_first_start_that_died_between_store_and_key_is_gone_on_with(tmp_path: Path) -> None:
    with awake(tmp_path) as (journal, _):
        fill(journal, 20)
    for path in tmp_path.glob("ledger.sqlite*"):
        path.unlink()
    (tmp_path / STORE_FILE).touch()
    with awake(tmp_path) as (journal, ledger):
        assert caught_up(journal, ledger).size


def test_a_ledger_from_before_somebody_was_forgotten_signs_no_other_history(tmp_path: Path) -> None:
    with awake(tmp_path) as (journal, ledger):
        fill(journal, 20)
        caught_up(journal, ledger)
    backup = (tmp_path / STORE_FILE).read_bytes()
    with awake(tmp_path) as (journal, ledger):
        fill(journal, 20, 20)
        caught_up(journal, ledger)
        ledger.shred("person/1")
    with awake(tmp_path) as (journal, ledger):
        fill(journal, 1, 60)
    for path in tmp_path.glob("ledger.sqlite*"):
        path.unlink()
    (tmp_path / STORE_FILE).write_bytes(backup)
    with pytest.raises(StorageUnreadable, match="that was signed when somebody was last forgotten"), awake(tmp_path):
        pass


def test_an_emptied_ledger_is_not_begun_anew_once_somebody_was_forgotten(tmp_path: Path) -> None:
    with awake(tmp_path) as (journal, ledger):
        fill(journal, 20)
        ledger.shred("person/1")
    for path in tmp_path.glob("ledger.sqlite*"):
        path.unlink()
    (tmp_path / STORE_FILE).touch()
    with (
        pytest.raises(StorageUnreadable, match=r"ledger\.sqlite is gone, and made anew it may contradict"),
        awake(tmp_path),
    ):
        pass


def test_a_ledger_as_long_as_the_one_that_was_noted_and_another_is_refused(tmp_path: Path) -> None:
    with awake(tmp_path) as (journal, ledger):
        fill(journal, 20)
        ledger.shred("person/1")
        root = ledger.checkpoint().root.hex()
    erasures = tmp_path / "erasures"
    assert root in erasures.read_text()
    erasures.write_text(erasures.read_text().replace(root, "0" * 64))
    open_sealed(tmp_path, new_erasures=True).close()
    with pytest.raises(StorageUnreadable, match="that was signed when somebody was last forgotten"), awake(tmp_path):
        pass


def test_a_ledger_does_not_go_on_under_another_key(tmp_path: Path) -> None:
    with awake(tmp_path):
        pass
    (tmp_path / "ledger.key").write_text(f"{Signer('example.org/ledger', b'o' * 32)}\n")
    with pytest.raises(StorageUnreadable, match=r"ledger\.sqlite with .*ledger\.key"), awake(tmp_path):
        pass


def test_what_is_acknowledged_while_somebody_is_forgotten_is_in_the_ledger(tmp_path: Path) -> None:
    with awake(tmp_path) as (journal, ledger):
        fill(journal, 20)
        late: list[Position] = []
        caught = ledger._caught_up

        def and_then_somebody_speaks(stream: str) -> list[Record]:
            found = caught(stream)
            with pytest.raises(Forgotten):
                late.append(journal.append(stream, ANY, b"late", encode(said(3))))
            return found

        ledger._caught_up = and_then_somebody_speaks  # type: ignore[method-assign]
        ledger.shred("person/1")
        assert not late


def test_a_lost_signing_key_is_not_replaced(tmp_path: Path) -> None:
    with awake(tmp_path):
        assert (tmp_path / "ledger.key").stat().st_mode & 0o777 == 0o600
    (tmp_path / "ledger.key").write_text("PRIVATE+KEY+nonsense\n")
    with pytest.raises(StorageUnreadable, match=r"ledger\.key is not a signing key any more"), awake(tmp_path):
        pass
    (tmp_path / "ledger.key").unlink()
    with pytest.raises(StorageUnreadable, match=r"ledger\.key is gone"), awake(tmp_path):
        pass


@pytest.fixture
def published(tmp_path: Path) -> tuple[Path, Verifier]:
    with awake(tmp_path / "data") as (journal, ledger):
        fill(journal, 800)
        caught_up(journal, ledger)
    with store_of(tmp_path / "data") as store:
        publish(store, tmp_path / "public")
    return tmp_path / "public", verifier(tmp_path / "data")


@pytest.fixture(autouse=True)
def folders(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()


def test_a_published_ledger_is_what_clients_of_tlog_tiles_expect(published: tuple[Path, Verifier]) -> None:
    folder, key = published
    found = audit(Folder(folder), [key], {})
    size = found.checkpoint.size
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    full, rest = divmod(size, 256)
    level_0 = {f"tile/{kind}/{n:03d}" for kind in ("0", "entries") for n in range(full)}
    partial = {f"tile/{kind}/{full:03d}.p/{rest}" for kind in ("0", "entries")} | {f"tile/1/000.p/{full}"}
    assert names == level_0 | partial | {"checkpoint"}


def test_any_damaged_file_is_named_in_one_line(published: tuple[Path, Verifier]) -> None:
    folder, key = published
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        good = path.read_bytes()
        for bad in (
            good[:-1],
            good[: len(good) // 2],
            bytes([good[0] ^ 1]) + good[1:],
            good[:-3] + bytes([good[-3] ^ 1]) + good[-2:],
            b"",
        ):
            path.write_bytes(bad)
            with pytest.raises(StorageError) as caught:
                audit(Folder(folder), [key], {})
            assert "\n" not in str(caught.value)
            assert str(path) in str(caught.value) or ("entries" in str(path) and str(folder) in str(caught.value))
        path.unlink()
        with pytest.raises((StorageError, NotFound), match=str(path)):
            audit(Folder(folder), [key], {})
        path.write_bytes(good)
    audit(Folder(folder), [key], {})


def test_other_entries_below_an_honest_checkpoint_are_found(published: tuple[Path, Verifier]) -> None:
    """Bundle and tile changed alike, so that they fit each other."""
    folder, key = published
    bundle = next((folder / "tile/entries").glob("*.p/*"))
    tile = folder / "tile/0" / bundle.relative_to(folder / "tile/entries")
    entries = entries_of(bundle.read_bytes(), int(bundle.name), "b")
    other = entries[0].replace(b'"by":"person"', b'"by":"circle"')
    assert other != entries[0]
    bundle.write_bytes(tiles.bundle([other, *entries[1:]]))
    tile.write_bytes(leaf_hash(other) + tile.read_bytes()[32:])
    with pytest.raises(StorageUnreadable, match="have another root than the one that is signed"):
        audit(Folder(folder), [key], {})


def test_a_ledger_that_changed_its_past_is_found_by_whoever_kept_a_checkpoint(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with awake(folder) as (journal, ledger):
        fill(journal, 40)
        kept = caught_up(journal, ledger)
    for path in (*folder.glob("ledger.sqlite*"), *folder.glob("journal.db*"), *folder.glob("keys.sqlite*")):
        path.unlink()
    with awake(folder) as (journal, ledger):
        fill(journal, 60)
        caught_up(journal, ledger)
    with opened(folder) as parts:
        with pytest.raises(StorageUnreadable, match="does not continue kept"):
            audit(Stored(parts.store), [parts.signer.verifier], {"kept": kept})
        (tmp_path / "public").mkdir()
        (tmp_path / "public" / "checkpoint").write_text(str(kept))
        with pytest.raises(StorageUnreadable, match=r"public/checkpoint is not continued by this ledger"):
            publish(parts.store, tmp_path / "public")


def test_a_restored_older_ledger_does_not_pass_for_the_longer_one(tmp_path: Path) -> None:
    folder, public = tmp_path / "data", tmp_path / "public"
    with awake(folder) as (journal, ledger):
        fill(journal, 40)
        caught_up(journal, ledger)
    backup = (folder / STORE_FILE).read_bytes()
    with awake(folder) as (journal, ledger):
        fill(journal, 20, 40)
        newer = caught_up(journal, ledger)
    with store_of(folder) as store:
        publish(store, public)
    for path in folder.glob("ledger.sqlite*"):
        path.unlink()
    (folder / STORE_FILE).write_bytes(backup)
    with store_of(folder) as store:
        with pytest.raises(StorageUnreadable, match=r"public/checkpoint is not continued by this ledger"):
            publish(store, public)
        with pytest.raises(StorageUnreadable, match="does not continue newer"):
            audit(Stored(store), [verifier(folder)], {"newer": newer})
    assert Folder(public).checkpoint() == newer


def test_a_checkpoint_of_anothers_or_unsigned_vouches_for_nothing(published: tuple[Path, Verifier]) -> None:
    folder, key = published
    now = Folder(folder).checkpoint()
    other, unsigned = replace(now, origin="other.example"), replace(now, signatures=())
    with pytest.raises(StorageUnreadable, match=r"kept is of the ledger other\.example, not of example\.org/ledger"):
        audit(Folder(folder), [key], {"kept": other})
    with pytest.raises(StorageUnreadable, match=r"kept is not signed by example\.org/ledger"):
        audit(Folder(folder), [key], {"kept": unsigned})
    (folder / "checkpoint").write_text(str(other))
    with (
        store_of(folder.parent / "data") as store,
        pytest.raises(StorageUnreadable, match="checkpoint is not continued by this ledger: it is another's"),
    ):
        publish(store, folder)


def test_publishing_again_only_adds(tmp_path: Path) -> None:
    folder, public = tmp_path / "data", tmp_path / "public"
    before: dict[Path, bytes] = {}
    for n in range(3):
        with awake(folder) as (journal, ledger):
            fill(journal, 200, 200 * n)
            caught_up(journal, ledger)
        with store_of(folder) as store:
            publish(store, public)
            assert publish(store, public).written == 0
        for path, data in before.items():
            assert path.name == "checkpoint" or path.read_bytes() == data
        before = {path: path.read_bytes() for path in public.rglob("*") if path.is_file()}


@pytest.mark.parametrize("rotten", ["bundles", "tiles"])
def test_a_damaged_store_is_never_published_over_good_files(tmp_path: Path, rotten: str) -> None:
    folder, public = tmp_path / "data", tmp_path / "public"
    with awake(folder) as (journal, ledger):
        fill(journal, 700)
        caught_up(journal, ledger)
    with store_of(folder) as store:
        publish(store, public)
    good = {path: path.read_bytes() for path in public.rglob("*") if path.is_file()}
    with apsw.Connection(str(folder / STORE_FILE)) as connection:
        data = connection.execute(f"SELECT data FROM {rotten} WHERE idx = 0 LIMIT 1").get
        rot = bytes([data[0], data[1], data[2] ^ 1, *data[3:]])
        connection.execute(f"UPDATE {rotten} SET data = ? WHERE data = ?", (rot, data))
    named = "public/tile/entries/000 was published" if rotten == "bundles" else r"ledger\.sqlite is damaged|tile/0/000"
    with store_of(folder) as store, pytest.raises(StorageUnreadable, match=named):
        publish(store, public)
    assert good == {path: path.read_bytes() for path in public.rglob("*") if path.is_file()}


def test_what_its_tiles_do_not_add_up_to_is_not_published(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with awake(folder) as (journal, ledger):
        fill(journal, 60)
        caught_up(journal, ledger)
    with apsw.Connection(str(folder / STORE_FILE)) as connection:
        connection.execute("UPDATE tiles SET data = zeroblob(length(data))")
    with store_of(folder) as store, pytest.raises(StorageUnreadable, match="is damaged: its tiles have another root"):
        publish(store, tmp_path / "public")
    assert not any((tmp_path / "public").iterdir())


def test_a_signature_goes_below_the_checkpoint_that_was_audited_and_beside_others(
    tmp_path: Path, published: tuple[Path, Verifier]
) -> None:
    public, _ = published
    one, two = (Signer(f"w.example/{n}", bytes([n]) * 32, COSIGNATURE) for n in (1, 2))
    audited = Folder(public).checkpoint()
    for witness in (one, two):  # both read it before either wrote
        add_signature(public, audited, witness.cosign(audited.text, 1))
    Folder(public).checkpoint().verify([one.verifier, two.verifier], "f")
    newer = replace(audited, size=audited.size + 1)
    (public / "checkpoint").write_text(str(newer))
    with pytest.raises(NotNow, match="published again"):
        add_signature(public, audited, one.cosign(audited.text, 2))
    assert Folder(public).checkpoint() == newer


def test_a_published_checkpoint_is_read_byte_for_byte(published: tuple[Path, Verifier]) -> None:
    path = published[0] / "checkpoint"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    with pytest.raises(StorageUnreadable, match="checkpoint is cut or damaged"):
        Folder(published[0]).checkpoint()


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 60_000,
        b'{"v":1,"kind":["grant"],"by":"person","hour_s":0,"commitment":""}',
        b'{"v":1,"kind":"grant\\n","by":"person","hour_s":0,"commitment":""}',
        b'{"v":1,"kind":"grant","by":"person","hour_s":"0","commitment":""}',
    ],
)
def test_an_entry_of_any_shape_is_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(StorageUnreadable, match="f holds an entry that is none of this ledger's"):
        Entry.parse(data, "f")


def test_of_those_who_write_a_folder_one_does_at_a_time(tmp_path: Path) -> None:
    with publishing.held(tmp_path / "public"):
        other = os.open(tmp_path / "public", os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(other)


def test_what_was_put_is_on_disk_with_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced, real = list[str](), os.fsync

    def fsync(fd: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{fd}").readlink()))
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    assert put(tmp_path / "a", b"data")
    assert synced == [str(tmp_path / "a.new"), str(tmp_path)]


@pytest.mark.parametrize(
    ("sql", "what"),
    [
        ("UPDATE events SET event_id = x'00' WHERE revision = 20", "damaged event in person/1"),
        ("UPDATE events SET event_id = x'00' WHERE revision = 15", "is of another event than the journal has there"),
        ("DELETE FROM events WHERE revision = 23", "is not in the journal any more"),
        ("DELETE FROM events WHERE revision > 50", "is not in the journal any more"),
        ("UPDATE events SET data = x'' WHERE stream = 'circle/a'", r"in circle/a, is empty, and was not when written"),
        ("UPDATE events SET data = x'' WHERE stream = 'person/1'", r"damaged event in person/1"),
        (
            "UPDATE events SET data = CAST(replace(CAST(data AS TEXT), '7', '8') AS BLOB) WHERE stream = 'circle/a'",
            "commits to something else",
        ),
    ],
)
def test_a_journal_that_was_changed_behind_the_ledgers_back_is_found(tmp_path: Path, sql: str, what: str) -> None:
    with awake(tmp_path) as (journal, ledger):
        fill(journal, 60)
        caught_up(journal, ledger)
    with apsw.Connection(str(tmp_path / "journal.db")) as connection:
        connection.execute(sql)
    with opened(tmp_path) as parts:
        found = audit(Stored(parts.store), [parts.signer.verifier], {})
        with pytest.raises(StorageUnreadable, match=what):
            audit_openings(found, parts.journal, parts.store, parts.salt)


def test_a_lost_key_is_not_taken_for_somebody_forgotten(tmp_path: Path) -> None:
    with awake(tmp_path) as (journal, ledger):
        fill(journal, 60)
        caught_up(journal, ledger)
    with apsw.Connection(str(tmp_path / "keys.sqlite")) as connection:
        connection.execute("DELETE FROM keys WHERE stream = 'person/1'")
    with opened(tmp_path) as parts:
        found = audit(Stored(parts.store), [parts.signer.verifier], {})
        with pytest.raises(StorageUnreadable, match=r"in person/1, cannot be read: its person's key is gone"):
            audit_openings(found, parts.journal, parts.store, parts.salt)


def test_an_audit_beside_a_sanctuary_hears_who_came_and_who_was_forgotten_meanwhile(tmp_path: Path) -> None:
    with awake(tmp_path) as (journal, ledger):
        fill(journal, 2)
        with opened(tmp_path) as parts:
            fill(journal, 28, 2)
            caught_up(journal, ledger)
            ledger.shred("person/2")
            found = audit(Stored(parts.store), [parts.signer.verifier], {})
            audit_openings(found, parts.journal, parts.store, parts.salt)
            assert found.shredded and found.opened


def test_a_ledger_that_stopped_is_found_and_consent_is_followed_to_the_journals_end(tmp_path: Path) -> None:
    with awake(tmp_path) as (journal, ledger):
        fill(journal, 60)
        caught_up(journal, ledger)
    journal = open_sealed(tmp_path)
    for n in range(60, 70):
        journal.append("person/1", ANY, n.to_bytes(16, "big"), encode(withdrawal(n)))
    journal.close()
    with opened(tmp_path) as parts:
        found = audit(Stored(parts.store), [parts.signer.verifier], {})
        before = sum(type_of(record.data) == "ConsentWithdrawn" for record in parts.journal.read(ALL))
        audit_openings(found, parts.journal, parts.store, parts.salt)
        assert found.behind == 10 and found.withdrawals == before
    arguments = ["ledger", "audit", "--openings", "--data", str(tmp_path)]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code != 0 and "lacks the journal's newest 10 events" in str(result.exception or result.output)
    with held(tmp_path):  # a sanctuary that is still to write them
        result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0 and "10 events behind the checkpoint" in result.output


@pytest.mark.parametrize(
    ("stream", "event", "what"),
    [
        (
            "circle/a",
            OffsetSet(1, 1),
            "circle/a, at 7 of the journal: an event of a person's stands where anybody may write",
        ),
        (
            "person/a",
            OffsetsOffered((1,), 1),
            "person/a, at 7 .*: an event of somebody else's stands in a person's stream",
        ),
    ],
)
def test_an_event_in_another_kind_of_stream_is_found(stream: str, event: Event, what: str) -> None:
    with pytest.raises(StorageUnreadable, match=what):
        Replay().take_in(Record(stream, Position(1, 7), b"e", encode(event)))


def test_a_yes_that_nobody_said_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The replay has rules of its own: a domain that let an offer touch a person's no would be seen."""
    from harmonia.domain import sleeper as sleepers
    from harmonia.domain.consent import Consent, Grant, Standing
    from harmonia.journal import Position, Record

    def records() -> Iterator[Record]:
        events: list[Event] = [
            SleeperJoined("circle-a", "a", b"t", b"c", b"p" * 32, 0),
            ConsentGranted(Purpose.VOICE, "", 1.0, None, b"", b"g" * 16, 1),
            ConsentWithdrawn((Purpose.VOICE,), b"w" * 16, 2),
            ConsentGranted(Purpose.VOICE, "", 1.0, None, b"", b"s" * 16, 3),  # stale
            OffsetSet(5, 4),
        ]
        for n, event in enumerate(events, 1):
            yield Record("person/a", Position(1, n), b"%d" % n, encode(event))

    honest = Replay()
    for record in records():
        honest.take_in(record)
    said = honest.said["person/a"]
    assert (said.grants, said.stale, said.withdrawals) == (1, 1, 1)

    real = sleepers.apply

    def lenient(sleeper: sleepers.Sleeper | None, event: object) -> sleepers.Sleeper:
        after = real(sleeper, event)  # type: ignore[arg-type]
        if isinstance(event, OffsetSet):
            return replace(after, consent=Consent({Purpose.VOICE: Standing(Grant(b"x" * 16))}))
        return after

    monkeypatch.setattr(sleepers, "apply", lenient)
    misled, (*before, last) = Replay(), records()
    for record in before:
        misled.take_in(record)
    with pytest.raises(StorageUnreadable, match="person/a, at 5 of the journal: voice does not follow"):
        misled.take_in(last)
