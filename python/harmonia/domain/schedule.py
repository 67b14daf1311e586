"""When a night is, as people say it: times of day in a time zone, and what instants they are.

A host says "22:00 in Berlin"; a timetable needs instants. The zone's rules lie in between, they change by law, and
twice a year a time of day does not exist, or exists twice. So a schedule is kept as it was said, and its instants are
found anew whenever they are needed. Where the clocks go forward, a time that is skipped is taken as far after the gap
as it stood after its beginning (02:30 becomes 03:30); where they go back, the first of two is meant: the rules of RFC
5545, 3.3.5. Either is told to whoever gave the time.

A zone enters as a ``tzinfo``, the present as a parameter. Instants are nanoseconds of UTC since 1970 (POSIX); what node
time that is, only the sanctuary knows, and only for now: :meth:`Instants.shifted`.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import NamedTuple

from harmonia.errors import BadInput

NS_PER_S = 1_000_000_000
GATHER_MAX = timedelta(hours=12)
NIGHT_MAX = timedelta(hours=24)
AHEAD_MAX = timedelta(days=366)
YEARS = range(1900, 9999)
"""Those that a night may be given in: clocks and calendars go a day beyond either end."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class NightPlan:
    """A night as its host said it: local dates and times, ISO 8601, in ``zone``. Empty: not said."""

    zone: str
    """IANA name."""
    gather_at: str
    """When a draft begins to gather."""
    lights_out: str
    """When the score begins."""
    wake_from: str = ""
    wake_until: str = ""
    """The wake window: the circle wakes in it, and talks after it."""


class Instants(NamedTuple):
    """A plan's instants, nanoseconds; None: not said."""

    gather_ns: int | None
    lights_ns: int
    wake_from_ns: int | None
    wake_until_ns: int | None

    def shifted(self, by_ns: int) -> "Instants":
        """The same on another clock, which is ``by_ns`` ahead."""
        gather, wake, until = (
            None if t is None else t + by_ns for t in (self.gather_ns, self.wake_from_ns, self.wake_until_ns)
        )
        return Instants(gather, self.lights_ns + by_ns, wake, until)


def utc_ns(local: datetime, zone: tzinfo) -> tuple[int, str]:
    """The instant of a local time, and what has to be said about it: nothing, or that the clocks change there."""
    aware = local.replace(tzinfo=zone, fold=0)
    instant = aware.astimezone(UTC)
    back = instant.astimezone(zone).replace(tzinfo=None, fold=0)
    note = ""
    if back != local:
        note = f"{local:%Y-%m-%d %H:%M} does not exist in {zone}, where the clocks go forward: taken as {back:%H:%M}"
    elif aware.utcoffset() != local.replace(tzinfo=zone, fold=1).utcoffset():
        note = f"{local:%Y-%m-%d %H:%M} comes twice in {zone}, where the clocks go back: the first is meant"
    return (instant - _EPOCH) // timedelta(microseconds=1) * 1000, note


