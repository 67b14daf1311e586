"""Datagrams are carried for whoever is there, and for nobody who has left or whose circle is over."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harmonia.errors import CredentialEnded
from harmonia.rpc import auth
from harmonia.rpc.bridge import Changes
from harmonia.rpc.services.house import House
from harmonia.rpc.services.platform import PlatformServicer
from harmonia.v1 import platform_pb2
from tests.rpc.daemon import the_loop


def test_carrying_ends_with_the_credential_while_everybody_is_silent() -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        changes = Changes(loop)

        @asynccontextmanager
        async def watched(*_signals: Any) -> AsyncIterator[Changes]:
            yield changes

        async def requests() -> AsyncIterator[Any]:
            yield platform_pb2.CarryDatagramsRequest(datagram=b"hello")
            await asyncio.Event().wait()

        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plane:
            plane.bind(("127.0.0.1", 0))
            plane.setblocking(False)
            person = SimpleNamespace(
                present=True, changed=None, conductor=SimpleNamespace(moved=None), sleeper=SimpleNamespace(left=True)
            )
            sanctuary = SimpleNamespace(plane=SimpleNamespace(port=plane.getsockname()[1]))
            house = SimpleNamespace(bridge=SimpleNamespace(changes=watched), sanctuary=sanctuary, udp_host="127.0.0.1")
            auth._CALLER.set(cast(Any, SimpleNamespace(person=person)))
            carrying = PlatformServicer(cast(House, house)).CarryDatagrams(requests(), None)
            answer = asyncio.ensure_future(anext(carrying))
            data, sender = await loop.sock_recvfrom(plane, 100)
            await loop.sock_sendto(plane, data.upper(), sender)
            assert (await answer).datagram == b"HELLO"
            person.present = False
            changes.notify()
            with pytest.raises(CredentialEnded, match="has left"):
                await asyncio.wait_for(anext(carrying), 60)

    the_loop().run(run())
