"""Forgetting a sleeper: first nothing of theirs sounds or counts any more, then nobody can read what they said.

The order is that of fear: a no first. Everything is withdrawn, and on disk; then the person leaves the circle, if they
have not; the circle notes that their token is used, without a name; and last their key is deleted, which the erasure
journal promises to do again after every restore. If the disk refuses on the way, what was done stays done, and the rest
is done when they are asked to be forgotten again.
"""

from collections.abc import Callable

from harmonia.domain.consent import ALL_PURPOSES
from harmonia.domain.events import SleeperForgotten
from harmonia.engine.desk import Desk
from harmonia.engine.doors import Doors
from harmonia.engine.person import Person

Shred = Callable[[str], None]
"""Makes what a stream holds unreadable for ever, and returns when that is on disk. Blocks; raises StorageError."""


async def forget(desk: Desk, doors: Doors, person: Person, shred: Shred) -> None:
    """Withdraws everything, closes the person's place, and deletes their key. Raises StorageError."""
    withdrawal = doors.mute(person, ALL_PURPOSES, desk.entropy(16))  # which waits for no thread and no disk
    await desk.in_thread(doors.record, withdrawal)
    if person.present:
        await person.leave()
    await person.conductor.record(SleeperForgotten(person.sleeper.token_hash, desk.now_ns()))
    await desk.in_thread(shred, person.stream)
    desk.roll.remove(person)
    sleeper_id, conductor = person.sleeper.sleeper_id, person.conductor
    conductor.entrance.people.pop(sleeper_id, None)
    conductor.stewarding.forget(sleeper_id)
    conductor.usage.forget(sleeper_id)
    conductor.wishes.forget(sleeper_id)
    person.tell()
