"""Laws of offers: nothing follows from one, a changed one is another, an ended one cannot be taken."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia.domain import circle as circles
from harmonia.domain import offers
from harmonia.domain import sleeper as sleepers
from harmonia.domain.circle import decide_end, decide_new_offer
from harmonia.domain.consent import Purpose
from harmonia.domain.events import (
    CircleAdvanced,
    OfferAnswered,
    OfferEnded,
    OfferMade,
    OffsetsOffered,
    PersonEvent,
    WeavingSet,
)
from harmonia.domain.offers import Answer, Offer, OfferedGrant, OfferKind
from harmonia.domain.states import CircleState
from harmonia.domain.weaving import CircleMode
from harmonia.errors import BadInput, NotFound, NotNow
from tests.domain.test_consent import CREATED, fold, instants, levels, person_events, purposes

made = st.builds(
    Offer,
    st.sampled_from(OfferKind),
    instants,
    st.text(max_size=5),
    st.none() | instants,
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=2).map(tuple),
    st.none() | levels,
    st.booleans(),
    st.lists(st.builds(OfferedGrant, purposes, levels), max_size=2).map(tuple),
)
RULING = Offer(OfferKind.RULING, 5, "no talking after three")


@given(st.lists(person_events, max_size=12), made, st.booleans())
def test_the_answer_itself_sets_nothing(events: list[PersonEvent], offer: Offer, accepted: bool) -> None:
    """What an acceptance sets is in the sleeper's ordinary events; the answer is only the record of it."""
    before = fold(events)
    after = sleepers.apply(before, OfferAnswered(offer, accepted, 0))
    assert dataclasses.replace(after, answers=()) == dataclasses.replace(before, answers=())
    assert offers.answer_to(after.answers, offer.offer_id) == Answer(offer.offer_id, accepted)


@given(made, made)
def test_a_changed_offer_is_another_one(one: Offer, other: Offer) -> None:
    assert (one.offer_id == other.offer_id) == (one == other)
    assert len(one.offer_id) == 16


@given(made, made)
def test_an_answer_to_one_offer_is_none_to_another(one: Offer, other: Offer) -> None:
    answers = offers.answered((), Answer(one.offer_id, True))
    assert (offers.answer_to(answers, other.offer_id) is None) == (one != other)


def test_answers_are_bounded_and_a_forgotten_one_is_asked_for_again() -> None:
    answers: tuple[Answer, ...] = ()
    for n in range(offers.ANSWERS_MAX + 1):
        answers = offers.answered(answers, Answer(n.to_bytes(16, "big"), True))
    assert len(answers) == offers.ANSWERS_MAX
    assert offers.answer_to(answers, bytes(16)) is None


def test_a_circles_mode_is_an_offer_and_another_mode_another_one() -> None:
    circle = circles.apply(None, CREATED)
    (standard,) = circle.offers
    assert standard.kind is OfferKind.MODE and standard.home and not standard.grants
    weaker = circles.apply(circle, WeavingSet(CircleMode.STANDARD, 0.0, 3))
    assert weaker.offers == circle.offers
    (woven,) = circles.apply(circle, WeavingSet(CircleMode.WOVEN, 0.0, 4)).offers
    assert woven.coupling == 1.0 and woven.grants == (OfferedGrant(Purpose.PULL),)
    (free,) = circles.apply(circle, WeavingSet(CircleMode.FREE, 0.0, 4)).offers
    assert free.coupling == 0.0 and not free.home


def test_a_pattern_of_offsets_is_an_offer_until_it_is_over() -> None:
    circle = circles.apply(circles.apply(None, CREATED), OffsetsOffered((7, 8), 3))
    pattern = circle.offers[-1]
    assert [offers.wanted_offset(pattern, place) for place in range(3)] == [7, 8, 7]
    assert len(circles.apply(circle, OffsetsOffered((9,), 4)).offers) == 2
    assert [one.kind for one in circles.apply(circle, OffsetsOffered((), 4)).offers] == [OfferKind.MODE]


