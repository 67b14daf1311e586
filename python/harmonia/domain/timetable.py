"""When a circle moves on by itself: a pure function of the circle, so that a restart finds the same timetable.

Of a circle with lengths, everything follows from the instants in the journal. Of one with a plan in civil time it also
takes what node time the plan's instants are (``planned``). That can change, as the sanctuary's time of day does; so
what lies ahead is looked up anew, and what has happened stays: once the score has begun, its epoch is a node time for
good.
"""

from typing import NamedTuple

from harmonia.domain.circle import DIALOGUE_NS_MAX, EDGE_NS_MAX, LEAD_NS, WAIT_NS_MAX, Circle
from harmonia.domain.schedule import Instants
from harmonia.domain.states import SOUNDING, Cause, CircleState

PARTING_NS_MAX = 10_000_000_000
"""How long all voices go before the score is over, at most a tenth of the night: a sudden stop wakes who sleeps on."""


class Due(NamedTuple):
    """The next move."""

    t_ns: int
    state: CircleState
    lead_ns: int = LEAD_NS
    """How long after ``t_ns`` the score begins, where this move begins it."""
    cause: Cause = Cause.TIMETABLE
    reason: str = ""


def next_due(circle: Circle, planned: Instants | None = None) -> Due | None:
    """The next move of ``circle``; None if it waits for its host. ``planned``: its plan's instants in node time.

    Gathering ends so early that the score begins exactly when ``gather_ns`` is over, or at lights-out.
    """
    match circle.state:
        case CircleState.DRAFT if planned is not None and planned.gather_ns is not None:
            return Due(planned.gather_ns, CircleState.GATHERING)
        case CircleState.GATHERING:
            return _beginning(circle, planned)
        case CircleState.ENTRAINING:
            dreaming = Due(_epoch(circle) + _edge(circle, planned), CircleState.DREAMING)
            wakes_ns = None if planned is None else planned.wake_from_ns
            short = wakes_ns is not None and wakes_ns <= dreaming.t_ns
            return Due(wakes_ns, CircleState.WAKING) if short and wakes_ns is not None else dreaming
        case CircleState.DREAMING:
            wakes_ns = waking_ns(circle, planned)
            return _abandoned(circle, "end") if wakes_ns is None else Due(wakes_ns, CircleState.WAKING)
        case CircleState.WAKING:
            ends_ns = None if planned is None else planned.wake_until_ns
            return Due(circle.entered_ns + _edge(circle, planned) if ends_ns is None else ends_ns, CircleState.DIALOGUE)
        case CircleState.DIALOGUE:
            return Due(circle.entered_ns + _tenth(circle, planned, DIALOGUE_NS_MAX), CircleState.CLOSED)
        case _:
            return None


def begins_ns(circle: Circle, planned: Instants | None = None) -> int | None:
    """When the score begins or began, node time; None if its host decides."""
    if circle.epoch_ns is not None:
        return circle.epoch_ns
    if planned is not None:
        return planned.lights_ns
    return None if circle.gather_ns is None else circle.gathered_ns + circle.gather_ns


def waking_ns(circle: Circle, planned: Instants | None = None) -> int | None:
    """When the circle begins to wake, node time; None while nobody knows."""
    if planned is not None and planned.wake_from_ns is not None:
        return planned.wake_from_ns
    begins = begins_ns(circle, planned)
    if begins is None or circle.length_ns is None:
        return None
    return begins + circle.length_ns - _edge(circle, planned)


def ends_ns(circle: Circle, planned: Instants | None = None) -> int | None:
    """When the score is over and the dialogue begins, node time; None while nobody knows."""
    if planned is not None and planned.wake_until_ns is not None:
        return planned.wake_until_ns
    begins = begins_ns(circle, planned)
    return None if begins is None or circle.length_ns is None else begins + circle.length_ns


def parting(circle: Circle, planned: Instants | None = None) -> tuple[int, int] | None:
    """From when to when all voices fade out, node time; None while nobody knows when the score is over."""
    if circle.state not in SOUNDING:
        return None
    due = next_due(circle, planned)
    over_ns = due.t_ns if due is not None and circle.state is CircleState.WAKING else ends_ns(circle, planned)
    return None if over_ns is None else (over_ns - _tenth(circle, planned, PARTING_NS_MAX), over_ns)


def gathers_ns(circle: Circle, planned: Instants | None = None) -> int | None:
    """When it gathers or began to, node time; None while nobody knows."""
    if circle.state is CircleState.DRAFT:
        return None if planned is None else planned.gather_ns
    return circle.gathered_ns


def _beginning(circle: Circle, planned: Instants | None) -> Due:
    begins = begins_ns(circle, planned)
    if begins is None:
        return _abandoned(circle, "begin")
    lead_ns = max(0, min(LEAD_NS, begins - circle.gathered_ns))
    return Due(begins - lead_ns, CircleState.ENTRAINING, lead_ns)


def _abandoned(circle: Circle, what: str) -> Due:
    reason = f"its host did not {what} it within a week"
    return Due(circle.entered_ns + WAIT_NS_MAX, CircleState.CLOSED, cause=Cause.FAILURE, reason=reason)


def _epoch(circle: Circle) -> int:
    assert circle.epoch_ns is not None, "a circle that has left gathering has an epoch"
    return circle.epoch_ns


def _edge(circle: Circle, planned: Instants | None) -> int:
    return _tenth(circle, planned, EDGE_NS_MAX)


def _tenth(circle: Circle, planned: Instants | None, most_ns: int) -> int:
    length_ns = circle.length_ns
    if planned is not None and planned.wake_until_ns is not None:
        length_ns = max(0, planned.wake_until_ns - (circle.epoch_ns or planned.lights_ns))
    return most_ns if length_ns is None else min(most_ns, length_ns // 10)
