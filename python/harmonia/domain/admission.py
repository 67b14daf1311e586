"""Who may come in: join tokens and credentials.

Both are random secrets that only their holder has. The house keeps SHA-256 of each: they have 192 bits of entropy, so a
stolen journal lets nobody in and no slow password hash is needed.
"""

import base64
import hashlib
import hmac
from dataclasses import dataclass, replace

from harmonia.errors import BadInput, TokenExpired, TokenUnknown, TokenUsed

SECRET_BYTES = 24
TOKENS_MAX = 10_000
VALID_NS_DEFAULT = 24 * 3600 * 1_000_000_000
VALID_NS_MAX = 366 * VALID_NS_DEFAULT
PLATFORM_KEY_BYTES = 32
WAITING_MAX = 10_000
"""The longest waiting list."""


@dataclass(frozen=True, slots=True)
class Token:
    """A join token, as much of it as the house keeps."""

    expires_ns: int
    sleeper_id: str = ""
    """Who redeemed it."""

    def redeemed(self, sleeper_id: str) -> "Token":
        return replace(self, sleeper_id=sleeper_id)


def secret_text(prefix: str, entropy: bytes) -> str:
    """A secret as people pass it on: ``prefix`` says what it is."""
    assert len(entropy) == SECRET_BYTES, "a secret needs all its entropy"
    return prefix + base64.urlsafe_b64encode(entropy).decode().rstrip("=")


def secret_hash(secret: str) -> bytes:
    """What the house keeps of a secret."""
    return hashlib.sha256(secret.encode(errors="replace")).digest()


def credential_for(token: str, platform_key: bytes) -> str:
    """The credential that ``token`` buys the holder of ``platform_key``: the same whenever they ask.

    So an answer that was lost on the way can be asked for again. It is worth nothing without the key's private half.
    """
    mac = hmac.digest(token.encode(errors="replace"), b"harmonia credential\0" + platform_key, "sha256")
    return secret_text("hc_", mac[:SECRET_BYTES])


def identifier(prefix: str, entropy: bytes) -> str:
    """A pseudonymous id that can be read aloud: ``prefix`` and 80 bits in base 32."""
    return prefix + base64.b32encode(entropy[:10]).decode().lower()


def check_token(token: Token | None, t_ns: int) -> None:
    """Raises unless ``token`` may be redeemed at node time ``t_ns``."""
    if token is None:
        raise TokenUnknown("this circle does not know that join token: ask its host for one, and paste the whole of it")
    if token.sleeper_id:
        raise TokenUsed("this join token has been used; each is good for one sleeper: ask the host for another")
    if t_ns >= token.expires_ns:
        raise TokenExpired("this join token has expired: ask the host for another")


def parse_token_wish(count: int, valid_ns: int) -> tuple[int, int]:
    """How many tokens and how long each is good for. Raises :class:`BadInput`."""
    if not 1 <= count <= TOKENS_MAX:
        raise BadInput(f"between 1 and {TOKENS_MAX} tokens can be made at once, not {count}")
    if not 0 <= valid_ns <= VALID_NS_MAX:
        raise BadInput(f"a token must be valid for up to a year (0 means one day), not {valid_ns} ns")
    return count, valid_ns or VALID_NS_DEFAULT
