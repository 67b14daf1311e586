"""Metrics, as a collector reads them: about the house, and about nobody in it."""

import socket
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from harmonia.errors import AddressTaken
from harmonia.rpc.metrics import HOST
from tests.rpc.daemon import PATIENCE_S, Running, daemon


def scrape(running: Running) -> tuple[str, dict[str, dict[tuple[str, ...], float]]]:
    """The text, and its samples by name and label values."""
    port = running.daemon.place.metrics_port
    with urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=PATIENCE_S) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        text = answer.read().decode()
    samples: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text):
        assert family.name.startswith("harmonia_")
        assert family.documentation, family.name
        assert family.type in {"gauge", "counter"}
        for sample in family.samples:
            assert sample.name.endswith("_total") == (family.type == "counter")
            samples.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return text, samples


def test_a_collector_reads_the_clock_the_work_and_counts(tmp_path: Path) -> None:
    with daemon(tmp_path, metrics_port=0) as running:
        circle = running.create()
        guests = [running.join(circle.circle_id) for _ in range(2)]
        text, seen = scrape(running)
        assert seen["harmonia_circles"][()] == 1
        assert seen["harmonia_sleepers"][()] == 2
        assert seen["harmonia_clock_bound_seconds"][()] == 0
        assert seen["harmonia_clock_state"][("locked",)] == 1
        assert sum(seen["harmonia_clock_state"].values()) == 1
        for name, value in running.plane.stats().items():
            assert seen[f"harmonia_{name}_total"][()] == value
        # A platform that was never heard of is none.
        assert sum(seen["harmonia_platforms"].values()) == 0
        for guest in guests:
            assert guest.answer.sleeper_id not in text
            assert str(guest.number) not in text
        assert circle.circle_id not in text
        assert circle.title not in text
        labels = {
            label for family in text_string_to_metric_families(text) for s in family.samples for label in s.labels
        }
        assert labels <= {"state", "source", "within_seconds"}


def test_nothing_is_served_unless_asked_for(tmp_path: Path) -> None:
    with daemon(tmp_path) as running:
        assert running.daemon.place.metrics_port is None


def test_a_taken_port_is_said_and_nothing_stays_open(tmp_path: Path) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AddressTaken, match="--metrics-port"), daemon(tmp_path, metrics_port=port):
            pass
    with daemon(tmp_path, metrics_port=port) as running:
        assert scrape(running)[1]["harmonia_circles"][()] == 0


def test_metrics_are_for_this_machine_alone(tmp_path: Path) -> None:
    with daemon(tmp_path, metrics_port=0) as running:
        port = running.daemon.place.metrics_port
        assert port
        with pytest.raises(OSError):  # noqa: PT011 (whatever the system says)
            socket.create_connection(("::1", port), timeout=PATIENCE_S).close()
        assert HOST == "127.0.0.1"
