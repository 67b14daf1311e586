"""A stream that is given up at any moment leaves nobody behind: no platform that seems connected, no listener."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harmonia.errors import NotNow
from harmonia.rpc import auth
from harmonia.rpc.services.house import House
from harmonia.rpc.services.platform import PlatformServicer
from harmonia.v1 import platform_pb2
from tests.rpc.daemon import the_loop


class Bridge:
    """The engine does what it is asked, and whoever asked is cancelled before they hear of it."""

    async def ask(self, work: Callable[..., Any], *args: Any) -> None:
        try:
            work(*args)
        finally:
            raise asyncio.CancelledError

    def post(self, work: Callable[[], None]) -> None:
        work()

    @asynccontextmanager
    async def changes(self, *_signals: Any) -> AsyncIterator[None]:
        yield


class Person:
    """What the two streams ask of a person."""

    def __init__(self, circle: Any) -> None:
        self.sleeper, self.conductor, self.changed = SimpleNamespace(sleeper_id="s-1"), circle, None
        self.watchers = 0
        self.heard_by: Any = None

    def watched(self, streams: int) -> None:
        self.watchers += streams

    def admit(self, listener: Any) -> None:
        if self.heard_by is not None:
            raise NotNow("already")
        self.heard_by = listener

    def dismiss(self, listener: Any) -> None:
        assert self.heard_by is listener
        self.heard_by = None


@pytest.fixture
def circle() -> Any:
    return SimpleNamespace(moved=None)


def given_up(call: str, caller: Person, asked: Person | None = None) -> None:
    """The caller's stream, cancelled while it asks the engine for the first time."""
    roll = SimpleNamespace(by_id=lambda _: asked)
    house = cast(House, SimpleNamespace(bridge=Bridge(), sanctuary=SimpleNamespace(roll=roll)))

    async def run() -> None:
        auth._CALLER.set(cast(Any, SimpleNamespace(person=caller)))
        with pytest.raises(asyncio.CancelledError):
            await anext(getattr(PlatformServicer(house), call)(platform_pb2.ListenInRequest(), None))

    the_loop().run(run())


def test_a_platform_that_gives_up_is_not_taken_for_connected(circle: Any) -> None:
    person = Person(circle)
    given_up("WatchPlatform", person)
    assert person.watchers == 0


def test_a_listener_who_gives_up_is_dismissed_and_one_refused_dismisses_nobody(circle: Any) -> None:
    person, listener = Person(circle), Person(circle)
    given_up("ListenIn", listener, person)
    assert person.heard_by is None
    person.admit(listener)
    given_up("ListenIn", listener, person)
    assert person.heard_by is listener
