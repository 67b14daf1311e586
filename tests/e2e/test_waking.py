"""Waking at one's own time, as it is heard: what four sleepers of one night recorded, beside what was to be heard.

Each sings on a channel of their own, so that every recording shows how much of each of the four was in it, and when.
"""

import json
import wave
from collections.abc import Callable
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.e2e.terminal import PATIENCE_S, Terminal, answer, sanctuary, terminal

RATE = 48_000
WAKES_S, ENDS_S = 22.5, 25.0
"""Since the score began: in a short night waking takes a tenth of it."""
PARTS_S = ENDS_S - WAKES_S
"""The last part of a night, in which all voices go."""
COME_S = 7.5
"""Until then the mix comes in, at 3 dB a second."""
EARLIER_S, LATER_S = -10.5, 3.0
FADE_S = 10.0
"""The shortest fade by a schedule offset."""
TURN_S = 6.0
LAG_S = 2.0
"""A busy machine may be late with a fade, and never early."""
WINDOW_S = 0.5
OWN, OTHERS = 0.005, 0.0025
"""Amplitudes: what each hears of themself, and of each of the others where there are places for four."""
NAMES = ("steady", "riser", "early", "late")
CARRIERS_HZ = dict(zip(NAMES, (200, 300, 440, 620), strict=True))
CHANNELS = "\n".join(f'{{ wave = "tone", carrier_hz = {hz}, amplitude_pct = 0.5 }},' for hz in CARRIERS_HZ.values())
SCORE = f"""
end = "01:00:00"
rhythm = 4.0
tone-sets.one = [
{CHANNELS}
]
[[timeline]]
at = 0
play = "one"
transition = "cut"
"""

Curve = list[tuple[float, float]]
"""Seconds of node time since the score began, and how much is heard: 1 is as much as there can be."""


