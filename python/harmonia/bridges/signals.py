"""Recorded signals: a channel of an EDF file, or a table of time and value, as samples at one steady rate."""

import csv
import itertools
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harmonia.errors import BadInput, NotFound, StorageError

CSV_COLUMNS = ("t_s", "value")
RATE_FROM_ROWS = 64
"""A table's rate is the one of its first rows: later ones may not change what was made of earlier ones."""

SAMPLES_MAX = 1 << 28
"""Three days at 1 kHz; more would not fit into a small machine's memory."""


@dataclass(frozen=True, slots=True)
class Signal:
    """One channel. Missing samples are NaN."""

    label: str
    unit: str
    rate_hz: float
    samples: NDArray[np.float64]

    @property
    def duration_s(self) -> float:
        """From the first sample to one step after the last."""
        return len(self.samples) / self.rate_hz


def read(path: Path, channel: str | None) -> Signal:
    """The named channel; without a name the only one. Raises NotFound, BadInput (as ``FILE: reason``), StorageError."""
    try:
        with path.open("rb") as file:
            begin = file.read(8)
    except FileNotFoundError:
        raise NotFound(f"{path}: no such file") from None
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from None
    if begin == b"0       ":
        return _read_edf(path, channel)
    if path.suffix.lower() == ".csv":
        return _read_csv(path)
    raise BadInput(f"{path}: not an EDF file; a table of {','.join(CSV_COLUMNS)} must be called .csv")


def _read_edf(path: Path, channel: str | None) -> Signal:
    import edfio

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about dates and the like, which do not concern a signal
            edf = edfio.read_edf(path)
            chosen = _choose(path, [one.label for one in edf.signals], channel)
            if edf.reserved.startswith("EDF+D"):
                raise BadInput(f"{path}: a discontinuous EDF (EDF+D); convert it to EDF+C, or to a table t_s,value")
            signal = edf.signals[chosen]
            samples = np.ascontiguousarray(signal.data, dtype=np.float64)
    except BadInput:
        raise
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from None
    except Exception as error:  # noqa: BLE001 (a damaged file fails in as many ways as there are fields)
        raise BadInput(f"{path}: a damaged EDF file ({error})") from None
    if not len(samples):
        raise BadInput(f"{path}: channel {signal.label!r} holds no samples")
    return Signal(signal.label, signal.physical_dimension, float(signal.sampling_frequency), samples)


def _choose(path: Path, labels: list[str], channel: str | None) -> int:
    listed = ", ".join(repr(label) for label in labels) or "none"
    if channel is None:
        if len(labels) == 1:
            return 0
        raise BadInput(f"{path} has several channels; choose with --channel: {listed}")
    if labels.count(channel) == 1:
        return labels.index(channel)
    loosely = [i for i, label in enumerate(labels) if label.strip().casefold() == channel.strip().casefold()]
    if len(loosely) == 1:
        return loosely[0]
    wrong = "several channels are called" if loosely else "no channel"
    raise BadInput(f"{path}: {wrong} {channel!r}; there are: {listed}")


def _read_csv(path: Path) -> Signal:
    times: list[float] = []
    values: list[float] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file)
            header = [name.strip() for name in next(rows, [])]
            if header[:2] != list(CSV_COLUMNS):
                raise BadInput(f"{path}:1: the columns {','.join(CSV_COLUMNS)} are expected")
            for row in rows:
                try:
                    time_s, value = float(row[0]), float(row[1].strip() or "nan")
                except (IndexError, ValueError):
                    raise BadInput(f"{path}:{rows.line_num}: a time in s and a value are expected") from None
                if not np.isfinite(time_s) or (times and time_s <= times[-1]):
                    raise BadInput(f"{path}:{rows.line_num}: the time {row[0]} s does not come after the one before")
                times.append(time_s)
                values.append(value)
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{path}: not a table ({error})") from None
    if len(times) < RATE_FROM_ROWS:
        raise BadInput(f"{path}: {len(times)} rows; at least {RATE_FROM_ROWS} are needed to know the rate")
    steps = sorted(later - earlier for earlier, later in itertools.pairwise(times[:RATE_FROM_ROWS]))
    rate_hz = float(f"{1 / steps[len(steps) // 2]:.6g}")
    spread_s = times[-1] - times[0]
    if not spread_s * rate_hz <= min(100 * len(times) + 86_400 * rate_hz, SAMPLES_MAX):
        raise BadInput(f"{path}: rows at {rate_hz:g} Hz, spread over {spread_s:g} s: nearly all are missing")
    slots = np.round((np.array(times) - times[0]) * rate_hz).astype(np.int64)
    samples = np.full(int(slots[-1]) + 1, np.nan)
    samples[slots] = values
    return Signal(path.stem, "", rate_hz, samples)
