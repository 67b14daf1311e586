"""The circle's transition table and timetable."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia.domain.admission import Token, check_token
from harmonia.domain.circle import (
    NS_PER_S,
    SEGMENTS_MAX,
    WAIT_NS_MAX,
    Circle,
    apply,
    decide_advance,
    decide_capacity,
    decide_creation,
    decide_rhythm,
    decide_schedule,
    decide_score,
    decide_title,
)
from harmonia.domain.events import CapacitySet, CircleAdvanced, CircleCreated, ScoreSet, decode
from harmonia.domain.rhythm import Rhythm, Segment
from harmonia.domain.states import TRANSITIONS, Cause, CircleState, Ending
from harmonia.domain.timetable import next_due
from harmonia.errors import BadInput, NotNow, TokenExpired, TokenUnknown, TokenUsed


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


def test_why_a_circle_closed_is_kept() -> None:
    gathering = apply(None, created())
    cancelled = apply(gathering, decide_advance(gathering, CircleState.CLOSED, 5, rhythm_from, reason="snow"))
    assert (cancelled.ending, cancelled.reason, cancelled.cause) == (Ending.CANCELLED, "snow", Cause.HOST)
    sounding = advance(gathering, CircleState.ENTRAINING, 2000)
    assert advance(sounding, CircleState.CLOSED, 3000).ending is Ending.ENDED
    failing = decide_advance(sounding, CircleState.CLOSED, 9, rhythm_from, cause=Cause.FAILURE, reason="no clock")
    failed = apply(sounding, failing)
    assert (failed.ending, failed.reason) == (Ending.FAILED, "no clock")
    with pytest.raises(BadInput, match="a reason must have at most 200"):
        decide_advance(gathering, CircleState.CLOSED, 5, rhythm_from, reason="a\nb")
    with pytest.raises(NotNow, match="cannot become entraining"):
        decide_advance(gathering, CircleState.ENTRAINING, 5, rhythm_from, cause=Cause.FAILURE)


def test_a_draft_is_edited_whole_and_a_circle_that_gathers_only_in_part() -> None:
    score = ScoreSet("new.sbg", "sbg", "y", 3, 7, 2000)
    draft = apply(None, created(draft=True))
    for event in (
        decide_title(draft, "Noon", 2000),
        decide_capacity(draft, 9, 2000),
        decide_schedule(draft, 1, 2, None, 2000),
        decide_score(draft, score),
    ):
        draft = apply(draft, event)
    assert (draft.title, draft.capacity, draft.voices, draft.gather_ns, draft.channels) == ("Noon", 9, 9, 1, 3)
    gathering = advance(draft, CircleState.GATHERING, 3000)
    decide_title(gathering, "x", 3000)
    with pytest.raises(NotNow, match="its score can be changed only while it is draft"):
        decide_score(gathering, score)
    sounding = advance(gathering, CircleState.ENTRAINING, 4000)
    for decide in (lambda: decide_title(sounding, "x", 5), lambda: decide_schedule(sounding, 1, 1, None, 5)):
        with pytest.raises(NotNow, match="only while it is draft or gathering"):
            decide()
    decide_capacity(sounding, 1, 5)
    with pytest.raises(NotNow, match="closed"):
        decide_capacity(advance(sounding, CircleState.CLOSED, 5), 1, 6)


@given(st.integers(1, 100_000))
def test_making_room_makes_nobody_louder_or_quieter(capacity: int) -> None:
    gathering = apply(None, created(capacity=3))
    assert apply(gathering, CapacitySet(capacity, 5)).voices == 3
    assert apply(gathering, CapacitySet(capacity, 5)).capacity == capacity


def test_circles_of_the_first_releases_read_as_they_were() -> None:
    first = decode(
        b'{"type":"CircleCreated","v":2,"circle_id":"c","title":"t","score_name":"n","score_format":"sbg","score_text":'
        b'"x","channels":2,"duration_ns":null,"capacity":3,"gather_ns":null,"night_ns":null,"t_ns":7}'
    )
    closed = decode(b'{"type":"CircleAdvanced","v":1,"state":"CLOSED","t_ns":9,"epoch_ns":null,"segments":[]}')
    assert isinstance(first, CircleCreated)
    assert isinstance(closed, CircleAdvanced)
    circle = apply(None, first)
    assert (circle.state, circle.voices, circle.plan) == (CircleState.GATHERING, 3, None)
    assert (apply(circle, closed).ending, apply(circle, closed).cause) == (Ending.ENDED, Cause.UNRECORDED)


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
    dreaming = advance(advance(circle, CircleState.ENTRAINING, 2000), CircleState.DREAMING, 3000)
    for waiting in (circle, dreaming):
        due = next_due(waiting)
        assert due is not None
        assert (due.cause, due.state) == (Cause.FAILURE, CircleState.CLOSED)
        assert due.t_ns == waiting.entered_ns + WAIT_NS_MAX  # a host who is gone keeps no circle for ever
    assert next_due(apply(None, created(draft=True))) is None
    waking = next_due(advance(dreaming, CircleState.WAKING, 4000))
    assert waking is not None
    assert waking.state is CircleState.DIALOGUE


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
