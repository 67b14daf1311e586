"""`harmonia status` and `harmonia tracking`."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import trio

from harmonia.cli.common import (
    circle_json,
    data_option,
    echo_json,
    find_circle,
    json_option,
    run,
    sleeper_json,
)
from harmonia.client import Sanctuary
from harmonia.client.sanctuary import read_admin_token
from harmonia.client.words import error_text, seconds_text

WATCH_S = 1.0
watch_option = click.option("--watch", is_flag=True, help="Again every second, until Ctrl-C.")


def _show(
    look: Callable[[], Awaitable[dict[str, Any]]], text: Callable[[dict[str, Any]], str], as_json: bool, watch: bool
) -> None:
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


@click.command()
@data_option
@json_option
@watch_option
def status(data_dir: Path, as_json: bool, watch: bool) -> None:
    """Show what the sanctuary hosts."""
    sanctuary = Sanctuary.at(data_dir)
    is_host = read_admin_token(data_dir) is not None

    async def look() -> dict[str, Any]:
        now = await sanctuary.status()
        circles = await sanctuary.circles() if is_host else []
        return {**asdict(now), "circle_list": [circle_json(one) for one in circles]}

    def text(seen: dict[str, Any]) -> str:
        lines = [
            f"sanctuary {seen['sanctuary_id']}, harmonia {seen['version']}, up {seconds_text(seen['uptime_ns'] / 1e9)}",
            f"{seen['circles']} circles, {seen['sleepers']} sleepers; UDP port {seen['udp_port']}",
        ]
        for one in seen["circle_list"]:
            title = f" “{one['title']}”" if one["title"] else ""
            lines.append(
                f"  {one['circle_id']}{title}  {one['state']}  {one['sleepers']}/{one['capacity']} sleepers"
                f"  {one['score']['name']}"
            )
        return "\n".join(lines)

    with sanctuary:
        _show(look, text, as_json, watch)


@click.command()
@data_option
@click.option("--circle", help="Show each visible sleeper of this circle too (host only).")
@json_option
@watch_option
def tracking(data_dir: Path, circle: str | None, as_json: bool, watch: bool) -> None:
    """Show how the sanctuary's clock stands, and with --circle how well each platform follows it."""
    sanctuary = Sanctuary.at(data_dir)

    async def look() -> dict[str, Any]:
        seen: dict[str, Any] = asdict(await sanctuary.tracking())
        if circle is not None:
            found = await find_circle(sanctuary, circle)
            async with sanctuary.watch(found.circle_id) as answers:
                async for view in answers:
                    seen["circle_id"] = found.circle_id
                    seen["sleepers"] = [sleeper_json(one) for one in view.sleepers]
                    seen["hidden"] = view.hidden
                    break
        return seen

    def text(seen: dict[str, Any]) -> str:
        lines = [
            f"clock {seen['clock_id']:016x}  stratum {seen['stratum']}  certain within {error_text(seen['bound_ns'])}"
            f"  rate {seen['rate_ppb'] / 1e3:+.3f} ppm  resumed {seen['resumes']} times",
            f"packets: {seen['answered']} answered, {seen['malformed']} malformed, {seen['unauthentic']} unauthentic",
        ]
        for one in seen.get("sleepers", []):
            lines.append(
                f"  {one['sleeper_id']}  {one['lock_state']:<14} certain within {error_text(one['bound_ns']):>9}, "
                f"expected {error_text(one['uncertainty_ns']):>9}  rate {one['rate_ppb'] / 1e3:+9.3f} ppm  "
                f"offset {one['offset_turns']:+.3f}{'  muted' if one['muted'] else ''}"
            )
        if seen.get("hidden"):
            lines.append(f"  and {seen['hidden']} who do not wish to be seen")
        return "\n".join(lines)

    with sanctuary:
        _show(look, text, as_json, watch)
