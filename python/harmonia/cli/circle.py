"""`harmonia circle` and `harmonia invite`: the host's commands."""

from pathlib import Path

import click
import trio

from harmonia.cli import weaving
from harmonia.cli.common import (
    called_as,
    circle_json,
    data_option,
    echo_json,
    find_circle,
    json_option,
    music_beside,
    read_score,
    run,
)
from harmonia.cli.look import look
from harmonia.cli.role import role
from harmonia.client import Circle, CircleMode, CircleState, CircleView, Sanctuary, Weaving, views


@click.group()
def circle() -> None:
    """Open, list, show and close circles (host only)."""


for _command in (weaving.watch, weaving.mode, weaving.syncopate, role, look):
    circle.add_command(_command)


def _describe(found: Circle, as_json: bool) -> None:
    if as_json:
        echo_json(circle_json(found))
        return
    title = f" “{found.title}”" if found.title else ""
    rhythm = "no rhythm yet"
    if found.rhythm is not None:
        rhythm = f"rhythm {views.segment_hz(found.rhythm.segments[-1]):.3f} Hz"
    click.echo(
        f"{found.circle_id}{title}  {found.state.word}  {found.sleepers} of {found.capacity} sleepers  "
        f"{found.score.name} ({found.channels} channels, {rhythm})  {weaving.weaving_words(found)}"
    )


@circle.command()
@data_option
@click.option(
    "--score", "score_file", type=click.Path(path_type=Path), required=True, help="A .toml, .sbg or .sbgf score."
)
@click.option("--title", default="", help="What people call it; otherwise the name of the score's file.")
@click.option("--capacity", type=click.IntRange(1, 100_000), default=64, show_default=True, help="Sleepers at most.")
@click.option(
    "--gather",
    "gather_s",
    type=click.FloatRange(0),
    metavar="S",
    help="Begin the score after S seconds; otherwise with `circle begin`.",
)
@click.option(
    "--minutes",
    type=click.FloatRange(0, min_open=True),
    metavar="M",
    help="End M minutes after the score began; otherwise with the score.",
)
@click.option("--mode", type=weaving.mode_type, default="standard", show_default=True, help="What the circle offers.")
@click.option(
    "--strength",
    type=click.FloatRange(0, 100),
    default=1.0,
    show_default=True,
    metavar="K",
    help="How strongly a woven circle pulls those who let it, rad/s; it can only be lowered later.",
)
@click.option("--lag", type=float, default=0.0, show_default=True, metavar="RAD", help="The pull's lag, -π to π.")
@json_option
def create(
    data_dir: Path,
    score_file: Path,
    title: str,
    capacity: int,
    gather_s: float | None,
    minutes: float | None,
    mode: str,
    strength: float,
    lag: float,
    as_json: bool,
) -> None:
    """Open a circle in gathering. Music beside the score is given to the sanctuary, which hands it on to platforms."""
    score = read_score(score_file)

    async def work() -> Circle:
        async with Sanctuary.at(data_dir) as sanctuary:
            for path in await trio.to_thread.run_sync(music_beside, score_file, score):
                click.echo(f"stem {path.name}: {await sanctuary.add_stem(path)}", err=True)
            night_s = None if minutes is None else minutes * 60
            return await sanctuary.create_circle(
                score,
                title=title or score_file.stem,
                capacity=capacity,
                gather_s=gather_s,
                night_s=night_s,
                weaving=Weaving(CircleMode.of(mode), strength, lag),
            )

    made = run(work)
    _describe(made, as_json)
    if not as_json:
        begin = f"begin it                  {called_as()} circle begin {made.circle_id}\n"
        click.echo(
            f"\njoin from this machine    {called_as()} join {made.circle_id}\n"
            f"invite others             {called_as()} invite {made.circle_id}\n{begin if gather_s is None else ''}",
            nl=False,
        )


@circle.command()
@data_option
@json_option
def ls(data_dir: Path, as_json: bool) -> None:
    """List every circle."""

    async def work() -> list[Circle]:
        async with Sanctuary.at(data_dir) as sanctuary:
            return await sanctuary.circles()

    found = run(work)
    if as_json:
        echo_json([circle_json(one) for one in found])
        return
    for one in found:
        _describe(one, False)
    if not found:
        click.echo("no circles yet; open one with `harmonia circle create --score FILE`")


@circle.command()
@data_option
@click.argument("name", metavar="CIRCLE")
@json_option
def show(data_dir: Path, name: str, as_json: bool) -> None:
    """Show one circle, by id, its beginning, or title."""

    async def work() -> CircleView:
        async with Sanctuary.at(data_dir) as sanctuary:
            return await weaving.look_at(sanctuary, name)

    seen = run(work)
    if as_json:
        echo_json(weaving.view_json(seen))
        return
    _describe(seen.circle, False)
    for line in weaving.woven_text(weaving.view_json(seen)["woven"]):
        click.echo(line)


def _advance(data_dir: Path, name: str, state: CircleState, as_json: bool) -> None:
    async def work() -> Circle:
        async with Sanctuary.at(data_dir) as sanctuary:
            found = await find_circle(sanctuary, name)
            return await sanctuary.advance(found.circle_id, state)

    _describe(run(work), as_json)


@circle.command()
@data_option
@click.argument("name", metavar="CIRCLE")
@json_option
def begin(data_dir: Path, name: str, as_json: bool) -> None:
    """Begin the score of a circle that is gathering."""
    _advance(data_dir, name, CircleState.ENTRAINING, as_json)


@circle.command()
@data_option
@click.argument("name", metavar="CIRCLE")
@json_option
def close(data_dir: Path, name: str, as_json: bool) -> None:
    """Close a circle for good, whatever its state."""
    _advance(data_dir, name, CircleState.CLOSED, as_json)


@click.command()
@data_option
@click.argument("name", metavar="CIRCLE")
@click.option("--count", type=click.IntRange(1, 10_000), default=1, show_default=True, help="How many sleepers.")
@click.option(
    "--valid",
    "valid_hours",
    type=click.FloatRange(0, min_open=True),
    default=24,
    show_default=True,
    metavar="HOURS",
    help="How long each may be redeemed.",
)
@json_option
def invite(data_dir: Path, name: str, count: int, valid_hours: float, as_json: bool) -> None:
    """Make invitations, one a line, each good for one sleeper (host only)."""

    async def work() -> list[str]:
        async with Sanctuary.at(data_dir) as sanctuary:
            found = await find_circle(sanctuary, name)
            made = await sanctuary.invitations(found.circle_id, count, valid_hours * 3600)
            return [str(invitation) for invitation in made]

    invitations = run(work)
    if as_json:
        echo_json(invitations)
    else:
        click.echo("\n".join(invitations))
