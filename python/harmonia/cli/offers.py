"""`harmonia offers`, `accept`, `decline` for a sleeper, and `harmonia offer` for a host."""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from harmonia import errors
from harmonia.cli.common import data_option, echo_json, find_circle, find_sleeper, json_option, run, sleeper_option
from harmonia.cli.consent import purpose_type
from harmonia.cli.times import SPAN, until_text
from harmonia.client import EVERY_PURPOSE, Offer, Purpose, Sanctuary, SleeperCalls


@click.command()
@data_option
@sleeper_option
@json_option
def offers(data_dir: Path, sleeper: str | None, as_json: bool) -> None:
    """List what the circle offers, and my answers. Nothing of it counts until I accept it."""
    identity = find_sleeper(data_dir, sleeper)

    async def work() -> tuple[list[Offer], int]:
        async with SleeperCalls(identity) as calls:
            return await calls.offers(), await calls.node_time_ns()

    open_now, node_now_ns = run(work)
    if as_json:
        echo_json({"sleeper_id": identity.sleeper_id, "offers": [offer_json(one) for one in open_now]})
        return
    now = datetime.now(UTC)
    for one in open_now:
        until = "" if one.until_ns is None else f"   {until_text(one.until_ns, node_now_ns, now)}"
        click.echo(f"{one.offer_id[:8]}  {one.kind:<8} {one.answer or 'open':<9} {one.text}{until}")
        click.echo(f"          accepting sets: {one.sets}")


def _answer(data_dir: Path, offer: str, sleeper: str | None, as_json: bool, accept: bool) -> None:
    identity = find_sleeper(data_dir, sleeper)

    async def work() -> Offer:
        async with SleeperCalls(identity) as calls:
            answered = {purpose: one.withdrawal_id for purpose, one in (await calls.consents()).items()}
            fits = [one for one in await calls.offers() if one.offer_id.startswith(offer.lower())]
            if len(fits) != 1:
                why = "no open offer" if not fits else f"{len(fits)} open offers"
                raise errors.NotFound(f"{why} begins with {offer!r}; see `harmonia offers`")
            return await calls.answer_offer(fits[0].offer_id, accept=accept, answered=answered)

    answer = run(work)
    if as_json:
        echo_json({"sleeper_id": identity.sleeper_id, **offer_json(answer)})
    elif accept:
        click.echo(f"{identity.sleeper_id} accepts: {answer.text} (sets {answer.sets})")
    else:
        click.echo(f"{identity.sleeper_id} declines: {answer.text}")


@click.command()
@data_option
@click.argument("offer")
@sleeper_option
@json_option
def accept(data_dir: Path, offer: str, sleeper: str | None, as_json: bool) -> None:
    """Accept OFFER, its id or the beginning of it: sets what it says now, as if I had set it myself."""
    _answer(data_dir, offer, sleeper, as_json, True)


@click.command()
@data_option
@click.argument("offer")
@sleeper_option
@json_option
def decline(data_dir: Path, offer: str, sleeper: str | None, as_json: bool) -> None:
    """Decline OFFER, its id or the beginning of it: sets nothing."""
    _answer(data_dir, offer, sleeper, as_json, False)


@click.command()
@data_option
@click.argument("circle")
@click.argument("text", required=False)
@click.option("--consent", "consents", multiple=True, metavar="PURPOSE[=LEVEL]", help="A purpose to allow; repeatable.")
@click.option("--ruling", is_flag=True, help="It is a common rule.")
@click.option("--for", "for_s", type=SPAN, help="It lies open for so long, such as 2h. [default: with the circle]")
@click.option("--end", metavar="OFFER", help="In place of a new offer: take this one back.")
@json_option
def offer(
    data_dir: Path,
    circle: str,
    text: str | None,
    consents: tuple[str, ...],
    ruling: bool,
    for_s: float | None,
    end: str | None,
    as_json: bool,
) -> None:
    """Offer everybody in CIRCLE consents, or a ruling; TEXT says what it is. For the host.

    Nothing follows from it until a sleeper accepts it. Modes and patterns of offsets are offered with `circle mode` and
    `circle syncopate`.
    """
    if (text is None) == (end is None):
        raise errors.BadInput("say in TEXT what is offered, or name with --end an offer to take back")
    grants = dict(map(parse_offered, consents))

    async def work() -> Offer:
        async with Sanctuary.at(data_dir) as sanctuary:
            found = await find_circle(sanctuary, circle)
            if text is not None:
                return await sanctuary.make_offer(found.circle_id, text, grants=grants, for_s=for_s, ruling=ruling)
            fits = [one for one in await sanctuary.offers(found.circle_id) if one.offer_id.startswith(str(end).lower())]
            if len(fits) != 1:
                raise errors.NotFound(f"{len(fits)} open offers of this circle begin with {end!r}")
            await sanctuary.end_offer(found.circle_id, fits[0].offer_id)
            return fits[0]

    made = run(work)
    if as_json:
        echo_json({"ended": end is not None, **offer_json(made)})
    elif end is not None:
        click.echo(f"{made.offer_id[:8]} is taken back; whoever accepted it keeps what it set")
    else:
        click.echo(f"{made.offer_id[:8]} lies open; accepting it sets: {made.sets}")


def parse_offered(text: str) -> tuple[Purpose, float]:
    """`PURPOSE` or `PURPOSE=LEVEL`. Raises BadInput."""
    word, given, level = text.partition("=")
    try:
        far = float(level) if given else 1.0
    except ValueError:
        far = -1.0
    if word.lower() not in purpose_type.choices or not 0 <= far <= 1:
        names = ", ".join(purpose.word for purpose in EVERY_PURPOSE)
        raise errors.BadInput(f"{text!r} is no consent to offer; write PURPOSE or PURPOSE=LEVEL, with one of {names}")
    return Purpose.of(word), far


def offer_json(one: Offer) -> dict[str, Any]:
    """An offer for programs."""
    return {**asdict(one), "grants": {purpose.word: level for purpose, level in one.grants}}
