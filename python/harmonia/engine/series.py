"""One series' keeper: makes the circle of each night ahead of time, once, and writes down the nights that it missed.

It goes through the nights in order and looks only behind the newest that it has dealt with, so a restart finds where it
was. A night that was missed while the sanctuary was down is made if it can still be held, and else recorded as missed.
"""

import logging
from collections.abc import Awaitable, Callable
from datetime import date
from typing import NamedTuple

import trio

from harmonia.domain import series as kept
from harmonia.domain.events import CircleCreated, NightMissed, SeriesEnded, SeriesEvent, SeriesTemplate
from harmonia.domain.schedule import NightPlan, instants, plan_on
from harmonia.domain.series import AHEAD_NS, Series
from harmonia.domain.states import CircleState
from harmonia.engine.conductor import Conductor, Schedule
from harmonia.engine.desk import Desk
from harmonia.engine.scores import ReadScore
from harmonia.engine.wall import zone_of
from harmonia.errors import BadInput, StorageError, WrongExpectedRevision
from harmonia.journal import ANY

_log = logging.getLogger(__name__)

_RETRY_S = 10.0
_DOWN = "the sanctuary was not running while it could have been held"
_LOOK_S = 3600.0
"""Nights are made days ahead: nobody minds an hour."""
_YEAR_NS = 366 * 24 * 3600 * 1_000_000_000

Make = Callable[[CircleCreated], Awaitable[Conductor]]
"""Makes the circle of an event and lets its conductor work; of one that is there already, gives that."""


class Night(NamedTuple):
    """One night of a series, for whoever looks ahead."""

    night: str
    circle_id: str
    """Empty: not made yet."""
    plan: NightPlan | None
    """None: it cannot be, or was missed."""
    gathers_ns: int | None
    """UTC."""
    reason: str
    """Why it cannot be, or was missed."""


def series_stream(series_id: str) -> str:
    """Where a series' events are."""
    return f"series/{series_id}"


class Keeper:
    """``series`` is replaced whole, so any thread may read it; everything else belongs to the engine's thread."""

    def __init__(self, desk: Desk, series: Series, make: Make) -> None:
        self.series = series
        self.made: dict[str, Conductor] = {}
        """By night, in the order of their making."""
        self._desk = desk
        self._make = make
        self._changed = trio.Event()
        self._lock = trio.Lock()

    def take_in(self, event: SeriesEvent) -> None:
        """Takes in an event of the journal."""
        self.series = kept.apply(self.series, event)
        self._changed.set()

    async def run(self) -> None:
        """Makes nights until the series ends."""
        unsubscribe = self._desk.wall.set.subscribe(self._look)
        while not self.series.ended:
            self._changed = trio.Event()
            try:
                async with self._lock:
                    await self._make_what_comes()
            except (StorageError, WrongExpectedRevision, BadInput) as error:
                _log.error("%s: the next night is not made: %s", self.series.series_id, error)
                await trio.sleep(_RETRY_S)
                continue
            with trio.move_on_after(_LOOK_S):
                await self._changed.wait()
        unsubscribe()

    def _look(self) -> None:
        self._changed.set()

    async def change(
        self, template: SeriesTemplate, excluded: tuple[str, ...], score: tuple[ReadScore, str, str, str] | None
    ) -> None:
        """Changes what nights are made from, leaves out more of them, and changes circles that are drafts still.

        Of those, what differs from the template before. ``score`` as :meth:`Conductor.edit` takes it. Raises BadInput.
        """
        async with self._lock:
            before, zone = self.series.template, zone_of(template.times.zone)
            event = kept.decide_change(self.series, template, (*self.series.excluded, *excluded), self._desk.now_ns())
            for first in self.series.nights(zone, None):
                plan_on(first, template.times, zone)  # so that what cannot be is said before it is kept
                break
            await self._record(event)
            for night, conductor in self.made.items():
                if conductor.circle.state is CircleState.DRAFT:
                    await self._make_alike(date.fromisoformat(night), conductor, before, score)

    async def end(self) -> None:
        """Makes no more nights; those that are made stay."""
        async with self._lock:
            if not self.series.ended:
                await self._record(SeriesEnded(self._desk.now_ns()))

    def coming(self, count: int) -> list[Night]:
        """The next nights, at most ``count``: those that are made and not over, and those that will be."""
        now_ns, series = self._desk.wall.utc_ns(), self.series
        found = []
        for night, conductor in self.made.items():
            circle = conductor.circle
            if circle.open:
                at = None if circle.plan is None else instants(circle.plan, zone_of(circle.plan.zone))[0].gather_ns
                found.append(Night(night, circle.circle_id, circle.plan, at, ""))
        if not series.ended:
            zone = zone_of(series.template.times.zone)
            for night, plan, times, why in kept.coming(series, zone, self._newest(), now_ns + _YEAR_NS):
                if len(found) >= count:
                    break
                found.append(Night(night, "", plan, None if times is None else times.gather_ns, why))
        return found[:count]

    async def _make_alike(
        self,
        night: date,
        conductor: Conductor,
        before: SeriesTemplate,
        score: tuple[ReadScore, str, str, str] | None,
    ) -> None:
        now, schedule = self.series.template, None
        if (now.times, now.night_ns) != (before.times, before.night_ns):
            schedule = Schedule(None, now.night_ns, plan_on(night, now.times, zone_of(now.times.zone))[0])
        await conductor.edit(
            title=kept.title_of(now, night.isoformat()) if now.title != before.title else None,
            capacity=now.capacity if now.capacity != before.capacity else None,
            schedule=schedule,
            score=score,
        )

    def _newest(self) -> date | None:
        """The newest night that has been dealt with."""
        newest = max((*self.made, *self.series.missed), default="")
        return date.fromisoformat(newest) if newest else None

    async def _make_what_comes(self) -> None:
        series, now_ns = self.series, self._desk.wall.utc_ns()
        zone = zone_of(series.template.times.zone)
        for night, plan, found, why in kept.coming(series, zone, self._newest(), now_ns + AHEAD_NS):
            if plan is None or found is None:
                await self._record(NightMissed(night, why, self._desk.now_ns()))
            elif (last_ns := kept.last_ns(series.template, found)) is not None and last_ns <= now_ns:
                await self._record(NightMissed(night, _DOWN, self._desk.now_ns()))
            elif found.gather_ns is None or found.gather_ns <= now_ns + AHEAD_NS or not self._something_comes():
                self.made[night] = await self._make(kept.circle_of(series, night, plan, self._desk.now_ns()))

    def _something_comes(self) -> bool:
        """Whether a circle that is made has not begun to gather."""
        return any(conductor.circle.state is CircleState.DRAFT for conductor in self.made.values())

    async def _record(self, event: SeriesEvent) -> None:
        await self._desk.append(series_stream(self.series.series_id), ANY, event)
        self.take_in(event)
