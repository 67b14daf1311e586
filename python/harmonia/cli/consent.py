"""`harmonia optout`, `grant`, `consent` and `offset`: what a sleeper wants, said from another terminal.

The sleeper is found by the state file that `harmonia join` keeps; its credential alone opens these calls, the host's
token does not.
"""

import math
import os
from dataclasses import asdict
from pathlib import Path

import click
import trio

from harmonia import errors
from harmonia.cli.common import data_option, echo_json, find_sleeper, json_option, run, sleeper_option
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
    silent even when the sanctuary cannot be reached.
    """
    identity = find_sleeper(data_dir, sleeper, circle)
    purposes = [Purpose.of(word) for word in words]
    event_id = os.urandom(16)

    async def work() -> int:
        async with SleeperCalls(identity) as calls:
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
@sleeper_option
def grant(data_dir: Path, purpose: str, sleeper: str | None) -> None:
    """Allow one purpose (see `harmonia consent` for all of them)."""
    identity = find_sleeper(data_dir, sleeper)
    wanted = Purpose.of(purpose)

    async def work() -> None:
        async with SleeperCalls(identity) as calls:
            standing = (await calls.consents())[wanted]
            if not standing.granted:
                await calls.grant(wanted, supersedes=standing.withdrawal_id)

    run(work)
    click.echo(f"{identity.sleeper_id} allows {wanted.word}")


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

    async def work() -> tuple[dict[Purpose, PurposeConsent], tuple[Listener, ...]]:
        async with SleeperCalls(identity) as calls:
            return await calls.overview()

    standing, listeners = run(work)
    if as_json:
        echo_json(
            {
                "sleeper_id": identity.sleeper_id,
                "purposes": {
                    p.word: {"granted": c.granted, "level": c.level, "withdrawal_id": c.withdrawal_id}
                    for p, c in standing.items()
                },
                "listeners": [asdict(one) for one in listeners],
            }
        )
        return
    click.echo(f"{identity.sleeper_id} in {identity.circle_id}")
    for purpose, one in standing.items():
        state = "yes" if one.granted else ("withdrawn" if one.withdrawal_id else "no")
        click.echo(f"  {purpose.word:<11} {state}")
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
