"""Laws of keeping apart: each direction by itself, one's own alone, untouched by whatever else happens."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia.domain.apart import OTHERS_MAX, Apart, about, check_room, parse_other, replaced
from harmonia.domain.consent import ALL_PURPOSES
from harmonia.domain.events import (
    ApartKept,
    ConsentWithdrawn,
    CouplingSet,
    HearingSet,
    OffsetSet,
    PersonEvent,
    SleeperLeft,
    VoiceSet,
    decode,
    encode,
)
from harmonia.domain.sleeper import Sleeper, apply
from harmonia.errors import BadInput

ME = Sleeper("s-me", "c", b"", b"", b"", joined_ns=0)
OTHERS = st.sampled_from(["s-1", "s-2", "s-3"])
wishes = st.builds(ApartKept, OTHERS, st.booleans(), st.booleans(), st.integers(0, 1 << 60))
unrelated: st.SearchStrategy[PersonEvent] = st.one_of(
    st.builds(OffsetSet, st.integers(-(1 << 63), (1 << 63) - 1), st.just(0)),
    st.builds(HearingSet, st.floats(0, 4), st.floats(0, 1), st.just(0)),
    st.builds(CouplingSet, st.floats(0, 1), st.floats(0, 1), st.just(0)),
    st.builds(VoiceSet, st.just((1 + 0j,)), st.just(0)),
    st.builds(ConsentWithdrawn, st.just(tuple(ALL_PURPOSES)), st.binary(min_size=16, max_size=16), st.just(0)),
    st.builds(SleeperLeft, st.just(0)),
)


@given(st.lists(wishes, max_size=12), st.lists(unrelated, max_size=6), st.randoms())
def test_the_newest_wish_about_each_holds_whatever_else_is_set(
    wished: list[ApartKept], others: list[PersonEvent], random: "st.DrawFn"
) -> None:
    events: list[PersonEvent] = [*wished]
    for event in others:
        events.insert(random.randint(0, len(events)), event)  # type: ignore[attr-defined]
    sleeper = ME
    for event in events:
        sleeper = apply(sleeper, event)
    newest = {event.other_id: (event.unheard, event.unhearing) for event in wished}
    held = {wish.other_id: (wish.unheard, wish.unhearing) for wish in sleeper.apart}
    assert held == {other: directions for other, directions in newest.items() if any(directions)}
    assert list(held) == sorted(held)


@given(wishes)
def test_a_wish_survives_the_journal(event: ApartKept) -> None:
    assert decode(encode(event)) == event


@given(st.lists(wishes, max_size=8), OTHERS, st.sampled_from([None, False, True]), st.sampled_from([None, False, True]))
def test_a_direction_that_is_not_named_stays(
    wished: list[ApartKept], other: str, unheard: bool | None, unhearing: bool | None
) -> None:
    sleeper = ME
    for event in wished:
        sleeper = apply(sleeper, event)
    before = about(sleeper.apart, other)
    after = before.changed(unheard, unhearing)
    assert after.unheard == (before.unheard if unheard is None else unheard)
    assert after.unhearing == (before.unhearing if unhearing is None else unhearing)
    assert about(replaced(sleeper.apart, after), other) == after
    both = after.joined(before)
    assert both == replace(both, unheard=before.unheard or after.unheard, unhearing=before.unhearing or after.unhearing)


@pytest.mark.parametrize("bad", ["", "x" * 65, "two words", "bell\x07", "s-me"])
def test_what_names_nobody_else_is_refused_in_words(bad: str) -> None:
    with pytest.raises(BadInput, match=r"1 to 64 printable|own id"):
        parse_other(bad, "s-me")


def test_there_is_room_for_so_many_and_no_more() -> None:
    others = tuple(Apart(f"s-{i}", unheard=True) for i in range(OTHERS_MAX))
    check_room(others)
    with pytest.raises(BadInput, match="at most 1000"):
        check_room((*others, Apart("one more", unheard=True)))
