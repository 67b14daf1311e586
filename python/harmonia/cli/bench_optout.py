"""`harmonia bench optout`: what a tick costs, and how soon an opt-out is in every listener's frame.

A real node in this process; its platforms, ten thousand of them, in another, which withdraws by sealed datagram at
random times, and sees by the kernel's stamps when each listener's socket had the first frame without the voice. Beside
it, in the same run, a thread that does nothing but sleep to deadlines: how late it wakes is what this machine adds to
everything.
"""

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import trio

from harmonia import _core, errors
from harmonia.cli.common import echo_json, json_option
from harmonia.client import EVERY_PURPOSE, Purpose, Sanctuary, ScoreText, Sleeper, join
from harmonia.night.children import child

SLEEPERS = 10_000
CIRCLE = 400
CHANNELS = 32
OPTOUTS = 2_000
PER_S = 50.0
_LARGE_OPTOUTS = 60
_LARGE_PER_S = 2.0
_TICK_SECONDS = 3.0
_RPC_SLEEPERS = 8
_RPC_OPTOUTS = 240
_CHILD = "import json, sys; from harmonia import _core; print(json.dumps(_core.bench_crowd(*json.loads(sys.argv[1]))))"
_SCORE = "beat: 200+4/20\n00:00 beat\n01:00:00 beat\n"


@contextmanager
def _node(circles: int, sleepers: int) -> Iterator[_core.Node]:
    """A node whose circles are full: everybody may be heard and hears."""
    with tempfile.TemporaryDirectory(prefix="harmonia-bench-") as folder:
        node = _core.Node("127.0.0.1", 0, f"{folder}/clock")
        try:
            voice = [complex(0.5, k / 100) for k in range(CHANNELS)]
            for circle in range(circles):
                node.add_circle(circle, CHANNELS, 0.05)
                for sleeper in range(circle * sleepers + 1, (circle + 1) * sleepers + 1):
                    node.add_sleeper(circle, sleeper)
                    node.set_voice(sleeper, voice)
                    node.set_plan(sleeper, voice=True, hearing=True, recording=False)
                    node.release(sleeper, b"")
                    node.attach(sleeper, *_core.bench_session(node.port, sleeper), False)
            yield node
        finally:
            node.close()


@contextmanager
def _answered(node: _core.Node) -> Iterator[None]:
    """Acknowledges each withdrawal and grants the voice again, as an engine and a person would."""
    over = threading.Event()

    def answer() -> None:
        while not over.is_set():
            event = node.next_event(0.1)
            if event is not None:
                node.acknowledge(event.sleeper, event.event_id)
                node.release(event.sleeper, event.event_id)

    thread = threading.Thread(target=answer, name="journal")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def optouts(circles: int, sleepers: int, count: int, per_s: float) -> dict[str, float]:
    """So many opt-outs by datagram from another process: what the node saw, what its listeners, and the timer."""
    with _node(circles, sleepers) as node, _answered(node):
        timer = _core.TimerBench()
        arguments = json.dumps([node.port, circles, sleepers, count, per_s])
        # In a session of its own: the kernel shares the processor out between sessions first (autogroup).
        command = [sys.executable, "-c", _CHILD, arguments]
        crowd = subprocess.run(command, capture_output=True, check=False, start_new_session=True)
        lateness = timer.stop()
        if crowd.returncode != 0:
            said = crowd.stderr.decode(errors="replace").strip().split("\n")[-1]
            raise errors.HarmoniaError(f"the crowd ended early: {said}")
        seen, cuts = json.loads(crowd.stdout), node.cuts()
    measured = {
        "": cuts["optouts"],
        "lost": seen["lost"],
        "ticks_max": cuts["ticks_max"],
        "p999_ms": cuts["last_p999_ms"],
    }
    for end in ("first", "last"):
        for share in ("p50", "p99", "p999", "max"):
            measured[f"{end}_{share}_ms"] = cuts[f"{end}_{share}_ms"]
            measured[f"seen_{end}_{share}_ms"] = seen[f"{end}_{share}_ms"]
    named = {f"optout_{name}" if name else "optouts": value for name, value in measured.items()}
    return {**named, **{f"timer_{share}_ms": lateness[f"{share}_ms"] for share in ("p50", "p99", "p999", "max")}}


