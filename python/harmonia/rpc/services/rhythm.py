"""RhythmService: the shared timeline, and each sleeper's own displacement from it."""

from typing import Any

from harmonia.domain.circle import require_rhythm
from harmonia.rpc import codec
from harmonia.rpc.auth import sleeper
from harmonia.rpc.services.house import House
from harmonia.v1 import rhythm_pb2, rhythm_pb2_grpc


class RhythmServicer(rhythm_pb2_grpc.RhythmServiceServicer):
    """The rhythm is the host's to lead; an offset is its sleeper's alone."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def GetRhythm(self, request: Any, _context: Any) -> rhythm_pb2.GetRhythmResponse:  # noqa: N802
        """The circle's timeline."""
        circle = self._house.visible_circle(request.circle_id).circle
        return rhythm_pb2.GetRhythmResponse(rhythm=codec.rhythm(require_rhythm(circle), circle.rhythm_revision))

    async def SetRhythm(self, request: Any, _context: Any) -> rhythm_pb2.SetRhythmResponse:  # noqa: N802
        """Leads the rhythm to another frequency."""
        conductor = self._house.visible_circle(request.circle_id)
        led = await self._house.bridge.call(conductor.lead, request.frequency_hz, request.ramp_ns)
        return rhythm_pb2.SetRhythmResponse(rhythm=codec.rhythm(led, conductor.circle.rhythm_revision))

    async def SetPhaseOffset(self, request: Any, _context: Any) -> rhythm_pb2.SetPhaseOffsetResponse:  # noqa: N802
        """Sets the caller's own offset."""
        offset = await self._house.bridge.call(sleeper().set_offset, request.offset_turns)
        return rhythm_pb2.SetPhaseOffsetResponse(offset=offset)
