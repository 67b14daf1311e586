"""Signatures: what is signed verifies, anything else does not, and every refusal names the file."""

import base64
import re
import string
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia.errors import BadInput, StorageUnreadable
from harmonia.ledger.note import COSIGNATURE, Checkpoint, Signer, Verifier, parse_name
from harmonia.ledger.proof import Proof
from harmonia.ledger.tree import inclusion_proof, leaf_hash, root_hash
from tests.ledger.test_tree import ENTRIES, read

SEEDS = st.binary(min_size=32, max_size=32)
LOG = Signer("example.org/ledger", b"l" * 32)
WITNESS = Signer("witness.example/w1", b"w" * 32, COSIGNATURE)


def checkpoint(size: int = 7, signer: Signer = LOG) -> Checkpoint:
    plain = Checkpoint(signer.name, size, root_hash(read, size))
    return plain.signed(signer.sign(plain.text))


def proof(index: int = 3, size: int = 7) -> Proof:
    return Proof(ENTRIES[index], index, tuple(inclusion_proof(read, index, size)), checkpoint(size))


def test_the_key_of_the_specifications_example_has_the_id_that_stands_in_it() -> None:
    """From Go's documentation of the package note: its well-known test key."""
    key = Verifier.parse("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
    signed = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
    decoded = base64.b64decode(signed)
    assert decoded[:4] == key.id
    assert key.verifies(text, decoded[4:])
    assert not key.verifies(text.replace("answer", "Answer"), decoded[4:])


@given(SEEDS, st.sampled_from([1, COSIGNATURE]))
def test_keys_are_read_as_they_were_written(seed: bytes, kind: int) -> None:
    signer = Signer("example.org/ledger", seed, kind)
    assert Signer.parse(f"{signer}\n", "f") == signer
    assert Verifier.parse(f"{signer.verifier}\n") == signer.verifier


@pytest.mark.parametrize("text", ["", "a+b", "a+00000000+AQ==", str(LOG.verifier)[:-4]])
def test_what_is_no_verifier_key_is_said_to_be_none(text: str) -> None:
    with pytest.raises(BadInput, match="verifier key"):
        Verifier.parse(text)


def test_a_verifier_key_that_was_changed_does_not_fit_its_id() -> None:
    other = replace(LOG, seed=b"x" * 32).verifier
    changed = f"{LOG.verifier.name}+{LOG.verifier.id.hex()}+{str(other).split('+', 2)[2]}"
    with pytest.raises(BadInput, match="does not fit its own id"):
        Verifier.parse(changed)


def test_a_checkpoint_is_read_as_it_was_written_and_verifies() -> None:
    signed = checkpoint()
    assert Checkpoint.parse(str(signed), "f") == signed
    signed.verify([LOG.verifier], "f")


def test_a_witness_signs_the_same_text_with_its_time() -> None:
    both = checkpoint().signed(WITNESS.cosign(checkpoint().text, 1_679_315_147))
    again = Checkpoint.parse(str(both), "f")
    again.verify([LOG.verifier, WITNESS.verifier], "f")
    later = replace(both.signatures[-1], bytes=(1_679_315_148).to_bytes(8, "big") + both.signatures[-1].bytes[8:])
    with pytest.raises(StorageUnreadable, match="f was changed"):
        both.signed(later).verify([WITNESS.verifier], "f")
    with pytest.raises(StorageUnreadable, match="f is not signed by witness"):
        checkpoint().verify([LOG.verifier, WITNESS.verifier], "f")


@pytest.mark.parametrize("time_s", [1 << 63, (1 << 64) - 1])
def test_a_cosignature_of_no_possible_time_is_not_believed(time_s: int) -> None:
    last = (1 << 63) - 1
    checkpoint().signed(WITNESS.cosign(checkpoint().text, last)).verify([WITNESS.verifier], "f")
    with pytest.raises(StorageUnreadable, match="does not fit"):
        checkpoint().signed(WITNESS.cosign(checkpoint().text, time_s)).verify([WITNESS.verifier], "f")


@pytest.mark.parametrize("name", ["a\x7fb", "a\x00b", "a\x9fb", "a b", "a+b", "a\u2003b", "a\udc80b", ""])
def test_a_keys_name_is_printed_without_surprise(name: str) -> None:
    with pytest.raises(BadInput, match="a key's name must be") as caught:
        parse_name(name)
    assert str(caught.value).isprintable()
    with pytest.raises(BadInput):
        Verifier.parse(str(LOG.verifier).replace(LOG.name, name))
    line = str(checkpoint().signatures[0])
    with pytest.raises(StorageUnreadable):
        Checkpoint.parse(str(checkpoint()).replace(line, line.replace(LOG.name, name)), "f")


def test_a_witness_key_is_no_ledgers_key() -> None:
    """The same secret under the other kind has another id: a cosignature is never taken for a signature."""
    as_log = Signer(WITNESS.name, WITNESS.seed)
    both = checkpoint().signed(WITNESS.cosign(checkpoint().text, 5))
    with pytest.raises(StorageUnreadable, match="not signed"):
        both.verify([as_log.verifier], "f")


def test_another_ledgers_checkpoint_is_refused_though_its_key_signed_it() -> None:
    foreign = replace(checkpoint(), origin="example.org/other", signatures=())
    with pytest.raises(StorageUnreadable, match=r"of the ledger example\.org/other"):
        foreign.signed(LOG.sign(foreign.text)).verify([LOG.verifier], "f")


def test_a_proof_verifies_and_says_what_it_is_of() -> None:
    again = Proof.parse(str(proof()), "f")
    assert again == proof()
    again.verify([LOG.verifier], "f")
    Proof.parse(str(proof(0, 1)), "f").verify([LOG.verifier], "f")


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_whatever_byte_of_a_proof_changes_it_fails_in_one_line_that_names_the_file(at: int, change: int) -> None:
    data = bytearray(str(proof()).encode())
    data[at % len(data)] ^= change
    text = bytes(data).decode("utf-8", "replace")
    with pytest.raises(StorageUnreadable, match=r"^x\.tlog-proof ") as caught:
        Proof.parse(text, "x.tlog-proof").verify([LOG.verifier], "x.tlog-proof")
    assert "\n" not in str(caught.value)


def test_of_two_texts_for_the_same_bytes_only_one_is_read() -> None:
    """The last digit of a hash of 32 bytes has two bits to spare."""
    good, digits = str(proof()), string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"
    for last in re.findall(r"([^=])=$", good, re.MULTILINE):
        spare = digits[digits.index(last) ^ 1]
        with pytest.raises(StorageUnreadable, match=r"^x\.tlog-proof "):
            Proof.parse(good.replace(f"{last}=\n", f"{spare}=\n"), "x.tlog-proof")


@given(st.integers(0, 10_000))
def test_a_cut_proof_fails(at: int) -> None:
    text = str(proof())
    with pytest.raises(StorageUnreadable, match=r"^x\.tlog-proof "):
        Proof.parse(text[: at % len(text)], "x.tlog-proof").verify([LOG.verifier], "x.tlog-proof")


def test_a_proof_of_another_entry_or_place_fails() -> None:
    for changed in (replace(proof(), entry=ENTRIES[4]), replace(proof(), index=4), replace(proof(), index=99)):
        with pytest.raises(StorageUnreadable, match="its entry"):
            changed.verify([LOG.verifier], "f")
    assert leaf_hash(ENTRIES[3]) != leaf_hash(ENTRIES[4])
