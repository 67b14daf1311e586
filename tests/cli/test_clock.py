"""`harmonia clock replay`: a faithful, causal replay, or one line that says what is wrong and where."""

import json
import random
from pathlib import Path

import pytest

from tests.cli.conftest import Run

HEADER = "t1,t2,t3,t4\n"
AHEAD_NS = 3_000_000_000


def rows(count: int, seed: int = 1) -> list[str]:
    """Exchanges over a path of 1 ms and 0.1 ms of jitter each way with a clock 40 ppm slow."""
    dice = random.Random(seed)
    made = []
    for i in range(count):
        t1 = i * 1_000_000_000
        up, down = (1_000_000 + int(dice.expovariate(1e-5)) for _ in range(2))
        node = t1 + AHEAD_NS + i * 40_000 + up
        made.append(f"{t1},{node},{node + 20_000},{t1 + up + 20_000 + down}\n")
    return made


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "trace.csv"
    path.write_text(HEADER + "".join(rows(300)))
    return path


def test_a_replay_has_a_row_an_exchange_and_finds_the_clock(harmonia: Run, trace: Path, tmp_path: Path) -> None:
    code, out, _ = harmonia("clock", "replay", str(trace), "--output", str(tmp_path / "out.csv"), "--json")
    summary = json.loads(out)
    assert code == 0
    assert summary["rows"] == 300 and summary["contradictions"] == 0
    assert abs(summary["rate_ppb"] - 40_000) < 500
    header, *lines = (tmp_path / "out.csv").read_text().splitlines()
    assert header == "t4,offset_before,bound_ns,uncertainty_ns,rate_ppb"
    t4, offset, bound, uncertainty, _ = (int(column) for column in lines[-1].split(","))
    assert t4 == int(rows(300)[-1].split(",")[3])
    error = offset - (AHEAD_NS + 299 * 40_000)
    assert abs(error) < uncertainty < 50_000 and 1_000_000 < bound < 1_250_000


def test_a_replay_does_not_look_ahead(harmonia: Run, trace: Path, tmp_path: Path) -> None:
    part, whole, first = tmp_path / "part.csv", tmp_path / "whole.csv", tmp_path / "first.csv"
    part.write_text(HEADER + "".join(rows(300)[:120]))
    assert harmonia("clock", "replay", str(trace), "--output", str(whole))[0] == 0
    assert harmonia("clock", "replay", str(part), "--output", str(first))[0] == 0
    assert whole.read_bytes().startswith(first.read_bytes())


def test_the_bound_grows_with_what_is_assumed(harmonia: Run, trace: Path, tmp_path: Path) -> None:
    bounds = []
    for wander in ("1e-9", "3e-8", "1e-6"):
        arguments = ("--output", str(tmp_path / "out.csv"), "--max-wander", wander, "--json")
        bounds.append(json.loads(harmonia("clock", "replay", str(trace), *arguments)[1])["bound_median_ns"])
    assert bounds == sorted(set(bounds))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ":1: the first line must be"),
        ("a,b\n", ":1: the first line must be"),
        (HEADER + "1,2,3\n", ":2: four columns are expected"),
        (HEADER + "0,1,2,3\n1,2,x,4\n", ":3: t3 must be whole nanoseconds"),
        (HEADER + "5,1,2,3\n", ":2: t4 must not be before t1"),
    ],
)
def test_a_bad_trace_is_refused_with_its_line(harmonia: Run, tmp_path: Path, text: str, expected: str) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text(text)
    code, out, err = harmonia("clock", "replay", str(bad), "--output", str(tmp_path / "out.csv"))
    assert (code, out) == (2, "")
    assert f"bad.csv{expected}" in err and err.count("\n") == 1
    assert not (tmp_path / "out.csv").exists()


def test_no_trace_is_not_found(harmonia: Run, tmp_path: Path) -> None:
    assert harmonia("clock", "replay", str(tmp_path / "none.csv"), "--output", str(tmp_path / "out.csv"))[0] == 3
