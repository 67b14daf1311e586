"""A part of what happens in nights: acts of its own, what it makes of what is written, and what has to hold then."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, ClassVar

from harmonia.domain.events import Event
from harmonia.errors import HarmoniaError
from sim.nights.plot import Act

if TYPE_CHECKING:
    from sim.nights.stage import Night

Play = Callable[[Act], Awaitable[None]]


class Topic:
    """Of one night. It outlives every sanctuary of it, as people and disks do."""

    ACTS: ClassVar[tuple[str, ...]] = ()
    """The methods that are acts."""

    def __init__(self, night: "Night") -> None:
        self.night = night

    def acts(self) -> Mapping[str, Play]:
        """By the names that a plot has for them."""
        return {name.replace("_", "-"): getattr(self, name) for name in self.ACTS}

    def written(self, stream: str, event: Event) -> None:
        """The disk has taken an event, for the first time."""

    def started(self) -> None:
        """A sanctuary has read its journal and opened."""

    def check(self) -> None:
        """Everything, after an event."""


class MissingAct(HarmoniaError):
    """Nobody is there yet for this."""
