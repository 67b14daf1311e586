"""`harmonia clock`: the commands that look at clocks."""

import click

from harmonia.cli.lazy import LazyGroup

_COMMANDS = {
    "replay": "clock_replay",
    "plot": "clock_plot",
    "restamp": "clock_restamp",
}


@click.group(cls=LazyGroup, modules=_COMMANDS)
def clock() -> None:
    """Look at clocks: in a picture, in recorded exchanges, in a study's data."""
