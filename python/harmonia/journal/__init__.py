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
    Row,
    Snapshot,
    Subscription,
    Unavailable,
    WrongExpectedRevision,
)
from harmonia.journal.page import Gathering, Page, Strand, pages

__all__ = [
    "ALL",
    "ANY",
    "NO_STREAM",
    "SHREDDED",
    "Expected",
    "Gathering",
    "Journal",
    "Listener",
    "OutcomeUnknown",
    "Page",
    "Position",
    "Record",
    "Row",
    "Snapshot",
    "Strand",
    "Subscription",
    "Unavailable",
    "WrongExpectedRevision",
    "pages",
]
