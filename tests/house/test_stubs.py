"""The checked-in stubs are what protoc makes of proto/ today."""

import subprocess
import sys
from pathlib import Path


def test_the_stubs_are_fresh(root: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, root / "scripts/stubs.py", tmp_path], check=True, capture_output=True)
    made = {path.name: path.read_text() for path in (tmp_path / "harmonia/v1").iterdir()}
    kept = {path.name: path.read_text() for path in (root / "python/harmonia/v1").glob("*_pb2*")}
    assert set(made) == set(kept), "run `python3 run.py stubs`, and delete what no proto file makes any more"
    stale = sorted(name for name in made if made[name] != kept[name])
    assert stale == [], "run `python3 run.py stubs`"
