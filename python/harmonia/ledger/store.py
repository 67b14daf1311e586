"""Where a sanctuary keeps its ledger: one SQLite file, that grows by whole batches.

A batch is one transaction: the tiles and bundles that change, which event of the journal became which entry, and the
signed checkpoint. After a crash a batch is there or not, and the ledger goes on from the last one. Nothing in it names
anybody: an entry's event is known by its place in the journal.

What was ever signed is never taken back. If a backup of the journal is restored that ends before the ledger does, the
entries behind its end stay, as *orphans*: events that are in the ledger and no longer in the journal.

Of the checkpoints, one each 256 entries is kept. Whoever was given another has it, and it is shown to be of this ledger
from the tree alone; a copy here would show nothing more.

A newer version of Harmonia may make entries of events that had none before. So the file notes from which entry on it
has been written by which version, and what belongs before that is judged as it was then.
"""

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from string import hexdigits
from typing import NamedTuple, cast

import apsw

from harmonia import failpoints
from harmonia.errors import StorageUnavailable, StorageUnreadable
from harmonia.journal import Position
from harmonia.ledger.leaves import VERSIONS
from harmonia.ledger.note import Checkpoint, Signer
from harmonia.ledger.tiles import WIDTH, bundle, bundle_path, cut_bundle, entries_of, grown, reading, tile_width
from harmonia.ledger.tree import Read, leaf_hash, root_hash

FORMAT_VERSION = 1
_ID_DIGITS = 16
_SINCE = "version "
"""Before a version's number, in meta: the first entry that was written by it. Without one it is version 1."""