def local_time(t_ns: int, zone: tzinfo) -> datetime:
    """The time of day in ``zone`` at an instant of UTC."""
    return (_EPOCH + timedelta(microseconds=t_ns // 1000)).astimezone(zone)


def instants(plan: NightPlan, zone: tzinfo) -> tuple[Instants, list[str]]:
    """When ``plan`` is in ``zone``, which it names, and what has to be said about times at which the clocks change."""
    said = (plan.gather_at, plan.lights_out, plan.wake_from, plan.wake_until)
    found = [utc_ns(datetime.fromisoformat(text), zone) if text else (None, "") for text in said]
    (gather, _), (lights, _), (wake, _), (until, _) = found
    assert lights is not None, "a plan says when the score begins"
    return Instants(gather, lights, wake, until), list(dict.fromkeys(note for _, note in found if note))


def parse_plan(
    zone_name: str, zone: tzinfo, gather_at: str, lights_out: str, wake: str, now_ns: int
) -> tuple[NightPlan, list[str]]:
    """The plan that these words make, and what has to be said about it. ``now_ns``: UTC. Raises :class:`BadInput`.

    ``gather_at``: ``YYYY-MM-DD HH:MM``, or empty: at once. ``lights_out``: the same, or ``HH:MM``: the first such time
    from then on. ``wake``: ``FROM..UNTIL``, or one time, each in either form; empty: with the score's end.
    """
    now = local_time(now_ns, zone).replace(tzinfo=None)
    gather = _moment("gather-at", gather_at, None) if gather_at else None
    plan, notes = _plan(zone_name, zone, gather, _moment("lights-out", lights_out, gather or now), wake)
    begins, begins_ns = gather or datetime.fromisoformat(plan.lights_out), _begins_ns(instants(plan, zone)[0])
    if begins_ns <= now_ns:
        said = f"{begins:%Y-%m-%d %H:%M} has passed in {zone_name}, where it is {now:%Y-%m-%d %H:%M}"
        raise BadInput(f"{said}: give a time in the future")
    if begins_ns - now_ns > _ns(AHEAD_MAX):
        raise BadInput(f"{begins:%Y-%m-%d %H:%M} is more than {AHEAD_MAX.days} days ahead: open the circle later")
    return plan, notes


def _plan(
    zone_name: str, zone: tzinfo, gather: datetime | None, lights: datetime, wake: str
) -> tuple[NightPlan, list[str]]:
    window = ("", "")
    if wake:
        first, dots, last = wake.partition("..")
        begins = _moment("wake", first, lights)
        ends = _moment("wake", last, begins) if dots else begins
        window = begins.isoformat(), ends.isoformat()
    plan = NightPlan(zone_name, gather.isoformat() if gather else "", lights.isoformat(), *window)
    found, notes = instants(plan, zone)
    _check(plan, found, "".join(f"; {note}" for note in notes))
    return plan, notes


def _begins_ns(found: Instants) -> int:
    return found.lights_ns if found.gather_ns is None else found.gather_ns


def _check(plan: NightPlan, found: Instants, notes: str) -> None:
    begins_ns, begins = _begins_ns(found), _text(plan.gather_at or plan.lights_out)
    if not 0 <= found.lights_ns - begins_ns <= _ns(GATHER_MAX):
        raise BadInput(
            f"lights-out at {_text(plan.lights_out)} is not within 12 h after gathering at {begins}: a circle gathers"
            f" first, then its score begins{notes}"
        )
    if found.wake_from_ns is None or found.wake_until_ns is None:
        return
    if not found.lights_ns < found.wake_from_ns <= found.wake_until_ns <= found.lights_ns + _ns(NIGHT_MAX):
        raise BadInput(
            f"this circle would end before it begins, or last too long: the wake window {_text(plan.wake_from)} to"
            f" {_text(plan.wake_until)} has to lie within 24 h after lights-out at {_text(plan.lights_out)}{notes}"
        )


def _moment(name: str, text: str, after: datetime | None) -> datetime:
    """A local date and time; where ``after`` is given, a time of day alone is the first one from then on."""
    text = text.strip()
    if after is not None and (day := _time_of_day(text)) is not None:
        found = datetime.combine(after.date(), day)
        return found if found >= after else found + timedelta(days=1)
    allowed = "YYYY-MM-DD HH:MM" if after is None else "HH:MM or YYYY-MM-DD HH:MM"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is not None or ":" not in text:
        raise BadInput(f"{name} must be {allowed}, local time of its zone, not {text[:40]!r}")
    check_year(name, moment)
    return moment


def check_year(name: str, day: date) -> None:
    """Raises :class:`BadInput` on a day that no calendar has a night around."""
    if day.year not in YEARS:
        raise BadInput(f"{name} must be in a year from {YEARS[0]} to {YEARS[-1]}, not {day.year}")


def _time_of_day(text: str) -> time | None:
    try:
        return time.fromisoformat(text) if re.fullmatch(r"\d\d:\d\d(:\d\d)?", text) else None
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class TimesOfDay:
    """When the nights of a series are: times of day in a zone, as :func:`parse_plan` reads them."""

    zone: str
    gather_at: str
    lights_out: str
    wake: str = ""


def parse_times(zone_name: str, gather_at: str, lights_out: str, wake: str) -> TimesOfDay:
    """The times of day of a series. Raises :class:`BadInput`."""
    first, dots, last = wake.partition("..")
    said = [("gather-at", gather_at), ("lights-out", lights_out)]
    said += [("wake", text) for text in ([first, last] if dots else [first]) if wake]
    for name, text in said:
        if _time_of_day(text.strip()) is None:
            raise BadInput(f"the nights of a series have times of day: {name} must be HH:MM, not {text[:40]!r}")
    return TimesOfDay(zone_name, gather_at.strip(), lights_out.strip(), wake.strip())


def plan_on(night: date, times: TimesOfDay, zone: tzinfo) -> tuple[NightPlan, list[str]]:
    """The plan of one night of a series. Raises :class:`BadInput` where the clocks leave it no time."""
    day = _time_of_day(times.gather_at)
    assert day is not None, "times are parsed before they are kept"
    check_year("a night", night)
    gather = datetime.combine(night, day)
    return _plan(times.zone, zone, gather, _moment("lights-out", times.lights_out, gather), times.wake)


def _text(moment: str) -> str:
    return f"{datetime.fromisoformat(moment):%Y-%m-%d %H:%M}"


def _ns(span: timedelta) -> int:
    return span // timedelta(microseconds=1) * 1000
