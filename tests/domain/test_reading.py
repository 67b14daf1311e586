"""Laws of reading many events: what is quick is the same, in what it gives and in what it refuses."""

import json
import typing

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harmonia.domain import sleeper as sleepers
from harmonia.domain.consent import Limits, Purpose, effective
from harmonia.domain.events import (
    ApartKept,
    AwakeSet,
    ConsentEvent,
    ConsentGranted,
    ConsentWithdrawn,
    Event,
    PersonEvent,
    RhythmOwned,
    ScheduleOffsetSet,
    SettingEvent,
    SleeperCameBack,
    SleeperLeft,
    SleeperWentAway,
    UsageNoted,
    WishEvent,
    WishMade,
    WishRemoved,
    decode,
    encode,
)
from harmonia.domain.reading import Read, made, read_all
from harmonia.domain.recollection import REPLACED, Recollection
from harmonia.domain.rhythm import Segment
from harmonia.domain.sleeper import FOLLOWING
from harmonia.domain.usage import MINUTE_NS, USES_MAX, Use
from harmonia.errors import StorageUnreadable
from tests.domain.test_consent import JOINED, advance_wishes, ceilings, event_ids, fold, instants, person_events
from tests.domain.test_events import any_of

ending = st.builds(ConsentWithdrawn, st.sampled_from([tuple(FOLLOWING), (Purpose.PULL,)]), event_ids, instants)
acting = st.builds(  # as the wish acts by itself
    lambda wish, t_ns: ConsentWithdrawn(wish.purposes, wish.event_id(JOINED.sleeper_id), t_ns), advance_wishes, instants
)


def byhand(segment: int, home_ns: int | None = None) -> RhythmOwned:
    return RhythmOwned(SEGMENTS[segment], home_ns, 0)


def followed(segment: int) -> RhythmOwned:
    return RhythmOwned(SEGMENTS[segment], None, 0, 2.0)


def let_go(segment: int) -> RhythmOwned:
    """The same rhythm as where ``NO`` ends that one."""
    return RhythmOwned(fold([*ALLOWED, followed(segment), NO]).own_rhythm.segments, None, 0)


ALLOWED = [ConsentGranted(one, "", 1.0, None, b"", bytes([one]) * 16, 0) for one in sorted(FOLLOWING)]
NO = ConsentWithdrawn((Purpose.PULL,), b"n" * 16, 20)
SEGMENTS = ((Segment(5, 0, 10**20),), (Segment(6, 0, 10**20),))
own_rhythms = st.builds(byhand, st.integers(0, 1), st.none() | instants) | st.builds(followed, st.integers(0, 1))
entangled = st.one_of(own_rhythms, ending, acting, st.builds(WishMade, advance_wishes, instants))
noted = st.builds(  # near enough to touch, and not
    lambda purpose, by, since, until: Use(purpose, by, since * MINUTE_NS, (since + until) * MINUTE_NS),
    st.sampled_from([Purpose.VOICE, Purpose.HEARING]),
    st.sampled_from(["host", "steward"]),
    st.integers(0, 60),
    st.integers(1, 9),
)
others = st.sampled_from(["sleeper-b", "sleeper-c"])
lives = st.one_of(
    person_events,
    ending,
    acting,
    own_rhythms,
    st.builds(ApartKept, others, st.booleans(), st.booleans(), instants),
    st.builds(WishMade, advance_wishes, instants),
    st.builds(WishRemoved, event_ids, instants),
    st.builds(AwakeSet, st.booleans(), instants, instants),
    st.builds(ScheduleOffsetSet, st.integers(-9, 9), instants),
    st.builds(UsageNoted, st.lists(noted, max_size=3).map(tuple), instants),
    st.builds(SleeperLeft, instants),
    st.builds(SleeperWentAway, instants),
    st.builds(SleeperCameBack, instants),
)
ALONE = typing.get_args(ConsentEvent | SettingEvent | WishEvent | UsageNoted)
any_event = st.one_of([any_of(kind) for kind in typing.get_args(Event)])
spoilt: st.SearchStrategy[typing.Any] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=4)
    | st.just([])
    | st.just({})
    | st.just(10**400)  # no float
)


def decode_all(datas: list[bytes]) -> list[Event]:
    return [made(read) for read in read_all(b"\n".join(datas))] if datas else []


def reads_of(events: typing.Sequence[Event]) -> list[Read]:
    return read_all(b"\n".join(map(encode, events))) if events else []


def outcome(read: typing.Callable[[bytes], Event], data: bytes) -> Event | str:
    try:
        return read(data)
    except StorageUnreadable as refusal:
        return str(refusal)


@given(st.lists(any_event, max_size=5))
def test_many_read_as_each_alone(events: list[Event]) -> None:
    datas = [encode(event) for event in events]
    assert decode_all(datas) == [decode(data) for data in datas] == events


@given(any_event, st.data())
def test_what_is_damaged_older_or_newer_is_taken_or_refused_alike(event: Event, data: st.DataObject) -> None:
    body = json.loads(encode(event))
    name = data.draw(st.sampled_from([*body, "another"]))
    if data.draw(st.booleans()):
        body.pop(name, None)
    else:
        body[name] = data.draw(spoilt)
    text = json.dumps(body).encode()
    text = text[: data.draw(st.integers(0, len(text)))] if data.draw(st.integers(0, 9)) == 0 else text
    quick = outcome(lambda text: decode_all([text])[0], text)
    assert repr(quick) == repr(outcome(decode, text))  # NaN is not even equal to itself


