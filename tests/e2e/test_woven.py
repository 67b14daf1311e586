"""A woven circle of real processes: who lets it, locks as the law says; who does not, is moved by nothing."""

import itertools
import math
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.terminal import Terminal, answer, harmonia, sanctuary, terminal

SCORE = """
end = "01:00:00"
rhythm = [{ at = 0, hz = 4.0 }]
[tone-sets]
one = [{ wave = "binaural", carrier_hz = 110, locked = 1, amplitude_pct = 20 }]
[[timeline]]
at = 0
play = "one"
"""
K = 2.0
OWN_HZ = (3.98, 4.0, 4.05)
FREE_HZ = 4.2
CATCH_UP_S = 0.3
"""What a platform did not know of is made good with this time constant."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "night.toml").write_text(SCORE)
    return tmp_path / "data"


def moments(one: Terminal, count: int, after_ns: int = 0) -> Iterator[dict[str, Any]]:
    """The next moments from a node time on in which the platform's clock can be believed."""
    while count:
        line = one.line()
        if line.get("lock_state") in ("locked", "holdover") and line["node_ns"] >= after_ns:
            count -= 1
            yield line


def turned(one: Terminal, hz: float, after_ns: int) -> float:
    """How much farther than ``hz`` the sleeper turned over the next moments, at most, in turns."""
    first, *rest = moments(one, 15, after_ns)
    return max(abs(beyond(first, moment, hz)) for moment in rest)


def beyond(first: dict[str, Any], moment: dict[str, Any], hz: float) -> float:
    """How much farther than ``hz`` the phase went from one moment to another, to the nearest turn."""
    way: float = moment["phase_turns"] - first["phase_turns"] - hz * (moment["node_ns"] - first["node_ns"]) / 1e9
    return way - round(way)


def predicted(own_hz: tuple[float, ...]) -> list[float]:
    """The phases about the mean, in turns, of sleepers who are all coupled wholly: sin(θ - Ψ) = (ω - Ω)/(K·R)."""
    rad_s = [2 * math.pi * hz for hz in own_hz]
    mean, r = math.fsum(rad_s) / len(rad_s), 1.0
    for _ in range(200):
        angles = [math.asin((w - mean) / (K * r)) for w in rad_s]
        r = math.fsum(map(math.cos, angles)) / len(angles)
    return [angle / (2 * math.pi) for angle in angles]


def test_who_lets_it_locks_and_who_does_not_is_moved_by_nothing(data: Path) -> None:
    with ExitStack() as stack:
        daemon, place = stack.enter_context(sanctuary(data))
        score = str(data.parent / "night.toml")
        woven = ("--mode", "woven", "--strength", str(K))
        circle = answer("circle", "create", "--score", score, "--gather", "0", *woven, data=data)["circle_id"]
        join = ("join", circle, "--json-lines", "--interval", "0.1", "--control")
        bound = [stack.enter_context(terminal(*join, "--grant", "pull", data=data)) for _ in OWN_HZ]
        free = stack.enter_context(terminal(*join, data=data))
        names = [one.until(event="joined")["sleeper_id"] for one in (*bound, free)]
        for one in (*bound, free):
            one.until(lock_state="locked", circle_state="entraining")
        for one, name, hz in zip((*bound, free), names, (*OWN_HZ, FREE_HZ), strict=True):
            assert harmonia("rhythm", str(hz), "--ramp", "0.001", "--sleeper", name, data=data).returncode == 0
            one.tell("coupling 1")

        def view() -> dict[str, Any]:
            seen: dict[str, Any] = answer("circle", "show", circle, data=data)
            return seen

        # The one who did not allow pull asked for a coupling, and gets none: the purpose is missing.
        locked = math.fsum(OWN_HZ) / len(OWN_HZ)
        pulls = [abs(hz - locked) / hz for hz in OWN_HZ]
        for _ in range(100):
            seen = view()
            actual = seen["woven"]["actual"]
            if actual is not None and actual["mean_pull"] == pytest.approx(sum(pulls) / 3, rel=0.01):
                break
        else:
            pytest.fail(f"never locked: {seen}")
        rates = {one["sleeper_id"]: (one["own_hz"], one["achieved_hz"]) for one in seen["visible"]}
        assert rates[names[3]] == (pytest.approx(FREE_HZ, abs=1e-12),) * 2

        expected = predicted(OWN_HZ)
        r = math.fsum(math.cos(2 * math.pi * angle) for angle in expected) / 3
        assert seen["woven"]["sleepers"] == 3
        assert seen["woven"]["unity"] == pytest.approx(r, abs=2e-3)
        assert seen["woven"]["unity_by_chance"] == pytest.approx(math.sqrt(math.pi) / (2 * math.sqrt(3)))
        forced = sum(abs(4.0 - hz) / hz for hz in OWN_HZ) / 3
        standard = {"unity": 1.0, "mean_pull": pytest.approx(forced), "individuality": pytest.approx(2 / 3)}
        assert seen["woven"]["standard"] == standard

        # What each platform itself says of its phase, brought to one instant.
        now_ns = seen["node_time_ns"]
        at = [next(moments(one, 1, now_ns)) for one in bound]
        differences = [beyond(at[0], moment, locked) for moment in at]
        for difference, angle in zip(differences, expected, strict=True):
            assert difference == pytest.approx(angle - expected[0], abs=5e-3)
        assert turned(free, FREE_HZ, now_ns) < 2e-3

        # The daemon dies and comes back: nobody's phase jumps, and the circle is as it was.
        before = [next(moments(one, 1)) for one in (*bound, free)]
        daemon.process.send_signal(signal.SIGKILL)
        daemon.process.wait()
        ports = ("--port", str(place["grpc_port"]), "--udp-port", str(place["udp_port"]))
        stack.enter_context(sanctuary(data, *ports))
        trails: list[list[dict[str, Any]]] = [[moment] for moment in before]
        for one, trail in zip((*bound, free), trails, strict=True):
            while True:
                trail.extend(moments(one, 1))
                if trail[-1]["connected"] and any(not moment["connected"] for moment in trail):
                    break
            trail.extend(moments(one, 10))
        for trail, own, hz in zip(trails, (*OWN_HZ, FREE_HZ), (*(locked,) * 3, FREE_HZ), strict=True):
            for a, b in itertools.pairwise(trail):
                # Without frames they go on at their own frequency, and what that made of it is made good gradually.
                step_s, alone_s = ((b["node_ns"] - since["node_ns"]) / 1e9 for since in (a, trail[0]))
                most = abs(own - hz) * (step_s - alone_s * math.expm1(-step_s / CATCH_UP_S)) + 2e-3
                assert abs(beyond(a, b, hz)) <= most, (own, step_s, alone_s)

        # One withdraws: on their own from then on, and the other two find their own middle.
        out = answer("optout", "--sleeper", names[2], "--purpose", "pull", data=data)
        assert out["withdrawn"] == "pull"
        seen = view()
        assert seen["woven"]["sleepers"] == 2
        # A frame that was under way may still say otherwise; the next one, 200 ms later, does not.
        assert turned(bound[2], OWN_HZ[2], seen["node_time_ns"] + 500_000_000) < 2e-3
