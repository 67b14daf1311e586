"""A stock chronyd on loopback: as a client of a sanctuary, or as a server; it never touches this machine's clock."""

import getpass
import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PATIENCE_S = 120.0
"""How long anything may take before a test gives up; nothing that works comes near it."""

_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
CHRONYD = shutil.which("chronyd", path=_PATH)
CHRONYC = shutil.which("chronyc", path=_PATH)

needs_chrony = pytest.mark.skipif(
    CHRONYD is None or CHRONYC is None,
    reason="chronyd and chronyc are not installed here (Debian: apt-get install chrony)",
)


def free_port() -> int:
    """A port that nobody holds, neither on UDP nor on TCP."""
    while True:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            port: int = tcp.getsockname()[1]
            try:
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Chronyd:
    """A chronyd that is running, and its own folder."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.process = process
        self.folder = folder
        self.said: list[str] = []

    def until(self, wanted: str) -> str:
        """The first line of its log from here on that has ``wanted`` in it. Fails with all that it said."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line)
            if wanted in line:
                return line
        raise AssertionError(f"chronyd ended without {wanted!r}: {''.join(self.said)}")

    def ask(self, question: str) -> list[str]:
        """One row of what chronyc says, as values."""
        assert CHRONYC is not None
        done = subprocess.run(
            [CHRONYC, "-c", "-h", str(self.folder / "socket"), question],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip().splitlines()[0].split(",")


@contextmanager
def chronyd(*directives: str, once: bool = False) -> Iterator[Chronyd]:
    """Runs chronyd with these directives for the length of the block; ``once`` measures (-Q) and ends."""
    assert CHRONYD is not None
    # Its command socket must lie in a folder of its own that nobody else can enter, and have a short name.
    with tempfile.TemporaryDirectory(prefix="chronyd-") as name:
        folder = Path(name)
        folder.chmod(0o700)
        lines = [
            *directives,
            "cmdport 0",
            f"bindcmdaddress {folder / 'socket'}",
            f"pidfile {folder / 'pid'}",
            f"user {getpass.getuser()}",
        ]
        (folder / "conf").write_text("\n".join(lines) + "\n")
        command = [CHRONYD, "-Q" if once else "-x", "-U", "-d", "-f", str(folder / "conf")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            # One that says nothing is ended, and its log with it; then the reader fails with what it said.
            try:
                yield Chronyd(process, folder)
            finally:
                process.terminate()
                process.wait(PATIENCE_S)


def measured_s(log_line: str) -> float:
    """By how much chronyd -Q finds the system's clock wrong."""
    found = re.search(r"System clock wrong by (-?[\d.]+) seconds", log_line)
    assert found, log_line
    return float(found[1])
