"""Who calls, and whether they may.

Two kinds of callers prove who they are. A host sends the admin token. A sleeper sends a credential, and signs every
call with the platform's key: a stolen credential is worth nothing without the key, and a copied call nothing twice,
because a nonce is good once. What each method asks for stands in one table; a method that is not in it is closed.
"""

import hmac
import re
from collections import OrderedDict
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum, auto

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from harmonia.domain.admission import PLATFORM_KEY_BYTES, secret_hash
from harmonia.engine.desk import Roll
from harmonia.engine.person import Person, ended
from harmonia.errors import BadInput, NotAuthenticated, NotPermitted

NONCES_MAX = 4096
"""Nonces remembered a credential. TLS guards against replay already; this is the second lock."""

_NONCE = re.compile(r"[0-9a-f]{16,64}\Z")


class Access(Enum):
    """What a method asks of its caller."""

    OPEN = auto()
    HOST = auto()
    HOST_OR_MEMBER = auto()
    """A member sees their own circle only: the method checks which."""
    SLEEPER = auto()
    WITHDRAWING = auto()
    """A sleeper, even one whose credential has ended."""
    OWN = auto()
    """The same, for what is kept about them."""


_ALSO_ENDED = frozenset({Access.WITHDRAWING, Access.OWN})
"""What a credential that has ended still opens."""


_ACCESS: Mapping[str, Access] = {
    "SanctuaryService/GetStatus": Access.OPEN,
    "SanctuaryService/GetTracking": Access.OPEN,
    "CircleService/CreateCircle": Access.HOST,
    "CircleService/GetCircle": Access.HOST_OR_MEMBER,
    "CircleService/ListCircles": Access.HOST,
    "CircleService/AdvanceCircle": Access.HOST,
    "CircleService/CreateJoinTokens": Access.HOST,
    "CircleService/JoinCircle": Access.OPEN,
    "CircleService/LeaveCircle": Access.SLEEPER,
    "CircleService/WatchCircle": Access.HOST_OR_MEMBER,
    "ConsentService/GetConsent": Access.SLEEPER,
    "ConsentService/Grant": Access.SLEEPER,
    "ConsentService/Withdraw": Access.WITHDRAWING,
    "ConsentService/KeepApart": Access.SLEEPER,
    "ConsentService/AddAdvanceWish": Access.SLEEPER,
    "ConsentService/RemoveAdvanceWish": Access.SLEEPER,
    "OfferService/MakeOffer": Access.HOST,
    "OfferService/EndOffer": Access.HOST,
    "OfferService/ListOffers": Access.HOST_OR_MEMBER,
    "OfferService/AnswerOffer": Access.SLEEPER,
    "MeService/GetMe": Access.OWN,
    "MeService/ListMyEvents": Access.OWN,
    "MeService/ListMyReceipts": Access.OWN,
    "RhythmService/GetRhythm": Access.HOST_OR_MEMBER,
    "RhythmService/SetRhythm": Access.HOST,
    "RhythmService/SetWeaving": Access.HOST,
    "RhythmService/OfferOffsets": Access.HOST,
    "RhythmService/SetOwnRhythm": Access.SLEEPER,
    "RhythmService/SetCoupling": Access.SLEEPER,
    "RhythmService/SetPhaseOffset": Access.SLEEPER,
    "PlatformService/AttachPlatform": Access.SLEEPER,
    "PlatformService/WatchPlatform": Access.SLEEPER,
    "PlatformService/SetVoice": Access.SLEEPER,
    "PlatformService/SetHearing": Access.SLEEPER,
    "StemService/FindStem": Access.HOST_OR_MEMBER,
    "StemService/ReadStem": Access.HOST_OR_MEMBER,
    "StemService/WriteStem": Access.HOST,
    "PlatformService/ListenIn": Access.SLEEPER,
    "PlatformService/CarryDatagrams": Access.SLEEPER,
}
PACKAGE = "/harmonia.v1."
ACCESS: Mapping[str, Access] = {PACKAGE + method: access for method, access in _ACCESS.items()}
"""By full method name."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: the host, or the sleeper ``person``, or nobody in particular."""

    host: bool = False
    person: Person | None = None

    def may_see(self, circle_id: str) -> None:
        """Raises NotPermitted unless this caller is the host or a member of that circle."""
        if not self.host and (self.person is None or self.person.conductor.circle.circle_id != circle_id):
            raise NotPermitted("a sleeper sees only the circle that they are in")


