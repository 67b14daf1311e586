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
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple, cast

import apsw

from harmonia import failpoints
from harmonia.errors import StorageError, StorageUnreadable
from harmonia.journal.interface import (
    ANY,
    NO_STREAM,
    Expected,
    OutcomeUnknown,
    Position,
    Record,
    Row,
    Snapshot,
    Unavailable,
)
from harmonia.journal.live import Bell, PollingSubscription, TopicListener, Topics
from harmonia.journal.memory import closed, wrong_revision
from harmonia.journal.page import PLAIN, Gathering

FORMAT_VERSION = 2
_GROUP_MAX = 512
CHECKPOINT_PAGES = 1000

_SCHEMA = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE events(revision INTEGER PRIMARY KEY AUTOINCREMENT, stream TEXT NOT NULL, event_id BLOB NOT NULL,
                    data BLOB NOT NULL, UNIQUE(stream, event_id));
CREATE INDEX by_stream ON events(stream, revision);
CREATE TABLE snapshots(stream TEXT PRIMARY KEY, revision INTEGER NOT NULL, data BLOB NOT NULL) WITHOUT ROWID;
"""
_KNOWN = "SELECT revision FROM events WHERE stream = ? AND event_id = ?"
_INSERT = "INSERT INTO events(stream, event_id, data) VALUES (?, ?, ?) ON CONFLICT DO NOTHING RETURNING revision"


class _Append(NamedTuple):
    stream: str
    expected: Expected | Position
    event_id: bytes
    data: bytes


class _Save(NamedTuple):
    stream: str
    snapshot: Snapshot


class _Job:
    """What one caller wants written, and waits for: a lock costs a tenth of what a future does."""

    __slots__ = ("_answer", "_answered", "work")

    def __init__(self, work: _Append | _Save) -> None:
        self.work = work
        self._answer: Position | Exception | None = None
        self._answered = threading.Lock()
        self._answered.acquire()

    def answer(self, answer: Position | Exception) -> None:
        """Lets the caller go. Once."""
        self._answer = answer
        self._answered.release()

    def wait(self) -> Position:
        """The answer; raises it if it is an error."""
        self._answered.acquire()
        assert self._answer is not None
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


class SqliteJournal:
    """A journal in the file ``path``, made if it is not there."""

    blocking = True

    def __init__(
        self,
        path: Path,
        *,
        bytes_max: int | None = None,
        vfs: str | None = None,
        checkpoint_pages: int = CHECKPOINT_PAGES,
    ) -> None:
        """Opens or makes the file. Raises StorageError.

        ``bytes_max`` is a quota for it, ``vfs`` SQLite's way to it. The log is moved into the file once it has so many
        pages.
        """
        self._path, self._vfs, self._checkpoint_pages = path, vfs, checkpoint_pages
        self._log_pages = 0
        failpoints.hit("journal.open")
        with ExitStack() as opened:
            try:
                os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
                self._writing = self._connect(opened)
                self._epoch = _prepare(self._writing, path)
                if bytes_max is not None:
                    page = _integer(self._writing, "PRAGMA page_size")
                    self._writing.execute(f"PRAGMA max_page_count={max(bytes_max // page, 1)}")
                self._reading = self._connect(opened)
                # In place of SQLite's own checkpoint, which is part of the commit that it happens to fall on.
                self._writing.set_wal_hook(self._log_grew)
            except (OSError, apsw.Error) as error:
                raise self._unavailable(error, "opened") from error
            opened.pop_all()
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
        rows = self._rows(stream, after, limit)
        return [Record(name, Position(self._epoch, revision), id_, data) for name, revision, id_, data in rows]

    def rows(self, after: Position | None, limit: int) -> tuple[int, list[Row]]:
        return self._epoch, self._rows(None, after, limit)

    def gathering(self) -> Gathering:
        return PLAIN

    def _rows(self, stream: str | None, after: Position | None, limit: int | None) -> list[Row]:
        where, named = ("", ()) if stream is None else ("stream = ? AND", (stream,))
        sql = (
            f"SELECT stream, revision, event_id, data FROM events WHERE {where} revision > ? ORDER BY revision LIMIT ?"
        )
        failpoints.hit("journal.read")
        return self._query(sql, (*named, after.revision if after else 0, -1 if limit is None else limit))

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
        failpoints.hit("journal.close")
        with self._read_lock:
            _close(self._reading)
        _close(self._writing)

    def _connect(self, opened: ExitStack) -> apsw.Connection:
        connection = apsw.Connection(str(self._path), vfs=self._vfs)
        opened.callback(_close, connection)
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
        job = _Job(work)
        with self._closing:
            if self._closed:
                raise closed()
            self._jobs.put(job)
        failpoints.hit("journal.submitted")
        position = job.wait()
        failpoints.hit("journal.answered")
        return position

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
            if self._log_pages >= self._checkpoint_pages:
                self._checkpoint()

    def _commit(self, group: list[_Job]) -> None:
        """One transaction for the whole group; every job is answered, whatever happens."""
        answers: list[Position | Exception] = []
        performed = False
        try:
            failpoints.hit("journal.taken")
            self._writing.execute("BEGIN IMMEDIATE")
            failpoints.hit("journal.begun")
            answers = [self._perform(job.work) for job in group]
            performed = True
            failpoints.hit("journal.commit")
            self._writing.execute("COMMIT")
            failpoints.hit("journal.committed")
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            with suppress(apsw.Error):  # many failures have rolled back already
                self._writing.execute("ROLLBACK")
            if isinstance(error, apsw.FullError) and len(group) > 1:
                for job in group:
                    self._commit([job])
                return
            answers = [self._refusal(error, performed)] * len(group)
        for job, answer in zip(group, answers, strict=True):
            job.answer(answer)
        self._bell.ring()

    def _perform(self, work: _Append | _Save) -> Position | Exception:
        """One job within the transaction. A wrong revision concerns nobody else, so it is an answer, not an error."""
        execute = self._writing.execute
        if isinstance(work, _Save):
            (stream, (position, data)) = work
            execute("INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?)", (stream, position.revision, data))
            return position
        stream, expected, event_id, data = work
        if expected is not ANY:
            known = execute(_KNOWN, (stream, event_id)).get
            if known is not None:
                return Position(self._epoch, cast(int, known))
            newest = execute("SELECT max(revision) FROM events WHERE stream = ?", (stream,)).get
            last = NO_STREAM if newest is None else Position(self._epoch, cast(int, newest))
            if expected != last:
                return wrong_revision(stream, expected, last)
        failpoints.hit("journal.insert")
        revision = execute(_INSERT, (stream, event_id, data)).get
        failpoints.hit("journal.inserted")
        if revision is None:  # it is there already
            revision = execute(_KNOWN, (stream, event_id)).get
        return Position(self._epoch, cast(int, revision))

    def _log_grew(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        self._log_pages = pages
        return apsw.SQLITE_OK

    def _checkpoint(self) -> None:
        """Moves what is in the log into the file, once those who wait are answered. If it fails, the next one does."""
        with suppress(apsw.Error, StorageError):
            failpoints.hit("journal.checkpoint")
            self._writing.wal_checkpoint()
            self._log_pages = 0
            failpoints.hit("journal.checkpointed")

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
            failpoints.hit("journal.schema")
    kept: dict[Any, Any] = dict(cast(Any, connection.execute("SELECT key, value FROM meta").fetchall()))
    version, epoch = kept.get("format"), kept.get("epoch")
    if not isinstance(version, int) or not isinstance(epoch, int):
        raise StorageUnreadable(f"{path} does not say which format it has: restore it from a backup")
    if version > FORMAT_VERSION:
        raise StorageUnreadable(
            f"{path} has format {version}, this version of Harmonia reads up to {FORMAT_VERSION}: start the version"
            " that wrote it, or a newer one"
        )
    if version < FORMAT_VERSION:
        raise StorageUnreadable(f"{path} has the older format {version}: start a sanctuary on its folder to upgrade it")
    return epoch


def _close(connection: apsw.Connection) -> None:
    """Whatever the disk says: all that was promised is on it already."""
    with suppress(apsw.Error):
        connection.close()


def _integer(connection: apsw.Connection, sql: str) -> int:
    return cast(int, connection.execute(sql).get)
