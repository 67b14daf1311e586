"""What can be checked of a ledger: by everybody, and by those who can open its entries.

Everybody: that the checkpoint is signed, that every tile and bundle is what follows from the entries, up to the signed
root, and that a checkpoint which somebody kept from earlier is the same ledger, only shorter.

Who can open entries also sees what they say. Each commitment is computed again from the journal; what ought to be in
the ledger and is not, and the reverse, is found. And consent is followed once more, event by event, by rules that are
written down here a second time, on their own: a withdrawal ends a purpose; a grant counts only if it names the newest
withdrawal; nothing else ever makes a yes of a no. The domain's own answer is compared with that after every event, so
that no ruling, mode or offer touched anybody's no unseen.
"""

import itertools
import json
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from harmonia.domain import sleeper as sleepers
from harmonia.domain.consent import Purpose
from harmonia.domain.events import ConsentGranted, ConsentWithdrawn, Event, PersonEvent
from harmonia.domain.reading import made, read_all
from harmonia.domain.sleeper import Sleeper
from harmonia.errors import StorageUnreadable
from harmonia.journal import ALL, SHREDDED, Journal, Position, Record
from harmonia.journal.sealing import PERSON
from harmonia.ledger.leaves import NOES, Entry, Salt, entry_of
from harmonia.ledger.note import Checkpoint, Verifier
from harmonia.ledger.publishing import Files
from harmonia.ledger.store import Store
from harmonia.ledger.tiles import (
    WIDTH,
    bundle_path,
    bundles_of,
    entries_of,
    hashes_of,
    reading,
    subtree_root,
    tile_path,
)
from harmonia.ledger.tree import HASH_BYTES, Read, leaf_hash, root_hash

_PAGE = 4 * WIDTH
REMEMBERED = 64
"""Withdrawals that are known again, a purpose; an older one that is repeated applies again."""


@dataclass
class Findings:
    """What an audit saw. It raises where something is wrong."""

    checkpoint: Checkpoint
    kinds: Counter[str] = field(default_factory=Counter)
    """Entries of each kind."""
    opened: int = 0
    """Entries whose commitments were computed again."""
    behind: int = 0
    """Events of the journal's that should have an entry behind the checkpoint, and are not in the ledger yet."""
    shredded: int = 0
    """Entries that nobody can open any more, since their person was forgotten."""
    orphans: int = 0
    """Entries whose events the journal has no more, since a backup of it was restored."""
    lost_noes: int = 0
    """How many of the orphans are withdrawals or wishes."""
    grants: int = 0
    stale: int = 0
    """Grants that a withdrawal had overtaken, and that changed nothing."""
    withdrawals: int = 0


def audit(files: Files, verifiers: Iterable[Verifier], since: Mapping[str, Checkpoint]) -> Findings:
    """What everybody can check. ``since``: checkpoints from earlier, by file. Raises StorageError, naming the file."""
    checkpoint = files.checkpoint()
    source = files.name("checkpoint")
    verifiers = list(verifiers)
    checkpoint.verify(verifiers, source)
    found = Findings(checkpoint)
    tiles = []
    for index, width in bundles_of(checkpoint.size):
        name = files.name(bundle_path(index, width))
        entries = entries_of(files.bundle(index, width), width, name)
        found.kinds.update(Entry.parse(entry, name).kind for entry in entries)
        tiles.append(b"".join(map(leaf_hash, entries)))
    read = _check_tiles(files, tiles)
    if root_hash(read, checkpoint.size) != checkpoint.root:
        raise StorageUnreadable(f"{source}: the entries beside it have another root than the one that is signed")
    for name, old in since.items():
        old.verify([one for one in verifiers if one.name == old.origin], name)
        if old.origin != checkpoint.origin:
            raise StorageUnreadable(f"{name} is of the ledger {old.origin}, not of {checkpoint.origin}")
        if old.size > checkpoint.size or root_hash(read, old.size) != old.root:
            raise StorageUnreadable(f"{source} does not continue {name}: this ledger has changed its past")
    return found


