"""When the moon is new or full, to within minutes.

A host who says "every full moon" needs the night in which it is full; a mean month of 29.53 days is up to 14 hours off,
because both orbits are ellipses. So the mean instant is corrected by the largest periodic terms: Jean Meeus,
*Astronomical Algorithms*, 2nd edition, chapter 49, "Phases of the Moon", whose series is good to a few seconds in this
age. It counts in terrestrial time, which is ahead of UTC by 69.184 s since 2017; until a leap second is announced that
is exact, and in the rest of this century the difference stays within minutes.
"""

from collections.abc import Iterator
from enum import Enum
from math import radians, sin

_TT_MINUS_UTC_S = 69.184
_JD_1970 = 2440587.5
_DAY_NS = 86_400 * 1_000_000_000
_MONTH = 29.530588861
_MEAN = 2451550.09766


class MoonPhase(Enum):
    """Which phase; the value is its part of the lunation."""

    NEW = 0.0
    FULL = 0.5


# Amplitude in days for new moon, for full moon; then the multiples of E (the power), M, M′, F in its sine.
_TERMS = (
    (-0.40720, -0.40614, 0, 0, 1, 0),
    (0.17241, 0.17302, 1, 1, 0, 0),
    (0.01608, 0.01614, 0, 0, 2, 0),
    (0.01039, 0.01043, 0, 0, 0, 2),
    (0.00739, 0.00734, 1, -1, 1, 0),
    (-0.00514, -0.00515, 1, 1, 1, 0),
    (0.00208, 0.00209, 2, 2, 0, 0),
    (-0.00111, -0.00111, 0, 0, 1, -2),
    (-0.00057, -0.00057, 0, 0, 1, 2),
    (0.00056, 0.00056, 1, 1, 2, 0),
    (-0.00042, -0.00042, 0, 0, 3, 0),
    (0.00042, 0.00042, 1, 1, 0, 2),
    (0.00038, 0.00038, 1, 1, 0, -2),
    (-0.00024, -0.00024, 1, -1, 2, 0),
    (-0.00007, -0.00007, 0, 2, 1, 0),
    (0.00004, 0.00004, 0, 0, 2, -2),
    (0.00004, 0.00004, 0, 3, 0, 0),
    (0.00003, 0.00003, 0, 1, 1, -2),
    (0.00003, 0.00003, 0, 0, 2, 2),
    (-0.00003, -0.00003, 0, 1, 1, 2),
    (0.00003, 0.00003, 0, -1, 1, 2),
    (-0.00002, -0.00002, 0, -1, 1, -2),
    (-0.00002, -0.00002, 0, 1, 3, 0),
    (0.00002, 0.00002, 0, 0, 4, 0),
)

# Amplitude in days; the argument's degrees at k = 0 and for each lunation. What the planets add.
_PLANETS = (
    (0.000325, 299.77, 0.107408),
    (0.000165, 251.88, 0.016321),
    (0.000164, 251.83, 26.651886),
    (0.000126, 349.42, 36.412478),
    (0.000110, 84.66, 18.206239),
    (0.000062, 141.74, 53.303771),
    (0.000060, 207.14, 2.453732),
    (0.000056, 154.84, 7.306860),
    (0.000047, 34.52, 27.261239),
    (0.000042, 207.19, 0.121824),
    (0.000040, 291.34, 1.844379),
    (0.000037, 161.72, 24.198154),
    (0.000035, 239.56, 25.513099),
    (0.000023, 331.55, 3.592518),
)


def phases(phase: MoonPhase, after_ns: int) -> Iterator[int]:
    """The instants of a phase after ``after_ns``, in order; nanoseconds of UTC since 1970."""
    k = int((after_ns / _DAY_NS + _JD_1970 - _MEAN) / _MONTH) - 2 + phase.value
    while True:
        t_ns = _utc_ns(_ephemeris_day(k, phase))
        if t_ns > after_ns:
            yield t_ns
        k += 1


def _ephemeris_day(k: float, phase: MoonPhase) -> float:
    """The Julian day, terrestrial time, of lunation ``k`` since the new moon of 6 January 2000."""
    t = k / 1236.85
    e = 1 - 0.002516 * t - 0.0000074 * t**2
    sun = 2.5534 + 29.10535670 * k - 0.0000014 * t**2 - 0.00000011 * t**3
    moon = 201.5643 + 385.81693528 * k + 0.0107582 * t**2 + 0.00001238 * t**3 - 0.000000058 * t**4
    latitude = 160.7108 + 390.67050284 * k - 0.0016118 * t**2 - 0.00000227 * t**3 + 0.000000011 * t**4
    node = 124.7746 - 1.56375588 * k + 0.0020672 * t**2 + 0.00000215 * t**3
    day = _MEAN + _MONTH * k + 0.00015437 * t**2 - 0.000000150 * t**3 + 0.00000000073 * t**4
    day -= 0.00017 * sin(radians(node))
    for new, full, power, m, m1, f in _TERMS:
        amplitude = new if phase is MoonPhase.NEW else full
        day += amplitude * e**power * sin(radians(m * sun + m1 * moon + f * latitude))
    for number, (amplitude, degrees, rate) in enumerate(_PLANETS):
        bend = -0.009173 * t**2 if number == 0 else 0.0
        day += amplitude * sin(radians(degrees + rate * k + bend))
    return day


def _utc_ns(ephemeris_day: float) -> int:
    return round((ephemeris_day - _JD_1970) * 86_400 - _TT_MINUS_UTC_S) * 1_000_000_000
