"""What has to be told is told, once, in the end."""

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from harmonia import errors
from harmonia.client.outbox import BACKOFF_S_MAX, Outbox, backoff_s


def teller(answers: list[object], told: list[object]) -> Callable[[], Awaitable[object]]:
    async def tell() -> object:
        await trio.lowlevel.checkpoint()
        answer = answers.pop(0)
        told.append(answer)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return tell


async def test_an_unreachable_sanctuary_is_told_again(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    outbox: Outbox[object] = Outbox()
    nursery.start_soon(outbox.run)
    told: list[object] = []
    gone = errors.Unreachable("gone")
    assert await outbox.post("offset", teller([gone, gone, gone, "yes"], told)).answer() == "yes"
    assert told == [gone, gone, gone, "yes"]
    assert trio.current_time() == pytest.approx(0.1 + 0.2 + 0.4)


async def test_the_newest_of_a_kind_replaces_the_older(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    outbox: Outbox[object] = Outbox()
    told: list[object] = []
    older = outbox.post("offset", teller(["older"], told))
    newer = outbox.post("offset", teller(["newer"], told))
    nursery.start_soon(outbox.run)
    assert await newer.answer() == "newer"
    assert await older.answer() == "newer"
    assert told == ["newer"]


async def test_a_refusal_reaches_who_waits_and_is_not_repeated(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    outbox: Outbox[object] = Outbox()
    nursery.start_soon(outbox.run)
    told: list[object] = []
    receipt = outbox.post("voice", teller([errors.BadInput("no such voice")], told))
    with pytest.raises(errors.BadInput, match="no such voice"):
        await receipt.answer()
    await outbox.told()
    assert len(told) == 1


async def test_a_full_disk_is_said_and_the_withdrawal_still_told(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    outbox: Outbox[object] = Outbox(stubborn=True)
    nursery.start_soon(outbox.run)
    told: list[object] = []
    full = errors.StorageError("disk full")
    receipt = outbox.post("withdrawal", teller([full, full, 7], told))
    with pytest.raises(errors.StorageError):
        await receipt.answer()
    await outbox.told()
    assert told == [full, full, 7]


async def test_one_that_cannot_be_told_does_not_hold_up_another(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    outbox: Outbox[object] = Outbox(stubborn=True)
    nursery.start_soon(outbox.run)
    told: list[object] = []
    outbox.post("first", teller([errors.StorageError("disk full")] * 100, told))
    assert await outbox.post("second", teller(["heard"], told)).answer() == "heard"


async def test_after_the_end_nobody_waits_in_vain() -> None:
    outbox: Outbox[object] = Outbox()
    before = outbox.post("offset", teller([], []))
    outbox.abandon(errors.NotNow("over"))
    after = outbox.post("offset", teller([], []))
    for receipt in (before, after):
        with pytest.raises(errors.NotNow):
            await receipt.answer()
    await outbox.told()


def test_waits_grow_and_stay_bounded() -> None:
    waits = backoff_s()
    first = [next(waits) for _ in range(20)]
    assert first == sorted(first)
    assert first[-1] == BACKOFF_S_MAX
