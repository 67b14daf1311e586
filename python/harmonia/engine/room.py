"""What whoever is awake sees of a room: who needs help, as far as each person lets themself be seen.

Of those who grant visibility a row with how their platform stands; of those who grant presence alone, the place they
lie at; of everybody else nothing. A call for help stands beside that and shows what its caller chose: place and words.
"""

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import NamedTuple

from harmonia.domain.circle import Circle
from harmonia.domain.consent import Purpose
from harmonia.domain.help import Call
from harmonia.engine.person import Person
from harmonia.engine.views import SleeperRow

BOUND_NS_MAX = 25_000_000
"""A clock that is certain only within more than this is worth a look: a platform falls silent at ten times as much."""
OBEYS_NS = 2_000_000_000
"""How long a platform has to fall silent with its room, until it counts as sounding."""
SHOWN_NS = 3600 * 1_000_000_000
"""How long a resolved call is shown."""
_LOCKED = 3


class Trouble(IntEnum):
    """What is wrong with a platform, numbered as harmonia.v1.Trouble."""

    NO_SESSION = 1
    SILENT = 2
    """It has a session, and no datagram of it comes."""
    UNLOCKED = 3
    BOUND = 4
    SOUNDING = 5
    """The room is silent, and it is not."""


class Bed(NamedTuple):
    """One place."""

    place: int
    """In the order of joining, from 0."""
    row: SleeperRow | None
    """None where they grant presence and not visibility."""
    troubles: tuple[Trouble, ...]


class Room(NamedTuple):
    """A room at one instant."""

    circle: Circle
    present: int
    node_time_ns: int
    beds: tuple[Bed, ...]
    calls: tuple[Call, ...]
    """Those that wait first, each kind in the order of calling."""
    callers: Mapping[str, str]
    """Sleepers by their call's id, where they grant visibility."""
    voices_dropped: int
    """In the whole house."""


def bed(person: Person, row: SleeperRow, visible: bool, circle: Circle, t_ns: int) -> Bed | None:
    """How ``person`` is shown to somebody to whom they are ``visible`` or not; None if they are not shown."""
    if visible:
        return Bed(person.place, row, troubles(row, circle, t_ns))
    return Bed(person.place, None, ()) if Purpose.PRESENCE in row.granted else None


def troubles(row: SleeperRow, circle: Circle, t_ns: int) -> tuple[Trouble, ...]:
    """What is wrong with a platform at node time ``t_ns``."""
    status = row.status
    if status is None or status.session_age_ns < 0:
        return (Trouble.NO_SESSION,)
    if not row.connected:
        return (Trouble.SILENT,)
    found = []
    if status.lock_state != _LOCKED:
        found.append(Trouble.UNLOCKED)
    if status.bound_ns > BOUND_NS_MAX:
        found.append(Trouble.BOUND)
    if circle.silence is not None and status.gate_open and t_ns - circle.silence.since_ns > OBEYS_NS:
        found.append(Trouble.SOUNDING)
    return tuple(found)


def shown_calls(calls: Iterable[Call], t_ns: int) -> tuple[Call, ...]:
    """Those that wait, then those that were resolved of late."""
    held = list(calls)
    waiting = [call for call in held if call.resolved_ns is None]
    of_late = [call for call in held if call.resolved_ns is not None and t_ns - call.resolved_ns < SHOWN_NS]
    return (*waiting, *of_late)
