"""Each person's own key, in a store that is never part of a backup: forgetting somebody is deleting it.

What a journal and its backups have once written cannot be taken back; a key of 32 bytes can. So everything about a
person is sealed under a key of theirs, the keys are here and nowhere else, and what is deleted here is overwritten
(``secure_delete``), also in the write-ahead log, which is overwritten and emptied at once. What a file system or a
flash disk keeps of overwritten blocks is beyond a program's reach.

A key must be on disk before anything that is sealed under it is acknowledged: in the other order a power cut could
leave an acknowledged event that nobody can read. Making a key therefore returns only once it is committed and synced.
Those who wait at the same time share a commit.

Beside the keys it is noted how much of which erasure journal there was when one was deleted last, so that its loss is
noticed.
"""

import os
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import apsw

from harmonia import failpoints
from harmonia.errors import StorageUnavailable, StorageUnreadable
from harmonia.journal.erasures import Erasures, Extent
from harmonia.journal.wiping import Wiping

FORMAT_VERSION = 1
KEY_BYTES = 32

_SCHEMA = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE keys(stream TEXT PRIMARY KEY, key BLOB NOT NULL) WITHOUT ROWID;
"""
_ERASURES = "CREATE TABLE IF NOT EXISTS erasures(size INTEGER NOT NULL, digest BLOB NOT NULL)"
"""One row, or none before the first opening."""


class KeyStore:
    """The keys in the file ``path``, by stream. Thread-safe."""

    def __init__(self, path: Path, *, vfs: str | None = None) -> None:
        """Opens the file, or makes it; ``vfs`` is SQLite's way to it. Raises StorageError."""
        self._path, self._vfs = path, Wiping(vfs)
        try:
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            self._connection = apsw.Connection(str(path), vfs=self._vfs.name)
            self._connection.set_busy_timeout(5_000)
            for pragma in ("secure_delete=ON", "journal_mode=WAL", "synchronous=FULL"):
                self._connection.execute(f"PRAGMA {pragma}").fetchall()
            with self._connection:
                if not self._integer("SELECT count(*) FROM sqlite_schema WHERE name = 'meta'"):
                    self._connection.execute(_SCHEMA)
                    self._connection.execute(f"INSERT INTO meta VALUES ('format', {FORMAT_VERSION})")
                self._connection.execute(_ERASURES)
            version = self._integer("SELECT value FROM meta WHERE key = 'format'")
            if version != FORMAT_VERSION:
                raise StorageUnreadable(
                    f"{path} has format {version}, this version of Harmonia reads {FORMAT_VERSION}: start the version"
                    " that wrote it, or a newer one"
                )
            self._keys = cast("dict[str, bytes]", dict(self._connection.execute("SELECT stream, key FROM keys")))
            noted = self._connection.execute("SELECT size, digest FROM erasures").fetchone()
            self.erasures = None if noted is None else Extent(*cast("tuple[int, bytes]", noted))
            """How much of which erasure journal there was last; None if nobody noted it."""
        except (OSError, apsw.Error) as error:
            raise self._unavailable(error, "opened") from error
        self._wishes: dict[str, bytes] = {}
        self._wishing = threading.Lock()
        self._committing = threading.Lock()

    def __contains__(self, stream: str) -> bool:
        return stream in self._keys

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._keys))

    def get(self, stream: str) -> bytes | None:
        """The key of ``stream``; None if it has none (any more). Also one that another process has made since."""
        key = self._keys.get(stream)
        if key is None:
            try:
                key = cast(
                    "bytes | None", self._connection.execute("SELECT key FROM keys WHERE stream = ?", (stream,)).get
                )
            except apsw.Error as error:
                raise self._unavailable(error, "read") from error
        return key

    def ensure(self, *streams: str) -> None:
        """Returns once each of ``streams`` has a key, and the key is on disk. Raises StorageUnavailable."""
        while missing := [stream for stream in streams if stream not in self._keys]:
            with self._wishing:
                for stream in missing:
                    self._wishes.setdefault(stream, secrets.token_bytes(KEY_BYTES))
            with self._committing:
                if any(stream not in self._keys for stream in missing):  # else another thread has written ours too
                    self._commit()

    def delete(self, *streams: str, erasures: Erasures) -> None:
        """Deletes the keys of ``streams``, beyond recovery from these files. Raises StorageUnavailable.

        Notes how much there is of ``erasures``, which names them already. Repeated, also for nobody, it ends a deletion
        that died on the way.
        """
        with self._committing:
            try:
                with self._connection:
                    self._connection.executemany("DELETE FROM keys WHERE stream = ?", [(stream,) for stream in streams])
                    if (extent := erasures.extent) != self.erasures:
                        self._connection.execute("DELETE FROM erasures")
                        self._connection.execute("INSERT INTO erasures VALUES (?, ?)", extent)
                    failpoints.hit("keys.delete")
                self.erasures = extent
                failpoints.hit("keys.deleted")
                self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
                failpoints.hit("keys.emptied")
            except apsw.Error as error:
                raise self._unavailable(error, "written") from error
            for stream in streams:
                self._keys.pop(stream, None)

    def close(self) -> None:
        """Idempotent."""
        self._connection.close()

    def _commit(self) -> None:
        """Writes all that is wished for at once. Called by one thread at a time."""
        with self._wishing:
            wishes = {stream: key for stream, key in self._wishes.items() if stream not in self._keys}
            self._wishes = {}
        try:
            with self._connection:
                # One may be there already, where nobody heard that it was written.
                self._connection.executemany("INSERT INTO keys VALUES (?, ?) ON CONFLICT DO NOTHING", wishes.items())
                failpoints.hit("keys.commit")
            failpoints.hit("keys.committed")
        except apsw.Error as error:
            raise self._unavailable(error, "written") from error
        self._keys.update((stream, self.get(stream) or key) for stream, key in wishes.items())

    def _integer(self, sql: str) -> int:
        return cast(int, self._connection.execute(sql).get)

    def _unavailable(self, error: Exception, verb: str) -> StorageUnavailable:
        return StorageUnavailable(
            f"{self._path} could not be {verb} ({error}): check the disk and the folder's permissions"
        )
