"""A circle that recurs, as a value: a rule, a template, and which of its nights are made or missed.

Each night is a circle of its own, made ahead of time; its id follows from the series and the night's date, so that
whatever happens between deciding and writing, no night is made twice. What a host changes in the series holds for the
circles that are made later and for those that are still drafts; a circle may be changed by itself, like any other.
"""

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date, tzinfo

from harmonia.domain.circle import parse_capacity, parse_lengths, parse_title
from harmonia.domain.events import (
    CircleCreated,
    NightMissed,
    SeriesChanged,
    SeriesCreated,
    SeriesEnded,
    SeriesEvent,
    SeriesTemplate,
)
from harmonia.domain.recurrence import nights, parse_night, parse_rule
from harmonia.domain.schedule import Instants, NightPlan, instants, plan_on
from harmonia.domain.weaving import parse_weaving
from harmonia.errors import BadInput, NotNow

AHEAD_NS = 7 * 24 * 3600 * 1_000_000_000
"""Circles are made this long before they gather, and the next one however far it is."""
EXCLUDED_MAX = 1000


@dataclass(frozen=True, slots=True)
class Series:
    """A rule and what has come of it."""

    series_id: str
    rule: str
    first: str
    excluded: tuple[str, ...]
    template: SeriesTemplate
    ended: bool = False
    missed: dict[str, str] = field(default_factory=dict)
    """Why, by night."""

    def nights(self, zone: tzinfo, after: date | None) -> Iterator[date]:
        """The dates of its nights after ``after``."""
        return nights(self.rule, date.fromisoformat(self.first), zone, after=after, excluded=self.excluded)


def decide_series(event: SeriesCreated, zone: tzinfo) -> SeriesCreated:
    """``event``, its rule as it is kept, if there can be such a series. Raises :class:`BadInput`."""
    first = date.fromisoformat(parse_night(event.first))
    _check(event.template)
    rule = parse_rule(event.rule, first, zone)
    excluded = _excluded(event.excluded)
    night = next(nights(rule, first, zone, excluded=excluded), None)
    if night is None:
        raise BadInput(f"all nights of {rule} are left out: leave out fewer")
    plan_on(night, event.template.times, zone)
    return replace(event, rule=rule, excluded=excluded)


def decide_change(series: Series, template: SeriesTemplate, excluded: tuple[str, ...], t_ns: int) -> SeriesChanged:
    """The event that changes a series. Raises on a bad wish."""
    if series.ended:
        raise NotNow("this series has ended: make another one")
    _check(template)
    return SeriesChanged(_excluded(excluded), template, t_ns)


def apply(series: Series | None, event: SeriesEvent) -> Series:
    """``series`` after ``event``."""
    match event:
        case SeriesCreated(series_id, rule, first, excluded, template, _):
            return Series(series_id, rule, first, excluded, template)
        case _ if series is None:
            raise AssertionError("a series' first event creates it")
        case SeriesChanged(excluded, template, _):
            return replace(series, excluded=excluded, template=template)
        case NightMissed(night, reason, _):
            return replace(series, missed={**series.missed, night: reason})
        case SeriesEnded():
            return replace(series, ended=True)


def circle_id_of(series_id: str, night: str) -> str:
    """The id of the circle of one night: always the same."""
    digest = hashlib.sha256(f"{series_id}/{night}".encode()).digest()
    return "circle-" + base64.b32encode(digest[:10]).decode().lower()


def circle_of(series: Series, night: str, plan: NightPlan, t_ns: int) -> CircleCreated:
    """The circle of one night, as a draft."""
    template = series.template
    alike = {name: getattr(template, name) for name in _ALIKE}
    return CircleCreated(
        circle_id=circle_id_of(series.series_id, night),
        title=title_of(template, night),
        gather_ns=None,
        t_ns=t_ns,
        draft=True,
        plan=plan,
        series_id=series.series_id,
        night=night,
        **alike,
    )


_ALIKE = (
    *("score_name", "score_format", "score_text", "channels", "duration_ns", "capacity", "night_ns"),
    *("mode", "strength_rad_s", "lag_rad"),
)


def title_of(template: SeriesTemplate, night: str) -> str:
    """What the circle of one night is called."""
    return f"{template.title} {night}"


def last_ns(template: SeriesTemplate, found: Instants) -> int | None:
    """Until when a night can still be held; None: for as long as anybody likes."""
    if found.wake_from_ns is not None:
        return found.wake_from_ns
    length_ns = template.duration_ns if template.night_ns is None else template.night_ns
    return None if length_ns is None else found.lights_ns + length_ns


def coming(
    series: Series, zone: tzinfo, after: date | None, ahead_ns: int
) -> Iterator[tuple[str, NightPlan | None, Instants | None, str]]:
    """The nights after ``after``: date, plan and instants (UTC) of each; or None, None and why it cannot be.

    It ends behind the first that gathers after ``ahead_ns``.
    """
    for night in series.nights(zone, after):
        try:
            plan, _ = plan_on(night, series.template.times, zone)
        except BadInput as error:
            yield night.isoformat(), None, None, str(error)
            continue
        found, _ = instants(plan, zone)
        yield night.isoformat(), plan, found, ""
        if found.gather_ns is not None and found.gather_ns > ahead_ns:
            return


def _check(template: SeriesTemplate) -> None:
    parse_title(title_of(template, "2026-12-24"))
    parse_capacity(template.capacity)
    parse_lengths(None, template.night_ns)
    parse_weaving(template.mode, template.strength_rad_s, template.lag_rad)


def _excluded(excluded: tuple[str, ...]) -> tuple[str, ...]:
    if len(excluded) > EXCLUDED_MAX:
        raise BadInput(f"a series leaves out at most {EXCLUDED_MAX} nights, not {len(excluded)}: change its rule")
    return tuple(sorted({parse_night(night) for night in excluded}))
