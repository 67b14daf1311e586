"""A journal in which whatever is about a person can be read only with that person's key.

A thin layer between whoever uses a journal and the journal itself: the streams ``person/…`` are sealed on the way in
and unsealed on the way out, everything else passes. Streams, event ids and order stay in the clear; they are needed to
append and to keep the ledger. The cipher is that of :class:`harmonia._core.PersonKey`: a quarter of a microsecond an
event, where a whole append takes two hundred times as long. Nonces are random, of 96 bits, under a key that one
person's events use; the event's id is authenticated with it, so that no event passes for another.

Where somebody was forgotten, their events are :data:`~harmonia.journal.interface.SHREDDED`: there, and empty. A key
that is gone while the erasure journal does not name its person is not taken for that, nor is an event that somebody
emptied.
"""

import hmac
import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from harmonia._core import PersonKey
from harmonia.errors import Forgotten, StorageUnreadable
from harmonia.journal.erasures import Erasures, Mark
from harmonia.journal.interface import (
    SHREDDED,
    Expected,
    Journal,
    Listener,
    Position,
    Record,
    Row,
    Snapshot,
    Subscription,
)
from harmonia.journal.keys import KeyStore
from harmonia.journal.page import Gathering, whole

PERSON = "person/"
_NONCE_BYTES = 12
_SALT = b"harmonia ledger salt v1\0"


def seal(key: PersonKey, event_id: bytes, data: bytes) -> bytes:
    """``data`` sealed as that event, under a nonce drawn for it."""
    return key.seal(os.urandom(_NONCE_BYTES), event_id, data)


