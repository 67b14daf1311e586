"""From a platform's clock to the sanctuary's, after the night: what is known once both sides of an instant are.

A live clock knows the past only. After the night each instant lies between exchanges before it and exchanges after it,
and causality bounds it from both: with offset = node − platform,

    offset(t1) ≤ t2 − t1      the request did not arrive before it left
    offset(t4) ≥ t3 − t4      nor did the answer

How far does such a bound reach? If the clocks' frequency changes by no more than w a second, offset(t) + w·t²/2 is
convex, so between two instants it lies below any chord over its values; and these lie below the bounds there. The best
of all chords at once is the lower convex hull of the points (t1, t2 − t1 + w·t1²/2), and likewise, mirrored, for the
other side. That is exact: no line within the assumptions is left out, and none beyond them is let in. Where exchanges
are far apart the largest drift limits what a chord allows.

What is *likely* the filter of the live clock says, twice: once as it heard the night, and once with time reversed,
where the last exchange comes first. The two have seen different queues, so their errors hardly agree; weighted by
what each states they make one estimate, which is kept inside what is certain. (The middle of the two hulls would be
simpler. It rests on a few lucky exchanges, and with exponential delays it is twice as wrong as the live clock.)

No file, no clock. Sources: Andrew 1979 for the hulls; Fraser and Potter 1969 for two filters that meet.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harmonia import _core

ROUNDING_NS = 2.0
"""Stamps are whole nanoseconds, rounded on both sides."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One question and answer; stamps as in NTP, t1 and t4 on the platform's clock, t2 and t3 on the node's."""

    t1_ns: int
    t2_ns: int
    t3_ns: int
    t4_ns: int
    stamp_error_ns: int = 0
    """How far the platform's stamps may be off in the harmful direction."""
    era: int = 0
    """Exchanges of one era relate the same two clocks."""

    @property
    def round_trip_ns(self) -> int:
        """Time on the way, both ways together."""
        return (self.t4_ns - self.t1_ns) - (self.t3_ns - self.t2_ns)


@dataclass(frozen=True, slots=True)
class Restamped:
    """One instant on the node's clock."""

    node_ns: int
    bound_ns: int
    """The true node time is no further than this from ``node_ns``, whatever the network's asymmetry."""
    uncertainty_ns: int
    """99 % of errors lie within this if both ways have the same delay floor."""
    inside: bool
    """Whether exchanges lie on both sides; beyond them the largest drift alone limits the bound."""


class Era:
    """The relation of one platform's clock to one node's, as long as it lasted."""

    def __init__(self, exchanges: Sequence[Exchange], max_drift_ppb: int, max_wander: float) -> None:
        """``max_wander`` in 1/s. Raises ValueError without an exchange."""
        if not exchanges:
            raise ValueError("an era has at least one exchange")
        first = exchanges[0]
        self._base_ns = first.t4_ns
        self._offset_ns = first.t3_ns - first.t4_ns
        uppers = [(self._seconds(e.t1_ns), self._relative(e.t2_ns - e.t1_ns) + _slack_ns(e)) for e in exchanges]
        # The lower side is the upper one in a mirror.
        lowers = [(self._seconds(e.t4_ns), -self._relative(e.t3_ns - e.t4_ns) + _slack_ns(e)) for e in exchanges]
        self._upper = _Ceiling(uppers, max_drift_ppb, max_wander * 1e9)
        self._lower = _Ceiling(lowers, max_drift_ppb, max_wander * 1e9)
        forth = [(e.t1_ns, e.t2_ns, e.t3_ns, e.t4_ns, e.stamp_error_ns) for e in exchanges]
        # With time reversed, an answer is a request.
        back = [(-e.t4_ns, -e.t3_ns, -e.t2_ns, -e.t1_ns, e.stamp_error_ns) for e in reversed(exchanges)]
        self._forth = [
            _Line(self._seconds(at), self._relative(offset), rate, *rest)
            for at, offset, rate, *rest in _core.estimates(forth, max_drift_ppb=max_drift_ppb, max_wander=max_wander)
        ]
        self._back = [
            _Line(self._seconds(-at), self._relative(-offset), rate, *rest)
            for at, offset, rate, *rest in _core.estimates(back, max_drift_ppb=max_drift_ppb, max_wander=max_wander)
        ][::-1]
        self._forth_at = [line.at_s for line in self._forth]
        self._back_at = [line.at_s for line in self._back]
        self.first_ns = first.t1_ns
        self.last_ns = exchanges[-1].t4_ns

    def at(self, platform_ns: int) -> Restamped:
        """Node time at ``platform_ns``."""
        t = self._seconds(platform_ns)
        high, low = self._upper.at(t), -self._lower.at(t)
        likely, uncertainty_ns = self._likely(t)
        likely = min(max(likely, low), high)
        bound_ns = int(max(high - likely, likely - low)) + 1
        node_ns = platform_ns + self._offset_ns + round(likely)
        inside = self.first_ns <= platform_ns <= self.last_ns
        return Restamped(node_ns, bound_ns, min(round(uncertainty_ns), bound_ns), inside)

    def _likely(self, t: float) -> tuple[float, float]:
        """Offset and uncertainty from the last estimate before ``t`` and the first after it, each as far as it is."""
        before = bisect_right(self._forth_at, t) - 1
        after = bisect_right(self._back_at, t)
        views = [self._forth[before].at(t)] if before >= 0 else []
        views += [self._back[after].at(t)] if after < len(self._back) else []
        weights = [1 / (uncertainty * uncertainty) for _, uncertainty in views]
        offset = sum(w * offset for w, (offset, _) in zip(weights, views, strict=True)) / sum(weights)
        return offset, sum(weights) ** -0.5

    def _seconds(self, platform_ns: int) -> float:
        return (platform_ns - self._base_ns) / 1e9

    def _relative(self, offset_ns: int) -> float:
        return float(offset_ns - self._offset_ns)


