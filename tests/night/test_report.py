"""The report: what follows from the sleepers' logs and the truth, and how it is shown."""

import base64
import hashlib
import json
import math
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia import _core, errors
from harmonia.client import ScoreText
from harmonia.client.views import TURN
from harmonia.night import page, picture, stage
from harmonia.night.diary import Diary, difference_turns, night_summary, percentile
from harmonia.night.plan import CLOCK_DRIFT_PPM_MAX, CLOCK_OFFSET_S_MAX, default_score, plan
from harmonia.night.truth import NodeTruth
from harmonia.night.view import PlainShow


def clock_line(body: str) -> str:
    return f"{body} {hashlib.sha256(body.encode()).hexdigest()[:16]}\n"


LINE = clock_line("harmonia-clock-1 00000000000000ab 8b0d-boot 1000 5000 250 3")
TRUTH = NodeTruth.parse(LINE)
S = 1_000_000_000


def moment(
    raw_s: float, error_ns: int, *, phase_turns: float = 0.0, muted: bool = False, **more: Any
) -> dict[str, Any]:
    raw_ns = round(raw_s * S)
    return {
        "event": "moment",
        "lock_state": "locked",
        "raw_ns": raw_ns,
        "node_ns": TRUTH.node_at(raw_ns) + error_ns,
        "bound_ns": 100_000,
        "uncertainty_ns": 1,
        "phase_turns": phase_turns,
        "offset_turns": 0.0,
        "level_dbfs": -30.0,
        "muted": muted,
        "circle_state": "dreaming",
        **more,
    }


def test_truth_is_the_line_of_the_clock_file() -> None:
    assert TRUTH.node_at(1000) == 5000
    assert TRUTH.node_at(1000 + S) == 5000 + S + 250
    assert TRUTH.node_at(1000 - S) == 5000 - S - 250


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        LINE.replace("5000", "5001"),
        clock_line("harmonia-clock-1 0 b one 2 3 4"),
        clock_line("harmonia-clock-1 0 b 1 2 3 4 1 -"),
        clock_line("harmonia-clock-2 0 b 1 2 3 4"),
        clock_line("harmonia-clock-2 0 b 1 2 3 4 1 5"),
        clock_line("harmonia-clock-3 0 b 1 2 3 4 1 -"),
    ],
)
def test_another_file_is_not_taken_for_a_clock(text: str) -> None:
    with pytest.raises(errors.StorageError):
        NodeTruth.parse(text)


def test_the_clock_file_is_the_one_that_the_core_writes(tmp_path: Path) -> None:
    node = _core.Node("127.0.0.1", 0, str(tmp_path / "clock"))
    try:
        truth = NodeTruth.find(tmp_path)
        raw_ns, node_ns, rate_ppb = node.anchor()
        assert truth.node_at(raw_ns) == node_ns
        assert truth.rate_ppb == rate_ppb
    finally:
        node.close()


def test_a_clock_that_was_stepped_is_a_line_too() -> None:
    stepped = NodeTruth.parse(clock_line("harmonia-clock-2 00000000000000ab b 1000 5000 250 3 0 -"))
    assert stepped == TRUTH


