"""Advance wishes where the sanctuary can act on them: the hours are over, or the circle wakes.

The sleeper's own platform acts on every wish by itself; this is for the one whose battery is empty. What is done is an
ordinary withdrawal through the ordinary door: muted at once, then written, and written again until the disk takes it.
Its event id is the platform's, too, so that both may act and only one withdrawal comes of it.

Wishes whose time came while the sanctuary was down act when it opens, before anybody is on the data plane; also those
of a circle that is over by then.
"""

import logging
import math
from typing import TYPE_CHECKING

import trio

from harmonia.engine.desk import Desk
from harmonia.errors import StorageError

if TYPE_CHECKING:
    from harmonia.engine.conductor import Conductor
    from harmonia.engine.doors import Withdrawal
    from harmonia.engine.person import Person

_log = logging.getLogger(__name__)

_RETRY_S = 1.0


class Wishes:
    """Those of one circle's people. Belongs to the engine's thread."""

    def __init__(self, desk: Desk, conductor: "Conductor") -> None:
        self._desk = desk
        self._conductor = conductor
        self._moved = trio.Event()
        self._unrecorded: list[Withdrawal] = []
        """In force, and not known to be on disk."""
        self._recording: list[Withdrawal] = []
        """Those of them that a task is at."""

    def look(self) -> None:
        """A wish was made or removed, or the circle is in another state."""
        self._moved.set()

    def act(self, person: "Person") -> None:
        """Puts those of a person's wishes in force whose time has come."""
        sleeper, circle, now_ns = person.sleeper, self._conductor.circle, self._desk.now_ns()
        assert self._desk.doors is not None, "the doors are there before anybody is let in"
        for one in sleeper.wishes:
            if one.due(sleeper.joined_ns, circle.epoch_ns, circle.state, now_ns, awake=sleeper.awake):
                purposes, event_id = frozenset(one.wish.purposes), one.wish.event_id(sleeper.sleeper_id)
                self._unrecorded.append(self._desk.doors.mute(person, purposes, event_id))

    async def run(self) -> None:
        """Acts on every wish at its time, for ever."""
        async with trio.open_nursery() as nursery:
            while True:
                self._moved = trio.Event()
                self._act_on_all()
                self._begin_recording(nursery)
                due_ns, now_ns = self._next_due_ns(), self._desk.now_ns()
                with trio.move_on_after(math.inf if due_ns is None else max(0, due_ns - now_ns) / 1e9):
                    await self._moved.wait()

    def _begin_recording(self, nursery: trio.Nursery) -> None:
        for withdrawal in [one for one in self._unrecorded if one not in self._recording]:
            self._recording.append(withdrawal)
            nursery.start_soon(self._record, withdrawal)

    def forget(self, sleeper_id: str) -> None:
        """Drops what is not written of somebody who was forgotten."""
        for waiting in (self._unrecorded, self._recording):
            waiting[:] = [one for one in waiting if one.person.sleeper.sleeper_id != sleeper_id]

    async def finish(self) -> None:
        """The circle is over: what is due is muted, and written if the disk takes it."""
        self._act_on_all()
        for withdrawal in list(self._unrecorded):  # also what is being written: the repetition changes nothing
            try:
                await self._write(withdrawal)
            except StorageError as error:
                _log.error("%s: %s", withdrawal.person.sleeper.sleeper_id, error)

    def _act_on_all(self) -> None:
        for person in list(self._conductor.entrance.people.values()):
            self.act(person)

    async def _record(self, withdrawal: "Withdrawal") -> None:
        while self._desk.roll.by_id(withdrawal.person.sleeper.sleeper_id) is not None:  # else they were forgotten
            try:
                await self._write(withdrawal)
            except StorageError as error:
                _log.error("%s: %s", withdrawal.person.sleeper.sleeper_id, error)
                await trio.sleep(_RETRY_S)
            else:
                return

    async def _write(self, withdrawal: "Withdrawal") -> None:
        assert self._desk.doors is not None
        await self._desk.in_thread(self._desk.doors.record, withdrawal)
        for waiting in (self._unrecorded, self._recording):
            if withdrawal in waiting:
                waiting.remove(withdrawal)

    def _next_due_ns(self) -> int | None:
        epoch_ns = self._conductor.circle.epoch_ns
        dues = (
            one.due_ns(person.sleeper.joined_ns, epoch_ns)
            for person in self._conductor.entrance.people.values()
            for one in person.sleeper.wishes
            if not one.fired
        )
        return min((due_ns for due_ns in dues if due_ns is not None), default=None)
