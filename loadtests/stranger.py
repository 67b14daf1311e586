"""A client of the API written against proto/ alone, as a stranger's would be: calls, credentials, signatures.

The SDK is not used here: it is trio's, and locust lives on gevent. Blocking gRPC works on gevent after
``grpc.experimental.gevent.init_gevent()``.
"""

import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from harmonia.v1 import circle_pb2, circle_pb2_grpc, types_pb2

CALL_TIMEOUT_S = 10.0

Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Sanctuary:
    """Where a sanctuary listens, and whom to trust for it."""

    host: str
    grpc_port: int
    ca: bytes
    admin_token: str

    @staticmethod
    def read(data: Path) -> "Sanctuary":
        """Reads what `harmonia serve --data` wrote."""
        where = json.loads((data / "sanctuary.json").read_text())
        return Sanctuary(
            where["host"],
            where["grpc_port"],
            (data / "ca.pem").read_bytes(),
            (data / "admin.token").read_text().strip(),
        )

    def channel(self) -> grpc.Channel:
        """A TLS connection of its own: strangers share none."""
        options = [("grpc.use_local_subchannel_pool", 1)]
        credentials = grpc.ssl_channel_credentials(self.ca)
        return grpc.secure_channel(f"{self.host}:{self.grpc_port}", credentials, options)


class Host:
    """Who opens circles and invites to them."""

    def __init__(self, sanctuary: Sanctuary) -> None:
        self._channel = sanctuary.channel()
        self._circles = circle_pb2_grpc.CircleServiceStub(self._channel)
        self._metadata = (("authorization", f"Bearer {sanctuary.admin_token}"),)

    def open_circle(self, score: str, capacity: int) -> str:
        """Opens a circle that plays ``score``, .sbg, and begins it after a second. Returns its id."""
        request = circle_pb2.CreateCircleRequest(
            title="load",
            score=types_pb2.Score(name="load.sbg", format=types_pb2.SCORE_FORMAT_SBG, text=score),
            capacity=capacity,
            gather_ns=1_000_000_000,
        )
        answer = self._circles.CreateCircle(request, timeout=CALL_TIMEOUT_S, metadata=self._metadata)
        return answer.circle.circle_id

    def invite(self, circle_id: str, count: int) -> list[str]:
        """Makes join tokens."""
        request = circle_pb2.CreateJoinTokensRequest(circle_id=circle_id, count=count)
        return list(self._circles.CreateJoinTokens(request, timeout=CALL_TIMEOUT_S, metadata=self._metadata).tokens)

    def close(self) -> None:
        """Hangs up."""
        self._channel.close()


class Stranger:
    """A person's key and credential, and the signature that every call of theirs carries."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        self._credential = ""

    def redeeming(self, circle_id: str, token: str) -> dict[str, Any]:
        """The fields of a request by which a token is redeemed, or waited with."""
        return {
            "circle_id": circle_id,
            "token": token,
            "platform_key": self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw),
            "proof": self._key.sign(b"harmonia join\0" + circle_id.encode() + b"\0" + token.encode()),
        }

    def join(self, channel: grpc.Channel, circle_id: str, token: str) -> circle_pb2.JoinCircleResponse:
        """Redeems a token."""
        request = circle_pb2.JoinCircleRequest(**self.redeeming(circle_id, token))
        answer = circle_pb2_grpc.CircleServiceStub(channel).JoinCircle(request, timeout=CALL_TIMEOUT_S)
        self._credential = answer.credential
        return answer

    def sign(self, full_method: str) -> Metadata:
        """The metadata of one call: credential, nonce, and the key's signature over both and the method's name."""
        nonce = secrets.token_hex(16)
        signed = b"\0".join([b"harmonia call", full_method.encode(), nonce.encode(), self._credential.encode()])
        return (
            ("harmonia-credential", self._credential),
            ("harmonia-nonce", nonce),
            ("harmonia-proof", self._key.sign(signed).hex()),
        )

    def signed(self, channel: grpc.Channel) -> grpc.Channel:
        """The channel, signing whatever is called over it."""
        return grpc.intercept_channel(channel, _Signer(self))


class _Signer(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):  # type: ignore[type-arg]
    """Puts a fresh signature on each call."""

    def __init__(self, stranger: Stranger) -> None:
        self._stranger = stranger

    def _sign(self, details: Any) -> Any:
        return details._replace(metadata=self._stranger.sign(_text(details.method)))

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return continuation(self._sign(client_call_details), request)

    def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return continuation(self._sign(client_call_details), request)


def _text(method: str | bytes) -> str:
    return method.decode() if isinstance(method, bytes) else method
