"""The phase of a sleeper's breath or slow waves, as their sensor delivers it."""

from dataclasses import dataclass
from typing import Literal

from harmonia import _core
from harmonia.errors import BadInput

EstimatorName = Literal["predictor", "end-corrected", "hilbert", "pll"]


@dataclass(frozen=True, slots=True)
class PhaseEstimate:
    """Where a living rhythm stands."""

    phase_turns: float
    """At least 0 and below 1; 0 at the peak of the band-passed signal."""
    frequency_hz: float
    """Averaged over two cycles, always within the band: a woven circle's own rhythm of this sleeper."""
    confidence: float
    """The resultant length to be expected of the phase's error: 0 anything is as likely, 1 certain."""


class PhaseTracker:
    """Feed it each sample with its time on the platform's clock; ask it for any instant. Thread-safe.

    Samples may come late, jitter by half a step, or be lost; a time that lies before a sample that was fed already is
    left out. What it says of an instant never depends on a sample fed later.
    """

    def __init__(self, band_hz: tuple[float, float], rate_hz: float, estimator: EstimatorName = "predictor") -> None:
        """``rate_hz`` is what the sensor promises. Raises BadInput for a band that cannot be tracked at that rate."""
        self.band_hz = band_hz
        try:
            self._core = _core.LiveTracker(*band_hz, rate_hz, estimator)
        except ValueError as error:
            raise BadInput(str(error)) from None

    def feed(self, platform_ns: int, value: float) -> bool:
        """Takes a sample, NaN for one that is known to be bad. False if it came too late to be used."""
        return self._core.push(platform_ns, value)

    def at(self, platform_ns: int) -> PhaseEstimate:
        """Where the rhythm stands at an instant; after the newest sample: will have got to, ever less surely."""
        return PhaseEstimate(*self._core.at(platform_ns))
