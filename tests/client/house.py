"""A sanctuary in this process, for tests of the SDK: real TLS, real signatures, answers under the test's control."""
# ruff: noqa: N802 (the generated services name their methods and arguments)

import datetime
import ipaddress
import math
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

import grpc
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.x509.oid import NameOID
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from harmonia import errors
from harmonia.client import Endpoint, Invitation
from harmonia.v1 import (
    circle_pb2,
    circle_pb2_grpc,
    consent_pb2,
    consent_pb2_grpc,
    platform_pb2,
    platform_pb2_grpc,
    rhythm_pb2,
    rhythm_pb2_grpc,
    steward_pb2,
    steward_pb2_grpc,
    types_pb2,
)

CIRCLE = "c-test"
CHANNELS = 2
SCORE = """end = 60
rhythm = [{ at = 0, hz = 4.0 }]
[tone-sets]
one = [
  { wave = "binaural", carrier_hz = 110, locked = 1, amplitude_pct = 8 },
  { wave = "binaural", carrier_hz = 165, locked = 2, amplitude_pct = 5 },
]
[[timeline]]
at = 0
play = "one"
"""
_CODES = {
    errors.BadInput: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.NotPermitted: grpc.StatusCode.PERMISSION_DENIED,
    errors.StorageError: grpc.StatusCode.UNAVAILABLE,
    errors.Unreachable: grpc.StatusCode.UNAVAILABLE,
}


class Authority:
    """A CA with one certificate for loopback."""

    def __init__(self) -> None:
        ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test ca")])
        now = datetime.datetime.now(datetime.UTC)

        def certificate(name: str, issued_key: Any, is_ca: bool) -> x509.Certificate:
            subject = ca_name if is_ca else x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
            names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
            return (
                x509.CertificateBuilder()
                .subject_name(subject)
                .issuer_name(ca_name)
                .public_key(issued_key.public_key())
                .serial_number(x509.random_serial_number())
                .not_valid_before(now - datetime.timedelta(hours=1))
                .not_valid_after(now + datetime.timedelta(days=1))
                .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
                .add_extension(x509.SubjectAlternativeName(names), critical=False)
                .sign(ca_key, hashes.SHA256())
            )

        pem = serialization.Encoding.PEM
        self.ca_pem = certificate("ca", ca_key, True).public_bytes(pem).decode()
        self.certificate_pem = certificate("localhost", key, False).public_bytes(pem)
        self.key_pem = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


