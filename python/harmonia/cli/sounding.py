"""What `harmonia join` takes and shows of sound: where it goes, how loud it may be, how loud it is."""

from dataclasses import dataclass
from pathlib import Path

import click

from harmonia import errors
from harmonia.client import Calibration, Moment, Sleeper

DEVICE = "device"
"""What `--output` says for a sound card."""
METER_LUFS = (-60.0, 0.0)
METER_WIDTH = 24

device_option = click.option(
    "--device",
    default="default",
    show_default=True,
    metavar="NAME",
    help="The ALSA device; see `platform devices`.",
)


def calibration_file(data_dir: Path) -> Path:
    """Where this machine keeps what was measured for it."""
    return data_dir / "platform.json"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a platform's sound goes: into a file, to a device, or to nobody."""

    file: Path | None = None
    device: str | None = None
    buffer_ms: float = 40.0

    @classmethod
    def of(cls, output: str | None, device: str, buffer_ms: float) -> "Target":
        """From the command line. Raises BadInput."""
        if output == DEVICE:
            return cls(device=device, buffer_ms=buffer_ms)
        if output is not None and Path(output).is_dir():
            raise errors.BadInput(f"--output {output} is a folder; name a WAV file, or `device` for the sound card")
        return cls(file=None if output is None else Path(output))

    def start(self, who: Sleeper) -> None:
        """Begins to play."""
        if self.device is not None:
            who.play(self.device, self.buffer_ms)
        elif self.file is not None:
            who.record(self.file)
        else:
            who.play_unheard()

    def stop(self, who: Sleeper) -> str:
        """Ends it, and says what became of it."""
        if self.device is not None:
            return str(who.stop_playing())
        frames = who.stop_recording()
        return "" if self.file is None else f"{self.file}: {frames} frames"

    def __str__(self) -> str:
        return "" if self.file is None and self.device is None else str(self.file or f"device {self.device}")


def meter_text(now: Moment, calibration: Calibration) -> str:
    """A level meter in one line: loudness as a bar, peak, what the limiter takes, and the ceiling."""
    sound = now.sound
    low, high = METER_LUFS
    filled = round(METER_WIDTH * min(max((sound.momentary_lufs - low) / (high - low), 0.0), 1.0))
    spl = calibration.spl_db(sound.ceiling_dbfs)
    ceiling = f"{sound.ceiling_dbfs:.0f} dBFS" + ("" if spl is None else f" ({spl:.0f} dB SPL)")
    return (
        f"sound {'█' * filled:<{METER_WIDTH}} {sound.momentary_lufs:6.1f} LUFS   peak {sound.peak_dbfs:.0f} dBFS"
        f"   limiter {sound.limiter_db:+.1f} dB   ceiling {ceiling}"
    )
