"""Calls from trio: cancelled, translated, and never read faster than their reader."""

import pytest
import trio

from harmonia import errors
from harmonia.client import Endpoint, Invitation, Sanctuary, redeem
from tests.client.house import CIRCLE, Authority, House
from tests.client.test_sleeper import until


async def test_the_sanctuarys_own_error_comes_out(house: House) -> None:
    await redeem(house.invitation())
    with pytest.raises(errors.TokenUsed, match="has been used") as caught:
        await redeem(house.invitation())
    assert caught.value.metadata == {"token": "good"}
    assert caught.value.exit_code == 4


async def test_nobody_there_is_unreachable_in_one_line(house: House) -> None:
    house.close()
    with pytest.raises(errors.Unreachable, match="harmonia serve") as caught:
        await redeem(house.invitation())
    assert "\n" not in str(caught.value)


async def test_another_sanctuarys_certificate_is_not_believed(house: House) -> None:
    stranger = Invitation(Endpoint("127.0.0.1", house.port, Authority().ca_pem), CIRCLE, "good")
    with pytest.raises(errors.Unreachable):
        await redeem(stranger)
    assert house.calls["JoinCircle"] == 0


async def test_a_full_disk_there_is_a_storage_error_here(house: House) -> None:
    house.refusals["JoinCircle"] = errors.StorageError("disk full")
    with pytest.raises(errors.StorageError, match="disk full"):
        await redeem(house.invitation())


async def test_a_slow_reader_gets_the_newest_and_skips_the_rest(house: House) -> None:
    async with Sanctuary(house.invitation().endpoint) as sanctuary, sanctuary.watch(CIRCLE) as views:
        seen = [(await anext(views)).hidden]
        await until(lambda: house.shown == 10_000)  # nobody waits for who does not read
        while seen[-1] < 10_000:
            seen.append((await anext(views)).hidden)
        with pytest.raises(StopAsyncIteration):
            await anext(views)
    assert seen == sorted(set(seen))
    assert len(seen) < 10_000


async def test_cancelling_a_task_ends_its_stream(house: House) -> None:
    async with Sanctuary(house.invitation().endpoint) as sanctuary:
        with trio.CancelScope() as scope:
            async with sanctuary.watch(CIRCLE) as views:
                async for _ in views:
                    scope.cancel()
    assert scope.cancelled_caught
