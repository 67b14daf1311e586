"""A proof that stands alone: one text file that shows, without a network, that an entry is in a signed ledger.

It holds the entry itself (as the extra data, which nobody need believe: it is hashed), its place, the siblings up to
the root, and the checkpoint. Whoever has the ledger's verifier key needs nothing else.

Source: https://c2sp.org/tlog-proof.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from harmonia.errors import StorageUnreadable
from harmonia.ledger.note import Checkpoint, Verifier, decode64, encode64
from harmonia.ledger.tree import HASH_BYTES, leaf_hash, verify_inclusion

HEAD = "c2sp.org/tlog-proof@v1"
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})\Z")


@dataclass(frozen=True, slots=True)
class Proof:
    """An entry, and why it is in the ledger at ``index``."""

    entry: bytes
    index: int
    path: tuple[bytes, ...]
    checkpoint: Checkpoint

    def __str__(self) -> str:
        lines = [HEAD, f"extra {encode64(self.entry)}", f"index {self.index}", *map(encode64, self.path)]
        return "\n".join(lines) + "\n\n" + str(self.checkpoint)

    @classmethod
    def parse(cls, text: str, source: str) -> "Proof":
        """The proof of a file, unverified. Raises :class:`StorageUnreadable`, naming ``source``."""
        head, _, checkpoint = text.partition("\n\n")
        lines = head.split("\n")
        if lines[0] != HEAD:
            raise StorageUnreadable(f"{source} is not a proof: its first line should be {HEAD}")
        try:
            entry = decode64(lines[1].removeprefix("extra "))
            path = tuple(decode64(line) for line in lines[3:])
            found = _INDEX.match(lines[2])
            whole = lines[1].startswith("extra ") and all(len(hash) == HASH_BYTES for hash in path)
        except (IndexError, ValueError):
            found, whole = None, False
        if found is None or not whole:
            raise StorageUnreadable(f"{source} is cut or damaged: fetch the proof again")
        return cls(entry, int(found[1]), path, Checkpoint.parse(checkpoint, source))

    def verify(self, verifiers: Iterable[Verifier], source: str) -> None:
        """Raises :class:`StorageUnreadable` unless all of these signed, and the entry is where the proof says."""
        self.checkpoint.verify(verifiers, source)
        size, root = self.checkpoint.size, self.checkpoint.root
        if not verify_inclusion(self.path, self.index, size, leaf_hash(self.entry), root):
            raise StorageUnreadable(f"{source} was changed: its entry {self.index} is not in the ledger that it names")