@dataclass(frozen=True, slots=True)
class _Line:
    """What a filter said after an exchange."""

    at_s: float
    offset_ns: float
    rate_ppb: float
    uncertainty_ns: float
    uncertainty_rate_ppb: float
    wander_ppb: float

    def at(self, t: float) -> tuple[float, float]:
        """Offset and uncertainty at ``t`` s."""
        away_s = abs(t - self.at_s)
        uncertainty_ns = self.uncertainty_ns + self.uncertainty_rate_ppb * away_s + self.wander_ppb * away_s**1.5
        return self.offset_ns + self.rate_ppb * (t - self.at_s), max(uncertainty_ns, 1.0)


def _slack_ns(exchange: Exchange) -> float:
    return exchange.stamp_error_ns + ROUNDING_NS


class _Ceiling:
    """The tightest upper bound of a function of which some upper bounds are known."""

    def __init__(self, points: Iterable[tuple[float, float]], drift_ns: float, wander_ns: float) -> None:
        """``points`` as (s, ns), ``drift_ns`` in ns/s, ``wander_ns`` in ns/s²."""
        self._drift_ns, self._wander_ns = drift_ns, wander_ns
        # Forwards and backwards: no bound is looser than its neighbours' and the largest drift make it.
        self._points = self._tightened(reversed(self._tightened(sorted(points))))[::-1]
        self._times = [t for t, _ in self._points]
        self._hull: list[tuple[float, float]] = []
        for t, y in self._points:
            lifted = (t, y + wander_ns * t * t / 2)
            while len(self._hull) >= 2 and _turns_down(self._hull[-2], self._hull[-1], lifted):
                self._hull.pop()
            self._hull.append(lifted)
        self._corners = [t for t, _ in self._hull]

    def _tightened(self, points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
        tight: list[tuple[float, float]] = []
        for t, y in points:
            if tight and tight[-1][0] == t:
                tight[-1] = (t, min(y, tight[-1][1]))
                continue
            reach = tight[-1][1] + self._drift_ns * abs(t - tight[-1][0]) if tight else y
            tight.append((t, min(y, reach)))
        return tight

    def at(self, t: float) -> float:
        """The bound at ``t`` seconds, in ns."""
        after = bisect_right(self._times, t)
        near = self._points[max(after - 1, 0) : after + 1]
        best = min(y + self._drift_ns * abs(t - at) for at, y in near)
        corner = bisect_right(self._corners, t)
        if 0 < corner < len(self._hull):
            (t0, y0), (t1, y1) = self._hull[corner - 1], self._hull[corner]
            chord = y0 + (y1 - y0) * (t - t0) / (t1 - t0)
            best = min(best, chord - self._wander_ns * t * t / 2)
        return best


def _turns_down(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    """Whether ``b`` lies on or above the chord from ``a`` to ``c``."""
    return (b[1] - a[1]) * (c[0] - a[0]) >= (c[1] - a[1]) * (b[0] - a[0])


def eras(exchanges: Iterable[Exchange], max_drift_ppb: int, max_wander: float) -> list[Era]:
    """The eras of a night, in order."""
    sorted_out: dict[int, list[Exchange]] = {}
    for exchange in exchanges:
        sorted_out.setdefault(exchange.era, []).append(exchange)
    return [Era(one, max_drift_ppb, max_wander) for _, one in sorted(sorted_out.items())]


def era_at(night: Sequence[Era], platform_ns: int) -> tuple[Era, bool]:
    """The era that covers ``platform_ns``, or else the nearest; and whether it covers it. Raises ValueError on none."""
    if not night:
        raise ValueError("there is no exchange")
    nearest = min(night, key=lambda era: max(era.first_ns - platform_ns, platform_ns - era.last_ns, 0))
    return nearest, nearest.first_ns <= platform_ns <= nearest.last_ns