_CALLER: ContextVar[Caller] = ContextVar("caller")


def caller() -> Caller:
    """Who makes the call that is being answered."""
    return _CALLER.get()


def sleeper() -> Person:
    """The sleeper who makes the call; only where the table asks for one."""
    person = caller().person
    assert person is not None, "the table lets only sleepers in here"
    return person


class Gatekeeper:
    """Checks every call against the table. Belongs to the asyncio loop."""

    def __init__(self, admin_token: str, roll: Roll) -> None:
        self._admin_hash = secret_hash(admin_token)
        self._roll = roll
        self._nonces: dict[bytes, OrderedDict[str, None]] = {}

    def admit(self, method: str, metadata: Mapping[str, str | bytes]) -> None:
        """Finds out who calls, for :func:`caller`. Raises NotAuthenticated, NotPermitted or CredentialEnded."""
        access = ACCESS.get(method)
        if access is None:
            raise NotPermitted(f"{method} is not open to anybody")
        _CALLER.set(Caller() if access is Access.OPEN else self._identify(method, access, metadata))

    def _identify(self, method: str, access: Access, metadata: Mapping[str, str | bytes]) -> Caller:
        if "harmonia-credential" in metadata:
            person = self._sleeper(method, metadata)
            if access is Access.HOST:
                raise NotPermitted("only the host may do this: send the sanctuary's admin token")
            if access not in _ALSO_ENDED and not person.present:
                raise ended(person)
            return Caller(person=person)
        if access is Access.SLEEPER or access in _ALSO_ENDED:
            raise NotAuthenticated("only a sleeper may do this, with their own credential: join a circle first")
        self._check_admin(metadata)
        return Caller(host=True)

    def _check_admin(self, metadata: Mapping[str, str | bytes]) -> None:
        kind, _, token = _text(metadata, "authorization").partition(" ")
        if kind.lower() != "bearer" or not token.strip():
            raise NotAuthenticated("only the host may do this: send `authorization: Bearer` and the admin token")
        if not hmac.compare_digest(secret_hash(token.strip()), self._admin_hash):
            raise NotAuthenticated("this is not the admin token of this sanctuary: see admin.token in its data folder")

    def _sleeper(self, method: str, metadata: Mapping[str, str | bytes]) -> Person:
        credential = _text(metadata, "harmonia-credential")
        nonce, proof = (_text(metadata, f"harmonia-{name}") for name in ("nonce", "proof"))
        person = self._roll.by_credential(secret_hash(credential))
        if person is None:
            raise NotAuthenticated("this sanctuary does not know that credential: join again with a new token")
        if not _NONCE.match(nonce):
            raise NotAuthenticated("harmonia-nonce must be 16 to 64 lower-case hexadecimal digits, new for every call")
        message = b"harmonia call\0" + b"\0".join(part.encode() for part in (method, nonce, credential))
        if not signed(person.sleeper.platform_key, proof, message):
            raise NotAuthenticated("harmonia-proof is not this platform's signature over this call: sign with its key")
        used = self._nonces.setdefault(person.sleeper.credential_hash, OrderedDict())
        if nonce in used:
            raise NotAuthenticated("this harmonia-nonce has been used: choose a new one for every call, at random")
        used[nonce] = None
        if len(used) > NONCES_MAX:
            used.popitem(last=False)
        return person


def check_join_proof(circle_id: str, token: str, platform_key: bytes, proof: bytes) -> None:
    """Raises unless whoever joins holds the private half of ``platform_key``."""
    if len(platform_key) != PLATFORM_KEY_BYTES:
        raise BadInput(f"a platform key is an Ed25519 public key of 32 bytes, not {len(platform_key)}")
    if not signed(platform_key, proof.hex(), b"harmonia join\0" + circle_id.encode() + b"\0" + token.encode()):
        raise NotAuthenticated("the proof is not a signature by that platform key over this circle and token")


def signed(public_key: bytes, proof_hex: str, message: bytes) -> bool:
    """Whether ``proof_hex`` is the Ed25519 signature of ``message``."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(bytes.fromhex(proof_hex), message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _text(metadata: Mapping[str, str | bytes], name: str) -> str:
    value = metadata.get(name, "")
    return value if isinstance(value, str) else ""
