"""The event journal: what must not be lost, in order. One interface, siblings behind one conformance suite."""

from harmonia.journal.interface import (
    ALL,
    ANY,
    NO_STREAM,
    SHREDDED,
    Expected,
    Journal,
    Listener,
    OutcomeUnknown,
    Position,
    Record,
    Snapshot,
    Subscription,
    Unavailable,
    WrongExpectedRevision,
)

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
    "Snapshot",
    "Subscription",
    "Unavailable",
    "WrongExpectedRevision",
]
