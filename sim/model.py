"""`python -m sim.model`: builds the model of consent (rust/model) and walks it.

What it prints and which options it takes is the model's own business; this only calls cargo. Exit code 1 if a law is
broken or a seeded bug is not found, 2 for a wrong option.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Hands everything on."""
    command = ["cargo", "run", "--release", "--quiet", "--locked", "--package", "harmonia-model", "--"]
    return subprocess.run([*command, *sys.argv[1:]], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
