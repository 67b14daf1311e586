"""MeService: everything that a sanctuary knows of the caller, for the caller alone."""

import json
from typing import Any

from harmonia.domain.controller import stated_at
from harmonia.domain.events import decode, encode
from harmonia.domain.receipts import receipt
from harmonia.rpc import codec
from harmonia.rpc.auth import sleeper
from harmonia.rpc.services.house import House
from harmonia.v1 import me_pb2, me_pb2_grpc

PAGE_MAX = 1000
PAGE_BYTES_MAX = 2 << 20
"""A page is smaller than this, or holds but one event: gRPC clients take 4 MiB."""


class MeServicer(me_pb2_grpc.MeServiceServicer):
    """Opened by the sleeper's own credential, also by one that has expired."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def GetMe(self, _request: Any, _context: Any) -> me_pb2.GetMeResponse:  # noqa: N802
        """What the caller allows and has set, and who used what."""
        person = sleeper()
        await self._house.bridge.call(person.conductor.usage.note, [person])
        now_ns = self._house.now_ns()
        controller = stated_at(self._house.controllers, now_ns)
        return codec.me(person, self._house.sanctuary.sanctuary_id, controller, now_ns)

    async def ListMyEvents(self, request: Any, _context: Any) -> me_pb2.ListMyEventsResponse:  # noqa: N802
        """The caller's stream of the journal."""
        answer, size = me_pb2.ListMyEventsResponse(), 0
        limit = min(request.page_size or PAGE_MAX, PAGE_MAX)
        records = await self._house.bridge.call(sleeper().events, codec.parse_page_token(request.page_token), limit)
        for record in records:
            text = encode(decode(record.data)).decode()
            size += len(text)
            if size > PAGE_BYTES_MAX and answer.events:
                answer.next_page_token = answer.events[-1].position
                return answer
            answer.events.append(me_pb2.MyEvent(position=codec.position(record.position), json=text))
        if len(records) == limit:
            answer.next_page_token = answer.events[-1].position
        return answer

    async def ListMyReceipts(self, request: Any, _context: Any) -> me_pb2.ListMyReceiptsResponse:  # noqa: N802
        """A receipt for every grant and withdrawal."""
        person, sanctuary_id = sleeper(), self._house.sanctuary.sanctuary_id
        answer, size = me_pb2.ListMyReceiptsResponse(), 0
        limit = min(request.page_size or PAGE_MAX, PAGE_MAX)
        records = await self._house.bridge.call(person.events, codec.parse_page_token(request.page_token), limit)
        last = request.page_token
        for record in records:
            document = receipt(decode(record.data), person.sleeper, sanctuary_id, self._house.controllers)
            if document is not None:
                text = json.dumps(document, ensure_ascii=False)
                size += len(text)
                if size > PAGE_BYTES_MAX and answer.receipts:
                    answer.next_page_token = last
                    return answer
                answer.receipts.append(text)
            last = codec.position(record.position)
        if len(records) == limit:
            answer.next_page_token = last
        return answer
