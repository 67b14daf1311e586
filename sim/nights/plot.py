"""What happens in one night: a list of acts, drawn from a seed before anything is played.

An act names people and circles by number, modulo how many there are when its turn comes, so that any part of a list is
a night of its own: that is what makes a failing one shorter.
"""

from collections.abc import Mapping
from random import Random
from typing import NamedTuple


class Act(NamedTuple):
    """One event. ``a`` and ``b`` mean what the stage makes of them for this kind."""

    kind: str
    who: int = 0
    a: int = 0
    b: int = 0
    after_s: float = 0.0
    """How long after the one before."""
    parts: tuple["Act", ...] = ()
    """Acts that happen at once."""

    def __str__(self) -> str:
        words = f"{self.kind} who={self.who} a={self.a} b={self.b} after {self.after_s:g} s"
        return words + "".join(f"\n      + {part}" for part in self.parts)


_PERSONS = {
    "grant": 22,
    "withdraw": 12,
    "repeat": 5,
    "toggle": 6,
    "offset": 4,
    "hearing": 3,
    "voice": 2,
    "coupling": 3,
    "apart": 3,
    "own-rhythm": 2,
    "wish": 3,
    "unwish": 1,
    "answer": 2,
    "leave": 2,
    "watch": 4,
    "listen": 3,
    "see": 3,
    "dismiss": 1,
    "help": 1,
    "away": 3,
    "back": 4,
    "awake": 3,
    "schedule-offset": 3,
    "forget": 1,
    "petition": 2,
    "unpetition": 1,
    "say": 2,
    "show": 3,
}
_OTHERS = {
    "join": 7,
    "join-storm": 1,
    "again": 3,
    "stop-waiting": 2,
    "capacity": 3,
    "storm": 4,
    "fire-alarm": 1,
    "two-doors": 2,
    "advance": 2,
    "lead": 3,
    "mode": 2,
    "pattern": 1,
    "offer": 2,
    "silence": 1,
    "lift": 2,
    "role": 3,
    "revoke": 2,
    "office": 8,
    "talk": 2,
    "circle": 1,
    "schedule": 2,
    "set-clock": 1,
    "series": 1,
    "change-series": 1,
    "end-series": 1,
    "disk-full": 2,
    "disk-free": 3,
    "unknown": 2,
    "crash": 2,
    "power-cut": 2,
    "new-clock": 1,
    "rest": 6,
    "sleep-long": 1,
}
_THEMES: tuple[tuple[Mapping[str, int], tuple[str, ...]], ...] = (
    ({}, ("role",)),
    (dict.fromkeys(("join", "join-storm", "again", "stop-waiting", "capacity", "leave", "forget"), 4), ()),
    (dict.fromkeys(("away", "back", "awake", "schedule-offset", "forget"), 4), ()),
    (
        dict.fromkeys(("circle", "schedule", "set-clock", "series", "change-series", "rest", "sleep-long"), 4),
        ("series",),
    ),
    (
        dict.fromkeys(("role", "revoke", "office", "talk", "say", "show", "petition", "unpetition", "help"), 4),
        ("role", "role", "role", "show", "show"),
    ),
)
"""What a night is about: so many times as much of that as of the rest, and how it begins."""
_ALL = {**_PERSONS, **_OTHERS}
_PARTS = {**_PERSONS, **dict.fromkeys(("join", "again", "stop-waiting", "capacity", "office", "talk"), 3)}
_GAPS_S = (0.0, 0.0, 0.001, 0.5, 3.0, 60.0, 900.0)
_RESTS_S = {"rest": (600.0, 3600.0, 7200.0), "sleep-long": (6 * 3600.0, 20 * 3600.0)}


def draw(seed: int, acts: int) -> list[Act]:
    """The night of ``seed``: a circle, some people, and ``acts`` acts."""
    dice = Random(seed)
    theme, opening = dice.choice(_THEMES)
    kinds, parts = ({name: often * theme.get(name, 1) for name, often in some.items()} for some in (_ALL, _PARTS))
    first = [Act("circle", a=dice.randrange(256), b=dice.randrange(1 << 16))]
    first += [Act("join", a=dice.randrange(2)) for _ in range(dice.randrange(2, 6))]
    first += [Act(kind, dice.randrange(1000), dice.randrange(1 << 16), dice.randrange(1 << 16)) for kind in opening]
    return [*first, *(_act(dice, kinds, parts) for _ in range(acts))]


def _act(dice: Random, kinds: Mapping[str, int], parts_of: Mapping[str, int]) -> Act:
    (kind,) = dice.choices(list(kinds), list(kinds.values()))
    parts: tuple[Act, ...] = ()
    if kind in ("storm", "crash"):
        parts = tuple(_part(dice, parts_of) for _ in range(dice.randrange(2, 7)))
    after_s = dice.choice(_RESTS_S.get(kind, _GAPS_S))
    return Act(kind, dice.randrange(1000), dice.randrange(1 << 16), dice.randrange(1 << 16), after_s, parts)


def _part(dice: Random, kinds: Mapping[str, int]) -> Act:
    (kind,) = dice.choices(list(kinds), list(kinds.values()))
    return Act(kind, dice.randrange(1000), dice.randrange(1 << 16), dice.randrange(1 << 16))
