"""`harmonia phase plot`: a signal, its rhythm, and what was known of it at the time, in one picture."""

import csv
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from harmonia.bridges import signals
from harmonia.cli.common import echo_json, json_option
from harmonia.cli.phase_track import (
    COLUMNS,
    Estimator,
    Track,
    estimator_option,
    joined,
    signal_options,
    summary,
    tracked,
)
from harmonia.cli.phase_truth import analytic
from harmonia.errors import BadInput, NotFound, StorageError


@dataclass(slots=True)
class PhasePicture:
    """What a picture shows, a value a sample."""

    title: str
    unit: str
    band_hz: tuple[float, float]
    times_s: NDArray[np.float64]
    samples: NDArray[np.float64]
    truth: NDArray[np.complex128]
    track: Track


@click.command()
@signal_options
@estimator_option
@click.option("--track", "track_path", type=click.Path(path_type=Path, dir_okay=False), help="Draw this track of FILE.")
@click.option("--start", type=click.FloatRange(min=0), default=0.0, show_default=True, help="Draw from here on, s.")
@click.option("--seconds", type=click.FloatRange(min=1), help="Draw so many seconds; without it all.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The PNG file to write.")
@json_option
def plot(
    file: Path,
    channel: str | None,
    band: tuple[float, float],
    estimator: Estimator,
    track_path: Path | None,
    start: float,
    seconds: float | None,
    output: Path,
    as_json: bool,
) -> None:
    """Draw FILE: signal, band-passed signal, phase beside the truth, frequency and confidence over time.

    Without --track the signal is tracked anew, as `harmonia phase track` does.
    """
    signal = signals.read(file, channel)
    if track_path is None:
        track = joined(list(tracked(signal, band, estimator)))
    else:
        track = _read_track(track_path, len(signal.samples))
    times_s = np.arange(len(signal.samples)) / signal.rate_hz
    part = slice(int(start * signal.rate_hz), None if seconds is None else int((start + seconds) * signal.rate_hz) + 1)
    if len(times_s[part]) < 2:
        raise BadInput(f"{file}: {signal.duration_s:.0f} s; nothing to draw from {start:g} s on")
    from harmonia.cli.phase_picture import draw

    picture = PhasePicture(
        f"{signal.label}, {band[0]:g} to {band[1]:g} Hz",
        signal.unit,
        band,
        times_s[part],
        signal.samples[part],
        analytic(signal.samples, signal.rate_hz, band)[part],
        Track(track.phase_turns[part], track.frequency_hz[part], track.confidence[part]),
    )
    try:
        draw(output, picture)
    except OSError as error:
        raise StorageError(f"cannot write {output}: {error.strerror}") from None
    said = summary(signal, track)
    if as_json:
        echo_json({"output": str(output), **said})
    else:
        click.echo(f"{output}: {signal.label}, {len(picture.times_s) / signal.rate_hz:.0f} s")


def _read_track(path: Path, samples: int) -> Track:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.reader(file)
            if tuple(next(rows, [])) != COLUMNS:
                raise BadInput(
                    f"{path}:1: the columns {','.join(COLUMNS)} are expected; `harmonia phase track` writes them"
                )
            try:
                values = np.array([[float(cell) for cell in row] for row in rows])
            except ValueError:
                raise BadInput(f"{path}:{rows.line_num}: numbers are expected in each column") from None
    except FileNotFoundError:
        raise NotFound(f"{path}: no such file") from None
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadInput(f"{path}: not text; `harmonia phase track` writes such a file") from None
    if values.shape != (samples, len(COLUMNS)):
        raise BadInput(f"{path}: {len(values)} rows; the signal has {samples} samples: this is no track of it")
    return Track(values[:, 1], values[:, 2], values[:, 3])
