"""Why a live clock states larger limits than a replay: what happens to bounds where a sanctuary corrects itself.

``pytest tests/client/test_stated.py -s`` prints the table of docs/decisions/0014-live-limits.md.
"""

import json
import math
import random
import statistics
from dataclasses import dataclass

import pytest

from harmonia import _core
from harmonia.cli.common import MAX_DRIFT_PPM, MAX_WANDER

REPLAY = (200_000, 3e-8)
LIVE = (round(MAX_DRIFT_PPM * 1e3), MAX_WANDER)
CORRECTING = 5e-8
"""How fast a sanctuary changes its rate while platforms follow it, 1/s (steering::GENTLE)."""


def swing_ns(t_s: float, slope: float, period_s: float) -> float:
    """The offset of a clock whose rate goes up and down by ``slope`` 1/s."""
    half_s = period_s / 2
    half, within_s = divmod(t_s, half_s)
    swung = slope * within_s * (within_s - half_s) / 2 * 1e9
    return swung if half % 2 == 0 else -swung


@dataclass
class Kept:
    """What became of a replay's bounds."""

    broken: int
    contradictions: int
    median_us: float
    first_us: float


def keep(limits: tuple[int, float], *, correcting: float, crystal: float, drift_ppm: float = 0.0) -> Kept:
    """Half an hour, one exchange a second, 20 µs each way and exponential jitter of 30 µs; three seeds."""
    broken = contradictions = 0
    bounds, first = [], []

    def truth_ns(t_s: float) -> float:
        return swing_ns(t_s, correcting, 240) + swing_ns(t_s, crystal, 900) + drift_ppm * 1e3 * t_s

    for seed in (1, 2, 3):
        rng, rows, truths = random.Random(seed), ["t1,t2,t3,t4"], []
        for t1_s in range(1800):
            t2_s = t1_s + 20e-6 + rng.expovariate(1 / 30e-6)
            t4_s = t2_s + 20e-6 + rng.expovariate(1 / 30e-6)
            node_ns = t2_s * 1e9 + truth_ns(t2_s)
            # Whole nanoseconds, rounded so that causality stays.
            rows.append(f"{t1_s * 10**9},{math.floor(node_ns)},{math.ceil(node_ns)},{math.ceil(t4_s * 1e9)}")
            truths.append(truth_ns(t4_s))
        text, summary = _core.replay_trace("\n".join(rows) + "\n", "swing", *limits)
        contradictions += json.loads(summary)["contradictions"]
        replay = [tuple(map(int, line.split(","))) for line in text.splitlines()[1:]]
        for (_, offset_ns, bound_ns, *_), true_ns in list(zip(replay, truths, strict=True))[2:]:
            broken += abs(offset_ns - true_ns) > bound_ns + 2
            bounds.append(bound_ns)
        first.append(replay[1][2])
    return Kept(broken, contradictions, statistics.median(bounds) / 1e3, statistics.median(first) / 1e3)


WORLDS = {
    "crystals alone, the room warms by 1 K a minute": {"correcting": 0.0, "crystal": 1.7e-8},
    "the sanctuary corrects itself": {"correcting": CORRECTING, "crystal": 1.7e-8},
    "and the room warms by 3 K a minute": {"correcting": CORRECTING, "crystal": 5e-8},
    "a crystal 180 ppm off, the sanctuary corrects itself by 50 ppm": {
        "correcting": 0.0,
        "crystal": 1.7e-8,
        "drift_ppm": 230.0,
    },
}


@pytest.mark.parametrize("name", WORLDS)
def test_live_limits_hold_where_a_replays_do_not(name: str) -> None:
    live, replay = keep(LIVE, **WORLDS[name]), keep(REPLAY, **WORLDS[name])
    for limits, kept in ((LIVE, live), (REPLAY, replay)):
        print(
            f"{name}: {limits[0] / 1e3:g} ppm, {limits[1]:g}/s: {kept.broken} of 5394 bounds broken, "
            f"{kept.contradictions} contradictions, median {kept.median_us:.1f} µs, "
            f"second exchange {kept.first_us:.0f} µs"
        )
    assert (live.broken, live.contradictions) == (0, 0)
    if name.startswith("crystals"):
        assert (replay.broken, replay.contradictions) == (0, 0)
        # What the larger limits cost where the smaller ones were enough.
        assert replay.median_us < live.median_us < 1.25 * replay.median_us
    else:
        assert replay.contradictions > 0
