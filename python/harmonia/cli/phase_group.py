"""`harmonia phase`: the phase of breath and slow waves."""

import click

from harmonia.cli.lazy import LazyGroup

_COMMANDS = {
    "track": "phase_track",
    "plot": "phase_plot",
    "compare": "phase_compare",
}


@click.group(cls=LazyGroup, modules=_COMMANDS)
def phase() -> None:
    """Track the phase of breath and slow waves, as it could have been known at the time."""
