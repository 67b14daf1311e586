"""A platform's key and credential, and the file that keeps them.

Joining makes an Ed25519 key that never leaves the machine; the credential is bound to it, and every call carries a
signature over its own method, a fresh nonce and the credential. The state file lets a platform that restarted go on
without a new token. It also keeps withdrawals and calls for help that the sanctuary has not acknowledged: they outlive
the process.
"""

import base64
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from harmonia.client.invitation import Endpoint
from harmonia.client.names import Purpose
from harmonia.domain.advance import StandingWish
from harmonia.errors import BadInput, NotFound, StorageError, StorageUnreadable

_VERSION = 1


class UntoldHelp(NamedTuple):
    """A call for help that the sanctuary has not acknowledged as it is here."""

    message: str
    taken_back: bool = False


@dataclass(slots=True)
class Identity:
    """Who a platform is in one circle. Holds secrets; ``repr`` shows none of them."""

    endpoint: Endpoint
    circle_id: str
    sleeper_id: str
    credential: str
    key: Ed25519PrivateKey
    withdrawals: dict[bytes, tuple[Purpose, ...]] = field(default_factory=dict)
    """Withdrawals by event id that are not acknowledged yet; no purposes means all."""
    path: Path | None = None
    wishes: tuple[StandingWish, ...] = ()
    """What this platform has to take back by itself, as far as it knows."""
    ceiling_dbfs: float | None = None
    """The personal ceiling: it is this platform's own, told to nobody, and outlives a restart."""
    helps: dict[bytes, UntoldHelp] = field(default_factory=dict)
    """Calls for help by event id that are not acknowledged yet."""

    def __repr__(self) -> str:
        return f"Identity({self.sleeper_id} in {self.circle_id})"

    def call_metadata(self, full_method: str, nonce: bytes) -> list[tuple[str, str]]:
        """What authenticates one call to ``/package.Service/Method``; ``nonce`` is 16 random bytes, used once."""
        nonce_text = nonce.hex()
        message = b"harmonia call\0" + b"\0".join(s.encode() for s in (full_method, nonce_text, self.credential))
        return [
            ("harmonia-credential", self.credential),
            ("harmonia-nonce", nonce_text),
            ("harmonia-proof", self.key.sign(message).hex()),
        ]

    def save(self) -> None:
        """Writes the state file, if this identity has one: whole or not at all, readable by its owner alone."""
        if self.path is not None:
            write_secret(self.path, self.text())

    def text(self) -> str:
        """What the state file holds."""
        content = {
            "harmonia": _VERSION,
            "host": self.endpoint.host,
            "port": self.endpoint.port,
            "ca": self.endpoint.ca_pem,
            "circle_id": self.circle_id,
            "sleeper_id": self.sleeper_id,
            "credential": self.credential,
            "key": base64.b64encode(self.key.private_bytes_raw()).decode(),
            "withdrawals": {event.hex(): [p.word for p in purposes] for event, purposes in self.withdrawals.items()},
            "wishes": [[_made(one), one.fired] for one in self.wishes],
            "ceiling_dbfs": self.ceiling_dbfs,
            "helps": {event.hex(): list(untold) for event, untold in self.helps.items()},
        }
        return json.dumps(content, indent=1)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads a state file. Raises NotFound without one, BadInput if it is not one."""
        try:
            content: dict[str, Any] = json.loads(path.read_text())
            if content["harmonia"] != _VERSION:
                raise BadInput(f"{path} was written by another version of Harmonia; join again with a new token")
            return cls(
                Endpoint(content["host"], content["port"], content["ca"]),
                content["circle_id"],
                content["sleeper_id"],
                content["credential"],
                Ed25519PrivateKey.from_private_bytes(base64.b64decode(content["key"])),
                {
                    bytes.fromhex(event): tuple(map(Purpose.of, words))
                    for event, words in content["withdrawals"].items()
                },
                path,
                tuple(_standing(*one) for one in content.get("wishes", ())),
                content.get("ceiling_dbfs"),
                {bytes.fromhex(event): UntoldHelp(*untold) for event, untold in content.get("helps", {}).items()},
            )
        except FileNotFoundError:
            raise NotFound(f"no sleeper's state in {path}") from None
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error.strerror}") from None
        except (KeyError, TypeError, ValueError, AttributeError, StorageUnreadable):
            raise BadInput(f"{path} is not a sleeper's state file, or damaged; join again with a new token") from None


# The events are imported where there is a wish: they are a seventh of what a command takes to start.


def _made(one: StandingWish) -> Any:
    from harmonia.domain.events import WishMade, encode

    return json.loads(encode(WishMade(one.wish, one.set_ns)))


def _standing(made: dict[str, Any], fired: bool) -> StandingWish:
    from harmonia.domain.events import WishMade, decode

    event = decode(json.dumps(made).encode())
    if not isinstance(event, WishMade):
        raise ValueError("not a wish")
    return StandingWish(event.wish, event.t_ns, fired)


def join_proof(key: Ed25519PrivateKey, circle_id: str, token: str) -> bytes:
    """Proof that whoever redeems ``token`` holds ``key``."""
    return key.sign(b"harmonia join\0" + circle_id.encode() + b"\0" + token.encode())


def purpose_bits(purposes: Iterable[Purpose]) -> int:
    """Bit ``n`` for purpose ``n``; 0, which means all, for none."""
    return sum({1 << purpose for purpose in purposes})


def write_secret(path: Path, text: str) -> None:
    """Replaces ``path`` by ``text`` atomically and durably, with mode 0600. Raises StorageError."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}; free space or choose another folder") from None