class SealedJournal:
    """``inner``, with every person's streams sealed. See the module."""

    def __init__(self, inner: Journal, keys: KeyStore, erasures: Erasures) -> None:
        self._inner, self._keys, self._erasures = inner, keys, erasures
        self._opening: dict[str, PersonKey | None] = {}
        self._writing = Counter[str]()
        """How many appends to a person's stream are on their way."""
        self._ended: set[str] = set()
        self._moved = threading.Condition()

    @property
    def blocking(self) -> bool:
        return self._inner.blocking

    def append(self, stream: str, expected: Expected | Position, event_id: bytes, data: bytes) -> Position:
        """As the journal's. Raises Forgotten for a person who was."""
        if not stream.startswith(PERSON):
            return self._inner.append(stream, expected, event_id, data)
        with self._moved:
            if stream in self._ended:
                raise _forgotten()
            self._writing[stream] += 1
        try:
            return self._inner.append(stream, expected, event_id, seal(self._sealing(stream), event_id, data))
        finally:
            with self._moved:
                self._writing[stream] -= 1
                if not self._writing[stream]:
                    del self._writing[stream]
                self._moved.notify_all()

    @contextmanager
    def ended(self, stream: str) -> Iterator[None]:
        """While the block runs nothing is added to ``stream``: an append raises Forgotten. Those on their way are done.

        Nothing is acknowledged in between, then, of which whoever shreds the stream has not heard.
        """
        with self._moved:
            self._ended.add(stream)
            self._moved.wait_for(lambda: not self._writing[stream])
        try:
            yield
        finally:
            with self._moved:
                self._ended.discard(stream)

    def read(self, stream: str | None, after: Position | None = None, limit: int | None = None) -> list[Record]:
        return [self._unsealed(record) for record in self._inner.read(stream, after, limit)]

    def rows(self, after: Position | None, limit: int) -> tuple[int, list[Row]]:
        """As they were written: sealed."""
        return self._inner.rows(after, limit)

    def gathering(self) -> Gathering:
        keys = {stream: key for stream in self._keys if (key := self._unsealing(stream)) is not None}
        return Gathering(keys, self._looked_at)

    def _looked_at(self, epoch: int, stream: str, revisions: list[int], lines: bytes | None) -> bytes:
        """What does not open by itself, as its person's key opens it that was made meanwhile; nothing, if they were
        forgotten; or what is amiss is raised.
        """
        if lines is None or stream.startswith(PERSON):
            records = self._inner.read(stream, Position(epoch, revisions[0] - 1), len(revisions))
            datas = [self._unsealed(record).data for record in records]
            if set(datas) == {SHREDDED}:
                return SHREDDED
            lines = None if any(not data or b"\n" in data for data in datas) else b"\n".join(datas)
        return whole(epoch, stream, revisions, lines)

    def save_snapshot(self, stream: str, snapshot: Snapshot) -> None:
        if stream.startswith(PERSON):
            snapshot = snapshot._replace(data=seal(self._sealing(stream), b"snapshot", snapshot.data))
        self._inner.save_snapshot(stream, snapshot)

    def load_snapshot(self, stream: str) -> Snapshot | None:
        snapshot = self._inner.load_snapshot(stream)
        if snapshot is None or not stream.startswith(PERSON):
            return snapshot
        key = self._unsealing(stream)
        data = None if key is None else key.open(b"snapshot", snapshot.data)
        return None if data is None else snapshot._replace(data=data)

    def subscribe(self, stream: str | None, after: Position | None = None) -> "_Unsealed":
        return _Unsealed(self, self._inner.subscribe(stream, after))

    def publish(self, topic: str, data: bytes) -> None:
        self._inner.publish(topic, data)

    def listen(self, topic: str) -> Listener:
        return self._inner.listen(topic)

    def close(self) -> None:
        self._inner.close()
        self._keys.close()
        self._erasures.close()

    def salt(self, stream: str, event_id: bytes) -> bytes | None:
        """The salt of one event of a person's; None once they are forgotten."""
        key = self._keys.get(stream)
        return None if key is None else hmac.digest(key, _SALT + event_id, "sha256")

    @property
    def forgot_anybody(self) -> bool:
        """Whether anybody was ever forgotten here."""
        return bool(self._erasures)

    def forgot(self, stream: str) -> bool:
        """Whether that stream's sleeper was forgotten."""
        return stream in self._erasures

    def ledger_mark(self, key_id: bytes) -> Mark | None:
        """How far the ledger of that key had come when somebody was last forgotten."""
        return self._erasures.mark(key_id)

    def note_ledger(self, key_id: bytes, size: int, root: bytes) -> None:
        """Notes how far a ledger has come, where no restore takes it back. Raises StorageUnavailable."""
        self._erasures.note_ledger(key_id, size, root)

    def shred(self, stream: str) -> None:
        """Makes what ``stream`` holds unreadable for ever, here and in every copy. Raises StorageUnavailable."""
        self._erasures.add(stream)
        self._keys.delete(stream, erasures=self._erasures)
        self._opening[stream] = None

    def _sealing(self, stream: str) -> PersonKey:
        if stream not in self._opening:
            if stream in self._erasures:
                raise _forgotten()
            self._keys.ensure(stream)
        key = self._unsealing(stream)
        if key is None:
            raise _forgotten()
        return key

    def _unsealing(self, stream: str) -> PersonKey | None:
        if stream in self._opening:
            return self._opening[stream]
        key = self._keys.get(stream)
        if key is None:
            return None
        return self._opening.setdefault(stream, PersonKey(key))

    def _unsealed(self, record: Record) -> Record:
        if not record.stream.startswith(PERSON):
            if record.data == SHREDDED:
                raise StorageUnreadable(f"{_place(record)} is empty, and was not when written: restore a backup")
            return record
        key = self._unsealing(record.stream)
        if key is None:
            if record.stream not in self._erasures:
                raise StorageUnreadable(
                    f"{_place(record)} cannot be read: its person's key is gone, and the erasure journal does"
                    " not say that they were forgotten; put keys.sqlite back, or the erasure journal"
                )
            return record._replace(data=SHREDDED)
        data = key.open(record.event_id, record.data)
        if data is None:
            raise StorageUnreadable(
                f"the journal holds a damaged event in {record.stream}, at {record.position.revision}: restore a backup"
            )
        return record._replace(data=data)


class _Unsealed:
    """A subscription whose events are unsealed."""

    def __init__(self, journal: SealedJournal, inner: Subscription) -> None:
        self._journal, self._inner = journal, inner

    def next(self, timeout_s: float) -> Record | None:
        record = self._inner.next(timeout_s)
        return None if record is None else self._journal._unsealed(record)

    def close(self) -> None:
        self._inner.close()


def _place(record: Record) -> str:
    return f"the journal's event {record.position.epoch}.{record.position.revision}, in {record.stream},"


def _forgotten() -> Forgotten:
    return Forgotten("this sleeper was forgotten: nothing of theirs sounds or is kept; join anew with a new token")
