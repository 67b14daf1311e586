"""Calls for help: from a sleeper's platform to whoever is awake.

A call discloses what its person chose to say and which place they lie at, and takes no purpose: somebody who has
withdrawn everything calls like anybody else. It is named by its caller, so that it can be repeated until it is
acknowledged and is still one call. Then somebody says that they are coming, and at last that it is resolved; neither
can be taken back, and each may be said twice. Its caller may take the call itself back until then: whoever is coming
is told so.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace

from harmonia.domain.admission import identifier
from harmonia.domain.consent import parse_event_id
from harmonia.domain.roles import parse_line
from harmonia.errors import NotNow

MESSAGE_MAX = 200
OPEN_MAX = 8
"""Calls of one sleeper that wait at once."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call for help."""

    help_id: str
    sleeper_id: str
    place: int
    """In the order of joining, from 0."""
    message: str
    called_ns: int
    by: str = ""
    """Who is coming or came; empty while nobody has answered."""
    coming_ns: int | None = None
    resolved_ns: int | None = None
    """When it was over, also by being taken back."""
    taken_back: bool = False

    def answered(self, by: str, resolved: bool, t_ns: int) -> "Call":
        """The call once somebody is coming, or it is resolved. The first who comes stays named."""
        come = self if self.coming_ns is not None else replace(self, by=by, coming_ns=t_ns)
        return replace(come, resolved_ns=t_ns) if resolved and come.resolved_ns is None else come

    def without(self, t_ns: int) -> "Call":
        """The call once its caller took it back; one that is resolved stays as it is."""
        return self if self.resolved_ns is not None else replace(self, resolved_ns=t_ns, taken_back=True)


def call_id(sleeper_id: str, event_id: bytes) -> str:
    """The name of the call that a sleeper names ``event_id``. Raises BadInput."""
    return identifier("help-", hashlib.sha256(sleeper_id.encode() + parse_event_id(event_id)).digest())


def parse_call(held: Iterable[Call], sleeper_id: str, message: str) -> str:
    """``message`` if that sleeper may call, beside the calls ``held``. Raises BadInput, NotNow."""
    message = parse_line("a message", message, MESSAGE_MAX, least=0)
    if sum(call.sleeper_id == sleeper_id and call.resolved_ns is None for call in held) >= OPEN_MAX:
        raise NotNow(f"{OPEN_MAX} of your calls wait already, and whoever is awake sees them all")
    return message
