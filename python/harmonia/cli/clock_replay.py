"""`harmonia clock replay`: what the clock's own session makes of recorded exchanges."""

import json
from pathlib import Path
from typing import Any

import click

from harmonia import _core, errors
from harmonia.cli.common import json_option


@click.command()
@click.argument("trace", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The replay, as CSV.")
@click.option(
    "--max-drift-ppm",
    type=click.FloatRange(0, 100_000),
    default=200.0,
    show_default=True,
    help="Largest frequency difference of the two clocks: bounds rest on it.",
)
@click.option(
    "--max-wander",
    type=click.FloatRange(0, 1e-3),
    default=3e-8,
    show_default=True,
    help="Largest change of that difference in a second (3e-8: 0.03 ppm): bounds rest on it.",
)
@json_option
def replay(trace: Path, output: Path, max_drift_ppm: float, max_wander: float, as_json: bool) -> None:
    """Replay recorded exchanges through the session that platforms run.

    TRACE is CSV with the header t1,t2,t3,t4 and a row for each exchange, in integer nanoseconds: t1 and t4 on the
    platform's free-running clock, t2 and t3 on the node's. The replay has the columns t4, offset_before, bound_ns,
    uncertainty_ns, rate_ppb: what the disciplined clock showed at t4 just before that exchange was used. Nothing looks
    ahead: the first n rows in give the first n rows out.
    """
    try:
        text = trace.read_text()
    except FileNotFoundError:
        raise errors.NotFound(f"there is no file {trace}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise errors.BadInput(f"{trace} cannot be read as text: {error}") from None
    try:
        rows, summary_json = _core.replay_trace(text, str(trace), round(max_drift_ppm * 1000), max_wander)
    except ValueError as error:
        raise errors.BadInput(str(error)) from None
    try:
        output.write_text(rows)
    except OSError as error:
        raise errors.BadInput(f"{output} cannot be written: {error.strerror}") from None
    if as_json:
        click.echo(json.dumps({**json.loads(summary_json), "output": str(output)}))
        return
    _print(json.loads(summary_json), output)


def _print(summary: dict[str, Any], output: Path) -> None:
    click.echo(f"{output}: {summary['rows']} exchanges in {summary['duration_s']:.0f} s")
    if not summary["rows"]:
        return
    click.echo(f"  shortest round trip  {summary['round_trip_min_ns'] / 1e3:12.1f} µs")
    click.echo(
        f"  median bound         {summary['bound_median_ns'] / 1e3:12.1f} µs, if drift stays within"
        f" {summary['max_drift_ppm']:g} ppm and changes by at most {summary['max_wander']:g}/s"
    )
    click.echo(
        f"  median uncertainty   {summary['uncertainty_median_ns'] / 1e3:12.1f} µs, if delay floors are symmetric"
    )
    click.echo(f"  rate                 {summary['rate_ppb'] / 1e3:+12.3f} ppm")
    click.echo(f"  steps                {summary['steps']:12}")
    click.echo(f"  contradictions       {summary['contradictions']:12}")
