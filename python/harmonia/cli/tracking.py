"""`harmonia tracking`: how the sanctuary's clock stands, and how well each platform follows it."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from harmonia.cli.common import data_option, find_circle, json_option, silence_text, sleeper_json, stated_text
from harmonia.cli.watching import show, watch_option
from harmonia.client import Sanctuary, SleeperView, Tracking
from harmonia.client.words import error_text


def tracking_json(now: Tracking) -> dict[str, Any]:
    """How a sanctuary's clock stands, for programs."""
    return {**asdict(now), "lock_state": now.lock_state.word}


def platform_json(view: SleeperView, node_time_ns: int) -> dict[str, Any]:
    """How a platform follows, for programs.

    ``age_ns`` is how old its own report is, ``udp`` what is wrong with its datagrams; empty if nothing is.
    """
    heard = view.node_time_ns != 0
    age_ns = max(0, node_time_ns - view.node_time_ns) if heard else -1
    return {**sleeper_json(view), "age_ns": age_ns, "udp": silence_text(view)}


@click.command()
@data_option
@click.option("--circle", help="Show each visible sleeper of this circle too (host only).")
@json_option
@watch_option
def tracking(data_dir: Path, circle: str | None, as_json: bool, watch: bool) -> None:
    """Show how the sanctuary's clock stands, and with --circle how well each platform follows it."""
    sanctuary = Sanctuary.at(data_dir)

    async def look() -> dict[str, Any]:
        seen = tracking_json(await sanctuary.tracking())
        if circle is not None:
            found = await find_circle(sanctuary, circle)
            async with sanctuary.watch(found.circle_id) as answers:
                async for view in answers:
                    seen["circle_id"] = found.circle_id
                    seen["sleepers"] = [platform_json(one, view.node_time_ns) for one in view.sleepers]
                    seen["hidden"] = view.hidden
                    break
        return seen

    with sanctuary:
        show(look, _text, as_json, watch)


def _text(seen: dict[str, Any]) -> str:
    root = not seen["sources"]
    follows = "the root of its own time" if root else f"follows {seen['refid'] or 'nobody yet'}"
    rests = "" if root else f"\n  {stated_text(seen['max_drift_ppb'], seen['max_wander'])}"
    lines = [
        f"clock {seen['clock_id']:016x}  {seen['lock_state']}  stratum {seen['stratum']}, {follows}",
        f"certain within {error_text(seen['bound_ns'])}, expected {error_text(seen['uncertainty_ns'])}"
        f"   offset {seen['offset_ns'] / 1e3:+.1f} µs still to slew{rests}",
        f"rate {seen['rate_ppb'] / 1e3:+.3f} ppm, of it correction {seen['slew_ppb'] / 1e3:+.3f} ppm"
        f"   root delay {error_text(seen['root_delay_ns'])}, root dispersion {error_text(seen['root_dispersion_ns'])}",
        f"resumed {seen['resumes']} times, may still be stepped {seen['steps_left']} times"
        f"   packets: {seen['answered']} answered, {seen['malformed']} malformed, {seen['unauthentic']} unauthentic",
    ]
    for one in seen.get("sleepers", []):
        age = "never heard" if one["age_ns"] < 0 else f"{one['age_ns'] / 1e9:.1f} s ago"
        slept = f"  suspended {one['suspends']}×" if one["suspends"] else ""
        lines.append(
            f"  {one['sleeper_id']}  {one['lock_state']:<14} certain within {error_text(one['bound_ns']):>9}, "
            f"expected {error_text(one['uncertainty_ns']):>9}  rate {one['rate_ppb'] / 1e3:+9.3f} ppm  "
            f"offset {one['offset_turns']:+.3f}  {age}{'  muted' if one['muted'] else ''}{slept}"
            + (f"\n    {stated_text(one['max_drift_ppb'], one['max_wander'])}" if one["age_ns"] >= 0 else "")
        )
        if one["udp"]:
            lines.append(f"    {one['udp']}")
    if seen.get("hidden"):
        lines.append(f"  and {seen['hidden']} who do not wish to be seen")
    return "\n".join(lines)
