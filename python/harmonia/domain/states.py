"""The states of a circle's night and the one table of what may follow what."""

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


_S = CircleState

TRANSITIONS: dict[CircleState, frozenset[CircleState]] = {
    _S.DRAFT: frozenset({_S.GATHERING, _S.CLOSED}),
    _S.GATHERING: frozenset({_S.ENTRAINING, _S.CLOSED}),
    _S.ENTRAINING: frozenset({_S.DREAMING, _S.WAKING, _S.CLOSED}),
    _S.DREAMING: frozenset({_S.WAKING, _S.CLOSED}),
    _S.WAKING: frozenset({_S.DIALOGUE, _S.CLOSED}),
    _S.DIALOGUE: frozenset({_S.CLOSED}),
    _S.CLOSED: frozenset(),
}
"""A host may close a circle at any time, and may wake it before it dreams; nothing goes back."""

SOUNDING = frozenset({_S.ENTRAINING, _S.DREAMING, _S.WAKING})
"""The score plays."""
