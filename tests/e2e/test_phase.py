"""What the ears get: the interaural phase of rendered sound is n·(θ + φ), measured on the PCM."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from harmonia._core import Node, Platform, Rhythm, Score

RATE = 48_000
BEAT_HZ = 4.0
CARRIERS_HZ = {1: 180.0, 2: 310.0, 3: 523.0}
ANN, BEN, CIRCLE = 11, 12, 1
LOCKED = 3
PATIENCE_ROUNDS = 600

CHANNELS = "\n".join(
    f'  {{ wave = "binaural", carrier_hz = {hz}, locked = {n}, amplitude_pct = 20 }},' for n, hz in CARRIERS_HZ.items()
)
SCORE = f"""
title = "Three multiples of one rhythm"
rhythm = {BEAT_HZ}

[tone-sets]
night = [
{CHANNELS}
]

[[timeline]]
at = 0
play = "night"
"""


@contextmanager
def two_sleepers(folder: Path, ann: dict[str, int]) -> Iterator[tuple[Node, Platform, Platform]]:
    """A node with Ann, whose clock is as wrong as told, and Ben, both unmuted."""
    node = Node("127.0.0.1", 0, str(folder / "clock"))
    node.add_circle(CIRCLE, len(CARRIERS_HZ), 0.25)
    platforms = []
    for sleeper, wrong in ((ANN, ann), (BEN, {})):
        node.add_sleeper(CIRCLE, sleeper)
        node.set_voice(sleeper, [1.0] * len(CARRIERS_HZ))
        node.set_plan(sleeper, voice=True, hearing=True, recording=False)
        assert node.release(sleeper, b"")
        secret = bytes([sleeper]) * 32
        node.attach(sleeper, sleeper, secret, False)
        platform = Platform(sample_rate=RATE, seed=sleeper, **wrong)
        platform.connect("127.0.0.1", node.port, sleeper, secret)
        platforms.append(platform)
    try:
        yield node, platforms[0], platforms[1]
    finally:
        for platform in platforms:
            platform.close()
        node.close()


def wait_until_locked(node: Node, platform: Platform) -> None:
    """Waits on the node's event queue, on which nothing comes: a wait without a fixed sleep."""
    for _ in range(PATIENCE_ROUNDS):
        if platform.clock().lock_state == LOCKED:
            return
        node.next_event(0.1)
    pytest.fail("the platform never locked")


def demodulate(ear: NDArray[np.float32], hz: float, t: NDArray[np.float64]) -> complex:
    """The complex amplitude of one sine in a window, the other channels a multiple of the window's bin away."""
    window = np.hanning(len(ear))
    return complex(np.sum(ear * window * np.exp(-2j * np.pi * hz * t)) / np.sum(window))


@pytest.mark.parametrize("offset", [0.0, 0.25, -0.4])
@pytest.mark.parametrize("voice", [[1.0, 1.0, 1.0], [0.6 + 0.5j, -0.9j, -0.3 - 0.7j]], ids=["real", "complex"])
def test_the_interaural_phase_is_the_rhythms_times_n(
    tmp_path: Path, voice: list[complex], offset: float, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = {"clock_offset_ns": 400_000_000, "clock_drift_ppb": 90_000}
    with two_sleepers(tmp_path, wrong) as (node, ann, _ben):
        wait_until_locked(node, ann)
        epoch = node.node_time_ns()
        rhythm = Rhythm.constant(epoch, BEAT_HZ, phase=1 << 61)
        node.set_rhythm(CIRCLE, rhythm)
        ann.set_rhythm(rhythm)
        ann.set_score(Score.parse(SCORE, "phase.toml", "toml"), epoch)
        ann.set_voice(voice)
        bits = ann.set_offset(offset)
        ann.render(20 * RATE)  # the slow coming-in, and the glide to the offset
        worst = 0.0
        for _ in range(5):
            begins = ann.next_sample()
            assert begins is not None
            block = ann.render(RATE // 2)
            ends = ann.next_sample()
            assert ends is not None
            # Node time at each sample as the platform's own clock has it; it is piecewise linear and hardly bent.
            node_ns = np.linspace(0, ends[1] - begins[1], len(block), endpoint=False)
            middle = begins[1] + round((ends[1] - begins[1]) / 2)
            t = (node_ns - (middle - begins[1])) / 1e9
            theta = rhythm.phase_at(middle) / 2**64 + bits / 2**64
            for n, carrier in CARRIERS_HZ.items():
                low = demodulate(block[:, 0], carrier - n * BEAT_HZ / 2, t)
                high = demodulate(block[:, 1], carrier + n * BEAT_HZ / 2, t)
                assert abs(low) > 0.01, "the channel sounds"
                measured = np.angle(high / low) / (2 * np.pi)
                error = (measured - n * theta + 0.5) % 1.0 - 0.5
                worst = max(worst, abs(error))
        reading = ann.clock()
        raw, at, rate = node.anchor()
        truth = at + (reading.raw_ns - raw) * (1 + rate * 1e-9)
        with capsys.disabled():
            print(
                "\n"
                + json.dumps(
                    {
                        "offset": offset,
                        "worst_error_turns": round(worst, 6),
                        "clock_error_us": round((reading.node_ns - truth) / 1e3, 1),
                        "clock_bound_us": round(
                            max(reading.node_ns - reading.earliest_ns, reading.latest_ns - reading.node_ns) / 1e3, 1
                        ),
                    }
                ),
                end=" ",
            )
        assert worst < 0.001
