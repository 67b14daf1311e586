"""The contracts in pyproject.toml hold the layers: each is broken here once, on a toy tree, and has to say so."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOMS = ["cli", "rpc", "engine", "client", "domain", "journal", "v1"]


def lint(root: Path, tree: Path) -> subprocess.CompletedProcess[str]:
    command = "from importlinter.cli import lint_imports_command as run; run()"
    arguments = [sys.executable, "-c", command, "--config", str(root / "pyproject.toml"), "--no-cache"]
    environment = dict(os.environ, PYTHONPATH=str(tree))
    return subprocess.run(arguments, cwd=tree, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for room in ["", *ROOMS]:
        (tmp_path / "harmonia" / room).mkdir(parents=True, exist_ok=True)
        (tmp_path / "harmonia" / room / "__init__.py").touch()
    (tmp_path / "harmonia/failpoints.py").touch()
    return tmp_path


def test_the_rooms_of_the_house_may_do_what_they_do(root: Path, tree: Path) -> None:
    (tree / "harmonia/rpc/bridge.py").write_text("import harmonia.engine\nimport harmonia.v1\n")
    (tree / "harmonia/cli/main.py").write_text("import harmonia.rpc\nimport harmonia.client\n")
    (tree / "harmonia/engine/conductor.py").write_text("import harmonia.domain\nimport harmonia.journal\nimport trio\n")
    result = lint(root, tree)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("engine/x.py", "harmonia.rpc"),
        ("engine/x.py", "harmonia.client"),
        ("client/x.py", "harmonia.engine"),
        ("domain/x.py", "harmonia.journal"),
        ("domain/x.py", "harmonia.engine"),
        ("journal/x.py", "harmonia.engine"),
        ("journal/x.py", "harmonia.domain"),
        ("cli/x.py", "harmonia.v1"),
        ("engine/x.py", "harmonia.v1"),
        ("domain/x.py", "harmonia.v1"),
        ("domain/x.py", "time"),
        ("domain/x.py", "trio"),
        ("engine/x.py", "tests"),
        ("cli/x.py", "loadtests.load"),
        ("rpc/x.py", "sim"),
        ("journal/x.py", "faults"),
        ("domain/x.py", "harmonia.failpoints"),
    ],
)
def test_an_arrow_that_points_up_is_refused(root: Path, tree: Path, module: str, imported: str) -> None:
    (tree / "harmonia" / module).write_text(f"import {imported}\n")
    result = lint(root, tree)
    assert result.returncode != 0
    assert (
        f"harmonia.{module.removesuffix('.py').replace('/', '.')} -> {imported.partition('.load')[0]}" in result.stdout
    )
