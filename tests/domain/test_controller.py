"""Who answers for what is kept: what may be said of them, and that each event keeps the one of its time."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia.domain.controller import (
    Controller,
    Statement,
    dumped,
    loaded,
    parse_controller,
    stated,
    stated_at,
)
from harmonia.errors import BadInput

controllers = st.builds(Controller, st.sampled_from("ab"), st.just("post@example.org"))
starts = st.lists(st.tuples(st.integers(0, 100), st.none() | controllers), max_size=8)


@given(starts, st.integers(0, 100))
def test_an_event_keeps_who_was_stated_at_its_time_whoever_is_stated_later(
    said: list[tuple[int, Controller | None]], t_ns: int
) -> None:
    kept: tuple[Statement, ...] = ()
    newest = None
    for since_ns, controller in sorted(said, key=lambda one: one[0]):
        if since_ns > t_ns:
            before = stated_at(kept, t_ns)
            kept = stated(kept, controller, since_ns)
            assert stated_at(kept, t_ns) == before
        else:
            kept, newest = stated(kept, controller, since_ns), controller or newest
    assert stated_at(kept, t_ns) == newest
    assert loaded(dumped(kept)) == kept
    assert all(one.controller != other.controller for one, other in pairwise(kept))


def test_a_controller_is_parsed_whole() -> None:
    assert parse_controller(None, None, None, None) is None
    said = parse_controller(" Sleep e.V. ", "post@example.org", None, "https://example.org/p?x=1")
    assert said == Controller("Sleep e.V.", "post@example.org", "", "https://example.org/p?x=1")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("A", None, None, None), "give --controller and --contact"),
        ((None, "a@b", None, None), "give --controller and --contact"),
        ((None, None, None, "https://a.b"), "give --controller and --contact"),
        ((" ", "a@b", None, None), "--controller must have 1 to 200"),
        (("A", "a\nb", None, None), "--contact must have 1 to 200"),
        (("A", "a@b", "x" * 201, None), "--controller-address must have 0 to 200"),
        *(
            (("A", "a@b", None, url), "--privacy-notice must be an address such as https://")
            for url in (
                "example.org",
                "ftp://a.b",
                "https://",
                "https://a b",
                "https://[",
                "https://a/<b>",
                "http://a/\u200b",
            )
        ),
    ],
)
def test_what_nobody_could_be_reached_by_is_refused(words: tuple[str | None, ...], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        parse_controller(*words)


NUMBERED = '[{"since_ns": "x", "name": "A", "contact": "b"}]'


@pytest.mark.parametrize("text", ["", "{", "{}", '""', "3", "[3]", '[{"name": "A"}]', '[{"since_ns": 1}]', NUMBERED])
def test_a_damaged_file_is_told_from_a_good_one(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (whoever reads the file says which it is)
        loaded(text)
