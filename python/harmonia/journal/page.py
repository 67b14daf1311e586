"""A long stretch of the journal by streams, for whoever folds millions of events: a person's come one after another.

In the order of writing each event is another person's, and folding it waits for memory most of the time. So a page is
gathered in the core, from text that the database makes, and no object is made of an event before it is decoded.
"""

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from harmonia._core import ByStream, PersonKey
from harmonia.errors import StorageUnreadable
from harmonia.journal.interface import Journal, Position, Rows

_ROWS = 20_000
"""Events that are text at once."""


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


def pages(journal: Journal, limit: int) -> Generator[Page, None, None]:
    """All of ``journal``, at most ``limit`` events a page; the next is read while one is worked on.

    Raises StorageError.
    """
    if not journal.blocking:
        page = journal.page(None, limit)
        while page is not None:
            yield page
            page = journal.page(page.end, limit)
        return
    with ThreadPoolExecutor(1, "journal-reader") as reader:
        coming = reader.submit(journal.page, None, limit)
        while (page := coming.result()) is not None:
            coming = reader.submit(journal.page, page.end, limit)
            yield page


Look = Callable[[int, str, list[int], bytes | None], bytes]
"""From an epoch, a stream, revisions and lines (None: something is amiss) to the lines; or it raises."""


def gather(
    rows: Callable[[Position | None, int], Rows | None],
    after: Position | None,
    limit: int,
    keys: dict[str, PersonKey],
    look: Look,
) -> Page | None:
    """The page of what ``rows`` reads after a position, at most ``limit`` events; None: there is none.

    ``look`` sees each stream that has no key, and each that does not open with its own.
    """
    gathered, end = ByStream(), after
    for count in range(0, limit, _ROWS):
        some = rows(end, min(_ROWS, limit - count))
        if some is None:
            break
        gathered.add(some.text)
        end = some.end
    if end is None or end == after:
        return None
    strands = list[Strand]()
    for stream, revisions, lines in gathered.take(keys):
        if lines is None or stream not in keys:
            strands.append(Strand(stream, revisions, look(end.epoch, stream, revisions, lines)))
        else:
            strands.append(Strand(stream, revisions, lines))
    return Page(end, strands)


def whole(epoch: int, stream: str, revisions: list[int], lines: bytes | None) -> bytes:
    """``lines``, if there are any. Raises StorageUnreadable: something was not written so."""
    if lines is None:
        raise StorageUnreadable(
            f"the journal holds a damaged event in {stream}, from {epoch}.{revisions[0]} to {epoch}.{revisions[-1]}:"
            " restore a backup"
        )
    return lines
