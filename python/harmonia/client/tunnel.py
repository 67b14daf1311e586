"""The data plane through gRPC, where UDP is blocked: a port on this machine whose datagrams travel in a stream.

The core knows nothing of it: it is told this port in place of the sanctuary's, asks it for the time and takes mix
frames from it. Everything stays sealed and certified as it was; only the path is slower, so that the bound is wider.
"""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import grpc

from harmonia.client import channel
from harmonia.v1 import platform_pb2

HOST = "127.0.0.1"
_DATAGRAM_BYTES_MAX = 2048


class Tunnel:
    """Open from the beginning until `close`; what is lost with a broken stream is lost as datagrams are."""

    def __init__(self, carry: Callable[[Iterator[Any]], Any]) -> None:
        """``carry`` begins the call with an iterator of its requests."""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((HOST, 0))
        self.port: int = self._socket.getsockname()[1]
        self.answered = False
        """Whether anything came back."""
        self.trouble = ""
        """Why the stream has ended; empty while it has not."""
        self._platform: Any = None
        self._closed = False
        self._answers = carry(self._sent())
        threading.Thread(target=self._bring, name="harmonia tunnel", daemon=True).start()

    def close(self) -> None:
        """Ends the stream. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._answers.cancel()
        with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", (HOST, self.port))

    def _sent(self) -> Iterator[platform_pb2.CarryDatagramsRequest]:
        """In a thread of grpcio's. Whoever sends first is the platform; nobody else on this machine is carried."""
        with self._socket:
            while not self._closed:
                datagram, sender = self._socket.recvfrom(_DATAGRAM_BYTES_MAX)
                self._platform = self._platform or (sender if datagram else None)
                if datagram and sender == self._platform:
                    yield platform_pb2.CarryDatagramsRequest(datagram=datagram)

    def _bring(self) -> None:
        try:
            for answer in self._answers:
                self.answered = True
                with suppress(OSError):  # closed meanwhile
                    self._socket.sendto(answer.datagram, self._platform)
            self.trouble = "the sanctuary ended the stream"
        except grpc.RpcError as error:
            self.trouble = str(channel.translate(error))
