"""A short slice of the simulations: limits hold, runs repeat, and a broken limit is said."""

from typing import Any

import pytest

from sim import __main__ as sim
from sim.peers import RMS_US


@pytest.fixture(scope="module")
def slice_of_all() -> dict[int, dict[str, Any]]:
    return {result["number"]: result for result in sim.run([1, 3, 25, 41, 42, 45, 64, 65], seeds=1)}


def test_every_limit_of_the_slice_holds(slice_of_all: dict[int, dict[str, Any]]) -> None:
    assert set(slice_of_all) == {1, 3, 25, 41, 42, 45, 64, 65}
    assert {number: sim.broken(result) for number, result in slice_of_all.items() if sim.broken(result)} == {}


def test_the_worlds_are_measured_better_than_peers_do(slice_of_all: dict[int, dict[str, Any]]) -> None:
    for number in (1, 3):
        assert slice_of_all[number]["metrics"]["rms_us"] < 0.5 * RMS_US[number]["chrony"]


def test_a_seed_gives_the_same_run_again(slice_of_all: dict[int, dict[str, Any]]) -> None:
    assert sim.run([25], seeds=1) == [slice_of_all[25]]
    assert sim.run([25], seeds=1, first=2) != [slice_of_all[25]]


def test_a_broken_limit_is_said_and_is_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], slice_of_all: dict[int, dict[str, Any]]
) -> None:
    bad = {**slice_of_all[1]}
    bad["limits"] = [{**bad["limits"][0], "kept": False}]
    monkeypatch.setattr(sim, "run", lambda *_: [bad])
    monkeypatch.setattr("sys.argv", ["sim", "1"])
    assert sim.main() == 1
    assert "BROKEN" in (out := capsys.readouterr().out) and "rms_us is" in out
