"""What decibels and milliseconds mean at one bed: a loudspeaker's level, and how long sound takes from card to ear.

A platform knows levels against its own full scale. What that is at the pillow depends on amplifier, loudspeaker and
room, so somebody has to measure once: a signal of known level is played, a sound level meter is read, and the
difference is the sound pressure of a sine at full scale, for good, until a volume knob is touched. A ceiling of so many
dB SPL is then a ceiling in dBFS. A tone of 1 kHz is the signal to prefer (every weighting of a meter reads it alike);
pink noise is for rooms in which a tone has nodes.

The latency behind the card (Bluetooth, a DSP, the air) is found by comparing two tracks of one recording: one is the
card's own output by cable, the other a microphone at the ear. Both hear the same clicks, and their cross-correlation
has its peak at the difference. A recording of the microphone alone would not do: nobody knows when its first sample
was.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from harmonia.client.identity import write_secret
from harmonia.errors import BadInput, StorageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_VERSION = 1
SPL_DB = (0.0, 120.0)
"""What a sound level meter can have read."""
FULL_SCALE_SPL_DB = (10.0, 200.0)
"""What follows from that, for a signal of -80 to -10 dBFS."""
LATENCY_MAX_MS = 2000.0
CLICKS_HZ = 2.0
"""How often the train clicks, on average: its pauses differ, so that only one shift fits."""
SHARP = 6.0
"""How far a true peak stands above the correlation's root mean square, at least."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was measured for this platform; None for what was not."""

    full_scale_spl_db: float | None = None
    """The sound pressure level of a sine of full scale, dB SPL."""
    output_latency_ms: float | None = None
    """How long after the card played a sample it is heard."""

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads it; nothing is calibrated where there is no file. Raises BadInput on a file that is none."""
        try:
            content: dict[str, Any] = json.loads(path.read_text())
            if content.pop("harmonia") != _VERSION:
                raise BadInput(f"{path} was written by another version of Harmonia; calibrate again")
            found = cls(**content)
            for name, (low, high) in _RANGES.items():
                value = getattr(found, name)
                if value is not None and not low <= value <= high:
                    raise BadInput(f"{path}: {name} is {low:g} to {high:g}, not {value}; delete it and calibrate again")
        except FileNotFoundError:
            return cls()
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error.strerror}") from None
        except (KeyError, TypeError, ValueError, AttributeError):
            raise BadInput(f"{path} is no calibration, or damaged; delete it and calibrate again") from None
        return found

    def save(self, path: Path) -> None:
        """Writes it, whole or not at all. Raises StorageError."""
        write_secret(path, json.dumps({"harmonia": _VERSION, **asdict(self)}, indent=1))

    def ceiling_dbfs(self, spl_db: float) -> float:
        """The ceiling at which no sine is louder than ``spl_db``. Raises BadInput if nothing was measured yet."""
        if self.full_scale_spl_db is None:
            raise BadInput(
                "a ceiling in dB SPL needs to know what full scale is at your bed: `harmonia platform calibrate spl`"
            )
        return min(spl_db - self.full_scale_spl_db, 0.0)

    def spl_db(self, dbfs: float) -> float | None:
        """The sound pressure level of a sine of ``dbfs``, if that is known."""
        return None if self.full_scale_spl_db is None else self.full_scale_spl_db + dbfs


_RANGES = {"full_scale_spl_db": FULL_SCALE_SPL_DB, "output_latency_ms": (0.0, LATENCY_MAX_MS)}


def full_scale_spl(reading_db: float, level_dbfs: float) -> float:
    """The level of full scale from a meter's reading while ``level_dbfs`` was played. Raises BadInput."""
    low, high = SPL_DB
    if not low <= reading_db <= high:
        raise BadInput(f"a sound level meter reads {low:.0f} to {high:.0f} dB, not {reading_db:g}")
    if not -80 <= level_dbfs <= -10:
        raise BadInput(f"the signal's level is -80 to -10 dBFS, not {level_dbfs:g}")
    return reading_db - level_dbfs


def signal(kind: str, level_dbfs: float, seconds: float, rate: int) -> "NDArray[np.float32]":
    """A `tone` of 1 kHz or `pink` noise as loud as a sine of ``level_dbfs``, with soft ends: frames × 2 samples."""
    import numpy as np

    count = round(seconds * rate)
    if kind == "tone":
        mono = np.sin(2 * np.pi * 1000 * np.arange(count) / rate)
    else:
        # The same power in every octave from 20 Hz on; seeded, so that every calibration plays the same.
        spectrum = np.fft.rfft(np.random.default_rng(1).standard_normal(count))
        hertz = np.fft.rfftfreq(count, 1 / rate)
        mono = np.fft.irfft(spectrum / np.sqrt(np.maximum(hertz, 20)) * (hertz >= 20), count)
        mono /= np.sqrt(2 * np.mean(mono**2))
    ramp = np.minimum(1, np.minimum(np.arange(count), np.arange(count)[::-1]) / (0.5 * rate))
    mono = mono * ramp * 10 ** (level_dbfs / 20)
    return np.repeat(mono[:, None], 2, axis=1).astype(np.float32)


def clicks(seconds: float, rate: int, level_dbfs: float = -20.0) -> "NDArray[np.float32]":
    """The click train by which latency is found: short bursts of noise with uneven pauses; frames × 2 samples."""
    import numpy as np

    chance = np.random.default_rng(2)
    mono, burst = np.zeros(round(seconds * rate)), round(0.002 * rate)
    at = 0.1
    while at < seconds - 0.1:
        start = round(at * rate)
        mono[start : start + burst] = chance.uniform(-1, 1, burst)
        at += chance.uniform(0.5, 1.5) / CLICKS_HZ
    return np.repeat(mono[:, None] * 10 ** (level_dbfs / 20), 2, axis=1).astype(np.float32)


def latency_ms(card: "NDArray[np.float64]", ear: "NDArray[np.float64]", rate: int) -> float:
    """How much later ``ear`` hears what ``card`` played, to a fraction of a sample: two tracks of one recording.

    Raises BadInput if they have nothing in common, or if the ear hears it first.
    """
    import numpy as np

    shifts = round(LATENCY_MAX_MS / 1e3 * rate)
    size = 1 << (max(card.size + ear.size, 2 * shifts + 1) - 1).bit_length()
    spectrum = np.fft.rfft(ear - ear.mean(), size) * np.conj(np.fft.rfft(card - card.mean(), size))
    # Each frequency counts alike, however the room colours it (the phase transform).
    strength = np.abs(spectrum)
    spectrum /= np.maximum(strength, 1e-3 * strength.max() or 1.0)
    correlation = np.fft.irfft(spectrum, size)
    window = np.concatenate((correlation[-shifts:], correlation[: shifts + 1]))
    best = int(np.argmax(np.abs(window)))
    if np.abs(window[best]) <= SHARP * np.sqrt(np.mean(window**2)):
        raise BadInput(
            "the two tracks have nothing in common: one must be the card's output by cable, the other the microphone, "
            "both hearing `harmonia platform calibrate clicks`"
        )
    fraction = 0.0
    if 0 < best < window.size - 1:
        before, here, after = np.abs(window[best - 1 : best + 2])
        fraction = float(0.5 * (before - after) / min(before - 2 * here + after, -1e-30))
    late_ms = (best - shifts + fraction) / rate * 1e3
    if late_ms < -1e3 / rate:
        raise BadInput(f"the ear hears it {-late_ms:.1f} ms before the card plays it: swap the two tracks")
    return max(late_ms, 0.0)
