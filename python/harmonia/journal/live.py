"""What adapters within one process share: waiting for new events, and topics."""

import threading
from collections import defaultdict, deque
from collections.abc import Callable

from harmonia.journal.interface import Position, Record

_BATCH = 256
_BACKLOG_MAX = 1024

Read = Callable[[str | None, Position | None, int | None], list[Record]]


class Bell:
    """Rings whenever something was appended."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._count = 0

    @property
    def count(self) -> int:
        return self._count

    def ring(self) -> None:
        with self._condition:
            self._count += 1
            self._condition.notify_all()

    def wait(self, heard: int, timeout_s: float) -> bool:
        """Waits until it has rung since ``count`` was ``heard``; False after ``timeout_s``."""
        with self._condition:
            return self._condition.wait_for(lambda: self._count != heard, timeout_s)


class PollingSubscription:
    """Reads on from a position whenever the bell rings: catch-up and live are the same query, so no gap between."""

    def __init__(self, read: Read, bell: Bell, stream: str | None, after: Position | None) -> None:
        self._read, self._bell, self._stream, self._after = read, bell, stream, after
        self._ready: deque[Record] = deque()
        self._closed = False

    def next(self, timeout_s: float) -> Record | None:
        while not self._closed:
            heard = self._bell.count
            if not self._ready:
                self._ready.extend(self._read(self._stream, self._after, _BATCH))
            if self._ready:
                record = self._ready.popleft()
                self._after = record.position
                return record
            if not self._bell.wait(heard, timeout_s):
                return None
        return None

    def close(self) -> None:
        self._closed = True
        self._bell.ring()


class TopicListener:
    """One listener's bounded backlog."""

    def __init__(self, forget: Callable[["TopicListener"], None]) -> None:
        self._forget = forget
        self._condition = threading.Condition()
        self._backlog: deque[bytes] = deque(maxlen=_BACKLOG_MAX)
        self._closed = False

    def put(self, data: bytes) -> None:
        with self._condition:
            self._backlog.append(data)
            self._condition.notify()

    def next(self, timeout_s: float) -> bytes | None:
        with self._condition:
            self._condition.wait_for(lambda: self._backlog or self._closed, timeout_s)
            return self._backlog.popleft() if self._backlog and not self._closed else None

    def close(self) -> None:
        with self._condition:
            self._closed = True
            self._condition.notify_all()
        self._forget(self)


class Topics:
    """At most once, within this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: defaultdict[str, list[TopicListener]] = defaultdict(list)

    def publish(self, topic: str, data: bytes) -> None:
        with self._lock:
            listeners = list(self._listeners.get(topic, ()))
        for listener in listeners:
            listener.put(data)

    def listen(self, topic: str) -> TopicListener:
        def forget(listener: TopicListener) -> None:
            with self._lock:
                self._listeners[topic] = [other for other in self._listeners[topic] if other is not listener]

        listener = TopicListener(forget)
        with self._lock:
            self._listeners[topic].append(listener)
        return listener
