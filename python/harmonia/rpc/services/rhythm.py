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

    async def SetWeaving(self, request: Any, _context: Any) -> rhythm_pb2.SetWeavingResponse:  # noqa: N802
        """Changes the circle's mode, or lowers its strength."""
        conductor = self._house.visible_circle(request.circle_id)
        mode = codec.parse_mode(request.mode) if request.mode else None
        strength_rad_s = request.strength_rad_s if request.HasField("strength_rad_s") else None
        await self._house.bridge.call(conductor.weave, mode, strength_rad_s)
        return rhythm_pb2.SetWeavingResponse(circle=codec.circle_of(conductor))

    async def OfferOffsets(self, request: Any, _context: Any) -> rhythm_pb2.OfferOffsetsResponse:  # noqa: N802
        """Offers everybody an offset of a pattern."""
        conductor = self._house.visible_circle(request.circle_id)
        await self._house.bridge.call(conductor.offer, tuple(request.pattern_turns))
        return rhythm_pb2.OfferOffsetsResponse()

    async def SetOwnRhythm(self, request: Any, _context: Any) -> rhythm_pb2.SetOwnRhythmResponse:  # noqa: N802
        """Leads the caller's own rhythm, or takes it back: to the circle's, or from a living signal to what was set."""
        frequency_hz = request.frequency_hz if request.HasField("frequency_hz") else None
        wish = (frequency_hz, request.ramp_ns, request.from_biosignal)
        own = await self._house.bridge.call(sleeper().set_own_rhythm, *wish)
        return rhythm_pb2.SetOwnRhythmResponse(rhythm=None if own is None else codec.rhythm(own, 0))

    async def SetCoupling(self, request: Any, _context: Any) -> rhythm_pb2.SetCouplingResponse:  # noqa: N802
        """Sets how far the caller may be pulled."""
        weight = request.weight if request.HasField("weight") else 1.0
        await self._house.bridge.call(sleeper().set_coupling, request.coupling, weight)
        return rhythm_pb2.SetCouplingResponse()

    async def SetPhaseOffset(self, request: Any, _context: Any) -> rhythm_pb2.SetPhaseOffsetResponse:  # noqa: N802
        """Sets the caller's own offset."""
        offset = await self._house.bridge.call(sleeper().set_offset, request.offset_turns)
        return rhythm_pb2.SetPhaseOffsetResponse(offset=offset)
