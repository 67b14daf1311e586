"""A sanctuary under test: the real daemon in a process of its own, on one folder, started again after every death."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import grpc

from harmonia.failpoints import VARIABLE
from loadtests.stranger import Sanctuary

ROOT = Path(__file__).resolve().parent.parent
ENDS_WITHIN_S = 60.0


class House:
    """One data folder, and the daemon that runs in it at present, if any."""

    def __init__(self, folder: Path, module: str = "harmonia.cli") -> None:
        self.folder, self._module = folder, module
        self._process: subprocess.Popen[str] | None = None
        self.death = -1
        """A descriptor that can be read once the daemon is dead."""
        self._log = folder.parent / f"{folder.name}.log"
        self.channel: grpc.Channel | None = None
        self.place = Sanctuary("", 0, b"", "")
        self.code = 0
        """How the last daemon ended that did not come up."""

    def start(self, failpoints: str = "") -> bool:
        """Starts the daemon; False if it died before it listened."""
        self._process = self._run(["serve", "--port", "0", "--json"], failpoints)
        self.death = os.pidfd_open(self._process.pid)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.code = self.end(None)
            return False
        json.loads(line)
        self.place = Sanctuary.read(self.folder)
        self.channel = self.place.channel()
        return True

    def publish(self, folder: Path, failpoints: str = "") -> int:
        """Publishes the ledger, as its operator does; returns the exit code, negative for a signal."""
        with self._run(["ledger", "publish", str(folder)], failpoints) as process:
            return process.wait(ENDS_WITHIN_S)

    def _run(self, arguments: list[str], failpoints: str) -> subprocess.Popen[str]:
        with self._log.open("a") as errors:
            return subprocess.Popen(
                [sys.executable, "-m", self._module, *arguments, "--data", str(self.folder)],
                env={**os.environ, VARIABLE: failpoints, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'python'}"},
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def end(self, number: signal.Signals | None) -> int:
        """Sends the signal, if any, and waits; returns the exit code, negative for a signal."""
        process, self._process = self._process, None
        assert process is not None and process.stdout is not None
        if number is not None and process.poll() is None:
            process.send_signal(number)
        code = process.wait(ENDS_WITHIN_S)
        os.close(self.death)
        process.stdout.close()
        if self.channel is not None:
            self.channel.close()
            self.channel = None
        return code

    def log(self) -> str:
        """What its daemons have said on standard error."""
        return self._log.read_text()
