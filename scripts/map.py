"""Writes the map of the house into docs/ARCHITECTURE.md, from the first sentence of every source file.

So the map cannot be out of date for long: a test compares, and says which command to run.
"""

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "ARCHITECTURE.md"
BEGIN = "<!-- The map: made by `python3 run.py map`. -->\n"
END = "<!-- The end of the map. -->\n"
SOURCES = [
    "proto/harmonia",
    "rust/core",
    "rust/io",
    "rust/py",
    "rust/sim",
    "rust/fuzz",
    "rust/model",
    "python/harmonia",
    "loadtests",
    "scripts",
    "tests",
    "sim",
    "faults",
]
COMMENT = {".rs": r"//!", ".proto": r"//"}


def first_sentence(path: Path) -> str:
    """What the file says it is, as one sentence; empty if it does not say."""
    text = path.read_text()
    if path.suffix == ".py":
        said = ast.get_docstring(ast.parse(text)) or ""
    else:
        lines = re.findall(rf"^{COMMENT[path.suffix]} ?(.*)$", text, re.MULTILINE)
        said = "\n".join(lines)
    paragraph = " ".join(said.strip().partition("\n\n")[0].split())
    sentence = re.match(r".*?[.:](?= [A-Z*`]|$)", paragraph)
    return (sentence[0] if sentence else paragraph).replace("|", r"\|")


def is_source(path: Path) -> bool:
    """Whether the map shows the file: written by people, and more than the marker of a package."""
    relative = path.relative_to(ROOT)
    generated = re.search(r"_pb2(_grpc)?\.py$", path.name) or "target" in relative.parts
    bare = path.name == "__init__.py" and not path.read_text().strip()
    return path.suffix in {".py", ".rs", ".proto"} and not generated and not bare and path.name != "conftest.py"


def draw() -> str:
    """The map as Markdown: a table a folder."""
    parts = []
    folders: dict[Path, list[Path]] = {}
    for source in SOURCES:
        for path in sorted((ROOT / source).rglob("*")) if (ROOT / source).is_dir() else []:
            if is_source(path):
                folders.setdefault(path.parent, []).append(path)
    for folder, paths in folders.items():
        parts.append(f"### `{folder.relative_to(ROOT)}/`\n")
        door = {"__init__.py", "lib.rs"}
        parts += [f"{first_sentence(path)}\n" for path in paths if path.name in door and first_sentence(path)]
        rows = [f"| `{path.name}` | {first_sentence(path)} |" for path in paths if path.name not in door]
        if rows:
            parts.append("\n".join(["| file | what it is |", "| --- | --- |", *rows]) + "\n")
    return "\n".join(parts)


def redraw(document: str) -> str:
    """The document with a fresh map."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{draw()}\n{END}{after}"


if __name__ == "__main__":
    sys.exit(0 if DOCUMENT.write_text(redraw(DOCUMENT.read_text())) else 1)
