"""A rhythm that follows a living signal: it never jumps, it remembers what was set, and a no ends it."""

import math

from hypothesis import given
from hypothesis import strategies as st

from harmonia.domain import sleeper as sleepers
from harmonia.domain.circle import LEAD_NS
from harmonia.domain.consent import Purpose
from harmonia.domain.events import (
    ConsentGranted,
    ConsentWithdrawn,
    PersonEvent,
    RhythmOwned,
    SleeperJoined,
    decode,
    encode,
)
from harmonia.domain.rhythm import Rhythm
from harmonia.domain.sleeper import FOLLOWING, Sleeper
from harmonia.domain.weaving import BACK_NS, ON_THE_CIRCLES, OwnRhythm

S = 1_000_000_000
CIRCLE = Rhythm.constant(0, 0.2)
steps = st.lists(st.tuples(st.integers(S, 30 * S), st.floats(0.1, 0.5)), min_size=1, max_size=12)


def followed(given_: list[tuple[int, float]], begin: OwnRhythm = ON_THE_CIRCLES) -> tuple[OwnRhythm, int]:
    """A rhythm that was led so, and when the last word was said."""
    own, now_ns = begin, 100 * S
    for wait_ns, hz in given_:
        now_ns += wait_ns
        own = own.following(CIRCLE, hz, 2 * S, now_ns, now_ns + LEAD_NS)
    return own, now_ns


def jump(before: Rhythm, after: Rhythm, at_ns: int) -> float:
    return abs(((after.phase_at(at_ns) - before.phase_at(at_ns) + 2**63) % 2**64 - 2**63) / 2**64)


@given(steps, st.floats(0.1, 0.5), st.integers(0, 20 * S))
def test_going_back_is_continuous_and_arrives_at_what_was_set(
    given_: list[tuple[int, float]], set_hz: float, later_ns: int
) -> None:
    by_hand = ON_THE_CIRCLES.led(CIRCLE, set_hz, S, 10 * S, 12 * S)
    own, now_ns = followed(given_, by_hand)
    now_ns += later_ns
    back = own.released(now_ns, now_ns + LEAD_NS)
    before, after = own.over(CIRCLE), back.over(CIRCLE)
    assert before is not None
    assert after is not None
    for at_ns in (now_ns, now_ns + LEAD_NS // 2, now_ns + LEAD_NS):
        assert jump(before, after, at_ns) < 1e-9
    there = now_ns + LEAD_NS + BACK_NS
    assert math.isclose(after.frequency_hz_at(there + S), set_hz, rel_tol=1e-9)
    assert back.set_hz is None
    assert back.released(now_ns, now_ns + LEAD_NS) == back


@given(steps)
def test_the_circles_rhythm_is_what_somebody_without_one_of_their_own_goes_back_to(
    given_: list[tuple[int, float]],
) -> None:
    own, now_ns = followed(given_)
    assert own.set_hz is not None
    assert math.isclose(own.set_hz, 0.2, rel_tol=1e-9)
    back = own.released(now_ns, now_ns + LEAD_NS).over(CIRCLE)
    assert back is not None
    assert math.isclose(back.frequency_hz_at(now_ns + 60 * S), 0.2, rel_tol=1e-9)


def person(*events: PersonEvent) -> Sleeper:
    one: Sleeper | None = None
    for event in (SleeperJoined("circle-1", "sleeper-1", b"t", b"c", b"k", 0), *events):
        one = sleepers.apply(one, event)
    assert one is not None
    return one


def yes(purpose: Purpose) -> ConsentGranted:
    return ConsentGranted(purpose, "", 1.0, None, b"", bytes([purpose]) * 16, S)


def following(now_ns: int) -> RhythmOwned:
    led = ON_THE_CIRCLES.following(CIRCLE, 0.25, S, now_ns, now_ns + LEAD_NS)
    return RhythmOwned(led.segments, led.home_ns, now_ns, led.set_hz)


def test_a_withdrawal_of_either_ends_it_and_one_that_overtakes_it_prevents_it() -> None:
    both = tuple(yes(purpose) for purpose in FOLLOWING)
    for purpose in FOLLOWING:
        no = ConsentWithdrawn((purpose,), b"n" * 16, 50 * S)
        ended = person(*both, following(40 * S), no)
        assert ended.own_rhythm.set_hz is None
        back = ended.own_rhythm.over(CIRCLE)
        assert back is not None
        assert math.isclose(back.frequency_hz_at(60 * S), 0.2, rel_tol=1e-9)
        assert person(*both, no, following(50 * S)).own_rhythm == ON_THE_CIRCLES
    other = ConsentWithdrawn((Purpose.VOICE,), b"n" * 16, 50 * S)
    assert person(*both, following(40 * S), other).own_rhythm.set_hz is not None


def test_a_late_repetition_of_an_answered_withdrawal_ends_nothing() -> None:
    for purpose in FOLLOWING:
        no = ConsentWithdrawn((purpose,), b"n" * 16, 20 * S)
        again = ConsentGranted(purpose, "", 1.0, None, no.event_id, b"y" * 16, 30 * S)
        granted = [yes(each) for each in FOLLOWING]
        both: tuple[PersonEvent, ...] = (*granted, no, again, following(40 * S))
        assert person(*both, no).own_rhythm == person(*both).own_rhythm
        assert person(*both, no).own_rhythm.set_hz is not None


def test_the_journal_knows_events_of_before() -> None:
    event = following(40 * S)
    assert decode(encode(event)) == event
    old = encode(RhythmOwned(event.segments, None, 3)).replace(b'"v":2', b'"v":1').replace(b',"set_hz":null', b"")
    assert decode(old) == RhythmOwned(event.segments, None, 3)
