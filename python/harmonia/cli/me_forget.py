"""`harmonia me forget`: a sleeper's own wish to be forgotten."""

from pathlib import Path

import click

from harmonia.cli.common import data_option, find_sleeper, json_option, run, sleeper_option
from harmonia.cli.forget import ASK, tell, yes_option
from harmonia.client import SleeperCalls


@click.command()
@data_option
@sleeper_option
@yes_option
@json_option
def forget(data_dir: Path, sleeper: str | None, yes: bool, as_json: bool) -> None:
    """Be forgotten: withdraw everything, then have all that I ever said made unreadable. Nobody can undo it."""
    identity = find_sleeper(data_dir, sleeper, past=True)
    if not yes:
        click.confirm(ASK.format(identity.sleeper_id), abort=True)

    async def work() -> None:
        async with SleeperCalls(identity) as calls:
            await calls.forget_me()

    run(work)
    tell(identity.sleeper_id, as_json)
