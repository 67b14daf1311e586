"""What `harmonia me` shows: what I allow, who used it, when."""

from datetime import UTC, datetime
from pathlib import Path

import click

from harmonia.cli.advance import wish_text
from harmonia.cli.common import echo_json, find_sleeper, run, tell_kept_withdrawals
from harmonia.cli.consent import consent_text, listener_text
from harmonia.cli.times import span_text, wall
from harmonia.client import Controller, Me, SleeperCalls
from harmonia.client.export import me_json


def show_me(data_dir: Path, sleeper: str | None, as_json: bool) -> None:
    """Shows one sleeper of this machine."""
    identity = find_sleeper(data_dir, sleeper, past=True)

    async def work() -> Me:
        async with SleeperCalls(identity) as calls:
            await tell_kept_withdrawals(data_dir, calls)
            return await calls.me()

    me = run(work)
    if as_json:
        echo_json(me_json(me))
    else:
        click.echo("\n".join(me_text(me, datetime.now(UTC))))


def controller_text(controller: Controller | None) -> list[str]:
    """Who answers for it, in lines."""
    if controller is None:
        return ["who answers for it: whoever runs this sanctuary has not named anybody; ask the host"]
    more = [controller.address] if controller.address else []
    more += [f"privacy notice: {controller.notice_url}"] if controller.notice_url else []
    return ["; ".join([f"who answers for it: {controller.name}, {controller.contact}", *more])]


def me_text(me: Me, now: datetime) -> list[str]:
    """The same for people, line by line."""

    def clock(node_ns: int) -> str:
        at = wall(node_ns, me.node_time_ns, now)
        return f"{at:%H:%M}" if at.date() == now.astimezone().date() else f"{at:%Y-%m-%d %H:%M}"

    lines = [f"{me.sleeper_id} in {me.circle_id}" + (" (has left)" if me.left else "")]
    lines += controller_text(me.controller)
    lines.append("what I allow")
    lines += [f"  {purpose.word:<11} {consent_text(one, me.node_time_ns, now)}" for purpose, one in me.consents.items()]
    lines.append("who used it")
    for use in me.uses:
        length = span_text((use.until_ns - use.since_ns) / 1e9)
        lines.append(f"  {use.purpose.word:<11} {use.by}, {clock(use.since_ns)} to {clock(use.until_ns)} ({length})")
    if not me.uses:
        lines.append("  nobody")
    lines += [f"  {listener_text(one)}" for one in me.listeners]
    if me.wishes:
        lines.append("what is to be taken back by itself")
        lines += [f"  {one.wish.wish_id.hex()[:8]}  {wish_text(one)}" for one in me.wishes]
    return lines
