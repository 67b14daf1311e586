"""`harmonia dialogue`: what a circle talks over, while the night goes on."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from harmonia.cli.acting import as_option, member, stewardship
from harmonia.cli.common import data_option, echo_json, json_option, run, sleeper_option
from harmonia.client import Dialogue, Statement


@click.group()
def dialogue() -> None:
    """Read, open, hold and close a circle's dialogues.

    Members read and speak: sleepers without a name, others in their role. Host and council open and close.
    """


def dialogue_json(one: Dialogue) -> dict[str, Any]:
    """A dialogue for programs."""
    statements = [{**asdict(said), "role": said.role.word} for said in one.statements]
    return {**asdict(one), "role": one.role.word, "statements": statements}


def _head(one: Dialogue) -> str:
    who = f"{one.role.word} {one.name}".rstrip()
    end = "open" if one.closed_ns is None else "closed" + (f": {one.outcome}" if one.outcome else "")
    return f"{one.dialogue_id}  “{one.topic}”  by {who}  {one.statement_count} statements  {end}"


def _said(one: Statement) -> str:
    what = f" for a sleeper, {one.petition_id}" if one.petition_id else ""
    return f"  {f'{one.role.word} {one.name}'.rstrip()}{what}: {one.text}"


def _show(one: Dialogue, as_json: bool) -> None:
    if as_json:
        echo_json(dialogue_json(one))
        return
    click.echo(_head(one))
    for said in one.statements:
        click.echo(_said(said))


@dialogue.command()
@data_option
@as_option
@sleeper_option
@json_option
def ls(data_dir: Path, acting_as: str | None, sleeper: str | None, as_json: bool) -> None:
    """List the circle's dialogues."""

    async def work() -> list[Dialogue]:
        async with member(data_dir, acting_as, sleeper) as who:
            found: list[Dialogue] = await who.dialogues()
            return found

    found = run(work)
    if as_json:
        echo_json([dialogue_json(one) for one in found])
        return
    for one in found:
        click.echo(_head(one))
    if not found:
        click.echo("no dialogues yet; host and council open one with `harmonia dialogue open TOPIC --as CIRCLE|ROLE`")


@dialogue.command()
@data_option
@click.argument("dialogue_id", metavar="DIALOGUE")
@as_option
@sleeper_option
@json_option
def show(data_dir: Path, dialogue_id: str, acting_as: str | None, sleeper: str | None, as_json: bool) -> None:
    """Show what was said."""

    async def work() -> Dialogue:
        async with member(data_dir, acting_as, sleeper) as who:
            found: Dialogue = await who.dialogue(dialogue_id)
            return found

    _show(run(work), as_json)


@dialogue.command()
@data_option
@click.argument("dialogue_id", metavar="DIALOGUE")
@click.argument("text")
@as_option
@sleeper_option
@json_option
def say(data_dir: Path, dialogue_id: str, text: str, acting_as: str | None, sleeper: str | None, as_json: bool) -> None:
    """Say something: as a sleeper without a name, else in your role."""

    async def work() -> Dialogue:
        async with member(data_dir, acting_as, sleeper) as who:
            said: Dialogue = await who.say(dialogue_id, text)
            return said

    _show(run(work), as_json)


_leader_option = click.option(
    "--as", "acting_as", metavar="CIRCLE|ROLE", required=True, help="As this circle's host, or as its council."
)


@dialogue.command("open")
@data_option
@click.argument("topic")
@_leader_option
@json_option
def open_(data_dir: Path, topic: str, acting_as: str, as_json: bool) -> None:
    """Open a dialogue on TOPIC. The score goes on."""

    async def work() -> Dialogue:
        async with await stewardship(data_dir, acting_as) as held:
            return await held.open_dialogue(topic)

    _show(run(work), as_json)


@dialogue.command()
@data_option
@click.argument("dialogue_id", metavar="DIALOGUE")
@click.option("--outcome", default="", metavar="TEXT", help="What came of it.")
@_leader_option
@json_option
def close(data_dir: Path, dialogue_id: str, outcome: str, acting_as: str, as_json: bool) -> None:
    """Close a dialogue. Nothing follows from it by itself."""

    async def work() -> Dialogue:
        async with await stewardship(data_dir, acting_as) as held:
            return await held.close_dialogue(dialogue_id, outcome)

    _show(run(work), as_json)
