"""`harmonia mix`: hear, draw and overhear what sleepers hear."""

import click

from harmonia.cli.lazy import LazyGroup

_COMMANDS = {
    "woven": "mix_woven",
    "plot": "mix_plot",
    "listen": "mix_listen",
}


@click.group(cls=LazyGroup, modules=_COMMANDS)
def mix() -> None:
    """Hear a woven circle beforehand, draw a recording, listen in to a sleeper who allows it."""
