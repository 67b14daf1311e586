"""The states of a circle's night and the one table of what may follow what.

A move has a name, and each state says which moves lead out of it and where to. What may cause a move stands beside
its name: a host's wish, the timetable, or a failure that the sanctuary has found. Nothing leads back, and nothing leads
out of closed. How a circle came to be closed is its ending. The form is that of h11's tables; the picture in
docs/circles.md is drawn from this one by :func:`diagram`.
"""

from collections.abc import Iterator, Mapping
from enum import IntEnum


class CircleState(IntEnum):
    """Where a circle stands in its night, numbered as harmonia.v1.CircleState."""

    DRAFT = 1
    GATHERING = 2
    ENTRAINING = 3
    DREAMING = 4
    WAKING = 5
    DIALOGUE = 6
    CLOSED = 7


class Cause(IntEnum):
    """Who or what moved a circle, numbered as harmonia.v1.CircleCause."""

    UNRECORDED = 0
    """Journals of the first version do not say."""
    HOST = 1
    TIMETABLE = 2
    FAILURE = 3


class Ending(IntEnum):
    """How a circle came to be closed, numbered as harmonia.v1.CircleEnding."""

    OPEN = 0
    """It is not."""
    ENDED = 1
    """It ran, and is over."""
    CANCELLED = 2
    """Its host called it off before it began."""
    FAILED = 3
    """It could not be held, or not to its end."""


class Move(IntEnum):
    """What may happen to a circle."""

    OPEN = 1
    BEGIN = 2
    DREAM = 3
    WAKE = 4
    TALK = 5
    CLOSE = 6
    CANCEL = 7
    FAIL = 8


_S, _M, _C = CircleState, Move, Cause

CAUSES: Mapping[Move, frozenset[Cause]] = {
    _M.OPEN: frozenset({_C.HOST, _C.TIMETABLE}),
    _M.BEGIN: frozenset({_C.HOST, _C.TIMETABLE}),
    _M.DREAM: frozenset({_C.HOST, _C.TIMETABLE}),
    _M.WAKE: frozenset({_C.HOST, _C.TIMETABLE}),
    _M.TALK: frozenset({_C.HOST, _C.TIMETABLE}),
    _M.CLOSE: frozenset({_C.HOST, _C.TIMETABLE}),
    _M.CANCEL: frozenset({_C.HOST}),
    _M.FAIL: frozenset({_C.FAILURE}),
}
"""What may cause each move."""

MOVES: Mapping[CircleState, Mapping[Move, CircleState]] = {
    _S.DRAFT: {_M.OPEN: _S.GATHERING, _M.CANCEL: _S.CLOSED, _M.FAIL: _S.CLOSED},
    _S.GATHERING: {_M.BEGIN: _S.ENTRAINING, _M.CANCEL: _S.CLOSED, _M.FAIL: _S.CLOSED},
    _S.ENTRAINING: {_M.DREAM: _S.DREAMING, _M.WAKE: _S.WAKING, _M.CLOSE: _S.CLOSED, _M.FAIL: _S.CLOSED},
    _S.DREAMING: {_M.WAKE: _S.WAKING, _M.CLOSE: _S.CLOSED, _M.FAIL: _S.CLOSED},
    _S.WAKING: {_M.TALK: _S.DIALOGUE, _M.CLOSE: _S.CLOSED, _M.FAIL: _S.CLOSED},
    _S.DIALOGUE: {_M.CLOSE: _S.CLOSED, _M.FAIL: _S.CLOSED},
    _S.CLOSED: {},
}
"""What leads out of each state, and where to."""

ENDINGS: Mapping[Move, Ending] = {_M.CLOSE: Ending.ENDED, _M.CANCEL: Ending.CANCELLED, _M.FAIL: Ending.FAILED}
"""What a move makes of a circle that it closes."""

TRANSITIONS: Mapping[CircleState, frozenset[CircleState]] = {
    state: frozenset(moves.values()) for state, moves in MOVES.items()
}
"""Which states may follow which, whatever the cause."""

SOUNDING = frozenset({_S.ENTRAINING, _S.DREAMING, _S.WAKING})
"""The score plays."""

BEFORE = frozenset({_S.DRAFT, _S.GATHERING})
"""The night has not begun."""


def move_between(state: CircleState, to: CircleState, cause: Cause) -> Move | None:
    """The move of ``cause`` that leads from ``state`` to ``to``; None if the table has none."""
    return next((move for move, end in MOVES[state].items() if end is to and cause in CAUSES[move]), None)


def diagram() -> str:
    """The table as a Mermaid state diagram."""
    return "\n".join(["```mermaid", "stateDiagram-v2", "    [*] --> draft", *_arrows(), "    closed --> [*]", "```"])


def _arrows() -> Iterator[str]:
    for state, moves in MOVES.items():
        for move, to in moves.items():
            causes = ", ".join(cause.name.lower() for cause in sorted(CAUSES[move]))
            yield f"    {state.name.lower()} --> {to.name.lower()}: {move.name.lower()} ({causes})"
