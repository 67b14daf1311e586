"""`harmonia me`: everything that a sanctuary knows of one sleeper, for that sleeper alone."""

from pathlib import Path

import click

from harmonia.cli.common import data_option, json_option, sleeper_option
from harmonia.cli.lazy import LazyGroup

_COMMANDS = {
    "export": "me_export",
    "receipts": "me_export",
    "forget": "me_forget",
}


@click.group(cls=LazyGroup, modules=_COMMANDS, invoke_without_command=True)
@data_option
@sleeper_option
@json_option
@click.pass_context
def me(ctx: click.Context, data_dir: Path, sleeper: str | None, as_json: bool) -> None:
    """Show what I allow, who used it, and when; with a command, more about me.

    It takes my own credential, also one that has ended: after the night as well as in it.
    """
    if ctx.invoked_subcommand is None:
        from harmonia.cli.me_show import show_me

        show_me(data_dir, sleeper, as_json)
