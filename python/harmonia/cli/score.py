"""`harmonia score`: look at a score, hear any part of it, without a sanctuary."""

import json
import re
import wave
from pathlib import Path
from typing import Any

import click

from harmonia import _core, errors
from harmonia.bridges.sounds import pcm16
from harmonia.cli.common import json_option, read_score
from harmonia.client import stems
from harmonia.client.words import seconds_text

DAY_S = 86_400
CHUNK_S = 10


@click.group()
def score() -> None:
    """Check, show and render scores (.toml, .sbg)."""


def parse_score(path: Path) -> _core.Score:
    """The score in a file. Raises NotFound, BadInput (as ``FILE:LINE: reason``), StorageError."""
    text = read_score(path)
    try:
        return _core.Score.parse(text.text, str(path), "sbg" if text.format == "sbg" else "toml")
    except _core.ScoreError as error:
        raise errors.BadScore(str(error)) from None


@score.command()
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def show(file: Path, as_json: bool) -> None:
    """Read a score and say what it plays; refuse it as FILE:LINE: reason."""
    summary: dict[str, Any] = json.loads(parse_score(file).summary())
    if as_json:
        click.echo(json.dumps(summary))
        return
    length = "endless" if summary["duration_s"] is None else seconds_text(summary["duration_s"])
    click.echo(f"{file}: {length}, up to {summary['channels_max']} channels")
    for note in summary["notes"]:
        click.echo(f"{file}:{note['line']}: note: {note['text']}")
    click.echo("\ntone sets")
    for one in summary["tone_sets"]:
        click.echo(f"  {one['name']}{'' if one['channels'] else ': silence'}")
        for channel in one["channels"]:
            rest = {key: value for key, value in channel.items() if key not in ("wave", "slot")}
            click.echo(f"    {channel['wave']:<11} {_plain(rest)}")
    if summary["stems"]:
        click.echo("\nmusic")
        for stem in summary["stems"]:
            rest = {key: value for key, value in stem.items() if key != "name"}
            click.echo(f"  {stem['name'] or '(unnamed)'}: {_plain(rest)}")
    click.echo("\ntimeline")
    for entry in summary["timeline"]:
        rest = {key: value for key, value in entry.items() if key not in ("at_s", "tone_set", "line")}
        click.echo(f"  {seconds_text(entry['at_s'])}  {entry['tone_set'] or '–':<12} {_plain(rest)}")


def _plain(fields: dict[str, Any]) -> str:
    shown = []
    for key, value in fields.items():
        if value is not None and value is not False:
            number = f"{value:g}" if isinstance(value, float) else str(value)
            shown.append(f"{key.replace('_', ' ')} {number}")
    return ", ".join(shown)


def _clock_s(_: click.Context, __: click.Parameter, text: str | None) -> float | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,2}):([0-5]\d)(?::([0-5]\d(?:\.\d+)?))?", text)
    if match is None or int(match[1]) > 24:
        raise click.BadParameter(f"{text!r} is not a time of day; write HH:MM:SS, for instance 23:30:00")
    return int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3] or 0)


@score.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--start",
    "start_s",
    callback=_clock_s,
    metavar="HH:MM:SS",
    help="On the score's own clock. [default: where it begins]",
)
@click.option("--seconds", type=click.FloatRange(0, 86_400, min_open=True), required=True, help="How long.")
@click.option(
    "--rate", type=click.Choice(["44100", "48000"]), default="48000", show_default=True, help="Samples a second."
)
@click.option("--offset", "offset_turns", type=float, default=0.0, help="A phase offset, in turns.")
@click.option(
    "--stems",
    "folders",
    multiple=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Look for the score's music here, too; may be repeated. [always: beside the score]",
)
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), required=True, help="A WAV file, 16 bit.")
def render(
    file: Path,
    start_s: float | None,
    seconds: float,
    rate: str,
    offset_turns: float,
    folders: tuple[Path, ...],
    output: Path,
) -> None:
    """Render a part of a score into a WAV file, as one platform alone would play it.

    Music is taken from files beside the score, by name or by hash. What is missing is said, and the rest plays.
    """
    parsed, sample_rate = parse_score(file), int(rate)
    into_s = 0.0 if start_s is None else (start_s - parsed.start_s) % DAY_S
    found = stems.find(parsed, [*folders, file.parent])
    for line in found.words():
        click.echo(line, err=True)
    renderer = _core.Renderer(parsed, 0, sample_rate, found.stems)
    frames_left = round(seconds * sample_rate)
    done = 0
    try:
        with output.open("wb") as opened, wave.open(opened, "wb") as out:
            out.setnchannels(2)
            out.setsampwidth(2)
            out.setframerate(sample_rate)
            while frames_left:
                frames = min(frames_left, CHUNK_S * sample_rate)
                node_ns = round(into_s * 1e9) + done * 1_000_000_000 // sample_rate
                out.writeframes(pcm16(renderer.render(node_ns, frames, offset_turns=offset_turns)))
                done, frames_left = done + frames, frames_left - frames
    except _core.RhythmError as error:
        raise errors.BadInput(str(error)) from None
    except OSError as error:
        raise errors.StorageError(f"cannot write {output}: {error.strerror}") from None
    click.echo(f"{output}: {done / sample_rate:g} s of {file.name} from {seconds_text(parsed.start_s + into_s)} on")
