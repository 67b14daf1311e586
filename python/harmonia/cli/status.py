"""`harmonia status`: what a sanctuary hosts."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from harmonia.cli.common import circle_json, data_option, json_option
from harmonia.cli.watching import show, watch_option
from harmonia.client import Sanctuary
from harmonia.client.sanctuary import read_admin_token
from harmonia.client.words import seconds_text


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
        if seen["controller"] is not None:
            lines.append(f"{seen['controller']['name']} answers for it: {seen['controller']['contact']}")
        if seen["voices_dropped"]:
            lines.append(
                f"ALARM: {seen['voices_dropped']} coefficients or samples were no numbers, made silence on their "
                "platforms; whoever is concerned is told there"
            )
        for one in seen["circle_list"]:
            title = f" “{one['title']}”" if one["title"] else ""
            lines.append(
                f"  {one['circle_id']}{title}  {one['state']}  {one['sleepers']}/{one['capacity']} sleepers"
                f"  {one['score']['name']}"
            )
        return "\n".join(lines)

    with sanctuary:
        show(look, text, as_json, watch)
