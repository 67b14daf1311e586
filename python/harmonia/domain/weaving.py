"""How a circle's rhythms belong together: its mode and strength, a sleeper's own rhythm, and what unity costs.

Every mode is an offer. What a sleeper's rhythm is follows from their own events alone: no function here takes a
circle's mode, strength or offer and returns another frequency, coupling or offset of anybody's. Strength only falls.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import NamedTuple

from harmonia.domain.rhythm import Rhythm, Segment, offset_from_turns
from harmonia.errors import BadInput

STRENGTH_MAX = 100.0
OWN_HZ_MAX = 50.0
OFFERED_MAX = 64
HOME_NS_MIN = 10_000_000_000
"""The shortest way back to the circle's rhythm: at most a twentieth of a turn a second."""
BACK_NS = 2_000_000_000
"""How long the way back from a living signal to what was set takes."""
SHARED_MIN = 3
"""Fewer people than this are no aggregate: a mean of two tells each of them the other's share."""
RHYTHM_MIN_RAD_S = 0.06
INDIVIDUAL = 0.01
"""A frequency within 1 % of one's own is one's own."""
_TURN = 1 << 64


class CircleMode(IntEnum):
    """What a circle offers, numbered as harmonia.v1.CircleMode."""

    STANDARD = 1
    WOVEN = 2
    FREE = 3


@dataclass(frozen=True, slots=True)
class Weaving:
    """How a circle pulls those who let it."""

    mode: CircleMode = CircleMode.STANDARD
    strength_rad_s: float = 0.0
    """K; in force only in a woven circle."""
    lag_rad: float = 0.0

    @property
    def pulling_rad_s(self) -> float:
        return self.strength_rad_s if self.mode is CircleMode.WOVEN else 0.0

    def lowered(self, mode: CircleMode | None, strength_rad_s: float | None) -> "Weaving":
        """This weaving in another mode, or weaker. Raises :class:`BadInput` on a strength above the present one."""
        strength = self.strength_rad_s if strength_rad_s is None else strength_rad_s
        if not 0.0 <= strength <= self.strength_rad_s:
            raise BadInput(
                f"a circle's strength can only be lowered, from {self.strength_rad_s:g} to 0 rad/s, not set to"
                f" {strength:g}: a stronger circle is a new one, which people join knowing it"
            )
        return Weaving(mode or self.mode, strength, self.lag_rad)


def parse_weaving(mode: CircleMode, strength_rad_s: float, lag_rad: float) -> Weaving:
    """A weaving that a circle may be opened with. Raises :class:`BadInput`."""
    if not 0.0 <= strength_rad_s <= STRENGTH_MAX:
        raise BadInput(f"a circle's strength must be a number from 0 to {STRENGTH_MAX:g} rad/s, not {strength_rad_s}")
    if not -math.pi <= lag_rad <= math.pi:
        raise BadInput(f"a circle's lag must be a number from -π to π rad, not {lag_rad}")
    return Weaving(mode, strength_rad_s, lag_rad)


def parse_pattern(pattern_turns: Sequence[float]) -> tuple[int, ...]:
    """A pattern of offsets in 2⁻⁶⁴ turn. Raises :class:`BadInput`."""
    if len(pattern_turns) > OFFERED_MAX:
        raise BadInput(f"a pattern has at most {OFFERED_MAX} offsets, not {len(pattern_turns)}")
    return tuple(map(offset_from_turns, pattern_turns))


def parse_coupling(coupling: float, weight: float) -> tuple[float, float]:
    """A coupling and a weight if a sleeper may set them. Raises :class:`BadInput`."""
    for name, value in (("coupling", coupling), ("weight", weight)):
        if not 0.0 <= value <= 1.0:
            raise BadInput(f"a {name} must be a number from 0 to 1, not {value}")
    return coupling, weight


def offered_to(pattern: Sequence[int], place: int) -> int | None:
    """The offset that the sleeper of that place in the order of joining is offered, 2⁻⁶⁴ turn."""
    return pattern[place % len(pattern)] if pattern else None


STANDARD = Weaving()


