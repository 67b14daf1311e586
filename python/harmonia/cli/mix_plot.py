"""`harmonia mix plot`: a recording in one picture, and in figures.

The phase between the ears is measured as a stranger would: each ear is demodulated at a channel's carrier, and the
product of one with the other's conjugate, turned back by n·θ of the score's rhythm, is averaged over some seconds. What
is left is the sleeper's own displacement n·φ, and whatever others pulled.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from harmonia import _core
from harmonia.bridges import sounds
from harmonia.cli.common import echo_json, json_option
from harmonia.cli.loudness import measure
from harmonia.cli.mix_woven import sound_json
from harmonia.cli.score import parse_score
from harmonia.errors import BadInput, NotFound, StorageError

Floats = NDArray[np.float64]
WINDOW_S = 4.0
"""The mean of the phase between the ears."""
STEP_S = 0.25
CHANNELS_DRAWN = 4
APART_HZ = 12.0
"""Sounds nearer to each other than this cannot be told apart by their carrier."""
AUDIBLE = 0.2
"""Less than this share of a channel's loudest moment is no sound of its own."""


@dataclass(frozen=True, slots=True)
class Between:
    """The phase between the ears of one locked channel, less n·θ."""

    label: str
    locked: int
    times_s: Floats
    off_turns: Floats
    coherence: float
    """How steady it is: 1 for a sound that follows the rhythm exactly."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a platform said of itself with `join --json-lines`."""

    times_s: Floats
    level_dbfs: Floats
    off_turns: Floats
    """Its phase, less the steady course that fits best."""


@click.command()
@click.argument("file", metavar="[FILE.wav]", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--log", "log_path", type=click.Path(path_type=Path, dir_okay=False), help="What `join --json-lines` said."
)
@click.option(
    "--score", "score_file", type=click.Path(path_type=Path), help="Show the phase between the ears against it."
)
@click.option("--score-at", type=click.FloatRange(min=0), default=0.0, help="Where the score is when FILE begins, s.")
@click.option("--start", type=click.FloatRange(min=0), default=0.0, help="Begin at this second of FILE.")
@click.option("--seconds", type=click.FloatRange(min=1), help="Draw so many seconds; without it all.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The PNG file to write.")
@json_option
def plot(
    file: Path | None,
    log_path: Path | None,
    score_file: Path | None,
    score_at: float,
    start: float,
    seconds: float | None,
    output: Path,
    as_json: bool,
) -> None:
    """Draw what was heard: spectrum, level and, with the score, the phase between the ears.

    FILE is a stereo WAV file; a --log of the platform that played it adds its own level and phase.
    """
    if file is None and log_path is None:
        raise BadInput("give a WAV file, a --log, or both: there is nothing to draw")
    if score_file is not None and file is None:
        raise BadInput("the phase between the ears is measured in a WAV file; give one with --score")
    from harmonia.cli.mix_picture import Heard, draw

    said: dict[str, Any] = {"output": str(output)}
    heard, between, told = None, list[Between](), None
    if file is not None:
        sound, rate = sounds.read(file, start, seconds)
        if len(sound) < rate:
            raise BadInput(f"{file}: less than a second from {start:g} s on; there is nothing to draw")
        heard = Heard(sound, rate, measure(sound, rate), start)
        said |= {"seconds": round(len(sound) / rate, 3), "rate": rate, **sound_json(heard.loudness)}
        if score_file is not None:
            between = between_ears(sound, rate, parse_score(score_file), score_at + start, start)
            said["between_ears"] = [
                {
                    "channel": one.label,
                    "locked": one.locked,
                    "off_turns_p50": round(float(np.nanmedian(one.off_turns)), 5),
                    "coherence": round(one.coherence, 4),
                }
                for one in between
            ]
    if log_path is not None:
        told = read_log(log_path)
        said["told"] = {
            "moments": len(told.times_s),
            "level_max_dbfs": round(float(told.level_dbfs.max()), 2),
            "phase_off_max_turns": round(float(np.abs(told.off_turns).max()), 5),
        }
    try:
        draw(output, str(file or log_path), heard, between=between, told=told)
    except OSError as error:
        raise StorageError(f"cannot write {output}: {error.strerror}") from None
    if as_json:
        echo_json(said)
    elif heard is not None:
        loud = heard.loudness
        click.echo(
            f"{output}: {said['seconds']:g} s, {loud.integrated_lufs:.1f} LUFS, range {loud.range_lu:.1f} LU, "
            f"true peak {loud.true_peak_dbtp:.1f} dBTP, {loud.clicks} clicks"
        )
    else:
        click.echo(f"{output}: {said['told']['moments']} moments")


