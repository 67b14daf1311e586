"""The Merkle tree of RFC 6962: a root that commits to a list, and short proofs about it.

Somebody who keeps only the root of a list (32 bytes) can be shown that an entry is in it, and that a later list begins
with all of an earlier one, each by some log₂ n hashes. Proofs are not built from the whole list: ``read(level, index)``
gives the hash of the 2^level leaves from index·2^level on, from wherever it is kept, and only for complete subtrees.

Both kinds of proof are a walk from the root down to one place, noting the sibling on the way; who verifies walks the
same way and hashes back up. So one function says where the walk goes, and there is nothing for the two sides to
disagree on.

Source: RFC 6962, section 2.1 (https://www.rfc-editor.org/rfc/rfc6962#section-2.1); section numbers below are its.
"""

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from typing import NamedTuple

from harmonia.errors import BadInput

HASH_BYTES = 32

Read = Callable[[int, int], bytes]
"""(level, index) → the hash of the complete subtree of 2^level leaves that begins at leaf index·2^level."""


def leaf_hash(entry: bytes) -> bytes:
    """The hash of one entry; the 0x00 keeps it from ever being taken for a node (2.1)."""
    return sha256(b"\0" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of two subtrees (2.1)."""
    return sha256(b"\1" + left + right).digest()


def tree_hash(read: Read, start: int, end: int) -> bytes:
    """MTH(D[start:end]), where the range is one that a walk from a root comes to; of nothing, the hash of nothing."""
    width = end - start
    if width == 0:
        return sha256().digest()
    if width & (width - 1) == 0:
        level = width.bit_length() - 1
        return read(level, start >> level)
    middle = start + _split(width)
    return node_hash(tree_hash(read, start, middle), tree_hash(read, middle, end))


def root_hash(read: Read, size: int) -> bytes:
    """The root of the first ``size`` leaves."""
    return tree_hash(read, 0, size)


class _Step(NamedTuple):
    left: bool
    """The walk goes left here."""
    start: int
    end: int
    """The sibling's leaves."""


def inclusion_proof(read: Read, index: int, size: int) -> list[bytes]:
    """PATH(index, D[:size]) (2.1.1): the siblings from the leaf up."""
    if not 0 <= index < size:
        raise BadInput(f"a ledger of {size} entries has those from 0 to {size - 1}, not {index}")
    return [tree_hash(read, step.start, step.end) for step in reversed(list(_to_leaf(index, size)))]


def verify_inclusion(proof: Sequence[bytes], index: int, size: int, leaf: bytes, root: bytes) -> bool:
    """Whether ``proof`` shows that the leaf of that hash is at ``index`` of the ``size`` leaves under ``root``."""
    if not 0 <= index < size:
        return False
    steps = list(_to_leaf(index, size))
    if len(steps) != len(proof):
        return False
    hash = leaf
    for step, sibling in zip(reversed(steps), proof, strict=True):
        hash = node_hash(hash, sibling) if step.left else node_hash(sibling, hash)
    return hash == root


def consistency_proof(read: Read, old: int, new: int) -> list[bytes]:
    """PROOF(old, D[:new]) (2.1.2); empty where there is nothing to prove."""
    if not 0 <= old <= new:
        raise BadInput(f"a ledger of {new} entries cannot be shown to continue one of {old}")
    if old in (0, new):
        return []
    steps, start, end = _to_edge(old, new)
    first = [tree_hash(read, start, end)] if start else []
    return first + [tree_hash(read, step.start, step.end) for step in reversed(steps)]


def verify_consistency(proof: Sequence[bytes], old: int, new: int, old_root: bytes, new_root: bytes) -> bool:
    """Whether ``proof`` shows that the ``new`` leaves under one root begin with the ``old`` ones under the other."""
    if not 0 <= old <= new:
        return False
    if old in (0, new):
        return not proof and (old_root == new_root if old == new else old_root == sha256().digest())
    steps, start, _ = _to_edge(old, new)
    given = list(proof)
    if len(given) != len(steps) + bool(start):
        return False
    before = after = given.pop(0) if start else old_root
    for step, sibling in zip(reversed(steps), given, strict=True):
        if step.left:
            after = node_hash(after, sibling)
        else:
            before, after = node_hash(sibling, before), node_hash(sibling, after)
    return before == old_root and after == new_root


def _split(width: int) -> int:
    """The largest power of two below ``width``."""
    return 1 << (width - 1).bit_length() - 1


def _to_leaf(index: int, size: int) -> Iterator[_Step]:
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            yield _Step(True, middle, end)
            end = middle
        else:
            yield _Step(False, start, middle)
            start = middle


def _to_edge(old: int, new: int) -> tuple[list[_Step], int, int]:
    """The walk to the last subtree that both trees have whole, and that subtree's leaves."""
    steps, start, end = [], 0, new
    while end != old:
        middle = start + _split(end - start)
        if old <= middle:
            steps.append(_Step(True, middle, end))
            end = middle
        else:
            steps.append(_Step(False, start, middle))
            start = middle
    return steps, start, end
