"""`clock restamp`, `clock plot`, `sources`, `waitsync`: what they read, what they refuse, and where."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from harmonia.cli.clock_plot import course_of_log, course_of_replay
from harmonia.cli.sources import _line, platform_source
from harmonia.cli.waitsync import Seen, _Length
from harmonia.client import LockState, Source
from harmonia.client.clock_log import ClockLog
from harmonia.client.views import refid_text
from tests.cli.conftest import Run
from tests.client.test_clock_log import HEADER, INSTANT

S = 10**9
PNG = b"\x89PNG\r\n\x1a\n"


def write_log(path: Path, seconds: int = 30, *, era_after: int | None = None, displaced_ns: int = 0) -> Path:
    """A platform whose clock is 1000 s behind its node's, on a path of 100 µs each way."""
    lines: list[dict[str, Any]] = [HEADER]
    for second in range(100, 100 + seconds):
        t1, era = second * S, int(era_after is not None and second >= 100 + era_after)
        node = t1 + 1000 * S + era * 5 * S
        stamps = {"t1_ns": t1, "t2_ns": node + 100_000, "t3_ns": node + 110_000, "t4_ns": t1 + 210_000}
        lines.append({"event": "exchange", "number": second, "era": era, **stamps, "stamp_error_ns": 0})
        now = t1 + S // 2
        instant = {"raw_ns": now - displaced_ns, "platform_ns": now, "node_ns": node + S // 2}
        bounds = {"earliest_ns": node + S // 2 - 100_000, "latest_ns": node + S // 2 + 100_000}
        lines.append({"event": "reading", **instant, **bounds, "uncertainty_ns": 9, "rate_ppb": 5, "state": "locked"})
    lines.append({"event": "opt_out", **INSTANT, "platform_ns": 110 * S})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def restamp(harmonia: Run, folder: Path, rows: str, *options: str, **log: Any) -> tuple[int, list[list[str]], str]:
    write_log(folder / "night.jsonl", **log)
    (folder / "data.csv").write_text(rows)
    output = folder / "out.csv"
    code, _, err = harmonia(
        "clock", "restamp", str(folder / "night.jsonl"), str(folder / "data.csv"), "--output", str(output), *options
    )
    return code, list(csv.reader(output.open())) if output.exists() else [], err


def test_every_row_gets_its_node_time_and_bound(harmonia: Run, tmp_path: Path) -> None:
    code, rows, err = restamp(harmonia, tmp_path, f't,breath\n{110 * S},"in, deep"\n{110 * S + 7},out\n')
    assert (code, err) == (0, "")
    assert rows[0] == ["t", "breath", "node_ns", "bound_ns", "uncertainty_ns"]
    assert [row[1] for row in rows[1:]] == ["in, deep", "out"]
    for row, given in zip(rows[1:], (110 * S, 110 * S + 7), strict=True):
        assert abs(int(row[2]) - given - 1000 * S) <= 1000
        assert 95_000 <= int(row[3]) <= 110_000
        assert int(row[4]) <= int(row[3])


def test_units_columns_and_the_raw_clock(harmonia: Run, tmp_path: Path) -> None:
    options = ("--column", "when", "--unit", "s", "--clock", "raw")
    code, rows, _ = restamp(harmonia, tmp_path, "a,when\n0,107.000000001\n", *options, displaced_ns=3 * S)
    assert code == 0
    assert abs(int(rows[1][2]) - (1110 * S + 1)) <= 1000


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (f"t\n{110 * S}\nsoon\n", "data.csv:3: 'soon' in column 't' is no time"),
        (f"t\n{110 * S}\nnan\n", "data.csv:3: 'nan'"),
        (f"t,b\n{110 * S},1\n{110 * S}\n", "data.csv:3: 1 columns, but the header has 2"),
        ("x\n1\n", "data.csv:1: no column 't'; there are: x"),
        ("", "data.csv:1: no column 't'; there are: none"),
        ("t,node_ns\n1,1\n", "data.csv:1: there is a column 'node_ns' already"),
        (f"t\n{99 * S}\n", "data.csv:2: 99000000000 ns is 1.000 s before the first exchange"),
        (f"t\n{140 * S}\n", "after the last exchange of the log"),
    ],
)
def test_what_cannot_be_stamped_is_refused_at_its_line_and_nothing_is_written(
    harmonia: Run, tmp_path: Path, rows: str, reason: str
) -> None:
    code, written, err = restamp(harmonia, tmp_path, rows)
    assert (code, written) == (2, [])
    assert reason in err
    assert err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.csv", "night.jsonl"]


def test_beyond_the_log_the_bound_grows_with_the_drift_if_asked_for(harmonia: Run, tmp_path: Path) -> None:
    code, rows, _ = restamp(harmonia, tmp_path, f"t\n{139 * S}\n", "--extrapolate")
    assert code == 0
    assert int(rows[1][2]) == pytest.approx(10 * 500_000, rel=0.1)


def test_between_two_eras_nothing_is_certified(harmonia: Run, tmp_path: Path) -> None:
    code, _, err = restamp(harmonia, tmp_path, f"t\n{114 * S + S // 2}\n", era_after=15)
    assert code == 2
    assert "between two eras" in err


def test_what_is_read_is_not_overwritten(harmonia: Run, tmp_path: Path) -> None:
    log = write_log(tmp_path / "night.jsonl")
    data = tmp_path / "data.csv"
    data.write_text(f"t\n{110 * S}\n")
    code, _, err = harmonia("clock", "restamp", str(log), str(data), "--output", str(data))
    assert code == 2
    assert "overwrite" in err
    assert data.read_text() == f"t\n{110 * S}\n"


