"""`harmonia mix woven`: a woven circle as one of its sleepers would hear it, made in a minute without anybody.

The circle is rehearsed by the parts of a real night (see the core's `rehearsal`). What is invented here is its people:
each with a breath of their own, a note of their own, and a coupling of their own that they take up one after the other;
one in five lets nobody pull them at all.
"""

import cmath
import json
import math
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from harmonia import _core
from harmonia.bridges import sounds
from harmonia.bridges.sounds import Sound
from harmonia.cli.common import echo_json, json_option
from harmonia.cli.loudness import Loudness, measure
from harmonia.cli.score import parse_score
from harmonia.client.words import seconds_text
from harmonia.domain.weaving import Thread, Woven
from harmonia.domain.weaving import woven as share_of
from harmonia.errors import BadInput, StorageError

FREE_ONE_IN = 5
"""Of so many sleepers one is coupled to nobody."""
LETTING_GO = (0.08, 0.5)
"""Within this part of the night, one after the other, they let themselves be pulled."""
DEPTH = (0.5, 0.8)
"""How much of a voice ebbs away between two breaths: 6 to 14 dB."""
SECONDS_MAX = 3600
TICKS_A_SECOND = 5


@dataclass(frozen=True, slots=True)
class Performer:
    """One sleeper of the rehearsal; the fields are those of `_core.Rehearsal`'s parts."""

    own_hz: float
    phase_turns: float
    coupling: float
    lets_go_s: float
    depth: float
    voice: tuple[complex, ...]


@dataclass(frozen=True, slots=True)
class Course:
    """How the circle went, a row a frame."""

    times_s: list[float]
    unity: list[float]
    mean_turns: list[float]
    phases_turns: list[list[float]]
    """θ of each sleeper."""
    pull: list[float]
    """What the circle put on the one who listens."""
    last: Woven
    """Unity and its price at the end."""


def cast(sleepers: int, noises: list[bool], rhythm_hz: float, seconds: float, seed: int) -> list[Performer]:
    """People for a circle; the same for the same arguments."""
    dice = random.Random(seed)
    free = set(range(FREE_ONE_IN - 1, sleepers, FREE_ONE_IN))
    coupled = [sleeper for sleeper in range(sleepers) if sleeper not in free]
    begin_s, end_s = (share * seconds for share in LETTING_GO)
    turns = {
        s: begin_s + (end_s - begin_s) * i / max(1, len(coupled) - 1) for i, s in enumerate(_shuffled(dice, coupled))
    }
    parts = _parts(dice, noises, sleepers)
    return [
        Performer(
            own_hz=rhythm_hz * math.exp(min(max(dice.gauss(0.0, 0.17), -0.28), 0.4) if sleeper else 0.0),
            phase_turns=dice.random(),
            coupling=0.0 if sleeper in free else dice.uniform(0.5, 1.0),
            lets_go_s=turns.get(sleeper, 0.0),
            depth=dice.uniform(*DEPTH),
            voice=tuple(parts[sleeper]),
        )
        for sleeper in range(sleepers)
    ]


def _parts(dice: random.Random, noises: list[bool], sleepers: int) -> list[list[complex]]:
    """Who sings what: all of them every noise; each a note, or several, or one that others have too."""
    voices = [[complex(noise) / sleepers for noise in noises] for _ in range(sleepers)]
    notes = _shuffled(dice, [k for k, noise in enumerate(noises) if not noise])
    singers: dict[int, list[int]] = {k: [] for k in notes}
    for i in range(max(sleepers, len(notes)) if notes else 0):
        singers[notes[i % len(notes)]].append(i % sleepers)
    for k, those in singers.items():
        turn = dice.random()
        for sleeper in those:
            # Nearly in phase: two opposite ones would cancel each other out as soon as they breathe together.
            angle = 2 * math.pi * (turn + dice.uniform(-0.1, 0.1))
            voices[sleeper][k] += cmath.rect(1 / len(those), angle)
    return voices


def _shuffled(dice: random.Random, values: list[int]) -> list[int]:
    return dice.sample(values, len(values))


def perform(
    score: _core.Score, performers: list[Performer], strength_rad_s: float, ear: int, seconds: float, rate: int
) -> tuple[Sound, Course]:
    """What ``ear`` hears, and how the circle went. Raises BadInput for what a circle would refuse."""
    parts = [(p.own_hz, p.phase_turns, p.coupling, p.lets_go_s, p.depth, p.voice) for p in performers]
    standard = score.rhythm(0)
    try:
        rehearsal = _core.Rehearsal(score, rate, strength_rad_s, 0.0, parts, ear)
    except ValueError as error:
        raise BadInput(str(error)) from None
    pieces: list[Sound] = []
    rows: list[tuple[float, complex, list[_core.WeaveThread]]] = []
    for _ in range(math.ceil(seconds * TICKS_A_SECOND)):
        at_s = rehearsal.elapsed_ns / 1e9
        pieces.append(rehearsal.tick())
        rows.append((at_s, *rehearsal.weave()))
    at_s, mean, threads = rows[-1]
    seen = [Thread(t.own_hz, t.achieved_hz, t.pull) for t in threads]
    course = Course(
        times_s=[at_s for at_s, _, _ in rows],
        unity=[abs(mean) for _, mean, _ in rows],
        mean_turns=[cmath.phase(mean) / (2 * math.pi) for _, mean, _ in rows],
        phases_turns=[[t.phase / 2**64 for t in threads] for _, _, threads in rows],
        pull=[threads[ear].pull for _, _, threads in rows],
        last=share_of(len(threads), abs(mean), seen, standard.frequency_at(round(at_s * 1e9))),
    )
    return np.concatenate(pieces)[: round(seconds * rate)], course


