"""A daemon that follows others says whom, how closely, and what is wrong with a source that cannot be meant."""

import subprocess
import sys
from pathlib import Path

import pytest

from harmonia import errors
from harmonia.rpc.server import serve
from harmonia.v1 import sanctuary_pb2, types_pb2
from tests.rpc.daemon import PATIENCE_S, Outside

_core = pytest.importorskip("harmonia._core")

SERVE = """
import sys
from pathlib import Path
from harmonia.rpc.server import serve
folder, *upstreams = sys.argv[1:]
serve(Path(folder), port=0, upstreams=tuple(upstreams), on_ready=lambda place: print(place.grpc_port, flush=True))
"""


def test_tracking_shows_what_is_followed(tmp_path: Path) -> None:
    (tmp_path / "house").mkdir()
    root = _core.Node("127.0.0.1", 0, str(tmp_path / "root"))
    source = f"127.0.0.1:{root.port}"
    command = [sys.executable, "-c", SERVE, str(tmp_path / "house"), source]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as served:
        assert served.stdout is not None
        outside = Outside(f"127.0.0.1:{int(served.stdout.readline())}", tmp_path / "house")
        tracking = outside.sanctuaries.GetTracking(sanctuary_pb2.GetTrackingRequest())
        before_ns = root.node_time_ns()
        now_ns = outside.sanctuaries.GetTracking(sanctuary_pb2.GetTrackingRequest()).node_time_ns
        after_ns = root.node_time_ns()
        served.terminate()
        assert served.wait(PATIENCE_S) == 0
    assert tracking.lock_state == types_pb2.LOCK_STATE_LOCKED
    assert (tracking.stratum, tracking.refid, tracking.steps_left) == (11, root.clock_id >> 32, 0)
    assert 0 < tracking.bound_ns < 1_000_000_000
    assert before_ns - tracking.bound_ns <= now_ns <= after_ns + tracking.bound_ns
    (one,) = tracking.sources
    assert (one.name, one.address, one.clock_id) == (source, source, root.clock_id)
    assert one.state == sanctuary_pb2.SOURCE_STATE_SELECTED
    assert one.exchanges >= 6
    root.close()


def test_a_clock_that_follows_nobody_is_the_root_of_its_time(tmp_path: Path) -> None:
    node = _core.Node("127.0.0.1", 0, str(tmp_path / "clock"))
    tracking = node.tracking()
    assert (tracking.stratum, tracking.refid.to_bytes(4, "big"), tracking.bound_ns) == (10, b"LOCL", 0)
    assert node.sources() == []
    node.close()


def test_a_source_that_cannot_be_meant_is_said(tmp_path: Path) -> None:
    with pytest.raises(errors.BadInput, match="HOST:PORT"):
        serve(tmp_path, port=0, upstreams=("ntp.example.org:port",))
