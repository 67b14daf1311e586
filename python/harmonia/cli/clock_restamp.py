"""`harmonia clock restamp`: a study's data, from the platform's clock to the sanctuary's."""

import csv
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import click

from harmonia.cli.common import echo_json, json_option
from harmonia.client.clock_log import ClockLog, Reading
from harmonia.client.restamp import Era, era_at, eras
from harmonia.errors import BadInput, NotFound, StorageError

UNITS_NS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9}
ADDED = ("node_ns", "bound_ns", "uncertainty_ns")


@click.command()
@click.argument("log_path", metavar="LOG", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("data_path", metavar="DATA.csv", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--column", default="t", show_default=True, help="The column that holds the time.")
@click.option("--unit", type=click.Choice(list(UNITS_NS)), default="ns", show_default=True, help="Its unit.")
@click.option(
    "--clock",
    "clock_name",
    type=click.Choice(["platform", "raw"]),
    default="platform",
    show_default=True,
    help="The clock that stamped the data: the platform's, or the machine's CLOCK_MONOTONIC_RAW.",
)
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The CSV file to write.")
@click.option("--extrapolate", is_flag=True, help="Beyond the log, too, where only the largest drift limits the bound.")
@json_option
def restamp(
    log_path: Path,
    data_path: Path,
    column: str,
    unit: str,
    clock_name: str,
    output: Path,
    extrapolate: bool,
    as_json: bool,
) -> None:
    """Re-stamp a study's data after the night: DATA.csv with node time and its bound in every row.

    Each instant is bounded from both sides, by the exchanges before and after it, so this is better than what the
    platform knew that night. The columns node_ns, bound_ns (the largest possible error, whatever the network did) and
    uncertainty_ns (99 % of errors, if both ways are alike) are added at the end of every row.
    """
    log = ClockLog.load(log_path)
    night = eras(log.exchanges, log.max_drift_ppb, log.max_wander)
    if not night:
        raise BadInput(f"{log_path} holds no exchange: the platform never heard its sanctuary")
    if output.exists() and any(output.samefile(path) for path in (log_path, data_path) if path.exists()):
        raise BadInput(f"--output {output} would overwrite what is read; name another file")
    to_platform = _from_raw(log.readings) if clock_name == "raw" else int
    bounds_ns: list[int] = []

    def rows() -> Iterator[list[str]]:
        for number, row, given_ns in _read(data_path, column, UNITS_NS[unit]):
            if given_ns is None:
                yield [*row, *ADDED]
                continue
            platform_ns = to_platform(given_ns)
            _check(data_path, number, night, platform_ns, extrapolate)
            era, _ = era_at(night, platform_ns)
            found = era.at(platform_ns)
            bounds_ns.append(found.bound_ns)
            yield [*row, str(found.node_ns), str(found.bound_ns), str(found.uncertainty_ns)]

    _write(output, rows())
    largest_ns = max(bounds_ns, default=0)
    if as_json:
        echo_json({"output": str(output), "rows": len(bounds_ns), "bound_ns_max": largest_ns, "eras": len(night)})
    else:
        click.echo(f"{output}: {len(bounds_ns)} rows, each within {largest_ns / 1e3:.1f} µs of node time for certain")


def _check(path: Path, number: int, night: Sequence[Era], platform_ns: int, extrapolate: bool) -> None:
    era, inside = era_at(night, platform_ns)
    if inside or extrapolate:
        return
    first, last = night[0].first_ns, night[-1].last_ns
    if first < platform_ns < last:
        where = "lies where the clock was set anew, between two eras of the log"
    else:
        away_s = max(era.first_ns - platform_ns, platform_ns - era.last_ns) / 1e9
        where = (
            f"is {away_s:.3f} s {'before the first' if platform_ns < first else 'after the last'} exchange of the log"
        )
    raise BadInput(
        f"{path}:{number}: {platform_ns} ns {where} ({first} to {last} ns), which certifies nothing there; leave the "
        "row out, check --unit and --clock, or say --extrapolate"
    )


def _from_raw(readings: Sequence[Reading]) -> Callable[[int], int]:
    """Raw to platform time, exactly linear between the log's readings and beyond them."""
    if not readings:
        raise BadInput("the log has no reading that relates the raw clock to the platform's; use --clock platform")
    raws = [one.raw_ns for one in readings]

    def convert(raw_ns: int) -> int:
        if len(readings) == 1:
            return raw_ns + readings[0].platform_ns - readings[0].raw_ns
        after = min(max(bisect_right(raws, raw_ns), 1), len(readings) - 1)
        a, b = readings[after - 1], readings[after]
        span = max(b.raw_ns - a.raw_ns, 1)
        return a.platform_ns + (raw_ns - a.raw_ns) * (b.platform_ns - a.platform_ns) // span

    return convert


def _read(path: Path, column: str, unit_ns: int) -> Iterator[tuple[int, list[str], int | None]]:
    """Line number, row, and the time in it; None for the header. Raises as ``FILE:LINE: reason``."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.reader(file)
            header = next(table, [])
            if column not in header:
                raise BadInput(f"{path}:1: no column {column!r}; there are: {', '.join(header) or 'none'}")
            taken = [name for name in ADDED if name in header]
            if taken:
                raise BadInput(f"{path}:1: there is a column {taken[0]!r} already; rename it")
            index = header.index(column)
            yield 1, header, None
            for row in table:
                if row:
                    yield table.line_num, row, _instant_ns(path, table.line_num, row, header, index, unit_ns)
    except FileNotFoundError:
        raise NotFound(f"{path}: no such file") from None
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{path}: this is no CSV file in UTF-8 ({error})") from None


def _instant_ns(path: Path, number: int, row: list[str], header: list[str], index: int, unit_ns: int) -> int:
    if len(row) != len(header):
        raise BadInput(f"{path}:{number}: {len(row)} columns, but the header has {len(header)}")
    try:
        # Decimal, because a night's nanoseconds do not fit into a float.
        ns = Decimal(row[index].strip()) * unit_ns
        if not ns.is_finite() or abs(ns) >= 1 << 62:
            raise InvalidOperation
    except InvalidOperation:
        raise BadInput(f"{path}:{number}: {row[index]!r} in column {header[index]!r} is no time") from None
    return round(ns)


def _write(output: Path, rows: Iterator[Any]) -> None:
    """Writes all or nothing. Raises StorageError."""
    part = output.with_name(f".{output.name}.part")
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)
        part.replace(output)
    except OSError as error:
        raise StorageError(f"cannot write {output}: {error.strerror}") from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
