"""A journal that fails when it is told to, and otherwise does what the one behind it does."""

import threading

from harmonia.journal import Expected, Position, Unavailable
from harmonia.journal.memory import MemoryJournal


class FlakyJournal(MemoryJournal):
    """A memory journal with a disk that can be full, and writes that can be held back."""

    def __init__(self) -> None:
        super().__init__()
        self.full = False
        self._open = threading.Event()
        self._open.set()

    def hold(self) -> None:
        """Lets appends wait, in their threads, until :meth:`let_go`."""
        self._open.clear()

    def let_go(self) -> None:
        self._open.set()

    def append(self, stream: str, expected: Expected | Position, event_id: bytes, data: bytes) -> Position:
        self._open.wait()
        if self.full:
            raise Unavailable("the disk of the fake journal is full and nothing was written: free some space")
        return super().append(stream, expected, event_id, data)
