"""Listening in through a real daemon: told before the first sound, seen all the while, over when it is taken back."""

import wave
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.e2e.terminal import Terminal, answer, harmonia, sanctuary, terminal

SCORE = """
end = "01:00:00"
rhythm = 4.0
[tone-sets]
one = [{ wave = "binaural", carrier_hz = 110, locked = 1, amplitude_pct = 20 }]
[[timeline]]
at = 0
play = "one"
transition = "cut"
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "night.toml").write_text(SCORE)
    return tmp_path / "data"


def until(one: Terminal, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    for _ in range(1000):
        seen = one.line()
        if fits(seen):
            return seen
    raise AssertionError(f"it never came to that; the last was {seen}")


def test_a_sleeper_is_listened_in_to_only_while_they_allow_and_see_it(data: Path) -> None:
    with ExitStack() as stack:
        stack.enter_context(sanctuary(data))
        score = str(data.parent / "night.toml")
        circle = answer("circle", "create", "--score", score, "--gather", "0", data=data)["circle_id"]
        join = ("join", circle, "--json-lines", "--interval", "0.1", "--control")
        one = stack.enter_context(terminal(*join, data=data))
        name = one.until(event="joined")["sleeper_id"]
        one.until(lock_state="locked", circle_state="entraining")

        listen = ("mix", "listen", name, "--circle", circle)
        refused = harmonia(*listen, "--seconds", "1", data=data)
        assert refused.returncode == 4
        assert "granting monitoring" in refused.stderr

        one.tell("grant monitoring")
        output = data.parent / "heard.wav"
        refused = harmonia(*listen, "--seconds", "1", "--output", str(output), data=data)
        assert refused.returncode == 4, "recording it takes more"
        assert "granting recording" in refused.stderr
        one.tell("grant recording")

        # The sleeper alone sounds: the listener has no voice, and hears nothing that is not theirs.
        with terminal(*listen, "--json-lines", "--interval", "0.1", "--output", str(output), data=data) as listener:
            listener_id = listener.until(event="joined")["sleeper_id"]
            (heard,) = one.until(event="listened")["listeners"]
            assert (heard["sleeper_id"], heard["recording"]) == (listener_id, True)
            (listed,) = answer("consent", "--sleeper", name, data=data)["listeners"]
            assert listed == heard
            until(listener, lambda line: line.get("level_dbfs", -120) > -40)
            until(one, lambda line: line.get("level_dbfs", -120) > -40)
            out = answer("optout", "--sleeper", name, "--purpose", "monitoring", data=data)
            assert out["withdrawn"] == "monitoring"
            assert one.until(event="listened")["listeners"] == []
            assert listener.process.wait(60) == 4
            assert listener.process.stderr is not None
            assert "not listened in to any more" in listener.process.stderr.read()
        with wave.open(str(output)) as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        assert np.abs(samples).max() > 300, "what they heard"
