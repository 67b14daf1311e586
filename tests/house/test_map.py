"""docs/ARCHITECTURE.md shows the house as it stands."""

import re
from pathlib import Path

from scripts import map as house_map


def test_the_map_is_fresh() -> None:
    document = house_map.DOCUMENT.read_text()
    assert house_map.redraw(document) == document, "run `python3 run.py map`"


def test_every_folder_of_sources_is_on_the_map(root: Path) -> None:
    document = house_map.DOCUMENT.read_text()
    rooms = {
        path.parent
        for top in ("rust", "python", "loadtests", "scripts", "tests", "proto")
        for path in (root / top).rglob("*")
        if house_map.is_source(path)
    }
    assert [
        str(room.relative_to(root)) for room in sorted(rooms) if f"`{room.relative_to(root)}/`" not in document
    ] == []


def test_every_file_says_what_it_is() -> None:
    rows = re.findall(r"^\| `([^`]+)` \| *(.*?) *\|$", house_map.draw(), re.MULTILINE)
    assert [name for name, meaning in rows if not meaning] == []


def test_every_path_in_the_documents_exists(root: Path) -> None:
    """A path is what stands in backticks, has a slash, and begins with a name that stands in the root."""
    missing = []
    for document in [root / "README.md", *sorted((root / "docs").rglob("*.md"))]:
        for name in re.findall(r"`([\w.-]+/[\w./-]*)`", document.read_text()):
            if not name.startswith("./") and (root / name.partition("/")[0]).exists() and not (root / name).exists():
                missing.append(f"{document.name}: {name}")
        for name in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            if not (document.parent / name).exists():
                missing.append(f"{document.name}: {name}")
    assert missing == []


def test_decisions_are_numbered_without_a_gap_and_have_their_four_parts(root: Path) -> None:
    decisions = sorted((root / "docs/decisions").glob("*.md"))
    assert [int(path.name[:4]) for path in decisions] == list(range(1, len(decisions) + 1))
    for path in decisions:
        parts = re.findall(r"^## (.*)$", path.read_text(), re.MULTILINE)
        assert parts == ["Context", "Measured", "Decision", "Consequence"], path.name


def test_the_readme_lists_every_exit_code(root: Path) -> None:
    codes = set(re.findall(r"^    exit_code = (\d+)$", (root / "python/harmonia/errors.py").read_text(), re.MULTILINE))
    listed = set(re.findall(r"^\| (\d+) \|", (root / "README.md").read_text(), re.MULTILINE))
    assert codes
    assert codes <= listed
