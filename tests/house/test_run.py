"""run.py sets up what is missing, again what went wrong, and nothing else."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def house(root: Path, tmp_path: Path) -> ModuleType:
    """run.py as a module, of a house in a folder of the test's own, whose tools are only recorded."""
    spec = importlib.util.spec_from_file_location("run", root / "run.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    here: Any = module
    here.ROOT = tmp_path
    here.VENV = tmp_path / ".venv"
    here.BIN = here.VENV / "bin"
    here.STAMPS = here.VENV / "stamps"
    here.EXTENSION = tmp_path / "extension.so"
    here.called = []

    def record(what: str, command: list[str]) -> None:
        here.called.append(what)
        here.VENV.mkdir(exist_ok=True)
        if what == here.failing:
            raise here.SetupError(f"{what} failed")
        if what == "building the extension":
            here.EXTENSION.write_text("built")

    here.failing = None
    here.run = record
    here.check_tools = lambda: None
    (tmp_path / "rust" / "core").mkdir(parents=True)
    (tmp_path / "requirements").mkdir()
    for name in [
        "Cargo.toml",
        "Cargo.lock",
        "pyproject.toml",
        "rust/core/lib.rs",
        "requirements/runtime.txt",
        "requirements/dev.txt",
    ]:
        (tmp_path / name).write_text(name)
    return module


ALL = ["making .venv", "installing runtime requirements", "building the extension"]


def test_the_first_run_does_everything_and_the_second_nothing(house: Any) -> None:
    house.set_up("runtime")
    assert house.called == ALL
    house.set_up("runtime")
    assert house.called == ALL


@pytest.mark.parametrize("step", ALL)
def test_a_step_that_failed_is_taken_up_again(house: Any, step: str) -> None:
    house.failing = step
    with pytest.raises(house.SetupError):
        house.set_up("runtime")
    house.failing = None
    house.called.clear()
    house.set_up("runtime")
    assert house.called == ALL[ALL.index(step) :]


@pytest.mark.parametrize("source", ["Cargo.lock", "rust/core/lib.rs", "rust/core/new.rs", "pyproject.toml"])
def test_the_extension_is_built_again_when_a_source_changes(house: Any, tmp_path: Path, source: str) -> None:
    house.set_up("runtime")
    house.called.clear()
    (tmp_path / source).write_text("changed")
    house.set_up("runtime")
    assert house.called == ["building the extension"]


def test_the_extension_is_built_again_when_it_is_gone_or_another(house: Any) -> None:
    for spoil in (house.EXTENSION.unlink, lambda: house.EXTENSION.write_text("from elsewhere")):
        house.set_up("runtime")
        house.called.clear()
        spoil()
        house.set_up("runtime")
        assert house.called == ["building the extension"]


def test_the_tests_requirements_are_enough_for_a_night(house: Any) -> None:
    house.set_up("dev")
    house.called.clear()
    house.set_up("runtime")
    assert house.called == []


def test_a_broken_installation_leaves_neither_list_valid(house: Any) -> None:
    house.set_up("runtime")
    house.failing = "installing dev requirements"
    with pytest.raises(house.SetupError):
        house.set_up("dev")
    house.failing = None
    house.called.clear()
    house.set_up("runtime")
    assert house.called == ["installing runtime requirements"]


def test_a_changed_lock_is_installed(house: Any, tmp_path: Path) -> None:
    house.set_up("runtime")
    house.called.clear()
    (tmp_path / "requirements/runtime.txt").write_text("changed")
    house.set_up("runtime")
    assert house.called == ["installing runtime requirements"]


def call(root: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(root / "run.py"), *arguments]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)


def test_a_missing_toolchain_is_named_in_one_line(root: Path, tmp_path: Path) -> None:
    result = call(root, "night", PATH=str(tmp_path), CARGO_HOME=str(tmp_path))
    assert result.returncode == 8
    assert len(result.stderr.splitlines()) == 1
    assert "rustup.rs" in result.stderr
    assert "build-essential" in result.stderr


def test_an_unknown_command_names_those_that_exist(root: Path) -> None:
    result = call(root, "nihgt")
    assert result.returncode == 2
    assert "night" in result.stderr


def test_help_needs_no_set_up(root: Path, tmp_path: Path) -> None:
    result = call(root, "--help", PATH=str(tmp_path))
    assert result.returncode == 0
    assert "night" in result.stdout


def test_a_failing_tool_shows_what_it_said(root: Path) -> None:
    code = "import run, sys; run.run('trying', [sys.executable, '-c', 'print(\"the reason\"); sys.exit(7)'])"
    code = code.replace("; sys.exit(7)", "; raise SystemExit(7)")
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert "the reason" in result.stderr
    assert "ended with 7" in result.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_run_that_is_ended_ends_its_tools(root: Path, tmp_path: Path, number: int, code: int) -> None:
    """The real run.py, with a cargo and an rustc that are enough for it, and a Python whose venv module never ends."""
    house = tmp_path / "house"
    (house / "bin").mkdir(parents=True)
    shutil.copy(root / "run.py", house)
    shutil.copy(root / "Cargo.toml", house)
    for tool in ("cargo", "cc", "rustc"):
        (house / "bin" / tool).write_text("#!/bin/sh\necho rustc 9.9.9\n")
        (house / "bin" / tool).chmod(0o755)
    fifo = house / "alive"
    os.mkfifo(fifo)
    # The first thing that set-up runs is `python -m venv`; sitecustomize makes that hold the pipe open.
    hang = (
        f"import sys, time\nif '-m' in sys.orig_argv:\n    pipe = open({str(fifo)!r}, 'w')\n"
        "    time.sleep(20)\n    pipe.write('too late')\n"
    )
    (house / "sitecustomize.py").write_text(hang)
    environment = dict(os.environ, PATH=f"{house / 'bin'}{os.pathsep}{os.environ['PATH']}")
    launcher = (
        "import os, run, signal, sys; tools = run.tool_environment;"
        f"run.tool_environment = lambda: dict(tools(), PYTHONPATH={str(house)!r});"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143));"
        "signal.signal(signal.SIGINT, lambda *_: sys.exit(130));"
        "run.main(['setup'])"
    )
    process = subprocess.Popen([sys.executable, "-c", launcher], cwd=house, env=environment)
    try:
        with fifo.open() as pipe:  # opens when the tool is there
            process.send_signal(number)
            assert pipe.read() == ""  # ends when the tool is gone
        assert process.wait() == code
    finally:
        process.kill()
        process.wait()


def test_every_command_has_something_to_run(root: Path, house: Any) -> None:
    for name, (requirements, command, meaning) in house.COMMANDS.items():
        assert (root / "requirements" / f"{requirements}.txt").is_file(), name
        assert meaning
        modules = [command[at + 1].replace(".", "/") + ".py" for at, word in enumerate(command) if word == "-m"]
        for path in modules + [word for word in command if word.endswith(".py")]:
            assert (root / path).is_file(), name
