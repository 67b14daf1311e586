"""`python -m sim.nights`: plays nights, one after the other, and says what was seen.

Exit code 1 if an invariant did not hold; then the shortest list of acts that still breaks it is printed.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

from sim.nights.mistakes import MISTAKES
from sim.nights.plot import Act, draw
from sim.nights.stage import Played, play

ON_DISK_EVERY = 50
"""Every so many nights one is played with the SQLite journal."""
ACTS = 60


@dataclass
class Summary:
    """What all nights together came to."""

    seed: int
    nights: int = 0
    on_disk: int = 0
    events: int = 0
    checked: int = 0
    lives: int = 0
    digest: str = ""
    """Over the digests of all nights."""
    broken: list[Played] = field(default_factory=list)


def night(seed: int, number: int, acts: int = ACTS) -> tuple[Played, list[Act], bool]:
    """The night of that number, what was to happen in it, and whether it was on disk."""
    own_seed, on_disk = seed * 1_000_003 + number, number % ON_DISK_EVERY == ON_DISK_EVERY - 1
    plot = draw(own_seed, acts)
    return play(own_seed, plot, on_disk=on_disk), plot, on_disk


def run(seed: int, count: int, acts: int = ACTS, *, show: bool = False) -> Summary:
    """Plays nights until all are played or one breaks an invariant."""
    total, trail = Summary(seed), hashlib.sha256()
    for number in range(count):
        played, plot, on_disk = night(seed, number, acts)
        trail.update(played.digest.encode())
        total.nights += 1
        total.on_disk += on_disk
        total.events += played.events
        total.checked += played.checked
        total.lives += played.lives
        if show:
            print(f"\r{bar(number + 1, count)} {total.events} events", end="", file=sys.stderr, flush=True)
        if played.broken:
            total.broken.append(played)
            print(f"\nnight {number} of seed {seed}, after {played.at} acts: {played.broken}", file=sys.stderr)
            for act in shortest(played, plot, on_disk):
                print(f"  {act}", file=sys.stderr)
            break
    if show:
        print(file=sys.stderr)
    total.digest = trail.hexdigest()
    return total


def shortest(played: Played, plot: Sequence[Act], on_disk: bool = False) -> list[Act]:
    """The fewest acts that were found to break what ``played`` broke: none of them can be left out."""
    acts, kind = list(plot[: played.at]), _kind(played)
    at = len(acts) - 1
    while at >= 0:
        fewer = acts[:at] + acts[at + 1 :]
        again = play(played.seed, fewer, on_disk=on_disk)
        if again.broken and _kind(again) == kind:
            acts = fewer[: again.at]
        at = min(at, len(acts)) - 1
    return acts


def _kind(played: Played) -> str:
    """Which invariant, whoever it was that it did not hold for."""
    return " ".join(word for word in played.broken.split() if not word.startswith(("sleeper-", "circle-")))


def bar(done: int, of: int) -> str:
    """How far it is."""
    filled = 30 * done // of
    return f"[{'=' * filled}{' ' * (30 - filled)}] {done}/{of}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Plays what was asked for; 1 if an invariant did not hold."""
    parser = argparse.ArgumentParser(prog="run.py nights", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=1000, help="how many nights (default 1000)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same nights (default 1)")
    parser.add_argument("--acts", type=int, default=ACTS, help=f"acts a night (default {ACTS})")
    parser.add_argument("--json", action="store_true", help="one JSON object in place of words")
    parser.add_argument("--mistake", choices=MISTAKES, help="with a bug in the engine: the nights have to find it")
    options = parser.parse_args(arguments)
    if options.count < 1 or options.acts < 1 or options.seed < 0:
        parser.error("nights and acts are counted from 1, and no seed is negative")
    with MISTAKES[options.mistake]() if options.mistake else nullcontext():
        total = run(options.seed, options.count, options.acts, show=sys.stderr.isatty())
    if options.json:
        print(json.dumps({**vars(total), "broken": [one.broken for one in total.broken]}))
    else:
        print(
            f"{total.nights} nights ({total.on_disk} on SQLite), {total.events} events, {total.lives} lives,"
            f" {total.checked} invariants checked, {len(total.broken)} broken\ndigest {total.digest}"
        )
    return int(bool(total.broken))


if __name__ == "__main__":
    sys.exit(main())
