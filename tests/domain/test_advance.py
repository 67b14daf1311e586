"""Laws of advance wishes: they only ever take back, once, under the same id everywhere, and nothing forgets them."""

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia.domain import advance
from harmonia.domain import sleeper as sleepers
from harmonia.domain.advance import AdvanceWish, LevelUnit, Since, StandingWish, WishKind, parse_wish
from harmonia.domain.consent import Grant, Purpose
from harmonia.domain.events import ConsentWithdrawn, PersonEvent, SleeperJoined, WishMade, WishRemoved
from harmonia.domain.sleeper import Sleeper
from harmonia.domain.states import CircleState
from harmonia.errors import BadInput
from tests.domain.test_consent import event_ids, fold, instants, person_events, purposes

HOUR_NS = 3600 * 10**9
JOINED_NS = 1000
WISH = AdvanceWish(b"w" * 16, WishKind.AFTER, tuple(Purpose), after_ns=3 * HOUR_NS)

wishes = st.builds(
    AdvanceWish,
    event_ids,
    st.sampled_from(WishKind),
    st.lists(purposes, min_size=1, unique=True).map(lambda p: tuple(sorted(p))),
    after_ns=st.integers(1, 1000),
    since=st.sampled_from(Since),
)
wish_events = st.one_of(st.builds(WishMade, wishes, instants), st.builds(WishRemoved, event_ids, instants))


def fired(sleeper: Sleeper, wish: AdvanceWish, t_ns: int = 5) -> ConsentWithdrawn:
    return ConsentWithdrawn(wish.purposes, wish.event_id(sleeper.sleeper_id), t_ns)


@given(st.lists(st.one_of(person_events, wish_events), max_size=12), wish_events, purposes, instants)
def test_making_or_removing_a_wish_changes_no_consent_and_no_setting(
    events: list[PersonEvent], event: PersonEvent, purpose: Purpose, t: int
) -> None:
    before = fold(events)
    after = sleepers.apply(before, event)
    assert dataclasses.replace(after, wishes=()) == dataclasses.replace(before, wishes=())


@given(st.lists(st.one_of(person_events, wish_events), max_size=12), wishes, instants)
def test_a_wish_that_acts_takes_back_what_it_names_and_nothing_else(
    events: list[PersonEvent], wish: AdvanceWish, t: int
) -> None:
    before = fold([*events, WishMade(wish, 0)])
    after = sleepers.apply(before, fired(before, wish))
    for purpose in Purpose:
        if purpose not in wish.purposes:
            assert after.consent[purpose] == before.consent[purpose]
        elif wish.event_id(before.sleeper_id) not in before.consent[purpose].withdrawals:
            assert after.consent[purpose].level_at(t) == 0.0
        assert after.consent[purpose].level_at(t) <= before.consent[purpose].level_at(t)


@given(st.lists(person_events, max_size=8), wishes)
def test_a_wish_acts_once_and_whoever_is_second_changes_nothing(events: list[PersonEvent], wish: AdvanceWish) -> None:
    once = fold([*events, WishMade(wish, 0)])
    once = sleepers.apply(once, fired(once, wish))
    assert sleepers.apply(once, fired(once, wish, 9)) == once
    standing = advance.find(once.wishes, wish.wish_id)
    assert standing is not None and standing.fired
    assert not standing.due(0, 0, CircleState.CLOSED, 2**62)
    granted = once.consent.grant(wish.purposes[0], Grant(b"g" * 16), once.consent[wish.purposes[0]].withdrawal)
    again = sleepers.apply(dataclasses.replace(once, consent=granted), fired(once, wish))
    assert again.consent == granted


@given(st.lists(person_events, max_size=8), wishes)
def test_removing_a_wish_never_un_withdraws(events: list[PersonEvent], wish: AdvanceWish) -> None:
    acted = fold([*events, WishMade(wish, 0)])
    acted = sleepers.apply(acted, fired(acted, wish))
    assert sleepers.apply(acted, WishRemoved(wish.wish_id, 9)).consent == acted.consent


@given(st.lists(wish_events, max_size=12), person_events)
def test_no_other_event_of_a_person_touches_their_wishes(events: list[PersonEvent], other: PersonEvent) -> None:
    before = fold(events)
    after = sleepers.apply(before, other)
    if isinstance(other, ConsentWithdrawn):
        assert [one.wish for one in after.wishes] == [one.wish for one in before.wishes]
    else:
        assert after.wishes == before.wishes


