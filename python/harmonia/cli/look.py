"""`harmonia circle look`: a circle's public state, for whoever may only look."""

from dataclasses import asdict
from pathlib import Path

import click

from harmonia.cli.acting import stewardship
from harmonia.cli.common import data_option, echo_json, json_option, run
from harmonia.client import PublicCircle
from harmonia.client.words import seconds_text


@click.command()
@data_option
@click.argument("where", metavar="CIRCLE|ROLE")
@json_option
def look(data_dir: Path, where: str, as_json: bool) -> None:
    """Show what a circle shows to everybody who has a role in it: title, state, schedule, counts."""

    async def work() -> PublicCircle:
        async with await stewardship(data_dir, where) as held:
            return await held.look()

    seen = run(work)
    if as_json:
        echo_json({**asdict(seen), "state": seen.state.word})
        return
    click.echo(f"{seen.circle_id} “{seen.title}”  {seen.state.word}  {seen.sleepers} of {seen.capacity} sleepers")
    for name, t_ns in (("the score begins", seen.epoch_ns), ("it moves on", seen.next_ns)):
        if t_ns is not None and t_ns > seen.node_time_ns:
            click.echo(f"  {name} in {seconds_text((t_ns - seen.node_time_ns) / 1e9)}")
