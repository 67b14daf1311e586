"""Laws of usage records: coarse, bounded, the same in any order, and without any effect."""

import dataclasses
import itertools

from hypothesis import given
from hypothesis import strategies as st

from harmonia.domain import sleeper as sleepers
from harmonia.domain import usage
from harmonia.domain.consent import Purpose
from harmonia.domain.events import PersonEvent, UsageNoted
from harmonia.domain.usage import JOIN_NS, MINUTE_NS, Book, Use, merged
from tests.domain.test_consent import fold, person_events, purposes

minutes = st.integers(0, 120)
uses = st.builds(
    lambda purpose, by, since, length: Use(purpose, by, since * MINUTE_NS, (since + length) * MINUTE_NS),
    purposes,
    st.sampled_from(["circle", "host", "sleeper-b"]),
    minutes,
    st.integers(1, 5),
)
parties = st.sets(st.tuples(purposes, st.sampled_from(["circle", "host"])), max_size=3)


@given(st.lists(person_events, max_size=12), st.lists(uses, max_size=4).map(tuple))
def test_noting_a_use_changes_no_consent_and_no_setting(events: list[PersonEvent], noted: tuple[Use, ...]) -> None:
    before = fold(events)
    after = sleepers.apply(before, UsageNoted(noted, 0))
    assert dataclasses.replace(after, uses=()) == dataclasses.replace(before, uses=())


@given(st.lists(uses, max_size=8), st.randoms(use_true_random=False))
def test_neither_order_nor_repetition_changes_what_is_remembered(found: list[Use], random) -> None:  # type: ignore[no-untyped-def]
    whole = merged((), found)
    shuffled = [*found, *found]
    random.shuffle(shuffled)
    one_by_one: tuple[Use, ...] = ()
    for use in shuffled:
        one_by_one = merged(one_by_one, [use])
    assert one_by_one == whole


@given(st.lists(uses, max_size=12))
def test_merging_hides_no_minute_of_use_and_invents_no_party(found: list[Use]) -> None:
    whole = merged((), found)
    for use in found:
        fits = [w for w in whole if (w.purpose, w.by) == (use.purpose, use.by)]
        assert any(w.since_ns <= use.since_ns and use.until_ns <= w.until_ns for w in fits)
    assert {(w.purpose, w.by) for w in whole} == {(use.purpose, use.by) for use in found}
    for one, next_one in itertools.combinations(whole, 2):
        if (one.purpose, one.by) == (next_one.purpose, next_one.by):
            assert next_one.since_ns > one.until_ns + JOIN_NS


def test_what_is_remembered_is_bounded_and_the_oldest_goes_first() -> None:
    hours = range(0, 60 * (usage.USES_MAX + 5), 60)
    apart = [Use(Purpose.VOICE, "circle", n * MINUTE_NS, (n + 1) * MINUTE_NS) for n in hours]
    kept = merged((), apart)
    assert kept == tuple(apart[5:])


@given(st.lists(parties, max_size=10))
def test_everything_that_was_in_use_at_a_look_is_written_in_the_end(looks: list[set[tuple[Purpose, str]]]) -> None:
    book, written = Book(), list[Use]()
    for n, present in enumerate([*looks, set()]):
        written += book.observe(n * MINUTE_NS + 7, present)
    whole = merged((), written)
    for n, present in enumerate(looks):
        for purpose, by in present:
            at_ns = n * MINUTE_NS
            assert any(
                (w.purpose, w.by) == (purpose, by) and w.since_ns <= at_ns and at_ns + MINUTE_NS <= w.until_ns
                for w in whole
            )


def test_a_use_is_written_when_it_begins_every_ten_minutes_and_when_it_ends() -> None:
    book, party = Book(), (Purpose.VOICE, "circle")
    written = {n: book.observe(n * MINUTE_NS, [party]) for n in range(25)}
    assert [n for n, uses in written.items() if uses] == [0, 10, 20]
    assert written[20] == (Use(*party, 0, 21 * MINUTE_NS),)
    assert book.observe(25 * MINUTE_NS, []) == (Use(*party, 0, 26 * MINUTE_NS),)


@given(st.lists(st.integers(0, 400), min_size=1, max_size=5), st.integers(0, 479))
def test_a_crash_loses_at_most_ten_minutes_of_a_use_and_a_restart_goes_on_with_it(begins: list[int], last: int) -> None:
    party, book, written = (Purpose.VOICE, "circle"), Book(), list[tuple[Use, ...]]()
    others = [((Purpose.MONITORING, f"sleeper-{n}"), begin) for n, begin in enumerate(begins)]
    for minute in range(last + 1):
        now = [party, *(other for other, begin in others if begin <= minute)]
        written.append(book.observe(minute * MINUTE_NS, now))
    assert sum(map(bool, written)) <= last // 10 + 1 + len(begins), "whatever is in use is written together"
    whole = merged((), itertools.chain.from_iterable(written))
    for named, begin in [(party, 0), *others]:
        if begin <= last:
            (kept,) = (use for use in whole if (use.purpose, use.by) == named)
            assert (last - 9) * MINUTE_NS < kept.until_ns
    restarted = merged(whole, Book().observe((last + 1) * MINUTE_NS, [party]))
    assert [use.since_ns for use in restarted if use.purpose is Purpose.VOICE] == [0]


def test_times_are_whole_minutes() -> None:
    (use,) = Book().observe(90_000_000_001, [(Purpose.VOICE, "circle")])
    assert (use.since_ns, use.until_ns) == (MINUTE_NS, 2 * MINUTE_NS)


def test_what_could_not_be_written_comes_again() -> None:
    book = Book()
    refused = book.observe(0, [(Purpose.VOICE, "circle")])
    book.keep(refused)
    assert book.observe(MINUTE_NS, [(Purpose.VOICE, "circle")]) == refused
    assert book.observe(2 * MINUTE_NS, [(Purpose.VOICE, "circle")]) == ()
