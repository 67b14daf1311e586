"""Who used what a person allows, and when: told to that person alone, coarsely, and not for ever more of it.

Consent says what may happen; people also want to know what did. A log of every look would itself be a surveillance of
those who look, and would grow without end. So a use is an interval of whole minutes, of one purpose by one party, and
intervals that nearly touch are one. Somebody who listened in is named, as they were when it happened; everybody else is
a role ("host", "steward", "sleeper", "circle").

A :class:`Book` turns what is in use now into what has to be written: a use when it begins (so that a crash hides none),
again every ten minutes, and when it ends. What a crash loses is at most the last ten minutes of how long one lasted,
and one that goes on after a short restart is still one interval. All that goes on is written together, so that a night
of eight hours is some fifty events of a person, however much of theirs is in use.
"""

import bisect
from collections.abc import Iterable
from dataclasses import dataclass, replace

from harmonia.domain.consent import Purpose

MINUTE_NS = 60_000_000_000
JOIN_NS = 10 * MINUTE_NS
"""Intervals that are no farther apart are one."""
AGAIN_NS = JOIN_NS
"""Between two writings of what goes on."""
USES_MAX = 500
"""Intervals remembered a sleeper; the oldest are forgotten first, and are still in the journal."""

Party = tuple[Purpose, str]
"""What is used, and by whom."""


@dataclass(frozen=True, slots=True)
class Use:
    """One interval."""

    purpose: Purpose
    by: str
    since_ns: int
    until_ns: int
    """Node times, in whole minutes."""


def merged(uses: tuple[Use, ...], more: Iterable[Use]) -> tuple[Use, ...]:
    """``uses``, made by this function, with ``more``, in the order of their beginnings.

    Neither order nor repetition changes the result, as long as it is not bounded.
    """
    result = list(uses)
    for use in more:
        near = [one for one in result if _touches(one, use)]
        for one in near:
            result.remove(one)
        since_ns = min([use.since_ns, *(one.since_ns for one in near)])
        until_ns = max([use.until_ns, *(one.until_ns for one in near)])
        bisect.insort(result, replace(use, since_ns=since_ns, until_ns=until_ns), key=_place)
    return tuple(result[-USES_MAX:])


def _touches(one: Use, other: Use) -> bool:
    same = one.by == other.by and one.purpose is other.purpose
    return same and one.since_ns <= other.until_ns + JOIN_NS and other.since_ns <= one.until_ns + JOIN_NS


def _place(use: Use) -> tuple[int, int, str]:
    return use.since_ns, use.purpose, use.by


class Book:
    """One sleeper's uses that go on now."""

    def __init__(self) -> None:
        self._open: dict[Party, tuple[int, int]] = {}
        """Since when, and up to when it is written."""
        self._unwritten: tuple[Use, ...] = ()

    def observe(self, t_ns: int, now: Iterable[Party]) -> tuple[Use, ...]:
        """What has to be written at node time ``t_ns``, where ``now`` is in use."""
        minute_ns, present = t_ns // MINUTE_NS * MINUTE_NS, set(now)
        uses = list(self._unwritten)
        self._unwritten = ()
        for party in [party for party in self._open if party not in present]:
            since_ns, _ = self._open.pop(party)
            uses.append(Use(*party, since_ns, minute_ns + MINUTE_NS))
        if any(party not in self._open or minute_ns - self._open[party][1] >= AGAIN_NS for party in present):
            for party in sorted(present):
                since_ns, _ = self._open.get(party, (minute_ns, 0))
                uses.append(Use(*party, since_ns, minute_ns + MINUTE_NS))
                self._open[party] = (since_ns, minute_ns)
        return tuple(uses)

    def keep(self, uses: tuple[Use, ...]) -> None:
        """These could not be written: again with the next."""
        self._unwritten = (*uses, *self._unwritten)[-USES_MAX:]
