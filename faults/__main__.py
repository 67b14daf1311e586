"""`python -m faults`: breaks a sanctuary on purpose, by death, power cut or failing disk, and says what was lost.

Exit code 1 if an acknowledged change was lost, if one appeared that nobody asked for, or if the campaign did not reach
what it was to reach.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from faults import kills, power
from harmonia.failpoints import NAMES

SHOWN_MAX = 20


def main() -> int:
    """Runs the campaigns that were asked for."""
    parser = argparse.ArgumentParser(prog="run.py faults", description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=0, metavar="N", help="kill -9 a real daemon so often")
    parser.add_argument("--at", action="append", metavar="NAME", help="only at this failpoint; may be repeated")
    parser.add_argument("--power-cuts", type=int, default=0, metavar="N", help="cut a journal's power so often")
    parser.add_argument("--disk-errors", action="store_true", help="let every single call of a short life fail")
    parser.add_argument(
        "--control", action="store_true", help="acknowledge before committing, do not sync: must lose something"
    )
    parser.add_argument("--seed", type=int, default=1, help="of what happens (1)")
    parser.add_argument("--json", action="store_true", help="everything, as one JSON object")
    options = parser.parse_args()
    if min(options.kills, options.power_cuts) < 0 or not (options.kills or options.power_cuts or options.disk_errors):
        parser.error("nothing to do: give --kills N, --power-cuts N or --disk-errors")
    if unknown := sorted(set(options.at or ()) - NAMES):
        parser.error(f"there is no failpoint {unknown[0][:80]!r}; there are {', '.join(sorted(NAMES))}")
    found: dict[str, Any] = {"seed": options.seed}
    with tempfile.TemporaryDirectory(prefix="harmonia-faults-") as name:
        folder, began = Path(name), time.monotonic()
        if options.kills:
            module = "faults.hasty" if options.control else "harmonia.cli"
            found["kills"] = kills.run(folder, options.kills, options.seed, options.at, module).as_json()
        if options.power_cuts:
            cuts = power.run(folder, options.power_cuts, options.seed, unsynced=options.control)
            found["power_cuts"] = cuts.as_json()
        if options.disk_errors:
            found["disk_errors"] = power.faults_everywhere(folder).as_json()
        found["seconds"] = round(time.monotonic() - began, 1)
    lost = [f"{name}: {words}" for name, part in found.items() if isinstance(part, dict) for words in part["lost"]]
    missed = found.get("kills", {}).get("missed", [])
    if options.json:
        print(json.dumps(found))
    else:
        _show(found)
        for words in (*lost[:SHOWN_MAX], *(f"not reached: {name}" for name in missed)):
            print(f"  {words}")
        if len(lost) > SHOWN_MAX:
            print(f"  and {len(lost) - SHOWN_MAX} more")
    return int(bool(lost or missed))


def _show(found: dict[str, Any]) -> None:
    seed, seconds = found["seed"], found["seconds"]
    for name, part in found.items():
        if isinstance(part, dict):
            figures = ", ".join(f"{n.replace('_', ' ')} {v}" for n, v in part.items() if isinstance(v, int))
            print(f"{name.replace('_', ' ')}: {figures}, lost {len(part['lost'])}")
    print(f"seed {seed}, {seconds} s")


if __name__ == "__main__":
    sys.exit(main())
