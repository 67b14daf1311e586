"""A token in the hand: what it takes to redeem one, to wait for a place with it, and to give that up.

Whoever waits is known to the sanctuary by the token and by the key that it was first redeemed with. So the key is kept
in a file before it is used: a platform that restarts while it waits still holds its place.
"""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from harmonia import errors
from harmonia.client import channel, outbox, views
from harmonia.client.identity import Identity, join_proof, write_secret
from harmonia.client.invitation import Invitation
from harmonia.v1 import circle_pb2, circle_pb2_grpc

Told = Callable[[views.Place, views.Circle], None]


@dataclass(slots=True)
class Ticket:
    """An invitation with the key that it is redeemed for. Holds secrets; ``repr`` shows none of them."""

    invitation: Invitation
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    path: Path | None = None

    def __repr__(self) -> str:
        return f"Ticket(for {self.invitation.circle_id})"

    @classmethod
    def load(cls, path: Path) -> Self:
        """The ticket in a file. Raises NotFound, BadInput, StorageError."""
        try:
            content = json.loads(path.read_text())
            key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(content["key"]))
            return cls(Invitation.parse(content["invitation"]), key, path)
        except FileNotFoundError:
            raise errors.NotFound(f"nobody waits by {path}") from None
        except OSError as error:
            raise errors.StorageError(f"cannot read {path}: {error.strerror}") from None
        except (KeyError, TypeError, ValueError):
            raise errors.BadInput(f"{path} is damaged: remove it, and ask the host for another invitation") from None

    @classmethod
    def at(cls, path: Path, invitation: Invitation) -> Self:
        """The ticket of this invitation in a file, or else a new one to be kept there."""
        if path.exists():
            held = cls.load(path)
            if held.invitation.token == invitation.token:
                return held
        return cls(invitation, path=path)

    def save(self) -> None:
        """Writes the file, if it has one. Raises StorageError."""
        if self.path is not None:
            key = base64.b64encode(self.key.private_bytes_raw()).decode()
            write_secret(self.path, json.dumps({"invitation": str(self.invitation), "key": key}))

    def discard(self) -> None:
        """Removes the file: it is redeemed, or given up."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    async def redeem(self, tell: Told | None = None) -> tuple[Identity, views.Circle]:
        """Redeems the token; with ``tell``, waits for a place and tells how that stands, now and after every change.

        Whoever waits goes on through restarts of the sanctuary, and keeps their place when this is cancelled; with the
        same ticket they can wait on. Raises NotPermitted, NotFound, Unreachable (at first), and BadInput where there
        is no place or the circle is over.
        """
        request = circle_pb2.JoinCircleRequest(**self._fields(), wait=tell is not None)
        self.save()
        waits_s, waited = outbox.backoff_s(), False
        with self._channel() as connection:
            stub = circle_pb2_grpc.CircleServiceStub(connection)
            while True:
                try:
                    # Who waits is told so again: a sanctuary that restarts may have lost what it did not answer.
                    answer = await channel.call(stub.JoinCircle, request)
                    if tell is not None and answer.HasField("waiting"):
                        waits_s, waited = outbox.backoff_s(), True
                        answer = await self._wait(stub, tell)
                    break
                except (errors.Unreachable, errors.StorageError):
                    if not waited:
                        raise
                await trio.sleep(next(waits_s))
        endpoint = self.invitation.endpoint
        identity = Identity(endpoint, answer.circle.circle_id, answer.sleeper_id, answer.credential, self.key)
        return identity, views.circle(answer.circle)

    async def _wait(self, stub: Any, tell: Told) -> Any:
        request = circle_pb2.WaitForPlaceRequest(**self._fields())
        async with channel.stream(stub.WaitForPlace, request, []) as answers:
            async for answer in answers:
                if not answer.HasField("waiting"):
                    return answer
                tell(views.place(answer.waiting), views.circle(answer.circle))
        raise errors.Unreachable("the sanctuary ended the stream by which it says when there is a place")

    async def give_up(self) -> None:
        """Leaves the waiting list; the invitation is good again. Raises BadInput if nobody waits with it."""
        with self._channel() as connection:
            stub = circle_pb2_grpc.CircleServiceStub(connection)
            await channel.call(stub.StopWaiting, circle_pb2.StopWaitingRequest(**self._fields()))
        self.discard()

    def _channel(self) -> Any:
        endpoint = self.invitation.endpoint
        return channel.open_channel(endpoint.host, endpoint.port, endpoint.ca_pem.encode())

    def _fields(self) -> dict[str, Any]:
        circle_id, token = self.invitation.circle_id, self.invitation.token
        return {
            "circle_id": circle_id,
            "token": token,
            "platform_key": self.key.public_key().public_bytes_raw(),
            "proof": join_proof(self.key, circle_id, token),
        }
