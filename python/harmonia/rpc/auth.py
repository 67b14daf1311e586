"""Who calls, and whether they may.

Three kinds of callers prove who they are. A host sends the admin token; whoever has been given a role sends that role's
credential in the same way. A sleeper sends a credential, and signs every call with the platform's key: a stolen
credential is worth nothing without the key, and a copied call nothing twice, because a nonce is good once. What each
method does stands in one table, and who may do that in :mod:`harmonia.domain.roles`; a method that is not in it is
closed.
"""

import hmac
import re
from collections import OrderedDict
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from harmonia.domain.admission import PLATFORM_KEY_BYTES, secret_hash
from harmonia.domain.roles import MAY, Access, Role, RolePass, who_may
from harmonia.engine.desk import Roll
from harmonia.engine.person import Person, ended
from harmonia.engine.stewarding import HOST
from harmonia.errors import BadInput, NotAuthenticated, NotPermitted

NONCES_MAX = 4096
"""Nonces remembered a sleeper. TLS guards against replay already; this is the second lock."""

_NONCE = re.compile(r"[0-9a-f]{16,64}\Z")


_ALSO_ENDED = frozenset({Access.WITHDRAWING, Access.OWN})
"""What a credential that has ended still opens."""


_ACCESS: Mapping[str, Access] = {
    "SanctuaryService/GetStatus": Access.OPEN,
    "SanctuaryService/GetTracking": Access.OPEN,
    "CircleService/CreateCircle": Access.HOST,
    "CircleService/GetCircle": Access.SCORE,
    "CircleService/ListCircles": Access.HOST,
    "CircleService/AdvanceCircle": Access.HOST,
    "CircleService/CreateJoinTokens": Access.HOST,
    "CircleService/EditCircle": Access.HOST,
    "CircleService/JoinCircle": Access.OPEN,
    "CircleService/WaitForPlace": Access.OPEN,
    "CircleService/StopWaiting": Access.OPEN,
    "CircleService/LeaveCircle": Access.SLEEPER,
    "CircleService/ComeBack": Access.SLEEPER,
    "SeriesService/CreateSeries": Access.HOST,
    "SeriesService/ListSeries": Access.HOST,
    "SeriesService/ChangeSeries": Access.HOST,
    "SeriesService/EndSeries": Access.HOST,
    "PlatformService/SetAwake": Access.SLEEPER,
    "PlatformService/SetScheduleOffset": Access.SLEEPER,
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
    "RhythmService/GetRhythm": Access.SCORE,
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
    "StemService/FindStem": Access.SCORE,
    "StemService/ReadStem": Access.SCORE,
    "StemService/WriteStem": Access.HOST,
    "PlatformService/ListenIn": Access.SLEEPER,
    "LedgerService/GetLedger": Access.OPEN,
    "LedgerService/ListEntries": Access.OWN,
    "LedgerService/GetProof": Access.OWN,
    "LedgerService/ForgetMe": Access.OWN,
    "LedgerService/ForgetSleeper": Access.HOST,
    "PlatformService/CarryDatagrams": Access.SLEEPER,
    "StewardService/GrantRole": Access.HOST,
    "StewardService/ListRoles": Access.HOST,
    "StewardService/RevokeRole": Access.HOST,
    "StewardService/LookAtCircle": Access.LOOK,
    "StewardService/WatchRoom": Access.TEND,
    "StewardService/SilenceRoom": Access.TEND,
    "StewardService/LiftSilence": Access.TEND,
    "StewardService/AnswerHelp": Access.TEND,
    "StewardService/CallForHelp": Access.SLEEPER,
    "StewardService/TakeBackHelp": Access.SLEEPER,
    "DialogueService/OpenDialogue": Access.LEAD,
    "DialogueService/ListDialogues": Access.READ,
    "DialogueService/GetDialogue": Access.READ,
    "DialogueService/Say": Access.SPEAK,
    "DialogueService/CloseDialogue": Access.LEAD,
    "DialogueService/MakePetition": Access.SLEEPER,
    "DialogueService/ListOwnPetitions": Access.SLEEPER,
    "DialogueService/WithdrawPetition": Access.SLEEPER,
    "DialogueService/ListPetitions": Access.PETITIONS,
    "DialogueService/FilePetition": Access.PETITIONS,
}
PACKAGE = "/harmonia.v1."
ACCESS: Mapping[str, Access] = {PACKAGE + method: access for method, access in _ACCESS.items()}
"""By full method name."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: the host, the sleeper ``person``, whoever has a role, or nobody in particular."""

    host: bool = False
    person: Person | None = None
    held: RolePass | None = None

    @property
    def role(self) -> Role:
        """Only of a caller who proved who they are."""
        if self.held is not None:
            return self.held.role
        return Role.SLEEPER if self.person is not None else Role.HOST

    @property
    def by(self) -> str:
        """Whom people see behind what a host or the holder of a role does."""
        return HOST if self.held is None else self.held.name

    @property
    def circle_id(self) -> str:
        """The one circle that this caller's credential is for; empty for the host."""
        if self.held is not None:
            return self.held.circle_id
        return "" if self.person is None else self.person.conductor.circle.circle_id

    @property
    def stream_owner(self) -> str:
        """Whose streams are counted together; empty: nobody's."""
        if self.held is not None:
            return self.held.role_id
        return "" if self.person is None else self.person.sleeper.sleeper_id

    def may_see(self, circle_id: str) -> None:
        """Raises NotPermitted unless this caller is the host, or of that circle."""
        if not self.host and self.circle_id != circle_id:
            who = "a sleeper" if self.held is None else f"a {self.held.role.word}"
            raise NotPermitted(f"{who} sees only the circle that they are in")


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
        self._nonces: WeakKeyDictionary[Person, OrderedDict[str, None]] = WeakKeyDictionary()
        """Of somebody who is forgotten nothing is kept here, not even that they called."""

    def admit(self, method: str, metadata: Mapping[str, str | bytes]) -> None:
        """Finds out who calls, for :func:`caller`. Raises NotAuthenticated, NotPermitted or CredentialEnded."""
        access = ACCESS.get(method)
        if access is None:
            raise NotPermitted(f"{method} is not open to anybody")
        _CALLER.set(Caller() if access is Access.OPEN else self._identify(method, access, metadata))

    def _identify(self, method: str, access: Access, metadata: Mapping[str, str | bytes]) -> Caller:
        if "harmonia-credential" in metadata:
            person = self._sleeper(method, metadata)
            if Role.SLEEPER not in MAY[access]:
                raise _not_for(access)
            if access not in _ALSO_ENDED and not person.present:
                raise ended(person)
            return Caller(person=person)
        if access is Access.SLEEPER or access in _ALSO_ENDED:
            raise NotAuthenticated("only a sleeper may do this, with their own credential: join a circle first")
        held = self._bearer(access, metadata)
        if (Role.HOST if held is None else held.role) not in MAY[access]:
            raise _not_for(access)
        return Caller(host=held is None, held=held)

    def _bearer(self, access: Access, metadata: Mapping[str, str | bytes]) -> RolePass | None:
        """The role that the caller has been given; None for the host."""
        kind, _, token = _text(metadata, "authorization").partition(" ")
        if kind.lower() != "bearer" or not token.strip():
            raise NotAuthenticated(
                f"only {_named(access)} may do this: send `authorization: Bearer` and the admin token, or a role's"
                " credential"
            )
        hash = secret_hash(token.strip())
        if hmac.compare_digest(hash, self._admin_hash):
            return None
        found = self._roll.by_pass(hash)
        if found is None:
            raise NotAuthenticated(
                "this is neither the admin token of this sanctuary (see admin.token in its data folder) nor the"
                " credential of a role that was given here"
            )
        conductor, held = found
        conductor.stewarding.require(held)
        return held

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
        used = self._nonces.setdefault(person, OrderedDict())
        if nonce in used:
            raise NotAuthenticated("this harmonia-nonce has been used: choose a new one for every call, at random")
        used[nonce] = None
        if len(used) > NONCES_MAX:
            used.popitem(last=False)
        return person


def _named(access: Access) -> str:
    return "the host" if MAY[access] == {Role.HOST} else who_may(access)


def _not_for(access: Access) -> NotPermitted:
    if MAY[access] == {Role.HOST}:
        return NotPermitted("only the host may do this: send the sanctuary's admin token")
    return NotPermitted(f"only {who_may(access)} may do this: {access.value}")


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
