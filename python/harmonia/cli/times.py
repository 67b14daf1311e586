"""Times as people write and read them: `3h`, `90m`, `03:00`, "until 03:00 (in 2 h 10 min)"."""

import re
from datetime import datetime, timedelta

import click

from harmonia.errors import BadInput

_UNITS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(s|min|m|h|d)")
MAX_S = 7 * 86400.0


def parse_span(text: str) -> float:
    """Seconds of `3h`, `1h30m`, `90s`. Raises BadInput."""
    compact = text.strip().lower().replace(" ", "")
    parts = _PART.findall(compact)
    if not parts or "".join(number + unit for number, unit in parts) != compact:
        raise BadInput(f"{text!r} is no length of time; write for instance 3h, 1h30m, 90m or 20s")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if not 0 < seconds <= MAX_S:
        raise BadInput(f"a length of time is more than 0 s and at most a week, not {text}")
    return seconds


def parse_until(text: str, now: datetime) -> float:
    """Seconds from ``now`` (with its zone) until `03:00`, the next time that it is, or an ISO date and time.

    Raises BadInput.
    """
    try:
        if re.fullmatch(r"[0-9]{1,2}:[0-9]{2}(:[0-9]{2})?", text.strip()):
            hour, minute, *rest = map(int, text.strip().split(":"))
            at = now.replace(hour=hour, minute=minute, second=rest[0] if rest else 0, microsecond=0)
            # By the wall clock of that day, whatever the zone does in between.
            at = at.replace(tzinfo=None).astimezone()
            if at <= now:
                at = (at.replace(tzinfo=None) + timedelta(days=1)).astimezone()
        else:
            at = datetime.fromisoformat(text.strip())
            at = at.astimezone() if at.tzinfo is None else at
    except (ValueError, OverflowError):
        raise BadInput(f"{text!r} is no time; write for instance 03:00 or 2026-11-29T03:00+01:00") from None
    seconds = (at - now).total_seconds()
    if not 0 < seconds <= MAX_S:
        raise BadInput(f"{text} is not within the next seven days; name a time in the future")
    return seconds


def span_text(seconds: float) -> str:
    """`2 h 10 min`, `3 min`, `20 s`."""
    if seconds < 60:
        return f"{max(0, round(seconds))} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{minutes} min" if not hours else f"{hours} h {minutes} min" if minutes else f"{hours} h"


def wall(node_ns: int, node_now_ns: int, now: datetime) -> datetime:
    """When a node time is by this machine's wall clock, in its zone."""
    return (now + timedelta(seconds=(node_ns - node_now_ns) / 1e9)).astimezone()


def until_text(until_ns: int, node_now_ns: int, now: datetime) -> str:
    """`until 03:00 (in 2 h 10 min)`; with the date if that is not today."""
    left_s, at = (until_ns - node_now_ns) / 1e9, wall(until_ns, node_now_ns, now)
    if left_s <= 0:
        return "over"
    shown = f"{at:%H:%M}" if at.date() == now.astimezone().date() else f"{at:%Y-%m-%d %H:%M}"
    return f"until {shown} (in {span_text(left_s)})"


class Span(click.ParamType[float]):
    """An option that takes a length of time; its value is in seconds."""

    name = "TIME"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ARG002
        """As click asks."""
        return value if isinstance(value, float) else parse_span(str(value))


SPAN = Span()
