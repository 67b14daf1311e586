"""Generates python/harmonia/v1 from proto/. With a folder as its argument, it writes there instead."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def generate(target: Path) -> None:
    """Writes the messages, the services and their types under ``target``/harmonia/v1."""
    outputs = [f"--{kind}_out={target}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
    sources = sorted(str(path.relative_to(ROOT / "proto")) for path in (ROOT / "proto").rglob("*.proto"))
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", "-I.", *outputs, *sources], cwd=ROOT / "proto", check=True
    )


if __name__ == "__main__":
    generate(Path(sys.argv[1]).resolve() if sys.argv[1:] else ROOT / "python")
