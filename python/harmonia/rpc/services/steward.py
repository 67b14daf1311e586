"""StewardService: roles, and the room at night."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from harmonia.engine.conductor import Conductor
from harmonia.engine.room import Room
from harmonia.rpc import codec_room as codec
from harmonia.rpc.auth import Caller, caller, sleeper
from harmonia.rpc.services.house import House
from harmonia.v1 import steward_pb2, steward_pb2_grpc

_PACE_S = 0.05
"""The shortest time between two answers of a stream."""
_INTERVAL_S = 1.0


class StewardServicer(steward_pb2_grpc.StewardServiceServicer):
    """Who may call what stands in :mod:`harmonia.domain.roles`."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def GrantRole(self, request: Any, _context: Any) -> steward_pb2.GrantRoleResponse:  # noqa: N802
        """Gives somebody a role."""
        conductor, role = self._house.visible_circle(request.circle_id), codec.parse_role(request.role)
        until_ns = request.until_ns if request.HasField("until_ns") else None
        given = await self._house.bridge.call(conductor.stewarding.grant, role, request.name, until_ns)
        held = codec.role_pass(given.held, conductor.circle.open, self._house.now_ns())
        return steward_pb2.GrantRoleResponse(role=held, credential=given.credential)

    async def ListRoles(self, request: Any, _context: Any) -> steward_pb2.ListRolesResponse:  # noqa: N802
        """Every role that was given."""
        conductor, now_ns = self._house.visible_circle(request.circle_id), self._house.now_ns()
        passes = conductor.stewarding.passes.values()
        return steward_pb2.ListRolesResponse(
            roles=[codec.role_pass(held, conductor.circle.open, now_ns) for held in passes]
        )

    async def RevokeRole(self, request: Any, _context: Any) -> steward_pb2.RevokeRoleResponse:  # noqa: N802
        """Takes a role back."""
        conductor = self._house.visible_circle(request.circle_id)
        held = await self._house.bridge.call(conductor.stewarding.revoke, request.role_id)
        role = codec.role_pass(held, conductor.circle.open, self._house.now_ns())
        return steward_pb2.RevokeRoleResponse(role=role)

    async def LookAtCircle(self, request: Any, _context: Any) -> steward_pb2.LookAtCircleResponse:  # noqa: N802
        """The public state."""
        return codec.public_circle(self._house.own_circle(request.circle_id), self._house.now_ns())

    async def WatchRoom(  # noqa: N802
        self, request: Any, _context: Any
    ) -> AsyncIterator[steward_pb2.WatchRoomResponse]:
        """The room, until the circle is closed or the role has ended."""
        conductor, who = self._house.own_circle(request.circle_id), caller()
        async with self._house.bridge.changes(conductor.changed, conductor.stewarding.changed) as changes:
            while True:
                yield codec.room(await self._house.bridge.ask(_look, conductor, who))
                if not conductor.circle.open:
                    return
                await asyncio.sleep(_PACE_S)
                await changes.wait(_INTERVAL_S - _PACE_S)

    async def SilenceRoom(self, request: Any, _context: Any) -> steward_pb2.SilenceRoomResponse:  # noqa: N802
        """Silences everybody."""
        silence = self._house.own_circle(request.circle_id).stewarding.silence
        done = await self._house.bridge.call(silence, request.message, request.alarm, caller().by)
        return steward_pb2.SilenceRoomResponse(silence=codec.silence(done))

    async def LiftSilence(self, request: Any, _context: Any) -> steward_pb2.LiftSilenceResponse:  # noqa: N802
        """Ends a silence."""
        lift = self._house.own_circle(request.circle_id).stewarding.lift
        await self._house.bridge.call(lift, request.silence_id, caller().by)
        return steward_pb2.LiftSilenceResponse()

    async def AnswerHelp(self, request: Any, _context: Any) -> steward_pb2.AnswerHelpResponse:  # noqa: N802
        """Says that somebody is coming, or has helped."""
        answer = self._house.own_circle(request.circle_id).stewarding.answer
        call = await self._house.bridge.call(answer, request.help_id, caller().by, request.resolved)
        return steward_pb2.AnswerHelpResponse(call=codec.call(call, ""))

    async def CallForHelp(self, request: Any, _context: Any) -> steward_pb2.CallForHelpResponse:  # noqa: N802
        """Calls whoever is awake."""
        person = sleeper()
        call_for_help = person.conductor.stewarding.call
        call = await self._house.bridge.call(call_for_help, person, request.event_id, request.message)
        return steward_pb2.CallForHelpResponse(call=codec.call(call, person.sleeper.sleeper_id))

    async def TakeBackHelp(self, request: Any, _context: Any) -> steward_pb2.TakeBackHelpResponse:  # noqa: N802
        """Takes an own call back."""
        person = sleeper()
        call = await self._house.bridge.call(person.conductor.stewarding.take_back, person, request.help_id)
        return steward_pb2.TakeBackHelpResponse(call=codec.call(call, person.sleeper.sleeper_id))


def _look(conductor: Conductor, who: Caller) -> Room:
    if who.held is not None:
        conductor.stewarding.require(who.held, to_the_end=True)
    return conductor.stewarding.room(who.role)
