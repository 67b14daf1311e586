"""A mix in one picture: its spectrum and level, the phase between the ears, and the circle that made it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl

mpl.use("agg")

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from harmonia.bridges.sounds import Sound
from harmonia.cli.loudness import Loudness
from harmonia.night.picture import COLOURS, GRID, INK, MUTED, PANEL, PAPER, STYLE, colour

if TYPE_CHECKING:
    from harmonia.cli.mix_plot import Between, Told
    from harmonia.cli.mix_woven import Course, Performer

BLUE, ORANGE, PINK, GREEN = COLOURS[:4]
Floats = NDArray[np.float64]
NIGHT = LinearSegmentedColormap.from_list(
    "night", [PAPER, "#1d1a3d", "#3a2a6b", "#7a3f8f", "#d0668b", "#ffb86b", "#fff3d6"]
)
HZ = (30.0, 2_000.0)
"""What a spectrogram shows: night music is low."""
DEPTH_DB = 70.0
COLUMNS_MAX = 1400
BINS_AN_OCTAVE = 36


@dataclass(frozen=True, slots=True)
class Heard:
    """A sound with its figures."""

    sound: Sound
    rate: int
    loudness: Loudness
    start_s: float = 0.0


def draw(
    path: Path,
    title: str,
    heard: Heard | None,
    *,
    between: "Sequence[Between]" = (),
    told: "Told | None" = None,
    circle: "tuple[list[Performer], Course] | None" = None,
) -> None:
    """Writes the picture as PNG: a panel for each thing that is known. Raises OSError."""
    panels: list[tuple[float, Callable[[Any], None]]] = []
    if heard is not None:
        panels.append((5, lambda axes: _spectrum(axes, heard)))
    if heard is not None or told is not None:
        panels.append((3, lambda axes: _level(axes, heard, told)))
    if between:
        panels.append((3, lambda axes: _between(axes, between)))
    if told is not None:
        panels.append((3, lambda axes: _told(axes, told)))
    if circle is not None:
        performers, course = circle
        panels += [
            (4.5, lambda axes: _phases(axes, performers, course)),
            (3, lambda axes: _unity(axes, course)),
            (2, lambda axes: _pull(axes, course)),
        ]
    heights = [height for height, _ in panels]
    with plt.rc_context(STYLE):
        figure, drawn = plt.subplots(
            len(panels),
            1,
            figsize=(13, 0.95 * sum(heights) + 1),
            sharex=True,
            squeeze=False,
            gridspec_kw={"height_ratios": heights},
            layout="constrained",
        )
        figure.suptitle(title, fontsize=15, fontweight="bold", x=0.01, ha="left")
        for axes, (_, panel) in zip(drawn[:, 0], panels, strict=True):
            axes.grid(visible=True, linewidth=0.6)
            axes.spines[["top", "right"]].set_visible(False)
            panel(axes)
        drawn[-1, 0].set_xlabel("seconds")
        figure.savefig(path, dpi=110, format="png")
        plt.close(figure)


def _spectrum(axes: Any, heard: Heard) -> None:
    times_s, hz, levels = spectrogram(heard.sound, heard.rate)
    top = float(levels.max(initial=-120.0))
    mesh = axes.pcolormesh(
        times_s + heard.start_s,
        hz,
        levels.T,
        cmap=NIGHT,
        vmin=top - DEPTH_DB,
        vmax=top,
        shading="nearest",
        rasterized=True,
    )
    axes.set_yscale("log")
    axes.set_ylim(*HZ)
    axes.set_xlim(heard.start_s, heard.start_s + len(heard.sound) / heard.rate)
    axes.set_yticks([32, 64, 128, 256, 512, 1024, 2048][:-1])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.minorticks_off()
    axes.grid(visible=False)
    axes.set_title("Spectrum of both ears")
    axes.set_ylabel("Hz")
    below = range(0, int(DEPTH_DB) + 1, 10)
    bar = axes.figure.colorbar(mesh, ax=axes, pad=0.01, aspect=30, ticks=[top - db for db in below])
    bar.ax.set_yticklabels([f"−{db}" if db else "0" for db in below])
    bar.set_label("dB of the loudest", color=INK)
    bar.outline.set_visible(False)


def spectrogram(sound: Sound, rate: int) -> tuple[Floats, Floats, Floats]:
    """Times, frequencies (some to an octave) and levels in dB of both ears' power, a row a time."""
    size = 1 << round(math.log2(0.35 * rate))
    step = max(size // 8, len(sound) // COLUMNS_MAX)
    begins = np.arange(0, max(1, len(sound) - size + 1), step)
    edges = HZ[0] * 2 ** (np.arange(math.ceil(BINS_AN_OCTAVE * math.log2(HZ[1] / HZ[0])) + 1) / BINS_AN_OCTAVE)
    low = np.floor(edges[:-1] * size / rate).astype(int)
    high = np.maximum(np.ceil(edges[1:] * size / rate).astype(int), low + 1)
    window = np.hanning(size)
    levels = np.empty((len(begins), len(low)))
    for row, begin in enumerate(begins):
        part = np.zeros((size, 2))
        piece = sound[begin : begin + size]
        part[: len(piece)] = piece
        power = (np.abs(np.fft.rfft(part * window[:, None], axis=0)) ** 2).sum(axis=1)
        levels[row] = [power[a:b].max() for a, b in zip(low, high, strict=True)]
    return (begins + size / 2) / rate, np.sqrt(edges[:-1] * edges[1:]), 10 * np.log10(np.maximum(levels, 1e-12))


def _level(axes: Any, heard: Heard | None, told: "Told | None") -> None:
    known = []
    if heard is not None:
        sound = heard.loudness
        times_s = sound.times_s + heard.start_s
        axes.plot(times_s, sound.momentary_lufs, color=BLUE, linewidth=0.9, alpha=0.8, label="momentary, 0.4 s, LUFS")
        axes.plot(times_s, sound.short_term_lufs, color=ORANGE, linewidth=1.8, label="short-term, 3 s, LUFS")
        axes.axhline(
            sound.integrated_lufs,
            color=MUTED,
            linewidth=0.9,
            linestyle="--",
            label=f"integrated, {sound.integrated_lufs:.1f} LUFS",
        )
        known += [sound.momentary_lufs]
        axes.set_title(
            f"Level: range {sound.range_lu:.1f} LU, true peak {sound.true_peak_dbtp:.1f} dBTP, "
            f"{sound.clicks or 'no'} click{'' if sound.clicks == 1 else 's'}"
        )
    else:
        axes.set_title("Level")
    if told is not None:
        axes.plot(told.times_s, told.level_dbfs, color=GREEN, linewidth=1.1, label="as the platform said, dBFS")
        known += [told.level_dbfs]
    top = max(float(levels.max(initial=-60.0)) for levels in known)
    axes.set_ylim(max(-90.0, min(top - 40.0, -60.0)), top + 4)
    axes.set_ylabel("LUFS" if heard is not None else "dBFS")
    _legend(axes, "lower center", 4)


def _between(axes: Any, between: "Sequence[Between]") -> None:
    for number, one in enumerate(between):
        axes.plot(one.times_s, one.off_turns, color=colour(number), linewidth=1.3, label=one.label)
    axes.set_title("Phase between the ears, less that which the score's rhythm says")
    axes.set_ylabel("turns")
    axes.set_ylim(-0.5, 0.5)
    _legend(axes, "upper right", 4)


def _told(axes: Any, told: "Told") -> None:
    axes.plot(told.times_s, told.off_turns, color=PINK, linewidth=1.3)
    axes.set_title("The platform's phase, less a steady course")
    axes.set_ylabel("turns")


def _phases(axes: Any, performers: "list[Performer]", course: "Course") -> None:
    times_s = np.array(course.times_s)
    # Against the mean itself everything would jump wherever the mean is next to nothing, and its angle with it.
    mean = np.unwrap(course.mean_turns, period=1.0)
    settled = slice(len(mean) * 2 // 3, None)
    pace_hz, begin = np.polyfit(times_s[settled], mean[settled], 1)
    steady = begin + pace_hz * times_s
    for number, one in enumerate(performers):
        turns = np.array([row[number] for row in course.phases_turns])
        off = (turns - steady + 0.5) % 1.0 - 0.5
        shown = off.copy()
        shown[1:][np.abs(np.diff(off)) > 0.5] = np.nan
        coupled = one.coupling > 0
        ink = colour(number) if coupled else MUTED
        axes.plot(times_s, shown, color=ink, linewidth=1.3 if coupled else 0.9, alpha=0.9 if coupled else 0.55)
        if coupled and one.lets_go_s <= times_s[-1]:
            row = int(np.searchsorted(times_s, one.lets_go_s))
            axes.plot(times_s[row], off[row], marker="o", markersize=6, color=ink, markeredgecolor=PAPER, zorder=5)
    axes.set_title(
        f"Each sleeper's breath against a steady one of {pace_hz:.3f} Hz. Dot: lets the circle pull from here on. "
        "Grey: does not"
    )
    axes.set_ylabel("turns")
    axes.set_ylim(-0.5, 0.5)
    axes.set_yticks([-0.5, -0.25, 0, 0.25, 0.5], ["−½", "−¼", "0", "+¼", "+½"])


def _unity(axes: Any, course: "Course") -> None:
    last = course.last
    axes.plot(course.times_s, course.unity, color=ORANGE, linewidth=1.8, label="unity")
    axes.axhline(last.by_chance, color=MUTED, linewidth=1, linestyle="--", label=f"by chance, {last.by_chance:.2f}")
    more = np.maximum(course.unity, last.by_chance)
    axes.fill_between(course.times_s, last.by_chance, more, color=ORANGE, alpha=0.15, linewidth=0)
    price = "Unity"
    if last.actual is not None and last.standard is not None:
        price += (
            f"; at the end {last.actual.unity:.2f} at a mean pull of {last.actual.mean_pull:.2f}, "
            f"{last.actual.individuality:.0%} on their own rhythm (all forced: 1.00, {last.standard.mean_pull:.2f}, "
            f"{last.standard.individuality:.0%})"
        )
    axes.set_title(price)
    axes.set_ylim(0, 1)
    _legend(axes, "upper left", 2)


def _pull(axes: Any, course: "Course") -> None:
    axes.fill_between(course.times_s, 0, course.pull, color=PINK, alpha=0.35, linewidth=0)
    axes.plot(course.times_s, course.pull, color=PINK, linewidth=1.1)
    axes.set_title("What the circle puts on the one who listens: its pull beside their own pace")
    axes.set_ylim(0, max(0.1, 1.1 * max(course.pull)))


def _legend(axes: Any, where: str, columns: int) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc=where, ncols=columns, framealpha=0.6, facecolor=PANEL, edgecolor=GRID, labelcolor=INK)
