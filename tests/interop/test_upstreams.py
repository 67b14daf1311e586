"""A sanctuary follows real servers, ours and a stock chronyd, with NTS and without; and survives what befalls them."""

import hashlib
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harmonia import _core
from harmonia.night.truth import NodeTruth
from harmonia.rpc import tls
from tests.e2e.terminal import answer, harmonia, sanctuary, terminal
from tests.e2e.test_by_hand import create, joined
from tests.e2e.test_by_hand import data as data  # noqa: PLC0414 (a fixture)
from tests.interop.chrony import PATIENCE_S, Chronyd, chronyd, free_port, needs_chrony

both = pytest.mark.parametrize("nts", [False, True], ids=["plain", "nts"])


@contextmanager
def patience(daemon: Chronyd) -> Iterator[None]:
    """Ends a daemon that says nothing any more, so that whoever reads its log is told what it said."""
    timer = threading.Timer(PATIENCE_S, daemon.process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def serving(folder: Path, *directives: str) -> Iterator[tuple[int, int]]:
    """A chronyd that serves this machine's own clock: its NTP port and its NTS-KE port."""
    folder.mkdir(exist_ok=True)
    tls.ensure(folder, "127.0.0.1")
    ntp_port, ke_port = free_port(), free_port()
    with (
        chronyd(
            "local stratum 9",
            "allow 127.0.0.1",
            "bindaddress 127.0.0.1",
            f"port {ntp_port}",
            f"ntsport {ke_port}",
            f"ntsservercert {folder / 'server.pem'}",
            f"ntsserverkey {folder / 'server.key'}",
            *directives,
        ) as daemon,
        patience(daemon),
    ):
        daemon.until("Running with")  # the last thing that it says before it serves
        yield ntp_port, ke_port


def until(data: Path, what: str, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """What `tracking --json` says as soon as the condition holds."""
    seen: dict[str, Any] = {}
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        seen = answer("tracking", data=data)
        if condition(seen):
            return seen
    raise AssertionError(f"still not {what}: {json.dumps(seen, indent=1)}")


def states(seen: dict[str, Any]) -> list[str]:
    return [source["state"] for source in seen["sources"]]


@needs_chrony
@both
def test_a_sanctuary_follows_a_stock_chronyd(tmp_path: Path, nts: bool) -> None:
    with serving(tmp_path / "chrony") as (ntp_port, ke_port):
        upstream = f"nts://127.0.0.1:{ke_port}" if nts else f"127.0.0.1:{ntp_port}"
        trust = ("--ca", str(tmp_path / "chrony" / "ca.pem")) if nts else ()
        with sanctuary(tmp_path / "house", "--upstream", upstream, *trust) as (_, place):
            seen = until(tmp_path / "house", "locked", lambda seen: bool(seen["lock_state"] == "locked"))
            [source] = answer("sources", data=tmp_path / "house")["sources"]
            assert (source["name"], source["address"]) == (upstream, f"127.0.0.1:{ntp_port}")
            assert (source["state"], source["clock_id"], source["stratum"]) == ("selected", 0, 9)
            assert (source["authenticated"], source["key_exchanges"]) == (nts, int(nts))
            assert (source["cookies"] > 0) == nts
            assert (seen["stratum"], seen["refid"]) == (10, "127.0.0.1")
            # chronyd serves this machine's UTC; the sanctuary's UTC is that, within what it says of itself.
            told = answer("ntp", "query", f"127.0.0.1:{place['udp_port']}", data=tmp_path)
            assert abs(told["offset_ns"]) <= told["bound_ns"] + told["server_bound_ns"]
            said = harmonia("sources", "-v", data=tmp_path / "house").stdout
            assert f"* {upstream}" in said
            assert (" yes " in said.splitlines()[-2]) == nts
            assert "if drift stays within 500 ppm and changes by at most 1e-07/s" in said


@needs_chrony
def test_a_source_whose_certificate_is_another_cas_is_not_heard(tmp_path: Path) -> None:
    tls.ensure(tmp_path, "127.0.0.1")
    with (
        serving(tmp_path / "chrony") as (_, ke_port),
        sanctuary(tmp_path / "house", "--upstream", f"nts://127.0.0.1:{ke_port}", "--ca", str(tmp_path / "ca.pem")),
    ):
        seen = until(tmp_path / "house", "refused", lambda seen: "certificate" in seen["sources"][0]["trouble"])
        assert (seen["lock_state"], states(seen)) == ("unsynchronised", ["unresolved"])
        assert (seen["sources"][0]["authenticated"], seen["sources"][0]["exchanges"]) == (False, 0)
        assert " no " in harmonia("sources", data=tmp_path / "house").stdout


@pytest.fixture
def wrong(tmp_path: Path) -> Iterator[_core.Node]:
    """A sanctuary that is three seconds behind and does not know it: its clock stood still while nobody looked."""
    raw_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    node_ns = time.time_ns() + 37_000_000_000 - 3_000_000_000
    body = f"harmonia-clock-1 {1234567:016x} {boot_id} {raw_ns} {node_ns} 0 0"
    file = tmp_path / "wrong"
    file.write_text(f"{body} {hashlib.sha256(body.encode()).hexdigest()[:16]}\n")
    node = _core.Node("127.0.0.1", 0, str(file))
    yield node
    node.close()


@needs_chrony
def test_a_falseticker_is_said_and_losing_a_source_moves_nothing(tmp_path: Path, wrong: _core.Node) -> None:
    house = tmp_path / "house"
    with (
        serving(tmp_path / "chrony") as (ntp_port, ke_port),
        sanctuary(tmp_path / "first", "--nts-port", "0") as (
            first,
            at,
        ),
    ):
        ca = tmp_path / "cas.pem"
        ca.write_bytes((tmp_path / "first" / "ca.pem").read_bytes() + (tmp_path / "chrony" / "ca.pem").read_bytes())
        upstreams = [
            f"nts://127.0.0.1:{at['nts_port']}",
            f"nts://127.0.0.1:{ke_port}",
            f"127.0.0.1:{ntp_port}",
            f"127.0.0.1:{wrong.port}",
        ]
        options = [word for upstream in upstreams for word in ("--upstream", upstream)]
        with sanctuary(house, *options, "--ca", str(ca)) as (_, place):
            honest = {"selected", "candidate"}
            seen = until(
                house, "seen through", lambda seen: states(seen)[3] == "falseticker" and set(states(seen)[:3]) <= honest
            )
            assert seen["lock_state"] == "locked"
            *agree, liar = seen["sources"]
            assert [source["authenticated"] for source in seen["sources"]] == [True, True, False, False]
            assert abs(liar["offset_ns"] + 3_000_000_000) < liar["bound_ns"] + 100_000_000
            assert all(abs(source["offset_ns"]) < 100_000_000 for source in agree)
            said = harmonia("sources", data=house).stdout
            assert f"x {upstreams[3]}" in said
            assert "falseticker" in said

            # The one that it follows, or one of the others, dies: whoever is left carries on, and node time with it.
            before, clock_id = NodeTruth.find(house), seen["clock_id"]
            first.end(signal.SIGKILL)
            seen = until(house, "silent", lambda seen: states(seen)[0] == "silent")
            after = NodeTruth.find(house)
            assert (seen["lock_state"], seen["clock_id"]) == ("locked", clock_id)
            assert states(seen)[3] == "falseticker"
            assert seen["steps_left"] == 0  # the one that every new clock has, had before anybody listened
            # From one second to the next the course was bent, never broken: 500 ppm is the most that it may differ by.
            apart_s = (after.raw_ns - before.raw_ns) / 1e9
            moved_ns = after.node_ns - before.node_at(after.raw_ns)
            assert abs(moved_ns) <= 600e3 * apart_s
            told = answer("ntp", "query", f"127.0.0.1:{place['udp_port']}", data=tmp_path)
            assert abs(told["offset_ns"]) <= told["bound_ns"] + told["server_bound_ns"]


@needs_chrony
def test_a_running_chronyd_goes_on_over_a_restart_without_new_keys(tmp_path: Path) -> None:
    data, udp_port, nts_port = tmp_path / "house", free_port(), free_port()
    ports = ("--udp-port", str(udp_port), "--nts-port", str(nts_port))
    with sanctuary(data, *ports) as (daemon, _):
        assert (data / "clock.cookies").stat().st_mode & 0o777 == 0o600
        with (
            chronyd(
                f"server 127.0.0.1 port {udp_port} iburst minpoll 0 maxpoll 0 nts ntsport {nts_port}",
                f"ntstrustedcerts {data / 'ca.pem'}",
                "port 0",
            ) as client,
            patience(client),
        ):
            client.until("Selected source 127.0.0.1")
            answered, began_s = int(client.ask("ntpdata 127.0.0.1")[-1]), time.monotonic()
            daemon.end(signal.SIGKILL)
            with sanctuary(data, *ports):
                deadline = time.monotonic() + PATIENCE_S
                while int(client.ask("ntpdata 127.0.0.1")[-1]) < answered + 10:
                    assert time.monotonic() < deadline, client.ask("ntpdata 127.0.0.1")
                _, mode, _, _, _, keys_age_s, attempts, naks, cookies, _ = client.ask("authdata")
                assert (mode, attempts, naks) == ("NTS", "0", "0")
                assert int(cookies) > 0
                # A NAK would have been forgotten with the key exchange that follows it; but these are the first keys.
                assert int(keys_age_s) >= int(time.monotonic() - began_s)
                assert client.ask("tracking")[-1] == "Normal"


def test_what_was_certain_is_certain_at_once_after_a_restart(tmp_path: Path) -> None:
    house, stated = tmp_path / "house", ("--max-drift-ppm", "300", "--max-wander", "2e-7")
    with sanctuary(tmp_path / "root") as (root, at):
        upstream = ("--upstream", f"127.0.0.1:{at['udp_port']}")
        with sanctuary(house, *upstream, *stated) as (daemon, _):
            before = until(house, "locked", lambda seen: bool(seen["lock_state"] == "locked"))
            daemon.end(signal.SIGKILL)
        root.end(signal.SIGKILL)
    with sanctuary(house, *upstream, *stated) as (daemon, _):
        after = answer("tracking", data=house)
        assert (after["lock_state"], after["clock_id"]) == ("holdover", before["clock_id"])
        assert before["bound_ns"] < after["bound_ns"] < 1_000_000_000
        daemon.end()
    # Where it is told to follow somebody else, it knows nothing of how far it is from them.
    with sanctuary(house, "--upstream", f"127.0.0.1:{free_port()}") as (_, _):
        lost = answer("tracking", data=house)
        assert (lost["lock_state"], lost["bound_ns"]) == ("unsynchronised", 16_000_000_000)


def test_what_a_bound_rests_on_is_chosen_and_shown_with_it(data: Path, tmp_path: Path) -> None:
    house, text = data, "if drift stays within 300 ppm and changes by at most 2e-07/s"
    limits = {"max_drift_ppb": 300_000, "max_wander": 2e-7}
    stated = ("--max-drift-ppm", "300", "--max-wander", "2e-7")
    with (
        sanctuary(tmp_path / "root") as (_, at),
        sanctuary(house, "--upstream", f"127.0.0.1:{at['udp_port']}", *stated) as (_, place),
    ):
        seen = until(house, "locked", lambda seen: bool(seen["lock_state"] == "locked"))
        assert limits.items() <= seen.items()
        assert limits.items() <= answer("sources", data=house)["sources"][0].items()
        assert text in harmonia("tracking", data=house).stdout
        assert text in harmonia("sources", "-v", data=house).stdout
        waited = answer("waitsync", "--max-error", "1s", data=house)
        assert limits.items() <= waited.items()
        assert text in harmonia("waitsync", "--max-error", "1s", data=house).stdout
        asked = harmonia("ntp", "query", f"127.0.0.1:{place['udp_port']}", *stated)
        assert text in asked.stdout

        circle = create(house, "--gather", "0.2")
        tighter = ("--max-drift-ppm", "250", "--max-wander", "1.5e-7")
        with terminal("join", circle, *tighter, "--json-lines", "--interval", "0.05", data=house) as one:
            joined(one)
            one.until(lock_state="locked")
            waited = answer("waitsync", "--circle", circle, "--max-error", "1s", data=house)
            assert limits.items() <= waited.items(), "the widest of all that were waited for"
            [platform] = answer("tracking", "--circle", circle, data=house)["sleepers"]
            assert (platform["max_drift_ppb"], platform["max_wander"]) == (250_000, 1.5e-7)
            said = harmonia("tracking", "--circle", circle, data=house).stdout
            assert "if drift stays within 250 ppm and changes by at most 1.5e-07/s" in said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--max-drift-ppm", "100001"), "0<=x<=100000"),
        (("--max-wander", "0.01"), "0<=x<=0.001"),
        (("--ca", "ca.pem"), "--ca is for --upstream nts://HOST"),
        (("--ca", "no-such.pem", "--upstream", "nts://time.example"), "no-such.pem: no such file"),
        (("--upstream", "nts://"), "'nts://' names no source"),
        (("--upstream", "ntp://time.example"), "nts://HOST[:PORT]"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(tmp_path: Path, options: tuple[str, ...], words: str) -> None:
    done = harmonia("serve", "--port", "0", *options, data=tmp_path / "house", cwd=tmp_path)
    assert done.returncode in {2, 3}
    assert done.stderr.count("\n") == 1
    assert words in done.stderr.replace('"', "'")
