"""`harmonia steward`: the room at night, for whoever is awake in it."""

import sys
from dataclasses import asdict
from pathlib import Path

import click

from harmonia import errors
from harmonia.cli.acting import stewardship
from harmonia.cli.common import data_option, echo_json, json_option, run
from harmonia.cli.fallback import FallbackGroup
from harmonia.cli.steward_view import room_json, room_text, watch_keys
from harmonia.client import HelpCall, RoomView, Silence, Stewardship

where = click.argument("where", metavar="CIRCLE|ROLE")


@click.group(cls=FallbackGroup, fallback="watch")
def steward() -> None:
    """Watch over a room: `harmonia steward CIRCLE|ROLE` shows who needs help, and silences it at one key.

    CIRCLE on the host's own machine; ROLE is what `circle role grant CIRCLE steward` printed, a file that holds
    it, or - to read it from standard input.
    """


@steward.command()
@data_option
@where
@click.option("--once", is_flag=True, help="Show it once.")
@click.option("--json", "as_json", is_flag=True, help="A line of JSON at each change, and every second.")
def watch(data_dir: Path, where: str, once: bool, as_json: bool) -> None:
    """Show the room, until the circle closes or Ctrl-C. `steward CIRCLE|ROLE` does the same.

    Keys: s silences the room, l lifts that, a twice raises the alarm, c says that you are coming to the first call that
    nobody has answered, r that the first call is resolved, q leaves.
    """

    async def work() -> None:
        async with await stewardship(data_dir, where) as held:
            if not (once or as_json) and sys.stdin.isatty():
                await watch_keys(held)
                return
            async with held.watch() as views:
                async for view in views:
                    if as_json:
                        echo_json(room_json(view))
                    else:
                        click.echo(room_text(view))
                    if once:
                        return

    run(work)


async def look_once(held: Stewardship) -> RoomView:
    """The room as it is now."""
    async with held.watch() as views:
        async for view in views:
            return view
    raise errors.Unreachable("the sanctuary ended the stream before it said anything; try again")


def _silence(data_dir: Path, where: str, message: str, alarm: bool, as_json: bool) -> None:
    async def work() -> Silence:
        async with await stewardship(data_dir, where) as held:
            return await held.silence(message, alarm=alarm)

    done = run(work)
    if as_json:
        echo_json(asdict(done))
    else:
        what = "the alarm is raised" if alarm else "the room is silent"
        click.echo(f"{what}; `harmonia steward lift CIRCLE|ROLE` ends it ({done.silence_id})")


@steward.command()
@data_option
@where
@click.option("--message", default="", metavar="TEXT", help="For everybody.")
@json_option
def silence(data_dir: Path, where: str, message: str, as_json: bool) -> None:
    """Silence the whole room at once: every voice and the score, for everybody, until it is lifted."""
    _silence(data_dir, where, message, False, as_json)


@steward.command()
@data_option
@where
@click.option("--message", default="Wake up, please, and get up.", show_default=True, metavar="TEXT")
@json_option
def alarm(data_dir: Path, where: str, message: str, as_json: bool) -> None:
    """Wake everybody: silence, a message on every platform, and their lights up as far as each person lets them."""
    _silence(data_dir, where, message, True, as_json)


@steward.command()
@data_option
@where
@json_option
def lift(data_dir: Path, where: str, as_json: bool) -> None:
    """End the silence that is in force. Whoever withdrew meanwhile stays silent."""

    async def work() -> Silence:
        async with await stewardship(data_dir, where) as held:
            now = (await look_once(held)).silence
            if now is None:
                raise errors.BadInput("this room is not silent: there is nothing to lift")
            await held.lift(now.silence_id)
            return now

    done = run(work)
    if as_json:
        echo_json({"lifted": done.silence_id})
    else:
        click.echo(f"lifted {done.silence_id}; who had sound before, and has not withdrawn, fades in")


def _answer(data_dir: Path, where: str, help_id: str, resolved: bool, as_json: bool) -> None:
    async def work() -> HelpCall:
        async with await stewardship(data_dir, where) as held:
            return await held.answer(help_id, resolved=resolved)

    call = run(work)
    if as_json:
        echo_json(asdict(call))
    else:
        click.echo(f"place {call.place} is told that {'it is resolved' if resolved else f'{call.by} is coming'}")


@steward.command()
@data_option
@where
@click.argument("help_id", metavar="CALL")
@json_option
def coming(data_dir: Path, where: str, help_id: str, as_json: bool) -> None:
    """Tell who called for help that you are coming."""
    _answer(data_dir, where, help_id, False, as_json)


@steward.command()
@data_option
@where
@click.argument("help_id", metavar="CALL")
@json_option
def resolved(data_dir: Path, where: str, help_id: str, as_json: bool) -> None:
    """Say that a call for help is resolved."""
    _answer(data_dir, where, help_id, True, as_json)
