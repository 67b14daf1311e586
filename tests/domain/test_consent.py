"""Laws of consent: nobody turns a no into a yes, a withdrawal always applies, a replay changes nothing."""

import math
from dataclasses import dataclass, fields
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia.domain import circle as circles
from harmonia.domain import sleeper as sleepers
from harmonia.domain.advance import AdvanceWish, WishKind
from harmonia.domain.circle import Circle
from harmonia.domain.consent import OPEN, Ceiling, Consent, Grant, Purpose, effective
from harmonia.domain.events import (
    ApartKept,
    CircleAdvanced,
    CircleCreated,
    CircleEvent,
    ConsentGranted,
    ConsentWithdrawn,
    CouplingSet,
    HearingSet,
    OfferAnswered,
    OfferEnded,
    OfferMade,
    OffsetSet,
    OffsetsOffered,
    PersonEvent,
    RhythmLed,
    RhythmOwned,
    RoleGranted,
    RoomLifted,
    RoomSilenced,
    SleeperForgotten,
    SleeperJoined,
    SleeperLeft,
    TokensCreated,
    UsageNoted,
    VoiceSet,
    WeavingSet,
    WishMade,
    WishRemoved,
)
from harmonia.domain.offers import Offer, OfferedGrant, OfferKind
from harmonia.domain.rhythm import Rhythm, Segment
from harmonia.domain.roles import Role
from harmonia.domain.sleeper import Sleeper
from harmonia.domain.states import CircleState
from harmonia.domain.usage import Use
from harmonia.domain.weaving import CircleMode
from harmonia.errors import StaleGrant

purposes = st.sampled_from(Purpose)
event_ids = st.integers(0, 5).map(lambda n: bytes([n]) * 16)
levels = st.floats(0, 1)
instants = st.integers(0, 1000)
ceilings = st.builds(Ceiling, st.dictionaries(purposes, st.floats(allow_nan=True) | st.none() | st.text(max_size=2)))

JOINED = SleeperJoined("circle-a", "sleeper-a", b"t", b"c", b"k", 0)
CREATED = CircleCreated("circle-a", "Night", "n.sbg", "sbg", "", 2, None, 8, None, None, 0)

grants = st.builds(
    ConsentGranted, purposes, st.just(""), levels, st.none() | instants, event_ids | st.just(b""), event_ids, instants
)
withdrawals = st.builds(ConsentWithdrawn, st.lists(purposes, min_size=1, unique=True).map(tuple), event_ids, instants)
own_settings = st.one_of(
    st.builds(OffsetSet, st.integers(-(2**63), 2**63 - 1), instants),
    st.builds(VoiceSet, st.tuples(st.complex_numbers(max_magnitude=4), st.complex_numbers(max_magnitude=4)), instants),
    st.builds(HearingSet, st.floats(0, 4), levels, instants),
    st.builds(RhythmOwned, st.just((Segment(5, 0, 10**20),)), st.none() | instants, instants),
    st.builds(CouplingSet, levels, levels, instants),
)
HOSTS = tuple(kind for kind in get_args(CircleEvent) if kind is not CircleCreated)
person_events = st.one_of(grants, withdrawals, own_settings)
offers_made = st.builds(
    Offer,
    st.sampled_from(OfferKind),
    instants,
    pattern=st.just((7,)),
    coupling=levels,
    home=st.booleans(),
    grants=st.lists(st.builds(OfferedGrant, purposes, levels), max_size=2).map(tuple),
)
advance_wishes = st.builds(
    AdvanceWish,
    event_ids,
    st.sampled_from(WishKind),
    st.lists(purposes, min_size=1, unique=True).map(tuple),
    after_ns=instants,
)
notes = st.one_of(
    st.builds(WishMade, advance_wishes, instants),
    st.builds(WishRemoved, event_ids, instants),
    st.builds(OfferAnswered, offers_made, st.booleans(), instants),
    st.builds(UsageNoted, st.lists(st.builds(Use, purposes, st.just("host"), instants, instants)).map(tuple), instants),
    st.builds(ApartKept, st.just("sleeper-b"), st.booleans(), st.booleans(), instants),
)
"""What a person's stream holds besides: wishes, answers, usage."""
advances = st.builds(
    CircleAdvanced, st.sampled_from(CircleState), instants, st.just(5), st.just((Segment(5, 0, 10**20),))
)
host_events = st.one_of(
    advances,
    st.builds(TokensCreated, st.lists(st.binary(min_size=32, max_size=32), max_size=2).map(tuple), instants, instants),
    st.builds(SleeperForgotten, st.binary(min_size=32, max_size=32), instants),
    st.builds(WeavingSet, st.sampled_from(CircleMode), st.floats(0, 100), instants),
    st.builds(OffsetsOffered, st.lists(st.integers(-(2**63), 2**63 - 1), max_size=2).map(tuple), instants),
    st.builds(OfferMade, offers_made, instants),
    st.builds(OfferEnded, event_ids, instants),
    st.builds(RoomSilenced, st.sampled_from("ab"), st.text(), st.booleans(), st.text(), instants),
    st.builds(RoomLifted, st.sampled_from("ab"), st.text(), instants),
    st.builds(RoleGranted, st.text(), st.sampled_from(Role), st.text(), st.binary(), st.none() | instants, instants),
)


