"""From one format of the journal to the next, when it is opened.

Format 1 kept what people said in the clear; format 2 seals it (see :mod:`harmonia.journal.sealing`). An upgrade is one
transaction: after a crash the journal is as it was, or upgraded, and opening it again goes on. Keys are on disk before
the transaction is. No copy of the old file is kept, because it would hold for ever, in the clear, what people may ask
to be forgotten; the old text is overwritten in the file too, which is done again if a crash came between. Whoever
wants a copy makes one before starting the new version, and deletes it afterwards.

From the first release on, tests/journal/fixtures holds a file of each format that ever was.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import cast

import apsw

from harmonia._core import PersonKey
from harmonia.errors import StorageUnavailable
from harmonia.journal.erasures import Erasures
from harmonia.journal.keys import KEY_BYTES, KeyStore
from harmonia.journal.sealing import seal

_log = logging.getLogger(__name__)

_NEXT_PERSON = """
WITH RECURSIVE person(stream) AS (
    SELECT min(stream) FROM events WHERE stream >= 'person/' AND stream < 'person0'
    UNION ALL
    SELECT (SELECT min(stream) FROM events WHERE stream > person.stream AND stream < 'person0')
    FROM person WHERE person.stream IS NOT NULL
)
SELECT stream FROM person WHERE stream IS NOT NULL
"""
"""Each name by one look into the index, not one for each event."""


def bring_up_to_date(path: Path, keys: KeyStore, erasures: Erasures) -> None:
    """Upgrades the journal in ``path`` if there is one and it is of an older format. Raises StorageError."""
    if not path.exists() or not path.stat().st_size:
        return
    try:
        with closing(apsw.Connection(str(path))) as connection:
            connection.set_busy_timeout(5_000)
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON"):
                connection.execute(f"PRAGMA {pragma}").fetchall()
            if _meta(connection, "format") == 1:
                _seal_everybody(connection, path, keys, erasures)
            if _meta(connection, "unswept"):
                connection.execute("VACUUM")
                connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
                connection.execute("DELETE FROM meta WHERE key = 'unswept'")
    except apsw.Error as error:
        raise StorageUnavailable(
            f"{path} could not be upgraded ({error}); nothing is lost: check the disk, then start again"
        ) from error


def person_streams(path: Path) -> list[str]:
    """Everybody of whom the journal in ``path`` holds anything. Raises StorageUnavailable."""
    try:
        with closing(apsw.Connection(str(path))) as connection:
            connection.set_busy_timeout(5_000)
            return [cast(str, stream) for (stream,) in connection.execute(_NEXT_PERSON)]
    except apsw.Error as error:
        raise StorageUnavailable(f"{path} could not be read ({error}): check the disk") from error


def _seal_everybody(connection: apsw.Connection, path: Path, keys: KeyStore, erasures: Erasures) -> None:
    with connection:
        people = [cast(str, stream) for (stream,) in connection.execute(_NEXT_PERSON)]
        keys.ensure(*(stream for stream in people if stream not in erasures))
        for stream in people:
            # Of somebody forgotten: under a key that nobody keeps.
            key = PersonKey(keys.get(stream) or os.urandom(KEY_BYTES))
            for revision, event_id, data in list(_events(connection, stream)):
                sealed = seal(key, event_id, data)
                connection.execute("UPDATE events SET data = ? WHERE revision = ?", (sealed, revision))
        connection.execute("DELETE FROM snapshots WHERE stream LIKE 'person/%'")  # which cost time, never truth
        connection.execute("UPDATE meta SET value = 2 WHERE key = 'format'")
        connection.execute("INSERT INTO meta VALUES ('unswept', 1)")
    _log.warning("%s is of format 2 now: what its %d people said is sealed; no copy is kept", path, len(people))


def _events(connection: apsw.Connection, stream: str) -> Iterator[tuple[int, bytes, bytes]]:
    rows = connection.execute("SELECT revision, event_id, data FROM events WHERE stream = ?", (stream,))
    return cast("Iterator[tuple[int, bytes, bytes]]", rows)


def _meta(connection: apsw.Connection, key: str) -> int:
    if not connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'meta'").get:
        return 0
    return cast("int | None", connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).get) or 0
