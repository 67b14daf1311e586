"""The journal's encoding: what was written reads back equal, and nothing newer is guessed at."""

import dataclasses
import json
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia.domain import events
from harmonia.domain.events import Event, decode, encode
from harmonia.errors import StorageUnreadable

finite = {float: st.floats(allow_nan=False, allow_infinity=False), int: st.integers(-(2**127), 2**127)}
complexes = st.complex_numbers(allow_nan=False, allow_infinity=False)


def any_of(kind: type) -> st.SearchStrategy[typing.Any]:
    hints = typing.get_type_hints(kind)
    return st.builds(kind, **{field.name: value(hints[field.name]) for field in dataclasses.fields(kind)})


def value(hint: typing.Any) -> st.SearchStrategy[typing.Any]:
    if hint in finite:
        return finite[hint]
    if hint is complex:
        return complexes
    if typing.get_origin(hint) is tuple:
        return st.lists(value(typing.get_args(hint)[0]), max_size=3).map(tuple)
    if typing.get_args(hint):
        return st.none() | value(typing.get_args(hint)[0])
    return any_of(typing.cast(type, hint)) if dataclasses.is_dataclass(hint) else st.from_type(hint)


@given(st.one_of([any_of(kind) for kind in typing.get_args(Event)]))
def test_decode_undoes_encode(event: Event) -> None:
    assert decode(encode(event)) == event


def test_a_newer_version_or_type_is_refused_by_name() -> None:
    body = json.loads(encode(events.OffsetSet(1, 2)))
    for change in ({"v": 2}, {"type": "DreamShared"}, {"v": "1"}):
        with pytest.raises(StorageUnreadable, match="does not know: start the version that wrote it"):
            decode(json.dumps({**body, **change}).encode())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b'{"v":1}',
        b'{"type":"OffsetSet","v":1}',
        b'{"type":"OffsetSet","v":1,"offset":"x","t_ns":1}',
        b'{"type":"OffsetSet","v":1,"offset":true,"t_ns":1}',
        b'{"type":"OffsetSet","v":1,"offset":1,"t_ns":1,"new":1}',
        b'{"type":"RhythmLed","v":1,"segment":1,"t_ns":1}',
    ],
)
def test_damage_is_said_not_guessed(data: bytes) -> None:
    with pytest.raises(StorageUnreadable, match="damaged"):
        decode(data)
