"""What a monitoring system may know of a sanctuary: its clock, its sources, its work, and how many sleep here.

Prometheus text over HTTP, on loopback only: numbers of a night are nobody's business outside the house, and whoever
collects them from elsewhere puts their own door in front. Nothing here is about a person. Sleepers, circles and
platforms appear as counts alone, never as labels: a label would keep, in a database that nobody asked a sleeper about,
who was here, when they lay awake and when they opted out. Sources carry their names, which the host gave them.

Units are in the names; counters begin anew with the daemon.
"""

import asyncio
import concurrent.futures
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from harmonia.engine.plane import DataPlane, number_of
from harmonia.engine.views import CONNECTED_NS
from harmonia.errors import AddressTaken, HarmoniaError
from harmonia.rpc.services.house import House

HOST = "127.0.0.1"
ENGINE_S = 5.0
"""How long a scrape waits for the engine; it then goes without the counts."""
LOCK_STATES = {1: "unsynchronised", 2: "acquiring", 3: "locked", 4: "holdover"}
WITHIN_NS = (10**5, 10**6, 10**7, 25 * 10**7)
"""The bounds at which platforms are counted; beyond the last nothing sounds."""
HELP = {
    "answered": "Time requests answered.",
    "malformed": "Datagrams that were no packet of ours.",
    "unauthentic": "Datagrams that nobody with a key had sealed.",
    "frames_sealed": "Mix frames sealed for listeners.",
    "cut_frames": "Mix frames from which a voice had just vanished.",
    "voices_dropped": "Coefficients and samples that platforms made silence because they were no numbers: an alarm.",
    "withdrawals": "Withdrawals heard by datagram, repetitions not counted.",
}


class SanctuaryCollector(Collector):
    """Reads everything anew for each scrape. Called in the HTTP server's threads."""

    def __init__(self, house: House, loop: asyncio.AbstractEventLoop) -> None:
        self._house, self._loop = house, loop

    def collect(self) -> Iterator[Metric]:
        """The metrics as they stand."""
        plane = self._house.sanctuary.plane
        yield from _clock(plane)
        yield from _sources(plane)
        for name, value in plane.stats().items():
            yield CounterMetricFamily(f"harmonia_{name}", HELP.get(name, f"{name} since the start."), value)
        yield from self._people(plane)

    def _people(self, plane: DataPlane) -> Iterator[Metric]:
        asked = asyncio.run_coroutine_threadsafe(self._house.bridge.ask(self._count), self._loop)
        try:
            circle_ids, sleepers = asked.result(ENGINE_S)
        except (concurrent.futures.TimeoutError, concurrent.futures.CancelledError, HarmoniaError):
            return  # a closing engine must not hang a scrape
        yield _gauge("harmonia_circles", "Circles that are open.", len(circle_ids))
        yield _gauge("harmonia_sleepers", "Sleepers in them.", sleepers)
        states = dict.fromkeys(LOCK_STATES.values(), 0)
        within = dict.fromkeys(WITHIN_NS, 0)
        silent = 0
        for circle_id in circle_ids:
            for status in plane.status(number_of(circle_id)):
                silent += status.silent_ns > CONNECTED_NS
                if 0 <= status.age_ns <= CONNECTED_NS and status.lock_state in LOCK_STATES:
                    states[LOCK_STATES[status.lock_state]] += 1
                    for limit_ns in WITHIN_NS:
                        within[limit_ns] += status.lock_state > 2 and status.bound_ns <= limit_ns
        count = GaugeMetricFamily("harmonia_platforms", "Platforms heard of late, by clock state.", labels=["state"])
        for state, number in states.items():
            count.add_metric([state], number)
        yield count
        yield _gauge("harmonia_platforms_silent", "Platforms with a session and no datagram for 5 s.", silent)
        certain = GaugeMetricFamily(
            "harmonia_platforms_certain", "Platforms whose certified bound is at most this.", labels=["within_seconds"]
        )
        for limit_ns, number in within.items():
            certain.add_metric([f"{limit_ns / 1e9:g}"], number)
        yield certain

    def _count(self) -> tuple[list[str], int]:
        sanctuary, after, open_ids = self._house.sanctuary, "", []
        while True:
            page, after = sanctuary.circles(after, 100)
            open_ids += [one.circle.circle_id for one in page if one.circle.open]
            if not after:
                return open_ids, sanctuary.census()[1]


def _clock(plane: DataPlane) -> Iterator[Metric]:
    now = plane.tracking()
    yield _gauge("harmonia_clock_bound_seconds", "Largest possible error against the root of time.", now.bound_ns / 1e9)
    yield _gauge("harmonia_clock_uncertainty_seconds", "Expected error against the sources.", now.uncertainty_ns / 1e9)
    yield _gauge("harmonia_clock_offset_seconds", "Still to be slewed.", now.offset_ns / 1e9)
    yield _gauge("harmonia_clock_rate_ratio", "Node time's rate beyond the raw oscillator's.", now.rate_ppb / 1e9)
    yield _gauge("harmonia_clock_slew_ratio", "How much of that is correction.", now.slew_ppb / 1e9)
    yield _gauge("harmonia_clock_root_delay_seconds", "Round trip to the root of time.", now.root_delay_ns / 1e9)
    yield _gauge("harmonia_clock_stratum", "Steps from a reference clock; 10 without a source.", now.stratum)
    state = GaugeMetricFamily("harmonia_clock_state", "1 for the state that the clock is in.", labels=["state"])
    for number, word in LOCK_STATES.items():
        state.add_metric([word], int(now.lock_state == number))
    yield state


def _sources(plane: DataPlane) -> Iterator[Metric]:
    offset = GaugeMetricFamily("harmonia_source_offset_seconds", "Its time minus node time.", labels=["source"])
    bound = GaugeMetricFamily("harmonia_source_bound_seconds", "Largest error of that.", labels=["source"])
    delay = GaugeMetricFamily("harmonia_source_delay_seconds", "Shortest round trip of late.", labels=["source"])
    reach = GaugeMetricFamily("harmonia_source_answered_ratio", "Of the last eight requests.", labels=["source"])
    state = GaugeMetricFamily("harmonia_source_state", "1 for what became of it.", labels=["source", "state"])
    for source in plane.sources():
        state.add_metric([source.name, source.state], 1)
        reach.add_metric([source.name], source.reach.bit_count() / 8)
        if source.exchanges:
            offset.add_metric([source.name], source.offset_ns / 1e9)
            bound.add_metric([source.name], source.bound_ns / 1e9)
            delay.add_metric([source.name], source.delay_ns / 1e9)
    yield from (offset, bound, delay, reach, state)


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(name, meaning, value)


@contextmanager
def serving_metrics(house: House, port: int) -> Iterator[int]:
    """Serves ``/metrics`` on loopback for the length of the block; gives the port. Raises AddressTaken."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(SanctuaryCollector(house, asyncio.get_running_loop()))
    try:
        server, thread = start_http_server(port, HOST, registry)
    except OSError as error:
        raise AddressTaken(
            f"cannot listen on {HOST}:{port} for metrics ({error.strerror}); choose another --metrics-port, 0 for any"
        ) from None
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
