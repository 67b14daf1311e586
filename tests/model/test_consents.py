"""The domain follows the model's rule of several purposes, and of levels, scopes and ends, over all of its tables.

``consents.json`` is what `python3 run.py model --consents` prints; a test of the model holds it to that.
"""

import json
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from harmonia.domain import sleeper as sleepers
from harmonia.domain.consent import Ceiling, Consent, Grant, Limits, Purpose, Standing, effective
from harmonia.domain.events import ConsentGranted, ConsentWithdrawn, PersonEvent, SleeperJoined, encode
from harmonia.domain.reading import read_all
from harmonia.domain.recollection import Recollection
from harmonia.domain.sleeper import Sleeper

PURPOSES = (Purpose.VOICE, Purpose.MONITORING)
SCOPES = ("", "sleeper-b", "sleeper-c")
HALVES = 2.0
"""The model counts levels in halves."""

State = tuple[tuple[int, int, int], ...]
"""For each purpose the withdrawals that were heard, a bit each, the newest, and the grant."""
Event = tuple[str | int, ...]
"""``("w", withdrawal, purposes)`` or ``("g", grant, the withdrawal that it names)``."""

EVENTS: tuple[Event, ...] = (
    *(("w", no, purposes) for no in (1, 2) for purposes in (1, 2, 3)),
    *(("g", yes, names) for yes in (1, 2) for names in (0, 1, 2)),
)
LENGTH = 4
START: State = ((0, 0, 0), (0, 0, 0))


def tables() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(__file__).with_name("consents.json").read_text())
    return found


def rows() -> dict[tuple[State, Event], State]:
    def state(value: Any) -> State:
        return tuple((heard, newest, grant) for heard, newest, grant in value)

    return {(state(was), tuple(event)): state(is_) for was, event, is_ in tables()["transitions"]}


def name(kind: str, number: int) -> bytes:
    return (kind + str(number)).encode().ljust(16, b".") if number else b""


@cache
def fact(event: Event) -> PersonEvent:
    kind, number, last = str(event[0]), int(event[1]), int(event[2])
    if kind == "w":
        purposes = tuple(purpose for bit, purpose in enumerate(PURPOSES) if last >> bit & 1)
        return ConsentWithdrawn(purposes, name("w", number), 0)
    return ConsentGranted(PURPOSES[number - 1], "", 1.0, None, name("w", last), name("g", number), 0)


def state_of(consent: Consent) -> State:
    def of(standing: Standing) -> tuple[int, int, int]:
        heard = [number for number in (1, 2) if name("w", number) in standing.withdrawals]
        newest = next((number for number in heard if standing.withdrawal == name("w", number)), 0)
        grants = (number for number in (1, 2) if standing.grant and standing.grant.event_id == name("g", number))
        return sum(1 << number - 1 for number in heard), newest, next(grants, 0)

    return tuple(of(consent[purpose]) for purpose in PURPOSES)


def joined() -> Sleeper:
    return sleepers.apply(None, SleeperJoined("sleeper-a", "circle-a", b"t", b"c", b"k", 0))


def walk(sleeper: Sleeper, state: State, steps: dict[tuple[State, Event], State], left: int) -> int:
    """How many steps were compared, of all histories of ``left`` more events."""
    count = 0
    for event in EVENTS if left else ():
        after = sleepers.apply(sleeper, fact(event))
        assert state_of(after.consent) == steps[state, event], (state, event)
        count += 1 + walk(after, steps[state, event], steps, left - 1)
    return count


def test_every_history_of_four_events_of_two_purposes_goes_as_the_model_says() -> None:
    steps = rows()
    assert {event for _, event in steps} == set(EVENTS)
    assert walk(joined(), START, steps, LENGTH) == sum(len(EVENTS) ** n for n in range(1, LENGTH + 1))


def test_reading_a_journal_goes_as_the_model_says_too() -> None:
    steps = rows()
    for history in product(EVENTS, repeat=3):
        recollection, state = Recollection(joined()), START
        for event in history:
            assert not list(recollection.absorb(read_all(encode(fact(event)))))
            state = steps[state, event]
        assert state_of(recollection.sleeper.consent) == state, history


def test_levels_scopes_ends_and_ceilings_meet_as_the_model_says() -> None:
    purpose, compared = Purpose.VOICE, 0
    for level, scope, until, now, asked, far in tables()["allowed"]:
        grant = Grant(name("g", 1), SCOPES[scope], level / HALVES, until or None)
        consent = Consent().grant(purpose, grant, b"")
        for ceilings, digit in zip(product((0.0, 0.5, 1.0), repeat=3), far, strict=True):
            rules, score, safety = (Ceiling({purpose: most}) for most in ceilings)
            said = effective(consent, purpose, now, rules=rules, score=score, safety=safety, scope=SCOPES[asked])
            assert said == int(digit) / HALVES, (level, scope, until, now, asked, ceilings)
            many = Limits(rules, score, safety).effective(consent, now, SCOPES[asked])
            assert many.get(purpose, 0.0) == said
            compared += 1
    assert compared == 3 * 2 * 2 * 3 * 3 * 27


@pytest.mark.parametrize("ignores", ["scope", "until_ns", "level"])
def test_a_rule_that_ignores_what_a_grant_says_does_not_pass(monkeypatch: pytest.MonkeyPatch, ignores: str) -> None:
    plain: dict[str, Any] = {"scope": "", "until_ns": None, "level": 1.0}
    granted = Consent.grant

    def careless(consent: Consent, purpose: Purpose, grant: Grant, supersedes: bytes) -> Consent:
        said = {"scope": grant.scope, "level": grant.level, "until_ns": grant.until_ns, ignores: plain[ignores]}
        return granted(consent, purpose, Grant(grant.event_id, **said), supersedes)

    monkeypatch.setattr(Consent, "grant", careless)
    with pytest.raises(AssertionError):
        test_levels_scopes_ends_and_ceilings_meet_as_the_model_says()
