"""The place at which somebody lies is theirs for the night: whoever is forgotten takes nobody's along."""

import trio

from harmonia.domain.events import SleeperJoined, decode, encode
from harmonia.journal import NO_STREAM, SHREDDED, Gathering
from harmonia.journal.page import whole
from harmonia.testing import FlakyJournal
from tests.engine.nights import KEY, House, came_in, in_virtual_time


class Shredding(FlakyJournal):
    """Streams whose key is gone read as empty."""

    def __init__(self) -> None:
        super().__init__()
        self.gone: set[str] = set()

    def gathering(self) -> Gathering:
        return Gathering({}, self._look)

    def _look(self, epoch: int, stream: str, revisions: list[int], lines: bytes | None) -> bytes:
        return SHREDDED if stream in self.gone else whole(epoch, stream, revisions, lines)


def test_places_outlast_the_forgetting_of_others_and_a_restart() -> None:
    async def scenario(house: House) -> None:
        journal = house.journal = Shredding()
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            first, second, third, last = [await house.join(conductor) for _ in range(4)]
            await conductor.stewarding.call(third, b"h" * 16, "dizzy")
            for person in (first, last):
                await sanctuary.forget(person, journal.gone.add)
        async with house.awake() as again:
            again_conductor = again.conductor(conductor.circle.circle_id)
            people = again_conductor.entrance.people
            assert [people[one.sleeper.sleeper_id].place for one in (second, third)] == [1, 2]
            assert [call.place for call in again_conductor.stewarding.calls.values()] == [2]
            assert (await house.join(again_conductor)).place == 4

    in_virtual_time(scenario)


def test_two_who_come_in_at_once_lie_at_two_places() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor, places = await house.circle(sanctuary), []
            tokens = await conductor.entrance.create_tokens(4, 0)

            async def join(token: str) -> None:
                places.append(came_in(await conductor.entrance.join(token, KEY)).place)

            async with trio.open_nursery() as nursery:
                for token in tokens:
                    nursery.start_soon(join, token)
            assert sorted(places) == [0, 1, 2, 3]

    in_virtual_time(scenario)


def test_who_joined_before_places_were_written_is_counted() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            people = [await house.join(conductor) for _ in range(2)]
        older = FlakyJournal()
        for record in house.journal.read(None):
            event, data = decode(record.data), record.data
            if isinstance(event, SleeperJoined):
                data = encode(event).replace(b'"v":2', b'"v":1').partition(b',"place"')[0] + b"}"
            expected = house.journal.read(record.stream)[0] == record
            older.append(
                record.stream, NO_STREAM if expected else older.read(record.stream)[-1].position, record.event_id, data
            )
        house.journal = older
        async with house.awake() as again:
            assert [again.roll.by_id(one.sleeper.sleeper_id).place for one in people] == [0, 1]  # type: ignore[union-attr]
            assert (await house.join(again.conductor(conductor.circle.circle_id))).place == 2

    in_virtual_time(scenario)
