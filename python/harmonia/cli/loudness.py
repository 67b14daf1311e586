"""How loud a sound is to people: loudness over time, its range, peaks between samples, and clicks.

A sine of 60 Hz and one of 2 kHz of the same level are not equally loud, and a bedroom is no place to find that out. So
levels are stated in LUFS, after ITU-R BS.1770-5 and EBU R 128 (Tech 3341, 3342): power behind the K-weighting (a shelf
of 4 dB from 1.5 kHz on, a high-pass at 38 Hz), in windows of 400 ms (momentary) and 3 s (short-term), gated for the
whole. The filters are applied as spectra, block by block with a run-up, which needs no loop over samples. A true peak
is that of the band-limited curve through the samples, here at four times their rate.

A click is an edge: a sample of sixty times the high-frequency power of the half second around it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harmonia.bridges.sounds import Sound

Floats = NDArray[np.float64]
HOP_S = 0.1
MOMENTARY_HOPS, SHORT_TERM_HOPS = 4, 30
SILENCE_LUFS = -120.0
_BLOCK_S, _RUN_UP_S = 8.0, 0.5
_CLICK_S, _CLICK_TIMES = 0.002, 60.0
"""Noise alone exceeds its own power so many times less than once in a year."""
_CLICK_FLOOR = 1e-8
"""-80 dBFS: what is softer than this is the rounding of a file."""


@dataclass(frozen=True, slots=True)
class Loudness:
    """A sound in figures. Levels at every 0.1 s; those of windows that do not fit yet are of what there is."""

    integrated_lufs: float
    range_lu: float
    momentary_lufs: Floats
    short_term_lufs: Floats
    rms_dbfs: Floats
    """Of 400 ms; a full-scale sine on both ears is 0."""
    true_peak_dbtp: float
    clicks: int
    correlation: float
    """Of the two ears over the whole: 1 a point, 0 as wide as can be."""

    @property
    def times_s(self) -> Floats:
        """The end of each window."""
        return np.arange(1, len(self.momentary_lufs) + 1, dtype=np.float64) * HOP_S


def measure(sound: Sound, rate: int) -> Loudness:
    """The figures of a sound. Anything shorter than 0.1 s is silence."""
    hop = round(rate * HOP_S)
    weighted, plain = _hop_powers(sound, rate, hop, k_weight(rate)), _hop_powers(sound, rate, hop, None)
    momentary, short_term = _windows(weighted, MOMENTARY_HOPS), _windows(weighted, SHORT_TERM_HOPS)
    left, right = sound[:, 0].astype(np.float64), sound[:, 1].astype(np.float64)
    both = np.sqrt(np.dot(left, left) * np.dot(right, right))
    return Loudness(
        integrated_lufs=_integrated(momentary[MOMENTARY_HOPS - 1 :]),
        range_lu=_range(short_term[SHORT_TERM_HOPS - 1 :]),
        momentary_lufs=_lufs(momentary),
        short_term_lufs=_lufs(short_term),
        rms_dbfs=_db(_windows(plain, MOMENTARY_HOPS)),
        true_peak_dbtp=float(20 * np.log10(max(_true_peak(sound, rate), 1e-6))),
        clicks=_clicks(sound, rate),
        correlation=float(np.dot(left, right) / both) if both > 0 else 1.0,
    )


def k_weight(rate: int) -> tuple[tuple[Floats, Floats], ...]:
    """The two filters of BS.1770 as numerators and denominators, for any sample rate."""
    k = np.tan(np.pi * 1681.974450955533 / rate)
    high, q = 10 ** (3.999843853973347 / 20), 0.7071752369554196
    band = high**0.4996667741545416
    shelf = (
        np.array([high + band * k / q + k * k, 2 * (k * k - high), high - band * k / q + k * k]),
        np.array([1 + k / q + k * k, 2 * (k * k - 1), 1 - k / q + k * k]),
    )
    k, q = np.tan(np.pi * 38.13547087602444 / rate), 0.5003270373238773
    high_pass = (
        np.array([1.0, -2.0, 1.0]),
        np.array([1.0, 2 * (k * k - 1) / (1 + k / q + k * k), (1 - k / q + k * k) / (1 + k / q + k * k)]),
    )
    return shelf, high_pass


def _hop_powers(sound: Sound, rate: int, hop: int, filters: tuple[tuple[Floats, Floats], ...] | None) -> Floats:
    """The mean square of each hop, both ears added."""
    hops = len(sound) // hop
    powers = np.zeros(hops)
    step, run_up = max(1, round(_BLOCK_S / HOP_S)), round(_RUN_UP_S * rate)
    for first in range(0, hops, step):
        begin, end = first * hop, min(first + step, hops) * hop
        block = sound[max(0, begin - run_up) : end].astype(np.float64)
        if filters is not None:
            size = 1 << (len(block) + run_up - 1).bit_length()
            around = np.exp(-2j * np.pi * np.arange(size // 2 + 1) / size)
            response = np.prod([np.polyval(b[::-1], around) / np.polyval(a[::-1], around) for b, a in filters], axis=0)
            block = np.fft.irfft(np.fft.rfft(block, size, axis=0) * response[:, None], size, axis=0)[: len(block)]
        squares = (block[-(end - begin) :] ** 2).sum(axis=1)
        powers[first : first + (end - begin) // hop] = squares.reshape(-1, hop).mean(axis=1)
    return powers


def _windows(powers: Floats, hops: int) -> Floats:
    """The mean over the last ``hops``, of as many as there are."""
    sums = np.concatenate([np.zeros(1), np.cumsum(powers)])
    ends = np.arange(1, len(sums))
    begins = np.maximum(ends - hops, 0)
    means: Floats = np.maximum(sums[ends] - sums[begins], 0.0) / (ends - begins)
    return means


def _db(powers: Floats) -> Floats:
    levels: Floats = np.maximum(10 * np.log10(np.maximum(powers, 1e-15)), SILENCE_LUFS)
    return levels


def _lufs(powers: Floats) -> Floats:
    levels: Floats = np.maximum(10 * np.log10(np.maximum(powers, 1e-15)) - 0.691, SILENCE_LUFS)
    return levels


def _integrated(powers: Floats) -> float:
    """Gated as BS.1770 says: above -70 LUFS, then above 10 LU below the mean of those."""
    loud = powers[_lufs(powers) > -70.0]
    if len(loud):
        loud = loud[_lufs(loud) > _lufs(loud.mean(keepdims=True))[0] - 10.0]
    return float(_lufs(loud.mean(keepdims=True))[0]) if len(loud) else SILENCE_LUFS


def _range(powers: Floats) -> float:
    """From the 10th to the 95th percentile of what is above -70 LUFS and 20 LU below the mean of that (Tech 3342)."""
    loud = powers[_lufs(powers) > -70.0]
    if not len(loud):
        return 0.0
    levels = _lufs(loud[_lufs(loud) > _lufs(loud.mean(keepdims=True))[0] - 20.0])
    low, high = np.percentile(levels, [10, 95])
    return float(high - low)


def _true_peak(sound: Sound, rate: int) -> float:
    peak, step, run_up = 0.0, round(_BLOCK_S * rate), 1024
    for begin in range(0, len(sound), step):
        before = min(begin, run_up)
        block = sound[begin - before : begin + step + run_up].astype(np.float64)
        size = 1 << (len(block) + run_up - 1).bit_length()
        dense = np.fft.irfft(np.fft.rfft(block, size, axis=0), 4 * size, axis=0) * 4
        # Where a block is cut there is an edge that the sound does not have.
        peak = max(peak, float(np.abs(dense[4 * before : 4 * (before + min(step, len(sound) - begin))]).max()))
    return peak


def _clicks(sound: Sound, rate: int) -> int:
    """How many separate edges there are."""
    step, around = max(1, round(_CLICK_S * rate)), round(0.5 / _CLICK_S)
    # Four differences: 24 dB an octave, so that what is left of a voice is nothing beside an edge, and no more.
    edges = np.diff(sound.mean(axis=1, dtype=np.float64), n=4) / 16
    count = len(edges) // step
    if not count:
        return 0
    squares = (edges[: count * step] ** 2).reshape(count, step)
    parts = np.array_split(squares.mean(axis=1), max(1, count // around))
    usual = np.repeat([np.median(part) for part in parts], [len(part) for part in parts])
    over = squares.max(axis=1) > np.maximum(_CLICK_TIMES * usual, _CLICK_FLOOR)
    return int((over & ~np.concatenate([[False], over[:-1]])).sum())
