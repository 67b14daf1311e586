"""`harmonia petition`: what a sleeper asks for through the advocate, and what the advocate does with it."""

import os
from dataclasses import asdict
from pathlib import Path

import click
import trio

from harmonia import errors
from harmonia.cli.acting import role_option, stewardship
from harmonia.cli.common import data_option, echo_json, find_sleeper, json_option, run, sleeper_option
from harmonia.cli.fallback import FallbackGroup
from harmonia.client import Petition, SleeperCalls, WaitingPetition
from harmonia.client.outbox import backoff_s

PATIENCE_S = 10.0


@click.group(cls=FallbackGroup, fallback="make")
def petition() -> None:
    """Ask for something without being known: `harmonia petition TEXT`.

    The advocate is told the text and a name by chance, and nothing of who asks; what they file stands in a dialogue
    that members read.
    """


def _text(one: Petition) -> str:
    became = "withdrawn" if one.withdrawn else (f"filed, in {one.dialogue_id}" if one.dialogue_id else "waits")
    return f"{one.petition_id}  {became}  “{one.text}”"


def _show(one: Petition, as_json: bool) -> None:
    if as_json:
        echo_json(asdict(one))
    else:
        click.echo(_text(one))


@petition.command()
@data_option
@click.argument("text")
@click.option("--anonymous/--signed", default=True, help="Signed: your pseudonym stands behind the text.")
@sleeper_option
@json_option
def make(data_dir: Path, text: str, anonymous: bool, sleeper: str | None, as_json: bool) -> None:
    """Ask for something. `petition TEXT` does the same."""
    identity, event_id = find_sleeper(data_dir, sleeper), os.urandom(16)
    if not anonymous:
        text = f"{text} ({identity.sleeper_id})"

    async def work() -> Petition:
        async with SleeperCalls(identity) as calls:
            with trio.move_on_after(PATIENCE_S):
                for wait_s in backoff_s():
                    try:
                        return await calls.make_petition(event_id, text)
                    except errors.Unreachable:
                        await trio.sleep(wait_s)
        raise errors.Unreachable(
            "the sanctuary does not answer, so the petition may not be made; look with `petition ls`"
        )

    _show(run(work), as_json)


@petition.command()
@data_option
@sleeper_option
@json_option
def ls(data_dir: Path, sleeper: str | None, as_json: bool) -> None:
    """List your petitions, and what became of them."""
    identity = find_sleeper(data_dir, sleeper)

    async def work() -> list[Petition]:
        async with SleeperCalls(identity) as calls:
            return await calls.petitions()

    found = run(work)
    if as_json:
        echo_json([asdict(one) for one in found])
        return
    for one in found:
        click.echo(_text(one))
    if not found:
        click.echo("no petitions yet; make one with `harmonia petition TEXT`")


@petition.command()
@data_option
@click.argument("petition_id", metavar="PETITION")
@sleeper_option
@json_option
def withdraw(data_dir: Path, petition_id: str, sleeper: str | None, as_json: bool) -> None:
    """Take a petition back, until it is filed."""
    identity = find_sleeper(data_dir, sleeper)

    async def work() -> Petition:
        async with SleeperCalls(identity) as calls:
            return await calls.withdraw_petition(petition_id)

    _show(run(work), as_json)


@petition.command()
@data_option
@role_option
@json_option
def inbox(data_dir: Path, acting_as: str, as_json: bool) -> None:
    """List the petitions that wait (advocate only)."""

    async def work() -> list[WaitingPetition]:
        async with await stewardship(data_dir, acting_as) as held:
            return await held.petitions()

    found = run(work)
    if as_json:
        echo_json([asdict(one) for one in found])
        return
    for one in found:
        click.echo(f"{one.petition_id}  “{one.text}”")
    if not found:
        click.echo("no petition waits")


@petition.command()
@data_option
@click.argument("petition_id", metavar="PETITION")
@click.option("--dialogue", "dialogue_id", default="", metavar="DIALOGUE", help="Into this one, which is open.")
@click.option("--topic", default="", metavar="TEXT", help="Into a new one, on this.")
@role_option
@json_option
def file(data_dir: Path, petition_id: str, dialogue_id: str, topic: str, acting_as: str, as_json: bool) -> None:
    """File a petition into a dialogue, or open one with it (advocate only)."""

    async def work() -> str:
        async with await stewardship(data_dir, acting_as) as held:
            return await held.file(petition_id, dialogue_id=dialogue_id, topic=topic)

    into = run(work)
    if as_json:
        echo_json({"petition_id": petition_id, "dialogue_id": into})
    else:
        click.echo(f"{petition_id} is filed, in {into}")