async def _optouts_by_rpc(folder: Path) -> list[float]:
    """Milliseconds of each opt-out of some sleepers who share a daemon: from the call until it is on disk."""
    arguments = ["serve", f"--data={folder / 'data'}", "--port=0", "--udp-port=0", "--json", "--with-stdin"]
    times: list[float] = []

    async def restless(invitation: str) -> None:
        async with join(invitation, grants=EVERY_PURPOSE) as sleeper:
            for _ in range(_RPC_OPTOUTS // _RPC_SLEEPERS):
                times.append(await _timed(sleeper))
                await sleeper.grant(Purpose.HEARING, Purpose.VOICE)

    async with child("sanctuary", arguments, folder) as daemon:
        if await daemon.first_line() is None:
            raise daemon.failure()
        async with Sanctuary.at(folder / "data") as sanctuary:
            circle = await sanctuary.create_circle(ScoreText("bench", "sbg", _SCORE), capacity=_RPC_SLEEPERS)
            async with trio.open_nursery() as nursery:
                for invitation in await sanctuary.invitations(circle.circle_id, _RPC_SLEEPERS):
                    nursery.start_soon(restless, str(invitation))
    return times


async def _timed(sleeper: Sleeper) -> float:
    begin = time.perf_counter()
    await sleeper.opt_out()
    return 1000 * (time.perf_counter() - begin)


def optouts_by_rpc() -> dict[str, float]:
    """Opt-outs by RPC to a daemon of its own, one sleeper's after the other, several sleepers at a time."""
    with tempfile.TemporaryDirectory(prefix="harmonia-bench-") as folder:
        times = sorted(trio.run(_optouts_by_rpc, Path(folder)))
    return {"optout_rpc_p50_ms": times[len(times) // 2], "optout_rpc_p99_ms": times[len(times) * 99 // 100]}


def measure(
    *, count: int = OPTOUTS, per_s: float = PER_S, sleepers: int = SLEEPERS, circle: int = CIRCLE, large: bool = True
) -> dict[str, float]:
    """Ticks, opt-outs by datagram in circles of ``circle`` and (``large``) in one circle of all, and by RPC."""
    ticks = _core.bench_ticks(sleepers, CHANNELS, _TICK_SECONDS)
    measured = {f"tick_{name}": value for name, value in ticks.items() if name != "ticks"}
    measured |= optouts(max(sleepers // circle, 1), circle, count, per_s)
    if large:
        one = optouts(1, sleepers, min(count, _LARGE_OPTOUTS), min(per_s, _LARGE_PER_S))
        measured |= {f"large_{name}": value for name, value in one.items()}
    return measured | optouts_by_rpc()


def show(measured: dict[str, float]) -> None:
    """The figures as people read them."""
    click.echo(f"{'':44} {'p50':>9} {'p99':>9} {'p99.9':>9}  ms")
    rows = [
        (f"tick of all mixes on {CHANNELS} channels, CPU time", "tick_"),
        ("first listener's frame handed over", "optout_first_"),
        ("last listener's frame handed over", "optout_last_"),
        ("sent until the last listener's kernel had it", "optout_seen_last_"),
        ("a timer's lateness meanwhile", "timer_"),
    ]
    if "large_optouts" in measured:
        rows += [
            ("all in one circle: last listener's frame", "large_optout_last_"),
            ("a timer's lateness meanwhile", "large_timer_"),
        ]
    for meaning, prefix in rows:
        p50, p99, p999 = (measured[f"{prefix}{share}_ms"] for share in ("p50", "p99", "p999"))
        click.echo(f"{meaning:44} {p50:9.2f} {p99:9.2f} {p999:9.2f}")
    p50, p99 = measured["optout_rpc_p50_ms"], measured["optout_rpc_p99_ms"]
    click.echo(f"{'by RPC, until it is on disk':44} {p50:9.2f} {p99:9.2f}")
    click.echo(
        f"{measured['optouts']:.0f} opt-outs, {measured['optout_lost']:.0f} lost; ticks at most until all were told: "
        f"{measured['optout_ticks_max']:.0f}"
    )


@click.command()
@click.option(
    "--count", type=click.IntRange(1, 1_000_000), default=OPTOUTS, show_default=True, help="How many opt-outs."
)
@click.option("--per-s", type=click.FloatRange(0.1, 1e4), default=PER_S, show_default=True, help="How many a second.")
@click.option(
    "--sleepers", type=click.IntRange(1_000, 20_000), default=SLEEPERS, show_default=True, help="How many, in all."
)
@click.option("--circle", type=click.IntRange(2, 1_000), default=CIRCLE, show_default=True, help="How many share one.")
@click.option("--large/--no-large", default=True, show_default=True, help="Also with all in one circle.")
@json_option
def optout(count: int, per_s: float, sleepers: int, circle: int, large: bool, as_json: bool) -> None:
    """How soon an opt-out is in every listener's frame, and what a tick of the mixer costs.

    By sealed datagram from another process, from its arrival until the frames of the first and of the last listener of
    the circle were handed to the socket; and by RPC until it is on disk. The timer's lateness is this machine's own, in
    the same run.
    """
    measured = measure(count=count, per_s=per_s, sleepers=sleepers, circle=circle, large=large)
    if as_json:
        echo_json(measured)
        return
    show(measured)
