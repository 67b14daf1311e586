"""What a first night runs into: gRPC works and UDP does not; and what the machine itself does: it sleeps."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from select import select
from typing import Any

import pytest
import trio

from harmonia import _core
from harmonia.client import LockState, Purpose, Sanctuary, join, udp
from harmonia.client import sleeper as sleepers
from harmonia.client.clock_log import ClockLog, ClockLogWriter
from harmonia.client.identity import purpose_bits
from harmonia.rpc.server import Settings, running
from tests.e2e.terminal import answer, harmonia, sanctuary, terminal
from tests.e2e.test_by_hand import create, joined, seen
from tests.e2e.test_by_hand import data as data  # noqa: PLC0414 (a fixture)
from tests.rpc.daemon import the_loop


class Way:
    """Stands before a real node's port: passes datagrams on both ways, or swallows them."""

    def __init__(self, node_port: int) -> None:
        self.swallows = threading.Event()
        self._front, self._back = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        self._front.bind(("127.0.0.1", 0))
        self._back.connect(("127.0.0.1", node_port))
        self._over, self._end = socket.socketpair()
        self.port: int = self._front.getsockname()[1]
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        platform: Any = None
        while True:
            ready, _, _ = select([self._front, self._back, self._over], [], [])
            if self._over in ready:
                return
            for one in ready:
                datagram, sender = one.recvfrom(2048)
                if one is self._front:
                    platform = sender
                if self.swallows.is_set():
                    continue
                if one is self._front:
                    self._back.send(datagram)
                elif platform is not None:
                    self._front.sendto(datagram, platform)

    def close(self) -> None:
        self._end.send(b"\0")
        self._thread.join()
        for one in (self._front, self._back, self._over, self._end):
            one.close()


class Behind:
    """A real data plane that tells platforms another port than its own: that of a path."""

    def __init__(self, host: str, port: int, clock_file: str) -> None:
        self._node = _core.Node(host, port, clock_file)
        self.path = Way(self._node.port)
        self.port = self.path.port

    def __getattr__(self, name: str) -> Any:
        return getattr(self._node, name)

    def close(self) -> None:
        self.path.close()
        self._node.close()


@contextmanager
def behind_a_path(data: Path) -> Iterator[Behind]:
    """A daemon in this process, over gRPC as any; its datagrams take a path that a test can close."""
    planes: list[Behind] = []

    def make_plane(host: str, port: int, clock_file: str) -> Any:
        planes.append(Behind(host, port, clock_file))
        return planes[0]

    opened = running(Settings(data, port=0, plane=make_plane))
    the_loop().run(opened.__aenter__())
    try:
        yield planes[0]
    finally:
        the_loop().run(opened.__aexit__(None, None, None))


def test_a_loss_of_udp_is_said_in_words_everywhere_and_so_is_its_end(data: Path, tmp_path: Path) -> None:
    log_path = tmp_path / "night.jsonl"
    with behind_a_path(data) as plane:
        plane.path.swallows.set()
        circle = create(data)
        command = ("join", circle, "--udp-only", "--json-lines", "--interval", "0.1", "--clock-log", str(log_path))
        with terminal(*command, data=data) as one:
            sleeper = joined(one)
            lost = one.until(event="udp_lost")
            assert lost["server"] == f"127.0.0.1:{plane.port}"
            assert lost["silent_s"] >= 5
            for words in (f"UDP to 127.0.0.1:{plane.port} gives no answers for ", "s, since ", "allow UDP"):
                assert words in lost["message"]
            tracked = seen(data, circle, sleeper)
            assert "no datagram from it: none since its session was opened" in tracked["udp"]
            shown = harmonia("tracking", "--circle", circle, data=data).stdout
            assert "no datagram from it: none since its session was opened" in shown
            waited = harmonia("waitsync", "--circle", circle, "--timeout", "0.3", data=data)
            assert waited.returncode == 9
            assert f"{sleeper} is not heard: no datagram from it" in waited.stderr

            plane.path.swallows.clear()
            one.until(event="udp_back")
            one.until(event="moment", lock_state="locked")
            assert answer("waitsync", "--circle", circle, data=data)["platforms"] == 1
            assert seen(data, circle, sleeper)["udp"] == ""
            assert plane.stats()["protected"] > 0, "what it asks of the time is authenticated"

            plane.path.swallows.set()
            again = one.until(event="udp_lost")
            assert again["since_unix_s"] > lost["since_unix_s"]
            assert "no datagram from it: the last one" in seen(data, circle, sleeper)["udp"]
            assert one.end() == 0
    happened = [one.event for one in ClockLog.load(log_path).happenings if one.event.startswith("udp")]
    assert happened == ["udp_lost", "udp_back", "udp_lost"]


