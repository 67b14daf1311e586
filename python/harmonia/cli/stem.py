"""`harmonia stem`: the music that a sanctuary keeps for its circles' scores."""

from pathlib import Path

import click

from harmonia.cli.common import data_option, run
from harmonia.client import Sanctuary


@click.group()
def stem() -> None:
    """Give the sanctuary music for its circles' scores."""


@stem.command()
@data_option
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
def add(data_dir: Path, files: tuple[Path, ...]) -> None:
    """Add recordings, for scores that name these files or their hashes. Goes on where it was interrupted."""

    async def work() -> None:
        async with Sanctuary.at(data_dir) as sanctuary:
            for file in files:
                click.echo(f"{await sanctuary.add_stem(file)}  {file.name}")

    run(work)
