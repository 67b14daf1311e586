"""A wire between a platform and the sanctuary, so that whoever waits for a datagram waits for datagrams.

A platform does not call back when the sanctuary has acknowledged a withdrawal; it can be asked. To ask again and again
is to guess a time. Every answer comes over this wire, though, and so does all that the platform sends: whoever carries
one datagram after the other, and asks behind each, waits for nothing else. Nothing is carried while nobody waits.
"""

import select
import socket

_DATAGRAM_MAX = 2048


class Wire:
    """One platform's way to the sanctuary at ``host``, UDP ``port``."""

    def __init__(self, host: str, port: int) -> None:
        self._near, self._far = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        self._near.bind((host, 0))
        self._far.connect((host, port))
        self.port: int = self._near.getsockname()[1]
        """Where the platform sends to, on the same host."""
        self._platform = ("", 0)

    def carry(self, death: int) -> None:
        """Waits for one datagram from either side and carries it over, or until ``death`` can be read."""
        near, far = self._near.fileno(), self._far.fileno()
        ready, _, _ = select.select([near, far, death], [], [])
        try:
            if near in ready:
                data, self._platform = self._near.recvfrom(_DATAGRAM_MAX)
                self._far.send(data)
            if far in ready:
                self._near.sendto(self._far.recv(_DATAGRAM_MAX), self._platform)
        except ConnectionRefusedError:
            return  # nobody listens there any more

    def close(self) -> None:
        """Cuts it."""
        self._near.close()
        self._far.close()
