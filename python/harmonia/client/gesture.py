"""A gesture that opts out: what a maker's button, switch or sensor says to a platform, by a pipe or sample by sample.

Somebody half asleep finds no keyboard. Whoever builds a bed knows a better gesture, so this takes the simplest things
that any program can say: a line, or a stream of samples in which somebody taps. Three taps are three rises above a
threshold within two seconds, each after the signal has fallen below half of it again; one knock against the bed, or one
that goes on, is none.
"""

import math
import os
import stat
from collections import deque
from pathlib import Path
from typing import Protocol

import trio

from harmonia.client.names import Purpose
from harmonia.errors import BadInput, NotFound, StorageError

TAPS = 3
WITHIN_S = 2.0
LINE_MAX = 1000


class Mutable(Protocol):
    """What a gesture acts on: a :class:`harmonia.client.Sleeper`."""

    def mute(self, *purposes: Purpose) -> object: ...


class Taps:
    """Pure: finds ``count`` taps within ``within_s`` in a sensor's samples, whatever their rate."""

    def __init__(self, threshold: float, count: int = TAPS, within_s: float = WITHIN_S) -> None:
        """Raises BadInput unless there can be such taps."""
        if not (math.isfinite(threshold) and threshold > 0 and count >= 1 and within_s > 0):
            raise BadInput(f"taps need a threshold above 0, at least one tap and some time, not {threshold:g}")
        self._threshold = threshold
        self._within_s = within_s
        self._rises: deque[float] = deque(maxlen=count)
        self._above = False

    def feed(self, t_s: float, value: float) -> bool:
        """Takes a sample; True if it completes the gesture. What is no number is left out."""
        size = abs(value)
        if not (math.isfinite(t_s) and math.isfinite(size)):
            return False
        if self._above:
            self._above = size >= self._threshold / 2
            return False
        if size < self._threshold:
            return False
        self._above = True
        self._rises.append(t_s)
        if len(self._rises) == self._rises.maxlen and 0 <= t_s - self._rises[0] <= self._within_s:
            self._rises.clear()
            return True
        return False


async def obey_pipe(
    who: Mutable,
    pipe: Path,
    tap_threshold: float | None = None,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Mutes ``who`` for each line that comes through ``pipe``, a named pipe, until cancelled.

    ``optout`` or an empty line takes everything back, ``optout PURPOSE...`` those. With ``tap_threshold`` lines
    ``t_s,value`` are a sensor's samples, and three taps take everything back. Any other line does so, too: a gesture
    that is garbled on its way is still one. Raises NotFound, BadInput, StorageError for what is no pipe.
    """
    taps = None if tap_threshold is None else Taps(tap_threshold)
    descriptor = _open(pipe)
    task_status.started()
    rest = b""
    try:
        while True:
            await trio.lowlevel.wait_readable(descriptor)
            try:
                chunk = os.read(descriptor, 4096)
            except BlockingIOError:
                continue
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > LINE_MAX:
                lines, rest = [*lines, rest], b""
            for line in lines:
                _obey(who, line.decode(errors="replace").strip(), taps)
    finally:
        os.close(descriptor)


def _obey(who: Mutable, line: str, taps: Taps | None) -> None:
    if taps is not None:
        try:
            t_s, value = map(float, line.split(",")[:2])
        except ValueError:
            pass
        else:
            if taps.feed(t_s, value):
                who.mute()
            return
    word, *rest = line.split() or ["optout"]
    who.mute(*(meant(rest) if word == "optout" else ()))


def meant(names: list[str]) -> list[Purpose]:
    """The purposes that ``names`` name; none, which is everything to an opt-out, if one of them names no purpose."""
    try:
        purposes = [Purpose.of(name) for name in names]
    except BadInput:
        return []
    return [] if Purpose.UNKNOWN in purposes else purposes


def _open(pipe: Path) -> int:
    """Reading and writing, so that it stays open when its writer goes."""
    try:
        if not stat.S_ISFIFO(pipe.stat().st_mode):
            raise BadInput(f"{pipe} is no named pipe: make one with `mkfifo {pipe}`")
        return os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    except FileNotFoundError:
        raise NotFound(f"{pipe}: no such pipe; make one with `mkfifo {pipe}`") from None
    except OSError as error:
        raise StorageError(f"{pipe}: {error.strerror}") from None
