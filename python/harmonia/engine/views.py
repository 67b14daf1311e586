"""What may be seen of a circle, and by whom."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from harmonia.domain.circle import Circle
from harmonia.domain.consent import Limits, Purpose
from harmonia.domain.schedule import Instants
from harmonia.domain.sleeper import Sleeper
from harmonia.domain.weaving import Woven
from harmonia.engine.person import Person
from harmonia.engine.plane import PlatformStatus, WeaveThread

CONNECTED_NS = 5_000_000_000
"""A platform that was heard this recently is connected."""


class SleeperRow(NamedTuple):
    """One sleeper as their circle's view shows them."""

    sleeper: Sleeper
    status: PlatformStatus | None
    """None if the data plane does not know them."""
    thread: WeaveThread | None
    """None while their platform has no seat in the weave."""
    granted: tuple[Purpose, ...]

    @property
    def connected(self) -> bool:
        return self.status is not None and 0 <= self.status.age_ns <= CONNECTED_NS

    @property
    def muted(self) -> bool:
        return self.status is None or self.status.muted


class CircleView(NamedTuple):
    """A circle at one instant, as everybody may see it."""

    circle: Circle
    present: int
    node_time_ns: int
    rows: tuple[SleeperRow, ...]
    """Those who grant visibility."""
    hidden_ids: frozenset[str]
    """Those who grant presence but not visibility. Who grants neither is not even counted here. Only the number of
    these leaves the house."""
    shown: frozenset[str]
    """The ids of those in ``rows``."""
    woven: Woven | None
    """How the rhythms stand; None before there is one."""
    planned: Instants | None = None
    """The instants of the circle's plan in node time, as of now."""
    waiting: int = 0
    """How many wait for a place."""
    private: Mapping[str, tuple[SleeperRow, ...]] = MappingProxyType({})
    """Those who grant visibility to somebody alone, by whom: a sleeper's id, or a role."""

    def shown_to(self, role: str, sleeper_id: str = "") -> tuple[SleeperRow, ...]:
        """Those beside ``rows`` whom somebody sees who is in that role; each of them but once, and nobody themself."""
        found = (*self.private.get(role, ()), *self.private.get(sleeper_id, ()))
        return tuple(row for row in found if row.sleeper.sleeper_id != sleeper_id)


def row_of(
    person: Person, status: PlatformStatus | None, thread: WeaveThread | None, limits: Limits, t_ns: int
) -> SleeperRow:
    """``person`` as they may see themself, or others if they grant visibility. ``limits``: of their circle."""
    return SleeperRow(person.sleeper, status, thread, tuple(sorted(person.sleeper.allowed(limits, t_ns))))
