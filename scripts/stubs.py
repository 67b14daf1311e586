"""Generates python/harmonia/v1 from proto/. With a folder as its argument, it writes there instead."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def generate(target: Path) -> None:
    """Writes the messages, the services and their types under ``target``/harmonia/v1."""
    outputs = [f"--{kind}_out={target}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
    sources = sorted(str(path.relative_to(ROOT / "proto")) for path in (ROOT / "proto").rglob("*.proto"))
    # protoc looks for its plug-ins on PATH; they lie beside this Python.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I.", *outputs, *sources]
    subprocess.run(command, cwd=ROOT / "proto", env=os.environ | {"PATH": path}, check=True)


if __name__ == "__main__":
    generate(Path(sys.argv[1]).resolve() if sys.argv[1:] else ROOT / "python")
