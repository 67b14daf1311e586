"""Sound files: PCM WAV, read and written as samples from -1 to 1."""

import math
import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harmonia.errors import BadInput, NotFound, StorageError

Sound = NDArray[np.float32]
"""Frames × 2: left and right."""


FRAMES_MAX = 1 << 28
"""An hour and a half at 48 kHz; more would not fit into a small machine's memory."""
RATE_MIN = 8_000


def read(path: Path, start_s: float = 0.0, seconds: float | None = None) -> tuple[Sound, int]:
    """A part of a stereo WAV file of 16, 24 or 32 bits, and its sample rate.

    Raises NotFound, BadInput, StorageError.
    """
    if not (math.isfinite(start_s) and math.isfinite(seconds or 0)):
        raise BadInput(f"a part of a sound begins after some seconds and lasts some, not {start_s} and {seconds}")
    try:
        with path.open("rb") as opened, wave.open(opened, "rb") as file:
            channels, width, rate = file.getnchannels(), file.getsampwidth(), file.getframerate()
            if rate < RATE_MIN:
                raise BadInput(f"{path}: {rate} samples a second; {RATE_MIN} or more are expected")
            frames = file.getnframes()
            begin = min(round(start_s * rate), frames)
            count = frames - begin if seconds is None else min(round(seconds * rate), frames - begin)
            if count > FRAMES_MAX:
                raise BadInput(
                    f"{path}: {count / rate / 60:.0f} minutes; at most {FRAMES_MAX / rate / 60:.0f} fit at once: choose"
                    " a part with --start and --seconds"
                )
            file.setpos(begin)
            data = file.readframes(count)
    except FileNotFoundError:
        raise NotFound(f"{path}: no such file") from None
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from None
    except (wave.Error, EOFError) as error:
        raise BadInput(f"{path}: not a PCM WAV file ({str(error) or 'it ends early'})") from None
    if channels != 2 or width not in (2, 3, 4):
        raise BadInput(
            f"{path}: {channels} channels of {8 * width} bits; a stereo file of 16, 24 or 32 bits is expected"
        )
    octets = np.frombuffer(data, np.uint8)
    octets = octets[: len(octets) // (2 * width) * 2 * width].reshape(-1, width)
    padded = np.zeros((len(octets), 4), np.uint8)
    padded[:, 4 - width :] = octets
    samples = padded.view("<i4").astype(np.float32) / np.float32(2**31)
    return samples.reshape(-1, 2), rate


def pcm16(sound: Sound) -> bytes:
    """Samples from -1 to 1 as 16-bit little-endian PCM, rounded."""
    pcm: bytes = np.clip(np.rint(sound * 32767.0), -32768, 32767).astype("<i2").tobytes()
    return pcm


def write(path: Path, sound: Sound, rate: int) -> None:
    """Writes a WAV file of 16 bits. Raises StorageError."""
    try:
        with path.open("wb") as opened, wave.open(opened, "wb") as file:
            file.setnchannels(2)
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes(pcm16(sound))
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}") from None
