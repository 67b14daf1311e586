"""Whether UDP gets through: what is known, and said, when gRPC works and the sanctuary's datagrams do not come.

A firewall that lets TCP pass and drops UDP is the commonest fault of a first night. Nothing fails then: the platform
joins, is told everything, and stays silent. So the core counts since when its questions are without an answer, and here
that becomes a sentence with an address, a time and a thing to do.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import trio

from harmonia import _core

LOST_S = 5.0
"""UDP is called lost after so long without an answer: as long as a locked clock waits before it is in holdover."""

_PROBE_S = 2.0


@dataclass(frozen=True, slots=True)
class UdpLoss:
    """The sanctuary has not answered by UDP for `LOST_S` or longer."""

    server: str
    """HOST:PORT."""
    silent_s: float
    since_unix_s: float
    """When the first question left that is still without an answer."""
    reason: Literal["silent", "forged", "keys"]
    """Nothing came; what came was not the sanctuary's; or the sanctuary says that it does not know these keys."""

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.since_unix_s, UTC).strftime("%H:%M:%S UTC")
        what = {
            "silent": "no answers",
            "forged": "no answers that the sanctuary made, only others",
            "keys": "no answers but that these keys are unknown",
        }[self.reason]
        do = {
            "silent": "allow UDP to and from that port in every firewall, router and VPN on the way",
            "forged": "somebody on the way forges or changes them; use another network",
            "keys": "new ones are asked for every minute; if that does not help, somebody on the way says so",
        }[self.reason]
        return f"UDP to {self.server} gives {what} for {self.silent_s:.0f} s, since {since}: {do}"


async def gets_through(host: str, port: int) -> bool:
    """Whether the sanctuary answers a plain question by UDP; one that answers only authenticated ones does not."""
    try:
        await trio.to_thread.run_sync(lambda: _core.query_time(host, port, exchanges=1, timeout_s=_PROBE_S))
    except (OSError, ValueError):
        return False
    return True


def loss_of(core: _core.Platform) -> UdpLoss | None:
    """How UDP stands at this platform; None while it works, or might."""
    silence = core.silence()
    if silence is None:
        return None
    silent_s = (time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW) - silence["since_raw_ns"]) / 1e9
    if silent_s < LOST_S:
        return None
    reason: Literal["silent", "forged", "keys"] = "silent"
    if silence["keys_refused"]:
        reason = "keys"
    elif silence["forged"]:
        reason = "forged"
    return UdpLoss(silence["server"], silent_s, time.time() - silent_s, reason)