@dataclass(frozen=True)
class Limits:
    """What a host, council, weaver or operator might try to decide about somebody."""

    rules: Ceiling
    score: Ceiling
    safety: Ceiling


limits = st.builds(Limits, ceilings, ceilings, ceilings)


def fold(events: list[PersonEvent]) -> Sleeper:
    sleeper = sleepers.apply(None, JOINED)
    for event in events:
        sleeper = sleepers.apply(sleeper, event)
    return sleeper


@given(st.lists(person_events, max_size=12), limits, purposes, instants)
def test_every_other_party_can_only_narrow(events: list[PersonEvent], others: Limits, purpose: Purpose, t: int) -> None:
    consent = fold(events).consent
    alone = effective(consent, purpose, t, rules=OPEN, score=OPEN, safety=OPEN)
    together = effective(consent, purpose, t, rules=others.rules, score=others.score, safety=others.safety)
    assert 0.0 <= together <= alone == consent[purpose].level_at(t)


@given(
    st.lists(st.one_of(person_events, notes, host_events), max_size=30),
    purposes,
    instants,
)
def test_no_host_event_turns_a_no_into_a_yes_or_resets_an_offset(
    history: list[PersonEvent | CircleEvent], purpose: Purpose, t: int
) -> None:
    """The same person's events without the host's: consent and settings are equal, and no purpose allows more."""
    circle = circles.apply(None, CREATED)
    sleeper = sleepers.apply(None, JOINED)
    for event in history:
        if isinstance(event, CircleEvent):
            circle = circles.apply(circle, event)
        else:
            assert isinstance(event, PersonEvent)
            assert not isinstance(event, SleeperLeft)
            sleeper = sleepers.apply(sleeper, event)
    alone = fold([event for event in history if not isinstance(event, HOSTS)])  # type: ignore[misc]
    assert sleeper == alone
    assert sleeper.allows(purpose, circle, t) <= alone.consent[purpose].level_at(t)


@given(st.lists(st.one_of(grants, withdrawals), max_size=12), own_settings)
def test_no_unrelated_update_resets_an_offset(events: list[PersonEvent], setting: PersonEvent) -> None:
    before = fold([OffsetSet(12345, 0), *events])
    assert before.offset == 12345
    after = sleepers.apply(before, setting)
    assert after.consent == before.consent
    assert isinstance(setting, OffsetSet) or after.offset == 12345


@given(st.lists(st.one_of(person_events, notes, host_events), max_size=30), purposes, instants)
def test_no_sequence_of_offers_wishes_usage_and_others_acts_turns_a_no_into_a_yes(
    history: list[PersonEvent | CircleEvent], purpose: Purpose, t: int
) -> None:
    """What is allowed after each event is no more than before, unless it is the person's own good grant of it."""
    circle, sleeper = circles.apply(None, CREATED), sleepers.apply(None, JOINED)
    for event in history:
        before, allowed = sleeper, sleeper.consent[purpose].level_at(t)
        if isinstance(event, HOSTS):
            circle = circles.apply(circle, event)
        else:
            sleeper = sleepers.apply(sleeper, event)  # type: ignore[arg-type]
        if isinstance(event, ConsentGranted) and event.purpose is purpose:
            assert sleeper.consent[purpose].level_at(t) in (allowed, event.level, 0.0)
            named = event.supersedes == before.consent[purpose].withdrawal
            assert named or sleeper.consent == before.consent
        else:
            assert sleeper.consent[purpose].level_at(t) <= allowed
        assert sleeper.allows(purpose, circle, t) <= sleeper.consent[purpose].level_at(t)


@given(st.lists(st.one_of(person_events, notes), max_size=20), st.one_of(notes, host_events, grants))
def test_no_unrelated_event_resets_a_setting_or_a_wish(
    history: list[PersonEvent], event: PersonEvent | CircleEvent
) -> None:
    """Each of these events touches the one thing that it is about; settings and everything else stay as they were."""
    before = fold(history)
    after = before if isinstance(event, HOSTS) else sleepers.apply(before, event)  # type: ignore[arg-type]
    own = {
        WishMade: {"wishes"},
        WishRemoved: {"wishes"},
        OfferAnswered: {"answers"},
        UsageNoted: {"uses"},
        ApartKept: {"apart"},
        ConsentGranted: {"consent"},
    }
    changed = {f.name for f in fields(before) if getattr(before, f.name) != getattr(after, f.name)}
    assert changed <= own.get(type(event), set())


