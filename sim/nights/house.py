"""What surrounds the engine: a disk that fails in every way, and a data plane on which every call is judged."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from harmonia.domain.events import Event, decode
from harmonia.journal import Expected, OutcomeUnknown, Position, Record, Unavailable
from harmonia.journal.sealing import SealedJournal
from harmonia.testing import FakePlane


class PowerCut(BaseException):
    """The machine is gone: nothing that handles errors may handle this."""


@dataclass
class Disk:
    """A journal behind which things go wrong. Never waits, whatever is behind it, so that time can be virtual."""

    inner: SealedJournal
    seen: Callable[[str, Event], None]
    """Told of every event that is written."""
    troubled: Callable[[], None]
    """Told whenever it refuses, or does not say."""
    full_in: int | None = None
    """So many appends from now there is no room any more."""
    unknown_in: int = 0
    """So many appends from now ..."""
    unknown: int = 0
    """... so many answers get lost: every other one is of an append that was written."""
    cut_in: int | None = None
    """The power fails at this append from now, counted from 0, ..."""
    cut_after: bool = False
    """... when it is written already."""
    dead: bool = False

    blocking = False

    @property
    def full(self) -> bool:
        """There is no room."""
        return self.full_in == 0

    def __post_init__(self) -> None:
        self._newest = Position(0, 0)
        self.cached: list[tuple[str, bytes, bytes]] = []
        """What a mistaken sanctuary takes for written: a power cut loses it."""

    def append(self, stream: str, expected: Expected | Position, event_id: bytes, data: bytes) -> Position:
        if self.dead:
            raise PowerCut
        cut = self._comes_to_cut()
        lost = self.unknown > 0 and not self.unknown_in
        self.unknown -= lost
        self.unknown_in = max(0, self.unknown_in - 1)
        if lost:
            self.troubled()
        if lost and self.unknown % 2:
            raise OutcomeUnknown("the disk of this night did not say whether it was written")
        position = self.inner.append(stream, expected, event_id, data)
        if position > self._newest:  # else a repetition
            self._newest = position
            self.seen(stream, decode(data))
        if cut:
            self.dead = True
            raise PowerCut
        if lost:
            raise OutcomeUnknown("the disk of this night did not say that it was written")
        return position

    def _comes_to_cut(self) -> bool:
        """Whether power fails after this. Raises if it fails before it, or there is no room for it."""
        if self.full:
            self.troubled()
            raise Unavailable("the disk of this night is full and nothing was written: free some space")
        if self.full_in is not None:
            self.full_in -= 1
        cut = self.cut_in == 0
        if self.cut_in is not None:
            self.cut_in -= 1
        if cut and not self.cut_after:
            self.dead = True
            raise PowerCut
        return cut

    def shred(self, stream: str) -> None:
        """As a ledger does it. Where power fails in between, the erasure journal knows and the key is still there."""
        if self.dead:
            raise PowerCut
        cut = self._comes_to_cut()
        with self.inner.ended(stream):
            if cut:
                self.inner._erasures.add(stream)
                self.dead = True
                raise PowerCut
            self.inner.shred(stream)

    def read(self, stream: str | None, after: Position | None = None, limit: int | None = None) -> list[Record]:
        if self.dead:
            raise PowerCut
        return self.inner.read(stream, after, limit)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def restarted(self) -> None:
        """The machine has power again."""
        self.dead, self.full_in, self.cut_in, self.unknown = False, None, None, 0
        self.cached.clear()

    def events(self, stream: str) -> list[Event]:
        """All of a stream."""
        return [decode(record.data) for record in self.inner.read(stream)]


class JudgedPlane(FakePlane):
    """After every call that could let somebody sound, somebody else is asked."""

    def __init__(self, now_ns: Callable[[], int], judge: Callable[[str, int], None]) -> None:
        super().__init__(now_ns)
        self._judge = judge

    def set_plan(self, sleeper: int, *, voice: bool, hearing: bool, recording: bool) -> None:
        super().set_plan(sleeper, voice=voice, hearing=hearing, recording=recording)
        self._judge("plan", sleeper)

    def release(self, sleeper: int, withdrawal: bytes) -> bool:
        released = super().release(sleeper, withdrawal)
        self._judge("plan", sleeper)
        return released

    def set_coupling(self, sleeper: int, coupling: float, weight: float) -> None:
        super().set_coupling(sleeper, coupling, weight)
        self._judge("coupling", sleeper)

    def set_ear(self, listener: int, sleeper: int | None, own_level: float = 1.0) -> None:
        super().set_ear(listener, sleeper, own_level)
        self._judge("ear", listener)
