"""`harmonia circle` and `harmonia invite`: the host's commands."""

from dataclasses import asdict
from pathlib import Path

import click
import trio

from harmonia import errors
from harmonia.cli import circle_series, circle_template, join, weaving
from harmonia.cli.common import (
    WAITING,
    Command,
    called_as,
    circle_json,
    data_option,
    echo_json,
    find_circle,
    find_sleeper,
    find_tickets,
    json_option,
    music_beside,
    plan_text,
    put_by,
    read_score,
    run,
    sleeper_option,
    tell_kept_withdrawals,
)
from harmonia.cli.look import look
from harmonia.cli.role import role
from harmonia.client import (
    Circle,
    CircleMode,
    CircleState,
    CircleView,
    NightWish,
    Sanctuary,
    Series,
    SleeperCalls,
    Ticket,
    Weaving,
    views,
)


@click.group()
def circle() -> None:
    """Circles: open, plan, show and close them (host only); join and leave them."""


for _command in (
    *(weaving.watch, weaving.mode, weaving.syncopate, role, look),
    *(join.join, circle_series.schedule),
):
    circle.add_command(_command)


def _describe_series(found: Series, as_json: bool) -> None:
    if as_json:
        echo_json(asdict(found))
    else:
        click.echo("\n".join(circle_series.series_text(found)))


def _describe(found: Circle, as_json: bool) -> None:
    if as_json:
        echo_json(circle_json(found))
        return
    plan = "" if found.plan is None else f"  {plan_text(found.plan)}"
    waiting = f", {found.waiting} wait" if found.waiting else ""
    state = found.state.word if found.open or not found.reason else found.ending_words
    title = f" “{found.title}”" if found.title else ""
    rhythm = "no rhythm yet"
    if found.rhythm is not None:
        rhythm = f"rhythm {views.segment_hz(found.rhythm.segments[-1]):.3f} Hz"
    click.echo(
        f"{found.circle_id}{title}  {state}  {found.sleepers} of {found.capacity} sleepers{waiting}  "
        f"{found.score.name} ({found.channels} channels, {rhythm})  {weaving.weaving_words(found)}{plan}"
    )


def _schedule_options(command: Command) -> Command:
    """When the night is: lengths, or civil time in a zone."""
    for option in reversed(
        (
            click.option(
                "--gather",
                "gather_s",
                type=click.FloatRange(0),
                metavar="S",
                help="Begin the score after S seconds; otherwise with `circle begin`.",
            ),
            click.option(
                "--minutes",
                type=click.FloatRange(0, min_open=True),
                metavar="M",
                help="End M minutes after the score began; otherwise with the score.",
            ),
            click.option(
                "--gather-at",
                default="",
                metavar="WHEN",
                help="Gather at 'YYYY-MM-DD HH:MM', and be a draft until then.",
            ),
            click.option(
                "--lights-out", default="", metavar="WHEN", help="Begin the score at HH:MM, or 'YYYY-MM-DD HH:MM'."
            ),
            click.option(
                "--wake",
                default="",
                metavar="FROM[..UNTIL]",
                help="Wake in this window, for instance 06:30..07:00; otherwise with the score's end.",
            ),
            click.option(
                "--zone", default="", metavar="NAME", help="The zone of these times, for instance Europe/Berlin."
            ),
        )
    ):
        command = option(command)
    return command


def _schedule(
    gather_s: float | None, minutes: float | None, gather_at: str, lights_out: str, wake: str, zone: str
) -> NightWish | tuple[float | None, float | None] | None:
    """The schedule that the options give; None if they give none. Raises BadInput."""
    if not (gather_at or lights_out or wake or zone):
        night_s = None if minutes is None else minutes * 60
        return None if gather_s is None and minutes is None else (gather_s, night_s)
    if gather_s is not None or (wake and minutes is not None):
        raise errors.BadInput("give times of day (--gather-at, --lights-out, --wake) or lengths, not both")
    if not lights_out or not zone:
        raise errors.BadInput(
            "times of day need --lights-out, when the score begins, and --zone, for instance Europe/Berlin"
        )
    return NightWish(zone, lights_out, gather_at, wake)


def _note(line: str) -> None:
    click.echo(f"note: {line}", err=True)


