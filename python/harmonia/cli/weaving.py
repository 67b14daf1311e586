"""`harmonia circle mode`, `syncopate`, `watch`, and a sleeper's own `rhythm` and `coupling`."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from harmonia import errors
from harmonia.cli.common import (
    circle_json,
    countdown_text,
    data_option,
    echo_json,
    find_circle,
    find_sleeper,
    json_option,
    run,
    sleeper_json,
    sleeper_option,
)
from harmonia.cli.watching import show
from harmonia.client import Circle, CircleMode, CircleView, RhythmView, Sanctuary, SleeperCalls, views

MODES = [mode.word for mode in CircleMode if mode]
mode_type = click.Choice(MODES, case_sensitive=False)


def view_json(view: CircleView) -> dict[str, Any]:
    """A circle and what may be seen in it, for programs."""
    return {
        **circle_json(view.circle),
        "node_time_ns": view.node_time_ns,
        "countdown": countdown_text(view.circle, view.node_time_ns),
        "woven": None if view.woven is None else asdict(view.woven),
        "visible": [sleeper_json(one) for one in view.sleepers],
        "hidden": view.hidden,
    }


async def look_at(sanctuary: Sanctuary, name: str) -> CircleView:
    """The circle as its host sees it now."""
    found = await find_circle(sanctuary, name)
    async with sanctuary.watch(found.circle_id) as answers:
        async for view in answers:
            return view
    raise errors.Unreachable("the sanctuary ended the stream before it said anything; try again")


def woven_text(woven: dict[str, Any] | None) -> list[str]:
    """How united a circle is and what it costs, for people."""
    if woven is None:
        return []
    lines = [
        f"unity {woven['unity']:.3f} of {woven['sleepers']} who allow pull"
        f" (by chance it would be {woven['unity_by_chance']:.3f})"
    ]
    for word, name in (("actual", "as it is"), ("standard", "if all were forced onto the rhythm")):
        share = woven[word]
        if share is not None:
            lines.append(
                f"  {name:<35} unity {share['unity']:.3f}   mean pull {share['mean_pull']:.1%}"
                f"   on their own rhythm {share['individuality']:.0%}"
            )
    return lines


def woven_line(view: CircleView) -> str:
    """How united the circle is and what it puts on this sleeper, in one line; empty before there is a rhythm."""
    if view.woven is None:
        return ""
    pull = "" if view.own_pull is None else f", pulls you by {view.own_pull:.1%} of your own rhythm"
    return f"\nunity {view.woven.unity:.2f} (by chance {view.woven.unity_by_chance:.2f}){pull}"


def weaving_words(circle: Circle) -> str:
    """A circle's mode in a few words."""
    weaving = circle.weaving
    if weaving.mode is not CircleMode.WOVEN:
        return weaving.mode.word
    return f"woven, K {weaving.strength_rad_s:g} rad/s" + (f", lag {weaving.lag_rad:g} rad" if weaving.lag_rad else "")


@click.command()
@data_option
@click.argument("name", metavar="CIRCLE")
@json_option
@click.option("--once", is_flag=True, help="Once, instead of every second.")
def watch(data_dir: Path, name: str, as_json: bool, once: bool) -> None:
    """Watch a circle: what comes next and when, unity beside chance, what it costs, and each visible sleeper."""
    sanctuary = Sanctuary.at(data_dir)

    async def look() -> dict[str, Any]:
        return view_json(await look_at(sanctuary, name))

    with sanctuary:
        show(look, _text, as_json, not once)


def _text(seen: dict[str, Any]) -> str:
    head = f"{seen['circle_id']}  {seen['state']}  {seen['weaving']['mode']}  {seen['countdown']}"
    lines = [head.rstrip(), *woven_text(seen["woven"])]
    for one in seen["visible"]:
        beat = "·" * int(one["phase_turns"] * 24) + "█"
        rate = "" if one["own_hz"] is None else f"own {one['own_hz']:.4f} Hz, achieved {one['achieved_hz']:.4f} Hz"
        lines.append(f"  {one['sleeper_id']}  {beat:<25} {rate}")
    if seen["hidden"]:
        lines.append(f"  and {seen['hidden']} who do not wish to be seen")
    return "\n".join(lines)


