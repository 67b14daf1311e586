"""The shared timeline as integers, bit for bit what the Rust core evaluates.

phase(t) = p₀·2⁶⁴ + f·t + h·t² in units of 2⁻¹²⁸ turn, t in nanoseconds since the segment's start; the top 64 bits are
the phase. Python's integers do not wrap, so the remainder is taken once, at the end; that gives the same bits.
"""

import math
from bisect import bisect_right
from dataclasses import dataclass

from harmonia.errors import BadInput

_TURN_64 = 1 << 64
_TURN_128 = 1 << 128
_UNITS_PER_HZ = float(_TURN_128) / 1e9
HZ_MAX = 1e6


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of the timeline with a constant or steadily changing frequency."""

    start_ns: int
    phase: int
    """At the start, 2⁻⁶⁴ turn."""
    frequency: int
    """At the start, 2⁻¹²⁸ turn/ns, signed."""
    half_ramp: int = 0
    """Half of the frequency's change a nanosecond, 2⁻¹²⁸ turn/ns², signed."""
    ramp_ns: int = 0
    """How long the ramp lasts; 0 for a constant frequency."""

    def phase_at(self, node_ns: int) -> int:
        """The phase at node time ``node_ns``, 2⁻⁶⁴ turn."""
        since, ramped = self._since(node_ns)
        over_ramp = self.frequency * ramped + self.half_ramp * ramped * ramped
        rest = self.frequency_at(node_ns) * (since - ramped)
        return (((self.phase << 64) + over_ramp + rest) % _TURN_128) >> 64

    def frequency_at(self, node_ns: int) -> int:
        """The frequency at node time ``node_ns``, 2⁻¹²⁸ turn/ns."""
        return self.frequency + 2 * self.half_ramp * self._since(node_ns)[1]

    def from_(self, node_ns: int) -> "Segment":
        """What is left of this segment from ``node_ns`` on, as a segment of its own."""
        since, ramped = self._since(node_ns)
        left_ns = self.ramp_ns - ramped
        half_ramp = self.half_ramp if left_ns else 0
        start_ns = self.start_ns + since
        return Segment(start_ns, self.phase_at(node_ns), self.frequency_at(node_ns), half_ramp, left_ns)

    def _since(self, node_ns: int) -> tuple[int, int]:
        since = node_ns - self.start_ns
        return since, min(max(since, 0), self.ramp_ns)


@dataclass(frozen=True, slots=True)
class Rhythm:
    """A circle's shared timeline: node time to phase. Immutable: changing it makes a new one."""

    segments: tuple[Segment, ...]
    """Oldest first, never empty."""

    def __post_init__(self) -> None:
        if not self.segments:
            raise BadInput("a rhythm needs at least one segment")
        for earlier, later in zip(self.segments, self.segments[1:], strict=False):
            if later.start_ns <= earlier.start_ns:
                raise BadInput(
                    f"a segment must start after {earlier.start_ns} ns, where the one before it starts, not at"
                    f" {later.start_ns} ns"
                )

    @classmethod
    def constant(cls, start_ns: int, frequency_hz: float, phase: int = 0) -> "Rhythm":
        """One frequency from ``start_ns`` on. Raises :class:`BadInput` on one that is not finite or beyond ±1 MHz."""
        return cls((Segment(start_ns, phase % _TURN_64, frequency_from_hz(frequency_hz)),))

    def segment_at(self, node_ns: int) -> Segment:
        """The segment in force; the first one for all time before it."""
        after = bisect_right(self.segments, node_ns, key=lambda segment: segment.start_ns)
        return self.segments[max(after - 1, 0)]

    def phase_at(self, node_ns: int) -> int:
        """The phase at node time ``node_ns``, 2⁻⁶⁴ turn: the same bits on every machine."""
        return self.segment_at(node_ns).phase_at(node_ns)

    def frequency_hz_at(self, node_ns: int) -> float:
        return self.segment_at(node_ns).frequency_at(node_ns) / _UNITS_PER_HZ

    def continue_at(self, start_ns: int, frequency_hz: float, ramp_ns: int) -> Segment:
        """The segment that leads this rhythm to ``frequency_hz`` within ``ramp_ns`` (0: at once), without a jump.

        Raises :class:`BadInput` unless it starts after every other.
        """
        target = frequency_from_hz(frequency_hz)
        phase = self.phase_at(start_ns)
        if ramp_ns == 0:
            segment = Segment(start_ns, phase, target)
        elif ramp_ns > 0:
            now = self.segment_at(start_ns).frequency_at(start_ns)
            segment = Segment(start_ns, phase, now, _toward_zero(target - now, 2 * ramp_ns), ramp_ns)
        else:
            raise BadInput(f"a ramp must last 0 ns or longer, not {ramp_ns} ns")
        self.with_segment(segment)
        return segment

    def with_segment(self, segment: Segment) -> "Rhythm":
        return Rhythm((*self.segments, segment))


def frequency_from_hz(hz: float) -> int:
    """``hz`` in 2⁻¹²⁸ turn/ns. Raises :class:`BadInput` unless it is finite and within ±1 MHz."""
    if not math.isfinite(hz) or abs(hz) > HZ_MAX:
        raise BadInput(f"a frequency must be a number of hertz from -{HZ_MAX:.0f} to {HZ_MAX:.0f}, not {hz}")
    return int(hz * _UNITS_PER_HZ)


def offset_from_turns(turns: float) -> int:
    """A phase offset in 2⁻⁶⁴ turn, signed; whole turns fall away. Raises :class:`BadInput` unless it is finite."""
    if not math.isfinite(turns):
        raise BadInput(f"a phase offset must be a finite number of turns such as 0.25, not {turns}")
    bits = int((turns - round(turns)) * float(_TURN_64))
    return (bits + (1 << 63)) % _TURN_64 - (1 << 63)  # +½ wraps onto −½: the same place


def _toward_zero(numerator: int, denominator: int) -> int:
    """Integer division as Rust's: towards zero."""
    quotient = abs(numerator) // denominator
    return quotient if numerator >= 0 else -quotient
