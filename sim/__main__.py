"""`python -m sim`: runs the scenarios, and prints what they show beside what peers reach.

The scenarios are Rust (rust/sim): a seeded network and clocks that drive the very sessions, selector and servo that
platforms run over sockets. This module builds and calls them, and makes a table. Exit code 1 if a limit is broken.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from sim.peers import RMS_US

ROOT = Path(__file__).resolve().parent.parent


def run(numbers: list[int], seeds: int, first: int = 1) -> list[dict[str, Any]]:
    """Runs scenarios (all if none is named); returns what each shows. Raises CalledProcessError if cargo fails."""
    command = ["cargo", "run", "--release", "--quiet", "--locked", "--package", "harmonia-sim", "--"]
    arguments = ["--seeds", str(seeds), "--first", str(first), *map(str, numbers)]
    done = subprocess.run([*command, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def broken(result: dict[str, Any]) -> list[str]:
    """Each limit that the scenario broke, in words."""
    return [
        f"{one['metric']} is {one['value']:.4g}, of {one['of']}; {one['rule']} {one['limit']:g}"
        for one in result["limits"]
        if not one["kept"]
    ]


def line(result: dict[str, Any]) -> str:
    """One row of the table."""
    metrics, number = result["metrics"], result["number"]
    figures = " " * 49
    if "rms_us" in metrics:
        figures = (
            f"{metrics['rms_us']:8.2f} {metrics['max_us']:9.1f} {metrics['bound_over_floor']:6.2f}"
            f" {100 * metrics['within_uncertainty']:6.1f} {metrics['uncertainty_over_rms']:5.1f}"
            f" {metrics['regression_rms_us']:9.1f} "
        )
    peers = ", ".join(f"{name} {value:g}" for name, value in RMS_US.get(number, {}).items())
    verdict = "ok" if not broken(result) else "BROKEN"
    return f"{number:3} {result['name']:36} {figures} {verdict:7}{peers}"


def main() -> int:
    """Runs what was asked for; 1 if a limit was broken."""
    parser = argparse.ArgumentParser(prog="run.py sim", description=__doc__.splitlines()[0])
    parser.add_argument("numbers", nargs="*", type=int, metavar="NUMBER", help="only these scenarios")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each (default 3); medians are shown")
    parser.add_argument("--first", type=int, default=1, help="the first seed (default 1)")
    parser.add_argument("--json", action="store_true", help="everything, as one JSON array")
    options = parser.parse_args()
    if options.seeds < 1 or options.first < 0 or any(number < 0 for number in options.numbers):
        parser.error("seeds are counted from 1, and nothing is negative")
    try:
        results = run(options.numbers, options.seeds, options.first)
    except subprocess.CalledProcessError as error:
        print(
            f"error: the simulator failed: `{' '.join(error.cmd[:7])}` ended with {error.returncode}", file=sys.stderr
        )
        return 1
    missing = set(options.numbers) - {result["number"] for result in results}
    if missing:
        parser.error(f"there is no scenario {min(missing)}")
    if options.json:
        print(json.dumps(results))
    else:
        print(f"{'':40} {'rms':>8} {'max':>9} {'bound/':>6} {'within':>6} {'unc./':>5} {'regres-':>9}")
        print(f"{'':40} {'us':>8} {'us':>9} {'floor':>6} {'%':>6} {'rms':>5} {'sion us':>9}          peers, rms us")
        for result in results:
            print(line(result))
            for words in broken(result):
                print(f"      {words}")
        print(f"\nMedians of {options.seeds} seeds. Peers: measured with clknetsim in the same worlds. Regression: 64")
        print("exchanges, weighted, over the very exchanges that the session had. In 64 to 69 any number is false.")
    return int(any(broken(result) for result in results))


if __name__ == "__main__":
    sys.exit(main())
