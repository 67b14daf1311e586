"""A state file is whole, private, and says when it cannot be used."""

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from harmonia.client import Endpoint, Identity, Purpose
from harmonia.client.identity import join_proof, purpose_bits, write_secret
from harmonia.client.names import EVERY_PURPOSE
from harmonia.errors import BadInput, NotFound, StorageError


def someone(path: Path | None) -> Identity:
    withdrawals = {bytes(range(16)): (Purpose.VOICE, Purpose.PULL), bytes(16): ()}
    key = Ed25519PrivateKey.generate()
    return Identity(Endpoint("127.0.0.1", 1, "PEM"), "c", "s", "credential", key, withdrawals, path)


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "me.json"
    saved = someone(path)
    saved.save()
    loaded = Identity.load(path)
    assert loaded.key.private_bytes_raw() == saved.key.private_bytes_raw()
    assert (loaded.endpoint, loaded.circle_id, loaded.sleeper_id, loaded.credential, loaded.withdrawals) == (
        saved.endpoint,
        saved.circle_id,
        saved.sleeper_id,
        saved.credential,
        saved.withdrawals,
    )


def test_only_its_owner_can_read_it_and_no_draft_is_left(tmp_path: Path) -> None:
    path = tmp_path / "me.json"
    path.write_text("old, for everybody")
    path.chmod(0o644)
    someone(path).save()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["me.json"]


def test_a_disk_that_refuses_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "me.json"
    write_secret(path, "old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match="No space left on device"):
        write_secret(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["me.json"]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"harmonia": 1}', '{"harmonia": 99}', "\0"])
def test_a_damaged_file_is_refused_in_words(tmp_path: Path, content: str) -> None:
    path = tmp_path / "me.json"
    path.write_text(content)
    with pytest.raises(BadInput, match="join again"):
        Identity.load(path)


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        Identity.load(tmp_path / "nobody.json")


def test_secrets_are_not_in_its_repr() -> None:
    assert "credential" not in repr(someone(None))


def test_a_signature_covers_method_nonce_and_credential() -> None:
    one = someone(None)
    signatures = {
        dict(one.call_metadata(method, nonce))["harmonia-proof"]
        for method in ("/a/B", "/a/C")
        for nonce in (bytes(16), bytes(range(16)))
    }
    one.credential = "another"
    signatures.add(dict(one.call_metadata("/a/B", bytes(16)))["harmonia-proof"])
    assert len(signatures) == 5


def test_a_proof_belongs_to_its_circle_and_token() -> None:
    key = Ed25519PrivateKey.generate()
    assert len({join_proof(key, "c", "t"), join_proof(key, "ct", ""), join_proof(key, "c", "u")}) == 3


@given(st.sets(st.sampled_from(EVERY_PURPOSE), min_size=1))
def test_purposes_are_one_bit_each(purposes: set[Purpose]) -> None:
    bits = purpose_bits(purposes)
    assert {p for p in EVERY_PURPOSE if bits >> p & 1} == purposes
    assert bits


def test_no_purposes_mean_all() -> None:
    assert purpose_bits(()) == 0