@circle.command(cls=circle_template.Templated)
@data_option
@click.option("--template", metavar="NAME", help="What is not said here is as in this template.")
@click.option(
    "--score", "score_file", type=click.Path(path_type=Path), required=True, help="A .toml, .sbg or .sbgf score."
)
@click.option("--title", default="", help="What people call it; otherwise the name of the score's file.")
@click.option("--capacity", type=click.IntRange(1, 100_000), default=64, show_default=True, help="Sleepers at most.")
@_schedule_options
@click.option(
    "--every",
    "rule",
    metavar="RULE",
    help="Make a circle for each full-moon, new-moon, friday (or another day), daily, or RRULE.",
)
@click.option("--from", "first", default="", metavar="DATE", help="Count the rule from there.  [default: today]")
@click.option("--except", "excluded", multiple=True, metavar="DATE", help="Leave out this night; may be repeated.")
@click.option("--draft", is_flag=True, help="Leave it a draft, to be changed and opened later.")
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
    template: str | None,  # noqa: ARG001 (its words have become defaults)
    score_file: Path,
    title: str,
    capacity: int,
    gather_s: float | None,
    minutes: float | None,
    gather_at: str,
    lights_out: str,
    wake: str,
    zone: str,
    rule: str | None,
    first: str,
    excluded: tuple[str, ...],
    draft: bool,
    mode: str,
    strength: float,
    lag: float,
    as_json: bool,
) -> None:
    """Open a circle in gathering, or as a draft: with --draft, or until --gather-at. With --every, plan a series.

    Music beside the score is given to the sanctuary, which hands it on to platforms.
    """
    schedule = _schedule(gather_s, minutes, gather_at, lights_out, wake, zone)
    if rule is None and (first or excluded):
        raise errors.BadInput("--from and --except belong to --every, the rule of a series")
    if rule is not None and not isinstance(schedule, NightWish):
        raise errors.BadInput("a series needs times of day: --gather-at HH:MM, --lights-out HH:MM and --zone")
    score = read_score(score_file)

    async def work() -> Circle | Series:
        async with Sanctuary.at(data_dir) as sanctuary:
            for path in await trio.to_thread.run_sync(music_beside, score_file, score):
                click.echo(f"stem {path.name}: {await sanctuary.add_stem(path)}", err=True)
            night_s = None if minutes is None else minutes * 60
            weaves, called = Weaving(CircleMode.of(mode), strength, lag), title or score_file.stem
            if rule is not None and isinstance(schedule, NightWish):
                return await sanctuary.create_series(
                    score,
                    rule=rule,
                    times=schedule,
                    title=called,
                    capacity=capacity,
                    night_s=night_s,
                    weaving=weaves,
                    first=first,
                    excluded=excluded,
                )
            return await sanctuary.create_circle(
                score,
                title=called,
                capacity=capacity,
                gather_s=gather_s,
                night_s=night_s,
                weaving=weaves,
                wish=schedule if isinstance(schedule, NightWish) else None,
                draft=draft,
                note=_note,
            )

    made = run(work)
    if isinstance(made, Series):
        _describe_series(made, as_json)
        return
    _describe(made, as_json)
    if not as_json:
        lines = [
            f"\njoin from this machine    {called_as()} join {made.circle_id}",
            f"invite others             {called_as()} invite {made.circle_id}",
        ]
        if made.state is CircleState.DRAFT:
            lines.append(f"open it now               {called_as()} circle open {made.circle_id}")
        elif gather_s is None and not lights_out:
            lines.append(f"begin it                  {called_as()} circle begin {made.circle_id}")
        click.echo("\n".join(lines))


circle.add_command(circle_template.group(create))


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


def _advance(data_dir: Path, name: str, state: CircleState, as_json: bool, reason: str = "") -> None:
    async def work() -> Circle:
        async with Sanctuary.at(data_dir) as sanctuary:
            found = await find_circle(sanctuary, name)
            return await sanctuary.advance(found.circle_id, state, reason)

    _describe(run(work), as_json)


@circle.command("open")
@data_option
@click.argument("name", metavar="CIRCLE")
@json_option
def open_(data_dir: Path, name: str, as_json: bool) -> None:
    """Let a draft gather, now; who waits for it comes in."""
    _advance(data_dir, name, CircleState.GATHERING, as_json)


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
    """Close a circle for good, whatever its state; of a series, make no more nights."""
    if not name.startswith(circle_series.PREFIX):
        _advance(data_dir, name, CircleState.CLOSED, as_json)
        return

    async def work() -> Series:
        async with Sanctuary.at(data_dir) as sanctuary:
            return await sanctuary.end_series((await circle_series.find_series(sanctuary, name)).series_id)

    _describe_series(run(work), as_json)


