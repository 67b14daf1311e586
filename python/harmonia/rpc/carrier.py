"""Datagrams out of a gRPC stream, to the data plane's own UDP port and back: for platforms that UDP does not reach.

The data plane takes a peer to be wherever its newest authentic datagram came from. So it needs to know nothing of this:
each stream is a socket of this machine's, and what is sealed stays sealed.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress

from harmonia.errors import BadInput

DATAGRAM_BYTES_MAX = 2048
_BACKLOG_MAX = 256


class _Answers(asyncio.DatagramProtocol):
    """What came back and was not fetched yet; the oldest are lost, as a full socket's newest would be."""

    def __init__(self) -> None:
        self.waiting: deque[bytes] = deque(maxlen=_BACKLOG_MAX)
        self.changed = asyncio.Event()

    def datagram_received(self, data: bytes, _addr: object) -> None:
        self.waiting.append(data)
        self.changed.set()


async def carried(
    datagrams: AsyncIterator[bytes], over: asyncio.Future[None], host: str, port: int
) -> AsyncIterator[bytes]:
    """Sends ``datagrams`` to ``host:port`` and gives what is answered, until they end or it is ``over``.

    Raises BadInput.
    """
    loop = asyncio.get_running_loop()
    transport, answers = await loop.create_datagram_endpoint(_Answers, remote_addr=(host, port))

    async def send() -> None:
        async for datagram in datagrams:
            if not 0 < len(datagram) <= DATAGRAM_BYTES_MAX:
                raise BadInput(f"a datagram has 1 to {DATAGRAM_BYTES_MAX} bytes, not {len(datagram)}")
            transport.sendto(datagram)

    sending = asyncio.create_task(send())
    for end in (sending, over):
        end.add_done_callback(lambda _: answers.changed.set())
    try:
        while not (sending.done() or over.done()):
            await answers.changed.wait()
            answers.changed.clear()
            while answers.waiting:
                yield answers.waiting.popleft()
        if sending.done():
            sending.result()
    finally:
        sending.cancel()
        with suppress(asyncio.CancelledError, BadInput):
            await sending
        transport.close()
