"""`harmonia wake` and `harmonia schedule-offset`: when and how softly a sleeper wakes, as they want it themself."""

from pathlib import Path

import click

from harmonia import errors
from harmonia.cli.common import data_option, find_sleeper, run, sleeper_option
from harmonia.client import SleeperCalls


@click.command()
@data_option
@click.option("--minutes", type=click.FloatRange(0, 60, min_open=True), default=1.0, show_default=True, metavar="M")
@click.option("--undo", is_flag=True, help="Go back to sleep: the night fades in again.")
@sleeper_option
def wake(data_dir: Path, minutes: float, undo: bool, sleeper: str | None) -> None:
    """Wake softly: the own mix fades out within M minutes, and nobody else hears a jump.

    The voice fades for the others just as softly. Who wants silence at once opts out: `harmonia optout`.
    """
    identity = find_sleeper(data_dir, sleeper)

    async def work() -> None:
        async with SleeperCalls(identity) as calls:
            await calls.set_awake(not undo, 60.0 * minutes)

    run(work)
    click.echo(f"{identity.sleeper_id} " + ("sleeps on" if undo else f"wakes within {minutes:g} min"))


@click.command(context_settings={"ignore_unknown_options": True})  # so that -0.5 is a number
@data_option
@click.argument("hours", type=float)
@sleeper_option
def schedule_offset(data_dir: Path, hours: float, sleeper: str | None) -> None:
    """Wake HOURS later than the circle, -12 to 12; negative: earlier. Nobody else can set it."""
    if not abs(hours) <= 12:
        raise errors.BadInput(f"a schedule offset is a number of hours from -12 to 12, for instance -0.5, not {hours}")
    identity = find_sleeper(data_dir, sleeper)

    async def work() -> None:
        async with SleeperCalls(identity) as calls:
            await calls.set_schedule_offset(hours)

    run(work)
    way = "with the circle" if not hours else f"{abs(hours):g} h {'later' if hours > 0 else 'earlier'} than the circle"
    click.echo(f"{identity.sleeper_id} wakes {way}")
