"""In which role a command acts: the host's on their own machine, one that somebody was granted, or a sleeper's.

CIRCLE is a circle of this machine's sanctuary, with the host's token; ROLE is the line that `circle role grant`
printed, a file that holds it, or - to read it from standard input: others who use this machine can see a command's
words.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import click
import trio

from harmonia import errors
from harmonia.cli.common import find_circle, find_sleeper
from harmonia.client import RoleKey, Sanctuary, SleeperCalls, Stewardship
from harmonia.client.stewardship import SCHEME

ROLE_MAX = 10_000

as_option = click.option(
    "--as", "acting_as", metavar="CIRCLE|ROLE", help="As this circle's host, or in a role. [default: as a sleeper]"
)
role_option = click.option("--as", "acting_as", metavar="ROLE", required=True, help="The role that was given.")


async def stewardship(data_dir: Path, text: str) -> Stewardship:
    """A connection in the role that ``text`` names. Raises BadInput, NotFound."""
    if text == "-":
        text = await trio.to_thread.run_sync(sys.stdin.readline, ROLE_MAX)
    elif not text.startswith(SCHEME) and await trio.Path(text).is_file():
        text = (await trio.Path(text).read_text(errors="replace"))[:ROLE_MAX]
    if text.strip().startswith(SCHEME):
        return Stewardship(RoleKey.parse(text))
    async with Sanctuary.at(data_dir) as sanctuary:
        return Stewardship.at(data_dir, (await find_circle(sanctuary, text)).circle_id)


@asynccontextmanager
async def member(data_dir: Path, acting_as: str | None, sleeper: str | None) -> AsyncIterator[Any]:
    """Whoever reads and speaks in dialogues: somebody with a role, or a sleeper of this machine."""
    if acting_as is not None and sleeper is not None:
        raise errors.BadInput("--as and --sleeper say who speaks: give one of them")
    if acting_as is None:
        async with SleeperCalls(find_sleeper(data_dir, sleeper)) as calls:
            yield calls
    else:
        async with await stewardship(data_dir, acting_as) as held:
            yield held
