"""`harmonia phase track`: phase, frequency and confidence of a recorded signal, each from what came before it alone."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click
import numpy as np
from numpy.typing import NDArray

from harmonia import _core
from harmonia.bridges import signals
from harmonia.bridges.signals import Signal
from harmonia.cli.common import Command, echo_json, json_option
from harmonia.errors import BadInput, StorageError

Estimator = Literal["predictor", "end-corrected", "hilbert", "pll"]
ESTIMATORS: tuple[Estimator, ...] = ("predictor", "end-corrected", "hilbert", "pll")
COLUMNS = ("t_s", "phase_turns", "frequency_hz", "confidence")
CHUNK_S = 300
PROGRESS_FROM_S = 3600
"""Recordings that are shorter are done before a bar could be read."""


@dataclass(slots=True)
class Track:
    """Phase in turns, frequency in Hz and confidence at each sample."""

    phase_turns: NDArray[np.float64]
    frequency_hz: NDArray[np.float64]
    confidence: NDArray[np.float64]


def signal_options(command: Command) -> Command:
    """The file, its channel, and the band."""
    command = click.option(
        "--band", nargs=2, type=float, required=True, metavar="LO HI", help="The rhythm's band, Hz: 0.1 0.5 for breath."
    )(command)
    command = click.option("--channel", help="The channel's label; needed if the file has several.")(command)
    return click.argument("file", type=click.Path(path_type=Path, dir_okay=False))(command)


estimator_option = click.option(
    "--estimator", type=click.Choice(ESTIMATORS), default="predictor", show_default=True, help="What tracks."
)


@click.command()
@signal_options
@estimator_option
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The CSV file to write.")
@json_option
def track(
    file: Path, channel: str | None, band: tuple[float, float], estimator: Estimator, output: Path, as_json: bool
) -> None:
    """Track a rhythm in FILE, an EDF or a table t_s,value: a row a sample, made of that sample and earlier ones alone.

    Phase is 0 at the peak of the band-passed signal; confidence is the resultant length to be expected of its error.
    """
    signal = signals.read(file, channel)
    pieces = tracked(signal, band, estimator)
    parts: list[Track] = []
    first = next(pieces)  # what cannot be tracked is refused before a file is touched
    try:
        with output.open("w", encoding="ascii", newline="") as table:
            table.write(",".join(COLUMNS) + "\n")
            row = 0
            for part in (first, *_with_progress(pieces, signal)):
                row = _write(table, part, row, signal.rate_hz)
                parts.append(part)
    except OSError as error:
        raise StorageError(f"cannot write {output}: {error.strerror}") from None
    whole = joined(parts)
    said = summary(signal, whole)
    if as_json:
        echo_json({"output": str(output), "estimator": estimator, "band_hz": list(band), **said})
        return
    click.echo(
        f"{output}: {signal.label}, {said['duration_s']:.0f} s at {signal.rate_hz:g} Hz; "
        f"frequency {said['frequency_hz_p50']:.3f} Hz (median), confidence {said['confidence_mean']:.2f} (mean), "
        f"{said['lost_s']:.0f} s without"
    )


def tracked(signal: Signal, band: tuple[float, float], estimator: Estimator) -> Iterator[Track]:
    """The track, in pieces. Raises BadInput for a band that this signal cannot hold."""
    try:
        tracker = _core.Tracker(*band, signal.rate_hz, estimator)
    except ValueError as error:
        raise BadInput(str(error)) from None
    step = int(CHUNK_S * signal.rate_hz) + 1
    for begin in range(0, len(signal.samples), step):
        yield Track(*tracker.feed(signal.samples[begin : begin + step]))


def joined(parts: list[Track]) -> Track:
    """All pieces as one."""
    return Track(
        np.concatenate([part.phase_turns for part in parts]),
        np.concatenate([part.frequency_hz for part in parts]),
        np.concatenate([part.confidence for part in parts]),
    )


def summary(signal: Signal, track: Track) -> dict[str, Any]:
    """The track in numbers."""
    sure = track.confidence > 0
    frequencies = track.frequency_hz[sure] if sure.any() else track.frequency_hz
    return {
        "channel": signal.label,
        "rate_hz": signal.rate_hz,
        "samples": len(signal.samples),
        "duration_s": round(signal.duration_s, 3),
        "frequency_hz_p50": round(float(np.median(frequencies)), 5),
        "confidence_mean": round(float(track.confidence.mean()), 4),
        "lost_s": round(float((~sure).sum()) / signal.rate_hz, 3),
    }


def _with_progress(pieces: Iterator[Track], signal: Signal) -> Iterator[Track]:
    if signal.duration_s < PROGRESS_FROM_S or not sys.stderr.isatty():
        yield from pieces
        return
    count = int(signal.duration_s // CHUNK_S)
    with click.progressbar(pieces, length=count, label="tracking", file=sys.stderr) as bar:
        yield from bar


def _write(table: Any, part: Track, row: int, rate_hz: float) -> int:
    # Rounding must not make a whole turn of what lies just below it.
    phases = np.round(part.phase_turns, 6) % 1.0
    table.writelines(
        f"{(row + i) / rate_hz:.6f},{phase:.6f},{frequency:.5f},{confidence:.4f}\n"
        for i, (phase, frequency, confidence) in enumerate(
            zip(phases.tolist(), part.frequency_hz.tolist(), part.confidence.tolist(), strict=True)
        )
    )
    return row + len(phases)
