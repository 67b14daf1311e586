"""The journal of a data folder, opened in the one order that keeps promises.

First whoever was forgotten is erased again, before anything is read; then an older journal is upgraded; then it is seen
that everybody's key is there. A key that is missing is not taken for a wish to be forgotten.
"""

from pathlib import Path

from harmonia.errors import StorageError, StorageUnreadable
from harmonia.journal import upgrade
from harmonia.journal.erasures import Erasures
from harmonia.journal.keys import KeyStore
from harmonia.journal.sealing import SealedJournal
from harmonia.journal.sqlite import SqliteJournal


def erase_again(keys: KeyStore, forgotten: Erasures) -> None:
    """Deletes the keys of all who were forgotten: a backup may have brought them back. Raises StorageUnavailable."""
    # Also if it is nobody: what an earlier deletion left in the log goes too.
    keys.delete(*(stream for stream in keys if stream in forgotten), erasures=forgotten)


def open_sealed(
    folder: Path,
    *,
    erasures: Path | None = None,
    new_erasures: bool = False,
    bytes_max: int | None = None,
    shred_unreadable: bool = False,
) -> SealedJournal:
    """The journal of a data folder, with its keys: upgraded if it is of an older format, and everybody erased again who
    was forgotten.

    ``erasures`` is the erasure journal, if it is kept apart. Raises StorageError: also where that is not the one that
    was used last, unless ``new_erasures`` says that it may be another; and where a person's key is missing who was not
    forgotten, unless ``shred_unreadable`` says that they are to be.
    """
    path, keys = folder / "journal.db", KeyStore(folder / "keys.sqlite")
    try:
        forgotten = Erasures(erasures or folder / "erasures", known=None if new_erasures else keys.erasures)
    except StorageError:
        keys.close()
        raise
    erase_again(keys, forgotten)
    upgrade.bring_up_to_date(path, keys, forgotten)
    inner = SqliteJournal(path, bytes_max=bytes_max)
    missing = [stream for stream in upgrade.person_streams(path) if stream not in keys and stream not in forgotten]
    if missing and not shred_unreadable:
        for part in (inner, keys, forgotten):
            part.close()
        raise StorageUnreadable(
            f"{path} holds what {len(missing)} people said, but {folder / 'keys.sqlite'} has not their keys: put that"
            " file back, or start once with --forget-unreadable, which forgets these people for ever"
        )
    for stream in missing:
        forgotten.add(stream)
    if missing:
        keys.delete(*missing, erasures=forgotten)
    return SealedJournal(inner, keys, forgotten)
