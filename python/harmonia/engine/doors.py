"""The two doors by which a withdrawal comes in, past every queue: an RPC handler's thread, and a sealed datagram.

The order is always the same: mute in memory, write and sync, acknowledge. If the disk refuses, the mute stays and the
person is told so; only the acknowledgement is missing, and the client goes on repeating. Nothing here waits for the
engine's thread: it is told, not asked.

Two doors and many threads, but one order: a withdrawal is written behind those that came into force before it. The
obvious way, each thread its own in its own time, would let an older no land behind a newer one and be the newest for
whoever reads the journal, so that a grant that answers the older would lift both.
"""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from harmonia import failpoints
from harmonia.domain import sleeper as sleepers
from harmonia.domain.consent import ALL_PURPOSES, Consent, Purpose, parse_event_id
from harmonia.domain.events import ConsentWithdrawn, encode
from harmonia.engine.desk import Desk
from harmonia.engine.person import Person, Unrecorded
from harmonia.errors import MutedNotRecorded, StorageError
from harmonia.journal import ANY, OutcomeUnknown, Position

_log = logging.getLogger(__name__)

_THREADS = 8
_POLL_S = 0.2
_REPEATS = 3

_UNKNOWN_SLEEPER = (LookupError, ValueError, OSError)
"""What the data plane raises for somebody who is not on it (any more)."""

Post = Callable[[Callable[[], None]], None]
"""Runs something in the engine's thread, soon. Any thread may call it."""


class Withdrawal(NamedTuple):
    """One that is in force in memory and still has to be written."""

    person: Person
    unrecorded: Unrecorded
    gate_epoch: int
    before: tuple[Unrecorded, ...]
    """Those in force before it that were not known to be on disk."""


class Withdrawn(NamedTuple):
    """The answer to a withdrawal that is on disk."""

    consent: Consent
    gate_epoch: int
    """No frame sealed at this epoch or later holds the voice; 0 if the voice was not withdrawn."""


class Doors:
    """Both doors. Every method may be called from any thread."""

    def __init__(self, desk: Desk, post: Post) -> None:
        self._desk = desk
        self._post = post
        self._closing = threading.Event()
        self._listener = threading.Thread(target=self._listen, name="withdrawals", daemon=True)
        self._helpers = ThreadPoolExecutor(_THREADS, thread_name_prefix="withdrawal")

    def mute(self, person: Person, purposes: frozenset[Purpose], event_id: bytes) -> Withdrawal:
        """The first half: puts the withdrawal in force. Returns at once."""
        parse_event_id(event_id)
        failpoints.hit("withdrawal.mute")
        gate_epoch = self._mute(person, purposes, event_id)
        event = ConsentWithdrawn(tuple(sorted(purposes)), event_id, self._desk.now_ns())
        unrecorded, before = person.narrow(event, journal_key(event))
        if unrecorded.behind is not None:
            # A grant that answers another no may have lowered the gate in between; it knows of this one from here on.
            gate_epoch = self._mute(person, purposes, event_id)
        failpoints.hit("withdrawal.muted")
        self._post(person.tell)
        return Withdrawal(person, unrecorded, gate_epoch, before)

    def record(self, withdrawal: Withdrawal) -> Withdrawn:
        """The second half: blocks until it is on disk. Raises MutedNotRecorded if it cannot be written."""
        person, unrecorded, gate_epoch, before = withdrawal
        for one in (*before, unrecorded):
            position = self._write(person, one.event, one.key)
            if one.stale(position):
                position = self._write(person, one.event, one.key_again)
        self._post(lambda: person.recorded(unrecorded.key, position))
        return Withdrawn(sleepers.apply(person.sleeper, unrecorded.event).consent, gate_epoch)

    def withdraw(self, person: Person, purposes: frozenset[Purpose], event_id: bytes) -> Withdrawn:
        """Both halves."""
        return self.record(self.mute(person, purposes, event_id))

    def listen(self) -> None:
        """Opens the second door: withdrawals that the data plane hears."""
        self._listener.start()

    def close(self) -> None:
        """Stops listening; withdrawals that have come in are still written."""
        self._closing.set()
        if self._listener.ident is not None:
            self._listener.join()
        self._helpers.shutdown(wait=True)

    def _mute(self, person: Person, purposes: frozenset[Purpose], event_id: bytes) -> int:
        if Purpose.VOICE not in purposes:
            return 0
        try:
            return self._desk.plane.mute(person.number, event_id)
        except _UNKNOWN_SLEEPER:  # not on the data plane any more: as mute as can be
            return 0

    def _write(self, person: Person, event: ConsentWithdrawn, key: bytes) -> Position:
        for attempt in range(_REPEATS):
            try:
                failpoints.hit("withdrawal.write")
                position = self._desk.journal.append(person.stream, ANY, key, encode(event))
                failpoints.hit("withdrawal.written")
                return position
            except OutcomeUnknown as error:
                if attempt == _REPEATS - 1:
                    raise _not_recorded(error) from error
            except StorageError as error:
                raise _not_recorded(error) from error
        raise AssertionError("the loop returns or raises")

    def _listen(self) -> None:
        while not self._closing.is_set():
            event = self._desk.plane.next_event(_POLL_S)
            if event is None:
                continue
            try:
                withdrawal = self._heard(event.sleeper, event.event_id, event.purposes)
            except (StorageError, *_UNKNOWN_SLEEPER) as error:
                _log.error("a withdrawal of sleeper number %d: %s", event.sleeper, error)  # the platform repeats it
                continue
            if withdrawal is not None:  # in force; all helpers may be waiting for the disk
                self._helpers.submit(self._record_heard, withdrawal)

    def hear(self, sleeper: int, event_id: bytes, purposes: int) -> None:
        """A withdrawal that the data plane has authenticated and, for the voice, muted already: both halves."""
        withdrawal = self._heard(sleeper, event_id, purposes)
        if withdrawal is not None:
            self._record_heard(withdrawal)

    def _heard(self, sleeper: int, event_id: bytes, purposes: int) -> Withdrawal | None:
        """Puts it in force; None: of somebody who is not known."""
        person = self._desk.roll.by_number(sleeper)
        if person is None:
            _log.warning("a withdrawal came for sleeper number %d, whom this sanctuary does not know", sleeper)
            return None
        failpoints.hit("datagram.heard")
        # 0 means all; so does a mask of purposes that this version does not know.
        named = frozenset(purpose for purpose in Purpose if purposes >> purpose & 1) or ALL_PURPOSES
        return self.mute(person, named, event_id)

    def _record_heard(self, withdrawal: Withdrawal) -> None:
        """Writes and acknowledges it."""
        person, event_id = withdrawal.person, withdrawal.unrecorded.event.event_id
        try:
            self.record(withdrawal)
        except StorageError as error:
            _log.error("%s: %s", person.sleeper.sleeper_id, error)  # not acknowledged: the platform repeats it
            return
        failpoints.hit("datagram.acknowledge")
        try:
            self._desk.plane.acknowledge(person.number, event_id)
            failpoints.hit("datagram.acknowledged")
        except _UNKNOWN_SLEEPER:
            return  # detached meanwhile: nobody waits for it


def journal_key(event: ConsentWithdrawn) -> bytes:
    """Its event id in the journal: the same id with other purposes is another withdrawal, and no repetition."""
    return b"w" + sum(1 << purpose for purpose in event.purposes).to_bytes(2, "big") + event.event_id


def _not_recorded(error: StorageError) -> MutedNotRecorded:
    return MutedNotRecorded(f"withdrawn and muted, and it stays so, but not yet on disk; repeat it: {error}")
