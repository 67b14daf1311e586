"""Very many entries: an audit holds little of them, few checkpoints are kept, and orphans are passed at once."""

import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harmonia.domain.consent import Purpose
from harmonia.domain.events import ConsentWithdrawn, OffsetsOffered, encode
from harmonia.errors import NotFound
from harmonia.journal import ALL, ANY, Position, Record
from harmonia.journal.memory import MemoryJournal
from harmonia.ledger.audit import audit, audit_openings
from harmonia.ledger.leaves import Salt
from harmonia.ledger.ledger import find
from harmonia.ledger.note import Signer
from harmonia.ledger.publishing import Stored
from harmonia.ledger.scribe import Scribe, lost_noes, reconcile
from harmonia.ledger.store import Store
from harmonia.ledger.tiles import WIDTH
from harmonia.ledger.tree import root_hash

SIGNER = Signer("example.org/many", b"s" * 32)
SALT: Salt = lambda _stream, _event_id: b"salt" * 8  # noqa: E731


class Counting(MemoryJournal):
    """A journal that counts how often it is read."""

    reads = 0

    def read(self, stream: str | None, after: Position | None = None, limit: int | None = None) -> list[Record]:
        self.reads += 1
        return super().read(stream, after, limit)


def journal_of(count: int) -> Counting:
    """Every third event is a withdrawal."""
    journal = Counting()
    for n in range(count):
        id = n.to_bytes(16, "big")
        event = ConsentWithdrawn((Purpose.VOICE,), id, n) if n % 3 == 0 else OffsetsOffered((n,), n)
        journal.append("circle/a", ANY, id, encode(event))
    return journal


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "ledger.sqlite")
    yield made
    made.close()


def fill(store: Store, journal: MemoryJournal, step: int) -> None:
    scribe, records = Scribe(journal, store, SIGNER, SALT), journal.read(ALL)
    for at in range(0, len(records), step):
        scribe.write(records[at : at + step])


def peak_bytes(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_an_audit_holds_the_hash_of_an_entry_and_not_the_entry(store: Store) -> None:
    count = 5_000
    journal = MemoryJournal()
    for n in range(count):
        journal.append("circle/a", ANY, n.to_bytes(16, "big"), encode(OffsetsOffered((n,), n)))
    fill(store, journal, 4096)
    found = audit(Stored(store), [SIGNER.verifier], {})
    public = peak_bytes(lambda: audit(Stored(store), [SIGNER.verifier], {}))
    openings = peak_bytes(lambda: audit_openings(found, journal, store, SALT))
    assert public < 75 * count
    assert openings < 150 * count
    assert found.opened == count


def test_of_checkpoints_the_last_of_each_bundle_is_kept(store: Store) -> None:
    journal = journal_of(2 * WIDTH + 90)
    fill(store, journal, 17)
    kept = store.checkpoints()
    assert [one.size for one in kept] == [255, 510, 602]
    assert store.checkpoint() == kept[-1]
    for one in kept:
        one.verify([SIGNER.verifier], "kept")
        assert one.root == root_hash(store.read, one.size)


@pytest.mark.parametrize("kept", [0, 1, WIDTH - 1, WIDTH, WIDTH + 1, 2 * WIDTH + 80, 2 * WIDTH + 90])
def test_wherever_a_restored_journal_ends_what_it_lost_is_told_and_orphaned(store: Store, kept: int) -> None:
    count = 2 * WIDTH + 90
    fill(store, journal_of(count), 100)
    journal = journal_of(kept)
    for n in range(5):  # others came meanwhile, to the same places
        journal.append("circle/a", ANY, b"other %d" % n, encode(OffsetsOffered((n,), n)))
    assert lost_noes(journal, store) == sum(n % 3 == 0 for n in range(kept, count))
    at = reconcile(journal, store)
    assert at == (journal.read(ALL)[kept - 1].position if kept else None)
    assert [leaf.position is None for leaf in store.leaves(0, count)] == [n >= kept for n in range(count)]
    assert (store.placed, lost_noes(journal, store)) == (kept, 0)


def test_a_second_loss_counts_no_orphans_of_the_first_again(store: Store) -> None:
    fill(store, journal_of(90), 100)
    journal = journal_of(60)
    reconcile(journal, store)
    journal.append("circle/a", ANY, b"later", encode(OffsetsOffered((1,), 1)))
    Scribe(journal, store, SIGNER, SALT).write(journal.read(ALL)[60:])
    assert lost_noes(journal_of(30), store) == 10
    reconcile(journal_of(30), store)
    assert store.placed == 30


def test_orphans_are_passed_without_a_look_at_each(store: Store) -> None:
    fill(store, journal_of(2 * WIDTH + 90), 100)
    journal = journal_of(10)
    reconcile(journal, store)
    journal.reads = 0
    assert reconcile(journal, store) == Position(1, 10)
    assert journal.reads == 1


def test_an_entry_is_not_proved_of_the_event_that_took_its_place(store: Store) -> None:
    fill(store, journal_of(5), 5)
    journal = journal_of(3)
    journal.append("circle/a", ANY, b"other", encode(OffsetsOffered((1,), 1)))
    assert find(journal, store, "2").event_id == (2).to_bytes(16, "big")
    for lost in ("3", "4"):
        with pytest.raises(NotFound, match=f"no entry '{lost}'"):
            find(journal, store, lost)