def _check_tiles(files: Files, tiles: Sequence[bytes]) -> Read:
    """Computes every tile from the entries' hashes, and compares; returns a way to the hashes that were computed.

    They are kept as tiles: 32 bytes an entry.
    """
    levels = list[Sequence[bytes]]()
    while tiles:
        above = []
        for index, tile in enumerate(tiles):
            width = len(tile) // HASH_BYTES
            name = files.name(tile_path(len(levels), index, width))
            hashes = hashes_of(files.tile(len(levels), index, width), width, name)
            if b"".join(hashes) != tile:
                raise StorageUnreadable(f"{name} is damaged: it does not follow from the entries")
            if width == WIDTH:
                above.append(subtree_root(hashes))
        levels.append(tiles)
        tiles = [b"".join(above[first : first + WIDTH]) for first in range(0, len(above), WIDTH)]
    return reading(lambda level, index: levels[level][index])


class _Leaves:
    """The entries of a store one after the other, of which only a page is held."""

    def __init__(self, store: Store, size: int) -> None:
        pages = (store.leaves(first, min(first + _PAGE, size)) for first in range(0, size, _PAGE))
        self._left = itertools.chain.from_iterable(pages)
        self.at, self.leaf = 0, next(self._left, None)

    def pass_on(self) -> None:
        """To the next."""
        self.at, self.leaf = self.at + 1, next(self._left, None)


def audit_openings(found: Findings, journal: Journal, store: Store, salt: Salt) -> Findings:
    """What only the operator can check, besides. Raises StorageUnreadable."""
    leaves, replay = _Leaves(store, found.checkpoint.size), Replay()
    for record in _records(journal):
        _count_orphans(found, leaves)
        leaf, at = leaves.leaf, leaves.at
        if leaf is not None and leaf.position is not None and leaf.position < record.position:
            break
        here = leaf is not None and leaf.position == record.position
        if leaf is not None and here and leaf.event_id != record.event_id:
            raise StorageUnreadable(f"entry {at} of {store.path} is of another event than the journal has there")
        if record.data == SHREDDED:
            if here:
                found.shredded += 1
                leaves.pass_on()
            continue
        entry = entry_of(record, salt, store.version_at(at))
        if entry is not None and leaf is None:
            found.behind += 1
        elif (entry is not None) != here:
            what = "has no entry for" if entry is not None else "has an entry for"
            raise StorageUnreadable(f"{store.path} {what} the event at {record.position.revision} of the journal")
        if entry is not None and leaf is not None:
            if entry.encode() != leaf.entry:
                raise StorageUnreadable(
                    f"entry {at} of {store.path} commits to something else than the journal's event at"
                    f" {record.position.revision}: one of them was changed"
                )
            found.opened += 1
            leaves.pass_on()
        replay.take_in(record)
    _count_orphans(found, leaves)
    if leaves.leaf is not None:
        raise StorageUnreadable(f"entry {leaves.at} of {store.path} is of an event that is not in the journal any more")
    for said in replay.said.values():
        found.grants, found.stale = found.grants + said.grants, found.stale + said.stale
        found.withdrawals += said.withdrawals
    return found


def _count_orphans(found: Findings, leaves: _Leaves) -> None:
    """Counts those that come next, and passes on behind them."""
    while leaves.leaf is not None and leaves.leaf.position is None:
        found.orphans += 1
        found.lost_noes += Entry.parse(leaves.leaf.entry, f"entry {leaves.at}").kind in NOES
        leaves.pass_on()


