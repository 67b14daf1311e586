"""Signed notes and checkpoints: a few lines of text that a ledger signs, and that witnesses sign again.

A checkpoint is a note of three lines, whose ledger it is, how many entries, and the root; a signature is a line below
it. Names and ids of keys are public; a verifier believes no signature but that of a key which it was given.

A witness signs a checkpoint again once it has seen for itself that the ledger only grew. Its signature carries the
time. Who asks for several witnesses cannot be shown one history while somebody else is shown another.

Sources: https://c2sp.org/signed-note, https://c2sp.org/tlog-checkpoint, https://c2sp.org/tlog-cosignature (the Ed25519
kind); the text form of a private key is that of Go's golang.org/x/mod/sumdb/note.
"""

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from harmonia.errors import BadInput, StorageUnreadable
from harmonia.ledger.tree import HASH_BYTES

ED25519 = 0x01
COSIGNATURE = 0x04
KINDS = {ED25519: "a ledger's", COSIGNATURE: "a witness's"}
_NAME_CHARACTERS = r"[^\s+\x00-\x1f\x7f-\x9f\ud800-\udfff]+"
_NAME = re.compile(_NAME_CHARACTERS + r"\Z")
_SIGNATURE_LINE = re.compile(rf"— ({_NAME_CHARACTERS}) ([A-Za-z0-9+/]+={{0,2}})\Z")
_NUMBER = re.compile(r"(0|[1-9][0-9]{0,18})\Z")
_PRIVATE = "PRIVATE+KEY+"
_TIME_MAX_S = (1 << 63) - 1


def parse_name(name: str) -> str:
    """``name`` if a key may have it. Raises :class:`BadInput`."""
    if not _NAME.match(name):
        raise BadInput(
            "a key's name must be without spaces, plus and control characters, for instance example.org/ledger, not"
            f" {name[:80]!r}"
        )
    return name


@dataclass(frozen=True, slots=True)
class Verifier:
    """Whose signatures are believed. ``kind`` is 1 for a ledger, 4 for a witness."""

    name: str
    public: bytes
    kind: int = ED25519

    @property
    def id(self) -> bytes:
        return sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{encode64(bytes([self.kind]) + self.public)}"

    @classmethod
    def parse(cls, text: str) -> "Verifier":
        """A verifier key (vkey) as :meth:`__str__` writes it. Raises :class:`BadInput`."""
        try:
            name, id, material = text.strip().split("+", 2)
            kind, *public = decode64(material)
            found = cls(parse_name(name), bytes(public), kind)
            Ed25519PublicKey.from_public_bytes(found.public)
        except ValueError:
            raise BadInput(
                f"{text.strip()[:80]!r} is not a verifier key: it is a line NAME+ID+KEY, see `ledger key`"
            ) from None
        if kind not in KINDS or found.id.hex() != id:
            raise BadInput(f"the verifier key of {name} does not fit its own id {id}: copy the whole line again")
        return found

    def verifies(self, text: str, signature: bytes) -> bool:
        """Whether ``signature`` (behind the key's id) is this key's for the note's ``text``."""
        message = text.encode()
        if self.kind == COSIGNATURE:
            time_s, signature = int.from_bytes(signature[:8], "big"), signature[8:]
            if time_s > _TIME_MAX_S:
                return False
            message = _cosigned(message, time_s)
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs as ``name``; ``seed`` is the private key's 32 bytes."""

    name: str
    seed: bytes
    kind: int = ED25519

    @property
    def verifier(self) -> Verifier:
        return Verifier(self.name, self._key.public_key().public_bytes_raw(), self.kind)

    def __str__(self) -> str:
        return f"{_PRIVATE}{self.name}+{self.verifier.id.hex()}+{encode64(bytes([self.kind]) + self.seed)}"

    @classmethod
    def parse(cls, text: str, source: str) -> "Signer":
        """The key that ``source`` holds. Raises :class:`StorageUnreadable`."""
        try:
            name, id, material = text.strip().removeprefix(_PRIVATE).split("+", 2)
            kind, *seed = decode64(material)
            found = cls(name, bytes(seed), kind)
            fits = text.startswith(_PRIVATE) and found.verifier.id.hex() == id
        except ValueError:
            fits = False
        if not fits:
            raise StorageUnreadable(f"{source} is not a signing key any more: restore it from a backup")
        return found

    @property
    def _key(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)

    def sign(self, text: str) -> "Signature":
        """The signature for a note. The same key and text give the same bytes."""
        return Signature(self.name, self.verifier.id, self._key.sign(text.encode()))

    def cosign(self, text: str, time_s: int) -> "Signature":
        """A witness's signature: it has seen, by POSIX time ``time_s``, that this ledger only grew."""
        signed = self._key.sign(_cosigned(text.encode(), time_s))
        return Signature(self.name, self.verifier.id, time_s.to_bytes(8, "big") + signed)


