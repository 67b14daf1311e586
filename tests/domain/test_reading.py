"""Laws of reading many events: what is quick is the same, in what it gives and in what it refuses."""

import json
import typing

from hypothesis import given
from hypothesis import strategies as st

from harmonia.domain import sleeper as sleepers
from harmonia.domain.consent import Limits, Purpose, effective
from harmonia.domain.events import Event, PersonEvent, decode, encode
from harmonia.domain.reading import decode_all
from harmonia.domain.sleeper import Recollection
from harmonia.errors import StorageUnreadable
from tests.domain.test_consent import JOINED, ceilings, fold, instants, person_events
from tests.domain.test_events import any_of

any_event = st.one_of([any_of(kind) for kind in typing.get_args(Event)])
spoilt: st.SearchStrategy[typing.Any] = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.just([]) | st.just({})
)


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


@given(st.lists(person_events, max_size=30))
def test_a_sleeper_is_recalled_as_they_would_have_been_followed(events: list[PersonEvent]) -> None:
    recollection = Recollection(sleepers.apply(None, JOINED))
    for event in events:
        recollection.absorb(event)
    assert recollection.sleeper == fold(events)


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
