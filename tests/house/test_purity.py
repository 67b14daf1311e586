"""The linters keep clocks, entropy, threads and locks out of the core and the domain, and only out of those."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

IMPURE_PYTHON = [
    "import time",
    "from time import monotonic_ns",
    "import random",
    "import secrets",
    "import os",
    "import trio",
    "import datetime\nNOW = datetime.datetime.now(datetime.UTC)",
    "import uuid\nNAME = uuid.uuid4()",
    "from pathlib import Path",
]

IMPURE_RUST = [
    "std::time::Instant::now();",
    "std::time::SystemTime::now();",
    "std::thread::spawn(|| ()).join().unwrap();",
    "std::thread::sleep(std::time::Duration::ZERO);",
    'std::env::var("HOME").ok();',
    'std::fs::read("file").ok();',
    'std::net::UdpSocket::bind("127.0.0.1:0").ok();',
    "std::collections::HashMap::<u8, u8>::new();",
    "std::sync::Mutex::new(0u8);",
    "std::sync::RwLock::new(0u8);",
    "std::sync::Condvar::new();",
    "std::sync::Barrier::new(1);",
    "std::sync::Once::new();",
    "std::sync::OnceLock::<u8>::new();",
    "std::sync::LazyLock::new(|| 0u8);",
    "let _: Option<std::sync::mpsc::Receiver<u8>> = None;",
]


def ruff(root: Path, source: str, where: str) -> set[str]:
    """The codes that ruff finds in ``source`` if it stood at ``where``."""
    command = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--output-format=json",
        "--stdin-filename",
        str(root / where),
        "-",
    ]
    result = subprocess.run(command, cwd=root, input=source, capture_output=True, text=True, check=False)
    return {finding["code"] for finding in json.loads(result.stdout)}


@pytest.mark.parametrize("source", IMPURE_PYTHON)
def test_the_domain_reads_no_clock_no_entropy_no_file(root: Path, source: str) -> None:
    assert "TID251" in ruff(root, source, "python/harmonia/domain/anything.py")
    assert "TID251" not in ruff(root, source, "python/harmonia/engine/anything.py")


def test_the_core_reads_no_clock_no_entropy_no_file_and_takes_no_lock(root: Path, tmp_path: Path) -> None:
    """One crate with every sin under the core's clippy.toml: each line of it must be found."""
    (tmp_path / "src").mkdir()
    (tmp_path / "Cargo.toml").write_text('[package]\nname = "sins"\nversion = "0.0.0"\nedition = "2021"\n[workspace]\n')
    (tmp_path / "src/lib.rs").write_text("\n".join(["pub fn sins() {", *IMPURE_RUST, "}"]))
    shutil.copy(root / "rust/core/clippy.toml", tmp_path)
    environment = dict(os.environ, CARGO_TARGET_DIR=str(tmp_path / "target"))
    command = ["cargo", "clippy", "--offline", "--message-format=json"]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    messages = [json.loads(line).get("message") for line in result.stdout.splitlines() if line.startswith("{")]
    found = {
        span["line_start"]
        for message in messages
        if message and (message["code"] or {}).get("code") in {"clippy::disallowed_methods", "clippy::disallowed_types"}
        for span in message["spans"]
    }
    assert found == set(range(2, len(IMPURE_RUST) + 2)), result.stderr


def test_the_core_forbids_unsafe_code(root: Path) -> None:
    assert "#![forbid(unsafe_code)]" in (root / "rust/core/src/lib.rs").read_text()
