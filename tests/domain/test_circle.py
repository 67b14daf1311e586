"""The circle's transition table and timetable."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia.domain.admission import Token, check_room, check_token
from harmonia.domain.circle import NS_PER_S, SEGMENTS_MAX, Circle, apply, decide_advance, decide_creation, decide_rhythm
from harmonia.domain.events import CircleCreated
from harmonia.domain.rhythm import Rhythm, Segment
from harmonia.domain.states import TRANSITIONS, CircleState
from harmonia.domain.timetable import next_due
from harmonia.errors import BadInput, CircleFull, NotNow, TokenExpired, TokenUnknown, TokenUsed


def created(**changes: object) -> CircleCreated:
    return replace(CircleCreated("c", "Night", "n", "sbg", "x", 2, None, 3, None, None, 1000), **changes)  # type: ignore[arg-type]


def rhythm_from(epoch_ns: int) -> Rhythm:
    return Rhythm.constant(epoch_ns, 4.0)


def advance(circle: Circle, state: CircleState, t_ns: int) -> Circle:
    return apply(circle, decide_advance(circle, state, t_ns, rhythm_from))


@given(st.sampled_from(CircleState), st.sampled_from(CircleState))
def test_only_the_table_moves_a_circle(have: CircleState, to: CircleState) -> None:
    circle = apply(None, created())
    path = [CircleState.ENTRAINING, CircleState.DREAMING, CircleState.WAKING, CircleState.DIALOGUE, CircleState.CLOSED]
    if have is not CircleState.DRAFT:
        for state in path[: max(0, have - CircleState.GATHERING)]:
            circle = advance(circle, state, 2000)
        assert circle.state is have
        if to in TRANSITIONS[have]:
            assert advance(circle, to, 3000).state is to
        else:
            with pytest.raises(NotNow, match="cannot become"):
                advance(circle, to, 3000)


def test_nothing_leads_out_of_closed_and_everything_leads_there() -> None:
    assert not TRANSITIONS[CircleState.CLOSED]
    for state in set(CircleState) - {CircleState.CLOSED}:
        assert CircleState.CLOSED in TRANSITIONS[state]
        assert all(later > state for later in TRANSITIONS[state])


@given(st.integers(0, 3600), st.integers(1, 12 * 3600))
def test_the_timetable_runs_through_the_night_by_itself(gather_s: int, night_s: int) -> None:
    circle = apply(None, created(gather_ns=gather_s * NS_PER_S, night_ns=night_s * NS_PER_S))
    seen = [(circle.entered_ns, circle.state)]
    while (due := next_due(circle)) is not None:
        event = decide_advance(circle, due.state, due.t_ns, rhythm_from, due.lead_ns)
        circle = apply(circle, event)
        seen.append((circle.entered_ns, circle.state))
    assert [state for _, state in seen] == list(CircleState)[1:]
    assert all(earlier <= later for (earlier, _), (later, _) in pairwise(seen))
    assert circle.epoch_ns == 1000 + gather_s * NS_PER_S
    ends = {state: t_ns for t_ns, state in seen}
    assert ends[CircleState.DIALOGUE] == circle.epoch_ns + night_s * NS_PER_S


def test_without_times_a_circle_waits_for_its_host() -> None:
    circle = apply(None, created())
    assert next_due(circle) is None
    dreaming = advance(advance(circle, CircleState.ENTRAINING, 2000), CircleState.DREAMING, 3000)
    assert next_due(dreaming) is None
    assert next_due(advance(dreaming, CircleState.WAKING, 4000)) is not None


def test_a_rhythm_is_led_in_the_future_and_never_over_a_published_change() -> None:
    circle = advance(apply(None, created()), CircleState.ENTRAINING, 2000)
    for t_ns in (2000, 2001, 2002, 10 * NS_PER_S):
        event = decide_rhythm(circle, 6.0, 0, t_ns)
        assert event.segment.start_ns >= t_ns + 2 * NS_PER_S
        circle = apply(circle, event)
    assert circle.rhythm_revision == 5
    for bad_hz, bad_ramp_ns in ((float("nan"), 0), (1001.0, 0), (4.0, -1)):
        with pytest.raises(BadInput):
            decide_rhythm(circle, bad_hz, bad_ramp_ns, 10**12)


def test_a_rhythm_is_not_led_until_nobody_can_receive_it() -> None:
    circle = advance(apply(None, created()), CircleState.ENTRAINING, 2000)
    full = Rhythm(tuple(Segment(start_ns, 0, 0) for start_ns in range(SEGMENTS_MAX)))
    with pytest.raises(NotNow, match="its most"):
        decide_rhythm(replace(circle, rhythm=full), 4.0, 0, 2000)
    assert decide_rhythm(replace(circle, rhythm=Rhythm(full.segments[1:])), 4.0, 0, 2000)


def test_before_the_score_begins_there_is_no_rhythm_to_lead() -> None:
    with pytest.raises(NotNow, match="no rhythm yet"):
        decide_rhythm(apply(None, created()), 4.0, 0, 2000)


@pytest.mark.parametrize(
    "changes",
    [
        {"title": " "},
        {"title": "a\nb"},
        {"title": "x" * 201},
        {"capacity": 0},
        {"capacity": 100_001},
        {"gather_ns": -1},
        {"night_ns": 10**18},
    ],
)
def test_a_bad_circle_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        decide_creation(created(**changes))


def test_a_token_opens_the_door_once_and_in_time() -> None:
    token = Token(expires_ns=10)
    check_token(token, 9)
    for bad, t_ns, error in ((None, 0, TokenUnknown), (token.redeemed("s"), 0, TokenUsed), (token, 10, TokenExpired)):
        with pytest.raises(error):
            check_token(bad, t_ns)
    check_room(True, 2, 3)
    with pytest.raises(CircleFull):
        check_room(True, 3, 3)
    with pytest.raises(NotNow):
        check_room(False, 0, 3)
