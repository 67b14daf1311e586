"""A load run fails for each thing that it was made to find, and for having had no load."""

from dataclasses import replace

import pytest

from loadtests.limits import Calls, Limits, Measured, Sample, judge

GOOD = Measured(
    sleepers=200,
    seconds=60.0,
    samples=[Sample(present=196, settled=180, locked=180, fresh=180)] * 60,
    calls={name: Calls(count=100, failed=0, p95_ms=20.0) for name, _ in Limits().p95_ms_max},
    frames_per_s=4.0,
    unacknowledged=0,
)


def with_calls(name: str, calls: Calls) -> Measured:
    return replace(GOOD, calls={**GOOD.calls, name: calls})


def test_a_good_run_holds_every_limit() -> None:
    assert [finding.text for finding in judge(GOOD, Limits()) if not finding.held] == []


@pytest.mark.parametrize(
    ("measured", "blamed"),
    [
        (replace(GOOD, samples=[Sample(100, 100, 100, 100)] * 60), "load: 100 of 200"),
        (replace(GOOD, samples=[]), "load: 0 of 200"),
        (replace(GOOD, samples=GOOD.samples[:30]), "load: 30 s of 60 s"),
        (replace(GOOD, calls={}), "calls: 0 of 0"),
        (with_calls("offset", Calls(100, 50, 20.0)), "calls: 50 of 600"),
        (with_calls("join", Calls(100, 0, 2001.0)), "join: p95 2001 ms"),
        (with_calls("withdraw", Calls(0, 0, 0.0)), "withdraw: p95 0 ms of 0 calls"),
        (replace(GOOD, unacknowledged=1), "withdrawals: 1 not"),
        (replace(GOOD, samples=[Sample(196, 180, 170, 180)] * 60), "clocks locked"),
        (replace(GOOD, samples=[Sample(196, 180, 180, 170)] * 60), "mixes fresh"),
        (replace(GOOD, samples=[Sample(196, 0, 0, 0)] * 60), "clocks locked"),
        (replace(GOOD, frames_per_s=0.5), "mix frames: 0.50"),
    ],
)
def test_a_limit_that_does_not_hold_is_named(measured: Measured, blamed: str) -> None:
    broken = [finding.text for finding in judge(measured, Limits()) if not finding.held]
    assert any(text.startswith(blamed) for text in broken), broken


def test_a_run_may_lose_somebody_for_a_moment_but_not_for_half_its_time() -> None:
    few, many = Sample(20, 15, 15, 15), GOOD.samples[0]
    assert judge(replace(GOOD, samples=[few] * 29 + [many] * 31), Limits())[0].held
    assert not judge(replace(GOOD, samples=[few] * 31 + [many] * 29), Limits())[0].held