def test_an_offer_lies_open_until_it_ends_or_is_taken_back() -> None:
    circle = circles.apply(None, CREATED)
    offer = dataclasses.replace(RULING, until_ns=100)
    circle = circles.apply(circle, decide_new_offer(circle, offer, 5))
    assert offers.require(circle.offers, offer.offer_id, 99) == offer
    with pytest.raises(NotFound, match="look at the offers again"):
        offers.require(circle.offers, offer.offer_id, 100)
    changed = dataclasses.replace(offer, text="no talking after two")
    with pytest.raises(NotFound, match="was changed"):
        offers.require(circle.offers, changed.offer_id, 5)
    ended = circles.apply(circle, decide_end(circle, offer.offer_id, 50))
    with pytest.raises(NotFound):
        offers.require(ended.offers, offer.offer_id, 50)
    with pytest.raises(BadInput, match="circle mode"):
        decide_end(circle, circle.offers[0].offer_id, 50)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"text": " "}, "1 to 2000 printable"),
        ({"text": "x" * 2001}, "1 to 2000 printable"),
        ({"text": "\x1b[2J"}, "1 to 2000 printable"),
        ({"until_ns": 5}, "end in the future"),
        ({"kind": OfferKind.MODE}, "circle mode"),
        ({"kind": OfferKind.CONSENT}, "at least one purpose"),
        ({"grants": (OfferedGrant(Purpose.VOICE, 2.0),)}, "from 0 to 1"),
        ({"grants": (OfferedGrant(Purpose.VOICE), OfferedGrant(Purpose.VOICE))}, "each purpose once"),
    ],
)
def test_an_offer_that_makes_no_sense_is_refused_in_words(changes: dict[str, object], said: str) -> None:
    circle = circles.apply(None, CREATED)
    with pytest.raises(BadInput, match=said):
        decide_new_offer(circle, dataclasses.replace(RULING, **changes), 5)  # type: ignore[arg-type]


def test_offers_whose_time_is_over_make_room_and_are_kept_no_longer() -> None:
    circle = circles.apply(None, CREATED)
    timed = [dataclasses.replace(RULING, made_ns=n, until_ns=100) for n in range(offers.OFFERS_MAX - 1)]
    for offer in timed:
        circle = circles.apply(circle, decide_new_offer(circle, offer, 5))
    with pytest.raises(NotNow, match="32 offers"):
        decide_new_offer(circle, RULING, 99)
    circle = circles.apply(circle, decide_new_offer(circle, RULING, 100))
    assert [one.kind for one in circle.offers] == [OfferKind.MODE, OfferKind.RULING]


def test_offers_are_bounded_and_end_with_the_circle() -> None:
    circle = circles.apply(None, CREATED)
    for n in range(offers.OFFERS_MAX - 1):
        circle = circles.apply(circle, decide_new_offer(circle, dataclasses.replace(RULING, made_ns=n), n))
    with pytest.raises(NotNow, match="end one first"):
        decide_new_offer(circle, RULING, 5)
    closed = circles.apply(circle, CircleAdvanced(CircleState.CLOSED, 9))
    with pytest.raises(NotNow, match="is closed"):
        decide_new_offer(closed, RULING, 9)


def test_an_event_of_an_offer_that_is_gone_changes_nothing() -> None:
    circle = circles.apply(None, CREATED)
    assert circles.apply(circle, OfferEnded(b"x" * 16, 1)) == circle
    assert circles.apply(circle, OfferMade(RULING, 5)).offers[-1] == RULING


def test_what_an_offer_sets_is_said_in_words() -> None:
    assert offers.in_words(RULING) == "nothing but your answer"
    offer = dataclasses.replace(
        RULING, pattern=(1,), coupling=0.5, home=True, grants=(OfferedGrant(Purpose.VOICE, 0.5),)
    )
    assert offers.in_words(offer) == (
        "your offset, your coupling to 0.5, your rhythm to the circle's, voice allowed up to 0.5"
    )
