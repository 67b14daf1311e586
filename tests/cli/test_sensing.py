"""A living signal through a pipe: whatever a sensor's program prints, the night goes on."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from harmonia.cli import sensing
from harmonia.client import PhaseTracker
from harmonia.errors import BadInput

HZ, RATE_HZ = 0.8, 20
BEGUN_S = 5000.0


class Someone:
    """A sleeper whose clock moves on with each sample, and who keeps the tracker that they follow."""

    def __init__(self) -> None:
        self.now_s = BEGUN_S
        self.platform = SimpleNamespace(core=self)
        self.tracker: PhaseTracker | None = None

    def clock(self) -> Any:
        return SimpleNamespace(platform_ns=round(self.now_s * 1e9))

    async def follow(self, tracker: PhaseTracker) -> None:
        self.tracker = tracker


def breath(begin: int, count: int, first_s: float = 0.0) -> list[bytes]:
    """Lines of a slow cosine whose clock said ``first_s`` at sample 0."""
    return [
        f"{first_s + i / RATE_HZ:.3f},{math.cos(2 * math.pi * HZ * i / RATE_HZ):.5f}\n".encode()
        for i in range(begin, begin + count)
    ]


async def live(monkeypatch: pytest.MonkeyPatch, chunks: list[bytes]) -> Someone:
    """Feeds the chunks, one each sample's time, until the end."""
    one, coming = Someone(), iter(chunks)

    def read() -> bytes:
        one.now_s += 1 / RATE_HZ
        return next(coming, b"")

    monkeypatch.setattr(sensing, "_read", read)
    who: Any = one
    with trio.fail_after(30):
        await sensing.prepare("-", None, (0.4, 1.6))(who)
    return one


def off_turns(one: Someone, index: int) -> float:
    """How far the tracker is from the truth when the sample of that index came, the newest one."""
    assert one.tracker is not None
    estimate = one.tracker.at(round((BEGUN_S + (1 + index) / RATE_HZ) * 1e9))
    assert estimate.confidence > 0.7
    return abs((estimate.phase_turns - HZ * index / RATE_HZ + 0.5) % 1.0 - 0.5)


@pytest.mark.parametrize(
    "bad", ["1e15,3", "-1e11,3", "1e300,1", "inf,1", "6000000.0,1", "-6000000.0,1", "x,y", "7", "", "1," + "0" * 2000]
)
async def test_one_bad_line_changes_nothing_and_is_said_once(
    bad: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = breath(0, 600)
    for i in (200, 400):
        lines[i] = bad.encode() + b"\n"
    one = await live(monkeypatch, [b"t_s,value\n" + lines[0], *lines[1:]])
    assert off_turns(one, 599) < 0.05
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert bad[:40] in said[0]
    assert said[1].endswith("2 lines were left out")


@pytest.mark.parametrize("first_s", [0.0, 1.8e9])
async def test_a_sensor_that_began_anew_is_followed_again(first_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await live(monkeypatch, breath(0, 300, 4000.0) + breath(300, 400, first_s))
    assert off_turns(one, 699) < 0.05


async def test_a_pause_and_a_burst_are_no_leaps(monkeypatch: pytest.MonkeyPatch) -> None:
    place, one = sensing._Placed(), Someone()
    core: Any = one
    assert place.platform_ns(100.0, core) == round(BEGUN_S * 1e9)
    for i in range(1, 2000):  # all of a night at once
        assert place.platform_ns(100.0 + i / RATE_HZ, core) is not None
    one.now_s += 1000
    assert place.platform_ns(1100.0, core) is not None


async def test_leaps_that_do_not_agree_move_nothing() -> None:
    place, one = sensing._Placed(), Someone()
    core: Any = one
    place.platform_ns(0.0, core)
    for i in range(1, 200):
        one.now_s += 1 / RATE_HZ
        assert place.platform_ns(1000.0 * i, core) is None
    one.now_s += 1 / RATE_HZ
    assert place.platform_ns(10.0, core) == pytest.approx((BEGUN_S + 10.0) * 1e9, abs=2e6)


async def test_what_has_no_lines_does_not_grow_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    cut = sensing._Lines()
    assert [len(line) for line in cut.take(b"0" * 5000)] == [sensing.LINE_MAX + 1]
    for _ in range(100):
        assert cut.take(b"0" * 5000) == []
        assert len(cut._rest) <= sensing.LINE_MAX
    assert cut.take(b"0\n1,2\n3,") == [b"1,2"]
    assert cut.take(b"4\n") == [b"3,4"]


async def test_what_is_no_signal_at_all_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BaseExceptionGroup) as caught:
        await live(monkeypatch, [b"hello\n"] * 20)
    assert caught.group_contains(BadInput, match="lines t_s,value are expected")
