"""What the phase was, once the future is known, and how far an estimate was from it.

The truth is a Butterworth filter of second order run forwards and backwards, and the Hilbert transform of that: in one
pass over the spectrum, since a filter that runs both ways weighs each frequency by its squared magnitude, unshifted.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

REACH_WIDTHS = 3.0
"""How far the filter reaches, in inverse widths of the band."""


def analytic(samples: NDArray[np.float64], rate_hz: float, band: tuple[float, float]) -> NDArray[np.complex128]:
    """The band-passed analytic signal: its real part is the signal, its angle the phase. Gaps are bridged."""
    known = np.isfinite(samples)
    if not known.any():
        return np.zeros(len(samples), dtype=np.complex128)
    index = np.arange(len(samples))
    whole = np.interp(index, index[known], samples[known])
    # Mirrored at both ends about its end points, as filters that run both ways do: an edge is no step.
    reach = min(int(4 * REACH_WIDTHS / (band[1] - band[0]) * rate_hz), len(whole) - 1)
    before, after = 2 * whole[0] - whole[reach:0:-1], 2 * whole[-1] - whole[-2 : -reach - 2 : -1]
    padded = np.concatenate([before, whole, after])
    frequencies = np.fft.fftfreq(len(padded), 1 / rate_hz)
    weights = np.zeros(len(padded))
    rising = frequencies > 0
    lo, hi = (np.tan(np.pi * corner / rate_hz) for corner in band)
    at = np.tan(np.pi * frequencies[rising] / rate_hz)
    weights[rising] = 2.0 / (1.0 + ((at * at - lo * hi) / (at * (hi - lo))) ** 4)
    spectrum = np.fft.fft(padded - whole.mean()) * weights
    result: NDArray[np.complex128] = np.fft.ifft(spectrum)[len(before) : len(before) + len(whole)]
    return result


def near_missing(samples: NDArray[np.float64], rate_hz: float, band: tuple[float, float]) -> NDArray[np.bool_]:
    """Where the truth rests on missing samples."""
    missing = np.concatenate([[0], np.cumsum(~np.isfinite(samples))])
    reach = int(REACH_WIDTHS / (band[1] - band[0]) * rate_hz)
    index = np.arange(len(samples))
    begin, end = np.maximum(index - reach, 0), np.minimum(index + reach + 1, len(samples))
    near: NDArray[np.bool_] = missing[end] > missing[begin]
    return near


@dataclass(frozen=True, slots=True)
class Errors:
    """Phase errors over many instants, estimate minus truth."""

    mean_deg: float
    sd_deg: float
    """Circular: √(−2·ln R)."""
    resultant: float
    """R: 1 if every error is the same, 0 if they are anything."""


def errors(phase_turns: NDArray[np.float64], truth: NDArray[np.complex128], where: NDArray[np.bool_]) -> Errors:
    """How an estimate did, there."""
    turned = np.exp(1j * (2 * np.pi * phase_turns[where] - np.angle(truth[where])))
    mean = complex(turned.mean())
    resultant = min(abs(mean), 1.0)
    spread = float(np.degrees(np.sqrt(-2 * np.log(max(resultant, 1e-9)))))
    return Errors(float(np.degrees(np.angle(mean))), spread, resultant)
