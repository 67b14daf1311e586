"""The laws of a setting that its owner changes here first."""

from hypothesis import given
from hypothesis import strategies as st

from harmonia.client.owned import Owned

values = st.integers(0, 5)


@given(values, values, st.lists(values))
def test_nothing_heard_undoes_what_was_not_told_yet(first: int, chosen: int, heard: list[int]) -> None:
    owned = Owned(first)
    owned.change(chosen)
    for report in heard:
        assert not owned.hear(report)
        assert owned.value == chosen


@given(values, st.lists(values, min_size=1))
def test_late_reports_of_what_was_replaced_change_nothing(first: int, chosen: list[int]) -> None:
    owned = Owned(first)
    for value in chosen:
        owned.change(value)
        owned.told(value)
    for late in {first, *chosen} - {chosen[-1]}:
        owned.hear(late)
        assert owned.value == chosen[-1]


@given(values, values, values)
def test_what_the_same_person_chose_elsewhere_gets_through(first: int, here: int, elsewhere: int) -> None:
    owned = Owned(first)
    owned.change(here)
    owned.told(here)
    owned.hear(here)  # the echo: everything older has passed
    owned.hear(elsewhere)
    assert owned.value == elsewhere


@given(values, values, values)
def test_a_new_stream_is_believed_once_all_is_told(first: int, here: int, elsewhere: int) -> None:
    owned = Owned(first)
    owned.change(here)
    owned.told(here)
    owned.ask()
    owned.renew()
    owned.hear(elsewhere)
    assert owned.value == elsewhere


def test_a_new_stream_does_not_undo_what_is_still_to_be_told() -> None:
    owned = Owned(0)
    owned.change(1)
    owned.ask()
    owned.renew()
    assert not owned.hear(0)
    assert owned.value == 1


def test_telling_of_an_older_choice_leaves_the_newer_one_untold() -> None:
    owned = Owned(0)
    owned.change(1)
    owned.change(2)
    owned.told(1)
    assert not owned.hear(3)
    assert owned.value == 2


def test_a_new_stream_that_was_asked_for_before_a_choice_was_told_does_not_undo_it() -> None:
    owned = Owned(0)
    owned.change(1)
    owned.ask()  # the answer is made now, and is late
    owned.told(1)
    owned.renew()
    assert not owned.hear(0)
    assert owned.value == 1
