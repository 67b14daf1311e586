"""`harmonia platform soak`: does this machine play for a whole night without a gap?

Everything runs that a night runs: a sanctuary's node on loopback, a clock that follows it, mix frames, a score of many
channels, the renderer and the safety chain, and the sound device. Only the other people are missing.
"""

import os
import signal
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import click
import trio

from harmonia import _core, errors
from harmonia.cli.common import echo_json, json_option, run
from harmonia.cli.sounding import device_option
from harmonia.client import LockState, Output, Sound
from harmonia.client.words import seconds_text

CHANNELS = 32
SCORE = "soak: " + " ".join(f"{100 + 7 * k}+4/0.05" for k in range(CHANNELS)) + "\nNOW soak\n"
"""Quiet: a soak may run beside somebody who sleeps."""


@click.command()
@device_option
@click.option("--buffer-ms", type=click.FloatRange(10, 500), default=40.0, show_default=True, metavar="MS")
@click.option("--seconds", type=click.FloatRange(1), default=3600.0, show_default=True)
@click.option("--rate", type=click.Choice(["44100", "48000"]), default="48000", show_default=True)
@json_option
def soak(device: str, buffer_ms: float, seconds: float, rate: str, as_json: bool) -> None:
    """Play very quietly through a sound device, for an hour, and count what went wrong. Ctrl-C ends it early.

    Exits with 1 if anything may have been heard as a gap.
    """
    told: dict[str, object] = {}

    async def work() -> None:
        with tempfile.TemporaryDirectory() as folder:
            node = _core.Node("127.0.0.1", 0, str(Path(folder) / "clock"))
            core = _core.Platform(sample_rate=int(rate))
            try:
                told.update(await _played(node, core, device, buffer_ms, seconds))
            finally:
                core.close()
                node.close()

    run(work)
    output = told["output"]
    assert isinstance(output, dict)
    if as_json:
        echo_json(told)
    else:
        click.echo(str(Output(**output)))
        click.echo(f"{seconds_text(float(str(told['seconds'])))}, {told['cpu_percent']} % of one core")
    if output["glitches"]:
        raise errors.HarmoniaError(f"{output['glitches']} glitches; try a longer --buffer-ms")


async def _played(
    node: _core.Node, core: _core.Platform, device: str, buffer_ms: float, seconds: float
) -> dict[str, object]:
    session, secret = int.from_bytes(os.urandom(8), "big"), os.urandom(32)
    node.add_circle(1, CHANNELS, 1.0)
    node.add_sleeper(1, 1)
    node.attach(1, session, secret, False)
    core.connect("127.0.0.1", node.port, session, secret)
    score = _core.Score.parse(SCORE, "soak", "sbg")
    core.set_score(score, node.node_time_ns())
    while core.clock().lock_state != LockState.LOCKED:  # noqa: ASYNC110 (a Rust thread locks it)
        await trio.sleep(0.05)
    try:
        core.play(device, buffer_ms)
    except _core.IoError as error:
        raise errors.NotFound(str(error)) from None
    began_s, began_cpu_s = time.monotonic(), time.process_time()
    with trio.move_on_after(seconds), trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        await anext(signals)
    lasted_s, cpu_s = time.monotonic() - began_s, time.process_time() - began_cpu_s
    sound = Sound.of(core)
    output = await trio.to_thread.run_sync(core.stop_playing)
    return {
        "seconds": round(lasted_s, 1),
        "cpu_percent": round(100 * cpu_s / lasted_s, 2),
        "output": output,
        "sound": asdict(sound),
    }