def test_a_log_becomes_a_picture_of_what_it_holds(harmonia: Run, tmp_path: Path) -> None:
    log = write_log(tmp_path / "night.jsonl")
    course = course_of_log(ClockLog.load(log))
    assert course.bounds_ns == [100_000] * 30
    assert max(map(abs, course.errors_ns)) <= 1000
    assert {trip for _, trip in course.delays} == {200_000}
    assert [word for _, word in course.events] == ["opts out"]
    output = tmp_path / "night.png"
    code, out, _ = harmonia("clock", "plot", "--log", str(log), "--output", str(output), "--json")
    assert code == 0
    assert json.loads(out)["round_trip_us_min"] == 200
    assert output.read_bytes().startswith(PNG)


def test_a_replay_becomes_a_picture(harmonia: Run, tmp_path: Path) -> None:
    replay = tmp_path / "replay.csv"
    rows = [f"{s * S},{1000 + 50 * s + s % 2},{10**6 - s},{10**4},50" for s in range(1, 60)]
    rows.insert(0, f"0,0,{2**63 - 1},{2**63 - 1},0")
    replay.write_text("t4,offset_before,bound_ns,uncertainty_ns,rate_ppb\n" + "\n".join(rows) + "\n")
    course = course_of_replay(replay)
    assert len(course.times_s) == 59
    assert max(map(abs, course.errors_ns)) <= 1
    output = tmp_path / "replay.png"
    assert harmonia("clock", "plot", "--replay", str(replay), "--output", str(output))[0] == 0
    assert output.read_bytes().startswith(PNG)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("a,b\n1,2\n", ":1: no column 't4'"), ("t4,offset_before,bound_ns,uncertainty_ns,rate_ppb\n1,2,x,4,5\n", ":2: ")],
)
def test_what_is_no_replay_is_refused(harmonia: Run, tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "r.csv").write_text(text)
    code, _, err = harmonia("clock", "plot", "--replay", str(tmp_path / "r.csv"), "--output", str(tmp_path / "r.png"))
    assert code == 2
    assert reason in err


def test_a_picture_of_nothing_says_where_logs_come_from(harmonia: Run, tmp_path: Path) -> None:
    code, _, err = harmonia("clock", "plot", "--data", str(tmp_path), "--output", str(tmp_path / "x.png"))
    assert code == 3
    assert "--log-clock" in err


def test_a_platforms_one_source_is_read_from_its_log(harmonia: Run, tmp_path: Path) -> None:
    log = write_log(tmp_path / "night.jsonl")
    seen = platform_source(ClockLog.load(log))
    assert seen["state"] == "selected"
    assert seen["reach"] == 0b1111_1111
    assert seen["delay_ns"] == 200_000
    assert seen["bound_ns"] == 100_000
    assert abs(seen["offset_ns"]) <= 1000
    code, out, _ = harmonia("sources", "--log", str(log), "-v")
    assert code == 0
    assert "falseticker: disagrees with the majority" in out
    assert "########" in out
    assert "± if drift stays within 500 ppm and changes by at most 1e-07/s" in out


def test_a_source_is_a_line_that_says_what_became_of_it() -> None:
    from dataclasses import asdict

    source = Source("ntp.house", "192.0.2.1:123", "falseticker", 0, 2, "GPS", -3_500_000, 900_000, 9_000, 2_000_000, 5,
                    0b101, 17, 1_500_000_000, "", False, 0, 0, 500_000, 1e-7)  # fmt: skip
    line = _line(asdict(source))
    assert line.startswith("x ntp.house ")
    assert ".....#.#" in line
    assert "-3500.0 µs ± 900.0 µs" in line
    assert "2.00 ms" in line
    assert " - " in line
    assert " no " in _line({**asdict(source), "name": "nts://ntp.house"})
    assert " yes 7 " in _line({**asdict(source), "name": "nts://ntp.house", "authenticated": True, "cookies": 7})


@pytest.mark.parametrize(
    ("refid", "text"), [(0x4C4F434C, "LOCL"), (0x47505300, "GPS"), (0xC0000201, "192.0.2.1"), (0, "")]
)
def test_reference_identifiers_are_letters_or_addresses(refid: int, text: str) -> None:
    assert refid_text(refid) == text


@pytest.mark.parametrize(("text", "ns"), [("1ms", 10**6), ("250us", 250_000), ("0.5 s", S // 2), ("7ns", 7)])
def test_a_largest_error_has_a_unit(text: str, ns: int) -> None:
    assert _Length().convert(text, None, None) == ns


@pytest.mark.parametrize("text", ["1", "ms", "-1ms", "0ms", "1 h", "1e3ms", "nan s"])
def test_a_largest_error_without_one_is_refused(harmonia: Run, tmp_path: Path, text: str) -> None:
    code, _, err = harmonia("waitsync", "--data", str(tmp_path), "--max-error", text)
    assert code == 2
    assert "write for instance 1ms" in err


def test_only_a_trusted_clock_is_within_an_error() -> None:
    assert Seen("a", LockState.LOCKED, 1000).within(1000)
    assert Seen("a", LockState.HOLDOVER, 1000).within(1000)
    assert not Seen("a", LockState.LOCKED, 1001).within(1000)
    assert not Seen("a", LockState.ACQUIRING, 1).within(1000)
    assert not Seen("a", LockState.LOCKED, 1, heard=False).within(1000)