class House(
    circle_pb2_grpc.CircleServiceServicer,
    consent_pb2_grpc.ConsentServiceServicer,
    platform_pb2_grpc.PlatformServiceServicer,
    rhythm_pb2_grpc.RhythmServiceServicer,
    steward_pb2_grpc.StewardServiceServicer,
):
    """One circle, one sleeper. `refuse` makes a method fail; `report` sends a platform state to every watcher."""

    def __init__(self) -> None:
        self.authority = Authority()
        self.tokens = {"good": True}
        self.key: bytes = b""
        self.calls: Counter[str] = Counter()
        self.withdrawn: list[tuple[bytes, tuple[int, ...]]] = []
        self.granted: list[tuple[int, str]] = []
        self.offsets: list[float] = []
        self.rhythms: list[tuple[float | None, bool]] = []
        self.wishes: list[tuple[Any, ...]] = []
        self.helps: list[tuple[bytes, str]] = []
        self.taken_back: list[str] = []
        self.on_help: Callable[[bytes], None] = lambda _: None
        self.shown = 0
        """How many views of the circle have been sent."""
        self.refusals: dict[str, errors.HarmoniaError] = {}
        self.standing = {number: [False, ""] for number in range(1, 13)}
        self.state = platform_pb2.PlatformState(
            circle=types_pb2.Circle(
                circle_id=CIRCLE,
                state=types_pb2.CIRCLE_STATE_GATHERING,
                score=types_pb2.Score(name="test.toml", format=types_pb2.SCORE_FORMAT_TOML, text=SCORE),
                capacity=4,
                channels=CHANNELS,
            ),
            hearing_level=1.0,
            own_level=1.0,
        )
        self.carrying: SimpleQueue[Any] = SimpleQueue()
        self._nonces: set[str] = set()
        self._watchers: list[SimpleQueue[Any]] = []
        self._server: grpc.Server | None = None
        self.port = 0
        self.open()

    # The test's side

    def open(self) -> None:
        """Starts, or starts again on the same port."""
        self._server = grpc.server(ThreadPoolExecutor(max_workers=8))
        circle_pb2_grpc.add_CircleServiceServicer_to_server(self, self._server)
        consent_pb2_grpc.add_ConsentServiceServicer_to_server(self, self._server)
        platform_pb2_grpc.add_PlatformServiceServicer_to_server(self, self._server)
        rhythm_pb2_grpc.add_RhythmServiceServicer_to_server(self, self._server)
        steward_pb2_grpc.add_StewardServiceServicer_to_server(self, self._server)
        pair = [(self.authority.key_pem, self.authority.certificate_pem)]
        credentials = grpc.ssl_server_credentials(pair)
        self.port = self._server.add_secure_port(f"127.0.0.1:{self.port}", credentials)
        self._server.start()

    def close(self) -> None:
        """Ends, as a daemon that was killed."""
        for watcher in self._watchers:
            watcher.put(None)
        self._watchers.clear()
        if self._server is not None:
            self._server.stop(None).wait()

    def invitation(self) -> Invitation:
        return Invitation(Endpoint("127.0.0.1", self.port, self.authority.ca_pem), CIRCLE, "good")

    def report(self, state: platform_pb2.PlatformState | None = None) -> None:
        """Tells every watching platform; without ``state``, what stands."""
        for watcher in self._watchers:
            watcher.put(platform_pb2.WatchPlatformResponse(state=state or self.snapshot()))

    def snapshot(self) -> platform_pb2.PlatformState:
        state = platform_pb2.PlatformState()
        state.CopyFrom(self.state)
        del state.purposes[:]
        state.purposes.extend(self._purposes())
        return state

    @property
    def watching(self) -> int:
        return len(self._watchers)

    def _purposes(self) -> list[consent_pb2.PurposeConsent]:
        return [
            consent_pb2.PurposeConsent(purpose=number, granted=granted, withdrawal_id=withdrawal)  # type: ignore[arg-type]
            for number, (granted, withdrawal) in self.standing.items()
        ]

    # The services' side

    def _enter(self, method: str, context: Any, *, signed: bool = True) -> None:
        name = method.rpartition("/")[2]
        self.calls[name] += 1
        if signed:
            metadata = dict(context.invocation_metadata())
            nonce, credential = metadata["harmonia-nonce"], metadata["harmonia-credential"]
            message = b"harmonia call\0" + b"\0".join(text.encode() for text in (method, nonce, credential))
            try:
                Ed25519PublicKey.from_public_bytes(self.key).verify(bytes.fromhex(metadata["harmonia-proof"]), message)
            except InvalidSignature:
                self._abort(context, errors.NotAuthenticated("wrongly signed"))
            if nonce in self._nonces or len(nonce) != 32 or credential != "credential":
                self._abort(context, errors.NotAuthenticated("nonce used twice"))
            self._nonces.add(nonce)
        if name in self.refusals:
            self._abort(context, self.refusals[name])

    def _abort(self, context: Any, error: errors.HarmoniaError) -> None:
        info = error_details_pb2.ErrorInfo(reason=error.reason, domain="harmonia", metadata=error.metadata)
        detail = any_pb2.Any()
        detail.Pack(info)
        code = next(code for kind, code in _CODES.items() if isinstance(error, kind))
        context.abort_with_status(
            rpc_status.to_status(status_pb2.Status(code=code.value[0], message=str(error), details=[detail]))
        )

    def JoinCircle(self, request: Any, context: Any) -> Any:
        self._enter("/harmonia.v1.CircleService/JoinCircle", context, signed=False)
        message = b"harmonia join\0" + request.circle_id.encode() + b"\0" + request.token.encode()
        Ed25519PublicKey.from_public_bytes(request.platform_key).verify(request.proof, message)
        if not self.tokens.get(request.token):
            self._abort(context, errors.TokenUsed("this join token has been used", token="good"))
        self.tokens[request.token] = False
        self.key = request.platform_key
        return circle_pb2.JoinCircleResponse(sleeper_id="s-test", credential="credential", circle=self.state.circle)

    def LeaveCircle(self, request: Any, context: Any) -> Any:
        self._enter("/harmonia.v1.CircleService/LeaveCircle", context)
        return circle_pb2.LeaveCircleResponse()

    def ComeBack(self, request: Any, context: Any) -> Any:
        self._enter("/harmonia.v1.CircleService/ComeBack", context)
        return circle_pb2.ComeBackResponse()

    def AttachPlatform(self, request: Any, context: Any) -> Any:
        self._enter("/harmonia.v1.PlatformService/AttachPlatform", context)
        return platform_pb2.AttachPlatformResponse(
            session_id=self.calls["AttachPlatform"], secret=bytes(32), udp_port=9, state=self.snapshot()
        )

    def WatchPlatform(self, request: Any, context: Any) -> Any:
        self._enter("/harmonia.v1.PlatformService/WatchPlatform", context)
        watcher: SimpleQueue[Any] = SimpleQueue()
        watcher.put(platform_pb2.WatchPlatformResponse(state=self.snapshot()))
        self._watchers.append(watcher)
        context.add_callback(lambda: watcher.put(None))
        yield from iter(watcher.get, None)

    def CarryDatagrams(self, requests: Any, context: Any) -> Any:
        """Carries nothing, until the sleeper or the test ends it."""
        self._enter("/harmonia.v1.PlatformService/CarryDatagrams", context)
        self.carrying = SimpleQueue()
        context.add_callback(lambda: self.carrying.put(None))
        yield from iter(self.carrying.get, None)

    def SetVoice(self, request: Any, context: Any) -> Any:
        self._enter("/harmonia.v1.PlatformService/SetVoice", context)
        del self.state.voice[:]
        self.state.voice.extend(request.voice)
        return platform_pb2.SetVoiceResponse()

    def SetHearing(self, request: Any, context: Any) -> Any:
        self._enter("/harmonia.v1.PlatformService/SetHearing", context)
        self.state.hearing_level, self.state.own_level = request.hearing_level, request.own_level
        return platform_pb2.SetHearingResponse()

    def SetPhaseOffset(self, request: Any, context: Any) -> Any:
        self._enter("/harmonia.v1.RhythmService/SetPhaseOffset", context)
        self.offsets.append(request.offset_turns)
        self.state.offset = round(request.offset_turns * 2**64)
        return rhythm_pb2.SetPhaseOffsetResponse(offset=self.state.offset)

    def SetOwnRhythm(self, request: Any, context: Any) -> Any:
        self._enter("/harmonia.v1.RhythmService/SetOwnRhythm", context)
        frequency_hz = request.frequency_hz if request.HasField("frequency_hz") else None
        self.rhythms.append((frequency_hz, request.from_biosignal))
        return rhythm_pb2.SetOwnRhythmResponse()

    def GetConsent(self, request: Any, context: Any) -> Any:
        self._enter("/harmonia.v1.ConsentService/GetConsent", context)
        return consent_pb2.GetConsentResponse(purposes=self._purposes())

    def Grant(self, request: Any, context: Any) -> Any:
        self._enter("/harmonia.v1.ConsentService/Grant", context)
        if request.supersedes != self.standing[request.purpose][1]:
            self._abort(context, errors.StaleGrant("stale"))
        self.granted.append((request.purpose, request.supersedes))
        self.standing[request.purpose] = [True, request.supersedes]
        return consent_pb2.GrantResponse(consent=self._purposes()[request.purpose - 1])

    def Withdraw(self, request: Any, context: Any) -> Any:
        self._enter("/harmonia.v1.ConsentService/Withdraw", context)
        self.withdrawn.append((request.event_id, tuple(request.purposes)))
        for number in request.purposes or self.standing:
            self.standing[number] = [False, request.event_id.hex()]
        return consent_pb2.WithdrawResponse(purposes=self._purposes(), gate_epoch=7)

    def KeepApart(self, request: Any, context: Any) -> Any:
        self._enter("/harmonia.v1.ConsentService/KeepApart", context)
        directions = [getattr(request, n) if request.HasField(n) else None for n in ("unheard", "unhearing")]
        self.wishes.append((request.sleeper_id, *directions))
        wish = consent_pb2.Apart(sleeper_id=request.sleeper_id, unheard=request.unheard, unhearing=request.unhearing)
        return consent_pb2.KeepApartResponse(apart=[wish])

    def CallForHelp(self, request: Any, context: Any) -> Any:
        self._enter("/harmonia.v1.StewardService/CallForHelp", context)
        self.on_help(request.event_id)
        self.helps.append((request.event_id, request.message))
        return steward_pb2.CallForHelpResponse(call=steward_pb2.HelpCall(help_id="help-a", place=1))

    def TakeBackHelp(self, request: Any, context: Any) -> Any:
        self._enter("/harmonia.v1.StewardService/TakeBackHelp", context)
        self.taken_back.append(request.help_id)
        return steward_pb2.TakeBackHelpResponse(call=steward_pb2.HelpCall(help_id=request.help_id, taken_back=True))

    def WatchCircle(self, request: Any, context: Any) -> Any:
        """As fast as the reader takes them, numbered in ``hidden``, until the test closes the house."""
        self._enter("/harmonia.v1.CircleService/WatchCircle", context, signed=False)
        for number in range(1, 10_001):
            if not context.is_active():
                return
            yield circle_pb2.WatchCircleResponse(circle=self.state.circle, hidden=number)
            self.shown = number


