"""Advance wishes: what a person wants to be taken back once they sleep, because a sleeper cannot press a button.

A wish is made awake and acts asleep: after some hours, on waking, when it is too loud, when the breath says so. It can
only ever take back; there is no wish that grants. Three rules make it as good as a hand on the button:

- It acts where its reason is known. The platform knows all of them and acts at once, network or not; the sanctuary
  knows the hours and whether the circle wakes, and acts where the platform is dead.
- Both do the same thing: an ordinary withdrawal, whose event id follows from the sleeper and the wish alone. Whoever is
  second repeats the first, and a repetition changes nothing.
- It acts once. A withdrawal with its event id is its whole memory, so that no restart of either side forgets it, and a
  grant that the person gives afterwards stands.

What cannot be read has a meaning, too: a sensor that says nothing makes no wish act, unless the wish says for how long
that may go on ("or when you cannot tell for ten minutes"). Hours that cannot be counted any more, because the clock
that they were counted by is gone, are over: the safe way to err.
"""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import IntEnum

from harmonia.domain.consent import EVENT_ID_BYTES, Purpose
from harmonia.domain.states import CircleState
from harmonia.errors import BadInput

WISHES_MAX = 32
"""Wishes that one sleeper may have at once, those that have acted among them."""
AFTER_NS_MAX = 7 * 24 * 3600 * 1_000_000_000
UNKNOWN_NS_MIN = 10_000_000_000
DBFS = (-120.0, 0.0)
SPL_DB = (0.0, 140.0)
BREATH_HZ_MAX = 2.0

AWAKE_STATES = frozenset({CircleState.WAKING, CircleState.DIALOGUE, CircleState.CLOSED})
"""Where a circle is awake, or past it."""


class WishKind(IntEnum):
    """What a wish waits for, numbered as harmonia.v1.AdvanceWishKind."""

    AFTER = 1
    WAKING = 2
    LOUD = 3
    BREATH = 4


class Since(IntEnum):
    """From where the hours are counted, numbered as harmonia.v1.AdvanceWishSince."""

    JOINING = 1
    NIGHT = 2
    """The score's beginning."""


class LevelUnit(IntEnum):
    """Of what a level is, numbered as harmonia.v1.AdvanceWishUnit."""

    DBFS = 1
    DB_SPL = 2
    """Readable once the platform is calibrated."""


@dataclass(frozen=True, slots=True)
class AdvanceWish:
    """What to take back, and when. Only the fields of its kind are set."""

    wish_id: bytes
    kind: WishKind
    purposes: tuple[Purpose, ...]
    """Ascending, at least one."""
    after_ns: int | None = None
    since: Since = Since.JOINING
    level: float | None = None
    """LOUD: above this."""
    unit: LevelUnit = LevelUnit.DBFS
    under_hz: float | None = None
    """BREATH: slower than this, ..."""
    over_hz: float | None = None
    """... or faster than this, ..."""
    irregular: float | None = None
    """... or its rate's standard deviation over a minute is more than this share of its mean."""
    unknown_ns: int | None = None
    """Also when nobody can tell for so long; None: then never."""

    def event_id(self, sleeper_id: str) -> bytes:
        """The withdrawal's id: the same wherever it is made."""
        named = b"harmonia advance wish\0" + sleeper_id.encode() + b"\0" + self.wish_id
        return hashlib.sha256(named).digest()[:EVENT_ID_BYTES]


@dataclass(frozen=True, slots=True)
class StandingWish:
    """A wish as its sleeper's events have it."""

    wish: AdvanceWish
    set_ns: int
    """When it was made, node time."""
    fired: bool = False
    """It has acted, and will not again."""

    def due_ns(self, joined_ns: int, epoch_ns: int | None) -> int | None:
        """When its hours are over, node time; None for another kind, and while there is no night to count from."""
        if self.wish.kind is not WishKind.AFTER or self.wish.after_ns is None:
            return None
        # A beginning after the wish was made can only be another clock's, and must not put its end off.
        start_ns = min(joined_ns, self.set_ns) if self.wish.since is Since.JOINING else epoch_ns
        return None if start_ns is None else start_ns + self.wish.after_ns

    def due(self, joined_ns: int, epoch_ns: int | None, state: CircleState, t_ns: int, *, awake: bool = False) -> bool:
        """Whether the sanctuary has to act on it at node time ``t_ns``.

        The hours are over, or the circle is awake, or (``awake``) its sleeper said that they are.
        """
        if self.fired:
            return False
        if self.wish.kind is WishKind.WAKING:
            return awake or state in AWAKE_STATES
        due_ns = self.due_ns(joined_ns, epoch_ns)
        return due_ns is not None and due_ns <= t_ns


