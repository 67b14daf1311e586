"""What every journal does.

Streams are named ``sanctuary``, ``circle/ID`` and ``person/ID``. Every method is thread-safe and may block; none needs
an event loop. An append that returned is on disk (as far as the adapter has one). An append is idempotent by its event
id within its stream: repeating one returns the first one's position and writes nothing.
"""

from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from harmonia.errors import StorageOutcomeUnknown as OutcomeUnknown
from harmonia.errors import StorageUnavailable as Unavailable
from harmonia.errors import WrongExpectedRevision

if TYPE_CHECKING:
    from harmonia.journal.page import Gathering


class Position(NamedTuple):
    """Where an event stands. Opaque: later events compare greater, nothing else may be concluded."""

    epoch: int
    revision: int


class Expected(Enum):
    """What an append expects of its stream, where it does not name a position."""

    NO_STREAM = "no-stream"
    ANY = "any"


NO_STREAM: Final = Expected.NO_STREAM
ANY: Final = Expected.ANY
ALL: Final = None
"""In place of a stream: every stream, in the order of writing."""
SHREDDED: Final = b""
"""In place of an event's data: its person was forgotten, and nobody can read it any more."""


class Record(NamedTuple):
    """One event as it was written."""

    stream: str
    position: Position
    event_id: bytes
    data: bytes


Row = tuple[str, int, bytes, bytes]
"""One event, of an epoch that is known: stream, revision, event id and data. What costs least to read a million of."""


class Snapshot(NamedTuple):
    """A state, and the last event that it holds."""

    position: Position
    data: bytes


class Subscription(Protocol):
    """Events after a position: first those that are there, then live ones."""

    def next(self, timeout_s: float) -> Record | None:
        """The next event; None after ``timeout_s`` without one, or once closed."""

    def close(self) -> None: ...


class Listener(Protocol):
    """What is published to a topic from now on, at most once; the oldest are dropped for a slow listener."""

    def next(self, timeout_s: float) -> bytes | None: ...

    def close(self) -> None: ...


class Journal(Protocol):
    """See the module."""

    @property
    def blocking(self) -> bool:
        """Whether calls may wait for a disk or a network, and so belong into a thread."""

    def append(self, stream: str, expected: Expected | Position, event_id: bytes, data: bytes) -> Position:
        """Writes one event. Raises WrongExpectedRevision, Unavailable or OutcomeUnknown."""

    def read(self, stream: str | None, after: Position | None = None, limit: int | None = None) -> list[Record]:
        """The events of ``stream`` (:data:`ALL`: of all) after a position, oldest first, at most ``limit``."""

    def rows(self, after: Position | None, limit: int) -> tuple[int, list[Row]]:
        """As ``read`` of :data:`ALL`: the epoch, and its rows."""

    def gathering(self) -> "Gathering":
        """What makes pages of such rows: by streams, and unsealed."""

    def save_snapshot(self, stream: str, snapshot: Snapshot) -> None:
        """Keeps ``snapshot`` in place of an earlier one. Losing it costs time, never truth."""

    def load_snapshot(self, stream: str) -> Snapshot | None: ...

    def subscribe(self, stream: str | None, after: Position | None = None) -> Subscription: ...

    def publish(self, topic: str, data: bytes) -> None:
        """Tells everybody who listens now. Nothing is kept."""

    def listen(self, topic: str) -> Listener: ...

    def close(self) -> None:
        """Idempotent. Later calls raise Unavailable."""


__all__ = [
    "ALL",
    "ANY",
    "NO_STREAM",
    "SHREDDED",
    "Expected",
    "Journal",
    "Listener",
    "OutcomeUnknown",
    "Position",
    "Record",
    "Row",
    "Snapshot",
    "Subscription",
    "Unavailable",
    "WrongExpectedRevision",
]
