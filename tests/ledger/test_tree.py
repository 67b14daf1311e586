"""The tree's laws: every proof of every size verifies, nothing else does, and tiles are the same tree."""

from functools import cache
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonia.errors import BadInput, StorageUnreadable
from harmonia.ledger import tiles
from harmonia.ledger.tree import (
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_hash,
    tree_hash,
    verify_consistency,
    verify_inclusion,
)

SIZES = st.integers(0, 300)
ENTRIES = [b"entry %d" % k for k in range(70_000)]
LEAVES = [leaf_hash(entry) for entry in ENTRIES]


@cache
def mth(start: int, end: int) -> bytes:
    """RFC 6962's definition, read out loud; the tree is compared with it."""
    if start == end:
        return sha256(b"").digest()
    if end - start == 1:
        return LEAVES[start]
    k = 1
    while 2 * k < end - start:
        k *= 2
    return sha256(b"\1" + mth(start, start + k) + mth(start + k, end)).digest()


def read(level: int, index: int) -> bytes:
    return mth(index << level, index + 1 << level)


def flipped(data: bytes, bit: int) -> bytes:
    bit %= len(data) * 8
    return data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]


def test_roots_are_those_of_rfc_6962() -> None:
    for size in range(301):
        assert root_hash(read, size) == mth(0, size)
    # From Certificate Transparency's own tests: the empty tree, and one with a single empty entry.
    assert root_hash(read, 0).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"


def test_every_inclusion_proof_of_every_size_verifies_and_no_other_place_does() -> None:
    for size in range(1, 301):
        root = mth(0, size)
        for index in range(size):
            proof = inclusion_proof(read, index, size)
            assert verify_inclusion(proof, index, size, LEAVES[index], root)
            assert not verify_inclusion(proof, index, size, LEAVES[index + 1], root)
        assert not verify_inclusion(inclusion_proof(read, 0, size), size, size, LEAVES[0], root)


def test_every_consistency_proof_of_every_two_sizes_verifies() -> None:
    for new in range(301):
        for old in range(new + 1):
            proof = consistency_proof(read, old, new)
            assert verify_consistency(proof, old, new, mth(0, old), mth(0, new))


@given(SIZES.filter(bool), st.data())
def test_any_flipped_bit_fails_an_inclusion_proof(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof, bit = inclusion_proof(read, index, size), data.draw(st.integers(0, 1 << 14))
    leaf, root = LEAVES[index], mth(0, size)
    for at in range(len(proof)):
        changed = [*proof[:at], flipped(proof[at], bit), *proof[at + 1 :]]
        assert not verify_inclusion(changed, index, size, leaf, root)
        assert not verify_inclusion(proof[:at] + proof[at + 1 :], index, size, leaf, root)
    assert not verify_inclusion([*proof, leaf], index, size, leaf, root)
    assert not verify_inclusion(proof, index, size, flipped(leaf, bit), root)
    assert not verify_inclusion(proof, index, size, leaf, flipped(root, bit))


@given(SIZES, SIZES, st.integers(0, 1 << 14))
def test_any_flipped_bit_fails_a_consistency_proof(one: int, other: int, bit: int) -> None:
    old, new = sorted((one, other))
    proof, before, after = consistency_proof(read, old, new), mth(0, old), mth(0, new)
    for at in range(len(proof)):
        changed = [*proof[:at], flipped(proof[at], bit), *proof[at + 1 :]]
        assert not verify_consistency(changed, old, new, before, after)
        assert not verify_consistency(proof[:at] + proof[at + 1 :], old, new, before, after)
    assert not verify_consistency([*proof, before], old, new, before, after)
    assert not verify_consistency(proof, old, new, flipped(before, bit), after)
    if old:  # every tree continues the empty one
        assert not verify_consistency(proof, old, new, before, flipped(after, bit))
    assert not verify_consistency(proof, new + 1, new, before, after)


def test_what_cannot_be_proved_is_said() -> None:
    with pytest.raises(BadInput, match="those from 0 to 2, not 3"):
        inclusion_proof(read, 3, 3)
    with pytest.raises(BadInput, match="cannot be shown to continue"):
        consistency_proof(read, 4, 3)


class Kept:
    """Tiles as a store keeps them."""

    def __init__(self) -> None:
        self.tiles: dict[tuple[int, int], bytes] = {}
        self.size = 0

    def read_tile(self, level: int, index: int) -> bytes:
        return self.tiles[level, index]

    def grow(self, count: int) -> dict[tuple[int, int], bytes]:
        changed = tiles.grown(self.read_tile, self.size, LEAVES[self.size : self.size + count])
        self.tiles |= changed
        self.size += count
        return changed


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 700), min_size=1, max_size=6))
def test_tiles_reassemble_to_the_same_root_and_growing_only_appends(steps: list[int]) -> None:
    kept = Kept()
    for step in steps:
        before, old_size = dict(kept.tiles), kept.size
        kept.grow(step)
        for name, data in before.items():
            assert kept.tiles[name].startswith(data)
        assert {(level, index): width * 32 for level, index, width in tiles.tiles_of(kept.size)} == {
            name: len(data) for name, data in kept.tiles.items()
        }
        reading = tiles.reading(kept.read_tile)
        assert root_hash(reading, kept.size) == mth(0, kept.size)
        assert consistency_proof(reading, old_size, kept.size) == consistency_proof(read, old_size, kept.size)
        for index in range(0, kept.size, 97):
            assert inclusion_proof(reading, index, kept.size) == inclusion_proof(read, index, kept.size)


def test_a_tree_of_70000_has_the_tiles_of_the_specifications_example() -> None:
    kept = Kept()
    kept.grow(70_000)
    widths = [width for level, _, width in tiles.tiles_of(70_000) if level == 0]
    assert widths == [256] * 273 + [112]
    assert [(level, index, width) for level, index, width in tiles.tiles_of(70_000) if level] == [
        (1, 0, 256),
        (1, 1, 17),
        (2, 0, 1),
    ]
    assert list(tiles.tiles_of(256)) == [(0, 0, 256), (1, 0, 1)]
    assert root_hash(tiles.reading(kept.read_tile), 70_000) == mth(0, 70_000)


def test_paths_are_those_of_the_specification() -> None:
    assert tiles.tile_path(3, 1234067) == "tile/3/x001/x234/067"
    assert tiles.tile_path(0, 273, 112) == "tile/0/273.p/112"
    assert tiles.tile_path(0, 1000, 1) == "tile/0/x001/000.p/1"
    assert tiles.bundle_path(0) == "tile/entries/000"


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_bundles_come_apart_as_they_were_put_together(entries: list[bytes]) -> None:
    data = tiles.bundle(entries)
    assert tiles.entries_of(data, len(entries), "b") == entries
    for cut in (data[:-1], data + b"\0"):
        if cut != data:
            with pytest.raises(StorageUnreadable, match=r"^b is cut or damaged"):
                tiles.entries_of(cut, len(entries), "b")


def test_a_node_is_never_a_leaf() -> None:
    assert node_hash(LEAVES[0], LEAVES[1]) != leaf_hash(LEAVES[0] + LEAVES[1])
    assert tree_hash(read, 0, 2) == node_hash(LEAVES[0], LEAVES[1])
