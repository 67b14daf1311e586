"""Commands that show how something stands: once, or again every second; as text or as JSON."""

from collections.abc import Awaitable, Callable
from typing import Any

import click
import trio

from harmonia.cli.common import echo_json, run

WATCH_S = 1.0
watch_option = click.option("--watch", is_flag=True, help="Again every second, until Ctrl-C.")


def show(
    look: Callable[[], Awaitable[dict[str, Any]]], text: Callable[[dict[str, Any]], str], as_json: bool, watch: bool
) -> None:
    """Shows what ``look`` sees, as ``text`` says it."""

    async def work() -> None:
        while True:
            seen = await look()
            if as_json:
                echo_json(seen)
            else:
                if watch:
                    click.clear()
                click.echo(text(seen))
            if not watch:
                return
            await trio.sleep(WATCH_S)

    run(work)
