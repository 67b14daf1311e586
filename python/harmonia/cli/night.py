"""`harmonia night`: a whole night on this machine, and its report."""

import json
import signal
import sys
import webbrowser
from pathlib import Path

import click
import trio

from harmonia import _core, errors
from harmonia.cli.common import called_as, read_score, run
from harmonia.client import ScoreText
from harmonia.night import diary, stage, view
from harmonia.night.plan import SLEEPERS_MAX, default_score, plan

INTERRUPTED = 130


@click.command()
@click.option("--score", "score_file", type=click.Path(path_type=Path), help="A .toml or .sbg score. [default: ours]")
@click.option("--sleepers", type=click.IntRange(1, SLEEPERS_MAX), default=6, show_default=True)
@click.option(
    "--minutes",
    type=click.FloatRange(0.25, 24 * 60),
    default=1.0,
    show_default=True,
    help="How long the night lasts from the score's beginning.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Everybody's clocks and voices follow from it.")
@click.option(
    "--output",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default="harmonia-night",
    show_default=True,
    help="Folder of the report; written anew.",
)
@click.option("--keep", is_flag=True, help="Keep the sanctuary's data folder and the sleepers' state afterwards.")
@click.option("--plain", is_flag=True, help="Plain lines in place of the live view.")
@click.option("--open", "open_page", is_flag=True, help="Show the report in a browser at the end.")
def night(
    score_file: Path | None,
    sleepers: int,
    minutes: float,
    seed: int,
    folder: Path,
    keep: bool,
    plain: bool,
    open_page: bool,
) -> int:
    """Run a whole night on this machine: sanctuary, circle, sleepers, recordings, report.

    Every sleeper is a process of its own with a deliberately wrong clock. Half-way one opts out and one sets a personal
    offset of a quarter turn.
    """
    score = (
        ScoreText("first-night.toml", "toml", default_score(minutes)) if score_file is None else read_score(score_file)
    )
    try:
        parsed = _core.Score.parse(score.text, score.name, "sbg" if score.format == "sbg" else "toml")
    except _core.ScoreError as error:
        raise errors.BadScore(str(error)) from None
    with view.choose(plain) as show:
        place = stage.Stage(folder, score, plan(sleepers, minutes, parsed.channels, seed), show, keep)
        stage.prepare(place)
        if not run(lambda: _interruptible(place)):
            show.say("interrupted; everything has been ended")
            return INTERRUPTED
    report(place, minutes, seed)
    if not keep:
        stage.tidy(place)
    if open_page:
        webbrowser.open((folder / "index.html").resolve().as_uri())
    sys.stdout.flush()
    return 0


async def _interruptible(place: stage.Stage) -> bool:
    """Plays the night; False if a person ended it."""
    finished = False
    async with trio.open_nursery() as nursery:

        async def until_signal() -> None:
            with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
                async for _ in signals:
                    nursery.cancel_scope.cancel()
                    return

        nursery.start_soon(until_signal)
        await stage.play(place)
        finished = True
        nursery.cancel_scope.cancel()
    return finished


def report(place: stage.Stage, minutes: float, seed: int) -> None:
    """Writes picture, summary and page, and says what to try next."""
    from harmonia.night import page, picture

    folder, circle = place.folder, place.circle
    if circle is None:
        raise errors.NotFound("the night has no circle; nothing to report")
    epoch_ns = circle.epoch_ns or 0
    title = circle.title or "A night"
    facts = {
        "title": title,
        "minutes": minutes,
        "seed": seed,
        "circle_id": circle.circle_id,
        "score": place.score.name,
        "epoch_ns": epoch_ns,
        "half_way_ns": place.half_way_ns,
        "mix_of": place.diaries[place.plan.mixes].name,
        "files": {"mix": "mix.wav", "field": "field.wav", "picture": "night.png", "page": "index.html"},
    }
    summary = diary.night_summary(place.diaries, place.rhythm, facts)
    subtitle = f"{title}: {len(place.diaries)} sleepers, {minutes:g} min"
    try:
        (folder / "summary.json").write_text(json.dumps(summary, indent=1, allow_nan=False) + "\n")
        picture.draw(folder / "night.png", place.diaries, place.rhythm, epoch_ns, subtitle)
        page.write(folder / "index.html", summary, folder / "night.png")
    except OSError as error:
        raise errors.StorageError(f"cannot write the report into {folder}: {error.strerror}") from None
    within = "all within" if summary["every_error_within_its_bound"] else "NOT all within"
    click.echo(
        f"\n95 % of clock errors ≤ {summary['error_us_p95']} µs, the largest {summary['error_us_max']} µs, "
        f"{within} their certified bounds\n\n"
        f"look and listen     open {folder / 'index.html'}\n"
        f"another night       {called_as()} night --sleepers 12 --minutes 2 --seed {seed + 1}\n"
        f"the parts by hand   {called_as()} serve   (then, in other terminals: circle create, join; see --help)"
    )