def between_ears(
    sound: sounds.Sound, rate: int, score: _core.Score, score_at_s: float, start_s: float
) -> list[Between]:
    """Of the loudest locked binaural channels that stand alone, at most a few. Raises BadInput if there are none."""
    summary = json.loads(score.summary())
    sung: dict[tuple[int, float], dict[str, Any]] = {}
    carriers: dict[int, float] = {}
    for tone_set in summary["tone_sets"]:
        for one in tone_set["channels"]:
            if one["carrier_hz"] is not None:
                carriers[one["slot"]] = one["carrier_hz"]
            if one["wave"] == "binaural" and one["locked"]:
                sung.setdefault((one["slot"], one["carrier_hz"]), one)

    def alone(one: dict[str, Any]) -> bool:
        near = (hz for slot, hz in carriers.items() if slot != one["slot"])
        return all(abs(hz - one["carrier_hz"]) >= APART_HZ for hz in near)

    chosen = sorted(filter(alone, sung.values()), key=lambda one: -float(one["amplitude_pct"]))[:CHANNELS_DRAWN]
    if not chosen:
        raise BadInput("no channel of the score is locked and binaural, and alone at its carrier: no phase can be told")
    times = np.arange(len(sound)) / rate
    window, step = round(WINDOW_S * rate), round(STEP_S * rate)
    smooth = max(1, round(rate / APART_HZ))
    rhythm = score.rhythm(0)
    found = []
    for one in chosen:
        turned = np.exp(-2j * np.pi * one["carrier_hz"] * times)
        left, right = (_means(sound[:, ear] * turned, smooth, 1) for ear in (0, 1))
        product = right * left.conj() if one["lead"] != "left" else left * right.conj()
        centres = (np.arange(len(product)) + smooth / 2) / rate + score_at_s
        coarse = np.arange(0, len(centres), max(1, rate // 100))
        theta = np.interp(centres, centres[coarse], _unwrapped(rhythm, centres[coarse])) * one["locked"]
        product *= np.exp(-2j * np.pi * theta)
        means = _means(product, min(window, len(product)), step)
        sizes = _means(np.abs(product), min(window, len(product)), step)
        # Where the channel is silent, or has slid elsewhere, there is no phase.
        means[np.abs(sizes) < AUDIBLE * np.abs(sizes).max()] = np.nan
        found.append(
            Between(
                f"{one['carrier_hz']:g} Hz, n = {one['locked']}",
                one["locked"],
                np.arange(len(means)) * step / rate + (min(window, len(product)) + smooth) / 2 / rate + start_s,
                np.angle(means) / (2 * np.pi),
                float(np.nansum(np.abs(means)) / max(np.abs(sizes[~np.isnan(means)]).sum(), 1e-12)),
            )
        )
    return found


def _means(values: NDArray[Any], window: int, step: int) -> NDArray[np.complex128]:
    sums = np.concatenate([[0], np.cumsum(values)])
    means: NDArray[np.complex128] = (sums[window:] - sums[:-window])[::step] / window
    return means


def _unwrapped(rhythm: _core.Rhythm, times_s: Floats) -> Floats:
    turns: Floats = np.unwrap([rhythm.turns_at(round(t * 1e9)) for t in times_s], period=1.0)
    return turns


def read_log(path: Path) -> Told:
    """The moments of `join --json-lines`. Raises NotFound, BadInput, StorageError."""
    moments = []
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    one = json.loads(line)
                    if one.get("event") == "moment":
                        moments.append((one["node_ns"] / 1e9, one["level_dbfs"], one["phase_turns"]))
                except (ValueError, AttributeError, KeyError, TypeError):
                    raise BadInput(f"{path}:{number}: not a line that `harmonia join --json-lines` says") from None
    except FileNotFoundError:
        raise NotFound(f"{path}: no such file") from None
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadInput(f"{path}: not text; `harmonia join --json-lines` says such lines") from None
    if len(moments) < 3:
        raise BadInput(f"{path}: {len(moments)} moments; at least 3 are needed")
    times_s, levels, turns = np.array(moments).T
    times_s = times_s - times_s[0]
    course = np.unwrap(turns, period=1.0)
    frequency, begin = np.polyfit(times_s, course, 1)
    return Told(times_s, levels, course - (begin + frequency * times_s))
