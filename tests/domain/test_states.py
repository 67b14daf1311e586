"""The one table: everything that may happen to a circle, what causes it, and its picture in the documentation."""

from pathlib import Path

from harmonia.domain.states import CAUSES, ENDINGS, MOVES, Cause, CircleState, Move, diagram, move_between

DOCS = Path(__file__).resolve().parents[2] / "docs" / "circles.md"
S = CircleState


def test_the_picture_in_the_documentation_is_the_table() -> None:
    assert diagram() in DOCS.read_text(), "paste what harmonia.domain.states.diagram() returns into docs/circles.md"


def test_every_state_is_reached_and_every_move_has_a_cause() -> None:
    assert set(MOVES) == set(S)
    assert set(CAUSES) == set(Move)
    assert {move for moves in MOVES.values() for move in moves} == set(Move)
    assert {to for moves in MOVES.values() for to in moves.values()} == set(S) - {S.DRAFT}
    for state, moves in MOVES.items():
        assert all(to > state for to in moves.values()), "nothing leads back"
        assert len(set(moves.values())) >= len(moves) - 1, "only failing shares its end with another move"


def test_a_failure_ends_whatever_is_open_and_causes_nothing_else() -> None:
    for state in set(S) - {S.CLOSED}:
        assert move_between(state, S.CLOSED, Cause.FAILURE) is Move.FAIL
        assert all(move_between(state, to, Cause.FAILURE) is None for to in S if to is not S.CLOSED)


def test_only_a_host_cancels_and_only_before_it_begins() -> None:
    for state in S:
        cancels = move_between(state, S.CLOSED, Cause.HOST) is Move.CANCEL
        assert cancels == (state in (S.DRAFT, S.GATHERING))
    assert CAUSES[Move.CANCEL] == {Cause.HOST}
    assert set(ENDINGS) == {Move.CLOSE, Move.CANCEL, Move.FAIL}
