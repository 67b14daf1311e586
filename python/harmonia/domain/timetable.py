"""When a circle moves on by itself: a pure function of the circle, so that a restart finds the same timetable."""

from typing import NamedTuple

from harmonia.domain.circle import DIALOGUE_NS_MAX, EDGE_NS_MAX, LEAD_NS, Circle
from harmonia.domain.states import CircleState


class Due(NamedTuple):
    """The next move."""

    t_ns: int
    state: CircleState
    lead_ns: int = LEAD_NS
    """How long after ``t_ns`` the score begins, where this move begins it."""


def next_due(circle: Circle) -> Due | None:
    """The next move of ``circle``; None if it waits for its host.

    Gathering ends so early that the score begins exactly when ``gather_ns`` is over.
    """
    edge_ns = _tenth(circle, EDGE_NS_MAX)
    match circle.state:
        case CircleState.GATHERING if circle.gather_ns is not None:
            lead_ns = min(LEAD_NS, circle.gather_ns)
            return Due(circle.created_ns + circle.gather_ns - lead_ns, CircleState.ENTRAINING, lead_ns)
        case CircleState.ENTRAINING:
            return Due(_epoch(circle) + edge_ns, CircleState.DREAMING)
        case CircleState.DREAMING if circle.length_ns is not None:
            return Due(_epoch(circle) + circle.length_ns - edge_ns, CircleState.WAKING)
        case CircleState.WAKING:
            return Due(circle.entered_ns + edge_ns, CircleState.DIALOGUE)
        case CircleState.DIALOGUE:
            return Due(circle.entered_ns + _tenth(circle, DIALOGUE_NS_MAX), CircleState.CLOSED)
        case _:
            return None


def _epoch(circle: Circle) -> int:
    assert circle.epoch_ns is not None, "a circle that has left gathering has an epoch"
    return circle.epoch_ns


def _tenth(circle: Circle, most_ns: int) -> int:
    return most_ns if circle.length_ns is None else min(most_ns, circle.length_ns // 10)
