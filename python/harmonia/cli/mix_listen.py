"""`harmonia mix listen`: hear what a sleeper hears, where they grant `monitoring`, while they see it."""

from pathlib import Path

import click
import trio

from harmonia.cli.common import data_option, is_short_for, run, stated_options
from harmonia.cli.doors import open_doors
from harmonia.cli.join import _present, _shower, _simulated, _stay, waiting_teller
from harmonia.cli.sounding import Target, device_option
from harmonia.client import Purpose, Sleeper

DEVICE_BUFFER_MS = 40.0


@click.command()
@data_option
@click.argument("sleeper", metavar="SLEEPER")
@click.option("--circle", metavar="CIRCLE|INVITATION", required=True, help="The circle that they are in.")
@click.option(
    "--output",
    metavar="FILE.wav|device",
    help="Play it through the sound card, or record it. Recording takes their `recording` too, and that of all in it.",
)
@device_option
@click.option("--seconds", type=click.FloatRange(0, min_open=True), help="End after so many seconds.")
@click.option("--rate", type=click.Choice(["44100", "48000"]), default="48000", show_default=True)
@stated_options
@click.option("--no-view", is_flag=True, help="No live status.")
@click.option("--json-lines", is_flag=True, help="A line of JSON for each moment, in place of the live status.")
@click.option(
    "--interval",
    "interval_s",
    type=click.FloatRange(0.02, 60),
    default=0.25,
    show_default=True,
    metavar="S",
    help="Time between two moments.",
)
def listen(
    sleeper: str,
    data_dir: Path,
    circle: str,
    output: str | None,
    device: str,
    seconds: float | None,
    rate: str,
    max_drift_ppm: float,
    max_wander: float,
    no_view: bool,
    json_lines: bool,
    interval_s: float,
) -> None:
    """Listen in to SLEEPER, if they grant `monitoring`: they are told before the first sound, and see it all the while.

    A listening platform joins for it, silent itself and visible to everybody. It ends as soon as SLEEPER takes
    `monitoring` back, or their platform goes.
    """

    target = Target.of(output, device, DEVICE_BUFFER_MS)

    async def work() -> None:
        core = _simulated(0.0, 0.0, None, int(rate), max_drift_ppm, max_wander)
        show = _shower(json_lines, no_view)
        async with open_doors() as doors:
            wishes = doors.ask(Purpose.PRESENCE, Purpose.HEARING, Purpose.VISIBILITY)
            recording, tell = target.file is not None, waiting_teller(json_lines)
            async with _present(doors, data_dir, circle, None, None, recording, core, tell) as (who, _):
                await doors.listen(False, show)
                # Nothing is heard before it is theirs.
                await who.set_levels(hearing=0.0, own=0.0)
                await doors.grant(*wishes)
                name = await _meant(who, sleeper)
                async with trio.open_nursery() as nursery:
                    await nursery.start(who.listen_in, name)
                    await who.set_levels(hearing=1.0, own=0.0)
                    show.begin(who, True, target)
                    await _stay(who, show, target, seconds, interval_s, doors)
                    nursery.cancel_scope.cancel()

    run(work)


async def _meant(who: Sleeper, text: str) -> str:
    """The one sleeper in sight whose id begins so; else the id as it was given, for one who is not to be seen."""
    async with who.watch() as views:
        async for view in views:
            fits = [one.sleeper_id for one in view.sleepers if is_short_for(text, one.sleeper_id)]
            return fits[0] if len(fits) == 1 else text
    return text
