"""Two network namespaces with a narrow link between them, and a load that keeps its queues full."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

RATE = "20mbit"
QUEUE = "30ms"
"""How long the link's queue is when it is full."""

LOAD = """
import random, socket, sys, time
peer, seed = sys.argv[1], int(sys.argv[2])
sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
random = random.Random(seed)
end = time.monotonic() + float(sys.argv[3])
while time.monotonic() < end:  # bursts that fill the queue, and pauses in which it drains
    for _ in range(random.randrange(200)):
        sink.sendto(bytes(1200), (peer, 9))
    time.sleep(random.random() / 10)
"""


@dataclass(frozen=True)
class Side:
    """One end of the link."""

    namespace: str
    address: str
    device: str

    def command(self, *arguments: str) -> list[str]:
        """The command line that runs ``arguments`` here."""
        return ["ip", "netns", "exec", self.namespace, *arguments]

    def dropped(self) -> int:
        """Datagrams that found the queue full."""
        shown = subprocess.run(
            self.command("tc", "-s", "qdisc", "show", "dev", self.device), capture_output=True, text=True, check=True
        )
        return int(shown.stdout.partition("dropped ")[2].partition(",")[0])


def missing() -> str:
    """Why there can be no namespaces here; empty if there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    absent = [tool for tool in ("ip", "tc") if shutil.which(tool) is None]
    if absent:
        return f"{' and '.join(absent)} of iproute2 is not installed"
    name = f"harmonia-probe-{os.getpid()}"
    tried = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if tried.returncode:
        return f"this system makes no network namespaces: {tried.stderr.strip()}"
    subprocess.run(["ip", "netns", "del", name], check=False)
    return ""


@contextmanager
def link() -> Iterator[tuple[Side, Side]]:
    """Two namespaces and the link between them, gone afterwards."""
    tag = f"h{os.getpid() % 100_000:05d}"
    sides = (Side(f"{tag}-a", "10.77.0.1", f"{tag}a"), Side(f"{tag}-b", "10.77.0.2", f"{tag}b"))

    def ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)

    with ExitStack() as closing:
        for side in sides:
            ip("netns", "add", side.namespace)
            closing.callback(subprocess.run, ["ip", "netns", "del", side.namespace], check=False)
        ip("link", "add", sides[0].device, "type", "veth", "peer", "name", sides[1].device)
        for side in sides:
            ip("link", "set", side.device, "netns", side.namespace)
            ip("-n", side.namespace, "addr", "add", f"{side.address}/24", "dev", side.device)
            for device in ("lo", side.device):
                ip("-n", side.namespace, "link", "set", device, "up")
            limit = ["tc", "qdisc", "add", "dev", side.device, "root"]
            limit += ["tbf", "rate", RATE, "burst", "16kb", "latency", QUEUE]
            subprocess.run(side.command(*limit), check=True, capture_output=True, text=True)
        yield sides


@contextmanager
def loaded(sides: tuple[Side, Side], seconds: float) -> Iterator[None]:
    """Both directions carry bursts that overflow the link's queue, each in a rhythm of its own."""
    with ExitStack() as closing:
        for seed, (here, there) in enumerate([sides, sides[::-1]]):
            command = here.command(sys.executable, "-c", LOAD, there.address, str(seed), str(seconds))
            process = subprocess.Popen(command)
            closing.callback(process.wait)
            closing.callback(process.kill)
        yield
