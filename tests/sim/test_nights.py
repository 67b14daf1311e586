"""A short slice of the simulated nights: all invariants hold, a seed repeats to the byte, and each bug is found."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sim.nights import __main__ as nights
from sim.nights.mistakes import MISTAKES
from sim.nights.plot import draw
from sim.nights.stage import play

ROOT = Path(__file__).resolve().parents[2]
FOUND_BY = {
    "unmute-before-reading": "sounds before the journal is read",
    "acknowledge-before-sync": "acknowledged withdrawal",
    "tie-to-yes": "VOICE",
    "ruling-lifts-gate": "was said to be 0.0",
    "stale-opt-out-dropped": "in use after a no",
    "last-in-line-first": "before who waited longer",
    "one-too-many": "where there is no room",
    "stays-on-roll": "was forgotten, and is here",
    "revoked-is-good": "or was, and may call",
    "presence-shows-all": "is named to a steward unasked",
    "winter-for-ever": "and should be",
    "left-out-is-made": "comes next",
    "waking-resets": "has offset 0",
}


def test_every_invariant_holds_after_every_event() -> None:
    total = nights.run(seed=20, count=5)
    assert [one.broken for one in total.broken] == []
    assert total.events > 250
    assert total.checked > 25 * total.events
    assert total.lives > 2 * total.nights, "sanctuaries die and start again"


def test_a_night_on_a_real_journal_is_the_same_night() -> None:
    plot = draw(7, 40)
    in_memory, on_disk = play(7, plot), play(7, plot, on_disk=True)
    assert on_disk.broken == ""
    assert on_disk.digest == in_memory.digest


def test_a_seed_is_a_night_to_the_byte_whatever_python_hashes_by() -> None:
    digests = set()
    for hash_seed in ("1", "2"):
        command = [sys.executable, "-m", "sim.nights", "--count", "2", "--seed", "3", "--json"]
        environment = dict(os.environ, PYTHONHASHSEED=hash_seed)
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        digests.add(json.loads(done.stdout)["digest"])
    assert len(digests) == 1
    assert nights.run(seed=3, count=2).digest in digests
    assert nights.run(seed=4, count=2).digest not in digests


@pytest.mark.parametrize("mistake", sorted(MISTAKES))
def test_each_bug_in_the_engine_is_found(mistake: str) -> None:
    with MISTAKES[mistake]():
        total = nights.run(seed=1, count=25)
    (found,) = total.broken
    assert FOUND_BY[mistake] in found.broken
    played, *_ = nights.night(1, total.nights - 1)
    assert played.broken == "", "without the bug the same night breaks nothing"


def test_a_failing_night_is_told_in_the_fewest_acts(capsys: pytest.CaptureFixture[str]) -> None:
    assert nights.main(["--count", "25", "--mistake", "ruling-lifts-gate", "--json"]) == 1
    out, err = capsys.readouterr()
    assert len(json.loads(out)["broken"]) == 1
    told = [line.split()[0] for line in err.splitlines() if line.startswith("  ")]
    assert told == ["circle", "join", "offer"]


@pytest.mark.parametrize("wrong", [["--count", "0"], ["--acts", "-1"], ["--seed", "-1"], ["--mistake", "none"]])
def test_bad_options_are_refused(wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        nights.main(wrong)
    assert ended.value.code == 2
