"""Node time that stands still until it is told to move, or that follows trio's virtual clock."""

from collections.abc import Callable

from trio.testing import MockClock

START_NS = 1_800_000_000 * 1_000_000_000
"""An ordinary day; zero would hide mistakes."""


class FakeNodeClock:
    """Call it for the node time in nanoseconds."""

    def __init__(self, start_ns: int = START_NS) -> None:
        self._now_ns = start_ns

    def __call__(self) -> int:
        return self._now_ns

    def advance(self, span_ns: int) -> None:
        assert span_ns >= 0, "node time never runs backwards"
        self._now_ns += span_ns


def virtual_node_clock(clock: MockClock, start_ns: int = START_NS) -> Callable[[], int]:
    """Node time that runs with trio's ``clock``: a night passes as fast as its tasks let it."""
    return lambda: start_ns + round(clock.current_time() * 1e9)