@circle.command()
@data_option
@click.argument("name", metavar="CIRCLE")
@click.option("--reason", required=True, help="Why; everybody in it and everybody who waits is told.")
@json_option
def cancel(data_dir: Path, name: str, reason: str, as_json: bool) -> None:
    """Call off a circle that has not begun."""

    async def work() -> Circle:
        async with Sanctuary.at(data_dir) as sanctuary:
            found = await find_circle(sanctuary, name)
            if found.state not in (CircleState.DRAFT, CircleState.GATHERING):
                raise errors.BadInput(
                    f"{found.circle_id} is {found.state.word}: only one that has not begun can be called off; end it "
                    f"with `{called_as()} circle close`"
                )
            return await sanctuary.advance(found.circle_id, CircleState.CLOSED, reason)

    _describe(run(work), as_json)


@circle.command("set")
@data_option
@click.argument("name", metavar="CIRCLE")
@click.option("--title", help="Another title, until it begins.")
@click.option("--capacity", type=click.IntRange(1, 100_000), help="Room for so many; nobody leaves for it.")
@click.option("--score", "score_file", type=click.Path(path_type=Path), help="Another score, while it is a draft.")
@_schedule_options
@click.option("--except", "excluded", multiple=True, metavar="DATE", help="Leave out this night of a series, too.")
@json_option
def set_(
    data_dir: Path,
    name: str,
    title: str | None,
    capacity: int | None,
    score_file: Path | None,
    gather_s: float | None,
    minutes: float | None,
    gather_at: str,
    lights_out: str,
    wake: str,
    zone: str,
    excluded: tuple[str, ...],
    as_json: bool,
) -> None:
    """Change a circle: all of it while it is a draft, title and schedule until it begins, its capacity always.

    A schedule is given whole: what of it is not given is not kept. With the id of a series, change all its later
    nights, also those that are made and drafts still; one night alone is changed as its circle.
    """
    in_series = name.startswith(circle_series.PREFIX)
    schedule = _schedule(gather_s, minutes, gather_at, lights_out, wake, zone)
    score = None if score_file is None else read_score(score_file)
    if title is None and capacity is None and score is None and schedule is None and not excluded:
        raise errors.BadInput("say what to change: --title, --capacity, --score or a schedule")
    if in_series and isinstance(schedule, tuple):
        raise errors.BadInput("a series has times of day: --gather-at HH:MM, --lights-out HH:MM and --zone")
    if excluded and not in_series:
        raise errors.BadInput("--except leaves out a night of a series: give its id; call off a circle with `cancel`")

    async def change() -> Series:
        async with Sanctuary.at(data_dir) as sanctuary:
            meant = (await circle_series.find_series(sanctuary, name)).series_id
            times = schedule if isinstance(schedule, NightWish) else None
            return await sanctuary.change_series(
                meant, title=title, capacity=capacity, score=score, times=times, excluded=excluded
            )

    if in_series:
        _describe_series(run(change), as_json)
        return

    async def work() -> Circle:
        async with Sanctuary.at(data_dir) as sanctuary:
            found = await find_circle(sanctuary, name)
            return await sanctuary.edit_circle(
                found.circle_id, title=title, capacity=capacity, score=score, schedule=schedule, note=_note
            )

    _describe(run(work), as_json)


@circle.command()
@data_option
@click.argument("name", metavar="[CIRCLE|TICKET]", required=False)
@sleeper_option
@click.option("--come-back", is_flag=True, help="Only for a while: keep the place, and be muted on coming back.")
@json_option
def leave(data_dir: Path, name: str | None, sleeper: str | None, come_back: bool, as_json: bool) -> None:
    """Leave a circle, for good or for a while, or its waiting list, as a sleeper of this machine."""
    tickets = []
    if name is not None and sleeper is None:
        tickets = [Ticket.load(Path(name))] if name.endswith(WAITING) else find_tickets(data_dir, name)
    if len(tickets) > 1:
        paths = ", ".join(str(ticket.path) for ticket in tickets)
        raise errors.BadInput(f"several of this machine wait there; say who leaves: {paths}")

    async def work() -> tuple[str, str]:
        for ticket in tickets:
            await ticket.give_up()
            return ticket.invitation.circle_id, "waiting list"
        identity = find_sleeper(data_dir, sleeper, name)
        async with SleeperCalls(identity) as calls:
            await tell_kept_withdrawals(data_dir, calls)
            await calls.leave(come_back=come_back)
        if identity.path is not None and not come_back:
            put_by(data_dir, identity.path, identity.sleeper_id)
        return identity.circle_id, "circle"

    circle_id, left = run(work)
    if as_json:
        echo_json({"circle_id": circle_id, "left": left})
    elif come_back and not tickets:
        click.echo(f"left {circle_id} for a while; come back with `{called_as()} join --sleeper ID`, muted at first")
    else:
        click.echo(f"left the {left} of {circle_id}" if tickets else f"left {circle_id}")


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
