"""Coming and going softly: how far a sleeper is in the night, from 0 to 1, as others hear them and as they hear it.

Somebody who joins late, comes back or wakes early must not wake the others, and must not be woken by them. So their
voice, as others hear it, comes within :data:`FADE_NS`, and goes while they wake; and so does the night for themself.
All of it follows from facts that are written down, so a restart finds it as it was. It only ever makes softer: what a
person allows is decided elsewhere, and an opt-out waits for none of this.
"""

from typing import NamedTuple

from harmonia.errors import BadInput

FADE_NS = 10_000_000_000
WAKE_NS_DEFAULT = 60_000_000_000
WAKE_NS_MAX = 3600 * 1_000_000_000
OFFSET_NS_MAX = 12 * 3600 * 1_000_000_000


class Edges(NamedTuple):
    """When a sleeper comes and goes, node time. None: nobody knows, or never."""

    came_ns: int | None = None
    """Came late, or came back."""
    awake: bool = False
    """Has woken for themself."""
    turned_ns: int | None = None
    """When they woke, or went back to sleep."""
    turn_ns: int = 0
    """How long that takes."""
    wakes_ns: int | None = None
    """Their own waking by the schedule, where it is not the circle's ..."""
    woken_ns: int | None = None
    """... and its end."""

    def voice(self, t_ns: int) -> float:
        """How much of their voice others hear."""
        return self.mix(t_ns) * (1.0 if self.came_ns is None else _part(t_ns - self.came_ns, FADE_NS))

    def mix(self, t_ns: int) -> float:
        """How much of the night they hear themself."""
        by_schedule = 1.0
        if self.wakes_ns is not None and self.woken_ns is not None:
            by_schedule = 1.0 - _part(t_ns - self.wakes_ns, self.woken_ns - self.wakes_ns)
        if self.turned_ns is None:
            return by_schedule
        turned = _part(t_ns - self.turned_ns, self.turn_ns)
        # Who goes back to sleep after they were woken wants to sleep on.
        return min(by_schedule, 1.0 - turned) if self.awake else turned

    def next_ns(self, t_ns: int) -> int | None:
        """When it changes next: ``t_ns`` while it changes, None if it does not any more."""
        spans = (
            (self.came_ns, None if self.came_ns is None else self.came_ns + FADE_NS),
            (self.turned_ns, None if self.turned_ns is None else self.turned_ns + self.turn_ns),
            (self.wakes_ns, self.woken_ns),
        )
        ahead = (max(first, t_ns) for first, last in spans if first is not None and last is not None and last > t_ns)
        return min(ahead, default=None)


def still_there(parting: tuple[int, int] | None, t_ns: int) -> float:
    """How much there is of all voices together, 0 to 1, where they fade out from one node time to another."""
    return 1.0 if parting is None else 1.0 - _part(t_ns - parting[0], parting[1] - parting[0])


STAYING = Edges()
"""Somebody who came in time and does not go."""


def parse_fade(fade_ns: int) -> int:
    """How long waking takes; 0 means a minute. Raises :class:`BadInput`."""
    if not 0 <= fade_ns <= WAKE_NS_MAX:
        raise BadInput(f"waking takes up to an hour (0 means a minute), not {fade_ns / 1e9:g} s")
    return fade_ns or WAKE_NS_DEFAULT


def parse_schedule_offset(offset_ns: int) -> int:
    """A displacement from the schedule, if it can be kept. Raises :class:`BadInput`."""
    if abs(offset_ns) > OFFSET_NS_MAX:
        raise BadInput(f"a schedule offset is at most 12 hours either way, not {offset_ns / 3.6e12:g} h")
    return offset_ns


def _part(since_ns: int, length_ns: int) -> float:
    if since_ns <= 0:
        return 0.0
    return 1.0 if since_ns >= length_ns else since_ns / length_ns