_SCHEMA = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE tiles(level INTEGER, idx INTEGER, data BLOB NOT NULL, PRIMARY KEY(level, idx)) WITHOUT ROWID;
CREATE TABLE bundles(idx INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE leaves(idx INTEGER PRIMARY KEY, epoch INTEGER, revision INTEGER, event_id BLOB NOT NULL,
                    UNIQUE(epoch, revision));
CREATE TABLE checkpoints(size INTEGER PRIMARY KEY, note TEXT NOT NULL);
"""


class Leaf(NamedTuple):
    """An entry, and the event of the journal that it is of."""

    position: Position | None
    """None: an orphan's."""
    event_id: bytes
    entry: bytes


class Store:
    """The ledger in the file ``path``. Thread-safe; one process writes, others may read."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Opens the file, or makes it. Raises StorageError."""
        self.path, self._lock = path, threading.RLock()
        try:
            if read_only:
                self._connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
                self._connection.execute("PRAGMA query_only=ON")
            else:
                os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
                self._connection = apsw.Connection(str(path))
                for pragma in ("journal_mode=WAL", "synchronous=FULL"):
                    self._connection.execute(f"PRAGMA {pragma}").fetchall()
            self._connection.set_busy_timeout(5_000)
            with self._connection:
                if not read_only and not self._one("SELECT count(*) FROM sqlite_schema WHERE name = 'meta'"):
                    self._connection.execute(_SCHEMA)
                    self._connection.execute(f"INSERT INTO meta VALUES ('format', {FORMAT_VERSION})")
        except (OSError, apsw.Error) as error:
            raise self._unavailable(error) from error
        version = self._one("SELECT value FROM meta WHERE key = 'format'")
        if version != FORMAT_VERSION:
            raise StorageUnreadable(
                f"{path} has format {version}, this version of Harmonia reads {FORMAT_VERSION}: start the version that"
                " wrote it, or a newer one"
            )
        rows = self._rows("SELECT key, value FROM meta WHERE key LIKE ?", f"{_SINCE}%")
        self._since = {int(cast(str, key).removeprefix(_SINCE)): cast(int, first) for key, first in rows}
        if max(self._since, default=1) > len(VERSIONS):
            raise StorageUnreadable(
                f"{path} has entries of version {max(self._since)}, this version of Harmonia knows up to"
                f" {len(VERSIONS)}: start the version that wrote it, or a newer one"
            )

    @property
    def size(self) -> int:
        """How many entries there are."""
        return cast(int, self._one("SELECT coalesce(max(idx) + 1, 0) FROM leaves"))

    @property
    def placed(self) -> int:
        """How many there are up to the last one that is no orphan."""
        last = self._one("SELECT idx FROM leaves WHERE revision IS NOT NULL ORDER BY idx DESC LIMIT 1")
        return 0 if last is None else cast(int, last) + 1

    def version_at(self, index: int) -> int:
        """By which of :data:`~harmonia.ledger.leaves.VERSIONS` entry ``index`` was chosen, or what comes before it."""
        return max((version for version, first in self._since.items() if first <= index), default=1)

    def raise_version(self) -> None:
        """From the next entry on it is the newest. Raises StorageUnavailable."""
        newest, size = len(VERSIONS), self.size
        if newest > max(self._since, default=1):
            try:
                self._execute("INSERT INTO meta VALUES (?, ?)", f"{_SINCE}{newest}", size)
            except apsw.Error as error:
                raise self._unavailable(error) from error
            self._since[newest] = size

    def read_tile(self, level: int, index: int) -> bytes:
        data = self._one("SELECT data FROM tiles WHERE level = ? AND idx = ?", level, index)
        if data is None:
            raise StorageUnreadable(f"{self.path} is damaged: its tile {level}/{index} is missing; restore a backup")
        return cast(bytes, data)

    @property
    def read(self) -> Read:
        """The tree's hashes."""
        return reading(self.read_tile)

    def bundle(self, index: int) -> bytes:
        """As many entries as there are of that bundle."""
        return cast("bytes | None", self._one("SELECT data FROM bundles WHERE idx = ?", index)) or b""

    def entries(self, start: int, end: int) -> list[bytes]:
        """The entries from ``start`` to below ``end``, as they are published."""
        size, found = self.size, list[bytes]()
        for index in range(start // WIDTH, -(-end // WIDTH)):
            width = tile_width(0, index, size)
            data = cut_bundle(self.bundle(index), width)  # it may have grown since
            whole = entries_of(data, width, f"{self.path}: {bundle_path(index, width)}")
            found += whole[max(start - index * WIDTH, 0) : end - index * WIDTH]
        return found

    def index_of(self, position: Position) -> int | None:
        """Which entry the event at that place became."""
        return cast("int | None", self._one("SELECT idx FROM leaves WHERE epoch = ? AND revision = ?", *position))

    def search(self, id: str) -> list[int]:
        """The entries that ``id`` may mean: a number, or the end of an event's id, 16 hexadecimal digits or more."""
        text = id.strip().lower()
        if len(text) < _ID_DIGITS:
            return [int(text)] if text.isdecimal() and int(text) < self.size else []
        if not set(text) <= set(hexdigits):
            return []
        rows = self._rows("SELECT idx FROM leaves WHERE lower(hex(event_id)) LIKE ?", f"%{text}")
        return [cast(int, index) for (index,) in rows]

    def leaves(self, start: int, end: int) -> list[Leaf]:
        """The entries from ``start`` to below ``end``."""
        rows = self._rows(
            "SELECT epoch, revision, event_id FROM leaves WHERE idx >= ? AND idx < ? ORDER BY idx", start, end
        )
        places = cast("list[tuple[int, int | None, bytes]]", rows)
        return [
            Leaf(None if revision is None else Position(epoch, revision), event_id, entry)
            for (epoch, revision, event_id), entry in zip(places, self.entries(start, end), strict=True)
        ]

    def checkpoints(self) -> list[Checkpoint]:
        """The last that was signed within each full bundle of entries, and the newest; oldest first."""
        rows = self._rows("SELECT note FROM checkpoints ORDER BY size")
        return [Checkpoint.parse(cast(str, note), f"a checkpoint in {self.path}") for (note,) in rows]

    def checkpoint(self) -> Checkpoint | None:
        """The newest one; None before the first."""
        note = self._one("SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1")
        return None if note is None else Checkpoint.parse(cast(str, note), f"the newest checkpoint in {self.path}")

    def append(self, leaves: Sequence[Leaf], signer: Signer) -> None:
        """Writes a batch, all of it or nothing, and its checkpoint. Raises StorageUnavailable."""
        with self._lock:
            size = self.size
            tiles = grown(self.read_tile, size, [leaf_hash(leaf.entry) for leaf in leaves])
            try:
                with self._connection:
                    failpoints.hit("ledger.begun")
                    for (level, index), data in tiles.items():
                        self._execute("INSERT OR REPLACE INTO tiles VALUES (?, ?, ?)", level, index, data)
                    self._extend_bundles(size, [leaf.entry for leaf in leaves])
                    for at, leaf in enumerate(leaves, size):
                        assert leaf.position is not None, "what is written is in the journal"
                        self._execute("INSERT INTO leaves VALUES (?, ?, ?, ?)", at, *leaf.position, leaf.event_id)
                    new = Checkpoint(signer.name, size + len(leaves), root_hash(self.read, size + len(leaves)))
                    failpoints.hit("ledger.sign")
                    signed = str(new.signed(signer.sign(new.text)))
                    self._execute("DELETE FROM checkpoints WHERE size >= ?", new.size - new.size % WIDTH)
                    self._execute("INSERT INTO checkpoints VALUES (?, ?)", new.size, signed)
                    failpoints.hit("ledger.commit")
                failpoints.hit("ledger.committed")
            except apsw.Error as error:
                raise self._unavailable(error) from error

    def orphan(self, first: int) -> None:
        """Entries from ``first`` on are of events that the journal has no more. Raises StorageUnavailable."""
        try:
            with self._lock, self._connection:
                self._execute("UPDATE leaves SET revision = NULL WHERE idx >= ?", first)
        except apsw.Error as error:
            raise self._unavailable(error) from error

    def close(self) -> None:
        """Idempotent."""
        self._connection.close()

    def _extend_bundles(self, size: int, entries: Sequence[bytes]) -> None:
        at = size
        while entries:
            index, filled = divmod(at, WIDTH)
            part, entries = entries[: WIDTH - filled], entries[WIDTH - filled :]
            data = (self.bundle(index) if filled else b"") + bundle(part)
            self._execute("INSERT OR REPLACE INTO bundles VALUES (?, ?)", index, data)
            at += len(part)

    def _execute(self, sql: str, *values: int | str | bytes) -> None:
        self._connection.execute(sql, values)

    def _rows(self, sql: str, *values: int | str) -> list[tuple[object, ...]]:
        with self._lock:
            try:
                return cast("list[tuple[object, ...]]", self._connection.execute(sql, values).fetchall())
            except apsw.Error as error:
                raise self._unavailable(error) from error

    def _one(self, sql: str, *values: int) -> object:
        rows = self._rows(sql, *values)
        return rows[0][0] if rows else None

    def _unavailable(self, error: Exception) -> StorageUnavailable:
        return StorageUnavailable(f"the ledger {self.path} could not be used ({error}): check the disk and the file")
