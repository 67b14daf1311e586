"""A breath becomes a rhythm: through a real daemon, from a file and from a pipe, only as far as its owner allows."""

import math
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.terminal import Terminal, answer, sanctuary, terminal

SCORE = """
end = "01:00:00"
rhythm = 0.5
[tone-sets]
one = [{ wave = "binaural", carrier_hz = 110, locked = 1, amplitude_pct = 20 }]
[[timeline]]
at = 0
play = "one"
"""
BAND = ("--band", "0.4", "1.6")
"""A quick breath, so that the test need not wait for a slow one."""
HZ = 0.8
RATE_HZ = 20


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "night.toml").write_text(SCORE)
    rows = (f"{i / RATE_HZ:.3f},{math.cos(2 * math.pi * HZ * i / RATE_HZ):.5f}" for i in range(RATE_HZ * 600))
    (tmp_path / "breath.csv").write_text("t_s,value\n" + "\n".join(rows))
    return tmp_path / "data"


def opened(data: Path) -> str:
    score = str(data.parent / "night.toml")
    made = answer(
        "circle", "create", "--score", score, "--gather", "0", "--mode", "woven", "--strength", "1", data=data
    )
    return str(made["circle_id"])


def own_hz(data: Path, circle: str, sleeper_id: str) -> float:
    seen = answer("circle", "show", circle, data=data)
    (hz,) = (one["own_hz"] for one in seen["visible"] if one["sleeper_id"] == sleeper_id)
    return float(hz)


def following(one: Terminal, fits: Callable[[dict[str, Any]], bool] = lambda _: True, moments: int = 1000) -> Any:
    """How the rhythm stands to the signal, as soon as it fits."""
    seen = None
    for _ in range(moments):
        seen = one.until(event="moment")["following"]
        if seen is not None and fits(seen):
            return seen
    raise AssertionError(f"it never came to that; the last was {seen}")


def test_a_rhythm_follows_a_replayed_breath_once_its_owner_allows_it_and_not_a_moment_longer(data: Path) -> None:
    with ExitStack() as stack:
        stack.enter_context(sanctuary(data))
        circle = opened(data)
        signal = ("--biosignal", str(data.parent / "breath.csv"), *BAND)
        join = ("join", circle, "--json-lines", "--interval", "0.1", "--control", *signal)
        one = stack.enter_context(terminal(*join, "--grant", "biosignal", data=data))
        name = one.until(event="joined")["sleeper_id"]
        one.until(lock_state="locked", circle_state="entraining")

        # Sure of itself, and silent: pull is missing.
        following(one, lambda seen: seen["estimate"]["confidence"] > 0.9)
        for _ in range(40):
            seen = following(one)
            assert (seen["missing"], seen["said_hz"]) == (["pull"], None)
        assert own_hz(data, circle, name) == pytest.approx(0.5, rel=1e-9), "nothing was sent"

        one.tell("grant pull")
        for _ in range(600):
            said = following(one)["said_hz"]
            if said is not None and abs(said / HZ - 1) < 0.02 and abs(own_hz(data, circle, name) / HZ - 1) < 0.02:
                break
        else:
            pytest.fail(f"it never followed: {following(one)}")

        # The beat itself has the breath's frequency, as the platform plays it.
        now_ns = answer("circle", "show", circle, data=data)["node_time_ns"]
        for _ in range(1000):  # what it said while others were asked
            first = one.until(event="moment")
            if first["node_ns"] >= now_ns:
                break
        for _ in range(50):
            last = one.until(event="moment")
        way = last["phase_turns"] - first["phase_turns"]
        seconds = (last["node_ns"] - first["node_ns"]) / 1e9
        achieved = (way + round(HZ * seconds - way)) / seconds
        assert achieved == pytest.approx(HZ, rel=0.02)

        answer("optout", "--sleeper", name, "--purpose", "biosignal", data=data)
        following(one, lambda seen: seen["missing"] == ["biosignal"])
        # It took two seconds to be heard of, and two more to get there; the way home is no farther than that.
        for _ in range(600):
            if abs(own_hz(data, circle, name) / 0.5 - 1) < 0.11:
                break
        else:
            pytest.fail("it never went back")
        following(one, lambda seen: seen["said_hz"] is None)


def test_any_sensor_can_be_piped_in(data: Path) -> None:
    with ExitStack() as stack:
        stack.enter_context(sanctuary(data))
        circle = opened(data)
        join = ("join", circle, "--json-lines", "--interval", "0.1", "--biosignal", "-", *BAND)
        one = stack.enter_context(terminal(*join, "--grant", "biosignal", "--grant", "pull", data=data))
        one.until(event="joined")
        one.tell("t_s,value")
        for i in range(300):
            # A sensor that has woken up with all of its night: the stamps count, not the arrival.
            one.tell(f"{1000 + i / RATE_HZ},{math.cos(2 * math.pi * HZ * i / RATE_HZ)}")
        seen = following(one, lambda seen: seen["estimate"]["confidence"] > 0.5, 200)
        assert seen["estimate"]["frequency_hz"] == pytest.approx(HZ, rel=0.05)
        assert seen["missing"] == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--biosignal", "breath.csv"), "belong together"),
        (("--band", "0.1", "0.5"), "belong together"),
        (("--biosignal", "-", "--band", "0.1", "0.5", "--control"), "one thing only"),
        (("--biosignal", "nowhere.csv", "--band", "0.1", "0.5"), "no such file"),
        (("--biosignal", "-", "--band", "0.5", "0.1"), "a band goes from"),
    ],
)
def test_what_cannot_be_followed_is_refused_before_anybody_joins(
    options: tuple[str, ...], told: str, data: Path
) -> None:
    with terminal("join", "anything", *options, data=data) as one:
        assert one.process.wait(60) in (2, 3)
        assert one.process.stderr is not None
        assert told in one.process.stderr.read()
