"""The clock log: what is written is read back, and what is no log is refused at its line."""

import json
from pathlib import Path
from typing import Any

import pytest

from harmonia import _core
from harmonia.client.clock_log import ClockLog, ClockLogWriter
from harmonia.client.sleeper import Sleeper
from harmonia.errors import BadInput, NotFound, StorageError
from tests.client.test_identity import someone

HEADER = {
    "event": "log",
    "format": "harmonia-clock-log",
    "version": 1,
    "sleeper_id": "sleeper-a",
    "circle_id": "circle-a",
    "harmonia": "0.1.0",
    "max_drift_ppb": 500_000,
    "max_wander": 1e-7,
}
INSTANT = {"raw_ns": 1, "platform_ns": 2, "node_ns": 3}
READING = {
    "event": "reading",
    **INSTANT,
    "earliest_ns": 2,
    "latest_ns": 9,
    "uncertainty_ns": 1,
    "rate_ppb": -5,
    "state": "locked",
}
EXCHANGE = {
    "event": "exchange",
    "number": 1,
    "era": 0,
    "t1_ns": 10,
    "t2_ns": 110,
    "t3_ns": 120,
    "t4_ns": 40,
    "stamp_error_ns": 1,
    "node_bound_ns": 0,
    "step_ns": 0,
}


def parse(*lines: Any) -> ClockLog:
    texts = [line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines]
    return ClockLog.parse(Path("night.jsonl"), texts)


def test_a_log_is_read_as_it_was_written() -> None:
    log = parse(HEADER, READING, EXCHANGE, {"event": "opt_out", **INSTANT}, {"event": "of a later year", **INSTANT})
    assert (log.max_drift_ppb, log.max_wander) == (500_000, 1e-7)
    assert log.readings[0].bound_ns == 6
    assert log.exchanges[0].round_trip_ns == 20
    assert [one.event for one in log.happenings] == ["opt_out", "of a later year"]


def test_the_last_line_may_be_broken_and_no_other() -> None:
    assert len(parse(HEADER, EXCHANGE, '{"event":"exch').exchanges) == 1
    with pytest.raises(BadInput, match=r"night\.jsonl:2: "):
        parse(HEADER, '{"event":"exch\n', EXCHANGE)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("[]\n", "no object"),
        ({"no": "event"}, "'event' is missing"),
        ({**EXCHANGE, "t2_ns": 1.5}, "t2_ns is an integer"),
        ({**EXCHANGE, "t2_ns": True}, "t2_ns is an integer"),
        ({**EXCHANGE, "t2_ns": 1 << 62 | 1}, "centuries"),
        ({key: value for key, value in EXCHANGE.items() if key != "t3_ns"}, "'t3_ns' is missing"),
        ({**READING, "state": None, "node_ns": "x"}, "node_ns is an integer"),
        ({"event": 7}, "event is no text"),
    ],
)
def test_what_is_no_line_is_refused_where_it_stands(line: Any, reason: str) -> None:
    with pytest.raises(BadInput, match=rf"night\.jsonl:3: .*{reason}"):
        parse(HEADER, EXCHANGE, line)


def test_another_version_and_another_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"version 2 .*update"):
        parse({**HEADER, "version": 2})
    for lines in ([{"event": "joined"}], ["a,b\n"], []):
        with pytest.raises(BadInput, match=r"night\.jsonl:1: "):
            parse(*lines)
    with pytest.raises(BadInput, match="max_drift_ppb"):
        parse({**HEADER, "max_drift_ppb": -1})
    with pytest.raises(NotFound, match="--clock-log"):
        ClockLog.load(tmp_path / "none.jsonl")


def test_a_writer_tells_of_what_changes_and_ends_its_log(tmp_path: Path) -> None:
    path = tmp_path / "night.jsonl"
    core = _core.Platform(seed=1)
    sleeper = Sleeper(someone(tmp_path / "state.json"), core)
    writer = ClockLogWriter(path, sleeper)
    writer.look(reading=True)
    core.set_offset(0.25)
    writer.look(reading=False)
    core.withdraw(bytes(16), 0)
    writer.look(reading=True)
    writer.close()
    writer.close()
    log = ClockLog.load(path)
    assert [one.event for one in log.happenings] == ["unsynchronised", "offset", "opt_out", "end"]
    assert log.happenings[1].fields["turns"] == 0.25
    assert len(log.readings) == 2
    assert (log.max_drift_ppb, log.max_wander) == core.assumptions()
    core.close()


def test_a_disk_that_refuses_ends_the_log_and_nothing_else(tmp_path: Path) -> None:
    core = _core.Platform(seed=1)
    sleeper = Sleeper(someone(tmp_path / "state.json"), core)
    with pytest.raises(StorageError, match="clock log"):
        ClockLogWriter(tmp_path / "nowhere" / "night.jsonl", sleeper)
    writer = ClockLogWriter(Path("/dev/full"), sleeper)
    writer.look(reading=True)
    assert "ends here" in writer.trouble
    writer.look(reading=True)
    core.close()
