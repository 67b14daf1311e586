"""`harmonia advance`: what is to be taken back once a sleeper can press no button."""

import os
from pathlib import Path
from typing import Any

import click

from harmonia import errors
from harmonia.cli.common import data_option, echo_json, find_sleeper, json_option, run, sleeper_option
from harmonia.cli.consent import purpose_type
from harmonia.cli.times import SPAN, span_text
from harmonia.client import (
    EVERY_PURPOSE,
    AdvanceWish,
    LevelUnit,
    Purpose,
    Since,
    SleeperCalls,
    StandingWish,
    WishKind,
)
from harmonia.domain.consent import Purpose as DomainPurpose


@click.group()
def advance() -> None:
    """Say beforehand when to take back what I allow: a sleeper cannot press a button."""


@advance.command()
@data_option
@click.option("--after", "after_s", type=SPAN, help="After so long, such as 3h: from joining, or --of-night.")
@click.option("--of-night", is_flag=True, help="... from the score's beginning.")
@click.option("--waking", is_flag=True, help="When I wake, as my sensor says, or when the circle does.")
@click.option("--louder", type=float, metavar="DB", help="When it is louder than this, dBFS.")
@click.option("--spl", is_flag=True, help="... dB SPL, once the platform is calibrated.")
@click.option("--breath-under", type=float, metavar="N", help="When I breathe fewer than N times a minute.")
@click.option("--breath-over", type=float, metavar="N", help="When I breathe more than N times a minute.")
@click.option("--breath-irregular", type=float, metavar="SHARE", help="When my breath's rate varies by more: 0.25.")
@click.option("--or-unknown", "unknown_s", type=SPAN, help="Also when nobody can tell for so long, such as 10m.")
@click.option("--purpose", "words", multiple=True, type=purpose_type, help="Take back only this. [default: all]")
@sleeper_option
@json_option
def add(
    data_dir: Path,
    after_s: float | None,
    of_night: bool,
    waking: bool,
    louder: float | None,
    spl: bool,
    breath_under: float | None,
    breath_over: float | None,
    breath_irregular: float | None,
    unknown_s: float | None,
    words: tuple[str, ...],
    sleeper: str | None,
    as_json: bool,
) -> None:
    """Add a wish: one of --after, --waking, --louder, or about the breath.

    It acts once, on my own platform even without a network, as an opt-out of what it names.
    """
    of_breath = (breath_under, breath_over, breath_irregular)
    kinds = [
        kind
        for kind, chosen in (
            (WishKind.AFTER, after_s is not None),
            (WishKind.WAKING, waking),
            (WishKind.LOUD, louder is not None),
            (WishKind.BREATH, any(value is not None for value in of_breath)),
        )
        if chosen
    ]
    if len(kinds) != 1:
        raise errors.BadInput(
            "a wish has one reason: --after TIME, --waking, --louder DB, or --breath-under, --breath-over and"
            " --breath-irregular together; add another wish for another reason"
        )
    if (of_night and after_s is None) or (spl and louder is None):
        raise errors.BadInput("--of-night belongs to --after, and --spl to --louder")
    purposes = [DomainPurpose(Purpose.of(word)) for word in words] or [DomainPurpose(one) for one in EVERY_PURPOSE]
    wish = AdvanceWish(
        wish_id=os.urandom(16),
        kind=kinds[0],
        purposes=tuple(sorted(set(purposes))),
        after_ns=None if after_s is None else round(after_s * 1e9),
        since=Since.NIGHT if of_night else Since.JOINING,
        level=louder,
        unit=LevelUnit.DB_SPL if spl else LevelUnit.DBFS,
        under_hz=None if breath_under is None else breath_under / 60,
        over_hz=None if breath_over is None else breath_over / 60,
        irregular=breath_irregular,
        unknown_ns=None if unknown_s is None else round(unknown_s * 1e9),
    )
    identity = find_sleeper(data_dir, sleeper)

    async def work() -> tuple[StandingWish, ...]:
        async with SleeperCalls(identity) as calls:
            return await calls.add_wish(wish)

    added = next(one for one in run(work) if one.wish.wish_id == wish.wish_id)
    if as_json:
        echo_json({"sleeper_id": identity.sleeper_id, **wish_json(added)})
    else:
        click.echo(f"{wish.wish_id.hex()[:8]}  {wish_text(added)}")


