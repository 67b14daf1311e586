"""`harmonia phase compare`: what each estimator made of the same recording, beside the truth."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np

from harmonia.bridges import signals
from harmonia.cli.common import echo_json, json_option
from harmonia.cli.phase_track import ESTIMATORS, joined, signal_options, tracked
from harmonia.cli.phase_truth import analytic, errors, near_missing
from harmonia.errors import BadInput

SINCE_S = (60, 180)
"""Counted from minute 1, when every estimator has settled, and from minute 3, when one that learns has learnt."""
SURE = 0.8


@click.command()
@signal_options
@json_option
def compare(file: Path, channel: str | None, band: tuple[float, float], as_json: bool) -> None:
    """Track FILE with every estimator, and say how far each was from the truth.

    The truth is a Butterworth filter of second order, forwards and backwards, and its Hilbert transform: it knows the
    future, the estimators do not.
    """
    signal = signals.read(file, channel)
    if signal.duration_s < SINCE_S[0] + 30:
        raise BadInput(f"{file}: {signal.duration_s:.0f} s; at least {SINCE_S[0] + 30} are needed to compare")
    rows: list[dict[str, Any]] = []
    for estimator in ESTIMATORS:
        began_s = time.process_time()
        track = joined(list(tracked(signal, band, estimator)))
        cost_us = (time.process_time() - began_s) * 1e6 / len(signal.samples)
        if not rows:
            truth = analytic(signal.samples, signal.rate_hz, band)
            known = ~near_missing(signal.samples, signal.rate_hz, band)
            at_s = np.arange(len(signal.samples)) / signal.rate_hz
        row: dict[str, Any] = {"estimator": estimator, "us_per_sample": round(cost_us, 3)}
        for since_s in SINCE_S:
            where = known & (at_s >= since_s)
            row[f"from_{since_s}_s"] = _rounded(track.phase_turns, truth, where)
        settled = known & (at_s >= SINCE_S[0])
        sure = settled & (track.confidence >= SURE)
        row["sure"] = _rounded(track.phase_turns, truth, sure)
        row["sure_share"] = round(float(sure.sum() / max(settled.sum(), 1)), 4)
        rows.append(row)
    if as_json:
        echo_json({"channel": signal.label, "band_hz": list(band), "estimators": rows})
        return
    click.echo(f"{signal.label}, {band[0]:g} to {band[1]:g} Hz: phase error, mean / circular SD / R\n")
    click.echo(
        f"{'':16}{'from minute 1':>22}{'from minute 3':>22}{f'where sure (≥ {SURE}), share':>30}{'µs a sample':>14}"
    )
    for row in rows:
        cells = [_cell(row[f"from_{since_s}_s"]) for since_s in SINCE_S]
        share = "never" if row["sure"] is None else f"{_cell(row['sure'])}, {row['sure_share']:.0%}"
        click.echo(f"{row['estimator']:16}{cells[0]:>22}{cells[1]:>22}{share:>30}{row['us_per_sample']:>14.2f}")


def _rounded(phase_turns: Any, truth: Any, where: Any) -> dict[str, float] | None:
    if not where.any():
        return None
    return {name: round(value, 4) for name, value in asdict(errors(phase_turns, truth, where)).items()}


def _cell(measured: dict[str, float] | None) -> str:
    if measured is None:
        return "–"
    return f"{measured['mean_deg']:+.0f}° / {measured['sd_deg']:.1f}° / {measured['resultant']:.3f}"
