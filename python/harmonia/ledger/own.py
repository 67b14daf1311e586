"""A sleeper's audit of their own entries, which believes the sanctuary nothing.

A signed proof only shows that an entry is in some tree, and a hash only that an opening was fixed beforehand. What a
lying sanctuary shows could be somebody else's event, the same one twice, out of order, or each from another tree. So an
entry counts only if its opening makes just that entry, is of the sleeper's own stream and stands at the place that was
asked for, behind the one before; and all of them have to be in one tree.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from harmonia.domain.events import decode
from harmonia.errors import StorageUnreadable
from harmonia.ledger.audit import Said, check_opening
from harmonia.ledger.leaves import KINDS, Entry
from harmonia.ledger.note import Verifier
from harmonia.ledger.proof import Proof


class Shown(NamedTuple):
    """What the sanctuary shows of one entry."""

    place: int
    """Where it was asked for."""
    proof: Proof
    opening: bytes


def of_one_tree(shown: Sequence[Shown]) -> bool:
    """Whether all proofs are of one tree; if not, the ledger grew meanwhile. Raises StorageUnreadable if it forked."""
    roots = {(one.proof.checkpoint.size, one.proof.checkpoint.root) for one in shown}
    if len(roots) != len({size for size, _ in roots}):
        raise StorageUnreadable("the sanctuary signed two trees of one size: this ledger has two histories")
    return len(roots) <= 1


def audit_own(stream: str, shown: Sequence[Shown], verifiers: Iterable[Verifier]) -> Said:
    """What a sleeper's entries add up to. ``stream``: theirs; ``shown``: of one tree. Raises StorageUnreadable."""
    said, wanted, before = Said(), list(verifiers), -1
    for index, proof, opening in shown:
        source = f"entry {index}"
        proof.verify(wanted, source)
        if proof.index != index:
            raise StorageUnreadable(f"{source} was asked for, and the sanctuary proved entry {proof.index}")
        if index <= before:
            raise StorageUnreadable(f"{source} is listed behind entry {before}: twice, or in another order than said")
        entry = Entry.parse(proof.entry, source)
        record = check_opening(entry, opening, source)
        if record.stream != stream:
            raise StorageUnreadable(f"{source} is listed as one of {stream} and opens as one of {record.stream[:80]!r}")
        event = decode(record.data)
        if KINDS.get(type(event).__name__) != entry.kind:
            raise StorageUnreadable(f"{source} says {entry.kind} and opens to a {type(event).__name__}")
        said.take_in(event)
        before = index
    return said
