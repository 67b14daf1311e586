"""`harmonia circle schedule`, and what other circle commands do with a series: a circle that recurs."""

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from harmonia import errors
from harmonia.cli.common import data_option, echo_json, json_option, plan_text, run
from harmonia.client import Circle, CircleState, Night, Sanctuary, Series
from harmonia.domain.schedule import NightPlan, instants, local_time
from harmonia.engine.wall import zone_of

PREFIX = "series-"


async def find_series(sanctuary: Sanctuary, text: str) -> Series:
    """The series whose id begins so. Raises NotFound, BadInput."""
    known = await sanctuary.series()
    found = [one for one in known if one.series_id.startswith(text)]
    if len(found) == 1:
        return found[0]
    if found:
        raise errors.BadInput(f"{text!r} fits {', '.join(one.series_id for one in found)}; give more of the id")
    ids = ", ".join(f"{one.series_id} ({one.title})" for one in known) or "none yet"
    raise errors.NotFound(f"no series {text!r} here; there are: {ids}")


def series_text(one: Series) -> list[str]:
    """A series and its nights, for people."""
    times = one.times
    wake = f", wakes {times.wake}" if times.wake else ""
    ended = "  ended" if one.ended else ""
    head = f"{one.series_id} “{one.title}”  {one.rule} from {one.first}{ended}"
    lines = [f"{head}  gathers {times.gather_at}, lights-out {times.lights_out}{wake} {times.zone}"]
    if one.excluded:
        lines.append(f"  without {', '.join(one.excluded)}")
    lines += [f"  {_night_text(night)}" for night in one.nights]
    return lines + [f"  {night.night}  missed: {night.reason}" for night in one.missed]


def _night_text(night: Night) -> str:
    if night.plan is None:
        return f"{night.night}  cannot be: {night.reason}"
    return f"{night.night}  {night.circle_id or 'not made yet'}  {both_zones(night.plan)}"


def both_zones(plan: NightPlan) -> str:
    """A night in the circle's zone, and when it gathers in the viewer's, if that is another time of day."""
    found, _ = instants(plan, zone_of(plan.zone))
    begins_ns = found.lights_ns if found.gather_ns is None else found.gather_ns
    there = local_time(begins_ns, zone_of(plan.zone))
    here = datetime.fromtimestamp(begins_ns / 1e9).astimezone()
    text = plan_text(plan)
    if here.utcoffset() == there.utcoffset():
        return text
    return f"{text}; that is {here:%Y-%m-%d %H:%M} here ({here:%Z})"


@click.command()
@data_option
@click.option("--series", "series_id", help="Only this series, by id or its beginning.")
@click.option("--nights", type=click.IntRange(1, 100), default=10, show_default=True, help="So many of each series.")
@json_option
def schedule(data_dir: Path, series_id: str | None, nights: int, as_json: bool) -> None:
    """Show the nights that come, in the circle's time zone and in yours."""

    async def work() -> tuple[list[Series], list[Circle]]:
        async with Sanctuary.at(data_dir) as sanctuary:
            if series_id is not None:
                meant = (await find_series(sanctuary, series_id)).series_id
                return [one for one in await sanctuary.series(nights) if one.series_id == meant], []
            alone = [one for one in await sanctuary.circles() if one.open and one.plan and not one.series_id]
            return await sanctuary.series(nights), alone

    series, alone = run(work)
    if as_json:
        echo_json({"series": [asdict(one) for one in series], "circles": [circle_night(one) for one in alone]})
        return
    for one in series:
        click.echo("\n".join(series_text(one)))
    for circle in alone:
        if circle.plan is not None:
            state = "" if circle.state is CircleState.DRAFT else f"{circle.state.word}  "
            click.echo(f"{circle.circle_id} “{circle.title}”  {state}{both_zones(circle.plan)}")
    if not series and not alone:
        click.echo("no nights are planned; plan one with `harmonia circle create --gather-at WHEN` or `--every RULE`")


def circle_night(circle: Circle) -> dict[str, Any]:
    """A planned circle, for programs."""
    return {
        "circle_id": circle.circle_id,
        "title": circle.title,
        "state": circle.state.word,
        "plan": None if circle.plan is None else asdict(circle.plan),
    }
