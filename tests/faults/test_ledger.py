"""A campaign's own ledger: what may be there after a death, and that nothing else passes."""

import pytest

from faults.ledger import ANYTHING, NOTHING, Facts, Ledger


@pytest.fixture
def ledger() -> Ledger:
    """Of somebody who is here and heard, and asked to be away: a no first."""
    held = Ledger()
    held.granted({"voice": "granted", "away": False})
    held.begun = {"voice": "withdrawn"}
    held.wish = {**held.begun, "away": True}
    return held


@pytest.mark.parametrize(
    ("seen", "kept", "undone"),
    [
        ({"voice": "granted", "away": False}, 0, 1),
        ({"voice": "withdrawn", "away": True}, 1, 0),
        ({"voice": "withdrawn", "away": False}, 0, 1),
    ],
)
def test_an_unanswered_wish_is_granted_or_not_or_begun_as_it_said(
    ledger: Ledger, seen: Facts, kept: int, undone: int
) -> None:
    assert ledger.compare(seen) == []
    assert (ledger.kept, ledger.undone, ledger.facts) == (kept, undone, seen)
    assert ledger.compare({**seen, "voice": "else"}), "what was begun may not be there for ever after"


def test_what_was_to_come_second_may_not_be_there_alone(ledger: Ledger) -> None:
    (wrong,) = ledger.compare({"voice": "granted", "away": True})
    assert wrong == "away: False was acknowledged (True was asked for), True is there"


def test_what_was_refused_may_not_be_there_at_all(ledger: Ledger) -> None:
    ledger.refused()
    assert ledger.compare({"voice": "withdrawn", "away": True})


def test_what_was_taken_away_may_not_come_back_and_what_is_unknown_may_be_anything() -> None:
    ledger = Ledger()
    ledger.granted({"gone": 1, "kept": (1, ANYTHING)})
    ledger.granted({"gone": NOTHING})
    assert ledger.compare({"kept": (1, "whatever")}) == []
    assert ledger.compare({"gone": 1, "kept": (1, "whatever")})
