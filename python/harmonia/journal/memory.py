"""A journal that forgets everything when its process ends: for tests and virtual time."""

import threading
from collections import defaultdict

from harmonia.journal.interface import (
    ANY,
    NO_STREAM,
    Expected,
    Position,
    Record,
    Row,
    Snapshot,
    Unavailable,
    WrongExpectedRevision,
)
from harmonia.journal.live import Bell, PollingSubscription, TopicListener, Topics
from harmonia.journal.page import PLAIN, Gathering


class MemoryJournal:
    """Never waits: an engine in virtual time may call it inline."""

    blocking = False

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: list[Record] = []
        self._streams: defaultdict[str, list[Record]] = defaultdict(list)
        self._by_id: dict[tuple[str, bytes], Position] = {}
        self._snapshots: dict[str, Snapshot] = {}
        self._bell, self._topics = Bell(), Topics()
        self._closed = False

    def append(self, stream: str, expected: Expected | Position, event_id: bytes, data: bytes) -> Position:
        with self._lock:
            self._check_open()
            if (known := self._by_id.get((stream, event_id))) is not None:
                return known
            last = self._streams[stream][-1].position if self._streams[stream] else NO_STREAM
            if expected is not ANY and expected != last:
                raise wrong_revision(stream, expected, last)
            record = Record(stream, Position(1, len(self._records) + 1), event_id, data)
            self._records.append(record)
            self._streams[stream].append(record)
            self._by_id[stream, event_id] = record.position
        self._bell.ring()
        return record.position

    def read(self, stream: str | None, after: Position | None = None, limit: int | None = None) -> list[Record]:
        with self._lock:
            self._check_open()
            records = self._records if stream is None else self._streams[stream]
            return [record for record in records if after is None or record.position > after][:limit]

    def rows(self, after: Position | None, limit: int) -> tuple[int, list[Row]]:
        records = self.read(None, after, limit)
        return 1, [(stream, position.revision, event_id, data) for stream, position, event_id, data in records]

    def gathering(self) -> Gathering:
        return PLAIN

    def save_snapshot(self, stream: str, snapshot: Snapshot) -> None:
        with self._lock:
            self._check_open()
            self._snapshots[stream] = snapshot

    def load_snapshot(self, stream: str) -> Snapshot | None:
        with self._lock:
            self._check_open()
            return self._snapshots.get(stream)

    def subscribe(self, stream: str | None, after: Position | None = None) -> PollingSubscription:
        return PollingSubscription(self.read, self._bell, stream, after)

    def publish(self, topic: str, data: bytes) -> None:
        self._topics.publish(topic, data)

    def listen(self, topic: str) -> TopicListener:
        return self._topics.listen(topic)

    def close(self) -> None:
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise closed()


def wrong_revision(stream: str, expected: Expected | Position, last: Expected | Position) -> WrongExpectedRevision:
    """The error of an append to a stream that is elsewhere."""
    return WrongExpectedRevision(f"{stream} is at {_name(last)}, not at {_name(expected)}: read it and decide anew")


def closed() -> Unavailable:
    """The error of every call after close."""
    return Unavailable("the journal is closed: the sanctuary is shutting down; try again once it has restarted")


def _name(place: Expected | Position) -> str:
    return f"{place.epoch}.{place.revision}" if isinstance(place, Position) else place.value