class FakeCore:
    """Stands for `harmonia._core.Platform`: keeps what it was told, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.offset = 0
        self.gate_open = True
        self.hushed = (False, False, False)
        self.hush_epoch: int | None = None
        self.levels = (1.0, 1.0)
        self.unanswered: dict[str, Any] | None = None

    def connect(self, host: str, port: int, session_id: int, secret: bytes, time_keys: Any = None) -> None:
        self.told.append(("connect", session_id))

    def clock(self) -> SimpleNamespace:
        """A clock that stands still, and is certain."""
        instants = dict.fromkeys(("platform_ns", "node_ns", "earliest_ns", "latest_ns"), 0)
        return SimpleNamespace(**instants, lock_state=3, uncertainty_ns=0, rate_ppb=0)

    def silence(self) -> dict[str, Any] | None:
        return self.unanswered

    def suspends(self) -> tuple[int, int, int]:
        return (0, 0, 0)

    def sound(self) -> dict[str, Any]:
        levels = {"momentary_lufs": -120.0, "peak_dbfs": -120.0, "gain_db": 0.0, "ceiling_dbfs": -1.0}
        return {**levels, "dropped": 0, "resets": 0, "faded": True}

    def set_score(self, score: Any, epoch_ns: int, stems: Any = None) -> None:
        self.told.append(("score", score.name, epoch_ns))
        self.stems = dict(stems or {})

    def clear_score(self) -> None:
        self.told.append(("score", None))

    def set_rhythm(self, rhythm: Any) -> None:
        self.told.append(("rhythm", rhythm.segments))

    def set_offset(self, turns: float) -> int:
        if math.isnan(turns):
            raise ValueError("a phase offset must be a finite number of turns, not NaN")
        self.offset = round(turns * 2**64)
        self.told.append(("offset", turns))
        return self.offset

    def set_voice(self, voice: Any) -> None:
        self.told.append(("voice", tuple(voice)))

    def set_levels(self, *, hearing: float, own: float) -> None:
        self.levels = (hearing, own)

    def withdraw(self, event_id: bytes, purposes: int) -> None:
        self.told.append(("withdraw", event_id, purposes))
        if purposes == 0:
            self.gate_open = False

    def set_acknowledged(self, event_id: bytes) -> None:
        self.told.append(("acknowledged", event_id))

    def set_hush(self, *, silent: bool, alarm: bool, epoch: int | None) -> None:
        self.hushed, self.hush_epoch = (silent, alarm, True), epoch

    def hush(self) -> tuple[bool, bool, bool]:
        return self.hushed

    @property
    def sounds(self) -> bool:
        """Whether anything may be played."""
        return self.gate_open and not self.hushed[0]

    def close_gate(self) -> None:
        self.told.append(("close",))
        self.gate_open = False

    def open_gate(self) -> None:
        self.told.append(("open",))
        self.gate_open = True

    def close(self) -> None:
        self.told.append(("close",))

    def did(self, what: str) -> list[tuple[Any, ...]]:
        return [entry for entry in self.told if entry[0] == what]
