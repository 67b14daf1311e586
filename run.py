#!/usr/bin/env python3
"""Sets Harmonia up in .venv beside this file, then runs a part of it. Needs Python 3.11+, cargo and a C compiler.

Set-up does only what is missing: the virtual environment, the locked requirements (every download is checked against
its hash), the Rust extension (built again when, and only when, a source of it changed; the Python sources are used in
place). Each step leaves a stamp when it is done, never before, so that an interrupted set-up is simply taken up again;
two runs at once wait for each other.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / "bin"
STAMPS = VENV / "stamps"
EXTENSION = ROOT / "python" / "harmonia" / "_core.abi3.so"

# name: (locked requirements, command line, what it does); the order is that of the help.
COMMANDS: dict[str, tuple[str, list[str], str]] = {
    "night": (
        "runtime",
        ["harmonia", "night"],
        "a whole night in about 90 seconds, ending in a report; --help lists more",
    ),
    "test": ("dev", ["python", "scripts/check.py"], "every check, cheap ones first; --list, --only NAME, --keep-going"),
    "harmonia": ("runtime", ["harmonia"], "the command line itself: python3 run.py harmonia -- status"),
    "lint": ("dev", ["python", "scripts/check.py", "--lint"], "the checks that only read the sources"),
    "load": (
        "dev",
        ["python", "-m", "loadtests.load"],
        "simulated sleepers against a real sanctuary; --sleepers N --seconds S",
    ),
    "bench": ("runtime", ["harmonia", "bench"], "what the engine's answers cost: python3 run.py bench clock --json"),
    "sim": (
        "dev",
        ["python", "-m", "sim.__main__"],
        "simulated networks against limits, beside peers' figures; --seeds N",
    ),
    "faults": (
        "dev",
        ["python", "-m", "faults.__main__"],
        "a sanctuary broken on purpose: --kills N, --power-cuts N, --disk-errors; --seed S",
    ),
    "model": (
        "dev",
        ["python", "-m", "sim.model"],
        "every order of events of a small world of consent, and five seeded bugs; --full",
    ),
    "nights": (
        "dev",
        ["python", "-m", "sim.nights.__main__"],
        "simulated nights of random people, every invariant after every event; --count N --seed S",
    ),
    "stubs": ("dev", ["python", "scripts/stubs.py"], "python/harmonia/v1 again from proto/"),
    "map": (
        "dev",
        ["python", "scripts/map.py"],
        "the map in docs/ARCHITECTURE.md again from the files' first sentences",
    ),
    "python": ("dev", ["python"], "the environment's own Python: python3 run.py python examples/X.py"),
    "setup": ("dev", [], "nothing but the set-up"),
}

SETUP_FAILED = 8
"""The exit code of a failed set-up: none of those that `harmonia` has."""


class SetupError(Exception):
    """Set-up cannot go on; the message says what to do about it."""


def main(arguments: list[str]) -> int:
    """Runs one command and returns its exit code; 2 for a bad command line, 8 if set-up failed."""
    if not arguments or arguments[0] in {"-h", "--help", "help"}:
        print_help()
        return 0 if arguments else 2
    name, *rest = arguments
    if name not in COMMANDS:
        print(f"run.py: no command {name!r}; there are {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    requirements, command, _ = COMMANDS[name]
    try:
        set_up(requirements)
    except SetupError as error:
        print(f"run.py: {error}", file=sys.stderr)
        return SETUP_FAILED
    if not command:
        return 0
    program, *fixed = command
    fixed = [str(ROOT / argument) if argument.endswith(".py") else argument for argument in fixed]
    environment = dict(os.environ, VIRTUAL_ENV=str(VENV), PATH=f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}")
    if "-m" in fixed:
        os.chdir(ROOT)  # a module of the project, which is not installed
    # So that what a command suggests to type next works where this was typed.
    environment.setdefault("HARMONIA_CALLED_AS", f"python3 {Path(sys.argv[0])} harmonia --")
    sys.stdout.flush()
    return os.execve(BIN / program, [program, *fixed, *(rest[1:] if rest[:1] == ["--"] else rest)], environment)


def print_help() -> None:
    """Says what there is to run."""
    print("usage: python3 run.py COMMAND [ARGUMENTS]\n")
    for name, (_, _, meaning) in COMMANDS.items():
        print(f"  {name:9} {meaning}")


def set_up(requirements: str) -> None:
    """Brings .venv and the extension up to date. Raises SetupError."""
    check_tools()
    # The lock is on this very file: there is always one, and the system lets go of it however a run ends. The tools
    # hold it, too: if only this process is killed, the next one waits until what it started is over.
    with Path(__file__).open("rb") as this_file:
        os.set_inheritable(this_file.fileno(), True)
        try:
            fcntl.flock(this_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("run.py: waiting for another run's set-up", file=sys.stderr)
            fcntl.flock(this_file, fcntl.LOCK_EX)
        make_environment()
        install(requirements)
        build_extension()


def check_tools() -> None:
    """Raises SetupError, naming what to install, unless everything that set-up calls is there."""
    if sys.version_info < (3, 11):  # noqa: UP036
        raise SetupError(f"this is Python {sys.version.split()[0]}; install 3.11 or newer and call run.py with that")
    missing = []
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        missing.append("Python's venv module (Debian: apt-get install python3-venv)")
    if not cargo_path():
        missing.append("the Rust toolchain (https://rustup.rs)")
    if not shutil.which("cc"):
        missing.append("a C compiler (Debian: apt-get install build-essential)")
    if missing:
        raise SetupError("please install " + " and ".join(missing) + ", then try again")
    needed = next(
        line.split('"')[1] for line in (ROOT / "Cargo.toml").read_text().splitlines() if line.startswith("rust-version")
    )
    found = subprocess.run(["rustc", "--version"], capture_output=True, text=True, env=tool_environment(), check=False)
    version = [*found.stdout.split(), "", "none"][1]
    if found.returncode or version_key(version) < version_key(needed):
        raise SetupError(
            f"rustc {needed} or newer is needed, here is {version}; run `rustup update` or see https://rustup.rs"
        )


def version_key(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: (1, 88) for "1.88-nightly"."""
    return tuple(int(part) for part in version.partition("-")[0].split(".") if part.isdigit())


