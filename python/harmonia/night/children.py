"""The processes of a night: started apart from the terminal, read line by line, ended with it whatever happens."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from harmonia.errors import HarmoniaError

PATIENCE_S = 4.0
"""How long a process may take to end by itself."""


class Child:
    """One process: `harmonia` with some arguments, its log in a file, its standard input held open."""

    def __init__(self, name: str, process: trio.Process, log: Path) -> None:
        self.name = name
        self._process = process
        self._log = log

    @property
    def errors_path(self) -> Path:
        """What it said on stderr."""
        return self._log.with_suffix(".err")

    @property
    def returncode(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.poll()

    async def lines(self) -> AsyncGenerator[dict[str, Any], None]:
        """Every line of JSON that it prints, which goes into its log too."""
        stdout = self._process.stdout
        if stdout is None:
            return
        rest = b""
        with self._log.open("ab") as log:
            async for received in stdout:
                log.write(received)
                *lines, rest = (rest + received).split(b"\n")
                for line in lines:
                    yield json.loads(line)

    async def first_line(self) -> dict[str, Any] | None:
        """The first line of JSON that it prints; None if it ends without."""
        async with aclosing(self.lines()) as lines:
            async for line in lines:
                return line
        await self.ended()
        return None

    async def tell(self, command: str) -> None:
        """Gives it a command by standard input. One that has ended is past commanding."""
        try:
            if self._process.stdin is not None:
                await self._process.stdin.send_all(command.encode() + b"\n")
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return

    async def ended(self) -> int:
        """Waits for its end; returns the exit code."""
        return await self._process.wait()

    def last_words(self) -> str:
        """The last line on stderr, or else its exit code."""
        try:
            lines = self.errors_path.read_text(errors="replace").split("\n")
        except OSError:
            lines = []
        said = [line.strip() for line in lines if line.strip()]
        return said[-1] if said else f"exit code {self.returncode}"

    def failure(self) -> HarmoniaError:
        """Its end as an error."""
        return HarmoniaError(f"{self.name} ended early: {self.last_words().removeprefix('error: ')}")

    async def end(self) -> None:
        """Ends it: its standard input first, then SIGTERM, then SIGKILL."""
        if self._process.stdin is not None:
            await self._process.stdin.aclose()
        for last_resort in (signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is not None:
                return
            with trio.move_on_after(PATIENCE_S / 2):
                await self._process.wait()
            if self._process.poll() is None:
                self._process.send_signal(last_resort)
        await self._process.wait()


@asynccontextmanager
async def child(name: str, arguments: Sequence[str], log_dir: Path) -> AsyncIterator[Child]:
    """Runs `harmonia ARGUMENTS` for the length of the block.

    A session of its own keeps the terminal's Ctrl-C from reaching it before we have ended the night in order; that it
    ends when its standard input does keeps it from outliving us.
    """
    log = log_dir / f"{name}.jsonl"
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    with log.with_suffix(".err").open("wb") as errors:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "harmonia.cli", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
            env=environment,
        )
    one = Child(name, process, log)
    try:
        yield one
    finally:
        with trio.CancelScope(shield=True):
            await one.end()
            if process.stdout is not None:
                await process.stdout.aclose()
