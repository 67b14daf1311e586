"""What the sanctuary has still to be told, repeated until it has heard.

Of each kind only the newest message counts (an offset replaces an older offset), so that a platform that was cut off
for an hour has at most a handful to tell. Whoever posted may wait for the answer or walk away; the telling goes on.
"""

from collections.abc import Awaitable, Callable, Iterator
from typing import Generic, TypeVar

import trio

from harmonia import errors

T = TypeVar("T")
BACKOFF_S_MIN = 0.1
BACKOFF_S_MAX = 5.0


def backoff_s() -> Iterator[float]:
    """How long to wait before each further attempt: doubling, then constant."""
    wait_s = BACKOFF_S_MIN
    while True:
        yield wait_s
        wait_s = min(2 * wait_s, BACKOFF_S_MAX)


class Receipt(Generic[T]):
    """The answer to come for one message."""

    def __init__(self) -> None:
        self._settled = trio.Event()
        self._result: list[T] = []
        self._error: errors.HarmoniaError | None = None

    def settle(self, result: T) -> None:
        """The sanctuary has answered."""
        self._result, self._error = [result], None
        self._settled.set()

    def fail(self, error: errors.HarmoniaError) -> None:
        """The sanctuary has refused."""
        self._error = error
        self._settled.set()

    async def answer(self) -> T:
        """Waits. Raises the HarmoniaError with which the sanctuary refused."""
        await self._settled.wait()
        if self._error is not None:
            raise self._error
        return self._result[0]


class _Message(Generic[T]):
    def __init__(self, tell: Callable[[], Awaitable[T]]) -> None:
        self.tell = tell
        self.receipts: list[Receipt[T]] = []


class Outbox(Generic[T]):
    """Tells one message after the other, oldest kind first.

    ``stubborn``: a refusal is passed on to whoever waits but the message stays, unless the sanctuary no longer knows
    its sender. That is for withdrawals, which a full disk must not swallow.
    """

    def __init__(self, *, stubborn: bool = False) -> None:
        self._messages: dict[str, _Message[T]] = {}
        self._posted = trio.Event()
        self._stubborn = stubborn
        self._emptied = trio.Event()
        self._over: errors.HarmoniaError | None = None

    async def told(self) -> None:
        """Waits until everything has been told."""
        while self._messages:
            self._emptied = trio.Event()
            await self._emptied.wait()

    def post(self, kind: str, tell: Callable[[], Awaitable[T]]) -> Receipt[T]:
        """Queues ``tell`` in place of an older message of this kind, whose receipts it takes over."""
        message, older = _Message(tell), self._messages.get(kind)
        if older is not None:
            message.receipts, older.receipts = older.receipts, []
        receipt = Receipt[T]()
        if self._over is not None:
            receipt.fail(self._over)
            return receipt
        message.receipts.append(receipt)
        self._messages[kind] = message
        self.nudge()
        return receipt

    def nudge(self) -> None:
        """Tries again now, for instance because the sanctuary is back."""
        self._posted.set()

    def abandon(self, error: errors.HarmoniaError) -> None:
        """Nobody will hear any more of this: whoever waits gets ``error``, now and later."""
        self._over = error
        for message in self._messages.values():
            for receipt in message.receipts:
                receipt.fail(error)
        self._messages.clear()
        self._emptied.set()

    async def run(self) -> None:
        """Tells what is posted, for ever."""
        waits_s = backoff_s()
        while True:
            if not self._messages:
                await self._posted.wait()
            self._posted = trio.Event()
            if await self._round():
                waits_s = backoff_s()
            else:
                with trio.move_on_after(next(waits_s)):
                    await self._posted.wait()

    async def _round(self) -> bool:
        """Tells each waiting message once; False if one has to be repeated."""
        all_told = True
        for kind, message in list(self._messages.items()):
            try:
                result = await message.tell()
            except errors.Unreachable:
                return False
            except errors.HarmoniaError as error:
                for receipt in message.receipts:
                    receipt.fail(error)
                message.receipts.clear()
                if self._stubborn and not isinstance(error, errors.NotPermitted | errors.NotFound | errors.BadInput):
                    all_told = False
                    continue
            else:
                for receipt in message.receipts:
                    receipt.settle(result)
            if self._messages.get(kind) is message:
                del self._messages[kind]
                self._emptied.set()
        return all_told
