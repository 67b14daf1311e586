"""A living rhythm in one picture: the signal, its phase as it was known and as it was, frequency, and confidence."""

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("agg")

import numpy as np
from matplotlib import pyplot as plt

from harmonia.cli.phase_plot import PhasePicture
from harmonia.night.picture import COLOURS, GRID, INK, MUTED, PANEL, STYLE

BLUE, ORANGE, PINK, GREEN = COLOURS[:4]


def draw(path: Path, picture: PhasePicture) -> None:
    """Writes the picture as PNG. Raises OSError."""
    times_s, track = picture.times_s, picture.track
    with plt.rc_context(STYLE):
        figure, panels = plt.subplots(
            4, 1, figsize=(13, 11), sharex=True, gridspec_kw={"height_ratios": [4, 3, 2, 2]}, layout="constrained"
        )
        figure.suptitle(picture.title, fontsize=15, fontweight="bold", x=0.01, ha="left")
        signal, phase, frequency, confidence = panels
        signal.plot(times_s, picture.samples, color=MUTED, linewidth=0.6, alpha=0.8, label="signal")
        signal.plot(times_s, picture.truth.real, color=BLUE, linewidth=1.4, label="band-passed, knowing the future")
        signal.set_title("Signal")
        signal.set_ylabel(picture.unit)
        was = _unbroken(np.angle(picture.truth) / (2 * np.pi) % 1.0)
        phase.plot(times_s, was, color=BLUE, linewidth=1.2, label="as it was, knowing the future")
        phase.plot(
            times_s, _unbroken(track.phase_turns), color=ORANGE, linewidth=1.2, label="as it was known at the time"
        )
        phase.set_title("Phase, 0 at the peak")
        phase.set_ylabel("turns")
        phase.set_ylim(0, 1)
        for axes in (signal, phase):
            axes.legend(loc="upper right", ncols=2, framealpha=0.6, facecolor=PANEL, edgecolor=GRID, labelcolor=INK)
        frequency.plot(times_s, track.frequency_hz, color=PINK, linewidth=1.3)
        frequency.set_ylim(picture.band_hz)
        frequency.set_title("Frequency")
        frequency.set_ylabel("Hz")
        confidence.fill_between(times_s, track.confidence, color=GREEN, alpha=0.4, linewidth=0)
        confidence.plot(times_s, track.confidence, color=GREEN, linewidth=0.9)
        confidence.set_ylim(0, 1)
        confidence.set_title("Confidence: the resultant length to be expected of the phase's error")
        confidence.set_xlabel("seconds")
        for axes in panels:
            axes.grid(visible=True, linewidth=0.6)
            axes.spines[["top", "right"]].set_visible(False)
            axes.set_xlim(times_s[0], times_s[-1])
        figure.savefig(path, dpi=110, format="png")
        plt.close(figure)


def _unbroken(turns: Any) -> Any:
    """The same, with a gap in place of the line from one turn's end to the next turn's beginning."""
    shown = turns.copy()
    shown[1:][np.abs(np.diff(turns)) > 0.5] = np.nan
    return shown
