"""The requirements are locked, and every list of them says the same."""

import re
import tomllib
from pathlib import Path

import pytest


def wanted(path: Path) -> set[str]:
    lines = (line.strip() for line in path.read_text().splitlines())
    return {line for line in lines if line and not line.startswith(("#", "-"))}


def locked(path: Path) -> dict[str, str]:
    """Package to version."""
    return dict(re.findall(r"^([a-z0-9_.-]+)==(\S+)", path.read_text(), re.MULTILINE))


def name_of(requirement: str) -> str:
    return re.split(r"[=<>~!\[; ]", requirement)[0]


def test_the_package_and_the_lock_want_the_same(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert {*project["dependencies"], "maturin"} == wanted(root / "requirements/runtime.in")


@pytest.mark.parametrize("name", ["runtime", "dev"])
def test_everything_wanted_is_locked(root: Path, name: str) -> None:
    names = {name_of(requirement) for requirement in wanted(root / f"requirements/{name}.in")}
    assert names <= set(locked(root / f"requirements/{name}.txt"))


def test_what_the_tests_use_is_what_a_night_uses(root: Path) -> None:
    runtime, dev = (locked(root / f"requirements/{name}.txt") for name in ("runtime", "dev"))
    assert runtime.items() <= dev.items()


@pytest.mark.parametrize("name", ["runtime", "dev"])
def test_every_pin_has_a_hash_and_no_lock_names_a_host(root: Path, name: str) -> None:
    text = (root / f"requirements/{name}.txt").read_text()
    pins = re.split(r"^(?=[a-z0-9_.-]+==)", text, flags=re.MULTILINE)[1:]
    assert len(pins) == len(locked(root / f"requirements/{name}.txt"))
    assert [pin.splitlines()[0] for pin in pins if "--hash=sha256:" not in pin] == []
    assert "://" not in text


def test_the_versions_agree(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    workspace = tomllib.loads((root / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    changes = re.search(r"^## \[(\d+\.\d+\.\d+)\]", (root / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert changes
    assert project == workspace == changes[1]
