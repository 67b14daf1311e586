"""`harmonia sources`: whom a clock follows, and what became of each source."""

from collections import deque
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from harmonia.cli.common import data_option, find_clock_log, json_option, stated_text
from harmonia.cli.watching import show, watch_option
from harmonia.client import Sanctuary
from harmonia.client.clock_log import ClockLog
from harmonia.client.words import error_text

MARKS = {
    "selected": "*",
    "candidate": "+",
    "falseticker": "x",
    "undecided": "~",
    "measuring": "-",
    "silent": "?",
    "unresolved": "?",
    "loop": "@",
    "refusing": "!",
}
LEGEND = """\
first column  * followed   + agrees, others are better   x falseticker: disagrees with the majority
              ~ no majority says who is right   - still being measured   ? silent or without an address
              @ follows this very clock   ! says that its clock is not set, or asks to be left alone
reach         the last eight requests, newest right: # answered, . not
last          how long ago the last answer came
offset        the source's time minus this clock's; ± the largest possible error of that, path and source together
expected      99 % of errors lie within it if both ways of the path are alike
NTS           yes: every answer is proved to be the source's own, with so many cookies left; no: keys are missing still
round trip    the shortest of late; no bound of a single exchange is better than half of it
"""
WINDOW = 64
"""Exchanges of a platform among which the shortest round trip is looked for."""


@click.command()
@data_option
@click.option("--sleeper", help="A joined platform's one source: the sleeper's id or its beginning (join --log-clock).")
@click.option(
    "--log",
    "log_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A joined platform's one source, from its clock log (join --clock-log).",
)
@click.option("-v", "--verbose", is_flag=True, help="Explain the columns.")
@json_option
@watch_option
def sources(
    data_dir: Path, sleeper: str | None, log_path: Path | None, verbose: bool, as_json: bool, watch: bool
) -> None:
    """Show whom the sanctuary's clock follows, or with --sleeper or --log the one source of a joined platform."""
    if log_path is None and sleeper is not None:
        log_path = find_clock_log(data_dir, sleeper)

    def text(seen: dict[str, Any]) -> str:
        lines = [LEGEND] if verbose else []
        if not seen["sources"]:
            lines.append("no source: this clock is the root of its own time (serve --upstream HOST names one)")
        else:
            lines.append(HEADER)
            lines += map(_line, seen["sources"])
            # All of a clock's bounds rest on the same.
            one = seen["sources"][0]
            lines.append(f"± {stated_text(one['max_drift_ppb'], one['max_wander'])}")
        return "\n".join(lines)

    if log_path is not None:
        path = log_path

        async def look_at_log() -> dict[str, Any]:
            return {"sources": [platform_source(ClockLog.load(path))]}

        show(look_at_log, text, as_json, watch)
        return
    with Sanctuary.at(data_dir) as sanctuary:

        async def look() -> dict[str, Any]:
            now = await sanctuary.tracking()
            return {"clock_id": now.clock_id, "sources": [asdict(source) for source in now.sources]}

        show(look, text, as_json, watch)


HEADER = (
    f"  {'source':<28} {'state':<12} NTS    str  {'reach':<8}  {'last':>7}  {'offset':>14} ± {'bound':<9}  "
    f"{'expected':>9}  {'round trip':>10}"
)


def _line(one: dict[str, Any]) -> str:
    reach = "".join("#" if one["reach"] >> bit & 1 else "." for bit in range(7, -1, -1))
    last = "never" if one["age_ns"] < 0 else f"{one['age_ns'] / 1e9:.1f} s"
    stratum = "" if one["stratum"] is None else str(one["stratum"])
    line = (
        f"{MARKS.get(one['state'], '?')} {one['name'][:28]:<28} {one['state']:<12} {_proof(one):<6} {stratum:>3}  "
        f"{reach}  {last:>7}  "
    )
    if one["exchanges"]:
        line += (
            f"{one['offset_ns'] / 1e3:>+11.1f} µs ± {error_text(one['bound_ns']):<9}  "
            f"{error_text(one['uncertainty_ns']):>9}  {error_text(one['delay_ns']):>10}"
        )
    return (line + (f"  {one['trouble']}" if one["trouble"] else "")).rstrip()


def _proof(one: dict[str, Any]) -> str:
    if one["authenticated"]:
        return f"yes {one['cookies']}"
    return "no" if one["name"].startswith("nts://") else "-"


def platform_source(log: ClockLog) -> dict[str, Any]:
    """A joined platform's one source, its sanctuary, as the newest lines of its clock log have it."""
    last = log.readings[-1] if log.readings else None
    recent = deque(log.exchanges, WINDOW)
    age_ns = -1 if last is None or not recent else max(0, last.platform_ns - recent[-1].t4_ns)
    state = {"locked": "selected", "holdover": "silent", "acquiring": "measuring"}.get(last.state if last else "")
    known = last is not None and bool(recent)
    # What the newest exchange says, against what the clock says: the rest is still to be slewed, or the path's jitter.
    offset_ns = 0
    if last is not None and recent:
        newest = recent[-1]
        measured_ns = ((newest.t2_ns - newest.t1_ns) + (newest.t3_ns - newest.t4_ns)) // 2
        away_s = (newest.t4_ns - last.platform_ns) / 1e9
        offset_ns = measured_ns - (last.node_ns - last.platform_ns) - round(last.rate_ppb * away_s)
    # A platform asks once a second: a second without an exchange is a request without an answer.
    heard_s = [] if last is None else [round((last.platform_ns - one.t4_ns) / 1e9) for one in recent]
    return {
        "name": f"sanctuary of {log.header.get('circle_id', '')}",
        "address": "",
        "state": state or "silent",
        "clock_id": None,
        "stratum": None,
        "refid": None,
        "offset_ns": offset_ns,
        "bound_ns": last.bound_ns if known and last else 0,
        "uncertainty_ns": last.uncertainty_ns if known and last else 0,
        "delay_ns": min((one.round_trip_ns for one in recent), default=0),
        "rate_ppb": last.rate_ppb if last else 0,
        "reach": sum(1 << bit for bit in range(8) if bit in heard_s),
        "exchanges": len(log.exchanges),
        "age_ns": age_ns,
        "trouble": "",
        "authenticated": None,
        "cookies": None,
        "key_exchanges": None,
        "max_drift_ppb": log.max_drift_ppb,
        "max_wander": log.max_wander,
    }
