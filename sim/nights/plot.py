"""What happens in one night: a list of acts, drawn from a seed before anything is played.

An act names people and circles by number, modulo how many there are when its turn comes, so that any part of a list is
a night of its own: that is what makes a failing one shorter.
"""

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
}
_OTHERS = {
    "join": 6,
    "join-storm": 1,
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
    "disk-full": 2,
    "disk-free": 3,
    "unknown": 2,
    "crash": 2,
    "power-cut": 2,
    "new-clock": 1,
    "rest": 6,
}
_GAPS_S = (0.0, 0.0, 0.001, 0.5, 3.0, 60.0, 900.0)


def draw(seed: int, acts: int) -> list[Act]:
    """The night of ``seed``: a circle, some people, and ``acts`` acts."""
    dice = Random(seed)
    first = [Act("circle", a=dice.randrange(4), b=dice.randrange(4))]
    first += [Act("join") for _ in range(dice.randrange(2, 6))]
    return [*first, *(_act(dice) for _ in range(acts))]


def _act(dice: Random) -> Act:
    names = {**_PERSONS, **_OTHERS}
    (kind,) = dice.choices(list(names), list(names.values()))
    parts: tuple[Act, ...] = ()
    if kind in ("storm", "crash"):
        parts = tuple(_personal(dice) for _ in range(dice.randrange(2, 7)))
    after_s = dice.choice(_GAPS_S) if kind != "rest" else dice.choice((600.0, 3600.0, 7200.0))
    return Act(kind, dice.randrange(1000), dice.randrange(1 << 16), dice.randrange(1 << 16), after_s, parts)


def _personal(dice: Random) -> Act:
    (kind,) = dice.choices(list(_PERSONS), list(_PERSONS.values()))
    return Act(kind, dice.randrange(1000), dice.randrange(1 << 16), dice.randrange(1 << 16))
