"""A living signal for `harmonia join --biosignal`: replayed from a file in real time, or read live from standard input.

Any sensor whose program can print lines can be piped in. Its time stamps are of its own clock, and its lines may come
in bursts; so samples are placed by their own stamps, and what relates the two clocks is found from when lines came, and
corrected by no more than 100 ppm: a burst moves nothing, and a crystal that is off is followed all night.
"""

import itertools
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click
import trio

from harmonia import _core
from harmonia.client import PhaseTracker, Sleeper
from harmonia.errors import BadInput

if TYPE_CHECKING:
    from harmonia.bridges import signals

STEP_S = 0.05
RATE_FROM = 32
"""A live signal's rate is that of its first lines."""
HEADER = b"t_s,value"
WRONG_MAX = 10
LINE_MAX = 1000
TIME_MAX_S = 1e10
"""No clock that counts seconds says more: those since 1970 are a fifth of it."""
DRIFT_MAX = 1e-4
LEAP_S = 5.0
"""A stamp farther than this from both the one before and from when it came is a mistake."""
LEAPS_MAX = 32
"""So many mistakes in a row that agree are a sensor whose clock began anew."""

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
        cut, place, waiting, tracker = _Lines(), _Placed(), list[tuple[int, float]](), None
        wrong = heard = 0
        while chunk := await trio.to_thread.run_sync(_read, abandon_on_cancel=True):
            for one in cut.take(chunk):
                sample = _parse(one)
                at_ns = None if sample is None else place.platform_ns(sample[0], who.platform.core)
                if sample is None or at_ns is None:
                    if one.strip() != HEADER:
                        wrong += 1
                        if wrong == 1:
                            _say(f"{_shown(one)} is left out, and so is every line like it: {_why(sample)}")
                    if not heard and wrong >= WRONG_MAX:
                        raise BadInput(f"standard input: {_shown(one)} is no sample; lines t_s,value are expected")
                    continue
                heard += 1
                if tracker is not None:
                    tracker.feed(at_ns, sample[1])
                    continue
                waiting.append((at_ns, sample[1]))
                if len(waiting) == RATE_FROM:
                    tracker = PhaseTracker(band_hz, _rate_hz([at_ns for at_ns, _ in waiting]))
                    for early in waiting:
                        tracker.feed(*early)
                    nursery.start_soon(who.follow, tracker)
        if wrong > 1:
            _say(f"{wrong} lines were left out")


def _read() -> bytes:
    return os.read(0, 65536)


def _say(line: str) -> None:
    click.echo(f"warning: standard input: {line}", err=True)


def _shown(line: bytes) -> str:
    return repr(line[:40].decode(errors="replace"))


def _why(sample: tuple[float, float] | None) -> str:
    return "it is no sample t_s,value" if sample is None else "its time leaps"


def _parse(line: bytes) -> tuple[float, float] | None:
    try:
        at_s, value = line.split(b",")[:2]
        sample = float(at_s), float(value.strip() or b"nan")
    except ValueError:
        return None
    return sample if abs(sample[0]) <= TIME_MAX_S and len(line) <= LINE_MAX else None


class _Lines:
    """Cuts what comes into lines. What goes on without an end is one line, too long, however much comes."""

    def __init__(self) -> None:
        self._rest = b""
        self._beyond = False

    def take(self, chunk: bytes) -> list[bytes]:
        """The lines that ended with this."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if self._beyond and lines:
            del lines[0]
            self._beyond = False
        if self._beyond:
            self._rest = b""
        elif len(self._rest) > LINE_MAX:
            lines.append(self._rest[: LINE_MAX + 1])
            self._rest, self._beyond = b"", True
        return lines


def _rate_hz(times_ns: list[int]) -> float:
    steps = sorted(later - earlier for earlier, later in itertools.pairwise(times_ns))
    step_ns = steps[len(steps) // 2]
    if step_ns <= 0:
        raise BadInput("standard input: the times of the first samples do not grow; lines t_s,value are expected")
    return float(f"{1e9 / step_ns:.6g}")


class _Placed:
    """The sensor's time on the platform's clock.

    A stamp fits if it continues the one before, as in a burst, or if it came when it says, as after a pause.
    """

    def __init__(self) -> None:
        self._offset_s = self._last_s = 0.0
        self._leapt_s = self._leapt_offset_s = 0.0
        self._leaps = 0
        self._anchored = False

    def platform_ns(self, at_s: float, core: _core.Platform) -> int | None:
        """None for a stamp that leaps."""
        late_s = core.clock().platform_ns / 1e9 - at_s
        if self._anchored and not _fits(at_s, self._last_s, late_s, self._offset_s):
            agrees = self._leaps and _fits(at_s, self._leapt_s, late_s, self._leapt_offset_s)
            self._leaps = self._leaps + 1 if agrees else 1
            self._leapt_s, self._leapt_offset_s = at_s, late_s
            if self._leaps < LEAPS_MAX:
                return None
            self._anchored = False
        if self._anchored:
            most = DRIFT_MAX * max(0.0, at_s - self._last_s)
            self._offset_s += min(max(late_s - self._offset_s, -most), most)
        else:
            self._offset_s, self._anchored = late_s, True
        self._last_s, self._leaps = at_s, 0
        return round((at_s + self._offset_s) * 1e9)


def _fits(at_s: float, before_s: float, late_s: float, offset_s: float) -> bool:
    return abs(at_s - before_s) <= LEAP_S or abs(late_s - offset_s) <= LEAP_S