@dataclass(frozen=True, slots=True)
class Signature:
    """One line below a note."""

    name: str
    key_id: bytes
    bytes: bytes

    def __str__(self) -> str:
        return f"— {self.name} {encode64(self.key_id + self.bytes)}\n"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a ledger says of itself at one size, and who signed it."""

    origin: str
    size: int
    root: bytes
    signatures: tuple[Signature, ...] = ()
    extension: str = ""
    """Further lines of the text, as they are."""

    @property
    def text(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{encode64(self.root)}\n{self.extension}"

    def __str__(self) -> str:
        return self.text + "\n" + "".join(map(str, self.signatures))

    @classmethod
    def parse(cls, note: str, source: str) -> "Checkpoint":
        """The checkpoint of a note, its signatures unverified. Raises StorageUnreadable, naming ``source``."""
        damaged = StorageUnreadable(f"{source} is cut or damaged: it does not hold a whole signed checkpoint")
        head, found, below = note.rpartition("\n\n")
        lines = head.split("\n")
        if not found or len(lines) < 3 or not below.endswith("\n") or not all(lines):
            raise damaged
        origin, size, root, *extension = lines
        try:
            root_bytes = decode64(root)
            signatures = tuple(_parse_signature(line) for line in below[:-1].split("\n"))
        except ValueError:
            raise damaged from None
        if not _NUMBER.match(size) or len(root_bytes) != HASH_BYTES:
            raise damaged
        return cls(origin, int(size), root_bytes, signatures, "".join(line + "\n" for line in extension))

    def signed(self, *signatures: Signature) -> "Checkpoint":
        """With these below it, in place of earlier ones by the same keys."""
        keys = {(one.name, one.key_id) for one in signatures}
        kept = (one for one in self.signatures if (one.name, one.key_id) not in keys)
        return replace(self, signatures=(*kept, *signatures))

    def verify(self, verifiers: Iterable[Verifier], source: str) -> None:
        """Raises :class:`StorageUnreadable` unless every one of ``verifiers`` has signed; others are not believed."""
        for verifier in verifiers:
            named = [one for one in self.signatures if (one.name, one.key_id) == (verifier.name, verifier.id)]
            if not named:
                raise StorageUnreadable(
                    f"{source} is not signed by {verifier.name}+{verifier.id.hex()}: it is another ledger's, or the key"
                    " is not the right one"
                )
            if verifier.kind == ED25519 and self.origin != verifier.name:
                raise StorageUnreadable(f"{source} is of the ledger {self.origin}, not of {verifier.name}")
            if not all(verifier.verifies(self.text, one.bytes) for one in named):
                raise StorageUnreadable(f"{source} was changed: the signature of {verifier.name} does not fit it")


def _parse_signature(line: str) -> Signature:
    found = _SIGNATURE_LINE.match(line)
    if not found:
        raise ValueError(line)
    decoded = decode64(found[2])
    return Signature(found[1], decoded[:4], decoded[4:])


def _cosigned(text: bytes, time_s: int) -> bytes:
    return b"cosignature/v1\ntime %d\n" % time_s + text


def encode64(data: bytes) -> str:
    """Base 64 as in RFC 4648, section 4."""
    return base64.b64encode(data).decode()


def decode64(text: str) -> bytes:
    """The inverse, of just what :func:`encode64` writes: one text for one value. Raises ValueError."""
    data = base64.b64decode(text, validate=True)
    if encode64(data) != text:
        raise ValueError(f"{text!r} has bits to spare")
    return data
