"""A long stretch of the journal by streams, for whoever folds millions of events: a person's come one after another.

In the order of writing each event is another person's, and folding it waits for memory most of the time. So pages are
gathered in the core, and no object stays of an event before it is decoded. One page is unsealed, which needs no lock of
Python's, while the one before it is folded.
"""

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from harmonia._core import ByStream, PersonKey
from harmonia.errors import StorageUnreadable
from harmonia.journal.interface import Journal, Position

_ROWS = 1_000
"""Events that are rows at once: so few that they stay in the processor's cache."""


class Strand(NamedTuple):
    """One stream's events on a page, oldest first."""

    stream: str
    revisions: list[int]
    lines: bytes
    """Each event's data, a line feed between two; nothing: its person was forgotten."""


class Page(NamedTuple):
    """A stretch of the journal."""

    end: Position
    """Where its last event stands."""
    strands: list[Strand]


Look = Callable[[int, str, list[int], bytes | None], bytes]
"""From an epoch, a stream, revisions and lines (None: something is amiss) to the lines; or it raises."""


class Gathering(NamedTuple):
    """How a journal's rows become pages."""

    keys: dict[str, PersonKey]
    look: Look
    """Sees each stream that has no key, and each that does not open with its own."""

    def page(self, end: Position, gathered: ByStream, heads: Sequence[bytes]) -> Page:
        """The page of all that was gathered; ``heads`` as for :func:`pages`. Raises StorageUnreadable."""
        strands = list[Strand]()
        for stream, revisions, lines in gathered.take(self.keys, heads):
            if lines is None or stream not in self.keys:
                strands.append(Strand(stream, revisions, self.look(end.epoch, stream, revisions, lines)))
            else:
                strands.append(Strand(stream, revisions, lines))
        return Page(end, strands)


def pages(journal: Journal, most: int, heads: Sequence[bytes] = ()) -> Generator[Page, None, None]:
    """All of ``journal``, at most ``most`` events a page. Raises StorageError.

    ``heads`` are how those events of a person begin that a later one with the same head replaces: of these a page may
    have the last alone. What is left out is as it was written, which the seal shows; nobody looks at it further.

    The first pages are smaller, since nothing can be folded until one is unsealed.
    """
    gathering, end, limit = journal.gathering(), Position(0, 0), -(-most // 8)
    with ThreadPoolExecutor(1, "journal-unsealer") as unsealer:
        ready: Page | None = None
        while (stretch := _stretch(journal, end, limit)) is not None:
            (end, gathered), limit = stretch, min(2 * limit, most)
            coming = unsealer.submit(gathering.page, end, gathered, heads)
            if ready is not None:
                yield ready
            ready = coming.result()
        if ready is not None:
            yield ready


def _stretch(journal: Journal, after: Position, limit: int) -> tuple[Position, ByStream] | None:
    gathered, end = ByStream(), after
    for count in range(0, limit, _ROWS):
        epoch, rows = journal.rows(end, min(_ROWS, limit - count))
        if not rows:
            break
        gathered.add(rows)
        end = Position(epoch, rows[-1][1])
    return None if end == after else (end, gathered)


def whole(epoch: int, stream: str, revisions: list[int], lines: bytes | None) -> bytes:
    """``lines``, if there are any. Raises StorageUnreadable: something was not written so."""
    if lines is None:
        raise StorageUnreadable(
            f"the journal holds a damaged event in {stream}, from {epoch}.{revisions[0]} to {epoch}.{revisions[-1]}:"
            " restore a backup"
        )
    return lines


PLAIN = Gathering({}, whole)
"""Of a journal in which nothing is sealed."""
