"""`harmonia waitsync`: wait until clocks are certain enough, for scripts that start something then."""

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import trio

from harmonia.cli.common import data_option, echo_json, find_circle, json_option, run, silence_text, stated_text
from harmonia.client import LockState, Sanctuary
from harmonia.client.words import error_text
from harmonia.errors import NotSynchronised

POLL_S = 0.2
GOOD = (LockState.LOCKED, LockState.HOLDOVER)
UNITS_NS = {"ns": 1.0, "us": 1e3, "µs": 1e3, "ms": 1e6, "s": 1e9}


class _Length(click.ParamType[int]):
    """A length of time with its unit, in ns."""

    name = "length"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ns|us|µs|ms|s)", str(value).strip())
        if found is None or float(found[1]) <= 0:
            self.fail(f"{value!r} is not a length of time; write for instance 1ms, 250us or 0.5s", param, ctx)
        return round(float(found[1]) * UNITS_NS[found[2]])


@dataclass(frozen=True, slots=True)
class Seen:
    """Whose clock, in which state, and how certain."""

    name: str
    lock_state: LockState
    bound_ns: int
    heard: bool = True
    silence: str = ""
    """What is wrong with its datagrams, if anything is."""
    max_drift_ppb: int = 0
    max_wander: float = 0.0
    """What its bound rests on."""

    def within(self, limit_ns: int) -> bool:
        """Whether this clock is trusted, and its largest possible error below the limit."""
        return self.heard and self.lock_state in GOOD and self.bound_ns <= limit_ns

    def text(self) -> str:
        """For the message that says who is not there yet."""
        if not self.heard:
            return f"{self.name} is not heard{self.silence and ': ' + self.silence}"
        if self.lock_state not in GOOD:
            return f"{self.name} is {self.lock_state.word}"
        return f"{self.name} is certain within {error_text(self.bound_ns)} only"


@click.command()
@data_option
@click.option("--circle", help="Wait for every visible platform of this circle (host only), not for the node alone.")
@click.option("--platforms", type=click.IntRange(1), help="With --circle: for at least so many.  [default: 1]")
@click.option(
    "--max-error",
    "limit_ns",
    type=_Length(),
    default="1ms",
    show_default=True,
    metavar="LENGTH",
    help="The largest possible error that is accepted, for instance 250us.",
)
@click.option("--timeout", "timeout_s", type=click.FloatRange(0), metavar="S", help="Give up after so many seconds.")
@json_option
def waitsync(
    data_dir: Path, circle: str | None, platforms: int | None, limit_ns: int, timeout_s: float | None, as_json: bool
) -> None:
    """Wait until the certified bound of the sanctuary's clock, or of a circle's platforms, is below --max-error.

    Returns 0 as soon as it is, 9 if it is not within --timeout. What counts is the certified bound: the largest
    possible error, whatever the network's asymmetry, not an estimate. Sleepers who do not wish to be seen are not
    waited for.
    """
    if platforms is not None and circle is None:
        raise click.UsageError("--platforms counts the platforms of a --circle.")
    began = time.monotonic()
    newest: list[Seen] = []

    async def look(sanctuary: Sanctuary) -> bool:
        now = await sanctuary.tracking()
        newest[:] = [
            Seen("the sanctuary's clock", now.lock_state, now.bound_ns, True, "", now.max_drift_ppb, now.max_wander)
        ]
        if circle is not None:
            found = await find_circle(sanctuary, circle)
            async with sanctuary.watch(found.circle_id) as answers:
                async for view in answers:
                    for s in view.sleepers:
                        stated = (s.max_drift_ppb, s.max_wander)
                        seen = Seen(s.sleeper_id, s.lock_state, s.bound_ns, s.connected, silence_text(s), *stated)
                        newest.append(seen)
                    break
            if len(newest) - 1 < (platforms or 1):
                return False
        return all(one.within(limit_ns) for one in newest)

    async def work() -> bool:
        async with Sanctuary.at(data_dir) as sanctuary:
            with trio.move_on_after(float("inf") if timeout_s is None else timeout_s):
                while not await look(sanctuary):  # noqa: ASYNC110 (another process has to be asked again)
                    await trio.sleep(POLL_S)
                return True
        return False

    if not run(work):
        late = [one.text() for one in newest if not one.within(limit_ns)]
        if circle is not None and len(newest) - 1 < (platforms or 1):
            late.append(f"{max(len(newest) - 1, 0)} platforms are visible, {platforms or 1} wanted")
        raise NotSynchronised(
            f"not within {limit_ns / 1e3:g} µs after {timeout_s:g} s: {'; '.join(late) or 'no answer yet'}"
        )
    waited_s = time.monotonic() - began
    # The widest limits of those who were waited for: all bounds hold under them.
    rests = (max(one.max_drift_ppb for one in newest), max(one.max_wander for one in newest))
    if as_json:
        echo_json(
            {
                "waited_s": round(waited_s, 3),
                "max_error_ns": limit_ns,
                "bound_ns": max(one.bound_ns for one in newest),
                "platforms": len(newest) - 1,
                "max_drift_ppb": rests[0],
                "max_wander": rests[1],
            }
        )
    else:
        who = "the sanctuary's clock" + (f" and {len(newest) - 1} platforms" if circle is not None else "")
        bound = error_text(max(one.bound_ns for one in newest))
        click.echo(f"{who}: certain within {bound} after {waited_s:.1f} s, {stated_text(*rests)}")
