"""The nights of a circle that recurs, as local dates: the moon's, a weekday's, or those of a calendar rule.

A night belongs to the date of its evening. The night of a full moon is the one in which it is full, from noon to noon:
a moon that is full at 03:00 on Saturday is Friday's. Calendar rules are RRULEs of RFC 5545, counted from the series'
first date; only their dates matter, and no rule may be finer than a day.
"""

from collections.abc import Collection, Iterator
from datetime import date, datetime, timedelta, tzinfo
from itertools import dropwhile, takewhile

from dateutil.rrule import DAILY, rrule, rrulestr

from harmonia.domain.moon import MoonPhase, phases
from harmonia.domain.schedule import YEARS, check_year, local_time, utc_ns
from harmonia.errors import BadInput

_MOONS = {"full-moon": MoonPhase.FULL, "new-moon": MoonPhase.NEW}
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
RULE_MAX = 200
_HALF_DAY = timedelta(hours=12)


def nights(
    rule: str, first: date, zone: tzinfo, *, after: date | None = None, excluded: Collection[str] = ()
) -> Iterator[date]:
    """The dates of ``rule`` from ``first`` on that lie after ``after``, in order, without those excluded (ISO 8601).

    Endless unless the rule ends. Raises :class:`BadInput` on a rule that is none.
    """
    dates = _moons(_MOONS[rule], first, zone) if rule in _MOONS else (moment.date() for moment in _rule(rule, first))
    coming = dates if after is None else dropwhile(lambda night: night <= after, dates)
    return (night for night in coming if night.isoformat() not in excluded)


def parse_rule(rule: str, first: date, zone: tzinfo) -> str:
    """``rule`` as it is kept, if it has a night. Raises :class:`BadInput`."""
    kept = rule.strip()
    kept = kept.lower() if kept.lower() in (*_MOONS, *_WEEKDAYS, "daily") else kept.upper().removeprefix("RRULE:")
    if next(nights(kept, first, zone), None) is None:
        raise BadInput(f"{rule!r} has no night from {first} on: change the rule, or begin earlier")
    return kept


def parse_night(text: str) -> str:
    """A date as it is kept. Raises :class:`BadInput`."""
    try:
        night = date.fromisoformat(text)
    except ValueError:
        raise BadInput(f"a night is named by its evening's date, YYYY-MM-DD, not {text[:40]!r}") from None
    check_year("a night", night)
    return night.isoformat()


def _moons(phase: MoonPhase, first: date, zone: tzinfo) -> Iterator[date]:
    noon_ns, _ = utc_ns(datetime.combine(first, datetime.min.time()) + _HALF_DAY, zone)
    last_ns, _ = utc_ns(datetime(YEARS[-1], 12, 31), zone)
    for t_ns in takewhile(lambda t_ns: t_ns < last_ns, phases(phase, noon_ns - 1)):
        yield (local_time(t_ns, zone).replace(tzinfo=None) - _HALF_DAY).date()


def _rule(rule: str, first: date) -> rrule:
    if rule == "daily":
        text = "FREQ=DAILY"
    elif rule in _WEEKDAYS:
        text = f"FREQ=WEEKLY;BYDAY={rule[:2].upper()}"
    else:
        text = rule
    start, allowed = datetime.combine(first, datetime.min.time()), (*_MOONS, "daily", *_WEEKDAYS)
    wanted = f"choose {', '.join(allowed)}, or an RRULE such as FREQ=MONTHLY;BYDAY=1FR"
    if not text.startswith("FREQ=") or len(text) > RULE_MAX or not text.isprintable():
        raise BadInput(f"{rule[:60]!r} is no rule for nights: {wanted}")
    try:
        found = rrulestr(text, dtstart=start)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise BadInput(f"{rule[:60]!r} is no rule for nights ({error}): {wanted}") from None
    parts = {part.partition("=")[0] for part in text.split(";")}
    if found._interval < 1:
        raise BadInput(f"{rule[:60]!r} would stand still: an INTERVAL is 1 or more")
    if found._freq > DAILY or parts & {"BYHOUR", "BYMINUTE", "BYSECOND"}:
        raise BadInput(f"{rule[:60]!r} is finer than a day; a circle has one night a day: {wanted}")
    return found
