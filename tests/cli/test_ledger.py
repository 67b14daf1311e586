"""`harmonia ledger` and `forget` as people type them; and docs/ledger.md, followed to the letter."""

import json
import os
import re
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from harmonia.client import Endpoint, Identity, SleeperCalls
from harmonia.ledger.leaves import Entry
from harmonia.ledger.note import Checkpoint
from harmonia.ledger.proof import Proof
from harmonia.ledger.reading import signer_of
from harmonia.ledger.tree import leaf_hash
from harmonia.v1 import types_pb2
from tests.cli.conftest import Run
from tests.rpc.daemon import Guest, Running, daemon

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = re.compile(r"^<!-- example -->\n```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def settle_in(house: Running, guest: Guest, circle_id: str) -> str:
    """Keeps the guest's state where `harmonia join` would; returns their id."""
    place, ca = house.daemon.place, (house.data_dir / "ca.pem").read_text()
    endpoint = Endpoint(place.host, place.grpc_port, ca)
    folder, sleeper_id = house.data_dir / "sleepers", guest.answer.sleeper_id
    folder.mkdir(exist_ok=True)
    path = folder / f"{sleeper_id}.json"
    Identity(endpoint, circle_id, sleeper_id, guest.credential, guest.key, path=path).save()
    return str(sleeper_id)


def night(house: Running) -> tuple[str, Guest]:
    """One sleeper, who says yes, no, and yes again."""
    circle_id = house.create().circle_id
    ada = house.join(circle_id)
    sleeper_id = settle_in(house, ada, circle_id)
    ada.grant(types_pb2.PURPOSE_VOICE)
    (standing,) = ada.withdraw(types_pb2.PURPOSE_VOICE).purposes
    ada.grant(types_pb2.PURPOSE_VOICE, supersedes=standing.withdrawal_id)
    return sleeper_id, ada


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder after a night."""
    folder = tmp_path / "data"
    with daemon(folder) as house:
        night(house)
    return folder


def said(harmonia: Run, *arguments: str) -> str:
    code, out, err = harmonia(*arguments)
    assert (code, err) == (0, ""), err
    return out


def refused(harmonia: Run, code: int, *arguments: str) -> str:
    ended, out, err = harmonia(*arguments)
    assert (ended, out) == (code, "")
    assert err.startswith("error: ") and err.count("\n") == 1
    return err


def test_an_operator_proves_publishes_and_audits(harmonia: Run, data: Path, tmp_path: Path) -> None:
    here = ("--data", str(data), "--json")
    entries = json.loads(said(harmonia, "ledger", "ls", *here))["entries"]
    assert [entry["kind"] for entry in entries] == ["circle", "grant", "withdrawal", "grant"]
    file = tmp_path / "a.tlog-proof"
    for id in ("2", entries[2]["event_id"], entries[2]["event_id"][-32:]):
        proved = json.loads(said(harmonia, "ledger", "prove", id, "--output", str(file), *here))
        assert proved == {"entry": 2, "size": 4, "proof": str(file), "opening": f"{file}.opening"}
    assert (tmp_path / "a.tlog-proof.opening").stat().st_mode & 0o777 == 0o600
    key = json.loads(said(harmonia, "ledger", "key", *here))["verifier_key"]
    elsewhere = ("--data", str(tmp_path / "nowhere"), "--key", key, "--json")
    verified = json.loads(said(harmonia, "ledger", "verify", str(file), "--opening", f"{file}.opening", *elsewhere))
    assert (verified["entry"], verified["kind"], verified["size"]) == (2, "withdrawal", 4)
    assert json.loads(verified["opened"]["event"])["purposes"] == ["VOICE"]
    public = tmp_path / "public"
    assert json.loads(said(harmonia, "ledger", "publish", str(public), *here))["size"] == 4
    audited = json.loads(said(harmonia, "ledger", "audit", str(public), "--since", str(file), *elsewhere))
    assert audited["kinds"] == {"circle": 1, "grant": 2, "withdrawal": 1}
    opened = json.loads(said(harmonia, "ledger", "audit", "--openings", *here))
    assert {name: opened[name] for name in ("opened", "shredded", "orphans", "grants", "stale", "withdrawals")} == {
        "opened": 4,
        "shredded": 0,
        "orphans": 0,
        "grants": 2,
        "stale": 0,
        "withdrawals": 1,
    }


def test_a_sleeper_proves_what_they_said_and_is_forgotten(harmonia: Run, tmp_path: Path) -> None:
    with daemon(tmp_path) as house:
        sleeper_id, _ = night(house)
        own = ("--data", str(tmp_path), "--sleeper", sleeper_id, "--json")
        entries = json.loads(said(harmonia, "ledger", "ls", *own))["entries"]
        assert [entry["index"] for entry in entries] == [1, 2, 3]
        file = tmp_path / "mine.tlog-proof"
        said(harmonia, "ledger", "prove", entries[0]["event_id"], "--output", str(file), *own)
        said(harmonia, "ledger", "verify", str(file), "--opening", f"{file}.opening", *own[:2])
        assert json.loads(said(harmonia, "ledger", "audit", *own)) == {"entries": 3, "allowed": ["voice"]}
        assert "no entry" in refused(harmonia, 3, "ledger", "prove", "0", *own)
        gone = json.loads(said(harmonia, "me", "forget", "--yes", *own))
        assert gone == {"sleeper_id": sleeper_id, "forgotten": True}
        refused(harmonia, 4, "ledger", "ls", *own)
        said(harmonia, "forget", sleeper_id, "--yes", "--data", str(tmp_path))  # a repetition is answered alike
        assert "no sleeper 'sleeper-x'" in refused(harmonia, 3, "forget", "sleeper-x", "--yes", "--data", str(tmp_path))
    opened = json.loads(said(harmonia, "ledger", "audit", "--openings", "--data", str(tmp_path), "--json"))
    assert (opened["size"], opened["opened"], opened["shredded"]) == (5, 1, 4)
    out = said(harmonia, "ledger", "prove", "2", "--output", str(file), "--data", str(tmp_path))
    assert "nobody can open it any more" in out


def test_an_erasure_journal_kept_apart_is_asked_and_missed(harmonia: Run, tmp_path: Path) -> None:
    data, apart = tmp_path / "data", tmp_path / "apart"
    with daemon(data, erasures=apart) as house:
        sleeper_id, _ = night(house)
        said(harmonia, "forget", sleeper_id, "--yes", "--data", str(data))
    here, there = ("--data", str(data)), ("--erasures", str(apart))
    prove = ("ledger", "prove", "2", "--output", str(tmp_path / "a.tlog-proof"), *here)
    for command in (prove, ("ledger", "audit", "--openings", *here)):
        said(harmonia, *command, *there)
        assert f"{data}/erasures is gone" in refused(harmonia, 6, *command)
    assert "without --sleeper" in refused(harmonia, 2, *prove, *there, "--sleeper", sleeper_id)
    kept = apart.read_bytes()
    apart.unlink()
    serve = ("serve", "--port", "0", *here, *there)
    assert f"{apart} is gone, or its disk is not mounted" in refused(harmonia, 6, *serve)
    assert "--forget-unreadable" in refused(harmonia, 6, *serve, "--new-erasures")
    apart.write_bytes(kept)
    assert f"{apart} is not the one" in refused(harmonia, 6, *serve)
    with daemon(data, erasures=apart, new_erasures=True):
        pass
    said(harmonia, *prove, *there)


def test_a_ledger_that_grows_while_it_is_audited_is_asked_again(
    harmonia: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prove, left = SleeperCalls.prove, 1
    with daemon(tmp_path) as house:
        sleeper_id, ada = night(house)

        async def and_say_no(calls: SleeperCalls, id: str) -> tuple[str, bytes]:
            nonlocal left
            answer = await prove(calls, id)
            if left > 0:
                left -= 1
                ada.withdraw(types_pb2.PURPOSE_VOICE)
            return answer

        monkeypatch.setattr(SleeperCalls, "prove", and_say_no)
        audit = ("ledger", "audit", "--sleeper", sleeper_id, "--data", str(tmp_path))
        assert json.loads(said(harmonia, *audit, "--json")) == {"entries": 4, "allowed": []}
        monkeypatch.setattr("harmonia.cli.ledger_audit.TRIES", 2)
        left = 100
        assert "the ledger grew" in refused(harmonia, 2, *audit)


def test_witnesses_sign_what_continues_and_nothing_else(harmonia: Run, data: Path, tmp_path: Path) -> None:
    public, state = tmp_path / "public", tmp_path / "witness"
    cosign = ("ledger", "cosign", str(public), "--name", "w.example/1", "--state", str(state), "--data", str(data))
    assert "no such file" in refused(harmonia, 3, *cosign)
    said(harmonia, "ledger", "publish", str(public), "--data", str(data))
    key = json.loads(said(harmonia, *cosign, "--json"))["witness_key"]
    audit = ("ledger", "audit", str(public), "--data", str(data), "--witness", key)
    said(harmonia, *audit)
    said(harmonia, "ledger", "publish", str(public), "--data", str(data))  # which takes no signature away
    said(harmonia, *audit)
    proof = str(tmp_path / "a.tlog-proof")
    under = ("--checkpoint", str(public / "checkpoint"), "--output", proof)
    said(harmonia, "ledger", "prove", "1", "--data", str(data), *under)
    said(harmonia, "ledger", "verify", proof, "--data", str(data), "--witness", key)
    assert (state / "witness.key").stat().st_mode & 0o777 == 0o600
    assert "is the key of w.example/1" in refused(harmonia, 2, *cosign[:4], "w.example/2", *cosign[5:])
    kept = (public / "checkpoint").read_text()
    (public / "checkpoint").write_text(kept[: kept.rindex("—")])
    assert "is not signed by w.example/1" in refused(harmonia, 6, *audit)
    (state / "checkpoint").write_text(kept.replace("\n4\n", "\n3\n"))
    assert f"{state}/checkpoint was changed" in refused(harmonia, 6, *cosign)


def test_a_witness_that_forgot_what_it_signed_signs_nothing(harmonia: Run, data: Path, tmp_path: Path) -> None:
    public, state = tmp_path / "public", tmp_path / "witness"
    cosign = ("ledger", "cosign", str(public), "--name", "w.example/1", "--state", str(state), "--data", str(data))
    refused(harmonia, 3, *cosign)  # which made the key, and the mark that nothing is signed yet
    assert state.stat().st_mode & 0o777 == 0o700
    said(harmonia, "ledger", "publish", str(public), "--data", str(data))
    said(harmonia, *cosign)
    before = (public / "checkpoint").read_bytes()
    (state / "checkpoint").write_text("")
    assert f"{state}/checkpoint is cut" in refused(harmonia, 6, *cosign)
    (state / "checkpoint").unlink()
    assert f"{state}/checkpoint is missing" in refused(harmonia, 6, *cosign)
    assert (public / "checkpoint").read_bytes() == before


def test_a_witnesss_key_is_no_ledgers_key_and_the_reverse(harmonia: Run, data: Path, tmp_path: Path) -> None:
    public, state = tmp_path / "public", tmp_path / "witness"
    here = ("--data", str(data))
    said(harmonia, "ledger", "publish", str(public), *here)
    cosign = ("ledger", "cosign", str(public), "--name", "w.example/1", "--state", str(state), *here)
    witness = json.loads(said(harmonia, *cosign, "--json"))["witness_key"]
    ledger = said(harmonia, "ledger", "key", *here).strip()
    audit = ("ledger", "audit", str(public), *here)
    assert "is a witness's, not a ledger's" in refused(harmonia, 2, *audit, "--key", witness)
    assert "is a ledger's, not a witness's" in refused(harmonia, 2, *audit, "--witness", ledger)
    assert "is a witness's, not a ledger's" in refused(harmonia, 2, *cosign, "--key", witness)


@pytest.mark.parametrize("opening", [b"no JSON", b"[]", b"\xff\xfe"])
def test_an_opening_that_is_none_is_named(harmonia: Run, data: Path, tmp_path: Path, opening: bytes) -> None:
    """Signed by the ledger's own key: whoever runs it can sign anything."""
    entry = Entry("grant", "person", 0, sha256(opening).hexdigest()).encode()
    signer = signer_of(data)
    plain = Checkpoint(signer.name, 1, leaf_hash(entry))
    proof, file = tmp_path / "a.tlog-proof", tmp_path / "opening"
    proof.write_text(str(Proof(entry, 0, (), plain.signed(signer.sign(plain.text)))))
    file.write_bytes(opening)
    verify = ("ledger", "verify", str(proof), "--data", str(data))
    said(harmonia, *verify)
    assert f"{file} is no opening" in refused(harmonia, 6, *verify, "--opening", str(file))


@pytest.mark.parametrize("full", ["public/checkpoint.new", "witness/witness.key.new", "witness/checkpoint.new"])
def test_a_witness_that_cannot_write_says_where(harmonia: Run, data: Path, tmp_path: Path, full: str) -> None:
    public, state = tmp_path / "public", tmp_path / "witness"
    said(harmonia, "ledger", "publish", str(public), "--data", str(data))
    (tmp_path / full).mkdir(parents=True)
    cosign = ("ledger", "cosign", str(public), "--name", "w.example/1", "--state", str(state), "--data", str(data))
    assert f"{tmp_path / full} cannot be written" in refused(harmonia, 6, *cosign)


def test_every_refusal_is_one_line_that_names_the_file(harmonia: Run, data: Path, tmp_path: Path) -> None:
    here = ("--data", str(data))
    file, public = tmp_path / "a.tlog-proof", tmp_path / "public"
    said(harmonia, "ledger", "prove", "1", "--output", str(file), *here)
    said(harmonia, "ledger", "publish", str(public), *here)
    opening = Path(f"{file}.opening")
    opening.write_bytes(opening.read_bytes().replace(b"VOICE", b"PULL"))
    assert f"{opening} is not the opening" in refused(
        harmonia, 6, "ledger", "verify", str(file), "--opening", str(opening), *here
    )
    other = tmp_path / "other"
    with daemon(other):
        pass
    assert f"{file} is not signed by" in refused(harmonia, 6, "ledger", "verify", str(file), "--data", str(other))
    assert f"{public}/checkpoint is not signed" in refused(
        harmonia, 6, "ledger", "audit", str(public), "--data", str(other)
    )
    assert "--key" in refused(harmonia, 2, "ledger", "verify", str(file), "--data", str(tmp_path / "nowhere"))
    assert "verifier key" in refused(harmonia, 2, "ledger", "verify", str(file), "--key", "nonsense", *here)
    text = file.read_text()
    for bad in (text[:100], text.replace("index 1", "index 2"), text[::-1], ""):
        file.write_text(bad)
        assert str(file) in refused(harmonia, 6, "ledger", "verify", str(file), *here)
    file.write_bytes(b"\xff\xfe")
    assert f"{file} is damaged" in refused(harmonia, 6, "ledger", "verify", str(file), *here)
    tile = public / "tile" / "0" / "000.p" / "4"
    tile.write_bytes(bytes(32 * 4))
    assert f"{tile} is damaged" in refused(harmonia, 6, "ledger", "audit", str(public), *here)
    refused(harmonia, 3, "ledger", "verify", str(tmp_path / "missing"), *here)
    refused(harmonia, 3, "ledger", "prove", "77", *here)
    refused(harmonia, 3, "ledger", "ls", "--data", str(tmp_path / "nowhere"))
    refused(harmonia, 2, "ledger", "audit", str(public), "--openings", *here)


def test_a_damaged_store_is_said_in_one_line(harmonia: Run, data: Path) -> None:
    store = data / "ledger.sqlite"
    good = store.read_bytes()
    for bad in (good[: len(good) // 2], b"not a database" * 400, good.replace(b'"kind":"grant"', b'"kind":"great"')):
        store.write_bytes(bad)
        assert str(store) in refused(harmonia, 6, "ledger", "audit", "--data", str(data))


def test_forgetting_asks_first(harmonia: Run, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", open(os.devnull))  # noqa: SIM115, PTH123
    code, out, _ = harmonia("forget", "sleeper-a", "--data", str(data))
    assert code == 130
    assert "nobody can undo it" in out


def test_an_outsider_who_follows_the_page_succeeds(
    data: Path, tmp_path: Path, harmonia: Run, go: dict[str, str]
) -> None:
    folder = tmp_path / "outsider"
    (folder / "bin").mkdir(parents=True)
    here = ("--data", str(data))
    said(harmonia, "ledger", "prove", "1", "--output", str(folder / "yes.tlog-proof"), *here)
    said(harmonia, "ledger", "publish", str(folder / "public"), *here)
    shutil.copy(ROOT / "examples/ledger/verify.go", folder)
    command = folder / "bin" / "harmonia"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m harmonia.cli "$@"\n')
    command.chmod(0o755)
    path = f"{command.parent}{os.pathsep}{go['PATH']}"
    key = said(harmonia, "ledger", "key", *here).strip()
    page = (ROOT / "docs/ledger.md").read_text()
    lines = [line.removeprefix("$ ") for block in EXAMPLE.findall(page) for line in block.splitlines()]
    assert len(lines) == 7
    shown = subprocess.run(
        ["sh", "-ec", "\n".join(lines)],
        cwd=folder,
        env={**go, "PATH": path, "VKEY": key, "HARMONIA_DATA": str(tmp_path / "nowhere")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    entry, digest, *_ = shown.stdout.splitlines()
    assert json.loads(entry)["commitment"] == digest.split()[0]
