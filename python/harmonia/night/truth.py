"""The truth about node time, for the report only: the sanctuary's clock file, read on the same machine.

The daemon writes the line that its clock follows over CLOCK_MONOTONIC_RAW, as one line of text:
``harmonia-clock-1 CLOCK_ID BOOT_ID RAW_NS NODE_NS RATE_PPB RESUMES CHECKSUM``. A platform's log carries the raw clock
beside its own idea of node time, so that every error can be computed afterwards.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from harmonia.errors import NotFound, StorageError

FORMAT = "harmonia-clock-1"


@dataclass(frozen=True, slots=True)
class NodeTruth:
    """node = node_ns + (raw − raw_ns)·(1 + rate_ppb·1e-9)."""

    raw_ns: int
    node_ns: int
    rate_ppb: int

    def node_at(self, raw_ns: int) -> int:
        """True node time at ``raw_ns``, rounded down."""
        since_ns = raw_ns - self.raw_ns
        return self.node_ns + since_ns + since_ns * self.rate_ppb // 1_000_000_000

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises StorageError on anything but the one line."""
        try:
            form, _clock, _boot, raw_ns, node_ns, rate_ppb, _resumes, _checksum = text.split()
            if form != FORMAT:
                raise ValueError(form)
            return cls(int(raw_ns), int(node_ns), int(rate_ppb))
        except ValueError:
            raise StorageError(f"the sanctuary's clock file is not of format {FORMAT}") from None

    @classmethod
    def find(cls, data_dir: Path) -> Self:
        """The truth of the sanctuary in ``data_dir``. Raises NotFound, StorageError."""
        for path in sorted(data_dir.iterdir()):
            if path.is_file() and path.stat().st_size < 1000:
                text = path.read_bytes().decode(errors="replace")
                if text.startswith(FORMAT):
                    return cls.parse(text)
        raise NotFound(f"no clock file in {data_dir}")