@click.command()
@data_option
@click.argument("name", metavar="CIRCLE")
@click.argument("word", metavar="[standard|woven|free]", type=mode_type, required=False)
@click.option("--strength", type=float, metavar="K", help="Lower the strength to K rad/s; it never rises.")
@json_option
def mode(data_dir: Path, name: str, word: str | None, strength: float | None, as_json: bool) -> None:
    """Change what a circle offers, or lower its strength. Nobody's own rhythm or coupling changes by it."""
    wanted = None if word is None else CircleMode.of(word)

    async def work() -> Circle:
        async with Sanctuary.at(data_dir) as sanctuary:
            found = await find_circle(sanctuary, name)
            return await sanctuary.set_weaving(found.circle_id, mode=wanted, strength_rad_s=strength)

    changed = run(work)
    if as_json:
        echo_json(circle_json(changed))
    else:
        click.echo(f"{changed.circle_id} is {weaving_words(changed)}")


@click.command()
@data_option
@click.argument("name", metavar="CIRCLE")
@click.option(
    "--pattern", default="0,0.25,0.5,0.75", show_default=True, help="Turns, comma-separated; empty: no offer."
)
def syncopate(data_dir: Path, name: str, pattern: str) -> None:
    """Offer sleepers the offsets of a pattern, dealt round in the order of joining.

    An offer moves nobody: each takes theirs with `harmonia offset --offered`, or does not.
    """
    try:
        turns = [float(word) for word in pattern.split(",") if word.strip()]
    except ValueError:
        raise errors.BadInput(f"{pattern!r} is no pattern; write turns with commas, for instance 0,0.25,0.5") from None

    async def work() -> None:
        async with Sanctuary.at(data_dir) as sanctuary:
            found = await find_circle(sanctuary, name)
            await sanctuary.offer_offsets(found.circle_id, turns)

    run(work)
    click.echo(f"offered {len(turns)} offsets; each sleeper decides" if turns else "the offer is over")


@click.command(context_settings={"ignore_unknown_options": True})  # so that -0.25 is a number
@data_option
@click.argument("frequency", metavar="HZ|circle")
@click.option("--ramp", "ramp_s", type=click.FloatRange(0, 86_400), default=10.0, show_default=True, metavar="S")
@sleeper_option
def rhythm(data_dir: Path, frequency: str, ramp_s: float, sleeper: str | None) -> None:
    """Set a sleeper's own rhythm in hertz, or go back to the circle's. The phase never jumps."""
    identity = find_sleeper(data_dir, sleeper)
    hertz = parse_rhythm(frequency)

    async def work() -> RhythmView | None:
        async with SleeperCalls(identity) as calls:
            return await calls.set_own_rhythm(hertz, ramp_s)

    own = run(work)
    where = "is on the circle's rhythm" if own is None else f"goes to {frequency} within {max(ramp_s, 1e-9):g} s"
    click.echo(f"{identity.sleeper_id} {where}")


def parse_rhythm(text: str) -> float | None:
    """A frequency in hertz, None for the circle's. Raises BadInput."""
    if text == "circle":
        return None
    try:
        hertz = float(text)
    except ValueError:
        hertz = math.nan
    if not math.isfinite(hertz):
        raise errors.BadInput(f"{text!r} is no rhythm; write hertz from -50 to 50, or `circle` for the circle's")
    return hertz


@click.command()
@data_option
@click.argument("share", metavar="COUPLING", type=float)
@click.option(
    "--weight", type=float, default=1.0, show_default=True, help="What the sleeper counts in the mean, 0 to 1."
)
@sleeper_option
def coupling(data_dir: Path, share: float, weight: float, sleeper: str | None) -> None:
    """Set how far a woven circle may pull a sleeper, 0 (not at all) to 1. It takes the purpose `pull` too."""
    identity = find_sleeper(data_dir, sleeper)

    async def work() -> bool:
        async with SleeperCalls(identity) as calls:
            await calls.set_coupling(share, weight)
            return any(one.granted and purpose.word == "pull" for purpose, one in (await calls.consents()).items())

    allowed = run(work)
    hint = "" if allowed else "; it takes effect with `harmonia grant pull`"
    click.echo(f"{identity.sleeper_id} lets the circle pull them by {share:g}{hint}")


def taken_offer(offered_bits: int | None) -> float:
    """The offset that was offered, in turns. Raises NotFound without an offer."""
    if offered_bits is None:
        raise errors.NotFound("nobody has offered an offset; give turns instead, for instance 0.25")
    return views.turns(offered_bits)
