"""A control: a sanctuary whose journal acknowledges first and commits later.

A campaign that would find nothing here is worthless. It answers at once and commits when several writings have come
together, as somebody might who wants to be fast.
"""

import sys
from typing import Any

from harmonia.cli.main import main
from harmonia.journal import Position
from harmonia.journal.sqlite import SqliteJournal

_TOGETHER = 6
_commit = SqliteJournal._commit


def _hasty(self: Any, group: list[Any]) -> None:
    held = self.__dict__.setdefault("_hasty", [])
    newest = self._writing.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence").get
    for job in group:
        held.append(type(job)(job.work))
        job.answer(Position(self._epoch, newest + len(held)))
    if len(held) >= _TOGETHER:
        self._hasty = []
        _commit(self, held)


SqliteJournal._commit = _hasty  # type: ignore[method-assign]

if __name__ == "__main__":
    sys.argv[0] = "harmonia"
    main()
