"""Who writes the ledger: a thread of its own, behind the journal, in nobody's way.

A withdrawal is acknowledged when the journal has it, and not a moment later for the ledger's sake: the scribe reads
what the journal holds, gathers what comes within a moment, and writes it as one batch. Whatever it had not written
when the power went, it writes after the next start, to the same bytes. Who wants a proof of something new waits for
the scribe, and so does who deletes a key: entries have to be made while they can be.
"""

import logging
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

from harmonia import failpoints
from harmonia.errors import StorageError, StorageUnavailable
from harmonia.journal import ALL, Journal, Position, Record, Subscription
from harmonia.ledger.leaves import NOES, Entry, Salt, entry_of
from harmonia.ledger.note import Signer
from harmonia.ledger.store import Leaf, Store
from harmonia.ledger.tiles import WIDTH

_log = logging.getLogger(__name__)

_BATCH_MAX = 4096
_LISTEN_S = 0.5
_GATHER_S = 0.5
"""How long a batch may grow: two syncs a second are nothing to a disk, also where a withdrawal needs it."""
_GLANCE_S = 0.02
_RETRY_S = 2.0


class Scribe:
    """Keeps ``store`` up with ``journal``."""

    def __init__(self, journal: Journal, store: Store, signer: Signer, salt: Salt) -> None:
        self._journal, self._store, self._signer, self._salt = journal, store, signer, salt
        self._moved = threading.Condition()
        self._closing = threading.Event()
        self._seen: Position | None = None
        self._subscription: Subscription | None = None
        self._waiting = 0
        self._trouble = ""
        self._thread = threading.Thread(target=self._run, name="scribe", daemon=True)

    def start(self) -> None:
        """Compares the ledger with the journal, and goes on writing in a thread. Raises StorageError."""
        failpoints.hit("ledger.start")
        self._seen = reconcile(self._journal, self._store)
        self._store.raise_version()
        if self._store.checkpoint() is None:
            self._store.append([], self._signer)
        self._thread.start()

    def wait_for(self, position: Position, timeout_s: float = 30.0) -> None:
        """Returns once the journal up to ``position`` is in the ledger. Raises StorageUnavailable."""
        with self._moved:
            self._waiting += 1
            try:
                there = self._moved.wait_for(lambda: self._seen is not None and self._seen >= position, timeout_s)
            finally:
                self._waiting -= 1
        if not there:
            why = self._trouble or "it is still being written"
            raise StorageUnavailable(f"the ledger {self._store.path} is behind ({why}): try again later")

    def close(self) -> None:
        """Ends the thread; what it has not written is written after the next start."""
        self._closing.set()
        if self._subscription is not None:
            self._subscription.close()
        if self._thread.ident is not None:
            self._thread.join()

    def write(self, records: Sequence[Record]) -> None:
        """Writes one batch of the journal's events, all that follow on the last."""
        leaves = [
            Leaf(record.position, record.event_id, entry.encode())
            for record in records
            if (entry := entry_of(record, self._salt)) is not None
        ]
        if leaves:
            failpoints.hit("ledger.batch")
            self._store.append(leaves, self._signer)
        self._saw(records[-1].position)

    def _saw(self, position: Position | None) -> None:
        """All up to there is in the ledger."""
        with self._moved:
            self._seen = position
            self._moved.notify_all()

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._follow()
            except StorageError as error:
                self._trouble = str(error)
                _log.error("the ledger waits: %s", error)
                self._closing.wait(_RETRY_S)

    def _follow(self) -> None:
        if self._trouble:  # what failed may be written all the same, and is not written twice
            self._saw(reconcile(self._journal, self._store))
            self._trouble = ""
        subscription = self._subscription = self._journal.subscribe(ALL, self._seen)
        try:
            while not self._closing.is_set():
                record = subscription.next(_LISTEN_S)
                if record is None:
                    continue
                self.write(self._gather(record, subscription))
        finally:
            subscription.close()

    def _gather(self, first: Record, subscription: Subscription) -> list[Record]:
        """What comes within a moment of ``first``; only what is there already, if somebody waits for it."""
        batch, until = [first], time.monotonic() + _GATHER_S
        while len(batch) < _BATCH_MAX and time.monotonic() < until:
            another = subscription.next(0.0 if self._waiting else _GLANCE_S)
            if another is not None:
                batch.append(another)
            elif self._waiting:
                break
        return batch


def reconcile(journal: Journal, store: Store) -> Position | None:
    """After which event the journal has to be read on; makes orphans of entries whose events it has no more.

    Raises StorageError.
    """
    kept, lost, _ = _compare(journal, store)
    if lost:
        _log.warning("%s: the journal ends before the ledger does; entries from %d on are orphans", store.path, kept)
        store.orphan(kept)
    return store.leaves(kept - 1, kept)[0].position if kept else None


def lost_noes(journal: Journal, store: Store) -> int:
    """How many withdrawals and wishes the ledger holds whose events the journal has lost since it was last opened.

    Changes nothing: until :func:`reconcile` has made them orphans, the answer is the same after any crash. Raises
    StorageError.
    """
    *_, noes = _compare(journal, store)
    if noes:
        _log.warning(
            "%s holds %d withdrawals or wishes that the journal has lost, and nobody can tell whose: everybody's yes is"
            " withdrawn, and who waited or had a join token asks for another",
            store.path,
            noes,
        )
    return noes


class _Compared(NamedTuple):
    """What journal and ledger share."""

    kept: int
    """Entries before the end of it."""
    lost: int
    """Those behind it that are no orphans yet."""
    noes: int
    """Withdrawals and wishes among the lost."""


def _compare(journal: Journal, store: Store) -> _Compared:
    """Looks backwards for the newest entry whose event the journal has: it is recognised by its place and its id."""
    kept, lost, noes = store.placed, 0, 0
    while kept:
        for leaf in reversed(store.leaves((kept - 1) // WIDTH * WIDTH, kept)):
            record = None if leaf.position is None else event_at(journal, leaf.position)
            if record is not None and record.event_id == leaf.event_id:
                return _Compared(kept, lost, noes)
            kept -= 1
            if leaf.position is not None:
                lost += 1
                noes += Entry.parse(leaf.entry, str(store.path)).kind in NOES
    return _Compared(0, lost, noes)


def event_at(journal: Journal, position: Position) -> Record | None:
    """The event that the journal has at that place. Raises StorageError."""
    before = position._replace(revision=position.revision - 1)
    return next((record for record in journal.read(ALL, before, limit=1) if record.position == position), None)
