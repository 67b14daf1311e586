"""Real subprocesses for end-to-end tests: a terminal each, ended with the test whatever happens."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any

PATIENCE_S = 60.0
"""How long anything may take before a test gives up; nothing that works comes near it."""

COMMAND = [sys.executable, "-m", "harmonia.cli"]


def harmonia(*arguments: str, data: Path | None = None, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Runs one command to its end."""
    environment = {**os.environ, **({} if data is None else {"HARMONIA_DATA": str(data)})}
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        cwd=cwd,
        timeout=PATIENCE_S,
        check=False,
    )


def answer(*arguments: str, data: Path) -> Any:
    """What one command that must succeed printed as JSON."""
    done = harmonia(*arguments, "--json", data=data)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class Terminal:
    """One running command."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines: Queue[str | None] = Queue()
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def line(self) -> dict[str, Any]:
        """The next line of JSON. Fails with its stderr if there is none."""
        try:
            line = self._lines.get(timeout=PATIENCE_S)
        except Empty:
            raise AssertionError("it said nothing") from None
        if line is None:
            assert self.process.stderr is not None
            raise AssertionError(f"it ended: {self.process.stderr.read()}")
        seen: dict[str, Any] = json.loads(line)
        return seen

    def until(self, **wanted: Any) -> dict[str, Any]:
        """The first line from here on that has these values. Gives up after a thousand lines."""
        seen: dict[str, Any] = {}
        for _ in range(1000):
            seen = self.line()
            if all(seen.get(key) == value for key, value in wanted.items()):
                return seen
        raise AssertionError(f"{wanted} never came; the last was {seen}")

    def tell(self, command: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def end(self, how: int = signal.SIGTERM) -> int:
        """Ends it; returns its exit code."""
        self.process.send_signal(how)
        return self.process.wait(PATIENCE_S)

    def close(self) -> None:
        """Ends it whatever it does, and reads to the end: a pipe is not to be closed under its reader."""
        self.process.kill()
        self._reader.join(PATIENCE_S)
        assert not self._reader.is_alive(), "a process that it started still holds its output"


@contextmanager
def terminal(*arguments: str, data: Path) -> Iterator[Terminal]:
    """Runs a command for the length of the block."""
    with subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "HARMONIA_DATA": str(data)},
        start_new_session=True,
    ) as process:
        shown = Terminal(process)
        try:
            yield shown
        finally:
            shown.close()


@contextmanager
def sanctuary(data: Path, *options: str) -> Iterator[tuple[Terminal, dict[str, Any]]]:
    """A daemon on free ports, and where it said that it listens."""
    with terminal("serve", "--port", "0", "--json", *options, data=data) as daemon:
        yield daemon, daemon.line()
