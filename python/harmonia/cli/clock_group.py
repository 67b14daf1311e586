"""`harmonia clock`: the commands that look at clocks, each imported when it is called."""

import importlib

import click

_COMMANDS = {
    "plot": "clock_plot",
    "restamp": "clock_restamp",
}
"""Each command's module in this package; the function has the command's name."""


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(f"harmonia.cli.{_COMMANDS[cmd_name]}"), cmd_name)
        return command


@click.group(cls=_Lazy)
def clock() -> None:
    """Look at clocks: in a picture, in recorded exchanges, in a study's data."""
