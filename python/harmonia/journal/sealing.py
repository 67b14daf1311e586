"""A journal in which whatever is about a person can be read only with that person's key.

A thin layer between whoever uses a journal and the journal itself: the streams ``person/…`` are sealed on the way in
and unsealed on the way out, everything else passes. Streams, event ids and order stay in the clear; they are needed to
append and to keep the ledger. The cipher is AES-256-GCM, for which machines have instructions: half a microsecond an
event, where a whole append takes a hundred times as long. Nonces are random, of 96 bits, under a key that one person's
events use; the event's id is authenticated with it, so that no event passes for another.

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

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from harmonia.errors import Forgotten, StorageUnreadable
from harmonia.journal.erasures import Erasures, Mark
from harmonia.journal.interface import SHREDDED, Expected, Journal, Listener, Position, Record, Snapshot, Subscription
from harmonia.journal.keys import KeyStore

PERSON = "person/"
_NONCE_BYTES = 12
_SALT = b"harmonia ledger salt v1\0"


def seal(cipher: AESGCM, event_id: bytes, data: bytes) -> bytes:
    """``data`` sealed: a nonce, then the ciphertext."""
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + cipher.encrypt(nonce, data, event_id)


def unseal(cipher: AESGCM, event_id: bytes, data: bytes) -> bytes:
    """The inverse. Raises InvalidTag on damage, or another event's data."""
    return cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], event_id)


class SealedJournal:
    """``inner``, with every person's streams sealed. See the module."""

    def __init__(self, inner: Journal, keys: KeyStore, erasures: Erasures) -> None:
        self._inner, self._keys, self._erasures = inner, keys, erasures
        self._ciphers: dict[str, AESGCM | None] = {}
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
        return self._unsealed(self._inner.read(stream, after, limit))

    def save_snapshot(self, stream: str, snapshot: Snapshot) -> None:
        if stream.startswith(PERSON):
            snapshot = snapshot._replace(data=seal(self._sealing(stream), b"snapshot", snapshot.data))
        self._inner.save_snapshot(stream, snapshot)

    def load_snapshot(self, stream: str) -> Snapshot | None:
        snapshot = self._inner.load_snapshot(stream)
        if snapshot is None or not stream.startswith(PERSON):
            return snapshot
        cipher = self._unsealing(stream)
        return None if cipher is None else snapshot._replace(data=unseal(cipher, b"snapshot", snapshot.data))

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
        self._ciphers[stream] = None

    def _sealing(self, stream: str) -> AESGCM:
        if stream not in self._ciphers:
            if stream in self._erasures:
                raise _forgotten()
            self._keys.ensure(stream)
        cipher = self._unsealing(stream)
        if cipher is None:
            raise _forgotten()
        return cipher

    def _unsealing(self, stream: str) -> AESGCM | None:
        if stream in self._ciphers:
            return self._ciphers[stream]
        key = self._keys.get(stream)
        if key is None:
            return None
        return self._ciphers.setdefault(stream, AESGCM(key))

    def _unsealed(self, records: list[Record]) -> list[Record]:
        """A batch at once: what a replay of a million events spends much of its time on."""
        out, known = list[Record](), self._ciphers.get
        for record in records:
            stream, position, event_id, data = record
            cipher = known(stream)
            if cipher is None:
                if not stream.startswith(PERSON):
                    if data == SHREDDED:
                        raise StorageUnreadable(
                            f"{_place(record)} is empty, and was not when written: restore a backup"
                        )
                    out.append(record)
                    continue
                cipher = self._unsealing(stream)
                if cipher is None:
                    if stream not in self._erasures:
                        raise StorageUnreadable(
                            f"{_place(record)} cannot be read: its person's key is gone, and the erasure journal does"
                            " not say that they were forgotten; put keys.sqlite back, or the erasure journal"
                        )
                    out.append(Record(stream, position, event_id, SHREDDED))
                    continue
            try:
                opened = cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], event_id)
            except (InvalidTag, ValueError):
                raise StorageUnreadable(
                    f"the journal holds a damaged event in {stream}, at {position.revision}: restore a backup"
                ) from None
            out.append(Record(stream, position, event_id, opened))
        return out


class _Unsealed:
    """A subscription whose events are unsealed."""

    def __init__(self, journal: SealedJournal, inner: Subscription) -> None:
        self._journal, self._inner = journal, inner

    def next(self, timeout_s: float) -> Record | None:
        record = self._inner.next(timeout_s)
        return None if record is None else self._journal._unsealed([record])[0]

    def close(self) -> None:
        self._inner.close()


def _place(record: Record) -> str:
    return f"the journal's event {record.position.epoch}.{record.position.revision}, in {record.stream},"


def _forgotten() -> Forgotten:
    return Forgotten("this sleeper was forgotten: nothing of theirs sounds or is kept; join anew with a new token")