class Said:
    """What one person's events add up to, by rules that stand here on their own."""

    def __init__(self) -> None:
        self.grants = self.stale = self.withdrawals = 0
        self.allowed: dict[Purpose, bytes] = {}
        """The grant that stands for each purpose, by its id."""
        self._names: defaultdict[Purpose, deque[bytes]] = defaultdict(lambda: deque(maxlen=REMEMBERED))

    def take_in(self, event: Event) -> None:
        """Follows the person's next event."""
        match event:
            case ConsentWithdrawn(purposes, event_id, _):
                self.withdrawals += 1
                for purpose in purposes:
                    if event_id not in self._names[purpose]:  # else a repetition
                        self._names[purpose].append(event_id)
                        self.allowed.pop(purpose, None)
            case ConsentGranted(purpose=purpose, supersedes=supersedes, event_id=event_id):
                names = self._names[purpose]
                if supersedes == (names[-1] if names else b""):
                    self.grants += 1
                    self.allowed[purpose] = event_id
                elif self.allowed.get(purpose) != event_id:
                    self.stale += 1
            case _:
                pass  # nothing else allows or forbids anything

    def compare(self, granted: Iterable[str]) -> None:
        """Raises StorageUnreadable where the sanctuary goes by more than was said. ``granted``: purposes' names."""
        if more := set(granted) - {purpose.name.lower() for purpose in self.allowed}:
            raise StorageUnreadable(
                f"the sanctuary goes by a yes to {', '.join(sorted(more))}, which no entry of the ledger holds"
            )


class Replay:
    """Everybody's consent once more, compared with the domain's answer after every event."""

    def __init__(self) -> None:
        self._people: dict[str, Sleeper] = {}
        self.said: defaultdict[str, Said] = defaultdict(Said)
        """By stream."""

    def take_in(self, record: Record) -> None:
        """Follows one event. Raises StorageUnreadable where a no became a yes by anything but its person's grant."""
        event, stream = made(read_all(record.data)[0]), record.stream
        if not stream.startswith(PERSON):
            if isinstance(event, PersonEvent):
                raise _touched(record, "an event of a person's stands where anybody may write")
            return  # of a circle or the house: there is nothing of a person's for it to change
        if not isinstance(event, PersonEvent):
            raise _touched(record, "an event of somebody else's stands in a person's stream")
        after = self._people[stream] = sleepers.apply(self._people.get(stream), event)
        said = self.said[stream]
        said.take_in(event)
        for purpose in Purpose:
            grant = after.consent[purpose].grant
            if (None if grant is None else grant.event_id) != said.allowed.get(purpose):
                raise _touched(record, f"{purpose.name.lower()} does not follow from what its person said")


def _touched(record: Record, what: str) -> StorageUnreadable:
    return StorageUnreadable(f"{record.stream}, at {record.position.revision} of the journal: {what}")


def _records(journal: Journal) -> Iterator[Record]:
    after = None
    while page := journal.read(ALL, after, _PAGE):
        yield from page
        after = page[-1].position


def check_opening(entry: Entry, opening: bytes, source: str) -> Record:
    """The event that ``entry`` is of, at no place. Raises StorageUnreadable unless ``opening`` makes just that entry.

    A hash that fits is not enough: an entry also says of what kind the event was, by whom and when.
    """
    if sha256(opening).hexdigest() != entry.commitment:
        raise StorageUnreadable(f"{source} is not the opening of that entry, or was changed: its SHA-256 is another")
    try:
        said = json.loads(opening)
        salt, event_id = bytes.fromhex(said["salt"]), bytes.fromhex(said["event_id"])
        record = Record(said["stream"], Position(0, 0), event_id, said["event"].encode())
        made = entry_of(record, lambda _stream, _event_id: salt)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        raise StorageUnreadable(
            f"{source} is no opening: it is not one line of JSON with salt, stream and event"
        ) from None
    if made != entry:
        raise StorageUnreadable(
            f"{source} opens to something else than its entry says, a {entry.kind} by a {entry.by} in hour"
            f" {entry.hour_s}: whoever made this ledger wrote one thing and shows another"
        )
    return record
