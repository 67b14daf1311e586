"""`harmonia clock plot`: how a clock stood, in one picture."""

import csv
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from harmonia.cli.common import data_option, echo_json, find_clock_log, json_option
from harmonia.cli.watching import WATCH_S
from harmonia.client.clock_log import ClockLog
from harmonia.client.restamp import era_at, eras
from harmonia.errors import BadInput, NotFound, StorageError

REPLAY_COLUMNS = ("t4", "offset_before", "bound_ns", "uncertainty_ns", "rate_ppb")
WORDS = {
    "locked": "locked",
    "acquiring": "unlocked",
    "holdover": "holdover",
    "unsynchronised": "unsynchronised",
    "reset": "set anew",
    "step": "step",
    "offset": "offset",
    "opt_out": "opts out",
    "opt_in": "opts in",
    "disconnected": "no sanctuary",
    "connected": "sanctuary back",
}


@dataclass(slots=True)
class Course:
    """What a picture shows. Times in s from the beginning; the rest in ns and ppb."""

    title: str
    reference: str
    """What the offset is drawn against."""
    times_s: list[float] = field(default_factory=list)
    errors_ns: list[float] = field(default_factory=list)
    """The live clock's offset against the reference."""
    bounds_ns: list[float] = field(default_factory=list)
    uncertainties_ns: list[float] = field(default_factory=list)
    rates_ppb: list[float] = field(default_factory=list)
    delays: list[tuple[float, float]] = field(default_factory=list)
    """Each exchange's instant, s, and round trip, ns."""
    events: list[tuple[float, str]] = field(default_factory=list)


@click.command()
@data_option
@click.option(
    "--log", "log_path", type=click.Path(path_type=Path, dir_okay=False), help="A clock log (join --clock-log)."
)
@click.option("--sleeper", help="The log of this sleeper of this machine (join --log-clock).")
@click.option(
    "--replay",
    "replay_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="What `harmonia clock replay` wrote, in place of a log.",
)
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The PNG file to write.")
@json_option
@click.option("--watch", is_flag=True, help="Draw it again every second, until Ctrl-C.")
def plot(
    data_dir: Path,
    log_path: Path | None,
    sleeper: str | None,
    replay_path: Path | None,
    output: Path,
    as_json: bool,
    watch: bool,
) -> None:
    """Draw a clock's night: offset within its bound, frequency, and the delays of its exchanges, over time.

    Without --log, --sleeper or --replay: the newest log of the sleepers of this machine.
    """
    if sum(given is not None for given in (log_path, sleeper, replay_path)) > 1:
        raise click.UsageError("--log, --sleeper and --replay are three ways to say the same; give one.")
    if replay_path is None and log_path is None:
        log_path = find_clock_log(data_dir, sleeper)
    import time

    from harmonia.cli.clock_picture import draw

    while True:
        course = course_of_replay(replay_path) if replay_path is not None else course_of_log(_read(log_path))
        try:
            draw(output, course)
        except OSError as error:
            raise StorageError(f"cannot write {output}: {error.strerror}") from None
        said = summary(course)
        if as_json:
            echo_json({"output": str(output), **said})
        else:
            click.echo(
                f"{output}: {said['duration_s']:.0f} s, bound {said['bound_us_p50']:.1f} µs (median), "
                f"{len(course.delays)} exchanges, {len(course.events)} events"
            )
        if not watch:
            return
        time.sleep(WATCH_S)


def _read(path: Path | None) -> ClockLog:
    assert path is not None, "chosen above"
    return ClockLog.load(path)


def summary(course: Course) -> dict[str, Any]:
    """The picture in numbers."""
    bounds = sorted(course.bounds_ns)
    return {
        "duration_s": round(course.times_s[-1] - course.times_s[0], 3),
        "points": len(course.times_s),
        "exchanges": len(course.delays),
        "bound_us_p50": round(bounds[len(bounds) // 2] / 1e3, 3),
        "round_trip_us_min": round(min((ns for _, ns in course.delays), default=0) / 1e3, 3),
        "events": [{"at_s": round(at_s, 3), "event": word} for at_s, word in course.events],
    }


def course_of_log(log: ClockLog) -> Course:
    """The course of a logged clock, against what is known of it once the night is over."""
    night = eras(log.exchanges, log.max_drift_ppb, log.max_wander)
    readings = [one for one in log.readings if one.state != "unsynchronised"]
    if not night or not readings:
        raise BadInput(f"{log.path} holds no exchange yet: the platform has not heard its sanctuary")
    begin_ns = readings[0].platform_ns
    course = Course(
        f"Clock of {log.header.get('sleeper_id', 'a platform')}", "the estimate from both sides, after the night"
    )
    for one in readings:
        era, _ = era_at(night, one.platform_ns)
        course.times_s.append((one.platform_ns - begin_ns) / 1e9)
        course.errors_ns.append(float(one.node_ns - era.at(one.platform_ns).node_ns))
        course.bounds_ns.append(float(one.bound_ns))
        course.uncertainties_ns.append(float(one.uncertainty_ns))
        course.rates_ppb.append(float(one.rate_ppb))
    course.delays = [((one.t4_ns - begin_ns) / 1e9, float(one.round_trip_ns)) for one in log.exchanges]
    course.events = [
        ((one.platform_ns - begin_ns) / 1e9, WORDS[one.event]) for one in log.happenings if one.event in WORDS
    ]
    return course


def course_of_replay(path: Path) -> Course:
    """The course of a replayed clock, against the straight line that fits it best. Raises as ``FILE:LINE: reason``."""
    import numpy as np

    rows: list[list[float]] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file)
            missing = [name for name in REPLAY_COLUMNS if name not in (table.fieldnames or ())]
            if missing:
                raise BadInput(f"{path}:1: no column {missing[0]!r}; `harmonia clock replay` writes such a file")
            for row in table:
                try:
                    rows.append([float(int(row[name])) for name in REPLAY_COLUMNS])
                except (TypeError, ValueError):
                    raise BadInput(f"{path}:{table.line_num}: integers are expected in each column") from None
    except FileNotFoundError:
        raise NotFound(f"{path}: no such file") from None
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadInput(f"{path}: not UTF-8 text; `harmonia clock replay` writes such a file") from None
    # The first rows show a clock that knows nothing yet.
    known = [row for row in rows if row[2] < 1e18]
    if len(known) < 2:
        raise BadInput(f"{path}: two rows with a bound are the least that can be drawn")
    t4, offsets, bounds, uncertainties, rates = np.array(known).T
    times_s = (t4 - t4[0]) / 1e9
    line = np.polyfit(times_s, offsets - offsets[0], 1)
    errors = offsets - offsets[0] - np.polyval(line, times_s)
    return Course(
        f"Replay {path.name}",
        f"the straight line that fits it best ({line[0] / 1e3:+.3f} ppm)",
        times_s.tolist(),
        errors.tolist(),
        bounds.tolist(),
        uncertainties.tolist(),
        rates.tolist(),
    )
