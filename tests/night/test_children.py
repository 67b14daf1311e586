"""Processes of a night end with it, and say why they ended before."""

import os
from pathlib import Path

import pytest
import trio

from harmonia.night.children import child


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def test_a_child_that_fails_is_reported_with_its_last_line(tmp_path: Path) -> None:
    async with child("Ada", ["join", "harmonia://nowhere"], tmp_path) as one:
        with trio.fail_after(60):
            assert await one.first_line() is None
        assert str(one.failure()).startswith("Ada ended early: the invitation has no port")
        await one.tell("optout")  # past commanding, and no error


async def test_cancelling_leaves_nobody_running(tmp_path: Path) -> None:
    with trio.CancelScope() as scope:
        async with child("Ada", ["join", "harmonia://nowhere"], tmp_path) as one:
            pid = one._process.pid
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert gone(pid)


@pytest.mark.parametrize("name", ["Ada"])
async def test_its_log_is_kept(tmp_path: Path, name: str) -> None:
    async with child(name, ["--version"], tmp_path) as one:
        with trio.fail_after(60):
            await one.ended()
    assert one.errors_path.read_text() == ""
