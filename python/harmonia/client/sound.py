"""What a platform sounds like now, and how the device that plays it does."""

from dataclasses import dataclass
from typing import Self

from harmonia import _core


@dataclass(frozen=True, slots=True)
class Sound:
    """The end of the safety chain, as last played."""

    momentary_lufs: float
    """Momentary loudness: ITU-R BS.1770 over 400 ms; -120 in silence."""
    peak_dbfs: float
    limiter_db: float
    """What the limiter takes away, at most 0: for the ceiling, or because nothing may become loud suddenly."""
    ceiling_dbfs: float
    dropped: int
    """Coefficients and samples that were no numbers, and were made silence: an alarm."""

    @classmethod
    def of(cls, core: _core.Platform) -> Self:
        """As ``core`` says."""
        told = core.sound()
        return cls(told["momentary_lufs"], told["peak_dbfs"], told["gain_db"], told["ceiling_dbfs"], told["dropped"])


SILENCE = Sound(-120.0, -120.0, 0.0, -1.0, 0)
"""What a platform sounds like that has played nothing."""


@dataclass(frozen=True, slots=True)
class Output:
    """How a sound device has played so far."""

    name: str
    buffer_frames: int
    frames: int
    glitches: int
    """Everything that may have been heard as a gap: the sum of the next four."""
    underruns: int
    late: int
    resets: int
    lost: int
    keeps_time: bool
    """Whether the device paces the player; ALSA's null and file do not."""
    realtime: bool
    trouble: str
    """Why nothing is played at the moment; empty while all is well."""

    def __str__(self) -> str:
        parts = f"{self.underruns} underruns, {self.late} late, {self.resets} resets, {self.lost} lost"
        return f"{self.name}: {self.frames} frames, {self.glitches} glitches ({parts})"