@pytest.mark.parametrize(
    "text",
    [
        b'{"type":"VoiceSet","v":1,"t_ns":0,"voice":[[1' + 400 * b"0" + b",0]]}",
        b'{"type":"CouplingSet","v":1,"t_ns":0,"weight":1,"coupling":1' + 400 * b"0" + b"}",
        b'{"type":"VoiceSet","v":1,"t_ns":0,"voice":' + 100_000 * b"[" + 100_000 * b"]" + b"}",
    ],
    ids=["voice", "coupling", "deep"],
)
def test_what_no_machine_can_hold_is_refused_as_damage(text: bytes) -> None:
    for read in (decode, lambda text: decode_all([text])[0]):
        with pytest.raises(StorageUnreadable, match="the journal holds a damaged"):
            read(text)


@pytest.mark.parametrize("text", [b"", b"\n", b"%s\n", b"\n%s", b"%s\n\n%s"])
def test_an_empty_line_is_damage(text: bytes) -> None:
    with pytest.raises(StorageUnreadable, match="damaged event"):
        read_all(text.replace(b"%s", encode(JOINED)))


@given(st.lists(lives, max_size=30), st.integers(0, 30))
@example([UsageNoted(tuple(Use(Purpose.VOICE, "host", 0, until * MINUTE_NS) for until in (9, 3)), 0)], 0)
def test_a_sleeper_is_recalled_as_they_would_have_been_followed(events: list[PersonEvent], looked_at: int) -> None:
    check_recalled(events, looked_at)


@settings(max_examples=300)
@given(st.lists(entangled, min_size=4, max_size=12))
@example([byhand(0), followed(1), NO])
@example([followed(0), NO, byhand(1), let_go(0)])  # no stray any more, although the rhythm is again as it strayed
def test_rhythms_and_wishes_that_a_withdrawal_changes_are_recalled_so(events: list[PersonEvent]) -> None:
    check_recalled([*ALLOWED, *events], 0)


def test_uses_are_recalled_as_they_were_followed_beyond_their_bound() -> None:
    def noted(since: int, until: int) -> UsageNoted:
        return UsageNoted((Use(Purpose.VOICE, "host", since * MINUTE_NS, until * MINUTE_NS),), 0)

    apart = [noted(100 * n, 100 * n + 1) for n in range(USES_MAX + 1)]
    check_recalled([*apart, noted(100, 20_000)], len(apart))


@settings(max_examples=300)
@given(st.lists(lives, max_size=30), st.integers(0, 30))
def test_what_is_replaced_may_be_left_out_of_any_stretch(events: list[PersonEvent], cut: int) -> None:
    recollection = Recollection(sleepers.apply(None, JOINED))
    for stretch in (events[:cut], events[cut:]):
        kinds = [next((head for head in REPLACED if encode(one).startswith(head)), b"") for one in stretch]
        kept = [one for n, one in enumerate(stretch) if not kinds[n] or kinds[n] not in kinds[n + 1 :]]
        list(recollection.absorb(reads_of(kept)))
    assert recollection.sleeper == fold(events)


def check_recalled(events: list[PersonEvent], looked_at: int) -> None:
    recollection = Recollection(sleepers.apply(None, JOINED))
    reads = reads_of(events)
    for first, some in ((0, reads[:looked_at]), (len(reads[:looked_at]), reads[looked_at:])):
        for place, told in recollection.absorb(some):
            assert told == events[first + place]
        assert recollection.sleeper == fold(events[: first + len(some)])


@given(st.lists(any_event, max_size=8))
def test_what_may_concern_others_is_told_and_what_is_no_persons_changes_nothing(events: list[Event]) -> None:
    recollection = Recollection(sleepers.apply(None, JOINED))
    told = list(recollection.absorb(reads_of(events)))
    assert told == [(place, event) for place, event in enumerate(events) if not isinstance(event, ALONE)]
    assert recollection.sleeper == fold([event for event in events if isinstance(event, PersonEvent)])


@given(person_events, st.sampled_from(["purpose", "purposes", "event_id", "supersedes"]))
def test_damage_that_is_seen_late_changes_nothing_and_is_refused_alike(event: PersonEvent, name: str) -> None:
    body = json.loads(encode(event))
    if name not in body:
        return
    body[name] = ["NOBODY"] if isinstance(body[name], list) else "nobody"
    text = json.dumps(body).encode()
    recollection = Recollection(sleepers.apply(None, JOINED))
    before = recollection.sleeper

    def quickly(text: bytes) -> Event:
        assert not list(recollection.absorb(read_all(text)))
        return decode(text)

    assert outcome(quickly, text) == outcome(decode, text)
    assert recollection.sleeper == before


@given(st.lists(person_events, max_size=12), ceilings, ceilings, ceilings, instants, st.sampled_from(["", "here"]))
def test_all_purposes_at_once_are_each_purposes_meet(
    events: list[PersonEvent], rules: typing.Any, score: typing.Any, safety: typing.Any, t_ns: int, scope: str
) -> None:
    consent = fold(events).consent
    each = {
        purpose: effective(consent, purpose, t_ns, rules=rules, score=score, safety=safety, scope=scope)
        for purpose in Purpose
    }
    allowed = Limits(rules, score, safety).effective(consent, t_ns, scope)
    assert allowed == {purpose: level for purpose, level in each.items() if level > 0}
