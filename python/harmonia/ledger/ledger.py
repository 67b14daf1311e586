"""A sanctuary's ledger as the rest of the house uses it: opened, kept up, and asked for proofs.

The signing key is made at the first start, in the text form that Go's `note` package reads too, and nobody but the
owner of the data folder can read it. It also makes the salts of what circles said. It belongs into the backup, and so
does the ledger itself: a ledger that begins anew under an old key contradicts what it has signed.
"""

import hmac
import secrets
from collections.abc import Callable
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from harmonia import failpoints
from harmonia.errors import BadInput, NotFound, StorageError, StorageUnavailable, StorageUnreadable
from harmonia.journal import ALL, Journal, Record
from harmonia.journal.sealing import PERSON, SealedJournal
from harmonia.ledger.leaves import Entry, Salt, open_leaf
from harmonia.ledger.note import Checkpoint, Signer, parse_name
from harmonia.ledger.proof import Proof
from harmonia.ledger.scribe import Scribe, event_at, lost_noes
from harmonia.ledger.store import Store
from harmonia.ledger.tree import inclusion_proof, root_hash

KEY_FILE = "ledger.key"
STORE_FILE = "ledger.sqlite"
_SALTS = b"harmonia ledger salts v1\0"

WritePrivate = Callable[[Path, bytes], None]
"""Replaces a file at once and whole, readable by its owner only; on disk when it returns."""


class Written(NamedTuple):
    """One entry, with the event that it is of."""

    place: int
    event_id: bytes
    entry: Entry


class Ledger:
    """The ledger of a running sanctuary. Thread-safe; every method may block."""

    def __init__(self, journal: SealedJournal, folder: Path, name: str, write: WritePrivate) -> None:
        """Opens the ledger in ``folder``, or makes it, and its key for ``name``. Raises StorageError."""
        self._journal = journal
        failpoints.hit("ledger.open")
        self._store = _open_store(journal, folder)
        self._signer = signing_key(folder / KEY_FILE, name, write)
        self._salt = salts(self._signer, journal)
        self._scribe = Scribe(journal, self._store, self._signer, self._salt)
        self._scribe.start()

    @property
    def key(self) -> str:
        """The verifier key, one line."""
        return str(self._signer.verifier)

    def checkpoint(self) -> Checkpoint:
        """The newest signed checkpoint."""
        found = self._store.checkpoint()
        assert found is not None, "starting writes the first"
        return found

    def entries_of(self, stream: str) -> list[Written]:
        """The entries of one stream's events, oldest first."""
        found = []
        for record in self._caught_up(stream):
            index = self._store.index_of(record.position)
            if index is not None:
                (entry,) = self._store.entries(index, index + 1)
                found.append(Written(index, record.event_id, Entry.parse(entry, str(self._store.path))))
        return found

    def prove(self, stream: str, id: str) -> tuple[Proof, bytes | None]:
        """The proof of an event of ``stream``, by its id or entry, and its opening. Raises NotFound, StorageError."""
        self._caught_up(stream)
        record = find(self._journal, self._store, id, stream)
        return proof_of(self._store, record), open_leaf(record, self._salt)

    def shred(self, stream: str) -> None:
        """Makes what ``stream`` holds unreadable for ever, once all of it is in the ledger. Raises StorageError."""
        with self._journal.ended(stream):
            self._caught_up(stream)
            newest = self.checkpoint()
            self._journal.note_ledger(self._signer.verifier.id, newest.size, newest.root)
            self._journal.shred(stream)

    def forgot(self, stream: str) -> bool:
        """Whether that stream's sleeper was forgotten."""
        return self._journal.forgot(stream)

    def close(self) -> None:
        """Idempotent."""
        self._scribe.close()
        self._store.close()

    def _caught_up(self, stream: str) -> list[Record]:
        records = self._journal.read(stream)
        if records:
            self._scribe.wait_for(records[-1].position)
        return records


def doubtful(journal: SealedJournal, folder: Path) -> bool:
    """Whether a yes may stand in the journal whose withdrawal it has lost: to be asked before anybody goes by it.

    A ledger that must not go on is refused here already. Raises StorageError.
    """
    if not (folder / STORE_FILE).exists() and not (folder / KEY_FILE).exists():
        return False  # the first start
    with closing(_open_store(journal, folder)) as store:
        return lost_noes(journal, store) > 0


