"""A ledger read from outside, beside a running sanctuary or without one: for the operator, who owns the data folder.

No event, entry or key is written here. Openings need the journal and everybody's keys; whoever only looks at the
ledger needs neither.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from harmonia.errors import NotFound
from harmonia.journal.erasures import Erasures
from harmonia.journal.keys import KeyStore
from harmonia.journal.sealing import SealedJournal
from harmonia.journal.sqlite import SqliteJournal
from harmonia.ledger.leaves import Salt
from harmonia.ledger.ledger import KEY_FILE, STORE_FILE, read_signer, salts
from harmonia.ledger.note import Signer
from harmonia.ledger.store import Store


class Opened(NamedTuple):
    """A ledger that can be opened."""

    journal: SealedJournal
    store: Store
    signer: Signer
    salt: Salt


def signer_of(folder: Path) -> Signer:
    """The signing key of the ledger in a data folder. Raises NotFound, StorageError."""
    return read_signer(_present(folder / KEY_FILE))


@contextmanager
def store_of(folder: Path) -> Iterator[Store]:
    """The ledger of a data folder. Raises NotFound, StorageError."""
    with closing(Store(_present(folder / STORE_FILE), read_only=True)) as store:
        yield store


@contextmanager
def opened(folder: Path, erasures: Path | None = None) -> Iterator[Opened]:
    """The same, with all that opens it. ``erasures``: the erasure journal, if it is kept apart.

    Raises NotFound, StorageError.
    """
    signer = signer_of(folder)
    journal, keys = _present(folder / "journal.db"), _present(folder / "keys.sqlite")
    with store_of(folder) as store, closing(SqliteJournal(journal)) as inner, closing(KeyStore(keys)) as people:
        forgotten = Erasures(erasures or folder / "erasures", read_only=True, known=people.erasures)
        sealed = SealedJournal(inner, people, forgotten)
        yield Opened(sealed, store, signer, salts(signer, sealed))


def _present(path: Path) -> Path:
    if not path.is_file():
        raise NotFound(f"{path}: no such file; a sanctuary keeps its ledger in its data folder, named with --data")
    return path
