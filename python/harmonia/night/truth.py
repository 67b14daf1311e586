"""The truth about node time, for the report only: the sanctuary's clock file, read on the same machine.

The daemon writes the line that its clock follows over CLOCK_MONOTONIC_RAW, as one line of text:
``harmonia-clock-1 CLOCK_ID BOOT_ID RAW_NS NODE_NS RATE_PPB RESUMES CHECKSUM``. Once the clock was stepped or follows
others, it is ``harmonia-clock-2 … RESUMES STEPS_LEFT RAMPS CHECKSUM``: from the anchor on the rate changes evenly over
stretches of whole seconds, ``SECONDS:PPB_PER_S,…`` or ``-`` for none, and stays after the last. A platform's log
carries the raw clock beside its own idea of node time, so that every error can be computed afterwards.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from harmonia.errors import NotFound, StorageError

FORMAT = "harmonia-clock-1"
FORMAT_2 = "harmonia-clock-2"
_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class NodeTruth:
    """node = node_ns + (raw − raw_ns)·(1 + rate_ppb·1e-9), bent by ``ramps`` from raw_ns on.

    A clock that follows others is told anew every second: this is what it does until then, and not what it did before.
    """

    raw_ns: int
    node_ns: int
    rate_ppb: int
    ramps: tuple[tuple[int, int], ...] = ()
    """Seconds, and the change of the rate in each, ppb."""

    def node_at(self, raw_ns: int) -> int:
        """True node time at ``raw_ns``, rounded down."""
        since_ns = rest_ns = raw_ns - self.raw_ns
        rate_ppb = self.rate_ppb
        twice = 0  # of the rate's integral, in ppb·ns²/s: integers up to the one division at the end
        for seconds, ppb_per_s in self.ramps:
            within_ns = min(max(rest_ns, 0), seconds * _NS)
            twice += 2 * _NS * rate_ppb * within_ns + ppb_per_s * within_ns * within_ns
            rest_ns -= within_ns
            rate_ppb += ppb_per_s * seconds if rest_ns > 0 else 0
        twice += 2 * _NS * rate_ppb * rest_ns
        return self.node_ns + since_ns + twice // (2 * _NS * _NS)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises StorageError on anything but the one line."""
        try:
            body, _, checksum = text.rstrip("\n").rpartition(" ")
            form, _clock, _boot, raw_ns, node_ns, rate_ppb, _resumes, *more = body.split(" ")
            if checksum != hashlib.sha256(body.encode()).hexdigest()[:16]:
                raise ValueError("checksum")
            if (form, len(more)) == (FORMAT_2, 2):
                ramps = () if more[1] == "-" else tuple(map(_ramp, more[1].split(",")))
            elif (form, len(more)) == (FORMAT, 0):
                ramps = ()
            else:
                raise ValueError(form)
            return cls(int(raw_ns), int(node_ns), int(rate_ppb), ramps)
        except ValueError:
            raise StorageError(f"the sanctuary's clock file is damaged, or neither {FORMAT} nor {FORMAT_2}") from None

    @classmethod
    def find(cls, data_dir: Path) -> Self:
        """The truth of the sanctuary in ``data_dir``. Raises NotFound, StorageError."""
        for path in sorted(data_dir.iterdir()):
            if path.is_file() and path.stat().st_size < 1000:
                text = path.read_bytes().decode(errors="replace")
                if text.startswith((FORMAT, FORMAT_2)):
                    return cls.parse(text)
        raise NotFound(f"no clock file in {data_dir}")


def _ramp(text: str) -> tuple[int, int]:
    seconds, ppb_per_s = text.split(":")
    return int(seconds), int(ppb_per_s)
