"""Which frequency a sleeper's own rhythm takes from their breath, and when.

A tracker says anew at every instant where a breath stands and how fast it goes. A rhythm that obeyed every word would
trip over each cough. So the frequency is smoothed over some breaths and kept within the band; an estimate that is not
sure of itself changes nothing, and the last one holds. The phase is brought along by going at most 1 % faster or slower
than the breath until the rhythm's beat lies on the breath's peak. A change is worth saying if it is heard: more than
0.5 %, and not more often than every four seconds: each is written down.

The signal itself goes nowhere: what leaves the platform is one number of hertz, and only while its owner allows both
biosignal and pull.
"""

import math
from dataclasses import dataclass

from harmonia.client.phase import PhaseEstimate

CONFIDENCE_MIN = 0.5
SMOOTHING_CYCLES = 1.5
SAID_EVERY_S = 4.0
SAID_CHANGE = 0.005
CATCH_UP_S = 30.0
"""A phase that is off is corrected as if it were to take this long, ..."""
CATCH_UP_MAX = 0.01
"""... at no more than this share of the frequency."""


@dataclass(frozen=True, slots=True)
class Following:
    """How a sleeper's rhythm stands to their living signal."""

    estimate: PhaseEstimate
    missing: tuple[str, ...]
    """Purposes without which nothing goes out; empty: it may."""
    said_hz: float | None
    """The frequency that the sanctuary was told last; None: it follows nothing."""


class Pursuit:
    """Pure; times in seconds on any one clock."""

    def __init__(self, band_hz: tuple[float, float]) -> None:
        self._band_hz = band_hz
        self._smooth_hz: float | None = None
        self._seen_s = -math.inf
        self._said_s = -math.inf
        self.said_hz: float | None = None

    def see(self, estimate: PhaseEstimate, now_s: float) -> None:
        """Takes an estimate; one that is not sure of itself is left out."""
        if not (estimate.confidence >= CONFIDENCE_MIN and math.isfinite(estimate.frequency_hz)):
            return
        if self._smooth_hz is None:
            self._smooth_hz = estimate.frequency_hz
        share = -math.expm1(-max(now_s - self._seen_s, 0.0) * abs(self._smooth_hz) / SMOOTHING_CYCLES)
        self._smooth_hz += share * (estimate.frequency_hz - self._smooth_hz)
        self._seen_s = now_s

    def wish(self, estimate: PhaseEstimate, own_turns: float, now_s: float) -> float | None:
        """The frequency to say now, with the rhythm at ``own_turns``; None if there is nothing to say."""
        if self._smooth_hz is None or self._seen_s < now_s or now_s - self._said_s < SAID_EVERY_S:
            return None
        low, high = self._band_hz
        behind = (estimate.phase_turns - own_turns + 0.5) % 1.0 - 0.5
        hurry = behind / (CATCH_UP_S * self._smooth_hz)
        wanted = self._smooth_hz * (1 + min(max(hurry, -CATCH_UP_MAX), CATCH_UP_MAX))
        wanted = min(max(wanted, low), high)
        if self.said_hz is not None and abs(wanted - self.said_hz) <= SAID_CHANGE * self.said_hz:
            return None
        return wanted

    def said(self, frequency_hz: float, now_s: float) -> None:
        """The sanctuary has been told."""
        self.said_hz, self._said_s = frequency_hz, now_s

    def forget(self) -> None:
        """Nothing is followed any more."""
        self.said_hz = None