@advance.command()
@data_option
@sleeper_option
@json_option
def ls(data_dir: Path, sleeper: str | None, as_json: bool) -> None:
    """List the wishes, also those that have acted."""
    identity = find_sleeper(data_dir, sleeper)

    async def work() -> tuple[StandingWish, ...]:
        async with SleeperCalls(identity) as calls:
            return await calls.wishes()

    wishes = run(work)
    if as_json:
        echo_json({"sleeper_id": identity.sleeper_id, "wishes": [wish_json(one) for one in wishes]})
        return
    for one in wishes:
        click.echo(f"{one.wish.wish_id.hex()[:8]}  {wish_text(one)}")
    if not wishes:
        click.echo(f"{identity.sleeper_id} has no advance wishes")


@advance.command()
@data_option
@click.argument("wish")
@sleeper_option
@json_option
def rm(data_dir: Path, wish: str, sleeper: str | None, as_json: bool) -> None:
    """Remove WISH, its id or the beginning of it. What it has taken back stays taken back."""
    identity = find_sleeper(data_dir, sleeper)

    async def work() -> tuple[StandingWish, tuple[StandingWish, ...]]:
        async with SleeperCalls(identity) as calls:
            fits = [one for one in await calls.wishes() if one.wish.wish_id.hex().startswith(wish.lower())]
            if len(fits) != 1:
                why = "no wish" if not fits else f"{len(fits)} wishes"
                raise errors.NotFound(f"{why} of {identity.sleeper_id} begins with {wish!r}; see `harmonia advance ls`")
            return fits[0], await calls.remove_wish(fits[0].wish.wish_id)

    gone, left = run(work)
    if as_json:
        echo_json({"sleeper_id": identity.sleeper_id, "wishes": [wish_json(one) for one in left]})
    else:
        click.echo(f"removed: {wish_text(gone)}")


def wish_json(one: StandingWish) -> dict[str, Any]:
    """A wish for programs."""
    wish = one.wish
    return {
        "wish_id": wish.wish_id.hex(),
        "kind": wish.kind.name.lower(),
        "purposes": [purpose.name.lower() for purpose in wish.purposes],
        "after_ns": wish.after_ns,
        "since": wish.since.name.lower(),
        "level": wish.level,
        "unit": wish.unit.name.lower(),
        "under_hz": wish.under_hz,
        "over_hz": wish.over_hz,
        "irregular": wish.irregular,
        "unknown_ns": wish.unknown_ns,
        "set_ns": one.set_ns,
        "fired": one.fired,
    }


def wish_text(one: StandingWish) -> str:
    """A wish in one line."""
    wish = one.wish
    match wish.kind:
        case WishKind.AFTER:
            since = "joining" if wish.since is Since.JOINING else "the night's beginning"
            when = f"{span_text((wish.after_ns or 0) / 1e9)} after {since}"
        case WishKind.WAKING:
            when = "on waking, mine or the circle's"
        case WishKind.LOUD:
            when = f"when it is louder than {wish.level:g} {'dBFS' if wish.unit is LevelUnit.DBFS else 'dB SPL'}"
        case WishKind.BREATH:
            bounds = [
                None if wish.under_hz is None else f"slower than {wish.under_hz * 60:g} a minute",
                None if wish.over_hz is None else f"faster than {wish.over_hz * 60:g} a minute",
                None if wish.irregular is None else f"irregular by more than {wish.irregular:.0%}",
            ]
            when = f"when my breath is {' or '.join(bound for bound in bounds if bound)}".removesuffix(" is ")
    unknown = "" if wish.unknown_ns is None else f", or when nobody can tell for {span_text(wish.unknown_ns / 1e9)}"
    everything = len(wish.purposes) == len(EVERY_PURPOSE)
    what = "everything" if everything else ", ".join(purpose.name.lower() for purpose in wish.purposes)
    return f"take back {what} {when}{unknown}" + ("   (has acted)" if one.fired else "")
