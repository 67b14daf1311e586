"""StemService: the music of scores, put in by hosts, fetched by the platforms that will play it."""

import asyncio
from typing import Any

from harmonia.errors import NotPermitted
from harmonia.rpc.auth import caller
from harmonia.rpc.services.house import House
from harmonia.rpc.stems import StemStore, named_by
from harmonia.v1 import stem_pb2, stem_pb2_grpc


class StemServicer(stem_pb2_grpc.StemServiceServicer):
    """Whoever is not the host reaches what their own circle's score names, and nothing else."""

    def __init__(self, house: House, store: StemStore) -> None:
        self._house = house
        self._store = store

    async def FindStem(self, request: Any, _context: Any) -> stem_pb2.FindStemResponse:  # noqa: N802
        """Which recording is meant."""

        def find() -> tuple[bytes, int]:
            self._may_fetch(request.sha256, "" if request.sha256 else request.file)
            return self._store.find(request.sha256, request.file)

        sha256, size = await asyncio.to_thread(find)
        return stem_pb2.FindStemResponse(sha256=sha256, size=size)

    async def ReadStem(self, request: Any, _context: Any) -> stem_pb2.ReadStemResponse:  # noqa: N802
        """A part of it."""

        def read() -> bytes:
            self._may_fetch(request.sha256, "")
            return self._store.read(request.sha256, request.offset, request.size_max)

        return stem_pb2.ReadStemResponse(data=await asyncio.to_thread(read))

    async def WriteStem(self, request: Any, _context: Any) -> stem_pb2.WriteStemResponse:  # noqa: N802
        """Adds a part."""
        received, complete = await asyncio.to_thread(
            self._store.write, request.sha256, request.file, request.size, request.offset, request.data
        )
        return stem_pb2.WriteStemResponse(received=received, complete=complete)

    def _may_fetch(self, sha256: bytes, file: str) -> None:
        """Raises NotPermitted unless the caller is the host, or their circle's score names this recording."""
        if caller().host:
            return
        circle = self._house.own_circle("").circle
        files, hashes = named_by(circle.score_name, circle.score_format, circle.score_text)
        if file:
            allowed = file in files
        else:
            allowed = sha256.hex() in hashes or not files.isdisjoint(self._store.names_of(sha256))
        if not allowed:
            raise NotPermitted(f"a {caller().role.word} fetches only the stems that their circle's score names")
