"""Keeping apart in the engine: what reaches the data plane, when, and what is left of it after a restart."""

import pytest
import trio

from harmonia.domain.consent import Purpose
from harmonia.engine.person import Person
from harmonia.engine.sanctuary import Sanctuary
from harmonia.errors import BadInput, CredentialEnded, StorageError
from tests.engine.nights import House, in_virtual_time, plane_of


def hears(sanctuary: Sanctuary, listener: Person, speaker: Person) -> bool:
    return plane_of(sanctuary).hears(listener.number, speaker.number)


async def two(house: House, sanctuary: Sanctuary) -> tuple[Person, Person]:
    circle = await house.circle(sanctuary)
    ann, ben = await house.join(circle), await house.join(circle)
    for person in (ann, ben):
        for purpose in (Purpose.HEARING, Purpose.VOICE):
            await house.grant(person, purpose)
    return ann, ben


def test_each_direction_is_set_and_taken_back_by_itself() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            ann, ben = await two(house, sanctuary)
            ben_id = ben.sleeper.sleeper_id

            def both() -> tuple[bool, bool]:
                return hears(sanctuary, ann, ben), hears(sanctuary, ben, ann)

            assert both() == (True, True)
            await ann.keep_apart(ben_id, True, None)
            assert both() == (False, True)
            await ann.keep_apart(ben_id, None, True)
            assert both() == (False, False)
            await ann.keep_apart(ben_id, False, None)
            assert both() == (True, False)
            assert await ann.keep_apart(ben_id, None, False) == ()
            assert both() == (True, True)
            assert ben.sleeper.apart == (), "it is Ann's wish, and Ben's state knows nothing of it"

    in_virtual_time(scenario)


def test_a_wish_survives_a_restart_others_changes_and_an_absence() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            ann, ben = await two(house, sanctuary)
            await ann.keep_apart(ben.sleeper.sleeper_id, True, True)
            await ann.keep_apart("somebody-who-comes-later", True, None)
            await ann.set_offset(0.25)
            await ann.set_hearing(0.5, 1.0)
            sanctuary.doors.withdraw(ann, frozenset({Purpose.VOICE}), house.event_id())
            await house.grant(ann, Purpose.VOICE, supersedes=ann.sleeper.consent[Purpose.VOICE].withdrawal)
            assert not hears(sanctuary, ann, ben)
            assert not hears(sanctuary, ben, ann)
        async with house.awake() as sanctuary:
            again = [sanctuary.roll.by_number(person.number) for person in (ann, ben)]
            ann_again, ben_again = (person for person in again if person is not None)
            assert plane_of(sanctuary).audible(ann_again.number)
            assert not hears(sanctuary, ann_again, ben_again)
            assert not hears(sanctuary, ben_again, ann_again)
            assert [wish.other_id for wish in ann_again.sleeper.apart] == sorted(
                [ben.sleeper.sleeper_id, "somebody-who-comes-later"]
            )

    in_virtual_time(scenario)


def test_what_is_silenced_is_silent_before_the_disk_and_in_spite_of_it() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            ann, ben = await two(house, sanctuary)
            house.journal.full = True
            with pytest.raises(StorageError):
                await ann.keep_apart(ben.sleeper.sleeper_id, True, None)
            assert not hears(sanctuary, ann, ben), "not on disk, and silent all the same"
            assert ann.sleeper.apart == ()
            ann.show_plan()
            assert not hears(sanctuary, ann, ben), "whatever else is shown"
            with pytest.raises(StorageError):
                await ann.keep_apart(ben.sleeper.sleeper_id, False, None)
            assert not hears(sanctuary, ann, ben), "what widens waits for the disk"
            house.journal.full = False
            await ann.keep_apart(ben.sleeper.sleeper_id, False, None)
            assert hears(sanctuary, ann, ben)

    in_virtual_time(scenario)


def test_two_wishes_at_once_both_hold() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            ann, ben = await two(house, sanctuary)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ann.keep_apart, ben.sleeper.sleeper_id, True, None)
                nursery.start_soon(ann.keep_apart, ben.sleeper.sleeper_id, None, True)
            assert not hears(sanctuary, ann, ben)
            assert not hears(sanctuary, ben, ann)
            (wish,) = ann.sleeper.apart
            assert (wish.unheard, wish.unhearing) == (True, True)

    in_virtual_time(scenario)


def test_oneself_is_refused_and_who_left_wishes_no_more() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            ann, ben = await two(house, sanctuary)
            with pytest.raises(BadInput, match="own id"):
                await ann.keep_apart(ann.sleeper.sleeper_id, True, True)
            await ann.leave()
            with pytest.raises(CredentialEnded):
                await ann.keep_apart(ben.sleeper.sleeper_id, True, True)

    in_virtual_time(scenario)