def find(journal: Journal, store: Store, id: str, stream: str | None = None) -> Record:
    """The one event, of ``stream`` or of all, that became an entry and is meant by ``id``.

    That is an entry's number, or the hexadecimal id of an event, or of the grant or withdrawal in it. Raises NotFound.
    """
    found = []
    for index in store.search(id):
        (leaf,) = store.leaves(index, index + 1)
        record = leaf.position and event_at(journal, leaf.position)
        if record is not None and record.event_id == leaf.event_id and stream in (None, record.stream):
            found.append(record)
    if len(found) != 1:
        raise NotFound(f"the ledger has no entry {id[:80]!r} that you may open: `harmonia ledger ls` lists them")
    return found[0]


def proof_of(store: Store, record: Record, checkpoint: Checkpoint | None = None) -> Proof:
    """The proof of an event that became an entry, under ``checkpoint`` or the newest. Raises BadInput."""
    index, under = store.index_of(record.position), checkpoint or store.checkpoint()
    assert index is not None and under is not None, "only what is in the ledger is proved"
    if index >= under.size:
        raise BadInput(f"entry {index} is younger than that checkpoint of {under.size} entries: publish again first")
    if under.size > store.size or root_hash(store.read, under.size) != under.root:
        raise BadInput("that checkpoint is not of this ledger: take one that it published")
    (entry,) = store.entries(index, index + 1)
    return Proof(entry, index, tuple(inclusion_proof(store.read, index, under.size)), under)


def salts(signer: Signer, journal: SealedJournal) -> Salt:
    """A person's salts from their key, all others from the ledger's."""
    secret = sha256(_SALTS + signer.seed).digest()

    def salt(stream: str, event_id: bytes) -> bytes | None:
        if stream.startswith(PERSON):
            return journal.salt(stream, event_id)
        return hmac.digest(secret, stream.encode() + b"\0" + event_id, "sha256")

    return salt


def read_signer(path: Path) -> Signer:
    """The signing key in ``path``. Raises StorageUnreadable."""
    try:
        return Signer.parse(path.read_text("utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise StorageUnreadable(f"{path} cannot be read ({error}): restore it from a backup") from None


def signing_key(path: Path, name: str, write: WritePrivate) -> Signer:
    """The key in ``path``; made there for ``name`` if there is none. Raises StorageError."""
    if path.exists():
        return read_signer(path)
    failpoints.hit("ledger.key")
    signer = Signer(parse_name(name), secrets.token_bytes(32))
    try:
        write(path, f"{signer}\n".encode())
    except OSError as error:
        raise StorageUnavailable(f"{path} cannot be written ({error.strerror}): check the disk") from None
    return signer


def _open_store(journal: SealedJournal, folder: Path) -> Store:
    """The store in ``folder``, made if there was never one. Raises StorageError.

    It is made before the key is: where there is a key and no store, one is lost.
    """
    key, path = folder / KEY_FILE, folder / STORE_FILE
    if key.exists() and not path.exists() and journal.read(ALL, limit=1):
        raise _gone(path, key)
    store = Store(path)
    try:
        _check_whole(store, key, journal)
    except StorageError:
        store.close()
        raise
    return store


def _check_whole(store: Store, key: Path, journal: SealedJournal) -> None:
    """Raises StorageUnreadable where going on would sign what contradicts an earlier signature."""
    newest = store.checkpoint()
    if newest is not None and not key.exists():
        raise StorageUnreadable(f"{key} is gone, with which {store.path} is signed: restore it from a backup")
    if newest is not None:
        newest.verify([read_signer(key).verifier], f"{store.path} with {key}")
    elif key.exists() and journal.forgot_anybody:
        raise _gone(store.path, key)
    mark = journal.ledger_mark(read_signer(key).verifier.id) if key.exists() else None
    if mark is not None and (store.size < mark.size or root_hash(store.read, mark.size).hex() != mark.root):
        raise StorageUnreadable(
            f"{store.path} is not, or no longer, the ledger of {mark.size} entries that was signed when somebody was"
            f" last forgotten: restore a newer one, or delete it and {key} to begin another ledger under another key"
        )


def _gone(path: Path, key: Path) -> StorageUnreadable:
    return StorageUnreadable(
        f"{path} is gone, and made anew it may contradict what it has signed: restore it from a backup, or delete"
        f" {key} to begin another ledger under another key"
    )