def test_a_person_without_json_reads_it_on_stderr(data: Path) -> None:
    with behind_a_path(data) as plane:
        plane.path.swallows.set()
        circle = create(data)
        done = harmonia("join", circle, "--no-view", "--seconds", "6.5", data=data)
        assert f"warning: UDP to 127.0.0.1:{plane.port} gives no answers" in done.stderr


class Walled:
    """A platform's core whose datagrams to one port take a path that can be closed; a tunnel's do not."""

    def __init__(self, port: int, path: Way) -> None:
        self._core, self._port, self._path = _core.Platform(), port, path

    def connect(self, host: str, port: int, *session: Any) -> None:
        self._core.connect(host, self._path.port if port == self._port else port, *session)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, name)


async def until(true: Callable[[], bool]) -> None:
    with trio.fail_after(60):
        while not true():  # noqa: ASYNC110 (a thread of the core's makes it true)
            await trio.sleep(0.05)


def test_where_udp_is_blocked_the_night_goes_through_grpc_and_back(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grants = (Purpose.PRESENCE, Purpose.HEARING, Purpose.VOICE, Purpose.VISIBILITY)

    async def night(invitations: list[str], port: int, path: Way) -> None:
        wall: Any = Walled(port, path)
        async with join(invitations[0], core=wall, grants=grants) as one, join(invitations[1], grants=grants) as other:
            await until(lambda: one.udp_loss is not None)
            assert not one.tunnelled, "not before something came through"
            await until(lambda: one.tunnelled)
            assert one.udp_loss is None
            with trio.fail_after(60):
                await one.locked()
            assert 0 < one.bound_ns < 250_000_000
            fresh = wall.frames()["received"]
            await until(lambda: wall.frames()["received"] > fresh)
            # By datagram alone: the node mutes it, writes it down and acknowledges it, all through the tunnel.
            event_id = bytes(range(16))
            one.platform.withdraw(event_id, (Purpose.VOICE,), purpose_bits((Purpose.VOICE,)))
            await until(lambda: wall.acknowledged(event_id))
            await until(lambda: not one.consents[Purpose.VOICE].granted)

            path.swallows.clear()
            monkeypatch.setattr(sleepers, "_PROBE_EVERY_S", 0.0)
            await until(lambda: not one.tunnelled and one.udp_loss is None)
            await until(lambda: wall.silence() is None)
            assert other.udp_loss is None

    with sanctuary(data) as (_, place):
        path = Way(place["udp_port"])
        path.swallows.set()
        try:
            circle = create(data)
            trio.run(night, answer("invite", circle, "--count", "2", data=data), place["udp_port"], path)
        finally:
            path.close()


def test_a_probe_knows_a_port_that_answers_from_one_that_does_not(data: Path) -> None:
    with sanctuary(data) as (_, place):
        assert trio.run(udp.gets_through, "127.0.0.1", place["udp_port"])
    assert not trio.run(udp.gets_through, "127.0.0.1", place["udp_port"])


def test_a_suspend_is_logged_shown_and_tracked(data: Path, tmp_path: Path) -> None:
    log_path = tmp_path / "night.jsonl"

    async def night(invitation: str) -> None:
        core = _core.Platform()
        async with join(invitation, core=core, grants=(Purpose.PRESENCE, Purpose.VISIBILITY)) as one:
            log = ClockLogWriter(log_path, one)
            with trio.fail_after(60):
                await one.locked()
                log.look(reading=True)
                core.simulate_suspend(3600.0)
                assert one.now().lock_state is LockState.ACQUIRING
                assert one.now().suspends == 1
                log.look(reading=True)
                await one.locked()
                log.look(reading=True)
                circle_id = one.identity.circle_id
                async with Sanctuary.at(data) as house, house.watch(circle_id, interval_s=0.05) as answers:
                    async for view in answers:
                        if view.sleepers and view.sleepers[0].suspends == 1:
                            break
            shown = await trio.to_thread.run_sync(lambda: harmonia("tracking", "--circle", circle_id, data=data).stdout)
            assert "suspended 1×" in shown
            log.close()

    with sanctuary(data):
        circle = create(data)
        invitation = answer("invite", circle, data=data)[0]
        trio.run(night, invitation)
    log = ClockLog.load(log_path)
    [suspend] = [one for one in log.happenings if one.event == "suspend"]
    assert suspend.fields["slept_ns"] == pytest.approx(3600e9, abs=5e6)
    events = [one.event for one in log.happenings]
    assert events[events.index("suspend") :].count("locked") == 1
    assert {one.era for one in log.exchanges} == {0, 1}
