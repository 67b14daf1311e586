"""What was seen in a night, and what follows from it. Pure: lines of the sleepers' logs in, numbers out."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from harmonia import _core
from harmonia.client import RhythmView
from harmonia.client.views import TURN
from harmonia.night.plan import Planned
from harmonia.night.truth import NodeTruth

SETTLE_NS = 5_000_000_000
"""From five seconds after the first exchange on, errors count."""
SOUNDING = ("entraining", "dreaming", "waking")
"""The circle's states in which the score plays."""


@dataclass(frozen=True, slots=True)
class Sight:
    """One moment of one sleeper, beside the truth."""

    node_ns: int
    """True node time."""
    error_ns: int
    """The platform's idea of node time minus the truth."""
    bound_ns: int
    uncertainty_ns: int
    lock_state: str
    phase_turns: float
    offset_turns: float
    level_dbfs: float
    muted: bool
    sounding: bool
    """The score plays, so that there is a phase to be compared."""


@dataclass(slots=True)
class Diary:
    """One sleeper's night."""

    planned: Planned | None
    name: str
    sleeper_id: str = ""
    sights: list[Sight] = field(default_factory=list)
    offset_set_ns: int | None = None
    opted_out_ns: int | None = None

    def note(self, line: dict[str, Any], truth: NodeTruth) -> None:
        """Takes a line of the sleeper's log."""
        match line.get("event"):
            case "joined":
                self.sleeper_id = line["sleeper_id"]
            case "moment" if line["lock_state"] != "unsynchronised":
                node_ns = truth.node_at(line["raw_ns"])
                self.sights.append(
                    Sight(
                        node_ns,
                        line["node_ns"] - node_ns,
                        line["bound_ns"],
                        line["uncertainty_ns"],
                        line["lock_state"],
                        line["phase_turns"],
                        line["offset_turns"],
                        line["level_dbfs"],
                        line["muted"],
                        line["circle_state"] in SOUNDING and line["lock_state"] != "acquiring",
                    )
                )

    @property
    def last(self) -> Sight | None:
        """The newest moment."""
        return self.sights[-1] if self.sights else None

    @property
    def settled(self) -> list[Sight]:
        """The moments that count: from five seconds after the first exchange on."""
        if not self.sights:
            return []
        first_ns = self.sights[0].node_ns
        return [sight for sight in self.sights if sight.node_ns - first_ns >= SETTLE_NS]


def difference_turns(a: float, b: float) -> float:
    """``a`` − ``b`` by the shortest way round, in [-0.5, 0.5)."""
    return (a - b + 0.5) % 1.0 - 0.5


def phase_difference_turns(sight: Sight, rhythm: _core.Rhythm) -> float:
    """How far the sleeper's beat is from the circle's rhythm at that true instant."""
    return difference_turns(sight.phase_turns, rhythm.phase_at(sight.node_ns) / TURN)


def make_rhythm(view: RhythmView) -> _core.Rhythm:
    """The circle's rhythm, to be evaluated."""
    return _core.Rhythm(view.segments)


def percentile(values: Iterable[float], percent: float) -> float:
    """The smallest value that at least ``percent`` per cent do not exceed; NaN of nothing."""
    ordered = sorted(values)
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def number(value: float, digits: int = 3) -> float | None:
    """``value`` rounded for people and JSON; None for NaN."""
    return None if math.isnan(value) else round(value, digits)


def sleeper_summary(diary: Diary, rhythm: _core.Rhythm | None) -> dict[str, Any]:
    """One sleeper's night in numbers."""
    settled = diary.settled
    errors_us = [abs(sight.error_ns) / 1e3 for sight in settled]
    sounding = [sight for sight in settled if sight.sounding and not sight.muted]
    deviations = []
    if rhythm is not None:
        # A glide to another offset is not an error: what counts is θ + φ against the φ in use.
        deviations = [
            abs(difference_turns(phase_difference_turns(sight, rhythm), sight.offset_turns)) for sight in sounding
        ]
    planned = diary.planned
    return {
        "name": diary.name,
        "sleeper_id": diary.sleeper_id,
        "clock_offset_s": None if planned is None else round(planned.clock_offset_s, 6),
        "clock_drift_ppm": None if planned is None else round(planned.clock_drift_ppm, 3),
        "grants_recording": planned is None or planned.grants_recording,
        "moments": len(diary.sights),
        "error_us_p50": number(percentile(errors_us, 50)),
        "error_us_p95": number(percentile(errors_us, 95)),
        "error_us_max": number(max(errors_us, default=math.nan)),
        "bound_us_p50": number(percentile([sight.bound_ns / 1e3 for sight in settled], 50)),
        "within_bound": all(abs(sight.error_ns) <= sight.bound_ns for sight in diary.sights),
        "phase_error_turns_p95": number(percentile(deviations, 95), 6),
        "offset_turns": None if diary.last is None else round(diary.last.offset_turns, 6),
        "offset_set_ns": diary.offset_set_ns,
        "opted_out_ns": diary.opted_out_ns,
        "level_dbfs_last": None if diary.last is None else diary.last.level_dbfs,
    }


def night_summary(diaries: Sequence[Diary], rhythm: _core.Rhythm | None, facts: dict[str, Any]) -> dict[str, Any]:
    """The whole night in numbers; ``facts`` come first."""
    people = [sleeper_summary(diary, rhythm) for diary in diaries]
    errors_us = [abs(sight.error_ns) / 1e3 for diary in diaries for sight in diary.settled]
    return {
        **facts,
        "error_us_p50": number(percentile(errors_us, 50)),
        "error_us_p95": number(percentile(errors_us, 95)),
        "error_us_max": number(max(errors_us, default=math.nan)),
        "every_error_within_its_bound": bool(errors_us) and all(person["within_bound"] for person in people),
        "sleepers": people,
    }
