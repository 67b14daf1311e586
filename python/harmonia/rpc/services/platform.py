"""PlatformService: a sleeper's device."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from harmonia.engine.listening import nobody
from harmonia.engine.person import Person, ended
from harmonia.errors import NotPermitted
from harmonia.rpc import codec
from harmonia.rpc.auth import sleeper
from harmonia.rpc.bridge import Changes
from harmonia.rpc.carrier import carried
from harmonia.rpc.interceptor import parsed
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
        session_id, secret = await self._house.bridge.ask(person.attach, request.recording, request.hears_hush)
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
        """Everything that the platform has to follow, at once and after every change, until the credential ends.

        Where an alarm outlasts the circle, until it is lifted: somebody may be sleeping on alone.
        """
        person, bridge = sleeper(), self._house.bridge
        async with bridge.changes(person.changed, person.conductor.moved) as changes:
            try:
                await bridge.ask(person.watched, 1)  # counted also where the call is given up while it is asked
                while True:
                    goes_on = person.present or self._waits_for_lift(person)
                    state = codec.platform_state(person, self._house.now_ns())
                    yield platform_pb2.WatchPlatformResponse(state=state)
                    if not goes_on:
                        return
                    if state.listeners:  # whoever goes on with a stream has sent what was given to it
                        await bridge.ask(person.saw, [one.sleeper_id for one in state.listeners])
                    await changes.wait(None)
                    await asyncio.sleep(_PACE_S)
            finally:
                bridge.post(lambda: person.watched(-1))

    def _waits_for_lift(self, person: Person) -> bool:
        sleeper, (silence, _) = person.sleeper, person.conductor.hushed
        known = self._house.sanctuary.roll.by_id(sleeper.sleeper_id) is person
        return known and silence is not None and not sleeper.left

    async def CarryDatagrams(  # noqa: N802
        self, requests: AsyncIterator[Any], _context: Any
    ) -> AsyncIterator[platform_pb2.CarryDatagramsResponse]:
        """The data plane inside a stream, where UDP is blocked, for as long as the credential is good."""
        person = sleeper()
        datagrams = (parsed(request).datagram async for request in requests)
        where = self._house.udp_host, self._house.sanctuary.plane.port
        async with self._house.bridge.changes(person.changed, person.conductor.moved) as changes:
            over = asyncio.create_task(_gone(person, changes))
            try:
                async for answer in carried(datagrams, over, *where):
                    yield platform_pb2.CarryDatagramsResponse(datagram=answer)
            finally:
                over.cancel()
        if not person.present:
            raise ended(person)

    async def ListenIn(self, request: Any, _context: Any) -> AsyncIterator[platform_pb2.ListenInResponse]:  # noqa: N802
        """Lets the caller hear what another sleeper hears, for as long as that one allows it and the stream lasts."""
        listener, bridge = sleeper(), self._house.bridge
        name, own_name = request.sleeper_id, listener.sleeper.sleeper_id
        person = self._house.sanctuary.roll.by_id(name)
        if person is None or person.conductor is not listener.conductor:
            raise nobody(name)
        admitted = False

        def admit() -> None:
            nonlocal admitted
            person.admit(listener)
            admitted = True

        def dismiss() -> None:
            if admitted:  # else another call's admission stands
                person.dismiss(listener)

        async with bridge.changes(person.changed, listener.changed, person.conductor.moved) as changes:
            try:
                await bridge.ask(admit)
                while (heard := person.listeners.get(own_name)) is not None and listener.present:
                    yield platform_pb2.ListenInResponse(
                        hearing=heard.flows, since_ns=heard.since_ns, offset=person.sleeper.offset
                    )
                    await changes.wait(None)
                raise NotPermitted(f"{name} is not listened in to any more: they took it back, or are gone")
            finally:
                bridge.post(dismiss)

    async def SetVoice(self, request: Any, _context: Any) -> platform_pb2.SetVoiceResponse:  # noqa: N802
        """Sets the caller's voice."""
        await self._house.bridge.call(sleeper().set_voice, codec.parse_voice(request.voice))
        return platform_pb2.SetVoiceResponse()

    async def SetHearing(self, request: Any, _context: Any) -> platform_pb2.SetHearingResponse:  # noqa: N802
        """Sets how loud the caller hears the others and themself."""
        await self._house.bridge.call(sleeper().set_hearing, request.hearing_level, request.own_level)
        return platform_pb2.SetHearingResponse()

    async def SetAwake(self, request: Any, _context: Any) -> platform_pb2.SetAwakeResponse:  # noqa: N802
        """Lets the caller wake softly, or go back to sleep."""
        await self._house.bridge.call(sleeper().set_awake, request.awake, request.fade_ns)
        return platform_pb2.SetAwakeResponse()

    async def SetScheduleOffset(self, request: Any, _context: Any) -> platform_pb2.SetScheduleOffsetResponse:  # noqa: N802
        """Sets how much later than the circle the caller wakes."""
        await self._house.bridge.call(sleeper().set_schedule_offset, request.offset_ns)
        return platform_pb2.SetScheduleOffsetResponse()


async def _gone(person: Person, changes: Changes) -> None:
    """Until a person's credential is good for no stream any more."""
    while person.present:
        await changes.wait(None)
        await asyncio.sleep(_PACE_S)
