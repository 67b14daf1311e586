"""A sanctuary as a time server, asked from the command line: without NTS, with it, and where it keeps silent."""

import re
from pathlib import Path

import pytest

from tests.e2e.terminal import answer, harmonia, sanctuary


def test_a_sanctuary_is_asked_with_nts_and_without(tmp_path: Path) -> None:
    with sanctuary(tmp_path, "--nts-port", "0") as (_, place):
        host = f"127.0.0.1:{place['udp_port']}"
        plain = answer("ntp", "query", host, data=tmp_path)
        keys = ("--nts", "--nts-port", str(place["nts_port"]), "--ca", str(tmp_path / "ca.pem"))
        protected = answer("ntp", "query", "127.0.0.1", *keys, data=tmp_path)
        said = harmonia("ntp", "query", host)
    assert [(got["server"], got["authenticated"]) for got in (plain, protected)] == [(host, False), (host, True)]
    assert plain["clock_id"] == protected["clock_id"] is not None
    for got in (plain, protected):
        assert (got["stratum"], got["refid"], got["leap"], got["used"]) == (10, "LOCL", 0, 8)
        # A new clock begins with this machine's UTC, and both have run on since by the same oscillator.
        assert abs(got["offset_ns"]) <= got["bound_ns"] + 50_000_000
    assert re.search(r"a sanctuary, clock [0-9a-f]{16}: stratum 10, not authenticated\n.* ± 0\.\d{9} s\n", said.stdout)


def test_silence_for_the_unauthenticated(tmp_path: Path) -> None:
    with sanctuary(tmp_path, "--nts-port", "0", "--only-authenticated") as (_, place):
        host = f"127.0.0.1:{place['udp_port']}"
        refused = harmonia("ntp", "query", host, "--timeout", "1")
        keys = ("--nts", "--nts-port", str(place["nts_port"]), "--ca", str(tmp_path / "ca.pem"))
        assert answer("ntp", "query", host, *keys, data=tmp_path)["authenticated"]
    assert refused.returncode == 5
    assert re.fullmatch(rf"error: no time from {host}: no answer to \d+ requests; .*\n", refused.stderr)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("query", "127.0.0.1:0"), 2, "a port from 1 to 65535"),
        (("query", "127.0.0.1:x"), 2, "a port from 1 to 65535"),
        (("query", "127.0.0.1", "--ca", "x.pem"), 2, "are for --nts"),
        (("query", "127.0.0.1", "--nts", "--ca", "no-such.pem"), 3, "no-such.pem: no such file"),
        (("query", "no.such.host.invalid", "--timeout", "1"), 5, "cannot resolve no.such.host.invalid"),
    ],
)
def test_bad_input_is_named_in_one_line(tmp_path: Path, arguments: tuple[str, ...], code: int, words: str) -> None:
    done = harmonia("ntp", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (code, 1)
    assert words in done.stderr


def test_a_file_without_certificates_is_no_ca(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing of the kind\n")
    done = harmonia("ntp", "query", "127.0.0.1", "--nts", "--ca", "ca.pem", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "no certificate in it" in done.stderr


def test_silence_needs_somebody_to_hear(tmp_path: Path) -> None:
    done = harmonia("serve", "--only-authenticated", data=tmp_path)
    assert done.returncode == 2
    assert "--only-authenticated needs --nts-port" in done.stderr
