"""A living signal for `harmonia join --biosignal`: replayed from a file in real time, or read live from standard input.

Any sensor whose program can print lines can be piped in. Its time stamps are of its own clock, and its lines may come
in bursts; so samples are placed by their own stamps, and what relates the two clocks is found from when lines came, and
corrected by no more than 100 ppm: a burst moves nothing, and a crystal that is off is followed all night.
"""

import itertools
import math
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from harmonia import _core
from harmonia.client import PhaseTracker, Sleeper
from harmonia.errors import BadInput

if TYPE_CHECKING:
    from harmonia.bridges import signals

STEP_S = 0.05
RATE_FROM = 32
"""A live signal's rate is that of its first lines."""
WRONG_MAX = 10
DRIFT_MAX = 1e-4

Sense = Callable[[Sleeper], Awaitable[None]]


def prepare(source: str, channel: str | None, band_hz: tuple[float, float]) -> Sense:
    """What makes a sleeper follow the signal of ``source``, a file or ``-``, until cancelled.

    Raises NotFound, BadInput, StorageError for a file that cannot be followed.
    """
    if source == "-":
        low, high = band_hz
        if not 0 < low < high:
            raise BadInput(f"a band goes from a frequency above 0 to a higher one, not from {low:g} to {high:g} Hz")
        return lambda who: _live(who, band_hz)
    from harmonia.bridges import signals

    signal = signals.read(Path(source), channel)
    tracker = PhaseTracker(band_hz, signal.rate_hz)
    return lambda who: _replayed(who, tracker, signal)


async def _replayed(who: Sleeper, tracker: PhaseTracker, signal: "signals.Signal") -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(who.follow, tracker)
        core = who.platform.core
        begun_ns, step_ns, done = core.clock().platform_ns, 1e9 / signal.rate_hz, 0
        while done < len(signal.samples):
            due = min(int((core.clock().platform_ns - begun_ns) / step_ns) + 1, len(signal.samples))
            for i in range(done, due):
                tracker.feed(begun_ns + round(i * step_ns), float(signal.samples[i]))
            done = max(done, due)
            await trio.sleep(STEP_S)


async def _live(who: Sleeper, band_hz: tuple[float, float]) -> None:
    async with trio.open_nursery() as nursery:
        line, place, waiting, tracker = b"", _Placed(), list[tuple[int, float]](), None
        wrong = heard = 0
        while chunk := await trio.to_thread.run_sync(os.read, 0, 65536, abandon_on_cancel=True):
            *lines, line = (line + chunk).split(b"\n")
            for one in lines:
                sample = _parse(one)
                if sample is None:
                    wrong += 1
                    if not heard and wrong >= WRONG_MAX:
                        raise BadInput(
                            f"standard input: {one[:40].decode(errors='replace')!r} is no sample; lines t_s,value are"
                            " expected"
                        )
                    continue
                heard += 1
                at_ns = place.platform_ns(sample[0], who.platform.core)
                if tracker is not None:
                    tracker.feed(at_ns, sample[1])
                    continue
                waiting.append((at_ns, sample[1]))
                if len(waiting) == RATE_FROM:
                    tracker = PhaseTracker(band_hz, _rate_hz([at_ns for at_ns, _ in waiting]))
                    for early in waiting:
                        tracker.feed(*early)
                    nursery.start_soon(who.follow, tracker)


def _parse(line: bytes) -> tuple[float, float] | None:
    try:
        at_s, value = line.split(b",")[:2]
        sample = float(at_s), float(value.strip() or b"nan")
    except ValueError:
        return None
    return sample if math.isfinite(sample[0]) else None


def _rate_hz(times_ns: list[int]) -> float:
    steps = sorted(later - earlier for earlier, later in itertools.pairwise(times_ns))
    step_ns = steps[len(steps) // 2]
    if step_ns <= 0:
        raise BadInput("standard input: the times of the first samples do not grow; lines t_s,value are expected")
    return float(f"{1e9 / step_ns:.6g}")


class _Placed:
    """The sensor's time on the platform's clock."""

    def __init__(self) -> None:
        self._offset_s: float | None = None
        self._last_s = 0.0

    def platform_ns(self, at_s: float, core: _core.Platform) -> int:
        late_s = core.clock().platform_ns / 1e9 - at_s
        if self._offset_s is None:
            self._offset_s = late_s
        else:
            most = DRIFT_MAX * max(0.0, at_s - self._last_s)
            self._offset_s += min(max(late_s - self._offset_s, -most), most)
        self._last_s = at_s
        return round((at_s + self._offset_s) * 1e9)
