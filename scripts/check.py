"""Every check of the project, cheap ones first: `python3 run.py test`.

One line a check, with its seconds; what a check printed is shown only if it failed. Stops at the first failure unless
told to keep going. The last line counts the tests of the Rust and Python suites and each other check as one.

Half of the Python suite is processes that wait for each other, and leaves a core idle; so it runs in a process of its
own beside the rest. Every other check has the machine to itself.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
PYTHON = sys.executable
STUCK_AFTER_S = 1200
"""No check takes so long on two cores: beyond this it hangs, and is ended so that the others can be reported."""


@dataclass(frozen=True)
class Counts:
    """How many tests passed, failed and were skipped."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)


@dataclass(frozen=True)
class Check:
    """One command line, and how to count what it did."""

    name: str
    command: list[str]
    count: Callable[[str], Counts] | None = None
    lint: bool = False
    shares: tuple[tuple[str, ...], ...] = ((),)
    """What to add to the command for each of the processes that do the whole side by side."""

    def commands(self, extra: list[str]) -> list[list[str]]:
        """What runs at once; whoever adds arguments says themself what to run, in one process."""
        return [[*self.command, *arguments] for arguments in ([extra] if extra else self.shares)]


def count_cargo(output: str) -> Counts:
    """Sums the result lines of cargo's test programs."""
    found = re.findall(r"^test result: \S+ (\d+) passed; (\d+) failed; (\d+) ignored", output, re.MULTILINE)
    return sum((Counts(int(passed), int(failed), int(ignored)) for passed, failed, ignored in found), Counts())


def count_pytest(output: str) -> Counts:
    """Reads pytest's last line."""
    last = next((line for line in reversed(output.splitlines()) if re.search(r" in [\d.]+s", line)), "")
    numbers = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|errors?|skipped)", last)}
    failed = numbers.get("failed", 0) + numbers.get("error", 0) + numbers.get("errors", 0)
    return Counts(numbers.get("passed", 0), failed, numbers.get("skipped", 0))


WAITING = ("tests/e2e",)
"""Their tests are real processes that mostly wait for each other, for sound to come in and for clocks to settle."""

# harmonia-py is left out of cargo test: an extension module has no interpreter to link a test program against. What it
# does is tested from Python.
CHECKS = [
    Check("fmt", ["cargo", "fmt", "--all", "--check"], lint=True),
    Check("ruff", [PYTHON, "-m", "ruff", "check", "--quiet"], lint=True),
    Check("format", [PYTHON, "-m", "ruff", "format", "--check", "--quiet"], lint=True),
    Check(
        "layers",
        [PYTHON, "-c", "import sys; from importlinter.cli import lint_imports_command as run; run()"],
        lint=True,
    ),
    Check("house", [PYTHON, "-m", "pytest", "tests/house"], count_pytest, lint=True),
    Check("mypy", [PYTHON, "-m", "mypy"], lint=True),
    Check(
        "stubtest", [PYTHON, "-m", "mypy.stubtest", "harmonia._core", "--mypy-config-file", "pyproject.toml"], lint=True
    ),
    Check("clippy", ["cargo", "clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"], lint=True),
    Check("cargo", ["cargo", "test", "--workspace", "--exclude", "harmonia-py", "--locked"], count_cargo),
    Check(
        "pytest",
        [PYTHON, "-m", "pytest"],
        count_pytest,
        shares=(tuple(f"--ignore={folder}" for folder in ("tests/house", *WAITING)), WAITING),
    ),
    Check("load", [PYTHON, "-m", "loadtests.load", "--sleepers", "200", "--seconds", "60"]),
]


@contextmanager
def begun(command: list[str]) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """A command that runs, and what it prints; it and all that it started end with the block."""
    with tempfile.TemporaryFile() as sink:
        process = subprocess.Popen(command, cwd=ROOT, stdout=sink, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            yield process, sink
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def run(check: Check, extra: list[str]) -> tuple[bool, Counts]:
    """Runs one check and reports it in a line; True if it succeeded."""
    print(f"{check.name:9} ", end="", flush=True)
    started = time.monotonic()
    counts, broken = Counts(), []
    with ExitStack() as stack:
        commands = check.commands(extra)
        for command, (process, sink) in [(command, stack.enter_context(begun(command))) for command in commands]:
            stuck = ""
            try:
                code = process.wait(timeout=max(0.0, started + STUCK_AFTER_S - time.monotonic()))
            except subprocess.TimeoutExpired:
                stuck, code = f"{check.name} was ended after {STUCK_AFTER_S} s\n", -1
            sink.seek(0)
            output = sink.read().decode(errors="replace")
            seen = check.count(output) if check.count else Counts(passed=1) if code == 0 else Counts(failed=1)
            if check.count and not seen.passed:
                code = code or -1  # a suite in which nothing ran has shown nothing
            if code and not seen.failed:
                seen += Counts(failed=1)  # it broke before it could count, for instance while compiling
            if code:
                broken.append(f"{output}\n{check.name} failed: {' '.join(command)}\n{stuck}")
            counts += seen
    detail = "FAILED" if broken else f"{counts.passed} passed" if check.count else "ok"
    if counts.skipped:
        detail += f", {counts.skipped} skipped"
    print(f"{detail:24} {time.monotonic() - started:6.1f} s", flush=True)
    print("".join(broken), end="", flush=True)
    return not broken, counts


def main() -> int:
    """Runs the checks asked for; 1 if one failed."""
    parser = argparse.ArgumentParser(prog="run.py test", description="Runs every check, cheap ones first.")
    parser.add_argument("--only", metavar="NAMES", help="only these checks, separated by commas")
    parser.add_argument("--lint", action="store_true", help="only the checks that read the sources")
    parser.add_argument("--keep-going", action="store_true", help="go on after a failure")
    parser.add_argument("--list", action="store_true", help="show the checks and their commands")
    parser.add_argument("extra", nargs="*", metavar="-- ARGUMENT", help="handed to the one check that --only names")
    options = parser.parse_args()
    names = options.only.split(",") if options.only else [check.name for check in CHECKS]
    unknown = [name for name in names if name not in {check.name for check in CHECKS}]
    if unknown:
        parser.error(f"no check {unknown[0]!r}; there are {', '.join(check.name for check in CHECKS)}")
    if options.extra and len(names) != 1:
        parser.error("arguments for a check need --only with one name")
    chosen = [check for check in CHECKS if check.name in names and (check.lint or not options.lint)]
    if options.list:
        for check in chosen:
            print(f"{check.name:9} " + "\n          ".join(map(" ".join, check.commands([]))))
        return 0
    os.environ["PYO3_PYTHON"] = PYTHON
    # The same cases in every run, so that a red run is the change's doing. Longer campaigns take seeds of their own.
    os.environ.setdefault("PROPTEST_RNG_SEED", "1")
    os.environ.setdefault("HYPOTHESIS_PROFILE", "seeded")
    total = Counts()
    for check in chosen:
        good, counts = run(check, options.extra)
        total += counts
        if not good and not options.keep_going:
            break
    print(f"{total.passed} passed, {total.failed} failed")
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
