"""`harmonia apart`: whom a sleeper does not want to hear, and who may not hear them."""

from pathlib import Path

import click

from harmonia import errors
from harmonia.cli.common import data_option, echo_json, find_sleeper, json_option, run, sleeper_option
from harmonia.client import Apart, SleeperCalls

_WORDS = {
    (True, True): "neither hears {other} nor is heard by them",
    (True, False): "does not hear {other}",
    (False, True): "is not heard by {other}",
    (False, False): "hears {other}, and is heard by them, as far as both consent",
}


@click.command()
@data_option
@click.argument("other", required=False)
@click.option("--unheard", is_flag=True, help="The sleeper does not want to hear OTHER.")
@click.option("--unhearing", is_flag=True, help="OTHER may not hear the sleeper.")
@click.option("--undo", is_flag=True, help="Take it back.")
@sleeper_option
@json_option
def apart(
    data_dir: Path, other: str | None, unheard: bool, unhearing: bool, undo: bool, sleeper: str | None, as_json: bool
) -> None:
    """Keep a sleeper apart from OTHER, both ways or one way; without OTHER, show from whom they do.

    At once, and for as long as they wish; nobody else learns of it. OTHER is another sleeper's id, of somebody who need
    not be here yet.
    """
    if other is None and (unheard or unhearing or undo):
        raise errors.BadInput("name the other sleeper too, for instance `harmonia apart SLEEPER --unheard`")
    both = unheard == unhearing
    identity = find_sleeper(data_dir, sleeper)

    async def work() -> tuple[Apart, ...]:
        async with SleeperCalls(identity) as calls:
            if other is None:
                return (await calls.platform_state()).apart
            return await calls.keep_apart(
                other, unheard=not undo if unheard or both else None, unhearing=not undo if unhearing or both else None
            )

    wishes = run(work)
    if as_json:
        others = [{"other_id": w.sleeper_id, "unheard": w.unheard, "unhearing": w.unhearing} for w in wishes]
        echo_json({"sleeper_id": identity.sleeper_id, "apart": others})
        return
    shown = {w.sleeper_id: (w.unheard, w.unhearing) for w in wishes}
    if other is not None:
        shown = {other: shown.get(other, (False, False))}
    for name, directions in shown.items():
        click.echo(f"{identity.sleeper_id} {_WORDS[directions].format(other=name)}")
    if not shown:
        click.echo(f"{identity.sleeper_id} keeps apart from nobody")
