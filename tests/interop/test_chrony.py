"""A stock chronyd and a sanctuary tell each other the time, without NTS and with it."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harmonia.rpc import tls
from tests.e2e.terminal import answer, harmonia, sanctuary
from tests.interop.chrony import PATIENCE_S, Chronyd, chronyd, free_port, measured_s, needs_chrony

pytestmark = needs_chrony

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


def as_server(place: dict[str, Any], ca: Path, nts: bool) -> list[str]:
    """The directives of a client of this sanctuary."""
    server = f"server 127.0.0.1 port {place['udp_port']} iburst minpoll 0 maxpoll 0"
    if not nts:
        return [server, "port 0"]
    return [f"{server} nts ntsport {place['nts_port']}", f"ntstrustedcerts {ca}", "port 0"]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, Any], Path]]:
    """A sanctuary that gives out keys, and its CA."""
    data = tmp_path_factory.mktemp("sanctuary")
    with sanctuary(data, "--nts-port", "0") as (_, place):
        yield place, data / "ca.pem"


@both
def test_chronyd_measures_a_sanctuarys_time(here: tuple[dict[str, Any], Path], nts: bool) -> None:
    place, ca = here
    with chronyd(*as_server(place, ca, nts), once=True) as daemon, patience(daemon):
        found_s = measured_s(daemon.until("System clock wrong by"))
    # A new sanctuary begins with this machine's UTC; its node time is 37 s ahead of that, and must not be told.
    assert found_s == pytest.approx(0, abs=0.1)


@both
def test_a_running_chronyd_selects_a_sanctuary(here: tuple[dict[str, Any], Path], nts: bool) -> None:
    place, ca = here
    with chronyd(*as_server(place, ca, nts)) as daemon, patience(daemon):
        daemon.until("Selected source 127.0.0.1")
        tracking = daemon.ask("tracking")
        assert (tracking[1], tracking[2], tracking[-1]) == ("127.0.0.1", "11", "Normal")
        mode, key_id, algorithm, key_bits = daemon.ask("authdata")[1:5]
        assert (mode, key_id, algorithm, key_bits) == (("NTS", "1", "15", "256") if nts else ("-", "0", "0", "0"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int, Path]]:
    """A chronyd that serves this machine's own clock: its NTP port, its NTS-KE port, and who signed its certificate."""
    folder = tmp_path_factory.mktemp("stranger")
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
        ) as daemon,
        patience(daemon),
    ):
        daemon.until("Running with")  # the last thing that it says before it serves
        yield ntp_port, ke_port, folder / "ca.pem"


@both
def test_we_measure_a_stock_chronyd(stranger: tuple[int, int, Path], nts: bool, tmp_path: Path) -> None:
    ntp_port, ke_port, ca = stranger
    options = ("--nts", "--nts-port", str(ke_port), "--ca", str(ca)) if nts else ()
    got = answer("ntp", "query", f"127.0.0.1:{ntp_port}", *options, data=tmp_path)
    assert (got["server"], got["authenticated"], got["clock_id"]) == (f"127.0.0.1:{ntp_port}", nts, None)
    assert (got["stratum"], got["used"]) == (9, 8)
    # It serves the very clock that we compare it with, so the truth is zero: the bound must hold it.
    assert abs(got["offset_ns"]) <= got["bound_ns"] + got["server_bound_ns"]


def test_a_stranger_with_a_certificate_of_another_ca_is_not_believed(
    stranger: tuple[int, int, Path], tmp_path: Path
) -> None:
    ntp_port, ke_port, _ = stranger
    tls.ensure(tmp_path, "127.0.0.1")
    other = str(tmp_path / "ca.pem")
    refused = harmonia("ntp", "query", f"127.0.0.1:{ntp_port}", "--nts", "--nts-port", str(ke_port), "--ca", other)
    assert refused.returncode == 5
    assert re.fullmatch(r"error: no keys from 127\.0\.0\.1 .*certificate.*\n", refused.stderr)
