"""`harmonia help`: calls whoever is awake, from another terminal than the one that joined."""

import os
from dataclasses import asdict
from pathlib import Path

import click
import trio

from harmonia import errors
from harmonia.cli.common import data_option, echo_json, find_sleeper, json_option, run, sleeper_option
from harmonia.client import HelpCall, SleeperCalls
from harmonia.client.outbox import backoff_s

PATIENCE_S = 30.0
"""How long a call is repeated before the person is told that nobody answers."""


@click.command()
@data_option
@sleeper_option
@click.option("--message", default="", metavar="TEXT", help="What the matter is, if you like.")
@click.option("--take-back", is_flag=True, help="Nobody needs to come any more: take your calls back.")
@click.option("--ls", "only_list", is_flag=True, help="Show who is coming, and call nobody.")
@json_option
def help(data_dir: Path, sleeper: str | None, message: str, take_back: bool, only_list: bool, as_json: bool) -> None:
    """Call whoever is awake for help; they are told your place, and TEXT.

    It needs no consent to anything. Returns once it is on the sanctuary's disk. In the joined terminal the key `h` does
    the same, and `H` takes it back. For how to use Harmonia: `harmonia --help`.
    """
    if take_back and (only_list or message):
        raise errors.BadInput("--take-back takes back all your calls that wait: give neither --message nor --ls")
    identity, event_id = find_sleeper(data_dir, sleeper), os.urandom(16)

    async def work() -> tuple[HelpCall, ...]:
        async with SleeperCalls(identity) as calls:
            with trio.move_on_after(PATIENCE_S):
                for wait_s in backoff_s():
                    try:
                        if only_list or take_back:
                            held = (await calls.platform_state()).calls
                            if only_list:
                                return held
                            return tuple([await calls.take_back_help(one.help_id) for one in held if one.waiting])
                        return (await calls.call_for_help(event_id, message),)
                    except (errors.Unreachable, errors.StorageError):
                        await trio.sleep(wait_s)
        raise errors.Unreachable(
            "the sanctuary does not answer, so nobody was told; call out, or go to whoever is awake, and try again"
        )

    made = run(work)
    if as_json:
        echo_json([asdict(one) for one in made])
        return
    for one in made:
        click.echo(call_text(one))
    if not made:
        click.echo("no calls that wait" if take_back else "no calls; `harmonia help` makes one")


def call_text(one: HelpCall) -> str:
    """A call as its maker sees it."""
    if one.taken_back:
        return "help: taken back"
    if one.resolved_ns is not None:
        return f"help: resolved ({one.by})"
    if one.coming_ns is not None:
        return f"help: {one.by} is coming to place {one.place}"
    return f"help: called, from place {one.place}; whoever is awake sees it"
