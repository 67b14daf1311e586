"""From a live circle: who is in sync, how certain, a log of it, its picture, and a study's data on node time."""

import csv
import json
import signal
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from harmonia.client.clock_log import ClockLog
from harmonia.night.truth import NodeTruth
from tests.e2e.terminal import PATIENCE_S, answer, harmonia, sanctuary, terminal
from tests.e2e.test_by_hand import create, joined, seen
from tests.e2e.test_by_hand import data as data  # noqa: PLC0414 (a fixture)


def test_a_night_is_tracked_logged_drawn_and_stamped_anew(data: Path, tmp_path: Path) -> None:
    log_path = tmp_path / "night.jsonl"
    with sanctuary(data, "--metrics-port", "0") as (_, place):
        circle = create(data, "--gather", "0.2")
        late = harmonia("waitsync", "--circle", circle, "--timeout", "0.3", data=data)
        assert late.returncode == 9
        assert "0 platforms are visible, 1 wanted" in late.stderr

        wrong = ("--clock-offset", "-0.3", "--clock-drift", "80", "--card-drift", "-90", "--output-latency-ms", "25")
        join = ("join", circle, "--clock-log", str(log_path), "--json-lines", "--interval", "0.05", "--control")
        with terminal(*join, *wrong, data=data) as one:
            sleeper = joined(one)
            waited = answer("waitsync", "--circle", circle, "--max-error", "20ms", data=data)
            assert waited["platforms"] == 1
            assert waited["bound_ns"] <= 20_000_000
            assert harmonia("waitsync", "--max-error", "1us", data=data).returncode == 0, "a root clock is certain"
            too_much = harmonia("waitsync", "--circle", circle, "--max-error", "1ns", "--timeout", "0.3", data=data)
            assert too_much.returncode == 9
            assert "is certain within" in too_much.stderr

            platform = seen(data, circle, sleeper)
            assert platform["lock_state"] == "locked"
            assert 0 <= platform["age_ns"] < PATIENCE_S * 1e9
            assert platform["rate_ppb"] == pytest.approx(-80_000, abs=40_000)
            tracked = answer("tracking", data=data)
            assert (tracked["lock_state"], tracked["refid"], tracked["sources"]) == ("locked", "LOCL", [])
            assert answer("sources", data=data)["sources"] == []
            [source] = answer("sources", "--log", str(log_path), data=data)["sources"]
            assert source["state"] == "selected"
            assert source["delay_ns"] > 0
            assert abs(source["offset_ns"]) <= source["bound_ns"] + source["delay_ns"]

            url = f"http://127.0.0.1:{place['metrics_port']}/metrics"
            with urllib.request.urlopen(url, timeout=PATIENCE_S) as page:
                families = text_string_to_metric_families(page.read().decode())
                samples = {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}
            assert samples["harmonia_platforms", "locked"] == 1
            assert samples["harmonia_frames_sealed_total",] > 0

            one.tell("offset 0.125")
            one.until(offset_turns=0.125)
            # Two more readings, so that what happened lies between exchanges.
            first = one.line()["raw_ns"]
            while one.line()["raw_ns"] < first + 2_500_000_000:
                pass
            assert one.end(signal.SIGTERM) == 0
        truth = NodeTruth.find(data)

    log = ClockLog.load(log_path)
    events = [one.event for one in log.happenings]
    assert events[-1] == "end"
    assert {"locked", "offset"} <= set(events)
    assert log.exchanges

    # Every second of the night, stamped by the platform, against the truth that only this machine knows.
    study = tmp_path / "breath.csv"
    inside = [one for one in log.readings if log.exchanges[0].t1_ns <= one.platform_ns <= log.exchanges[-1].t4_ns]
    study.write_text("t,raw\n" + "".join(f"{one.platform_ns},{one.raw_ns}\n" for one in inside))
    for clock, column in (("platform", "t"), ("raw", "raw")):
        output = tmp_path / f"{clock}.csv"
        done = harmonia(
            *("clock", "restamp", str(log_path), str(study), "--column", column, "--clock", clock),
            *("--output", str(output)),
        )
        assert done.returncode == 0, done.stderr
        rows = list(csv.DictReader(output.open()))
        assert len(rows) == len(inside) > 0
        for row in rows:
            error_ns = int(row["node_ns"]) - truth.node_at(int(row["raw"]))
            assert abs(error_ns) <= int(row["bound_ns"]) + 2
    picture = tmp_path / "night.png"
    drawn = harmonia("clock", "plot", "--log", str(log_path), "--output", str(picture), "--json")
    assert drawn.returncode == 0, drawn.stderr
    assert json.loads(drawn.stdout)["exchanges"] == len(log.exchanges)
    assert picture.stat().st_size > 10_000


def test_a_log_beside_the_state_is_found_by_sleeper(data: Path, tmp_path: Path) -> None:
    with sanctuary(data):
        circle = create(data, "--gather", "0.2")
        with terminal("join", circle, "--log-clock", "--json-lines", "--interval", "0.05", data=data) as one:
            sleeper = joined(one)
            one.until(lock_state="locked")
            assert answer("sources", "--sleeper", sleeper, data=data)["sources"][0]["exchanges"] > 0
            assert one.end(signal.SIGTERM) == 0
        drawn = harmonia("clock", "plot", "--sleeper", sleeper, "--output", str(tmp_path / "x.png"), data=data)
        assert drawn.returncode == 0, drawn.stderr


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--output-latency-ms", "2001"), "0<=x<=2000"),
        (("--card-drift", "1001"), "at most 1000 ppm"),
        (("--clock-log", "/nowhere/at/all.jsonl"), "cannot write the clock log"),
    ],
)
def test_what_a_platform_cannot_be_is_refused(data: Path, options: tuple[str, ...], reason: str) -> None:
    with sanctuary(data):
        circle = create(data)
        refused = harmonia("join", circle, *options, "--no-view", data=data)
        assert refused.returncode != 0
        assert reason in refused.stderr
        assert refused.stderr.startswith("error: ")
