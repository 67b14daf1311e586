"""SanctuaryService: the node itself."""

from importlib import metadata
from typing import Any

from harmonia.domain.controller import stated_at
from harmonia.rpc import codec
from harmonia.rpc.services.house import House
from harmonia.v1 import sanctuary_pb2, sanctuary_pb2_grpc

try:
    VERSION = metadata.version("harmonia")
except metadata.PackageNotFoundError:  # run from a working tree
    VERSION = "unpackaged"


class SanctuaryServicer(sanctuary_pb2_grpc.SanctuaryServiceServicer):
    """Open to everybody who can reach it."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def GetStatus(self, _request: Any, _context: Any) -> sanctuary_pb2.GetStatusResponse:  # noqa: N802
        """What this sanctuary is and hosts."""
        sanctuary, now_ns = self._house.sanctuary, self._house.now_ns()
        circles, sleepers = await self._house.bridge.ask(sanctuary.census)
        return sanctuary_pb2.GetStatusResponse(
            sanctuary_id=sanctuary.sanctuary_id,
            version=VERSION,
            node_time_ns=now_ns,
            uptime_ns=now_ns - sanctuary.started_ns,
            voices_dropped=sanctuary.plane.stats()["voices_dropped"],
            udp_port=sanctuary.plane.port,
            circles=circles,
            sleepers=sleepers,
            controller=codec.controller(stated_at(self._house.controllers, now_ns)),
        )

    async def GetTracking(self, _request: Any, _context: Any) -> sanctuary_pb2.GetTrackingResponse:  # noqa: N802
        """How the node's clock stands."""
        plane = self._house.sanctuary.plane
        answer = codec.tracking(plane.tracking(), plane.stats(), plane.resumes)
        answer.sources.extend(codec.source(one) for one in plane.sources())
        return answer