def summary(performers: list[Performer], course: Course, loudness: Loudness, seconds: float) -> dict[str, Any]:
    """The circle and its sound in numbers."""
    last = course.last

    def share(name: str) -> dict[str, float] | None:
        value = last.actual if name == "actual" else last.standard
        return None if value is None else {k: round(v, 4) for k, v in value._asdict().items()}

    tail = max(1, len(course.unity) // 4)
    return {
        "sleepers": len(performers),
        "uncoupled": sum(p.coupling == 0 for p in performers),
        "seconds": seconds,
        "unity_first_quarter": round(sum(course.unity[:tail]) / tail, 4),
        "unity_last_quarter": round(sum(course.unity[-tail:]) / tail, 4),
        "unity_by_chance": round(last.by_chance, 4),
        "own_pull_mean": round(sum(course.pull) / len(course.pull), 4),
        "actual": share("actual"),
        "standard": share("standard"),
        "sound": sound_json(loudness),
        "people": [
            {
                "own_hz": round(p.own_hz, 4),
                "coupling": round(p.coupling, 3),
                "lets_go_s": round(p.lets_go_s, 1) if p.coupling else None,
            }
            for p in performers
        ],
    }


def sound_json(loudness: Loudness) -> dict[str, Any]:
    """A sound's figures for programs."""
    return {
        "integrated_lufs": round(loudness.integrated_lufs, 2),
        "range_lu": round(loudness.range_lu, 2),
        "momentary_max_lufs": round(float(loudness.momentary_lufs.max(initial=-120.0)), 2),
        "true_peak_dbtp": round(loudness.true_peak_dbtp, 2),
        "clicks": loudness.clicks,
        "ear_correlation": round(loudness.correlation, 3),
    }


@click.command()
@click.argument("score_file", metavar="SCORE", type=click.Path(path_type=Path))
@click.option("--sleepers", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.option("--strength", type=click.FloatRange(0, 100), default=1.2, show_default=True, help="K, rad/s.")
@click.option("--seed", type=int, default=6, show_default=True, help="Other people for each seed.")
@click.option("--ear", type=click.IntRange(1), default=1, show_default=True, help="Which sleeper listens.")
@click.option("--seconds", type=click.FloatRange(1, SECONDS_MAX), help="How long; without it as long as the score.")
@click.option("--rate", type=click.Choice(["44100", "48000"]), default="48000", show_default=True)
@click.option("--output", type=click.Path(path_type=Path, file_okay=False), required=True, help="The folder to write.")
@json_option
def woven(
    score_file: Path,
    sleepers: int,
    strength: float,
    seed: int,
    ear: int,
    seconds: float | None,
    rate: str,
    output: Path,
    as_json: bool,
) -> None:
    """Rehearse a woven circle of SCORE with invented people: mix.wav, picture.png and summary.json.

    Each breathes and sings at their own pace and, one after another, lets the circle pull them as far as they like;
    one in five does not. What is heard is the mix of one of them. It is made by the parts of a real night, without a
    network, and is the same for the same seed.
    """
    score = parse_score(score_file)
    if seconds is None:
        if score.duration_ns is None:
            raise BadInput(f"{score_file} is endless; say how long with --seconds")
        seconds = score.duration_ns / 1e9
        if seconds > SECONDS_MAX:
            raise BadInput(f"{score_file} lasts {seconds_text(seconds)}; rehearse a part of it with --seconds")
    if ear > sleepers:
        raise BadInput(f"--ear must be one of {sleepers} sleepers, not {ear}")
    performers = cast(sleepers, score.noises, score.rhythm(0).frequency_at(0), seconds, seed)
    sound, course = perform(score, performers, strength, ear - 1, seconds, int(rate))
    loudness = measure(sound, int(rate))
    said = {"score": score_file.name, "seed": seed, "strength_rad_s": strength, "ear": ear}
    said |= summary(performers, course, loudness, seconds)
    from harmonia.cli.mix_picture import Heard, draw

    name = json.loads(score.summary())["title"] or score_file.name
    title = f"{name}: {sleepers} sleepers, K = {strength:g} rad/s, heard by sleeper {ear}"
    try:
        output.mkdir(parents=True, exist_ok=True)
        sounds.write(output / "mix.wav", sound, int(rate))
        draw(output / "picture.png", title, Heard(sound, int(rate), loudness), circle=(performers, course))
        (output / "summary.json").write_text(json.dumps(said, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(f"cannot write into {output}: {error.strerror}") from None
    if as_json:
        echo_json({"output": str(output), **said})
        return
    click.echo(
        f"{output}/mix.wav, picture.png, summary.json: {seconds_text(seconds)}, {sleepers} sleepers; unity"
        f" {said['unity_first_quarter']:.2f} at first, {said['unity_last_quarter']:.2f} at last (chance"
        f" {said['unity_by_chance']:.2f}); {loudness.integrated_lufs:.1f} LUFS, peak {loudness.true_peak_dbtp:.1f} dBTP"
    )
