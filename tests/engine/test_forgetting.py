"""What is left of somebody in a running sanctuary once they are forgotten: nothing that holds on to them."""

import gc
import logging
import weakref

import pytest
import trio

from harmonia.domain.advance import AdvanceWish, Since, WishKind
from harmonia.domain.consent import Purpose
from harmonia.engine.person import Person
from tests.engine.nights import HOUR_NS, House, in_virtual_time, settle


def test_no_task_and_no_view_holds_who_was_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    """Not even one that was going through everybody when they were there, or has a withdrawal of theirs to write."""
    caplog.set_level(logging.CRITICAL, "harmonia.engine.wishes")  # pytest would keep errors, and with them their frames

    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary, gather_ns=60_000_000_000, night_ns=8 * HOUR_NS)
            await house.join(conductor)

            async def one() -> "tuple[weakref.ref[Person], int]":
                person = await house.join(conductor)
                soon_ns = sanctuary.plane.node_time_ns() + 5_000_000_000
                await house.grant(person, Purpose.VISIBILITY, until_ns=soon_ns)
                await house.grant(person, Purpose.VOICE)
                wish = AdvanceWish(house.event_id(), WishKind.AFTER, (Purpose.VOICE,), 10_000_000_000, Since.JOINING)
                await person.add_wish(wish)
                await person.set_awake(True, 3_000_000_000)
                await trio.sleep(6)
                house.journal.full = True
                await trio.sleep(6)
                assert any(status.sleeper == person.number for status in sanctuary.plane.status(conductor.number))
                conductor.view()
                house.journal.full = False
                await sanctuary.forget(person, lambda _stream: None)
                return weakref.ref(person), person.number

            held, number = await one()
            await settle()
            assert number not in conductor._statuses
            await trio.sleep(2)
            gc.collect()
            assert held() is None

    in_virtual_time(scenario)


def test_that_somebody_looked_or_recorded_is_remembered_and_not_who() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            usage = (await house.circle(sanctuary)).usage
            usage.recorder("sleeper-a")
            usage.looked("sleeper", "sleeper-a")
            usage.looked("sleeper", "sleeper-b")
            usage.forget("sleeper-a")
            assert (usage._recorders, dict(usage._looked)) == ({""}, {"sleeper": {"", "sleeper-b"}})

    in_virtual_time(scenario)
