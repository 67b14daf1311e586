"""`harmonia circle role`: who else may do or see something in a circle (host only)."""

from pathlib import Path

import click

from harmonia.cli.common import data_option, echo_json, find_circle, json_option, run
from harmonia.client import GIVEN_ROLES, Role, RoleKey, RoleView, Sanctuary
from harmonia.client.identity import write_secret

HOUR_NS = 3600 * 1_000_000_000


@click.group()
def role() -> None:
    """Give, list and revoke roles in a circle (host only)."""


def role_json(held: RoleView) -> dict[str, object]:
    """A role for programs."""
    return {
        "role_id": held.role_id,
        "role": held.role.word,
        "name": held.name,
        "until_ns": held.until_ns,
        "made_ns": held.made_ns,
        "over": held.over,
    }


def _text(held: RoleView) -> str:
    end = held.over or ("until the circle ends" if held.until_ns is None else f"until {held.until_ns} ns of node time")
    return f"{held.role_id}  {held.role.word:<9} {held.name:<20} {end}"


@role.command()
@data_option
@click.argument("name", metavar="CIRCLE")
@click.argument("kind", metavar="ROLE", type=click.Choice([one.word for one in GIVEN_ROLES], case_sensitive=False))
@click.option("--name", "holder", required=True, help="Whose it is; members see it beside what they do.")
@click.option(
    "--valid",
    "valid_hours",
    type=click.FloatRange(0, 366 * 24, min_open=True),
    metavar="HOURS",
    help="How long it is good.  [default: as long as the circle]",
)
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write it into this file (mode 0600) instead."
)
@json_option
def grant(
    data_dir: Path, name: str, kind: str, holder: str, valid_hours: float | None, output: Path | None, as_json: bool
) -> None:
    """Give somebody a role: steward, weaver, council, advocate or guest.

    Prints one line for them, which is the role: whoever has it may do what the role may. It is told here, once.
    """

    async def work() -> tuple[RoleView, RoleKey]:
        async with Sanctuary.at(data_dir) as sanctuary:
            found = await find_circle(sanctuary, name)
            until_ns = None
            if valid_hours is not None:
                until_ns = (await sanctuary.status()).node_time_ns + round(valid_hours * HOUR_NS)
            held, credential = await sanctuary.grant_role(found.circle_id, Role.of(kind), holder, until_ns)
            return held, RoleKey(sanctuary.endpoint, found.circle_id, credential)

    held, key = run(work)
    if output is not None:
        write_secret(output, f"{key}\n")
    if as_json:
        echo_json({**role_json(held), "key": None if output is not None else str(key)})
    else:
        click.echo(f"{held.role_id}: {held.name} is {held.role.word}", err=True)
        click.echo(f"written to {output}" if output is not None else str(key))


@role.command()
@data_option
@click.argument("name", metavar="CIRCLE")
@json_option
def ls(data_dir: Path, name: str, as_json: bool) -> None:
    """List every role that was given, and what has ended it."""

    async def work() -> list[RoleView]:
        async with Sanctuary.at(data_dir) as sanctuary:
            return await sanctuary.roles((await find_circle(sanctuary, name)).circle_id)

    found = run(work)
    if as_json:
        echo_json([role_json(held) for held in found])
        return
    for held in found:
        click.echo(_text(held))
    if not found:
        click.echo("no roles yet; give one with `harmonia circle role grant CIRCLE steward --name NAME`")


@role.command()
@data_option
@click.argument("name", metavar="CIRCLE")
@click.argument("role_id", metavar="ROLE-ID")
@json_option
def revoke(data_dir: Path, name: str, role_id: str, as_json: bool) -> None:
    """Take a role back, at once: no call of its holder passes any more."""

    async def work() -> RoleView:
        async with Sanctuary.at(data_dir) as sanctuary:
            return await sanctuary.revoke_role((await find_circle(sanctuary, name)).circle_id, role_id)

    held = run(work)
    if as_json:
        echo_json(role_json(held))
    else:
        click.echo(_text(held))
