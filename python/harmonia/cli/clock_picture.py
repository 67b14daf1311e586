"""A clock's course in one picture: offset within its bound, how large the bound is, frequency, and the delay cloud."""

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("agg")

from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter

from harmonia.cli.clock_plot import Course
from harmonia.night.picture import COLOURS, GRID, INK, MUTED, PANEL, STYLE

BLUE, ORANGE, PINK, GREEN = COLOURS[:4]
LABELS_MAX = 24
"""More events than this are lines without words."""


def draw(path: Path, course: Course) -> None:
    """Writes the picture as PNG. Raises OSError."""
    span_s = course.times_s[-1] - course.times_s[0]
    unit_s, unit = (3600, "hours") if span_s > 3 * 3600 else (60, "minutes") if span_s > 180 else (1, "seconds")
    times = [t / unit_s for t in course.times_s]
    with plt.rc_context(STYLE):
        figure, panels = plt.subplots(
            4, 1, figsize=(12, 14), sharex=True, gridspec_kw={"height_ratios": [5, 3, 3, 4]}, layout="constrained"
        )
        figure.suptitle(course.title, fontsize=15, fontweight="bold", x=0.01, ha="left")
        offset, worth, frequency, delay = panels
        _offset(offset, course, times)
        _worth(worth, course, times)
        _frequency(frequency, course, times)
        _delay(delay, course, unit_s)
        _events(panels, course, unit_s)
        for axes in panels:
            axes.grid(visible=True, linewidth=0.6)
            axes.spines[["top", "right"]].set_visible(False)
        delay.set_xlabel(f"{unit} of the platform's clock")
        figure.savefig(path, dpi=110, format="png")
        plt.close(figure)


def _offset(axes: Any, course: Course, times: list[float]) -> None:
    for values, alpha, label in (
        (course.bounds_ns, 0.12, "certain, whatever the network did"),
        (course.uncertainties_ns, 0.3, "99 % likely, if both ways are alike"),
    ):
        high = [(e + b) / 1e3 for e, b in zip(course.errors_ns, values, strict=True)]
        low = [(e - b) / 1e3 for e, b in zip(course.errors_ns, values, strict=True)]
        axes.fill_between(times, low, high, color=BLUE, alpha=alpha, linewidth=0, label=label)
    axes.plot(times, [e / 1e3 for e in course.errors_ns], color=BLUE, linewidth=1.3, label="the live clock")
    axes.axhline(0, color=MUTED, linewidth=0.8)
    axes.set_title(f"Offset, against {course.reference}")
    axes.set_ylabel("µs")
    # The first seconds' wide guesses must not make the night a line.
    worst = max(abs(e) for e in course.errors_ns[len(times) // 20 :])
    limit = 1.15 * max(worst, _percentile(course.bounds_ns, 0.9), 1.0) / 1e3
    axes.set_ylim(-limit, limit)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:+,.6g}" if value else "0"))
    axes.legend(loc="upper right", ncols=3, framealpha=0.6, facecolor=PANEL, edgecolor=GRID, labelcolor=INK)


def _worth(axes: Any, course: Course, times: list[float]) -> None:
    axes.plot(times, [max(b, 1) / 1e3 for b in course.bounds_ns], color=BLUE, linewidth=1.3, label="bound")
    axes.plot(
        times, [max(u, 1) / 1e3 for u in course.uncertainties_ns], color=GREEN, linewidth=1.3, label="uncertainty"
    )
    axes.set_yscale("log")
    axes.set_title("How certain it was")
    axes.set_ylabel("µs")
    _plain(axes)
    axes.legend(loc="upper right", ncols=2, framealpha=0.6, facecolor=PANEL, edgecolor=GRID, labelcolor=INK)


def _frequency(axes: Any, course: Course, times: list[float]) -> None:
    axes.plot(times, [rate / 1e3 for rate in course.rates_ppb], color=ORANGE, linewidth=1.3)
    settled = course.rates_ppb[len(times) // 20 :]
    middle, spread = _percentile(settled, 0.5), max(_percentile(settled, 0.99) - _percentile(settled, 0.01), 20.0)
    axes.set_ylim((middle - 1.2 * spread) / 1e3, (middle + 1.2 * spread) / 1e3)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:+.3f}"))
    axes.set_title("Frequency of node time against the platform's clock")
    axes.set_ylabel("ppm")


def _delay(axes: Any, course: Course, unit_s: float) -> None:
    axes.set_title("Round trip of every exchange")
    axes.set_ylabel("µs")
    if not course.delays:
        axes.text(0.5, 0.5, "a replay holds no delays", color=MUTED, ha="center", transform=axes.transAxes)
        return
    times = [t / unit_s for t, _ in course.delays]
    trips = [max(ns, 1.0) / 1e3 for _, ns in course.delays]
    axes.scatter(times, trips, s=9, color=PINK, alpha=0.6, linewidths=0)
    axes.axhline(min(trips), color=MUTED, linewidth=0.8, linestyle="--")
    axes.set_yscale("log")
    _plain(axes)


def _events(panels: Any, course: Course, unit_s: float) -> None:
    for at_s, word in course.events:
        for axes in panels:
            axes.axvline(at_s / unit_s, color=MUTED, linewidth=0.8, linestyle=":")
        if len(course.events) <= LABELS_MAX:
            panels[0].annotate(
                word,
                (at_s / unit_s, 0.02),
                xycoords=("data", "axes fraction"),
                xytext=(3, 0),
                textcoords="offset points",
                rotation=90,
                va="bottom",
                fontsize=8,
                color=MUTED,
            )


def _plain(axes: Any) -> None:
    """Numbers on a logarithmic axis as people write them, also between the powers of ten if there are few of those."""
    low, high = axes.get_ylim()
    few = high / low < 30
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    axes.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}" if few else ""))


def _percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
