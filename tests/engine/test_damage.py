"""A journal that is damaged, or newer than its reader: refused at its place, in a line, and left as it is."""

import json
from collections.abc import Callable

import pytest

from harmonia.domain.consent import Purpose
from harmonia.errors import HarmoniaError, StorageUnreadable
from harmonia.journal import ANY, Record
from harmonia.journal.memory import MemoryJournal
from harmonia.testing import FakePlane
from tests.engine.nights import House, audible, in_virtual_time, settle

Damage = Callable[[bytes], bytes]


def newer(data: bytes) -> bytes:
    body = json.loads(data)
    return json.dumps({**body, "v": body["v"] + 1}).encode()


def renamed(data: bytes) -> bytes:
    return json.dumps({**json.loads(data), "type": "NightDreamt"}).encode()


def without_a_field(data: bytes) -> bytes:
    body = json.loads(data)
    del body[list(body)[2]]  # the first after its type and version
    return json.dumps(body).encode()


def retyped(data: bytes) -> bytes:
    body = json.loads(data)
    return json.dumps({**body, "t_ns": "yesterday"}).encode()


DAMAGES: dict[str, Damage] = {
    "cut": lambda data: data[: len(data) // 2],
    "a bit": lambda data: data[:-1] + bytes([data[-1] ^ 0x80]),
    "zeros": lambda data: bytes(len(data)),
    "not an object": lambda data: b"[1]",
    "newer": newer,
    "unknown": renamed,
    "a field gone": without_a_field,
    "another type": retyped,
}


class DamagedJournal(MemoryJournal):
    """As it comes back from a bad disk: one record of it is not what was written."""

    def __init__(self, records: list[Record], at: int, damage: Damage) -> None:
        super().__init__()
        for number, (stream, _, event_id, data) in enumerate(records):
            self.append(stream, ANY, event_id, damage(data) if number == at else data)


async def a_night(house: House) -> list[Record]:
    """Every kind of stream, and a no that was answered."""
    async with house.awake() as sanctuary:
        person = await house.join(await house.circle(sanctuary))
        await house.grant(person, Purpose.VOICE)
        await person.set_offset(0.25)
        withdrawal = house.event_id()
        sanctuary.doors.withdraw(person, frozenset({Purpose.VOICE}), withdrawal)
        await settle()
        await house.grant(person, Purpose.VOICE, supersedes=withdrawal)
    return house.journal.read(None)


async def refusal(house: House, journal: MemoryJournal, plane: FakePlane) -> HarmoniaError:
    with pytest.RaisesGroup(StorageUnreadable, allow_unwrapped=True, flatten_subgroups=True) as caught:
        async with house.awake(journal, plane):
            raise AssertionError("it started")
    error: BaseException = caught.value
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, HarmoniaError)
    return error


@pytest.mark.parametrize("kind", DAMAGES)
def test_each_damaged_event_is_named_and_nothing_sounds_and_nothing_is_written(kind: str) -> None:
    async def scenario(house: House) -> None:
        records = await a_night(house)
        assert len(records) >= 8
        for at, record in enumerate(records):
            journal, plane = DamagedJournal(records, at, DAMAGES[kind]), FakePlane(house.now_ns)
            before = journal.read(None)
            said = str(await refusal(house, journal, plane))
            place = journal.read(None)[at].position
            assert f"event {place.epoch}.{place.revision}, in {record.stream}" in said
            assert "\n" not in said
            assert "restore its folder from a backup" in said or "start the version that wrote it" in said
            assert not plane.sleepers, "nobody is on the data plane"
            assert journal.read(None) == before

    in_virtual_time(scenario)


def test_once_the_damage_is_undone_everything_is_there_again() -> None:
    async def scenario(house: House) -> None:
        records = await a_night(house)
        await refusal(house, DamagedJournal(records, 5, DAMAGES["cut"]), FakePlane(house.now_ns))
        async with house.awake(DamagedJournal(records, -1, DAMAGES["cut"])) as again:
            (person,) = again.circles("", 1)[0][0].entrance.people.values()
            assert audible(again, person)
            assert person.sleeper.offset == 1 << 62

    in_virtual_time(scenario)


def test_events_before_their_beginning_are_refused_at_their_stream() -> None:
    async def scenario(house: House) -> None:
        records = await a_night(house)
        for kind in ("circle/", "person/"):
            first = next(number for number, record in enumerate(records) if record.stream.startswith(kind))
            journal = DamagedJournal(records[:first] + records[first + 1 :], -1, DAMAGES["cut"])
            said = str(await refusal(house, journal, FakePlane(house.now_ns)))
            assert "before its beginning: restore a backup" in said
            assert kind in said

    in_virtual_time(scenario)
