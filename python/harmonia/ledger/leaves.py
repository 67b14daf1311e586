"""Which events the ledger holds, and how little an entry says.

An entry is one line of JSON: of what kind the event was, whether a person or a circle said it, in which hour of node
time, and a commitment. No id is in it, no purpose and no level; the hour is not the instant, so that nobody who later
reads the ledger, and saw somebody press a key at 3:12, finds that entry (who watches it grow may). What the event was
stands in its *opening*, a line of JSON that only its person and the operator can make: event, stream and a salt of 32
bytes. The commitment is the plain SHA-256 of the opening, so `sha256sum` checks it. Without the salt nobody can try out
what was committed to.

A person's salts are derived from their key, a circle's from the ledger's own. Deleting a person's key therefore takes
the events and the salts at once: those entries can be opened by nobody, and the tree stays whole.

The order of entries is that of the journal. All that an entry says follows from the journal and the keys: a ledger that
lost its end in a crash is completed to the same bytes.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256

from harmonia.domain.events import (
    CircleCreated,
    ConsentGranted,
    ConsentWithdrawn,
    OfferAnswered,
    OfferEnded,
    OfferMade,
    OffsetsOffered,
    RoleGranted,
    RoleRevoked,
    RoomLifted,
    RoomSilenced,
    ScheduleSet,
    ScoreSet,
    WeavingSet,
    WishMade,
    WishRemoved,
)
from harmonia.errors import StorageUnreadable
from harmonia.journal import SHREDDED, Record

HOUR_S = 3600

VERSIONS: tuple[Mapping[str, str], ...] = (
    {
        ConsentGranted.__name__: "grant",
        ConsentWithdrawn.__name__: "withdrawal",
        CircleCreated.__name__: "circle",
        WeavingSet.__name__: "mode",
        ScheduleSet.__name__: "schedule",
        ScoreSet.__name__: "score",
        RoleGranted.__name__: "role",
        RoleRevoked.__name__: "role-revoked",
        RoomSilenced.__name__: "silence",
        RoomLifted.__name__: "lift",
        OffsetsOffered.__name__: "offer",
        OfferMade.__name__: "offer",
        OfferEnded.__name__: "offer-ended",
        OfferAnswered.__name__: "answer",
        WishMade.__name__: "wish",
        WishRemoved.__name__: "wish-removed",
    },
)
"""What became an entry from each version on, beside all that did before: an event's type in the journal, and what an
entry calls it. What a version says is never changed. A ledger knows from which entry on it has been of which version
(:meth:`~harmonia.ledger.store.Store.version_at`): an event of a type that came later has no entry before that.
"""

KINDS: Mapping[str, str] = {name: kind for version in VERSIONS for name, kind in version.items()}
"""All of them."""

NOES = frozenset({"withdrawal", "wish"})
"""Entries by which a person takes something back, or will: if one has no event any more, a yes may stand that ended."""

Salt = Callable[[str, bytes], bytes | None]
"""(stream, event id) → 32 bytes that only the stream's owner and the operator know; None once they are forgotten."""

_TYPE = b'{"type":"'


@dataclass(frozen=True, slots=True)
class Entry:
    """What an entry says to everybody."""

    kind: str
    by: str
    """``person`` or ``circle``."""
    hour_s: int
    """Node time of the event, rounded down to the hour; seconds."""
    commitment: str
    """SHA-256 of the opening, hexadecimal."""

    def encode(self) -> bytes:
        """The entry as it is hashed and published."""
        said = {"v": 1, "kind": self.kind, "by": self.by, "hour_s": self.hour_s, "commitment": self.commitment}
        return json.dumps(said, separators=(",", ":")).encode()

    @classmethod
    def parse(cls, data: bytes, source: str) -> "Entry":
        """The entry of ``data``. Raises StorageUnreadable, naming ``source``."""
        try:
            said = json.loads(data)
            version, entry = said.pop("v"), cls(**said)
            if version != 1:
                raise StorageUnreadable(
                    f"{source} holds an entry of version {version!s:.20}: a newer Harmonia reads it"
                )
            if not isinstance(entry.hour_s, int) or not all(
                isinstance(one, str) and one.isprintable() for one in (entry.kind, entry.by, entry.commitment)
            ):
                raise TypeError
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise StorageUnreadable(f"{source} holds an entry that is none of this ledger's: {data[:60]!r}") from None
        return entry


def kind_of(record: Record, version: int | None = None) -> str | None:
    """What an entry would call the event, in a ledger of ``version`` or the newest; None if it becomes none, or nobody
    can tell any more.
    """
    data = record.data
    if not data.startswith(_TYPE):
        return None
    name = data[len(_TYPE) :].partition(b'"')[0].decode("ascii", "replace")
    return next((kinds[name] for kinds in VERSIONS[:version] if name in kinds), None)


def opening_of(record: Record, salt: bytes) -> bytes:
    """The line that the commitment is the SHA-256 of, with its newline."""
    said = {
        "salt": salt.hex(),
        "stream": record.stream,
        "event_id": record.event_id.hex(),
        "event": record.data.decode(),
    }
    return json.dumps(said, separators=(",", ":")).encode() + b"\n"


def entry_of(record: Record, salt: Salt, version: int | None = None) -> Entry | None:
    """The entry of an event, in a ledger of ``version`` or the newest; None if it becomes none.

    Not for one that is shredded.
    """
    kind = kind_of(record, version)
    if kind is None:
        return None
    opened = open_leaf(record, salt)
    if opened is None:
        return None
    hour_s = int(json.loads(record.data)["t_ns"]) // 1_000_000_000 // HOUR_S * HOUR_S
    by = record.stream.partition("/")[0]
    return Entry(kind, by, hour_s, sha256(opened).hexdigest())


def open_leaf(record: Record, salt: Salt) -> bytes | None:
    """The opening of an event's entry; None once nobody can open it."""
    salted = None if record.data == SHREDDED else salt(record.stream, record.event_id)
    return None if salted is None else opening_of(record, salted)