@given(st.lists(person_events, max_size=12), purposes, st.binary(min_size=16, max_size=16), instants)
def test_a_withdrawal_always_applies_whatever_its_sender_knew(
    events: list[PersonEvent], purpose: Purpose, event_id: bytes, t: int
) -> None:
    before = fold(events)
    after = before.consent.withdraw([purpose], event_id)
    if event_id not in before.consent[purpose].withdrawals:
        assert after[purpose].level_at(t) == 0.0
        assert after[purpose].withdrawal == event_id
    untouched = set(Purpose) - {purpose}
    assert all(after[other] == before.consent[other] for other in untouched)


@given(st.lists(person_events, max_size=12), purposes, event_ids, event_ids)
def test_a_grant_that_does_not_name_the_newest_withdrawal_is_stale(
    events: list[PersonEvent], purpose: Purpose, newest: bytes, named: bytes
) -> None:
    consent = fold(events).consent.withdraw([purpose], b"n" + newest[1:])
    with pytest.raises(StaleGrant):
        consent.grant(purpose, Grant(b"g" * 16), named)
    assert consent.grant(purpose, Grant(b"g" * 16), b"n" + newest[1:])[purpose].level_at(0) == 1.0


@given(st.lists(person_events, max_size=12), st.one_of(grants, withdrawals))
def test_a_repetition_changes_nothing(events: list[PersonEvent], event: PersonEvent) -> None:
    once = fold([*events, event])
    assert sleepers.apply(once, event) == once


@given(st.lists(person_events, max_size=8), grants, purposes)
def test_a_withdrawal_dominates_a_grant_that_raced_it(
    events: list[PersonEvent], granted: ConsentGranted, purpose: Purpose
) -> None:
    """Whichever of the two reaches the journal first, the purpose is withdrawn in the end."""
    withdrawn = ConsentWithdrawn((granted.purpose,), b"w" * 16, 0)
    orders: list[list[PersonEvent]] = [[granted, withdrawn], [withdrawn, granted]]
    for order in orders:
        assert fold([*events, *order]).consent[granted.purpose].level_at(0) == 0.0


def test_an_old_withdrawal_that_arrives_late_again_does_not_undo_the_answer_to_it() -> None:
    first, second = b"1" * 16, b"2" * 16
    consent = Consent().withdraw([Purpose.VOICE], first).withdraw([Purpose.VOICE], second)
    consent = consent.grant(Purpose.VOICE, Grant(b"g" * 16), second)
    assert consent.withdraw([Purpose.VOICE], first) == consent


@pytest.mark.parametrize("level", [math.nan, math.inf, -math.inf, None, "1", -0.1])
def test_unreadable_means_no(level: object) -> None:
    unreadable = Ceiling({Purpose.VOICE: level})  # type: ignore[dict-item]
    consent = Consent().grant(Purpose.VOICE, Grant(b"g" * 16), b"")
    for parties in ((unreadable, OPEN, OPEN), (OPEN, unreadable, OPEN), (OPEN, OPEN, unreadable)):
        rules, score, safety = parties
        assert effective(consent, Purpose.VOICE, 0, rules=rules, score=score, safety=safety) == 0.0


def test_unset_ended_or_narrower_than_asked_means_no() -> None:
    consent = Consent().grant(Purpose.HEARING, Grant(b"g" * 16, until_ns=10), b"")
    consent = consent.grant(Purpose.SHARING, Grant(b"h" * 16, scope="house-b"), b"")
    assert [consent[Purpose.HEARING].level_at(t) for t in (9, 10)] == [1.0, 0.0]
    assert consent[Purpose.VOICE].level_at(0) == 0.0
    assert [consent[Purpose.SHARING].level_at(0, scope) for scope in ("house-b", "house-c", "")] == [1.0, 0.0, 0.0]
    assert consent.next_end_ns(0) == 10
    assert consent.next_end_ns(10) is None


def test_after_closing_or_leaving_nothing_is_allowed() -> None:
    circle = circles.apply(None, CREATED)
    sleeper = fold([ConsentGranted(purpose, "", 1.0, None, b"", b"%02d" % purpose * 8, 0) for purpose in Purpose])
    assert all(sleeper.allows(purpose, circle, 0) == 1.0 for purpose in Purpose)
    closed: Circle = circles.apply(circle, CircleAdvanced(CircleState.CLOSED, 1))
    assert all(sleeper.allows(purpose, closed, 1) == 0.0 for purpose in Purpose)
    gone = sleepers.apply(sleeper, SleeperLeft(1))
    assert all(gone.allows(purpose, circle, 1) == 0.0 for purpose in Purpose)
    silent = circles.apply(circle, CircleAdvanced(CircleState.DIALOGUE, 1))
    assert sleeper.allows(Purpose.VOICE, silent, 1) == 0.0
    assert sleeper.allows(Purpose.VISIBILITY, silent, 1) == 1.0


def test_a_rhythm_has_no_way_to_a_sleeper() -> None:
    led = RhythmLed(Rhythm.constant(0, 4.0).continue_at(5, 8.0, 3), 1)
    circle = circles.apply(
        circles.apply(None, CREATED), CircleAdvanced(CircleState.ENTRAINING, 0, 1, (Segment(1, 0, 9),))
    )
    assert circles.apply(circle, led).rhythm_revision == 2