class Bed:
    """One sleeper who records what they hear."""

    def __init__(self, stack: ExitStack, data: Path, circle: str, name: str, *options: str) -> None:
        self.name, self.file = name, data.parent / f"{name}.wav"
        voice = ",".join("1" if name == other else "0" for other in NAMES)
        words = ("join", circle, "--json-lines", "--interval", "0.1", "--control", "--voice", voice, *options)
        self.terminal: Terminal = stack.enter_context(terminal(*words, "--output", str(self.file), data=data))
        self.moments: list[dict[str, Any]] = []

    def until(self, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Reads on until a line fits."""
        while True:
            said = self.terminal.line()
            if said["event"] == "moment":
                self.moments.append(said)
            if fits(said):
                return said

    def heard(self, epoch_ns: int) -> dict[str, Curve]:
        """How much of whom was in the recording, after it has come in."""
        with wave.open(str(self.file)) as file:
            sound = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)[:, 0] / 32768
        sure = next(moment for moment in self.moments if moment["lock_state"] == "locked")
        began_s = (sure["node_ns"] + self.moments[0]["raw_ns"] - sure["raw_ns"] - epoch_ns) / 1e9
        size = round(WINDOW_S * RATE)
        window = np.hanning(size)
        turns = {name: np.exp(-2j * np.pi * hz * np.arange(size) / RATE) for name, hz in CARRIERS_HZ.items()}
        found: dict[str, Curve] = {name: [] for name in NAMES}
        for start in range(0, len(sound) - size, size // 2):
            at_s = began_s + (start + size / 2) / RATE
            part = sound[start : start + size] * window
            for name in NAMES:
                amplitude = 2 * abs(part @ turns[name]) / window.sum()
                found[name].append((at_s, float(amplitude / (OWN if name == self.name else OTHERS))))
        return {name: [(t, level) for t, level in curve if t > COME_S] for name, curve in found.items()}


def falls(curve: Curve, from_s: float, within_s: float) -> None:
    """Whole before ``from_s``, then falling softly to nothing within ``within_s``."""
    for t, level in curve:
        whole = 1 - (t - from_s) / within_s
        soonest, latest = (min(max(part, 0.0), 1.0) for part in (whole, whole + LAG_S / within_s))
        assert soonest - 0.1 <= level <= latest + 0.1, f"at {t:.2f} s: {level:.3f}, to fall from {from_s:.2f} s on"
    steps = [before - after for (_, before), (_, after) in pairwise(curve)]
    assert max(steps) < 0.45, "nothing jumps"
    assert min(steps) > -0.1


def before(curve: Curve, end_s: float) -> Curve:
    return [(t, level) for t, level in curve if t < end_s]


def test_who_wakes_early_or_late_is_heard_and_hears_so_and_nobody_else_is_changed(tmp_path: Path) -> None:
    (tmp_path / "night.toml").write_text(SCORE)
    data = tmp_path / "data"
    with ExitStack() as stack:
        stack.enter_context(sanctuary(data))
        create = ("circle", "create", "--score", str(tmp_path / "night.toml"), "--capacity", "4")
        circle = answer(*create, "--minutes", str(ENDS_S / 60), data=data)["circle_id"]
        offsets = dict.fromkeys(NAMES, 0.0) | {"early": EARLIER_S / 3600, "late": LATER_S / 3600}
        beds = {name: Bed(stack, data, circle, name, "--schedule-offset", str(offsets[name])) for name in NAMES}
        riser_id = beds["riser"].until(lambda said: said["event"] == "joined")["sleeper_id"]
        for bed in beds.values():
            bed.until(lambda said: said.get("lock_state") == "locked")
        epoch_ns = answer("circle", "begin", circle, data=data)["epoch_ns"]
        beds["riser"].until(lambda said: said["node_ns"] > epoch_ns + (COME_S + 1) * 1e9)
        beds["riser"].terminal.tell(f"wake {TURN_S / 60}")
        for bed in beds.values():
            bed.until(lambda said: said["event"] == "end")
            assert bed.terminal.process.wait(PATIENCE_S) == 0
        answer("me", "export", str(tmp_path / "mine"), "--sleeper", riser_id, data=data)
        events = [json.loads(line)["event"] for line in (tmp_path / "mine" / "events.jsonl").read_text().splitlines()]
    (turned_ns,) = (event["t_ns"] for event in events if event["type"] == "AwakeSet")
    turned_s = (turned_ns - epoch_ns) / 1e9
    assert turned_s + TURN_S + LAG_S < ENDS_S, "this machine was too busy to show anything"
    steady, riser, early, late = (beds[name].heard(epoch_ns) for name in NAMES)
    # Until all voices go nothing changes for anybody but through those who wake, and those fade.
    for name, mix in (("steady", steady), ("late", late)):
        for other in ("steady", "late"):
            for t, level in before(mix[other], WAKES_S - WINDOW_S):
                assert level == pytest.approx(1, abs=0.05), f"{other} as {name} hears them at {t:.2f} s"
        falls(before(mix["riser"], ENDS_S), turned_s, TURN_S)
        falls(before(mix["early"], ENDS_S), WAKES_S + EARLIER_S, FADE_S)
    # Who wakes hears all of it go, the others with themself.
    for other in ("steady", "riser", "late"):
        falls(before(riser[other], ENDS_S), turned_s, TURN_S)
    for other in ("steady", "early", "late"):
        falls(before(early[other], ENDS_S), WAKES_S + EARLIER_S, FADE_S)
    # The circle's own end, and that of who sleeps on alone.
    assert next(level for t, level in steady["steady"] if t > ENDS_S + 1) < 0.9
    falls(late["late"], WAKES_S + LATER_S, FADE_S)
    falls(late["steady"], WAKES_S, PARTS_S)
    falls(steady["late"], WAKES_S, PARTS_S)


def test_who_sleeps_on_sounds_again_after_a_silent_circle_has_closed(tmp_path: Path) -> None:
    (tmp_path / "night.toml").write_text(SCORE)
    data = tmp_path / "data"
    with ExitStack() as stack:
        stack.enter_context(sanctuary(data))
        create = ("circle", "create", "--score", str(tmp_path / "night.toml"), "--minutes", "0.1")
        circle = answer(*create, data=data)["circle_id"]
        late = Bed(stack, data, circle, "late", "--schedule-offset", "0.002")
        late.until(lambda said: said.get("lock_state") == "locked")
        answer("steward", "silence", circle, data=data)
        late.until(lambda said: said.get("room_silent") is True)
        answer("circle", "begin", circle, data=data)
        late.until(lambda said: said.get("circle_state") == "closed")
        late.until(lambda said: said["event"] == "end" or said.get("level_dbfs", -120) > -80)
        assert not late.moments[-1]["room_silent"]
        assert late.moments[-1]["level_dbfs"] > -80
