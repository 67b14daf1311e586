"""`harmonia me`: everything that a sanctuary knows of one sleeper, for that sleeper alone."""

from pathlib import Path

import click

from harmonia.cli.common import data_option, json_option, sleeper_option
from harmonia.cli.lazy import LazyGroup

_COMMANDS: dict[str, str] = {}


@click.group(cls=LazyGroup, modules=_COMMANDS, invoke_without_command=True)
@data_option
@sleeper_option
@json_option
@click.pass_context
def me(ctx: click.Context, data_dir: Path, sleeper: str | None, as_json: bool) -> None:
    """Show what I allow; with a command, more about me."""
    if ctx.invoked_subcommand is None:
        from harmonia.cli.consent import consent

        ctx.invoke(consent, data_dir=data_dir, sleeper=sleeper, as_json=as_json)