def parse_wish(wish: AdvanceWish) -> AdvanceWish:
    """``wish`` if it can be kept. Raises :class:`BadInput`."""
    if len(wish.wish_id) != EVENT_ID_BYTES:
        raise BadInput(f"a wish's id must be {EVENT_ID_BYTES} bytes, not {len(wish.wish_id)}: choose them at random")
    if not wish.purposes:
        raise BadInput("an advance wish must name what it takes back: at least one purpose")
    given = {name for name in _FIELDS if getattr(wish, name) is not None}
    if given - _ALLOWED[wish.kind]:
        surplus = ", ".join(sorted(given - _ALLOWED[wish.kind]))
        raise BadInput(f"a wish of kind {wish.kind.name.lower()} has no {surplus}: make a wish of its own for that")
    _check_within("unknown", wish.unknown_ns, UNKNOWN_NS_MIN, AFTER_NS_MAX, "10 s to a week")
    match wish.kind:
        case WishKind.AFTER:
            _require(wish.after_ns is not None, "a wish to stop after some time must say after how long")
            _check_within("time", wish.after_ns, 1_000_000_000, AFTER_NS_MAX, "a second to a week")
        case WishKind.LOUD:
            _require(wish.level is not None, "a wish to stop when it is too loud must say above which level")
            low, high = DBFS if wish.unit is LevelUnit.DBFS else SPL_DB
            unit = "dBFS" if wish.unit is LevelUnit.DBFS else "dB SPL"
            _check_within("level", wish.level, low, high, f"{low:g} to {high:g} {unit}")
        case WishKind.BREATH:
            bounds = (wish.under_hz, wish.over_hz, wish.irregular)
            _require(
                any(bound is not None for bound in bounds) or wish.unknown_ns is not None,
                "a wish about the breath must say what of it: slower than, faster than, irregular or not to be told",
            )
            for name, bound in (("slowest breath", wish.under_hz), ("fastest breath", wish.over_hz)):
                _check_within(name, bound, 1e-3, BREATH_HZ_MAX, f"0.06 to {BREATH_HZ_MAX * 60:g} a minute")
            _check_within("irregularity", wish.irregular, 0.01, 1.0, "0.01 to 1")
            if wish.under_hz is not None and wish.over_hz is not None:
                _require(wish.under_hz < wish.over_hz, "the slowest breath must be slower than the fastest")
        case WishKind.WAKING:
            pass
    return replace(wish, purposes=tuple(sorted(set(wish.purposes))))


def added(wishes: tuple[StandingWish, ...], wish: AdvanceWish, t_ns: int) -> tuple[StandingWish, ...]:
    """``wishes`` with this one; a repetition changes nothing."""
    if any(one.wish.wish_id == wish.wish_id for one in wishes):
        return wishes
    return (*wishes, StandingWish(wish, t_ns))


def removed(wishes: tuple[StandingWish, ...], wish_id: bytes) -> tuple[StandingWish, ...]:
    """``wishes`` without that one. What it has taken back stays taken back."""
    return tuple(one for one in wishes if one.wish.wish_id != wish_id)


def marked(wishes: tuple[StandingWish, ...], sleeper_id: str, event_id: bytes) -> tuple[StandingWish, ...]:
    """``wishes`` after a withdrawal: if it is a wish's own, that one has acted."""
    if not any(not one.fired and one.wish.event_id(sleeper_id) == event_id for one in wishes):
        return wishes
    return tuple(replace(one, fired=one.fired or one.wish.event_id(sleeper_id) == event_id) for one in wishes)


def find(wishes: Iterable[StandingWish], wish_id: bytes) -> StandingWish | None:
    """The wish of that id."""
    return next((one for one in wishes if one.wish.wish_id == wish_id), None)


_FIELDS = ("after_ns", "level", "under_hz", "over_hz", "irregular", "unknown_ns")
_ALLOWED = {
    WishKind.AFTER: {"after_ns"},
    WishKind.WAKING: {"unknown_ns"},
    WishKind.LOUD: {"level", "unknown_ns"},
    WishKind.BREATH: {"under_hz", "over_hz", "irregular", "unknown_ns"},
}


def _require(well: bool, message: str) -> None:
    if not well:
        raise BadInput(message)


def _check_within(name: str, value: float | None, low: float, high: float, allowed: str) -> None:
    if value is not None and not (math.isfinite(value) and low <= value <= high):
        raise BadInput(f"the {name} of an advance wish must be {allowed}, not {value:g}")
