"""The domain follows the model's rule of consent, step for step, over every short history that there is.

``transitions.json`` is what `python3 run.py model --transitions` prints; a test of the model holds it to that.
"""

import json
from collections.abc import Callable
from functools import cache
from itertools import product
from pathlib import Path

import pytest

from harmonia.domain import sleeper as sleepers
from harmonia.domain.consent import Purpose, Standing
from harmonia.domain.events import ConsentGranted, ConsentWithdrawn, PersonEvent, SleeperJoined, decode, encode
from harmonia.domain.sleeper import Sleeper
from sim.nights.mistakes import accepting

State = tuple[tuple[int, ...], int]
"""The withdrawals in the order in which they came, and the grant in force, 0 for none."""
Event = tuple[str | int, ...]
"""``("w", withdrawal)`` or ``("g", grant, the withdrawal that it names)``; 0 names none."""

LENGTH = 5
START: State = ((), 0)


def table() -> dict[tuple[State, Event], State]:
    rows = json.loads(Path(__file__).with_name("transitions.json").read_text())
    return {((tuple(was[0]), was[1]), tuple(event)): (tuple(is_[0]), is_[1]) for was, event, is_ in rows}


def name(kind: str, number: int) -> bytes:
    return (kind + str(number)).encode().ljust(16, b".") if number else b""


@cache
def fact(event: Event) -> PersonEvent:
    """As the journal gives it back."""
    again = decode(encode(said(event)))
    assert isinstance(again, PersonEvent)
    return again


def said(event: Event) -> PersonEvent:
    if event[0] == "w":
        return ConsentWithdrawn((Purpose.VOICE,), name("w", int(event[1])), 0)
    yes, names = int(event[1]), int(event[2])
    return ConsentGranted(Purpose.VOICE, "", 1.0, None, name("w", names), name("g", yes), 0)


def state_of(sleeper: Sleeper) -> State:
    standing = sleeper.consent[Purpose.VOICE]
    number = {name(kind, n): n for kind in "wg" for n in (1, 2)}
    return tuple(number[w] for w in standing.withdrawals), number[standing.grant.event_id] if standing.grant else 0


def walk(sleeper: Sleeper, state: State, rows: dict[tuple[State, Event], State], left: int) -> int:
    """How many steps were compared, of all histories of ``left`` more events."""
    if not left:
        return 0
    steps = 0
    for event in {event for _, event in rows}:
        after = sleepers.apply(sleeper, fact(event))
        assert state_of(after) == rows[state, event], (state, event)
        steps += 1 + walk(after, rows[state, event], rows, left - 1)
    return steps


def joined() -> Sleeper:
    return sleepers.apply(None, SleeperJoined("sleeper-a", "circle-a", b"t", b"c", b"k", 0))


def test_every_history_of_five_events_goes_as_the_model_says() -> None:
    rows = table()
    events = {event for _, event in rows}
    assert len(events) == 2 + 2 * 3
    assert walk(joined(), START, rows, LENGTH) == sum(len(events) ** n for n in range(1, LENGTH + 1))


def test_all_orders_of_two_devices_messages_end_in_a_no_unless_the_newest_is_named() -> None:
    """Two devices, each with a withdrawal; a grant of one of them that knows of its own withdrawal alone."""
    own, other, yes = fact(("w", 1)), fact(("w", 2)), fact(("g", 1, 1))
    for order in product((own, other, yes), repeat=5):  # so with every repetition
        if {own, other, yes} - set(order):
            continue
        sleeper = joined()
        for event in order:
            sleeper = sleepers.apply(sleeper, event)
        newest = sleeper.consent[Purpose.VOICE].withdrawal
        if sleeper.consent[Purpose.VOICE].grant is not None:
            assert newest == name("w", 1)
            assert order.index(other) < order.index(own)


@pytest.mark.parametrize(
    "accepts",
    [
        lambda standing, supersedes: not supersedes,
        lambda standing, supersedes: supersedes in standing.withdrawals,
        lambda _standing, _supersedes: True,
    ],
)
def test_a_rule_that_lets_a_tie_be_a_yes_does_not_pass(accepts: Callable[[Standing, bytes], bool]) -> None:
    with accepting(accepts), pytest.raises(AssertionError):
        walk(joined(), START, table(), LENGTH)


def test_a_rule_that_drops_a_second_devices_withdrawal_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    withdrawn = Standing.withdrawn
    monkeypatch.setattr(Standing, "withdrawn", lambda self, id: self if self.withdrawals else withdrawn(self, id))
    with pytest.raises(AssertionError):
        walk(joined(), START, table(), LENGTH)
