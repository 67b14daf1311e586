"""`harmonia optout`, `grant`, `consent` and `offset`: what a sleeper wants, said from another terminal.

The sleeper is found by the state file that `harmonia join` keeps; its credential alone opens these calls, the host's
token does not.
"""

import math
import os
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import trio

from harmonia import errors
from harmonia.cli.common import (
    data_option,
    echo_json,
    find_sleeper,
    json_option,
    run,
    sleeper_option,
    tell_kept_withdrawals,
)
from harmonia.cli.times import SPAN, parse_until, until_text
from harmonia.cli.weaving import taken_offer
from harmonia.client import EVERY_PURPOSE, Listener, Purpose, PurposeConsent, SleeperCalls, views
from harmonia.client.outbox import backoff_s

PATIENCE_S = 10.0
"""How long an opt-out is repeated before the person is told that nobody answers."""

purpose_type = click.Choice([purpose.word for purpose in EVERY_PURPOSE], case_sensitive=False)


@click.command()
@data_option
@click.argument("circle", required=False)
@sleeper_option
@click.option("--purpose", "words", multiple=True, type=purpose_type, help="Only this; may be repeated. [default: all]")
@json_option
def optout(data_dir: Path, circle: str | None, sleeper: str | None, words: tuple[str, ...], as_json: bool) -> None:
    """Withdraw consent, at once: everything, or the given purposes.

    Returns once the withdrawal is on the sanctuary's disk. In the joined terminal the key `o` does the same, and is
    silent even when the sanctuary cannot be reached. Also once the night is over, for what goes on after it.
    """
    identity = find_sleeper(data_dir, sleeper, circle, past=True)
    purposes = [Purpose.of(word) for word in words]
    event_id = os.urandom(16)

    async def work() -> int:
        async with SleeperCalls(identity) as calls:
            gate_epoch = await tell(calls)
            await tell_kept_withdrawals(data_dir, calls)
            return gate_epoch

    async def tell(calls: SleeperCalls) -> int:
        with trio.move_on_after(PATIENCE_S):
            for wait_s in backoff_s():
                try:
                    return await calls.withdraw(event_id, purposes)
                except errors.Unreachable:
                    await trio.sleep(wait_s)
        raise errors.Unreachable(
            "the sanctuary does not answer, so the opt-out is not recorded; press `o` in the joined terminal to be "
            "silent at once, and repeat this command when the sanctuary is back"
        )

    gate_epoch = run(work)
    what = ", ".join(purpose.word for purpose in purposes) or "everything"
    if as_json:
        echo_json({"sleeper_id": identity.sleeper_id, "withdrawn": what, "gate_epoch": gate_epoch})
    else:
        click.echo(f"{identity.sleeper_id} has opted out of {what}; it is on disk (gate epoch {gate_epoch})")


@click.command()
@data_option
@click.argument("purpose", type=purpose_type)
@click.option(
    "--scope",
    metavar="WHOM",
    help="Only to WHOM: a sleeper's id, for monitoring, recording and visibility; for the last also host, sleeper or "
    "steward. [default: the circle]",
)
@click.option("--level", type=click.FloatRange(0, 1), help="How far, 0 to 1. [default: 1]")
@click.option("--for", "for_s", type=SPAN, help="For so long, such as 3h or 90m. [default: with the circle]")
@click.option("--until", help="Until then: 03:00, or a date and time.")
@click.option("--supersedes", metavar="ID", help="The withdrawal that this answers. [default: the newest]")
@sleeper_option
@json_option
def grant(
    data_dir: Path,
    purpose: str,
    scope: str | None,
    level: float | None,
    for_s: float | None,
    until: str | None,
    supersedes: str | None,
    sleeper: str | None,
    as_json: bool,
) -> None:
    """Allow one purpose (see `harmonia consent` for all of them).

    A grant replaces an earlier one of the same purpose whole: its scope, its level and its end. Without any option,
    what is allowed already stays as it is.
    """
    if for_s is not None and until is not None:
        raise errors.BadInput("a grant ends after some time (--for) or at a time (--until), not both")
    now = datetime.now(UTC)
    if until is not None:
        for_s = parse_until(until, now.astimezone())
    identity = find_sleeper(data_dir, sleeper)
    wanted = Purpose.of(purpose)
    plain = scope is None and level is None and for_s is None and supersedes is None

    async def work() -> tuple[PurposeConsent, int]:
        async with SleeperCalls(identity) as calls:
            node_now_ns = await calls.node_time_ns()
            standing = (await calls.consents())[wanted]
            if not (plain and standing.granted):
                standing = await calls.grant(
                    wanted,
                    supersedes=standing.withdrawal_id if supersedes is None else supersedes,
                    scope=scope or "",
                    level=level,
                    until_ns=None if for_s is None else node_now_ns + round(for_s * 1e9),
                )
            return standing, node_now_ns

    standing, node_now_ns = run(work)
    if as_json:
        echo_json({"sleeper_id": identity.sleeper_id, "purpose": wanted.word, **consent_json(standing)})
    else:
        words = consent_text(standing, node_now_ns, now).removeprefix("yes")
        click.echo(f"{identity.sleeper_id} allows {wanted.word}{words}")


