"""The embedded journal: one SQLite file.

An append must be on disk before it is acknowledged, and a disk makes a few hundred such promises a second, whether
each covers one event or five hundred. So one thread writes: it takes all that is waiting, commits it at once (WAL,
synchronous=FULL: the log is synced at every commit) and only then lets the callers go. Under load the groups grow by
themselves.

Only the writer's connection commits and checkpoints; readers share a second connection. If a group fails because the
disk is full, its appends are tried again one by one: a withdrawal of a hundred bytes may fit where a score did not.
"""

import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, cast

import apsw

from harmonia.errors import StorageUnreadable
from harmonia.journal.interface import ANY, NO_STREAM, Expected, OutcomeUnknown, Position, Record, Snapshot, Unavailable
from harmonia.journal.live import Bell, PollingSubscription, TopicListener, Topics
from harmonia.journal.memory import closed, wrong_revision

FORMAT_VERSION = 2
_GROUP_MAX = 512

_SCHEMA = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE events(revision INTEGER PRIMARY KEY AUTOINCREMENT, stream TEXT NOT NULL, event_id BLOB NOT NULL,
                    data BLOB NOT NULL, UNIQUE(stream, event_id));
CREATE INDEX by_stream ON events(stream, revision);
CREATE TABLE snapshots(stream TEXT PRIMARY KEY, revision INTEGER NOT NULL, data BLOB NOT NULL) WITHOUT ROWID;
"""


class _Append(NamedTuple):
    stream: str
    expected: Expected | Position
    event_id: bytes
    data: bytes


class _Save(NamedTuple):
    stream: str
    snapshot: Snapshot


class _Job(NamedTuple):
    work: _Append | _Save
    done: "Future[Position]"


class SqliteJournal:
    """A journal in the file ``path``, made if it is not there."""

    blocking = True

    def __init__(self, path: Path, *, bytes_max: int | None = None) -> None:
        """Opens or makes the file. ``bytes_max`` is a quota for it. Raises StorageError."""
        self._path = path
        try:
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            self._writing = self._connect()
            self._epoch = _prepare(self._writing, path)
            if bytes_max is not None:
                page = _integer(self._writing, "PRAGMA page_size")
                self._writing.execute(f"PRAGMA max_page_count={max(bytes_max // page, 1)}")
            self._reading = self._connect()
        except (OSError, apsw.Error) as error:
            raise self._unavailable(error, "opened") from error
        self._read_lock = threading.Lock()
        self._bell, self._topics = Bell(), Topics()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closing = threading.Lock()
        self._closed = False
        self._writer = threading.Thread(target=self._write_until_closed, name="journal-writer", daemon=True)
        self._writer.start()

    def append(self, stream: str, expected: Expected | Position, event_id: bytes, data: bytes) -> Position:
        return self._submit(_Append(stream, expected, event_id, data))

    def save_snapshot(self, stream: str, snapshot: Snapshot) -> None:
        self._submit(_Save(stream, snapshot))

    def read(self, stream: str | None, after: Position | None = None, limit: int | None = None) -> list[Record]:
        where, named = ("", ()) if stream is None else ("stream = ? AND", (stream,))
        sql = (
            f"SELECT stream, revision, event_id, data FROM events WHERE {where} revision > ? ORDER BY revision LIMIT ?"
        )
        rows = self._query(sql, (*named, after.revision if after else 0, -1 if limit is None else limit))
        return [Record(name, Position(self._epoch, revision), id_, data) for name, revision, id_, data in rows]

    def load_snapshot(self, stream: str) -> Snapshot | None:
        rows = self._query("SELECT revision, data FROM snapshots WHERE stream = ?", (stream,))
        return Snapshot(Position(self._epoch, rows[0][0]), rows[0][1]) if rows else None

    def subscribe(self, stream: str | None, after: Position | None = None) -> PollingSubscription:
        return PollingSubscription(self.read, self._bell, stream, after)

    def publish(self, topic: str, data: bytes) -> None:
        self._topics.publish(topic, data)

    def listen(self, topic: str) -> TopicListener:
        return self._topics.listen(topic)

    def close(self) -> None:
        with self._closing:
            if self._closed:
                return
            self._closed = True
            self._jobs.put(None)
        self._writer.join()
        with self._read_lock:
            self._reading.close()
        self._writing.close()

    def _connect(self) -> apsw.Connection:
        connection = apsw.Connection(str(self._path))
        connection.set_busy_timeout(5_000)
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}").fetchall()
        return connection

    def _query(self, sql: str, values: tuple[str | int, ...]) -> list[Any]:
        with self._read_lock:
            if self._closed:
                raise closed()
            try:
                return self._reading.execute(sql, values).fetchall()
            except apsw.Error as error:
                raise self._unavailable(error, "read") from error

    def _submit(self, work: _Append | _Save) -> Position:
        job = _Job(work, Future())
        with self._closing:
            if self._closed:
                raise closed()
            self._jobs.put(job)
        return job.done.result()

    def _write_until_closed(self) -> None:
        while (job := self._jobs.get()) is not None:
            group = [job]
            with suppress(queue.Empty):
                while len(group) < _GROUP_MAX:
                    if (another := self._jobs.get_nowait()) is None:
                        self._jobs.put(None)  # for the outer loop
                        break
                    group.append(another)
            self._commit(group)

    def _commit(self, group: list[_Job]) -> None:
        """One transaction for the whole group; every job is answered, whatever happens."""
        answers: list[Position | Exception] = []
        performed = False
        try:
            self._writing.execute("BEGIN IMMEDIATE")
            answers = [self._perform(job.work) for job in group]
            performed = True
            self._writing.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            with suppress(apsw.Error):  # many failures have rolled back already
                self._writing.execute("ROLLBACK")
            if isinstance(error, apsw.FullError) and len(group) > 1:
                for job in group:
                    self._commit([job])
                return
            answers = [self._refusal(error, performed)] * len(group)
        for job, answer in zip(group, answers, strict=True):
            if isinstance(answer, Exception):
                job.done.set_exception(answer)
            else:
                job.done.set_result(answer)
        self._bell.ring()

    def _perform(self, work: _Append | _Save) -> Position | Exception:
        """One job within the transaction. A wrong revision concerns nobody else, so it is an answer, not an error."""
        execute = self._writing.execute
        if isinstance(work, _Save):
            (stream, (position, data)) = work
            execute("INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?)", (stream, position.revision, data))
            return position
        stream, expected, event_id, data = work
        known = execute("SELECT revision FROM events WHERE stream = ? AND event_id = ?", (stream, event_id)).fetchone()
        if known is not None:
            return Position(self._epoch, cast(int, known[0]))
        if expected is not ANY:
            newest = execute("SELECT max(revision) FROM events WHERE stream = ?", (stream,)).fetchone()
            revision = cast("int | None", newest[0] if newest else None)
            last = NO_STREAM if revision is None else Position(self._epoch, revision)
            if expected != last:
                return wrong_revision(stream, expected, last)
        execute("INSERT INTO events(stream, event_id, data) VALUES (?, ?, ?)", (stream, event_id, data))
        return Position(self._epoch, self._writing.last_insert_rowid())

    def _refusal(self, error: Exception, performed: bool) -> Exception:
        if performed and not isinstance(error, apsw.FullError):
            return OutcomeUnknown(
                f"{self._path} may or may not have been written ({error}): check the disk, then repeat the request"
            )
        return self._unavailable(error, "written")

    def _unavailable(self, error: Exception, verb: str) -> Unavailable:
        if isinstance(error, apsw.FullError):
            return Unavailable(f"the disk or quota of {self._path} is full and nothing was written: free some space")
        return Unavailable(f"{self._path} could not be {verb} ({error}): check the disk and the folder's permissions")


def _prepare(connection: apsw.Connection, path: Path) -> int:
    """Makes the tables of a new file, checks those of an old one; returns the journal's epoch."""
    create: Callable[[str], object] = connection.execute
    with connection:
        if not _integer(connection, "SELECT count(*) FROM sqlite_schema WHERE name = 'meta'"):
            create(_SCHEMA)
            create(f"INSERT INTO meta VALUES ('format', {FORMAT_VERSION}), ('epoch', 1)")
    version = _integer(connection, "SELECT value FROM meta WHERE key = 'format'")
    if version > FORMAT_VERSION:
        raise StorageUnreadable(
            f"{path} has format {version}, this version of Harmonia reads up to {FORMAT_VERSION}: start the version"
            " that wrote it, or a newer one"
        )
    if version < FORMAT_VERSION:
        raise StorageUnreadable(f"{path} has the older format {version}: start a sanctuary on its folder to upgrade it")
    return _integer(connection, "SELECT value FROM meta WHERE key = 'epoch'")


def _integer(connection: apsw.Connection, sql: str) -> int:
    return cast(int, connection.execute(sql).get)
