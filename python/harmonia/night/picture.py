"""The night in one picture: clock errors inside their certified bounds, phases against the rhythm, levels.

Times are true node times in seconds since the score began.
"""

import math
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("agg")

from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter

from harmonia import _core
from harmonia.night.diary import Diary, percentile, phase_difference_turns

INK, MUTED, PAPER, PANEL, GRID = "#e8e6f0", "#a5a1b8", "#12101c", "#1a1728", "#2d2942"
COLOURS = ("#7cc7ff", "#ffb86b", "#ff7eb6", "#8ee6a8", "#c9a7ff", "#f5e663", "#6fe3e1", "#ff8f7a", "#a8b5ff", "#d0e87a")
STYLE: Any = {
    "figure.facecolor": PAPER,
    "axes.facecolor": PANEL,
    "axes.edgecolor": GRID,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "grid.color": GRID,
    "font.size": 10,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
}
"""How every picture looks."""
LABELLED_MAX = 12
LEVEL_DBFS_MIN = -90.0


def colour(number: int) -> str:
    """The colour of the sleeper of that number, the same in the picture and on the page."""
    return COLOURS[number % len(COLOURS)]


def draw(path: Path, diaries: list[Diary], rhythm: _core.Rhythm | None, epoch_ns: int, title: str) -> None:
    """Writes the picture as PNG."""
    with plt.rc_context(STYLE):
        figure, (clocks, phases, levels) = plt.subplots(
            3, 1, figsize=(12, 12), sharex=True, gridspec_kw={"height_ratios": [5, 4, 3]}, layout="constrained"
        )
        figure.suptitle(title, fontsize=15, fontweight="bold", x=0.01, ha="left")
        for number, diary in enumerate(diaries):
            times_s = [(sight.node_ns - epoch_ns) / 1e9 for sight in diary.sights]
            label = diary.name if number < LABELLED_MAX else None
            _clock(clocks, diary, times_s, colour(number), label, len(diaries))
            if rhythm is not None:
                _phase(phases, diary, times_s, colour(number), rhythm, epoch_ns)
            _level(levels, diary, times_s, colour(number))
        _finish(clocks, phases, levels, diaries, epoch_ns)
        figure.savefig(path, dpi=110)
        plt.close(figure)


def _clock(axes: Any, diary: Diary, times_s: list[float], ink: str, label: str | None, crowd: int) -> None:
    bounds_us = [sight.bound_ns / 1e3 for sight in diary.sights]
    faint = min(1.0, 6 / crowd)
    axes.fill_between(times_s, bounds_us, [-b for b in bounds_us], color=ink, alpha=0.06 * faint, linewidth=0)
    for sign in (1, -1):
        axes.plot(times_s, [sign * b for b in bounds_us], color=ink, linewidth=0.6, alpha=0.45 * faint)
    axes.plot(times_s, [sight.error_ns / 1e3 for sight in diary.sights], color=ink, linewidth=1.5, label=label)


def _phase(axes: Any, diary: Diary, times_s: list[float], ink: str, rhythm: _core.Rhythm, epoch_ns: int) -> None:
    differences = [phase_difference_turns(sight, rhythm) for sight in diary.sights]
    heard = [d if s.sounding and not s.muted else math.nan for s, d in zip(diary.sights, differences, strict=True)]
    axes.plot(times_s, heard, color=ink, linewidth=2.2 if diary.offset_set_ns or diary.opted_out_ns else 1.2)
    if diary.offset_set_ns is not None and heard:
        at_s = (diary.offset_set_ns - epoch_ns) / 1e9
        axes.annotate(
            f"{diary.name} sets a quarter turn",
            (at_s, 0.25),
            xytext=(-10, 0),
            textcoords="offset points",
            color=ink,
            ha="right",
            va="center",
            fontweight="bold",
        )
    if diary.opted_out_ns is not None:
        at_s = (diary.opted_out_ns - epoch_ns) / 1e9
        axes.plot([at_s], [0], marker="X", markersize=12, color=ink, markeredgecolor=PAPER, zorder=5)
        axes.annotate(
            f"{diary.name} opts out",
            (at_s, 0),
            xytext=(0, -22),
            textcoords="offset points",
            color=ink,
            ha="center",
            fontweight="bold",
        )


def _level(axes: Any, diary: Diary, times_s: list[float], ink: str) -> None:
    axes.plot(times_s, [max(sight.level_dbfs, LEVEL_DBFS_MIN) for sight in diary.sights], color=ink, linewidth=1.3)


def _limit_us(diaries: list[Diary]) -> float:
    """As much as shows every error that counts and nearly every bound; the first guesses of all may be cut off."""
    settled = [sight for diary in diaries for sight in diary.settled]
    worst_us = max((abs(sight.error_ns) / 1e3 for sight in settled), default=1.0)
    bound_us = percentile([sight.bound_ns / 1e3 for sight in settled], 98)
    return 1.15 * max(worst_us, 1.0 if math.isnan(bound_us) else bound_us)


def _finish(clocks: Any, phases: Any, levels: Any, diaries: list[Diary], epoch_ns: int) -> None:
    for axes in (clocks, phases, levels):
        axes.grid(visible=True, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        for diary in diaries:
            if diary.opted_out_ns is not None:
                axes.axvline((diary.opted_out_ns - epoch_ns) / 1e9, color=MUTED, linewidth=0.8, linestyle=":")
    clocks.set_title("Clock error of every sleeper (line) within the bound that their platform certifies (pale band)")
    clocks.set_ylabel("µs from the sanctuary's true time")
    limit_us = _limit_us(diaries)
    clocks.set_ylim(-limit_us, limit_us)
    clocks.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:+,.0f}" if value else "0"))
    if len(diaries) <= LABELLED_MAX:
        clocks.legend(loc="upper right", ncols=6, framealpha=0.6, facecolor=PANEL, edgecolor=GRID, labelcolor=INK)
    phases.set_title("Each beat against the circle's rhythm")
    phases.set_ylabel("turns")
    phases.set_ylim(-0.3, 0.35)
    phases.set_yticks([-0.25, 0, 0.25], ["−¼", "0", "+¼"])
    levels.set_title("Level of each mix")
    levels.set_ylabel("dBFS")
    levels.set_ylim(LEVEL_DBFS_MIN - 3, 0)
    levels.set_xlabel("seconds since the score began")