def consent_json(one: PurposeConsent) -> dict[str, Any]:
    """Where a purpose stands, for programs."""
    return {
        "granted": one.granted,
        "scope": one.scope,
        "level": one.level,
        "until_ns": one.until_ns,
        "withdrawal_id": one.withdrawal_id,
    }


def consent_text(one: PurposeConsent, node_now_ns: int, now: datetime) -> str:
    """Where a purpose stands, in words: whether, to whom, how far, until when."""
    if not one.granted:
        if one.until_ns is not None and one.until_ns <= node_now_ns:
            return "no: it has ended"
        return "withdrawn" if one.withdrawal_id else "no"
    words = ["yes"]
    if one.scope:
        words.append(f"only to {one.scope}")
    if one.level < 1:
        words.append(f"up to {one.level:g}")
    if one.until_ns is not None:
        words.append(until_text(one.until_ns, node_now_ns, now))
    return ", ".join(words)


def listener_text(one: Listener) -> str:
    """Who listens in, since when, in one line."""
    does = "listens in and records" if one.recording else "listens in"
    return f"{one.sleeper_id} {does}, since {one.since_ns / 1e9:.0f} s of node time"


@click.command()
@data_option
@sleeper_option
@json_option
def consent(data_dir: Path, sleeper: str | None, as_json: bool) -> None:
    """Show what a sleeper allows. Unset means no."""
    identity = find_sleeper(data_dir, sleeper)

    async def work() -> tuple[dict[Purpose, PurposeConsent], tuple[Listener, ...], int]:
        async with SleeperCalls(identity) as calls:
            return *await calls.overview(), await calls.node_time_ns()

    standing, listeners, node_now_ns = run(work)
    if as_json:
        echo_json(
            {
                "sleeper_id": identity.sleeper_id,
                "purposes": {purpose.word: consent_json(one) for purpose, one in standing.items()},
                "listeners": [asdict(one) for one in listeners],
            }
        )
        return
    click.echo(f"{identity.sleeper_id} in {identity.circle_id}")
    now = datetime.now(UTC)
    for purpose, one in standing.items():
        click.echo(f"  {purpose.word:<11} {consent_text(one, node_now_ns, now)}")
    for listener in listeners:
        click.echo(listener_text(listener))


@click.command(context_settings={"ignore_unknown_options": True})  # so that -0.25 is a number
@data_option
@click.argument("turns", type=float, required=False)
@click.option("--offered", is_flag=True, help="Take the offset that the host offers (`circle syncopate`).")
@sleeper_option
def offset(data_dir: Path, turns: float | None, offered: bool, sleeper: str | None) -> None:
    """Set a sleeper's own phase offset, in turns: 0.25 is a quarter of the rhythm's cycle ahead."""
    if offered == (turns is not None):
        raise errors.BadInput("give an offset in turns, for instance 0.25, or --offered to take the host's offer")
    if turns is not None and not math.isfinite(turns):
        raise errors.BadInput(f"a phase offset must be a finite number of turns, for instance 0.25, not {turns}")
    identity = find_sleeper(data_dir, sleeper)

    async def work() -> int:
        async with SleeperCalls(identity) as calls:
            wanted = taken_offer((await calls.platform_state()).offered_offset_bits) if turns is None else turns
            return await calls.set_offset(wanted)

    click.echo(f"{identity.sleeper_id} is now {views.turns(run(work)):+.4f} turns from the rhythm")
