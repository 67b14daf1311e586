"""`harmonia bench mix`: what sound costs, beside numpy, SuperCollider and the processor's own peak in the same run."""

import math
import time
from collections.abc import Callable

import click

from harmonia import _core
from harmonia.cli import bench_optout, scsynth
from harmonia.cli.common import echo_json, json_option

SLEEPERS = 5_000
_SINES = 2 * 32
"""A mix's: 32 binaural channels, one sine on each ear."""
_RATE = 48_000
_SLICES = 6
"""Turns that each takes; what disturbs one disturbs the others."""


class NumpySines:
    """The same sum of sines as one would write it in numpy: one array operation over 64 sines × 512 samples."""

    def __init__(self, dtype: str = "float64") -> None:
        import numpy as np

        self._np = np
        hz = 170.0 + 17.0 * np.arange(_SINES)
        self._steps = ((2 * math.pi * hz / _RATE)[:, None] * np.arange(512)[None, :]).astype(dtype)
        self._phases = np.linspace(0, 6, _SINES)[:, None].astype(dtype)

    def run(self, seconds: float) -> tuple[int, float]:
        """Sine-samples in about ``seconds`` of CPU time, at least one block's, and the CPU time."""
        begin, done = time.thread_time(), 0
        while done == 0 or time.thread_time() - begin < seconds:
            self._np.sin(self._steps + self._phases).sum(axis=0)
            done += self._steps.size
        return done, time.thread_time() - begin


def measure(seconds: float, sleepers: int = SLEEPERS) -> tuple[dict[str, float | None], str | None]:
    """All figures a second of CPU time, and why SuperCollider has none, if so."""
    mixes, gliding = _core.MixBench(sleepers), _core.MixBench(sleepers)
    kinds: dict[str, Callable[[float], tuple[int, float]]] = {
        "multiply_adds": _core.bench_mix_peak,
        "kernel_sine_samples": _core.bench_mix_kernel,
        "sine_samples": mixes.run,
        "gliding_sine_samples": lambda seconds: gliding.run(seconds, gliding=True),
        "numpy_sine_samples": NumpySines().run,
        "numpy_float32_sine_samples": NumpySines("float32").run,
    }
    share = seconds / (len(kinds) * _SLICES)
    totals = {kind: [0.0, 0.0] for kind in kinds}
    # The first round warms caches and lets the first coefficients arrive, and does not count.
    for turn in range(_SLICES + 1):
        for kind, run in kinds.items():
            done, cpu_s = run(share if turn > 0 else 0)
            if turn > 0:
                totals[kind][0] += done
                totals[kind][1] += cpu_s
    rates = {kind: done / cpu_s for kind, (done, cpu_s) in totals.items()}
    kernel = rates["kernel_sine_samples"]
    klang, reason = scsynth.klang_sine_samples_per_s()
    measured: dict[str, float | None] = {f"{kind}_per_s": rate for kind, rate in rates.items()}
    measured |= {
        "scsynth_sine_samples_per_s": klang,
        "sleepers_realtime": rates["sine_samples"] / (_SINES * _RATE),
        "sleepers_realtime_gliding": rates["gliding_sine_samples"] / (_SINES * _RATE),
        "kernel_of_peak": kernel / rates["multiply_adds"],
        "kernel_to_numpy": kernel / rates["numpy_sine_samples"],
        "kernel_to_scsynth": None if klang is None else kernel / klang,
    }
    return measured, reason


_TABLE = {
    "kernel_sine_samples_per_s": "the kernel, re-seeded",
    "sine_samples_per_s": "whole mixes, limiter and all",
    "gliding_sine_samples_per_s": "the same, all gliding",
    "numpy_sine_samples_per_s": "numpy, sin and sum",
    "numpy_float32_sine_samples_per_s": "numpy in float32",
    "scsynth_sine_samples_per_s": "scsynth, Klang",
}


@click.command()
@click.option(
    "--seconds", type=click.FloatRange(0, 600), default=5.0, show_default=True, help="How long to measure, in all."
)
@click.option(
    "--sleepers", type=click.IntRange(1, 100_000), default=SLEEPERS, show_default=True, help="How many mixes."
)
@click.option(
    "--optouts",
    type=click.IntRange(0, 1_000_000),
    default=bench_optout.OPTOUTS,
    show_default=True,
    help="How many opt-outs to time as well, as `bench optout` does; 0 for none.",
)
@json_option
def mix(seconds: float, sleepers: int, optouts: int, as_json: bool) -> None:
    """Sound: sine-samples for a second of CPU time of one core, beside numpy and SuperCollider in the same run.

    A mix is 32 binaural channels at 48 kHz, limiter included; rhythm, offset and coefficients are each sleeper's own.
    Ticks and opt-outs of 10,000 sleepers follow, and take about a minute and a half.
    """
    measured, reason = measure(seconds, sleepers)
    timed = bench_optout.measure(count=optouts) if optouts else {}
    if as_json:
        echo_json({**measured, **timed})
        return
    kernel, peak = measured["kernel_sine_samples_per_s"], measured["multiply_adds_per_s"]
    click.echo(f"{'':28} {'a CPU-second':>13} {'of the peak':>12} {'kernel is':>10}")
    for key, meaning in _TABLE.items():
        rate = measured[key]
        if rate is None or kernel is None or peak is None:
            click.echo(f"{meaning:28} {'-':>13}  {reason}")
        else:
            click.echo(f"{meaning:28} {rate:>13.3g} {rate / peak:>12.1%} {kernel / rate:>9.1f}×")
    click.echo(
        f"one core renders {measured['sleepers_realtime']:.0f} sleepers of 32 binaural channels in real time, "
        f"{measured['sleepers_realtime_gliding']:.0f} while all coefficients glide"
    )
    if timed:
        bench_optout.show(timed)
