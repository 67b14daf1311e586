"""A sanctuary that lies to a sleeper who audits: each way is found."""

import json
from dataclasses import replace
from hashlib import sha256

import pytest

from harmonia.domain.consent import Purpose
from harmonia.domain.events import ConsentGranted, ConsentWithdrawn, Event, encode
from harmonia.errors import StorageUnreadable
from harmonia.journal import Position, Record
from harmonia.ledger.audit import check_opening
from harmonia.ledger.leaves import Entry, entry_of, opening_of
from harmonia.ledger.note import Checkpoint, Signer
from harmonia.ledger.own import Shown, audit_own, of_one_tree
from harmonia.ledger.proof import Proof
from harmonia.ledger.tree import Read, inclusion_proof, leaf_hash, node_hash, root_hash

LOG = Signer("example.org/ledger", b"l" * 32)
MINE, SALT = "person/me", b"s" * 32
GRANT = ConsentGranted(Purpose.VOICE, "", 1.0, None, b"", b"g" * 16, 3600 * 10**9)
WITHDRAWAL = ConsentWithdrawn((Purpose.VOICE,), b"w" * 16, 7200 * 10**9)


def leaf(event: Event, stream: str = MINE) -> tuple[Entry, bytes]:
    record = Record(stream, Position(1, 1), b"id", encode(event))
    entry = entry_of(record, lambda *_: SALT)
    assert entry is not None
    return entry, opening_of(record, SALT)


def shown(*leaves: tuple[Entry, bytes]) -> list[Shown]:
    """The proofs of all, in a tree of just these."""
    read = reading([entry.encode() for entry, _ in leaves])
    plain = Checkpoint(LOG.name, len(leaves), root_hash(read, len(leaves)))
    signed = plain.signed(LOG.sign(plain.text))
    return [
        Shown(at, Proof(entry.encode(), at, tuple(inclusion_proof(read, at, len(leaves))), signed), opening)
        for at, (entry, opening) in enumerate(leaves)
    ]


def reading(entries: list[bytes]) -> Read:
    def read(level: int, index: int) -> bytes:
        if level == 0:
            return leaf_hash(entries[index])
        return node_hash(read(level - 1, 2 * index), read(level - 1, 2 * index + 1))

    return read


def test_an_honest_sanctuary_is_believed() -> None:
    both = shown(leaf(GRANT), leaf(WITHDRAWAL))
    assert of_one_tree(both)
    assert audit_own(MINE, both, [LOG.verifier]).withdrawals == 1
    assert set(audit_own(MINE, both[:1], [LOG.verifier]).allowed) == {Purpose.VOICE}


def test_somebody_elses_yes_is_not_mine() -> None:
    with pytest.raises(StorageUnreadable, match="entry 0 is listed as one of person/me and opens as one of 'person/x'"):
        audit_own(MINE, shown(leaf(GRANT, "person/x")), [LOG.verifier])


@pytest.mark.parametrize("order", [[0, 0], [1, 0]])
def test_an_entry_counts_once_and_in_its_order(order: list[int]) -> None:
    both = shown(leaf(GRANT), leaf(WITHDRAWAL))
    with pytest.raises(StorageUnreadable, match="is listed behind entry"):
        audit_own(MINE, [both[at] for at in order], [LOG.verifier])


def test_another_entry_than_the_listed_is_refused() -> None:
    one, _ = shown(leaf(GRANT), leaf(WITHDRAWAL))
    with pytest.raises(StorageUnreadable, match="entry 1 was asked for, and the sanctuary proved entry 0"):
        audit_own(MINE, [one._replace(place=1)], [LOG.verifier])


def test_what_the_ledger_did_not_sign_is_refused() -> None:
    with pytest.raises(StorageUnreadable, match=r"entry 0 is not signed by example\.org/ledger"):
        audit_own(MINE, shown(leaf(GRANT)), [Signer(LOG.name, b"x" * 32).verifier])


def test_proofs_of_several_trees_are_not_taken_together() -> None:
    small, large = shown(leaf(GRANT)), shown(leaf(GRANT), leaf(WITHDRAWAL))
    assert not of_one_tree([small[0], large[1]])
    forked = shown(leaf(WITHDRAWAL), leaf(GRANT))
    with pytest.raises(StorageUnreadable, match="two histories"):
        of_one_tree([large[0], forked[1]])


@pytest.mark.parametrize("lie", [{"kind": "withdrawal"}, {"by": "circle"}, {"hour_s": 0}])
def test_an_entry_that_says_another_thing_than_its_opening_is_found(lie: dict[str, object]) -> None:
    entry, opening = leaf(GRANT)
    assert check_opening(entry, opening, "o").stream == MINE
    with pytest.raises(StorageUnreadable, match="o opens to something else than its entry says"):
        check_opening(replace(entry, **lie), opening, "o")  # type: ignore[arg-type]


def test_an_event_that_calls_itself_two_things_is_found() -> None:
    """The kind is read from an event's beginning, and JSON's last key is the one that counts."""
    body = b'{"type":"ConsentGranted",' + encode(WITHDRAWAL)[1:]
    record = Record(MINE, Position(1, 1), b"id", body)
    entry = entry_of(record, lambda *_: SALT)
    assert entry is not None and entry.kind == "grant"
    with pytest.raises(StorageUnreadable, match="entry 0 says grant and opens to a ConsentWithdrawn"):
        audit_own(MINE, shown((entry, opening_of(record, SALT))), [LOG.verifier])


ENDLESS = opening_of(Record(MINE, Position(1, 1), b"id", b'{"type":"ConsentGranted","t_ns":Infinity}'), SALT)


@pytest.mark.parametrize(
    "opening",
    [
        b"",
        b"no JSON",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        b'{"salt":1}',
        json.dumps({"salt": "zz"}).encode(),
        ENDLESS,
    ],
)
def test_what_is_no_opening_is_said_to_be_none(opening: bytes) -> None:
    entry = Entry("grant", "person", 0, sha256(opening).hexdigest())
    with pytest.raises(StorageUnreadable, match=r"^o is no opening"):
        check_opening(entry, opening, "o")
