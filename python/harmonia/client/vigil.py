"""What a platform watches for while its person sleeps: whether one of their advance wishes has to act now.

The sensors of a bed lie, stop and stutter, and a wish acts only once; so each reason has a plain meaning. Too loud is
one reading above the level, since the ear cannot wait. A breath is out of bounds after ten seconds of readings that are
sure of themselves, because one cough is none; it is irregular if the rate's standard deviation over a minute of such
readings is more than the stated share of its mean. What cannot be told (no sensor, one that is unsure of itself, a
level in dB SPL where nothing was calibrated, a clock that follows nobody) makes no wish act, but it is counted, from
the first look on, for wishes that say how long they bear with it.
"""

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from harmonia.client.following import CONFIDENCE_MIN
from harmonia.domain.advance import LevelUnit, StandingWish, WishKind

HOLD_S = 10.0
"""For so long a breath has to be out of bounds."""
WINDOW_S = 60.0
WINDOW_MIN_S = 30.0
"""Regularity is judged over a minute, and not over less than half of one."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What is known at one look; None for what is not."""

    node_ns: int | None = None
    """Node time, while the clock follows the sanctuary's or goes on by itself."""
    circle_awake: bool = False
    """Or the sleeper said that they are."""
    awake: bool | None = None
    """What a sensor says of the sleeper."""
    level_dbfs: float | None = None
    level_spl_db: float | None = None
    breath_hz: float | None = None
    breath_confidence: float = 0.0


@dataclass(slots=True)
class _Course:
    """One wish's readings so far."""

    unknown_since_s: float | None = None
    out_since_s: float | None = None
    rates: deque[tuple[float, float]] = field(default_factory=deque)
    """(time in seconds, hertz) of the last minute, only where the reading was sure of itself."""


class Vigil:
    """Pure; times in seconds of any one steady clock."""

    def __init__(self) -> None:
        self._courses: dict[bytes, _Course] = {}

    def look(
        self, t_s: float, reading: Reading, wishes: Iterable[StandingWish], joined_ns: int, epoch_ns: int | None
    ) -> list[StandingWish]:
        """Those of ``wishes`` that have to act now."""
        waiting = [one for one in wishes if not one.fired]
        self._courses = {one.wish.wish_id: self._courses.get(one.wish.wish_id, _Course()) for one in waiting}
        return [one for one in waiting if self._acts(t_s, reading, one, joined_ns, epoch_ns)]

    def _acts(self, t_s: float, reading: Reading, one: StandingWish, joined_ns: int, epoch_ns: int | None) -> bool:
        course, wish = self._courses[one.wish.wish_id], one.wish
        told = self._told(t_s, reading, one, joined_ns, epoch_ns, course)
        if told is not None:
            course.unknown_since_s = None
            return told
        if course.unknown_since_s is None:
            course.unknown_since_s = t_s
        return wish.unknown_ns is not None and t_s - course.unknown_since_s >= wish.unknown_ns / 1e9

    def _told(
        self,
        t_s: float,
        reading: Reading,
        one: StandingWish,
        joined_ns: int,
        epoch_ns: int | None,
        course: _Course,
    ) -> bool | None:
        """Whether the wish's reason is there; None if that cannot be told."""
        wish = one.wish
        match wish.kind:
            case WishKind.AFTER:
                due_ns = one.due_ns(joined_ns, epoch_ns)
                return None if reading.node_ns is None else due_ns is not None and due_ns <= reading.node_ns
            case WishKind.WAKING:
                return True if reading.circle_awake else reading.awake
            case WishKind.LOUD:
                level = reading.level_dbfs if wish.unit is LevelUnit.DBFS else reading.level_spl_db
                if level is None or math.isnan(level) or wish.level is None:
                    return None
                return level > wish.level
            case WishKind.BREATH:
                return _breath(t_s, reading, one, course)


def _breath(t_s: float, reading: Reading, one: StandingWish, course: _Course) -> bool | None:
    rate, wish = reading.breath_hz, one.wish
    if rate is None or not math.isfinite(rate) or not reading.breath_confidence >= CONFIDENCE_MIN:
        return None
    slow = wish.under_hz is not None and rate < wish.under_hz
    fast = wish.over_hz is not None and rate > wish.over_hz
    if not (slow or fast):
        course.out_since_s = None
    elif course.out_since_s is None:
        course.out_since_s = t_s
    course.rates.append((t_s, rate))
    while course.rates[0][0] < t_s - WINDOW_S:
        course.rates.popleft()
    if course.out_since_s is not None and t_s - course.out_since_s >= HOLD_S:
        return True
    return wish.irregular is not None and _irregularity(course.rates) > wish.irregular


def _irregularity(rates: deque[tuple[float, float]]) -> float:
    """The standard deviation beside the mean; 0 while there is too little to say."""
    if rates[-1][0] - rates[0][0] < WINDOW_MIN_S:
        return 0.0
    values = [rate for _, rate in rates]
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values)) / mean