def test_a_clock_that_is_being_corrected_bends() -> None:
    bent = NodeTruth.parse(clock_line("harmonia-clock-2 00000000000000ab b 1000 5000 250 3 1 4:100,2:0,8:-50"))
    # The rate goes from 250 to 650 ppb in 4 s, stays for 2 s, and is back at 250 ppb after 8 s more.
    gained = {0: 0, 4: 1800, 6: 1800 + 1300, 14: 1800 + 1300 + 3600, 24: 1800 + 1300 + 3600 + 2500}
    for seconds, ns in gained.items():
        assert bent.node_at(1000 + seconds * S) == 5000 + seconds * S + ns
    assert bent.node_at(1000 + S // 2) == 5000 + S // 2 + 137  # 125 + 12.5, rounded down


def test_the_truth_of_a_clock_that_follows_another_is_what_it_does(tmp_path: Path) -> None:
    root, house = tmp_path / "root", tmp_path / "house"
    house.mkdir()
    source = _core.Node("127.0.0.1", 0, str(root))
    _core.Node("127.0.0.1", 0, str(house / "clock")).close()  # so that it is resumed, and not stepped at once
    node = _core.Node("127.0.0.1", 0, str(house / "clock"), [f"127.0.0.1:{source.port}"])
    try:
        node.add_circle(1, 1, 1.0)
        while not (truth := NodeTruth.find(house)).ramps:
            pass
        for _ in range(1000):
            before_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
            node_ns = node.node_time_ns()
            after_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
            # A course that is in the file already may begin only in a second.
            if NodeTruth.find(house) == truth:
                assert truth.node_at(before_ns) - 1 <= node_ns <= truth.node_at(after_ns) + 1
            truth = NodeTruth.find(house)
    finally:
        node.close()
        source.close()


@given(st.integers(1, 200), st.floats(0.25, 60), st.integers(0, 64), st.integers())
def test_a_plan_follows_from_its_seed(sleepers: int, minutes: float, channels: int, seed: int) -> None:
    one = plan(sleepers, minutes, channels, seed)
    assert one == plan(sleepers, minutes, channels, seed)
    assert len({planned.name for planned in one.sleepers}) == sleepers
    for planned in one.sleepers:
        assert abs(planned.clock_offset_s) <= CLOCK_OFFSET_S_MAX
        assert abs(planned.clock_drift_ppm) <= CLOCK_DRIFT_PPM_MAX
        assert len(planned.voice.split(",")) == max(1, channels)
    assert one.sleepers[one.mixes].grants_recording
    assert max(one.offsets, one.opts_out) < sleepers
    if sleepers >= 3:
        assert len({one.mixes, one.offsets, one.opts_out}) == 3


@pytest.mark.parametrize("minutes", [0.25, 1, 1.5, 480, 1440])
def test_the_default_score_fills_the_night(minutes: float) -> None:
    score = _core.Score.parse(default_score(minutes), "first-night.toml", "toml")
    assert score.duration_ns == pytest.approx(minutes * 60 * S, abs=2e6)


def test_errors_count_from_five_seconds_after_the_first_exchange() -> None:
    diary = Diary(None, "Ada")
    diary.note({"event": "joined", "sleeper_id": "s"}, TRUTH)
    diary.note(moment(0, 0, lock_state="unsynchronised"), TRUTH)
    for second in range(1, 12):
        diary.note(moment(second, 9_000_000 if second < 6 else -40_000), TRUTH)
    assert len(diary.sights) == 11
    assert {sight.error_ns for sight in diary.settled} == {-40_000}


def test_one_moment_beyond_its_bound_is_not_hidden() -> None:
    diary = Diary(None, "Ada", "s")
    for second in range(20):
        diary.note(moment(second, 50_000), TRUTH)
    facts: dict[str, Any] = {"title": "t"}
    assert night_summary([diary], None, facts)["every_error_within_its_bound"] is True
    diary.note(moment(20, 100_001), TRUTH)
    assert night_summary([diary], None, facts)["every_error_within_its_bound"] is False


def test_a_night_without_moments_proves_nothing() -> None:
    summary = night_summary([Diary(None, "Ada")], None, {})
    assert summary["every_error_within_its_bound"] is False
    assert summary["error_us_p95"] is None
    json.dumps(summary, allow_nan=False)


@given(st.floats(-3, 3), st.floats(-3, 3))
def test_a_phase_difference_is_the_shortest_way(a: float, b: float) -> None:
    difference = difference_turns(a, b)
    assert -0.5 <= difference < 0.5
    assert math.isclose((a - b - difference) % 1.0 % 1.0, 0, abs_tol=1e-9) or math.isclose(
        (a - b - difference) % 1.0, 1, abs_tol=1e-9
    )


@given(st.lists(st.integers(), min_size=1), st.floats(0.1, 100))
def test_a_percentile_is_one_of_the_values_and_enough_do_not_exceed_it(values: list[int], percent: float) -> None:
    value = percentile(values, percent)
    assert value in values
    assert sum(v <= value for v in values) >= len(values) * percent / 100 - 1e-9


@pytest.fixture
def diaries() -> tuple[list[Diary], _core.Rhythm]:
    rhythm = _core.Rhythm.constant(TRUTH.node_at(0), 4.0)
    planned = plan(3, 1, 2, 1).sleepers
    diaries = [Diary(one, f"<{one.name}>", f"s{i}") for i, one in enumerate(planned)]
    for number, diary in enumerate(diaries):
        for tick in range(200):
            raw_s = tick / 5
            node_ns = TRUTH.node_at(round(raw_s * S))
            offset = 0.25 if number == 1 and tick > 100 else 0.0
            phase = (rhythm.phase_at(node_ns) / TURN + offset) % 1.0
            muted = number == 2 and tick > 100
            more = {"offset_turns": offset, "level_dbfs": -120.0 if muted else -30.0}
            diary.note(moment(raw_s, number * 1000, phase_turns=phase, muted=muted, **more), TRUTH)
    diaries[1].offset_set_ns = diaries[2].opted_out_ns = TRUTH.node_at(20 * S)
    return diaries, rhythm


def test_the_page_is_one_file_that_loads_nothing_from_elsewhere(
    tmp_path: Path, diaries: tuple[list[Diary], _core.Rhythm]
) -> None:
    people, rhythm = diaries
    picture.draw(tmp_path / "night.png", people, rhythm, TRUTH.node_at(0), "A night")
    png = (tmp_path / "night.png").read_bytes()
    assert png.startswith(b"\x89PNG")
    assert len(png) > 20_000
    summary = night_summary(people, rhythm, {"title": "<Night>", "minutes": 1, "mix_of": "<Ada>"})
    assert summary["sleepers"][1]["phase_error_turns_p95"] < 1e-6
    text = page.render(summary, png)
    assert "<script" not in text
    assert "http" not in text.replace(base64.b64encode(png).decode(), "")  # whose letters may be any
    assert "&lt;Night&gt;" in text
    assert "<Ada>" not in text
    assert text.count("<audio") == 2
    assert text.count("<tr>") == 1 + len(people)


def test_a_picture_of_a_night_that_never_began_can_be_drawn(tmp_path: Path) -> None:
    picture.draw(tmp_path / "night.png", [Diary(None, "Ada")], None, 0, "Nothing")
    assert (tmp_path / "night.png").stat().st_size > 1000


def place(folder: Path) -> stage.Stage:
    return stage.Stage(folder, ScoreText("s", "toml", ""), plan(1, 1, 1, 1), PlainShow())


def test_somebody_elses_folder_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thesis.txt").write_text("precious")
    with pytest.raises(errors.BadInput, match="not empty"):
        stage.prepare(place(tmp_path))
    assert (tmp_path / "data" / "thesis.txt").read_text() == "precious"


def test_an_earlier_nights_folder_is_written_anew(tmp_path: Path) -> None:
    one = place(tmp_path / "night")
    stage.prepare(one)
    (one.data_dir / "old").write_text("old")
    stage.prepare(one)
    assert list(one.data_dir.iterdir()) == []
    stage.tidy(one)
    assert not one.data_dir.exists()
    assert one.log_dir.exists()
