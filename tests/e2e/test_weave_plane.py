"""The weave on the data plane: a real node, real platforms, sealed frames, and no daemon."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from harmonia import _core

CIRCLE = 7
TURN = 1 << 64
LOCKED = 3
PULL = 1 << 4
OWN_HZ = (4.0, 4.05)
K = 2.0


def until(true: Callable[[], bool]) -> None:
    """Looks every hundredth of a second; gives up when nothing that works would take so long."""
    for _ in range(3000):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("it never came true")


def attach(node: _core.Node, platform: _core.Platform, sleeper: int) -> None:
    session, secret = int.from_bytes(os.urandom(8), "big"), os.urandom(32)
    node.attach(sleeper, session, secret, False)
    platform.connect("127.0.0.1", node.port, session, secret)


@contextmanager
def hosting(clock_file: Path, began_ns: int | None = None) -> Iterator[tuple[_core.Node, list[_core.Rhythm]]]:
    """A node with a woven circle of sleepers 0 and 1, both coupled wholly, each on a rhythm of their own."""
    node = _core.Node("127.0.0.1", 0, str(clock_file))
    try:
        began_ns = node.node_time_ns() if began_ns is None else began_ns
        owns = [_core.Rhythm.constant(began_ns, hertz) for hertz in OWN_HZ]
        node.add_circle(CIRCLE, 1, 1.0)
        node.set_rhythm(CIRCLE, owns[0])
        node.set_strength(CIRCLE, K, 0.0)
        for sleeper, own in enumerate(owns):
            node.add_sleeper(CIRCLE, sleeper)
            node.set_own_rhythm(sleeper, own)
            node.set_coupling(sleeper, 1.0, 1.0)
        yield node, owns
    finally:
        node.close()


def threads(node: _core.Node) -> dict[int, _core.WeaveThread]:
    return {thread.sleeper: thread for thread in node.weave(CIRCLE)[1]}


def apart(node: _core.Node) -> float:
    """How far sleeper 1 is ahead of sleeper 0, in turns."""
    seen = threads(node)
    way = (seen[1].phase - seen[0].phase) % TURN / TURN
    return (way + 0.5) % 1.0 - 0.5


def off(platform: _core.Platform, node: _core.Node, sleeper: int) -> float:
    """How far the platform's own idea of its phase is from the node's, in turns, both read at about one instant."""
    way = (platform.phase() - threads(node)[sleeper].phase) % TURN / TURN
    return abs((way + 0.5) % 1.0 - 0.5)


def test_platforms_follow_a_weave_through_a_withdrawal_and_a_restart(tmp_path: Path) -> None:
    with ExitStack() as stack:
        platforms = [_core.Platform(seed=seed) for seed in (1, 2)]
        for platform in platforms:
            stack.callback(platform.close)
        with hosting(tmp_path / "clock") as (node, owns):
            began_ns = owns[0].segments[0][0]
            assert threads(node) == {}, "nobody is counted whose platform is not there"
            for sleeper, (platform, own) in enumerate(zip(platforms, owns, strict=True)):
                platform.set_rhythm(own)
                attach(node, platform, sleeper)
            until(lambda: len(threads(node)) == 2)
            # sin φ = 2·Δω/(k₁ + k₂): 0.0250 turn.
            until(lambda: abs(apart(node) - 0.0250) < 5e-4)
            # 4 Hz for the milliseconds between two readings, on a busy machine.
            until(lambda: all(off(platform, node, i) < 5e-3 for i, platform in enumerate(platforms)))
            before = apart(node)
        with hosting(tmp_path / "clock", began_ns) as (node, owns):
            for sleeper, platform in enumerate(platforms):
                attach(node, platform, sleeper)
            until(lambda: len(threads(node)) == 2)
            assert apart(node) == pytest.approx(before, abs=0.02), "it goes on where the platforms are"
            until(lambda: abs(apart(node) - 0.0250) < 5e-4)

            # By sealed datagram, and nobody but the node has heard of it yet.
            platforms[1].withdraw(os.urandom(16), PULL)
            until(lambda: not threads(node)[1].woven)
            pulled = threads(node)[1].pulled
            node.set_coupling(1, 1.0, 1.0)  # a plan that was made before
            assert [thread.woven for thread in threads(node).values()] == [True, False]
            until(lambda: abs(apart(node)) > 0.1)
            assert threads(node)[1].pulled == pulled, "not pulled by a bit since"
            assert threads(node)[0].pulled != 0


def test_who_was_never_pulled_is_on_their_own_timeline_to_the_bit(tmp_path: Path) -> None:
    platform = _core.Platform(seed=3)
    with hosting(tmp_path / "clock") as (node, owns), ExitStack() as stack:
        stack.callback(platform.close)
        node.set_coupling(1, 0.0, 1.0)
        platform.set_rhythm(owns[1])
        attach(node, platform, 1)
        until(lambda: 1 in threads(node))
        until(lambda: platform.frames()["received"] > 10)
        assert threads(node)[1].pulled == 0
        [status] = [status for status in node.status(CIRCLE) if status.sleeper == 1]
        assert status.lock_state == LOCKED
        assert status.phase == owns[1].phase_at(status.node_time_ns)
