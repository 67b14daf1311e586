"""What a load has to show, and the judgement on it. Pure: measurements in, sentences out.

A load test that never reached its load says nothing about it, so that is the first limit of all. The others are what a
sleeper would notice: a call that fails or takes long, a clock that is not locked, a field that does not arrive, and,
before everything else, an opt-out that nobody acknowledged.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SETTLING_S = 10.0
"""A platform's clock is expected to be locked this long after it attached."""


@dataclass(frozen=True)
class Limits:
    """The least or the most that passes. Latencies are those of the whole call, at the client, in milliseconds."""

    present_share_min: float = 0.95
    """Of the sleepers asked for: those who hold their stream, in the median second at full load."""
    error_share_max: float = 0.002
    """Of all calls. Withdrawals have no share: not one may go unacknowledged."""
    locked_share_min: float = 0.98
    """Of the platforms that had SETTLING_S to lock, averaged over the seconds at full load."""
    fresh_share_min: float = 0.98
    """Of the same platforms: those whose newest mix frame is younger than the second after which voices fade out."""
    frames_per_s_min: float = 1.0
    """Mix frames a second that a platform received, averaged over platforms."""
    p95_ms_max: tuple[tuple[str, float], ...] = (
        ("join", 2000.0),
        ("attach", 1000.0),
        ("offset", 500.0),
        ("withdraw", 500.0),
        ("withdraw sealed", 1000.0),
        ("grant", 500.0),
    )


@dataclass(frozen=True)
class Sample:
    """The population in one second at full load."""

    present: int
    settled: int
    locked: int
    fresh: int


@dataclass(frozen=True)
class Calls:
    """All calls of one name."""

    count: int
    failed: int
    p95_ms: float


@dataclass(frozen=True)
class Measured:
    """What a run measured."""

    sleepers: int
    seconds: float
    samples: Sequence[Sample]
    calls: Mapping[str, Calls]
    frames_per_s: float
    unacknowledged: int


@dataclass(frozen=True)
class Finding:
    """One limit, what was measured against it, and whether it held."""

    text: str
    held: bool


def judge(measured: Measured, limits: Limits) -> list[Finding]:
    """Every limit in turn, the load itself first."""
    samples = measured.samples
    present = sorted(sample.present for sample in samples)[len(samples) // 2] if samples else 0
    needed = limits.present_share_min * measured.sleepers
    findings = [
        Finding(f"load: {present} of {measured.sleepers} sleepers present, at least {needed:.0f}", present >= needed),
        # A sample a second; a machine that could not even take those was too busy to measure anything.
        Finding(
            f"load: {len(samples)} s of {measured.seconds:.0f} s measured at full load, at least 80 %",
            len(samples) >= 0.8 * measured.seconds,
        ),
    ]
    count = sum(calls.count for calls in measured.calls.values())
    failed = sum(calls.failed for calls in measured.calls.values())
    allowed = limits.error_share_max
    findings.append(
        Finding(f"calls: {failed} of {count} failed, at most {allowed:.1%}", count > 0 and failed <= allowed * count)
    )
    for name, most_ms in limits.p95_ms_max:
        calls = measured.calls.get(name, Calls(0, 0, 0.0))
        text = f"{name}: p95 {calls.p95_ms:.0f} ms of {calls.count} calls, at most {most_ms:.0f} ms"
        findings.append(Finding(text, calls.count > 0 and calls.p95_ms <= most_ms))
    findings.append(
        Finding(f"withdrawals: {measured.unacknowledged} not acknowledged, at most 0", measured.unacknowledged == 0)
    )
    settled = sum(sample.settled for sample in samples)
    for name, number, least in (
        ("clocks locked", sum(sample.locked for sample in samples), limits.locked_share_min),
        ("mixes fresh", sum(sample.fresh for sample in samples), limits.fresh_share_min),
    ):
        share = number / settled if settled else 0.0
        findings.append(Finding(f"{name}: {share:.1%} of settled platforms, at least {least:.0%}", share >= least))
    findings.append(
        Finding(
            f"mix frames: {measured.frames_per_s:.2f} a second and platform, at least {limits.frames_per_s_min:.2f}",
            measured.frames_per_s >= limits.frames_per_s_min,
        )
    )
    return findings
