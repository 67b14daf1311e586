"""What crosses between the two loops: a watcher leaves the engine as it was, whenever they give up."""

import asyncio
import os
import time
from contextlib import suppress

from harmonia.engine.sanctuary import Sanctuary
from harmonia.engine.signal import Signal
from harmonia.rpc.bridge import Bridge
from harmonia.testing import FakePlane, FlakyJournal, fake_scores
from tests.rpc.daemon import the_loop


def test_a_watcher_that_gives_up_at_once_leaves_no_callback_in_the_engine() -> None:
    async def run() -> tuple[int, int]:
        bridge = Bridge(Sanctuary(FlakyJournal(), FakePlane(time.time_ns), os.urandom, fake_scores))
        await bridge.start()
        signal = Signal()

        async def watch() -> None:
            async with bridge.changes(signal, signal) as changes:
                await changes.wait(None)

        for steps in range(50):
            watching = asyncio.create_task(watch())
            for _ in range(steps % 5):
                await asyncio.sleep(0)
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
        async with bridge.changes(signal):
            during = await bridge.ask(lambda: len(signal._callbacks))
        after = await bridge.ask(lambda: len(signal._callbacks))
        await bridge.stop()
        return during, after

    assert the_loop().run(run()) == (1, 0)
