"""Who waits for a place looks once a second at most: a long list in motion costs the engine little."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from harmonia.engine.entrance import Place
from harmonia.rpc import codec
from harmonia.rpc.services.circle import CircleServicer
from harmonia.rpc.services.house import House
from tests.rpc.daemon import join_request, the_loop


class Bridge:
    """Everything changes all the time."""

    async def ask(self, work: Callable[..., Any], *args: Any) -> Any:
        return work(*args)

    @asynccontextmanager
    async def changes(self, *_signals: Any) -> AsyncIterator[Any]:
        async def wait(_timeout_s: float | None) -> None:
            return

        yield SimpleNamespace(wait=wait)


def test_between_two_looks_of_one_who_waits_a_second_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    places = iter(range(9, 0, -1))

    async def sleep(pause_s: float) -> None:
        pauses.append(pause_s)

    entrance = SimpleNamespace(standing=lambda *_: Place(next(places), 9))
    conductor = SimpleNamespace(changed=None, entrance=entrance)
    house = SimpleNamespace(bridge=Bridge(), sanctuary=SimpleNamespace(conductor=lambda _: conductor))
    monkeypatch.setattr(codec, "standing", lambda *_: {"sleeper_id": ""})
    monkeypatch.setattr(asyncio, "sleep", sleep)
    request = join_request(Ed25519PrivateKey.generate(), "circle-1", "hj_token")

    async def run() -> None:
        answers = CircleServicer(cast(House, house)).WaitForPlace(request, None)
        for _ in range(4):
            await anext(answers)
        await answers.aclose()  # type: ignore[attr-defined]

    the_loop().run(run())
    assert pauses == [1.0] * 3
