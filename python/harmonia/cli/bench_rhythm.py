"""`harmonia bench rhythm`: what coupled rhythms cost, beside the same sums in numpy."""

import cmath
import math
import time
from typing import Any

import click

from harmonia import _core
from harmonia.cli.common import echo_json, json_option

SIZES = {"1e4": 10_000, "1e6": 1_000_000}
_SLICES = 4
"""Turns that each takes; what disturbs one disturbs the other."""
_STAGES = 4
_STEP_S = 0.02


class NumpyRhythms:
    """The same population in numpy, as one would write it: Runge-Kutta in radians, one array operation at a time."""

    def __init__(self, sleepers: int) -> None:
        import numpy as np

        self._np = np
        index = np.arange(sleepers, dtype=np.uint64)
        self._omega = 2 * math.pi * (4.0 + index % 1009 / 1009.0)
        self._theta = 2 * math.pi * (index * np.uint64(0x9E3779B97F4A7C15) / 2.0**64)

    def run(self, seconds: float) -> tuple[int, float]:
        """Steps for about ``seconds`` of CPU time, at least once: the evaluations, and the CPU time."""
        begin, evaluations, h = time.thread_time(), 0, _STEP_S
        while evaluations == 0 or time.thread_time() - begin < seconds:
            theta = self._theta
            k1 = self._slope(theta)
            k2 = self._slope(theta + h / 2 * k1)
            k3 = self._slope(theta + h / 2 * k2)
            k4 = self._slope(theta + h * k3)
            self._theta = theta + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
            evaluations += _STAGES * len(theta)
        return evaluations, time.thread_time() - begin

    def unity(self) -> float:
        """R now."""
        return float(abs(self._np.exp(1j * self._theta).mean()))

    def _slope(self, theta: Any) -> Any:
        sin, cos = self._np.sin(theta), self._np.cos(theta)
        field = 2.0 * cmath.exp(0.1j) * complex(cos.mean(), sin.mean())
        return self._omega + 0.5 * (field.imag * cos - field.real * sin)


def measure(seconds: float) -> dict[str, float]:
    """Evaluations a second of CPU time, for each size, here and in numpy."""
    measured: dict[str, float] = {}
    share = seconds / (2 * len(SIZES) * _SLICES)
    for name, sleepers in SIZES.items():
        core, peer = _core.RhythmBench(sleepers), NumpyRhythms(sleepers)
        core.run(0)  # warms caches, and does not count
        totals = {"": [0.0, 0.0], "numpy_": [0.0, 0.0]}
        for _ in range(_SLICES):
            for prefix, (evaluations, cpu_s) in (("", core.run(share)[:2]), ("numpy_", peer.run(share))):
                totals[prefix][0] += evaluations
                totals[prefix][1] += cpu_s
        for prefix, (total, total_s) in totals.items():
            measured[f"{prefix}oscillator_steps_per_s_{name}"] = total / total_s
    for prefix in ("", "numpy_"):
        each = [measured[f"{prefix}oscillator_steps_per_s_{name}"] for name in SIZES]
        measured[f"{prefix}oscillator_steps_per_s"] = min(each)
    return measured


@click.command()
@click.option(
    "--seconds", type=click.FloatRange(0, 600), default=5.0, show_default=True, help="How long to measure, in all."
)
@json_option
def rhythm(seconds: float, as_json: bool) -> None:
    """Coupled rhythms: mean-field evaluations of one sleeper for a second of CPU time, beside numpy in the same run.

    Float64, one core; a step of Runge-Kutta counts four.
    """
    measured = measure(seconds)
    if as_json:
        echo_json(measured)
        return
    click.echo(f"{'sleepers':>10} {'a CPU-second':>14} {'numpy':>14} {'ratio':>8}")
    for name, sleepers in SIZES.items():
        ours, peers = (measured[f"{prefix}oscillator_steps_per_s_{name}"] for prefix in ("", "numpy_"))
        click.echo(f"{sleepers:>10} {ours:>14.3g} {peers:>14.3g} {ours / peers:>7.1f}×")
