"""Opening, closing and opening again; watching; and each way in which opening can fail."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from grpc_health.v1 import health_pb2, health_pb2_grpc

from harmonia import errors
from harmonia.rpc import tls
from harmonia.v1 import circle_pb2, platform_pb2, rhythm_pb2, sanctuary_pb2, sanctuary_pb2_grpc, types_pb2
from tests.rpc.daemon import PATIENCE_S, Outside, daemon
from tests.rpc.test_doors import Code, refused


def test_the_first_start_makes_the_folder_and_the_second_keeps_it(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "house"
    with daemon(folder) as running:
        place = json.loads((folder / "sanctuary.json").read_text())
        assert place["grpc_port"] == running.daemon.place.grpc_port
        assert place["pid"] == os.getpid()
        kept = {name: (folder / name).read_bytes() for name in ("ca.pem", "ca.key", "server.pem", "admin.token")}
    for name in ("admin.token", "ca.key", "server.key", "journal.db"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600, name
    with daemon(folder) as running:
        assert {name: (folder / name).read_bytes() for name in kept} == kept
        assert running.daemon.place.sanctuary_id == place["sanctuary_id"]


def test_health_and_status_answer_everybody(tmp_path: Path) -> None:
    with daemon(tmp_path) as running:
        check = health_pb2_grpc.HealthStub(running.channel).Check
        assert check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.SERVING
        running.join(running.create().circle_id)
        status = running.sanctuaries.GetStatus(sanctuary_pb2.GetStatusRequest())
        assert (status.circles, status.sleepers, status.udp_port) == (1, 1, running.plane.port)
        assert running.sanctuaries.GetTracking(sanctuary_pb2.GetTrackingRequest()).clock_id == 1


def test_a_client_that_does_not_know_the_ca_is_not_served(tmp_path: Path) -> None:
    with daemon(tmp_path / "a") as running, daemon(tmp_path / "b") as other:
        wrong = grpc.ssl_channel_credentials((other.data_dir / "ca.pem").read_bytes())
        with grpc.secure_channel(running.address, wrong) as channel:
            status = sanctuary_pb2_grpc.SanctuaryServiceStub(channel).GetStatus
            with pytest.raises(grpc.RpcError) as caught:
                status(sanctuary_pb2.GetStatusRequest(), timeout=PATIENCE_S)
            assert caught.value.code() == Code.UNAVAILABLE


def test_everything_is_back_after_a_restart(tmp_path: Path) -> None:
    with daemon(tmp_path) as running:
        circle = running.create(gather_ns=0, night_ns=3600 * 10**9)
        guest = running.join(circle.circle_id)
        guest.grant(types_pb2.PURPOSE_VOICE)
        guest.set_offset(0.25)
        voice = [types_pb2.Coefficient(re=0.5), types_pb2.Coefficient(im=0.5)]
        guest.call("Platform", "SetVoice", platform_pb2.SetVoiceRequest(voice=voice))
        before = guest.attach().state
        assert before.circle.rhythm.segments
    with daemon(tmp_path) as again:
        assert guest.at(again).audible
        assert guest.at(again).attach().state == before


def test_watching_shows_the_newest_and_ends_with_the_circle(tmp_path: Path) -> None:
    with daemon(tmp_path) as running:
        circle_id = running.create().circle_id
        guest, shy = running.join(circle_id), running.join(circle_id)
        request = circle_pb2.WatchCircleRequest(circle_id=circle_id)
        host = running.circles.WatchCircle(request, metadata=running.admin)
        own = running.circles.WatchCircle(request, metadata=shy.signed("CircleService/WatchCircle"))
        platform = running.platforms.WatchPlatform(
            platform_pb2.WatchPlatformRequest(), metadata=guest.signed("PlatformService/WatchPlatform")
        )
        assert not next(host).sleepers
        assert [row.sleeper_id for row in next(own).sleepers] == [shy.answer.sleeper_id]
        assert next(platform).state.offset == 0
        guest.grant(types_pb2.PURPOSE_VISIBILITY)
        shy.grant(types_pb2.PURPOSE_PRESENCE)
        guest.set_offset(0.25)
        seen = next(view for view in host if view.sleepers and view.sleepers[0].offset and view.hidden)
        assert [row.sleeper_id for row in seen.sleepers] == [guest.answer.sleeper_id]
        assert (seen.hidden, seen.circle.sleepers) == (1, 2)
        assert seen.sleepers[0].muted
        members = next(view for view in own if len(view.sleepers) == 2)
        assert members.hidden == 0
        assert next(answer.state.offset for answer in platform if answer.state.offset) == 2**62
        running.advance(circle_id, types_pb2.CIRCLE_STATE_CLOSED)
        assert [view.circle.state for view in host][-1] == types_pb2.CIRCLE_STATE_CLOSED
        assert [answer.state.circle.state for answer in platform][-1] == types_pb2.CIRCLE_STATE_CLOSED
        assert [view.circle.state for view in own][-1] == types_pb2.CIRCLE_STATE_CLOSED


def test_a_rhythm_is_led_by_the_host_and_reaches_platforms(tmp_path: Path) -> None:
    with daemon(tmp_path) as running:
        circle_id = running.create(gather_ns=0).circle_id
        guest = running.join(circle_id)
        platform = running.platforms.WatchPlatform(
            platform_pb2.WatchPlatformRequest(), metadata=guest.signed("PlatformService/WatchPlatform")
        )
        next(answer for answer in platform if answer.state.circle.rhythm.revision == 1)
        wish = rhythm_pb2.SetRhythmRequest(circle_id=circle_id, frequency_hz=-7.5)
        led = running.rhythms.SetRhythm(wish, metadata=running.admin).rhythm
        assert len(led.segments) == 2
        assert led.segments[1].half_ramp.high >> 63 == 1, "downwards, in two's complement"
        heard = next(answer.state.circle.rhythm for answer in platform if answer.state.circle.rhythm.revision == 2)
        assert heard == led
        wish.frequency_hz = float("nan")
        refused(Code.INVALID_ARGUMENT, "BAD_INPUT", running.rhythms.SetRhythm, wish, metadata=running.admin)


def test_two_daemons_cannot_share_a_folder_or_a_port(tmp_path: Path) -> None:
    with daemon(tmp_path / "a") as running:
        with pytest.raises(errors.FolderInUse, match="another sanctuary is running in"), daemon(tmp_path / "a"):
            pass
        port = running.daemon.place.grpc_port
        with (
            pytest.raises(errors.AddressTaken, match=f"TCP port {port} .* is taken"),
            daemon(tmp_path / "b", port=port),
        ):
            pass
    with daemon(tmp_path / "a"):
        pass


def test_a_taken_udp_port_is_said(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(errors.AddressTaken, match="--udp-port"), daemon(tmp_path, udp_port=port):
            pass


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"host": "192.0.2.1"}, errors.BadInput, "can be reached from other machines"),
        ({"host": "nowhere.invalid", "expose": True}, errors.BadInput, "choose another --host"),
        ({"host": "192.0.2.1", "expose": True}, errors.BadInput, "choose another --host"),
        ({"certificate": Path("x.pem")}, errors.BadInput, "give both or neither"),
        ({"certificate": Path("x.pem"), "key": Path("x.key")}, errors.BadInput, "check --certificate and --key"),
        ({"certificate": Path(__file__), "key": Path(__file__)}, errors.BadInput, "is not the key of .*both PEM"),
    ],
)
def test_a_bad_address_or_certificate_is_said(
    tmp_path: Path, changes: dict[str, object], error: type[errors.HarmoniaError], words: str
) -> None:
    with pytest.raises(error, match=words), daemon(tmp_path, **changes):
        pass


def test_a_damaged_server_key_is_made_anew_and_a_damaged_token_is_said(tmp_path: Path) -> None:
    with daemon(tmp_path) as running:
        running.create()
    (tmp_path / "server.key").write_text("damaged")
    with daemon(tmp_path) as running:
        running.create()
    (tmp_path / "admin.token").write_bytes(b"\xff")
    with pytest.raises(errors.StorageUnreadable, match=r"admin\.token is damaged"), daemon(tmp_path):
        pass


def test_an_exposed_address_is_served_with_a_certificate_that_names_it(tmp_path: Path) -> None:
    with daemon(tmp_path, host="127.0.0.2", expose=True) as running:
        assert running.sanctuaries.GetStatus(sanctuary_pb2.GetStatusRequest(), timeout=PATIENCE_S).sanctuary_id


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(errors.StorageError, match="choose another with --data"), daemon(tmp_path / "file" / "house"):
        pass


def test_a_certificate_is_renewed_in_time_under_the_same_ca(tmp_path: Path) -> None:
    tls.ensure(tmp_path, "127.0.0.1")
    ca = (tmp_path / "ca.pem").read_bytes()
    first = x509.load_pem_x509_certificate((tmp_path / "server.pem").read_bytes())
    tls.ensure(tmp_path, "127.0.0.1", first.not_valid_after_utc)
    renewed = x509.load_pem_x509_certificate((tmp_path / "server.pem").read_bytes())
    assert renewed.not_valid_after_utc > first.not_valid_after_utc
    assert (tmp_path / "ca.pem").read_bytes() == ca
    (tmp_path / "ca.key").write_text("damaged")
    with pytest.raises(errors.StorageUnreadable, match="is damaged"):
        tls.ensure(tmp_path, "127.0.0.1")


SERVE = """
import sys
from pathlib import Path
from harmonia.rpc.server import serve
serve(Path(sys.argv[1]), port=0, on_ready=lambda place: print(place.grpc_port, flush=True))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_real_daemon_starts_and_stops_cleanly_on_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    pytest.importorskip("harmonia._core")
    for _ in range(2):
        with subprocess.Popen([sys.executable, "-c", SERVE, str(tmp_path)], stdout=subprocess.PIPE) as served:
            assert served.stdout is not None
            assert int(served.stdout.readline()) > 0
            served.send_signal(number)
            assert served.wait(PATIENCE_S) == 0