@given(event_ids, event_ids, st.text(max_size=8), st.text(max_size=8))
def test_the_withdrawal_of_a_wish_is_named_by_sleeper_and_wish_alone(a: bytes, b: bytes, one: str, two: str) -> None:
    first = AdvanceWish(a, WishKind.WAKING, (Purpose.VOICE,))
    second = AdvanceWish(b, WishKind.AFTER, tuple(Purpose), after_ns=7)
    assert len(first.event_id(one)) == 16
    assert (first.event_id(one) == second.event_id(two)) == ((a, one) == (b, two))


def test_after_some_time_means_since_joining_or_since_the_nights_beginning() -> None:
    one = StandingWish(WISH, set_ns=JOINED_NS + 5)
    assert one.due_ns(JOINED_NS, None) == JOINED_NS + 3 * HOUR_NS
    night = StandingWish(dataclasses.replace(WISH, since=Since.NIGHT), set_ns=JOINED_NS)
    assert night.due_ns(JOINED_NS, None) is None
    assert night.due_ns(JOINED_NS, 10) == 10 + 3 * HOUR_NS
    assert not one.due(JOINED_NS, None, CircleState.DREAMING, JOINED_NS + 3 * HOUR_NS - 1)
    assert one.due(JOINED_NS, None, CircleState.DREAMING, JOINED_NS + 3 * HOUR_NS)


def test_a_joining_on_a_clock_that_is_gone_does_not_put_the_end_off() -> None:
    """Joined at a time that lies after the making of the wish: that can only be another clock's."""
    assert StandingWish(WISH, set_ns=50).due_ns(10**18, None) == 50 + 3 * HOUR_NS


@pytest.mark.parametrize("state", CircleState)
def test_waking_is_the_circles_waking_too(state: CircleState) -> None:
    one = StandingWish(AdvanceWish(b"w" * 16, WishKind.WAKING, tuple(Purpose)), 0)
    assert one.due(0, 0, state, 0) == (state >= CircleState.WAKING)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"wish_id": b"short"}, "16 bytes"),
        ({"purposes": ()}, "at least one purpose"),
        ({"after_ns": None}, "after how long"),
        ({"after_ns": 0}, "a second to a week"),
        ({"after_ns": 8 * 24 * HOUR_NS}, "a second to a week"),
        ({"level": -3.0}, "has no level"),
        ({"unknown_ns": 60 * 10**9}, "has no unknown_ns"),
        ({"kind": WishKind.LOUD, "after_ns": None}, "above which level"),
        ({"kind": WishKind.LOUD, "after_ns": None, "level": 3.0}, "-120 to 0 dBFS"),
        ({"kind": WishKind.LOUD, "after_ns": None, "level": math.nan}, "-120 to 0 dBFS"),
        ({"kind": WishKind.LOUD, "after_ns": None, "level": -3.0, "unit": LevelUnit.DB_SPL}, "0 to 140 dB SPL"),
        ({"kind": WishKind.LOUD, "after_ns": None, "level": -3.0, "unknown_ns": 1}, "10 s to a week"),
        ({"kind": WishKind.BREATH, "after_ns": None}, "what of it"),
        ({"kind": WishKind.BREATH, "after_ns": None, "under_hz": 0.3, "over_hz": 0.2}, "slower than the fastest"),
        ({"kind": WishKind.BREATH, "after_ns": None, "over_hz": 9.0}, "0.06 to 120 a minute"),
        ({"kind": WishKind.BREATH, "after_ns": None, "irregular": 0.0}, "0.01 to 1"),
    ],
)
def test_a_wish_that_cannot_be_kept_is_refused_in_words(changes: dict[str, object], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        parse_wish(dataclasses.replace(WISH, **changes))  # type: ignore[arg-type]


def test_a_good_wish_is_kept_with_its_purposes_in_order() -> None:
    loud = AdvanceWish(b"w" * 16, WishKind.LOUD, (Purpose.VOICE, Purpose.HEARING, Purpose.VOICE), level=-30.0)
    assert parse_wish(loud).purposes == (Purpose.HEARING, Purpose.VOICE)
    assert parse_wish(WISH) == WISH


def test_a_sleeper_without_wishes_is_as_before() -> None:
    joined = sleepers.apply(None, SleeperJoined("sleeper-a", "circle-a", b"t", b"c", b"k", 0))
    assert joined.wishes == () and joined.answers == () and joined.uses == ()
