"""`harmonia platform calibrate`: what decibels and milliseconds mean at this bed."""

import wave
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harmonia import _core, errors
from harmonia.cli.common import data_option, echo_json, json_option
from harmonia.cli.sounding import calibration_file, device_option
from harmonia.client import Calibration
from harmonia.client import calibration as measuring

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RATES = (8_000, 768_000)
"""What a sound card records at."""

rate_option = click.option("--rate", type=click.Choice(["44100", "48000"]), default="48000", show_default=True)


@click.group()
def calibrate() -> None:
    """Measure what a sound level meter reads, and how long sound takes from the card to the ear."""


@calibrate.command()
@data_option
@device_option
@click.option("--signal", "kind", type=click.Choice(["tone", "pink"]), default="tone", show_default=True)
@click.option(
    "--level", "level_dbfs", type=click.FloatRange(-80, -10), default=-30.0, show_default=True, metavar="DBFS"
)
@click.option("--seconds", type=click.FloatRange(1, 120), default=10.0, show_default=True)
@rate_option
@click.option("--reading", type=float, metavar="DB", help="What the meter reads; asked for if it is not given.")
@click.option("--silent", is_flag=True, help="Play nothing: the signal was played by other means.")
@json_option
def spl(
    data_dir: Path,
    device: str,
    kind: str,
    level_dbfs: float,
    seconds: float,
    rate: str,
    reading: float | None,
    silent: bool,
    as_json: bool,
) -> None:
    """Play a signal of known level, take the meter's reading, and know every level in dB SPL from then on.

    Put the meter where the head lies, and do not touch a volume knob any more. 1 kHz reads alike on every weighting;
    for pink noise set the meter to Z or C, slow.
    """
    if not silent:
        samples = measuring.signal(kind, level_dbfs, seconds, int(rate))
        try:
            _core.play_samples(device, int(rate), samples)
        except _core.IoError as error:
            raise errors.NotFound(str(error)) from None
    if reading is None:
        reading = click.prompt("What did the meter read, in dB", type=float)
    full_scale = measuring.full_scale_spl(reading, level_dbfs)
    _keep(data_dir, as_json, full_scale_spl_db=round(full_scale, 1))


@calibrate.command()
@data_option
@click.option(
    "--set", "set_ms", type=click.FloatRange(0, measuring.LATENCY_MAX_MS), metavar="MS", help="Known already."
)
@click.option(
    "--recording", type=click.Path(path_type=Path, dir_okay=False), help="Left: the card by cable. Right: the ear."
)
@json_option
def latency(data_dir: Path, set_ms: float | None, recording: Path | None, as_json: bool) -> None:
    """Find how long after the card played it a sound is heard, from a stereo recording of `calibrate clicks`.

    One track is the card's own output by cable, the other a microphone where the head lies. Or say what is known.
    """
    if (set_ms is None) == (recording is None):
        raise errors.BadInput("give either --recording FILE.wav or --set MS")
    if recording is not None:
        set_ms = measuring.latency_ms(*_two_tracks(recording))
    assert set_ms is not None
    _keep(data_dir, as_json, output_latency_ms=round(set_ms, 3))


@calibrate.command()
@device_option
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Write them into a WAV file instead.")
@click.option("--seconds", type=click.FloatRange(2, 120), default=10.0, show_default=True)
@rate_option
def clicks(device: str, output: Path | None, seconds: float, rate: str) -> None:
    """Play the click train that `calibrate latency` compares."""
    samples = measuring.clicks(seconds, int(rate))
    try:
        if output is None:
            _core.play_samples(device, int(rate), samples)
        else:
            with output.open("wb") as opened, wave.open(opened, "wb") as file:
                file.setparams((2, 2, int(rate), 0, "NONE", ""))
                file.writeframes((samples * 32767).round().astype("<i2").tobytes())
    except _core.IoError as error:
        raise errors.NotFound(str(error)) from None
    except OSError as error:
        raise errors.StorageError(f"cannot write {output}: {error.strerror}") from None


@calibrate.command()
@data_option
@json_option
def show(data_dir: Path, as_json: bool) -> None:
    """Show what was measured."""
    _say(Calibration.load(calibration_file(data_dir)), as_json)


def _keep(data_dir: Path, as_json: bool, **measured: float) -> None:
    path = calibration_file(data_dir)
    known = replace(Calibration.load(path), **measured)
    known.save(path)
    _say(known, as_json)


def _say(known: Calibration, as_json: bool) -> None:
    if as_json:
        echo_json({"full_scale_spl_db": known.full_scale_spl_db, "output_latency_ms": known.output_latency_ms})
        return
    level, late = known.full_scale_spl_db, known.output_latency_ms
    full = "not measured" if level is None else f"{level:.1f} dB SPL (a sine); -1 dBFS is {level - 1:.1f} dB SPL"
    click.echo(f"full scale      {full}")
    click.echo(f"output latency  {'not measured' if late is None else f'{late:.3f} ms behind the card'}")


def _two_tracks(path: Path) -> "tuple[NDArray[np.float64], NDArray[np.float64], int]":
    import numpy as np

    try:
        with wave.open(str(path), "rb") as file:
            channels, width, rate = file.getnchannels(), file.getsampwidth(), file.getframerate()
            raw = file.readframes(file.getnframes())
    except FileNotFoundError:
        raise errors.NotFound(f"no recording {path}") from None
    except (OSError, EOFError, wave.Error) as error:
        reason = str(error) or "it ends early"
        raise errors.BadInput(f"{path} is no WAV file of whole numbers that can be read: {reason}") from None
    if channels != 2 or width not in (2, 4):
        raise errors.BadInput(f"{path} must be stereo with 16 or 32 bits a sample, not {channels} × {8 * width} bits")
    if not RATES[0] <= rate <= RATES[1]:
        raise errors.BadInput(f"{path} must have {RATES[0]} to {RATES[1]} samples a second, not {rate}")
    frames = len(raw) // (2 * width)
    if frames < rate:
        raise errors.BadInput(f"{path} holds {frames / rate:.2f} s; record all of `harmonia platform calibrate clicks`")
    tracks = np.frombuffer(raw[: frames * 2 * width], f"<i{width}").reshape(-1, 2).astype(float)
    return tracks[:, 0], tracks[:, 1], rate