NIGHT = """
theta: pink/20 200+4/30
NOW theta
"""


def test_after_kill_9_the_real_daemon_goes_on_where_it_was(tmp_path: Path) -> None:
    """The core's own node: state, rhythm and clock come back; a withdrawal that was answered stays withdrawn."""
    pytest.importorskip("harmonia._core")

    def serve() -> tuple[subprocess.Popen[bytes], Outside]:
        served = subprocess.Popen([sys.executable, "-c", SERVE, str(tmp_path)], stdout=subprocess.PIPE)
        assert served.stdout is not None
        return served, Outside(f"127.0.0.1:{int(served.stdout.readline())}", tmp_path)

    served, outside = serve()
    with served:
        circle_id = outside.create(NIGHT, gather_ns=0, night_ns=3600 * 10**9).circle_id
        guest, quiet = outside.join(circle_id), outside.join(circle_id)
        guest.set_offset(0.25)
        for each in (guest, quiet):
            each.grant(types_pb2.PURPOSE_VOICE)
        named = quiet.withdraw(types_pb2.PURPOSE_VOICE).purposes[0].withdrawal_id
        assert named
        before = guest.attach().state
        before_ns = outside.sanctuaries.GetTracking(sanctuary_pb2.GetTrackingRequest()).node_time_ns
        served.kill()
    served, outside = serve()
    with served:
        after = guest.at(outside).attach().state
        assert after == before
        assert after.circle.rhythm.segments
        tracking = outside.sanctuaries.GetTracking(sanctuary_pb2.GetTrackingRequest())
        assert tracking.resumes > 0
        assert tracking.node_time_ns > before_ns
        request = circle_pb2.WatchCircleRequest(circle_id=circle_id)
        stream = outside.circles.WatchCircle(
            request, metadata=quiet.at(outside).signed("CircleService/WatchCircle"), timeout=PATIENCE_S
        )
        (own,) = next(stream).sleepers
        assert own.muted
        assert quiet.at(outside).grant(types_pb2.PURPOSE_VOICE, named).granted
        (own,) = next(view for view in stream if not view.sleepers[0].muted).sleepers
        stream.cancel()
        served.terminate()
        assert served.wait(PATIENCE_S) == 0
