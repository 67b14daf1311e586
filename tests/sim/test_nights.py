"""A short slice of the simulated nights: all invariants hold, a seed repeats to the byte, and each bug is found."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sim.nights import __main__ as nights
from sim.nights.mistakes import MISTAKES
from sim.nights.plot import Act, draw
from sim.nights.stage import play

ROOT = Path(__file__).resolve().parents[2]
FOUND_BY = {
    "acknowledge-before-sync": "acknowledged withdrawal|said yes and stays mute",
    "ruling-lifts-gate": "was said to be 0.0",
}
"""Bugs of the model's, and what random nights say of each."""
FULL, PLANNED, DAILY = Act("circle", a=24), Act("circle", a=64, b=8192), Act("series", a=3, b=1 << 10 | 1 << 5)
COMES, WAITS, LONG = Act("join"), Act("join", a=1), Act("sleep-long", after_s=36_000)
STEWARD, WATCHES = Act("role", b=1), Act("office", b=4)
YES, NO, STALE_YES = Act("grant", b=1), Act("withdraw"), Act("grant", b=24)
SHOWN_BY = {
    "unmute-before-reading": ("sounds before the journal is read", [Act("circle"), COMES, YES, Act("crash")]),
    "stale-opt-out-dropped": ("was said to be 0.0", [Act("circle"), COMES, YES, NO, YES, NO]),
    "tie-to-yes": ("VOICE in use after a no", [Act("circle"), COMES, YES, NO, STALE_YES]),
    "last-in-line-first": ("before who waited longer", [FULL, COMES, WAITS, WAITS, Act("leave")]),
    "one-too-many": ("where there is no room", [FULL, COMES, COMES]),
    "stays-on-roll": ("was forgotten, and is here", [Act("circle"), COMES, Act("forget")]),
    "revoked-is-good": ("or was, and may call", [Act("circle"), STEWARD, Act("revoke"), WATCHES]),
    "presence-shows-all": ("to a steward unasked", [Act("circle"), COMES, STEWARD, Act("show", a=1), WATCHES]),
    "winter-for-ever": ("should be WAKING", [PLANNED, LONG]),
    "left-out-is-made": ("comes next", [Act("circle"), DAILY]),
    "waking-resets": ("has offset 0", [Act("circle"), COMES, Act("offset"), Act("awake", a=1)]),
}
"""Each of the other bugs, and the shortest night that shows it."""


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


def test_every_bug_is_looked_for() -> None:
    assert MISTAKES.keys() == FOUND_BY.keys() | SHOWN_BY.keys()


@pytest.mark.parametrize("mistake", SHOWN_BY)
def test_each_bug_is_seen_as_soon_as_it_happens(mistake: str) -> None:
    said, acts = SHOWN_BY[mistake]
    with MISTAKES[mistake]():
        played = play(1, acts)
    assert said in played.broken
    assert play(1, acts).broken == ""


@pytest.mark.parametrize("mistake", FOUND_BY)
def test_each_bug_in_the_engine_is_found(mistake: str) -> None:
    with MISTAKES[mistake]():
        total = nights.run(seed=1, count=25)
    (found,) = total.broken
    assert re.search(FOUND_BY[mistake], found.broken)
    played, *_ = nights.night(1, total.nights - 1)
    assert played.broken == "", "without the bug the same night breaks nothing"


def test_a_failing_night_is_told_in_the_fewest_acts(capsys: pytest.CaptureFixture[str]) -> None:
    assert nights.main(["--count", "25", "--mistake", "ruling-lifts-gate", "--json"]) == 1
    out, err = capsys.readouterr()
    assert len(json.loads(out)["broken"]) == 1
    told = [line.split()[0] for line in err.splitlines() if line.startswith("  ")]
    assert told[0] == "circle"
    plot = [Act("circle"), COMES, Act("offset"), Act("rest", after_s=60), Act("offer", a=1), Act("lead")]
    with MISTAKES["ruling-lifts-gate"]():
        few = nights.shortest(play(1, plot), plot)
    assert [act.kind for act in few] == ["circle", "join", "offer"]


@pytest.mark.parametrize("wrong", [["--count", "0"], ["--acts", "-1"], ["--seed", "-1"], ["--mistake", "none"]])
def test_bad_options_are_refused(wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        nights.main(wrong)
    assert ended.value.code == 2
