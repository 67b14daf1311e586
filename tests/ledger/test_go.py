"""What is proved here, Go's own packages believe: golang.org/x/mod/sumdb/note and tlog."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from harmonia.ledger.note import COSIGNATURE, Signer
from tests.ledger.test_note import LOG, checkpoint, proof

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def verify(tmp_path_factory: pytest.TempPathFactory, go: dict[str, str]) -> Path:
    """The example's program."""
    folder = tmp_path_factory.mktemp("go")
    program = folder / "verify"
    source = ROOT / "examples/ledger/verify.go"
    subprocess.run(["go", "build", "-o", program, source], check=True, env=go, cwd=folder)
    return program


def run(verify: Path, key: str, file: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([verify, key, file], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("index", "size"), [(0, 1), (3, 7), (299, 300), (256, 257), (0, 65_537)])
def test_go_verifies_a_proof_made_here(verify: Path, tmp_path: Path, index: int, size: int) -> None:
    made = proof(index, size)
    file = tmp_path / "a.tlog-proof"
    file.write_text(str(made))
    done = run(verify, str(LOG.verifier), file)
    assert (done.returncode, done.stdout) == (0, made.entry.decode() + "\n"), done.stderr


def test_go_refuses_changed_bytes(verify: Path, tmp_path: Path) -> None:
    good, file = str(proof(3, 5)).encode(), tmp_path / "a.tlog-proof"
    believed = []
    for at in range(0, len(good), 3):
        file.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        if run(verify, str(LOG.verifier), file).returncode == 0:
            believed.append(at)
    assert believed == []


def test_go_refuses_another_key(verify: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.tlog-proof"
    file.write_text(str(proof()))
    assert run(verify, str(Signer(LOG.name, b"x" * 32).verifier), file).returncode != 0


def test_go_verifies_below_witnesses(verify: Path, tmp_path: Path) -> None:
    """It knows no cosignature, and passes over one."""
    witness = Signer("witness.example/w1", b"w" * 32, COSIGNATURE)
    cosigned = checkpoint().signed(witness.cosign(checkpoint().text, 1))
    file = tmp_path / "a.tlog-proof"
    file.write_text(str(replace(proof(), checkpoint=cosigned)))
    assert run(verify, str(LOG.verifier), file).returncode == 0
