"""Laws of roles, of the silent room, and of what a circle talks over."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia.domain import circle as circles
from harmonia.domain import dialogue as dialogues
from harmonia.domain.consent import ALL_PURPOSES, Purpose
from harmonia.domain.dialogue import Dialogues
from harmonia.domain.events import (
    CircleAdvanced,
    CircleCreated,
    DialogueClosed,
    DialogueOpened,
    DialogueSpoken,
    PetitionFiled,
    RoomLifted,
    RoomSilenced,
)
from harmonia.domain.help import Call
from harmonia.domain.roles import GIVEN, MAY, Access, Role, RolePass, parse_line
from harmonia.domain.silence import SILENT
from harmonia.domain.states import CircleState
from harmonia.errors import BadInput

CREATED = CircleCreated("circle-a", "Night", "n.sbg", "sbg", "", 2, None, 8, None, None, 0)
CLOSED = CircleAdvanced(CircleState.CLOSED, 1)
names, instants = st.sampled_from("abc"), st.integers(0, 100)
silences = st.builds(RoomSilenced, names, st.text(max_size=3), st.booleans(), st.just("Sam"), instants)
lifts = st.builds(RoomLifted, names, st.just("Sam"), instants)
roles = st.sampled_from(Role)


# The table


def test_the_table_says_something_of_every_action() -> None:
    assert set(MAY) == set(Access)
    assert all(MAY.values())


def test_no_role_acts_as_a_sleeper() -> None:
    for access in (Access.SLEEPER, Access.WITHDRAWING, Access.OWN):
        assert MAY[access] == {Role.SLEEPER}


def test_a_guest_only_looks_and_the_advocate_only_reads_petitions() -> None:
    def may(role: Role) -> set[Access]:
        return {access for access in Access if role in MAY[access]} - {Access.OPEN}

    assert may(Role.GUEST) == {Access.LOOK}
    assert may(Role.ADVOCATE) == {Access.PETITIONS}


def test_nobody_who_is_given_a_role_gives_one_or_sees_the_visible_sleepers() -> None:
    for role in GIVEN:
        assert role not in MAY[Access.HOST]
        assert role not in MAY[Access.HOST_OR_MEMBER]
        assert role is Role.STEWARD or role not in MAY[Access.TEND]


@given(st.none() | instants, st.booleans(), st.booleans(), instants)
def test_a_role_that_is_over_stays_over(until_ns: int | None, revoked: bool, is_open: bool, t_ns: int) -> None:
    held = RolePass("role-a", "circle-a", Role.GUEST, "Lee", until_ns, 0, revoked)
    if held.over(is_open, t_ns):
        assert held.over(is_open, t_ns + 1)
        assert held.over(False, t_ns)
    assert bool(held.over(is_open, t_ns)) == (revoked or not is_open or (until_ns is not None and t_ns >= until_ns))


# The silent room


@given(st.lists(silences | lifts, max_size=12))
def test_a_room_is_silent_from_its_newest_silence_to_the_lift_that_names_it(events: Sequence[Any]) -> None:
    circle, newest = circles.apply(None, CREATED), None
    for event in events:
        circle = circles.apply(circle, event)
        if isinstance(event, RoomSilenced):
            newest = event.silence_id
        elif event.silence_id == newest:
            newest = None
        assert (circle.silence.silence_id if circle.silence else None) == newest
        narrowed = {purpose for purpose in Purpose if circle.safety.level(purpose) == 0}
        assert narrowed == (set() if newest is None else set(ALL_PURPOSES) - set(SILENT.levels))


@given(st.lists(silences | lifts, max_size=6), st.lists(silences | lifts, max_size=6))
def test_what_is_left_of_a_silence_in_a_closed_circle_is_an_alarm(before: Sequence[Any], after: Sequence[Any]) -> None:
    circle = circles.apply(None, CREATED)
    for event in (*before, CLOSED, *after):
        circle = circles.apply(circle, event)
        assert circle.open or circle.silence is None or circle.silence.alarm
        if isinstance(event, RoomSilenced) and event.alarm:
            assert circle.silence is not None, "an alarm is one, also in the last moment of a night"


def test_a_silent_room_narrows_sound_and_nothing_else() -> None:
    sound = {Purpose.VOICE, Purpose.HEARING, Purpose.RECORDING, Purpose.MONITORING}
    assert set(Purpose) - set(SILENT.levels) == sound


# Help


@given(st.lists(st.tuples(st.sampled_from(["Sam", "Kim"]), st.booleans(), instants), max_size=6))
def test_a_call_that_was_answered_stays_answered_by_who_came_first(answers: list[tuple[str, bool, int]]) -> None:
    call = Call("help-a", "sleeper-a", 0, "", 0)
    for by, resolved, t_ns in answers:
        after = call.answered(by, resolved, t_ns)
        assert after.by == (call.by or by)
        assert after.coming_ns == (t_ns if call.coming_ns is None else call.coming_ns)
        assert call.resolved_ns is None or after.resolved_ns == call.resolved_ns
        assert (after.resolved_ns is not None) == (call.resolved_ns is not None or resolved)
        call = after


# Dialogues

talk = st.one_of(
    st.builds(DialogueOpened, names, st.just("topic"), roles, st.just("Kim"), instants),
    st.builds(DialogueSpoken, names, roles, st.just("Kim"), st.text(max_size=3), instants),
    st.builds(DialogueClosed, names, st.just("done"), instants),
    st.builds(PetitionFiled, names, names, st.sampled_from(["", "topic"]), st.just("Ann"), st.text(), instants),
)


@given(st.lists(talk, max_size=12))
def test_what_the_journal_holds_is_never_refused_and_a_closed_dialogue_keeps_its_outcome(events: Sequence[Any]) -> None:
    held: Dialogues = {}
    for event in events:
        before, held = held, dialogues.apply(held, event)
        for name, one in before.items():
            assert held[name].statements[: len(one.statements)] == one.statements
            if one.closed_ns is not None:
                assert (held[name].closed_ns, held[name].outcome) == (one.closed_ns, one.outcome)


@given(st.text(max_size=30))
def test_a_line_is_printable_short_and_said_back_as_it_is_kept(text: str) -> None:
    line = text.strip()
    if 1 <= len(line) <= 20 and line.isprintable():
        assert parse_line("a text", text, 20) == line
    else:
        with pytest.raises(BadInput, match="1 to 20 printable characters"):
            parse_line("a text", text, 20)


def test_an_empty_line_is_refused_unless_it_may_be_empty() -> None:
    with pytest.raises(BadInput):
        parse_line("a text", "  ", 20)
    assert parse_line("a text", "  ", 20, least=0) == ""
