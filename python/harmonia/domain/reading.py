"""Reading very many events of the journal, quickly: each exactly as :func:`harmonia.domain.events.decode` has it.

A sanctuary that has lived for years reads millions of events before anybody sounds. Looking up each field's declared
type for each event took 21 µs an event; then making the events was what took long, most of them settings that a later
one replaces. So reading has two steps. :func:`read_all` has msgspec check the JSON, its types and its version in C, a
third of a microsecond an event; what it gives has the fields as JSON has them. :func:`made` makes the event of that,
for whoever needs one. What msgspec does not take (a newer version, damage) goes the slow way, which alone decides what
is refused, and in which words.
"""

import types
import typing
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from enum import IntEnum
from operator import attrgetter
from typing import Annotated, Any

import msgspec

from harmonia.domain.events import Event, decode

Read = Any
"""An event as it was read: of the class that :func:`reading` names, or the event itself."""
Maker = Callable[[Any], Any]


def read_all(lines: bytes) -> list[Read]:
    """The events of ``lines``, a line feed between two.

    Raises :class:`StorageUnreadable` on a newer version, an unknown type or damage.
    """
    try:
        reads: list[Read] = _READER.decode_lines(lines)
        if len(reads) == lines.count(b"\n") + 1:  # none is empty
            return reads
    except (msgspec.MsgspecError, ValueError):
        pass
    return [_read(line) for line in lines.split(b"\n")]


def _read(data: bytes) -> Read:
    try:
        return _READER.decode(data)
    except (msgspec.MsgspecError, ValueError):
        return decode(data)


def made(read: Read) -> Event:
    """The event of what was read. Raises :class:`StorageUnreadable` on damage."""
    make = _MAKERS.get(type(read))
    if make is None:
        return typing.cast(Event, read)
    try:
        return typing.cast(Event, make(read))
    except (ValueError, KeyError):
        return decode(msgspec.json.encode(read))


def reading(kind: type) -> type:
    """The class of what is read of an event of ``kind``: its fields, bytes as hex, enums by name, and version ``v``."""
    return _STRUCTS[kind]


def _reading(kind: Any) -> tuple[Any, Maker | None]:
    """How msgspec is to read a field declared as ``kind``, and what makes its value of that; None: it is the value."""
    if typing.get_origin(kind) is types.UnionType:
        (inner,) = (arm for arm in typing.get_args(kind) if arm is not types.NoneType)
        read, make = _reading(inner)
        return read | None, None if make is None else _optional(make)
    if typing.get_origin(kind) is tuple:
        read, make = _reading(typing.get_args(kind)[0])
        return types.GenericAlias(tuple, (read, ...)), None if make is None else _each(make)
    if is_dataclass(kind):
        return _struct(typing.cast(type, kind), {})
    if kind is bytes:
        return str, bytes.fromhex
    if kind is complex:
        return tuple[float, float], lambda raw: complex(*raw)
    if issubclass(kind, IntEnum):
        return str, dict(kind.__members__).__getitem__
    return kind, None


def _struct(kind: type, head: dict[str, Any]) -> tuple[Any, Maker]:
    """What msgspec reads of a dataclass, and what makes the dataclass of it."""
    hints = typing.get_type_hints(kind)
    given: list[Any] = [*head.items()]
    made: list[tuple[int, Maker]] = []
    names = [one.name for one in fields(typing.cast(Any, kind))]
    for place, one in enumerate(fields(typing.cast(Any, kind))):
        read, make = _reading(hints[one.name])
        if one.default is None or (one.default is not MISSING and make is None):
            given.append((one.name, read, one.default))
        elif one.default is not MISSING:
            given.append((one.name, read | msgspec.UnsetType, msgspec.UNSET))
            make = _defaulting(make, one.default)
        else:
            given.append((one.name, read))
        if make is not None:
            made.append((place, make))
    tag: dict[str, Any] = {"tag": kind.__name__, "tag_field": "type"} if head else {}
    struct = msgspec.defstruct(f"_{kind.__name__}", given, forbid_unknown_fields=True, gc=False, **tag)
    values: Maker = attrgetter(*names) if len(names) > 1 else lambda raw: (getattr(raw, names[0]),)

    def plain(raw: Any) -> Any:
        return kind(*values(raw))

    def converted(raw: Any) -> Any:
        parts = [*values(raw)]
        for place, make in made:
            parts[place] = make(parts[place])
        return kind(*parts)

    return struct, converted if made else plain


def _optional(make: Maker) -> Maker:
    return lambda raw: None if raw is None else make(raw)


def _each(make: Maker) -> Maker:
    return lambda raw: tuple(map(make, raw))


def _defaulting(make: Maker | None, default: Any) -> Maker:
    """A field that older versions do not have."""
    assert make is not None
    return lambda raw: default if raw is msgspec.UNSET else make(raw)


def _head(kind: Any) -> dict[str, Any]:
    return {"v": Annotated[int, msgspec.Meta(le=kind.VERSION)]}


_MADE = {kind: _struct(kind, _head(kind)) for kind in typing.get_args(Event)}
_STRUCTS: dict[type, type] = {kind: struct for kind, (struct, _) in _MADE.items()}
_MAKERS: dict[type, Maker] = dict(_MADE.values())
_READER: Any = msgspec.json.Decoder(typing.Union[tuple(_STRUCTS.values())])  # noqa: UP007
