"""Two sanctuaries over a link whose queues overflow agree within the bounds that they state.

Half a minute here; ten minutes with ``HARMONIA_NETNS_SECONDS=600 python3 run.py python -m pytest -s tests/netns -o
faulthandler_timeout=0``. The machine's raw clock, which
both share, is the truth that neither can see.
"""

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.netns import network

pytest.importorskip("harmonia._core")

SECONDS = float(os.environ.get("HARMONIA_NETNS_SECONDS", "25"))
AHEAD_NS = 1_500_000_000
"""The first sanctuary's clock is so far ahead of the machine's, so that agreement can only come over the link."""

NODE = """
import json, sys
from harmonia import _core
host, clock, *upstreams = sys.argv[1:]
node = _core.Node(host, 7117, clock, upstreams)
node.add_circle(1, 1, 1.0)
print(json.dumps({"port": node.port}), flush=True)
for _ in sys.stdin:
    line, t = node.anchor(), node.tracking()
    source = [{"state": s.state, "delay_ns": s.delay_ns} for s in node.sources()]
    said = {"line": line, "bound_ns": t.bound_ns, "lock_state": t.lock_state, "stratum": t.stratum, "id": t.clock_id}
    print(json.dumps(said | {"sources": source}), flush=True)
"""


class Sanctuary:
    """A node in a namespace of its own."""

    def __init__(self, side: network.Side, clock: Path, *upstreams: str) -> None:
        command = side.command(sys.executable, "-c", NODE, side.address, str(clock), *upstreams)
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._read()["port"] == 7117

    def _read(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def look(self) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self._read()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


def write_clock(path: Path) -> None:
    """A clock file whose clock is ahead of the machine's."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    raw_ns, node_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW), time.time_ns() + AHEAD_NS
    body = f"harmonia-clock-1 {77:016x} {boot} {raw_ns} {node_ns} 0 0"
    path.write_text(f"{body} {hashlib.sha256(body.encode()).hexdigest()[:16]}\n")


def test_they_agree_within_their_bounds(tmp_path: Path) -> None:
    reason = network.missing()
    if reason:
        pytest.skip(reason)
    with network.link() as (here, there), ExitStack() as closing:
        write_clock(tmp_path / "a")
        root = Sanctuary(here, tmp_path / "a")
        closing.callback(root.close)
        closing.enter_context(network.loaded((here, there), SECONDS + 30))
        follower = Sanctuary(there, tmp_path / "b", f"{here.address}:7117")
        closing.callback(follower.close)
        raw_ns, node_ns, rate_ppb = root.look()["line"]
        assert rate_ppb == 0
        pause, samples, errors_ns, bounds_ns = threading.Event(), 0, [], []
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            seen = follower.look()
            at_ns, shown_ns, _ = seen["line"]
            error_ns = shown_ns - (node_ns + at_ns - raw_ns)
            assert abs(error_ns) <= seen["bound_ns"], seen
            samples += 1
            errors_ns.append(abs(error_ns))
            bounds_ns.append(seen["bound_ns"])
            pause.wait(0.05)
        assert seen["lock_state"] == 3, seen
        assert (seen["stratum"], seen["sources"][0]["state"]) == (11, "selected")
        # A bound that says nothing would always hold: full queues are 30 ms each way, and a step was 1.5 s.
        assert sorted(bounds_ns)[samples // 2] < 100_000_000
        assert here.dropped() > 0
        assert there.dropped() > 0
        middle, most = sorted(errors_ns)[samples // 2] / 1e6, max(errors_ns) / 1e6
        print(
            f"{samples} looks: error median {middle:.3f} ms, largest {most:.3f} ms; "
            f"bound median {sorted(bounds_ns)[samples // 2] / 1e6:.3f} ms"
        )
