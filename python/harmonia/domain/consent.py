"""What a person allows, and how it meets what everybody else allows.

Two people's wishes may collide, and messages may arrive late, twice or in another order. The rules that keep a "no" a
"no" through all of it:

- A withdrawal always applies, whatever its sender knew. Its event id becomes the purpose's newest *withdrawal*.
- Only a grant is compare-and-set: it must name the newest withdrawal of its purpose (nothing if there never was one),
  which proves that its sender knew of it. Any other grant is stale and changes nothing.
- A repetition, recognised by its event id, changes nothing.

So a withdrawal commutes with every grant that did not name it, and replaying a journal in any delivery order ends in
the same "no". What other parties allow enters only through :func:`effective`, which takes the minimum: nobody but the
person can raise it. Missing, expired or unreadable means no.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType
from typing import Any, NamedTuple, cast

from harmonia.errors import BadInput, StaleGrant


class Purpose(IntEnum):
    """What a person may allow, numbered as harmonia.v1.Purpose."""

    PRESENCE = 1
    HEARING = 2
    VOICE = 3
    PULL = 4
    BIOSIGNAL = 5
    CIRCADIAN = 6
    HISTORY = 7
    RECORDING = 8
    MONITORING = 9
    VISIBILITY = 10
    SHARING = 11
    RESEARCH = 12

    __hash__ = int.__hash__  # Enum's own is a call of Python, and consents are looked up by purpose all night


ALL_PURPOSES = frozenset(Purpose)

EVENT_ID_BYTES = 16

_NAMES_MAX = 64
"""Withdrawals remembered a purpose. One that is forgotten and repeated applies again: the safe way to err."""


class Grant(NamedTuple):
    """One recorded "yes" to one purpose."""

    event_id: bytes
    scope: str = ""
    """To whom or what it extends; empty: the circle in which it was given."""
    level: float = 1.0
    """How far, 0 to 1."""
    until_ns: int | None = None
    """Node time at which it ends; None: with the circle."""


class Standing(NamedTuple):
    """Where one purpose stands."""

    grant: Grant | None = None
    withdrawals: tuple[bytes, ...] = ()
    """Event ids, oldest first. The last is the name that the next grant has to give."""

    @property
    def withdrawal(self) -> bytes:
        """The newest withdrawal; empty if there never was one."""
        return self.withdrawals[-1] if self.withdrawals else b""

    def withdrawn(self, event_id: bytes) -> "Standing":
        """This standing after a withdrawal."""
        if event_id in self.withdrawals:
            return self
        return Standing(grant=None, withdrawals=(*self.withdrawals, event_id)[-_NAMES_MAX:])

    def granted(self, purpose: Purpose, grant: Grant, supersedes: bytes) -> "Standing":
        """This standing, which is that of ``purpose``, after a grant. Raises :class:`StaleGrant`."""
        if self.grant is not None and self.grant.event_id == grant.event_id:
            return self
        if supersedes != self.withdrawal:
            newest = self.withdrawal.hex() or "none"
            raise StaleGrant(
                f"this grant of {purpose.name.lower()} names the withdrawal {supersedes.hex() or 'none'}, but the"
                f" newest is {newest}: read the consent again and grant with that withdrawal's id",
                purpose=purpose.name,
                withdrawal=self.withdrawal.hex(),
            )
        return Standing(grant, self.withdrawals)

    def level_at(self, t_ns: int, scope: str = "") -> float:
        """How far the person allows it at node time ``t_ns``, 0 to 1."""
        grant = self.grant
        if grant is None or grant.scope not in ("", scope):
            return 0.0
        if grant.until_ns is not None and t_ns >= grant.until_ns:
            return 0.0
        return _readable(grant.level)


_UNSET = Standing()
_NOTHING: Mapping[Purpose, Standing] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Consent:
    """All that one person allows. Unset means no."""

    standings: Mapping[Purpose, Standing] = field(default_factory=lambda: _NOTHING)

    def __getitem__(self, purpose: Purpose) -> Standing:
        return self.standings.get(purpose, _UNSET)

    def withdraw(self, purposes: Iterable[Purpose], event_id: bytes) -> "Consent":
        """This consent after a withdrawal. Always applies; a repetition changes nothing."""
        return self.with_standings({purpose: self[purpose].withdrawn(event_id) for purpose in purposes})

    def grant(self, purpose: Purpose, grant: Grant, supersedes: bytes) -> "Consent":
        """This consent after a grant. A stale one raises :class:`StaleGrant`; a repetition changes nothing."""
        return self.with_standings({purpose: self[purpose].granted(purpose, grant, supersedes)})

    def next_end_ns(self, t_ns: int) -> int | None:
        """The first node time after ``t_ns`` at which a grant ends; None if none does."""
        ends = (standing.grant.until_ns for standing in self.standings.values() if standing.grant)
        return min((end for end in ends if end is not None and end > t_ns), default=None)

    def with_standings(self, changed: dict[Purpose, Standing]) -> "Consent":
        """This consent with these purposes as they are here."""
        # A view's | copies in C; unpacking it would ask it for each purpose in turn.
        return Consent(MappingProxyType(cast(Any, self.standings) | changed))


@dataclass(frozen=True, slots=True)
class Ceiling:
    """How far one other party (the circle's rules, the score, safety) lets each purpose go, 0 to 1."""

    levels: Mapping[Purpose, float] = field(default_factory=dict)
    """A purpose that is not named is not allowed."""

    @classmethod
    def of(cls, purposes: Iterable[Purpose]) -> "Ceiling":
        """Allows ``purposes`` wholly and nothing else."""
        return cls(MappingProxyType(dict.fromkeys(purposes, 1.0)))

    def level(self, purpose: Purpose) -> float:
        return _readable(self.levels.get(purpose))


OPEN = Ceiling.of(ALL_PURPOSES)
"""A party that narrows nothing."""


def effective(
    consent: Consent,
    purpose: Purpose,
    t_ns: int,
    *,
    rules: Ceiling,
    score: Ceiling,
    safety: Ceiling,
    scope: str = "",
) -> float:
    """How far ``purpose`` may be used at node time ``t_ns``, 0 (not at all) to 1: the least that any party allows."""
    others = (party.level(purpose) for party in (rules, score, safety))
    return min(consent[purpose].level_at(t_ns, scope), *others)


class Limits:
    """What everybody but a person allows, met once for many people and all purposes."""

    def __init__(self, rules: Ceiling, score: Ceiling, safety: Ceiling) -> None:
        self._most = {p: min(party.level(p) for party in (rules, score, safety)) for p in Purpose}

    def effective(self, consent: Consent, t_ns: int, scope: str = "") -> dict[Purpose, float]:
        """How far each purpose may be used at node time ``t_ns``: as :func:`effective`, without those that may not."""
        allowed, most = {}, self._most
        for purpose, standing in consent.standings.items():
            grant, _ = standing
            if grant is None:
                continue
            _, to, level, until_ns = grant
            # Most grants are to the circle and without an end; of those no question needs to be asked.
            level = _readable(level) if until_ns is None and not to else standing.level_at(t_ns, scope)
            if level > (ceiling := most[purpose]):
                level = ceiling
            if level > 0:
                allowed[purpose] = level
        return allowed


SCOPE_MAX = 200
SLEEPER_ID = "sleeper-"
"""How the ids of sleepers begin."""
_SCOPED = frozenset({Purpose.MONITORING, Purpose.RECORDING, Purpose.VISIBILITY})
"""What can be allowed to somebody alone: it is asked for by somebody who is known. The rest goes to a field of all."""
LOOKING = ("host", "sleeper", "steward")
"""The roles that look at people, which `visibility` can be given to alone."""


def parse_scope(purpose: Purpose, scope: str) -> str:
    """``scope`` if a grant of ``purpose`` may carry it: a sleeper's id; of visibility a role, too. Raises BadInput."""
    if len(scope) > SCOPE_MAX or not scope.isprintable():
        raise BadInput(f"a scope must have at most {SCOPE_MAX} printable characters, not {scope[:40]!r}")
    if scope and purpose not in _SCOPED:
        words = ", ".join(sorted(one.name.lower() for one in _SCOPED))
        raise BadInput(
            f"{purpose.name.lower()} is allowed to the whole circle or not at all, not to {scope[:40]!r} alone: only"
            f" {words} can be"
        )
    roles = LOOKING if purpose is Purpose.VISIBILITY else ()
    if scope and not scope.startswith(SLEEPER_ID) and scope not in roles:
        allowed = ", ".join(("a sleeper's id", *roles))
        raise BadInput(f"{purpose.name.lower()} can be allowed to one of {allowed}, not to {scope[:40]!r}")
    return scope


def parse_level(level: float) -> float:
    """``level`` if a grant may carry it. Raises :class:`BadInput`."""
    if not (math.isfinite(level) and 0.0 <= level <= 1.0):
        raise BadInput(f"a level must be a number from 0 to 1, not {level}")
    return level


def parse_event_id(event_id: bytes) -> bytes:
    """``event_id`` if it can name a grant or withdrawal. Raises :class:`BadInput`."""
    if len(event_id) != EVENT_ID_BYTES:
        raise BadInput(f"an event id must be {EVENT_ID_BYTES} bytes, not {len(event_id)}: choose them at random")
    return event_id


def _readable(level: object) -> float:
    """``level`` as a number from 0 to 1; anything that is not one means no."""
    if type(level) is float and 0.0 <= level <= 1.0:
        return level
    if isinstance(level, (int, float)) and math.isfinite(level):
        return min(max(float(level), 0.0), 1.0)
    return 0.0