def cargo_path() -> Path | None:
    """The folder that holds cargo: one of PATH, or where rustup puts it in a shell that was never restarted."""
    folder = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo")) / "bin"
    found = shutil.which("cargo", path=os.pathsep.join([os.environ.get("PATH", ""), str(folder)]))
    return Path(found).parent if found else None


def tool_environment() -> dict[str, str]:
    """The environment of set-up's tools: they find cargo and .venv, and nothing of the caller's Python."""
    environment = dict(os.environ, VIRTUAL_ENV=str(VENV), PYO3_PYTHON=str(BIN / "python"))
    environment["PATH"] = os.pathsep.join([str(BIN), os.environ.get("PATH", ""), str(cargo_path())])
    for name in ("PYTHONPATH", "PYTHONHOME", "CONDA_PREFIX"):
        environment.pop(name, None)
    return environment


def make_environment() -> None:
    """Makes .venv, anew if it was made by another Python, for another folder, or never finished."""
    state = f"{sys.version} {os.path.realpath(sys.executable)} {VENV}"
    if fresh("environment", state):
        return
    run("making .venv", [sys.executable, "-m", "venv", "--clear", str(VENV)])
    stamp("environment", state)


def install(requirements: str) -> None:
    """Installs requirements/NAME.txt. "dev" holds everything that "runtime" does."""
    states = {name: digest([ROOT / "requirements" / f"{name}.txt"]) for name in ("runtime", "dev")}
    if fresh("dev", states["dev"]) or fresh(requirements, states[requirements]):
        return
    for name in states:
        (STAMPS / name).unlink(missing_ok=True)  # pip may leave either half done
    pip = [str(BIN / "python"), "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--require-hashes"]
    run(f"installing {requirements} requirements", [*pip, "-r", str(ROOT / "requirements" / f"{requirements}.txt")])
    stamp(requirements, states[requirements])


def build_extension() -> None:
    """Builds harmonia._core in place, and installs the package so that its Python sources are used where they lie."""
    sources = [ROOT / name for name in ("Cargo.toml", "Cargo.lock", "pyproject.toml")]
    crates = [ROOT / "rust" / name for name in ("core", "io", "py")]  # the others are built for their own sake
    sources += sorted(
        path
        for crate in crates
        for path in crate.rglob("*")
        if path.is_file() and "target" not in path.relative_to(ROOT).parts
    )
    state = digest(sources)
    if EXTENSION.exists() and fresh("extension", f"{state} {digest([EXTENSION])}"):
        return
    (STAMPS / "extension").unlink(missing_ok=True)
    run("building the extension", [str(BIN / "maturin"), "develop", "--release", "--locked"])
    stamp("extension", f"{state} {digest([EXTENSION])}")


def digest(files: list[Path]) -> str:
    """One hash over names and contents."""
    total = hashlib.sha256()
    for path in files:
        total.update(f"{path.relative_to(ROOT)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def fresh(name: str, state: str) -> bool:
    """Whether the step left this stamp."""
    path = STAMPS / name
    return path.is_file() and path.read_text() == state


def stamp(name: str, state: str) -> None:
    """Says that the step is done. Renamed into place, so that there is never half a stamp."""
    STAMPS.mkdir(exist_ok=True)
    half = STAMPS / f"{name}.new"
    half.write_text(state)
    half.replace(STAMPS / name)


def run(what: str, command: list[str]) -> None:
    """Runs a tool with one line of progress; its own output is shown only if it fails."""
    started = time.monotonic()
    live = sys.stderr.isatty()
    if not live:
        print(f"run.py: {what} ...", file=sys.stderr, flush=True)
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, cwd=ROOT, env=tool_environment(), start_new_session=True,
            close_fds=False,
        )  # fmt: skip
        try:
            while True:
                try:
                    code = process.wait(timeout=0.5)
                    break
                except subprocess.TimeoutExpired:
                    if live:
                        print(
                            f"\rrun.py: {what} {time.monotonic() - started:4.0f} s ",
                            end="",
                            file=sys.stderr,
                            flush=True,
                        )
        except BaseException:
            os.killpg(process.pid, signal.SIGTERM)  # its compilers too, or they would go on under the next run
            process.wait()
            raise
        if live:
            print(f"\r\033[Krun.py: {what}: {time.monotonic() - started:.0f} s", file=sys.stderr)
        if code:
            output.seek(0)
            sys.stderr.write(output.read().decode(errors="replace"))
            raise SetupError(f"{what} failed: `{' '.join(command)}` ended with {code}; what it said is above")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as an exception, so that the tools are ended, too
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
