"""The one bridge between asyncio, where grpcio lives, and trio, where the engine lives.

The engine runs in a thread of its own. A request crosses by ``TrioToken.run_sync_soon``, its answer comes back by
``loop.call_soon_threadsafe``; nothing else in this program may touch both loops. A watcher crosses with less: it
is told that something changed, however often, and looks when it is ready, so a slow reader costs one flag.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

import trio

from harmonia.engine.sanctuary import Sanctuary
from harmonia.engine.signal import Signal
from harmonia.errors import Unreachable

T = TypeVar("T")


class Bridge:
    """Runs ``sanctuary`` in a trio thread. Every method belongs to the asyncio loop unless it says otherwise."""

    def __init__(self, sanctuary: Sanctuary) -> None:
        self._sanctuary = sanctuary
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._started: asyncio.Future[None] = self._loop.create_future()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        """Done when the engine has ended; carries its error if it broke."""
        self._token: trio.lowlevel.TrioToken | None = None
        self._nursery: trio.Nursery | None = None

    async def start(self) -> None:
        """Returns once the sanctuary has read its journal. Raises what stopped it."""
        self._thread.start()
        await asyncio.wait([self._started, self.ended], return_when=asyncio.FIRST_COMPLETED)
        if self.ended.done():
            self.ended.result()

    async def stop(self) -> None:
        """Ends the engine and waits for it."""
        if self._thread.ident is None:
            return
        self.post(self._cancel)
        await asyncio.wait([self.ended])

    async def call(self, work: Callable[..., Awaitable[T]], *args: object) -> T:
        """Runs a coroutine function in the engine. It goes on there even if the caller gives up."""
        answer: asyncio.Future[T] = self._loop.create_future()

        async def run() -> None:
            try:
                result = await work(*args)
            except trio.Cancelled:
                self._back(answer, None, _closing())
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to the caller
                self._back(answer, None, error)
            else:
                self._back(answer, result, None)

        def begin() -> None:
            if self._nursery is None:
                self._back(answer, None, _closing())
            else:
                self._nursery.start_soon(run)

        self._send(begin)
        return await answer

    async def ask(self, work: Callable[..., T], *args: object) -> T:
        """Runs a plain function in the engine: the short way for what needs no waiting there."""
        answer: asyncio.Future[T] = self._loop.create_future()

        def run() -> None:
            try:
                result = work(*args)
            except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to the caller
                self._back(answer, None, error)
            else:
                self._back(answer, result, None)

        self._send(run)
        return await answer

    def post(self, work: Callable[[], None]) -> None:
        """Runs a plain function in the engine, soon, and forgets it. Any thread; nothing happens once it has ended."""
        with suppress(Unreachable):
            self._send(work)

    @asynccontextmanager
    async def changes(self, *signals: Signal) -> AsyncIterator["Changes"]:
        """Watches ``signals`` of the engine's."""
        changes = Changes(self._loop)
        ends: list[Callable[[], None]] = []
        """Of the engine's thread, which does things in order: what ends all comes behind what begins it, if it comes at
        all, so that a watcher who gives up at once leaves nothing behind."""

        def begin() -> None:
            ends.extend(signal.subscribe(changes.notify) for signal in signals)

        def end() -> None:
            for one in ends:
                one()

        try:
            await self.ask(begin)
            yield changes
        finally:
            self.post(end)

    def _send(self, work: Callable[[], None]) -> None:
        if self._token is None:
            raise _closing()
        try:
            self._token.run_sync_soon(work)
        except trio.RunFinishedError:
            raise _closing() from None

    def _back(self, answer: "asyncio.Future[T]", result: T | None, error: Exception | None) -> None:
        def give() -> None:
            if answer.done():  # its caller gave up
                return
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(result)  # type: ignore[arg-type]

        with suppress(RuntimeError):  # the loop has closed: nobody waits
            self._loop.call_soon_threadsafe(give)

    def _run(self) -> None:
        error: Exception | None = None
        try:
            trio.run(self._live)
        except Exception as broke:  # noqa: BLE001 - handed to whoever waits for the engine
            error = _cause(broke)
        self._back(self.ended, None, error)

    async def _live(self) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(self._sanctuary.run)
            self._nursery = nursery
            self._token = trio.lowlevel.current_trio_token()
            self._back(self._started, None, None)
        self._nursery = None

    def _cancel(self) -> None:
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()
            self._nursery = None


class Changes:
    """A flag that the engine raises and one watcher lowers."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._raised = asyncio.Event()
        self._pending = False

    def notify(self) -> None:
        """Something changed. Called in the engine's thread; costs nothing while the watcher has not looked."""
        if not self._pending:
            self._pending = True
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._raised.set)

    async def wait(self, timeout_s: float | None) -> None:
        """Returns once something changed since the last look, or after ``timeout_s``."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._raised.wait(), timeout_s)
        self._raised.clear()
        self._pending = False


def _cause(error: Exception) -> Exception:
    """What broke, out of the groups that nurseries wrap it in."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _closing() -> Unreachable:
    return Unreachable("this sanctuary is shutting down: try again once it has restarted")
