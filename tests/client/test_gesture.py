"""Gestures: three taps are three taps, a line is a no, and what is garbled is one, too."""

import math
import os
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from harmonia.client import Purpose, Taps, obey_pipe
from harmonia.errors import BadInput, NotFound

TAP = [0.0, 3.0, 3.5, 0.2]


def knock(taps: Taps, *samples: float, step_s: float = 0.1, from_s: float = 0.0) -> list[int]:
    """At which samples the gesture was complete."""
    return [n for n, value in enumerate(samples) if taps.feed(from_s + n * step_s, value)]


def test_three_taps_within_two_seconds_are_the_gesture() -> None:
    assert knock(Taps(2.0), *TAP * 3) == [9]
    assert knock(Taps(2.0), *[-value for value in TAP * 3]) == [9]
    assert knock(Taps(2.0), *TAP * 7) == [9, 21]


def test_two_taps_a_long_knock_and_slow_taps_are_not() -> None:
    assert knock(Taps(2.0), *TAP * 2) == []
    assert knock(Taps(2.0), 0.0, *[3.0] * 100) == []
    assert knock(Taps(2.0), *TAP * 9, step_s=0.5) == []
    assert knock(Taps(2.0), *[3.0, 1.5] * 9) == []  # it never falls below half: one knock that trembles


@given(st.lists(st.tuples(st.floats(), st.floats()), max_size=50))
def test_what_is_no_number_is_left_out(samples: list[tuple[float, float]]) -> None:
    taps = Taps(1.0)
    for t_s, value in samples:
        assert taps.feed(t_s, value) in (True, False)
    assert not taps.feed(0.0, math.nan)


@pytest.mark.parametrize("threshold", [0.0, -1.0, math.nan, math.inf])
def test_taps_need_a_threshold(threshold: float) -> None:
    with pytest.raises(BadInput, match="threshold above 0"):
        Taps(threshold)


class Muted:
    def __init__(self) -> None:
        self.heard: list[tuple[Purpose, ...]] = []

    def mute(self, *purposes: Purpose) -> None:
        self.heard.append(purposes)


async def told(pipe: Path, text: bytes, count: int, tap_threshold: float | None = None) -> list[tuple[Purpose, ...]]:
    """What was muted once ``text`` had been written in two pieces and ``count`` mutes had come."""
    who = Muted()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(obey_pipe, who, pipe, tap_threshold)
        for part in (text[:5], text[5:]):
            writer = os.open(pipe, os.O_RDWR)
            os.write(writer, part)
            await trio.testing.wait_all_tasks_blocked()
            os.close(writer)
        with trio.fail_after(30):
            while len(who.heard) < count:  # noqa: ASYNC110 (a pipe carries it)
                await trio.sleep(0.005)
        nursery.cancel_scope.cancel()
    return who.heard


async def test_each_line_of_the_pipe_takes_back_what_it_names(tmp_path: Path) -> None:
    pipe = tmp_path / "button"
    os.mkfifo(pipe)
    heard = await told(pipe, b"optout voice recording\n\noptout\nopt\xff\noptout voise\n", 5)
    assert heard == [(Purpose.VOICE, Purpose.RECORDING), (), (), (), ()]


async def test_three_taps_through_the_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "sensor"
    os.mkfifo(pipe)
    lines = [f"{n * 0.1:.1f},{value}" for n, value in enumerate(TAP * 3)]
    assert await told(pipe, "\n".join([*lines, ""]).encode(), 1, tap_threshold=2.0) == [()]


async def test_what_is_no_pipe_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="mkfifo"):
        await obey_pipe(Muted(), tmp_path / "nothing")
    (tmp_path / "file").write_text("optout\n")
    with pytest.raises(BadInput, match="no named pipe"):
        await obey_pipe(Muted(), tmp_path / "file")
