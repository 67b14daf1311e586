"""`python -m faults`: breaks a sanctuary on purpose, by sudden death or power cut, and says what was lost.

Exit code 1 if an acknowledged change was lost, if one appeared that nobody asked for, or if the campaign did not reach
what it was to reach.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from faults import kills


def main() -> int:
    """Runs the campaign that was asked for."""
    parser = argparse.ArgumentParser(prog="run.py faults", description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=0, metavar="N", help="kill -9 a real daemon so often")
    parser.add_argument("--at", action="append", metavar="NAME", help="only at this failpoint; may be repeated")
    parser.add_argument("--hasty", action="store_true", help="control: a daemon that acknowledges before it commits")
    parser.add_argument("--seed", type=int, default=1, help="of what happens (1)")
    parser.add_argument("--json", action="store_true", help="everything, as one JSON object")
    options = parser.parse_args()
    if options.kills < 1:
        parser.error("nothing to do: give --kills N")
    if unknown := sorted(set(options.at or ()) - kills.NAMES):
        parser.error(f"there is no failpoint {unknown[0]!r}; there are {', '.join(sorted(kills.NAMES))}")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="harmonia-faults-") as folder:
        module = "faults.hasty" if options.hasty else "harmonia.cli"
        report = kills.run(Path(folder), options.kills, options.seed, options.at, module)
    found = {**report.as_json(), "seed": options.seed, "seconds": round(time.monotonic() - began, 1)}
    if options.json:
        print(json.dumps(found))
    else:
        print(
            f"{found['kills']} kills at {found['failpoints']} places in {found['seconds']} s, seed {options.seed}:"
            f" {found['acknowledged']} changes acknowledged, {len(report.lost)} lost or not asked for;"
            f" of the unanswered, {report.kept} were kept and {report.undone} were not"
        )
        for words in (*report.lost[:20], *(f"not reached: {name}" for name in report.missed)):
            print(f"  {words}")
    return int(bool(report.lost or report.missed))


if __name__ == "__main__":
    sys.exit(main())