@dataclass(frozen=True, slots=True)
class OwnRhythm:
    """A sleeper's own timeline, until it comes home to the circle's."""

    segments: tuple[Segment, ...] = ()
    """Empty: the circle's rhythm."""
    home_ns: int | None = None
    """When it joins the circle's; None: never."""
    set_hz: float | None = None
    """Where it follows a living signal: what it goes back to, as it was set by hand or as the circle has it."""

    def over(self, circle: Rhythm) -> Rhythm | None:
        """The timeline; None if it is the circle's."""
        if not self.segments:
            return None
        if self.home_ns is None:
            return Rhythm(self.segments)
        later = (segment for segment in circle.segments if segment.start_ns > self.home_ns)
        return Rhythm((*self.segments, circle.segment_at(self.home_ns).from_(self.home_ns), *later))

    def led(self, circle: Rhythm, frequency_hz: float, ramp_ns: int, t_ns: int, start_ns: int) -> "OwnRhythm":
        """Led to ``frequency_hz`` within ``ramp_ns`` from ``start_ns`` on, without a jump. Raises BadInput."""
        if not (math.isfinite(frequency_hz) and abs(frequency_hz) <= OWN_HZ_MAX):
            raise BadInput(
                f"a rhythm of one's own must be a number of hertz from -{OWN_HZ_MAX:g} to {OWN_HZ_MAX:g}, not"
                f" {frequency_hz}"
            )
        until = self._until(circle, t_ns, start_ns)
        return OwnRhythm((*until.segments, until.continue_at(start_ns, frequency_hz, ramp_ns)))

    def led_home(self, circle: Rhythm, ramp_ns: int, t_ns: int, start_ns: int) -> "OwnRhythm":
        """Back to the circle's rhythm, at a steady frequency that meets its phase: no jump on leaving or arrival."""
        if not self.segments:
            return self
        until = self._until(circle, t_ns, start_ns)
        length_ns = max(ramp_ns, HOME_NS_MIN)
        home_ns = start_ns + length_ns
        begin = until.phase_at(start_ns)
        usual = circle.segment_at(start_ns).frequency_at(start_ns) + circle.segment_at(home_ns).frequency_at(home_ns)
        part = (circle.phase_at(home_ns) - begin) % _TURN << 64
        # So many whole turns that the frequency on the way is as near the circle's as can be.
        whole = round((usual * length_ns / 2 - part) / float(1 << 128))
        way = Segment(start_ns, begin, (part + (whole << 128)) // length_ns)
        return OwnRhythm((*until.segments, way), home_ns)

    def following(self, circle: Rhythm, frequency_hz: float, ramp_ns: int, t_ns: int, start_ns: int) -> "OwnRhythm":
        """Led to a frequency that a living signal has; what was set before is kept, to go back to. Raises BadInput."""
        led = self.led(circle, frequency_hz, ramp_ns, t_ns, start_ns)
        before = (self.over(circle) or circle).frequency_hz_at(t_ns) if self.set_hz is None else self.set_hz
        return replace(led, set_hz=before)

    def released(self, t_ns: int, start_ns: int) -> "OwnRhythm":
        """Following no more: back to the frequency that was set, from ``start_ns`` on, without a jump."""
        if self.set_hz is None:
            return self
        until = _kept(Rhythm(self.segments), t_ns, start_ns)
        return OwnRhythm((*until.segments, until.continue_at(start_ns, self.set_hz, BACK_NS)))

    def _until(self, circle: Rhythm, t_ns: int, start_ns: int) -> Rhythm:
        """What is in force from ``t_ns`` on, but for what would begin at ``start_ns`` or later."""
        return _kept(self.over(circle) or circle, t_ns, start_ns)


def _kept(now: Rhythm, t_ns: int, start_ns: int) -> Rhythm:
    first = now.segment_at(t_ns)
    kept = [s for s in now.segments if first.start_ns <= s.start_ns < start_ns]
    return Rhythm(tuple(kept) or (first,))


ON_THE_CIRCLES = OwnRhythm()


class Thread(NamedTuple):
    """How one sleeper stands in the weave."""

    own_hz: float
    achieved_hz: float
    pull: float
    """What the circle puts on this person: its pull beside their own frequency."""


class Share(NamedTuple):
    """Unity and its price."""

    unity: float
    mean_pull: float
    individuality: float


class Woven(NamedTuple):
    """How united a circle is, and what it costs."""

    sleepers: int
    """Those in the mean."""
    unity: float
    by_chance: float
    actual: Share | None
    """None where too few of them may be seen."""
    standard: Share | None
    """If everybody were forced onto the circle's rhythm."""


def woven(sleepers: int, unity: float, seen: Iterable[Thread], standard_hz: float) -> Woven:
    """What may be said of a circle with ``sleepers`` in the mean, of whom ``seen`` show themselves."""
    threads = list(seen)
    by_chance = math.sqrt(math.pi) / (2 * math.sqrt(sleepers)) if sleepers else 0.0
    if len(threads) < SHARED_MIN:
        return Woven(sleepers, unity, by_chance, None, None)
    forced = [Thread(t.own_hz, standard_hz, forced_pull(t.own_hz, standard_hz)) for t in threads]
    return Woven(sleepers, unity, by_chance, _share(unity, threads), _share(1.0, forced))


def forced_pull(own_hz: float, standard_hz: float) -> float:
    """What it would cost somebody to go at ``standard_hz``."""
    return 2 * math.pi * abs(standard_hz - own_hz) / max(2 * math.pi * abs(own_hz), RHYTHM_MIN_RAD_S)


def _share(unity: float, threads: Sequence[Thread]) -> Share:
    kept = sum(abs(t.achieved_hz - t.own_hz) <= INDIVIDUAL * abs(t.own_hz) for t in threads)
    return Share(unity, math.fsum(t.pull for t in threads) / len(threads), kept / len(threads))
