"""PlatformService: a sleeper's device."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from harmonia.rpc import codec
from harmonia.rpc.auth import sleeper
from harmonia.rpc.services.house import House
from harmonia.v1 import platform_pb2, platform_pb2_grpc

_PACE_S = 0.05
"""The shortest time between two answers of a stream; a storm of changes arrives as its newest state."""


class PlatformServicer(platform_pb2_grpc.PlatformServiceServicer):
    """Only the sleeper's own credential opens it."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def AttachPlatform(self, request: Any, _context: Any) -> platform_pb2.AttachPlatformResponse:  # noqa: N802
        """Opens a data-plane session in place of an earlier one."""
        person = sleeper()
        session_id, secret = await self._house.bridge.ask(person.attach, request.recording)
        return platform_pb2.AttachPlatformResponse(
            session_id=session_id,
            secret=secret,
            udp_port=self._house.sanctuary.plane.port,
            state=codec.platform_state(person, self._house.now_ns()),
            time_keys=codec.time_keys(self._house.sanctuary.plane.time_keys()),
        )

    async def WatchPlatform(  # noqa: N802
        self, _request: Any, _context: Any
    ) -> AsyncIterator[platform_pb2.WatchPlatformResponse]:
        """Everything that the platform has to follow, at once and after every change, until the credential ends."""
        person = sleeper()
        async with self._house.bridge.changes(person.changed, person.conductor.moved) as changes:
            while True:
                present = person.present
                yield platform_pb2.WatchPlatformResponse(state=codec.platform_state(person, self._house.now_ns()))
                if not present:
                    return
                await changes.wait(None)
                await asyncio.sleep(_PACE_S)

    async def SetVoice(self, request: Any, _context: Any) -> platform_pb2.SetVoiceResponse:  # noqa: N802
        """Sets the caller's voice."""
        await self._house.bridge.call(sleeper().set_voice, codec.parse_voice(request.voice))
        return platform_pb2.SetVoiceResponse()

    async def SetHearing(self, request: Any, _context: Any) -> platform_pb2.SetHearingResponse:  # noqa: N802
        """Sets how loud the caller hears the others and themself."""
        await self._house.bridge.call(sleeper().set_hearing, request.hearing_level, request.own_level)
        return platform_pb2.SetHearingResponse()
