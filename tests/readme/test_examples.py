"""The README's examples do what it says, from its own text: every block marked ``<!-- example -->`` is run.

``stays``: the command runs on beside the others and is interrupted at the end. ``invitation``: the program is given an
invitation as its argument. CIRCLE stands for the circle that was created.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 60.0
EXAMPLE = re.compile(r"^<!-- example(?:: (\w+))? -->\n```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Reader:
    """Somebody who follows the README in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.circle = ""
        self.running: list[subprocess.Popen[bytes]] = []
        (folder / "bin").mkdir()
        command = folder / "bin" / "harmonia"
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m harmonia.cli "$@"\n')
        command.chmod(0o755)
        (folder / "examples").symlink_to(ROOT / "examples")
        self.environment = dict(os.environ, PATH=f"{command.parent}{os.pathsep}{os.environ['PATH']}")
        self.environment.pop("HARMONIA_DATA", None)

    def types(self, line: str) -> str:
        """A command that ends: it must succeed."""
        line = line.replace("CIRCLE", self.circle)
        result = subprocess.run(
            line, shell=True, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=PATIENCE_S,
            check=False,
        )  # fmt: skip
        assert result.returncode == 0, f"$ {line}\n{result.stdout}{result.stderr}"
        if line.startswith("harmonia circle create"):
            self.circle = result.stdout.split()[0]
        return result.stdout

    def leaves_running(self, line: str) -> None:
        """A command that stays: it must say something, and go on."""
        line = line.replace("CIRCLE", self.circle)
        if line == "harmonia serve":
            line += " --port 0"  # the usual port may be somebody's
        said = self.folder / f"said-{len(self.running)}"
        with said.open("wb") as sink:
            process = subprocess.Popen(
                line.split(), cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, stdout=sink,
                stderr=subprocess.STDOUT,
            )  # fmt: skip
        self.running.append(process)
        end = time.monotonic() + PATIENCE_S
        while not said.stat().st_size and process.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        assert process.poll() is None, f"$ {line}\n{said.read_text()}"
        assert said.stat().st_size, f"$ {line}\nsaid nothing"

    def goes(self) -> None:
        """Ctrl-C in every terminal, the newest first."""
        for process in reversed(self.running):
            process.send_signal(signal.SIGINT)
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    somebody = Reader(tmp_path)
    yield somebody
    somebody.goes()


def examples(kind: str) -> list[tuple[str, str]]:
    """The README's examples in one language, as (mark, text)."""
    found = EXAMPLE.findall((ROOT / "README.md").read_text())
    return [(mark, text) for mark, language, text in found if language == kind]


def test_the_terminals_do_what_the_readme_says(reader: Reader) -> None:
    for mark, text in examples("console"):
        for line in text.splitlines():
            assert line.startswith("$ "), f"a command begins with $: {line}"
            if mark == "stays":
                reader.leaves_running(line.removeprefix("$ "))
            else:
                reader.types(line.removeprefix("$ "))
    assert reader.circle
    reader.goes()
    reader.running.clear()
    assert (reader.folder / "mix.wav").read_bytes()[:4] == b"RIFF"


def test_the_program_does_what_the_readme_says(reader: Reader) -> None:
    reader.leaves_running("harmonia serve")
    reader.types("harmonia circle create --score examples/scores/first-night.sbg --gather 0")
    ((mark, program),) = examples("python")
    assert mark == "invitation"
    assert len([line for line in program.splitlines() if line.strip()]) <= 12
    invitation = re.search(r"harmonia://\S+", reader.types("harmonia invite CIRCLE"))
    assert invitation
    (reader.folder / "program.py").write_text(program)
    said = reader.types(f"'{sys.executable}' program.py '{invitation[0]}'")
    assert re.search(r"phase \d\.\d+ turn, clock certain within \d+ µs", said)
