"""`harmonia forget`: makes everything that a sleeper ever said unreadable, for ever."""

from pathlib import Path

import click

from harmonia.cli.common import data_option, echo_json, json_option, run
from harmonia.client import Sanctuary

yes_option = click.option("--yes", is_flag=True, help="Do not ask.")
ASK = "{} will be forgotten for ever: nobody can undo it. Go on?"


@click.command()
@data_option
@click.argument("sleeper_id", metavar="SLEEPER")
@yes_option
@json_option
def forget(data_dir: Path, sleeper_id: str, yes: bool, as_json: bool) -> None:
    """Forget a sleeper (host only): withdraw everything, then delete the key under which all they said is sealed.

    SLEEPER is the whole id. The ledger stays whole; their entries audit as shredded. The erasure journal sees to it
    that they stay forgotten when a backup is restored.
    """
    if not yes:
        click.confirm(ASK.format(sleeper_id), abort=True)

    async def work() -> None:
        async with Sanctuary.at(data_dir) as sanctuary:
            await sanctuary.forget(sleeper_id)

    run(work)
    tell(sleeper_id, as_json)


def tell(sleeper_id: str, as_json: bool) -> None:
    """Says that it is done."""
    if as_json:
        echo_json({"sleeper_id": sleeper_id, "forgotten": True})
    else:
        click.echo(f"{sleeper_id} is forgotten: withdrawn from everything, and nobody can read what they said")
