"""Civil time in the engine: zones by their names, and what node time an instant of UTC is now.

Node time never jumps while a circle sounds; the machine's time of day may. So what one is on the other holds for now
only: one task looks every :data:`LOOK_S` whether somebody has set the clock, and whoever keeps a schedule is told.
"""

from collections.abc import Callable
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import trio

from harmonia.domain.schedule import Instants, NightPlan, instants, parse_plan
from harmonia.engine.signal import Signal
from harmonia.errors import BadInput

LOOK_S = 60.0
"""A clock that is set moves a schedule within this time."""
SET_NS = 100_000_000
"""Less than this in :data:`LOOK_S` is no setting; a schedule allows for it when its time has come."""


class Wall:
    """The clock on the wall: ``utc_ns`` gives nanoseconds of UTC since 1970, ``node_ns`` node time."""

    def __init__(self, utc_ns: Callable[[], int], node_ns: Callable[[], int]) -> None:
        self.utc_ns = utc_ns
        self._node_ns = node_ns
        self.set = Signal()
        """Somebody has set the clock."""

    async def watch(self) -> None:
        """Looks whether the clock is set, until cancelled."""
        before_ns = self.ahead_ns()
        while True:
            await trio.sleep(LOOK_S)
            now_ns = self.ahead_ns()
            if abs(now_ns - before_ns) >= SET_NS:
                self.set.send()
            before_ns = now_ns

    def ahead_ns(self) -> int:
        """How far node time is ahead of UTC, now."""
        return self._node_ns() - self.utc_ns()

    def parse(self, zone: str, gather_at: str, lights_out: str, wake: str) -> tuple[NightPlan, list[str]]:
        """The plan of these words, and what has to be said about it. Raises BadInput."""
        return parse_plan(zone, zone_of(zone), gather_at, lights_out, wake, self.utc_ns())

    def on_node(self, plan: NightPlan) -> Instants:
        """The plan's instants in node time, as of now."""
        return instants(plan, zone_of(plan.zone))[0].shifted(self.ahead_ns())


def zone_of(name: str) -> ZoneInfo:
    """The zone of an IANA name. Raises BadInput."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadInput(f"there is no time zone {name[:60]!r}: give an IANA name, for instance Europe/Berlin") from None
