"""A ledger as a folder of static files, and the same files read back.

Any web server can give the folder out, as https://c2sp.org/tlog-tiles says. A published tile never changes, so
publishing again only adds files, and stops at one that is there with another content: then the store or the folder is
damaged, and a good file must not be lost to a bad one. The checkpoint comes last, in place of the old one at once, so
that whoever fetches it finds all that it speaks of. Before that the old one is compared: a folder that holds another
history, or a longer one, is left as it is.

Witnesses sign the checkpoint where it lies. Who writes it holds a lock on the folder, and replaces only what it read.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

from harmonia import failpoints
from harmonia.errors import NotFound, NotNow, StorageError, StorageUnreadable
from harmonia.ledger.note import Checkpoint, Signature
from harmonia.ledger.store import Store
from harmonia.ledger.tiles import bundle_path, bundles_of, cut_bundle, tile_path, tiles_of
from harmonia.ledger.tree import HASH_BYTES, root_hash


class Files(Protocol):
    """A ledger's files, by their paths."""

    def checkpoint(self) -> Checkpoint: ...

    def tile(self, level: int, index: int, width: int) -> bytes:
        """Raises StorageUnreadable."""

    def bundle(self, index: int, width: int) -> bytes:
        """Raises StorageUnreadable."""

    def name(self, path: str) -> str:
        """How the file is called in an error."""


class Folder:
    """The files as they were published."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def checkpoint(self) -> Checkpoint:
        path = self._folder / "checkpoint"
        try:
            return Checkpoint.parse(path.read_bytes().decode(), str(path))
        except FileNotFoundError:
            raise NotFound(f"{path}: no such file; a published ledger has its signed checkpoint there") from None
        except (OSError, UnicodeDecodeError) as error:
            raise StorageUnreadable(f"{path} cannot be read ({error})") from None

    def tile(self, level: int, index: int, width: int) -> bytes:
        data, whole = self._read(tile_path(level, index, width))
        return data[: width * HASH_BYTES] if whole else data

    def bundle(self, index: int, width: int) -> bytes:
        data, whole = self._read(bundle_path(index, width))
        return cut_bundle(data, width) if whole else data

    def name(self, path: str) -> str:
        return str(self._folder / path)

    def _read(self, path: str) -> tuple[bytes, bool]:
        """A file, and whether it is the full one in place of a partial one, which may be gone once there is that."""
        whole = path.partition(".p/")[0]
        for name in (path, whole):
            try:
                return (self._folder / name).read_bytes(), name != path
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise StorageUnreadable(f"{self._folder / name} cannot be read ({error.strerror})") from None
        raise StorageUnreadable(f"{self._folder / path} is missing: fetch it, or publish again")


class Stored:
    """The same files out of a sanctuary's own store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def checkpoint(self) -> Checkpoint:
        found = self._store.checkpoint()
        if found is None:
            raise NotFound(f"{self._store.path} holds no checkpoint yet: start the sanctuary once")
        return found

    def tile(self, level: int, index: int, width: int) -> bytes:
        return self._store.read_tile(level, index)[: width * HASH_BYTES]

    def bundle(self, index: int, width: int) -> bytes:
        return cut_bundle(self._store.bundle(index), width)

    def name(self, path: str) -> str:
        return f"{self._store.path}: {path}"


class Published(NamedTuple):
    """What publishing did."""

    checkpoint: Checkpoint
    written: int
    """Files that are new, and the checkpoint if it is another."""


def publish(store: Store, folder: Path) -> Published:
    """Writes the ledger's files into ``folder``. Raises StorageError, naming the file."""
    files = Stored(store)
    with held(folder):
        failpoints.hit("publish.begun")
        checkpoint = _continued(files.checkpoint(), store, folder)
        size, written = checkpoint.size, 0
        for level, index, width in tiles_of(size):
            written += _add(folder / tile_path(level, index, width), files.tile(level, index, width), store)
        for index, width in bundles_of(size):
            written += _add(folder / bundle_path(index, width), files.bundle(index, width), store)
        failpoints.hit("publish.checkpoint")
        written += put(folder / "checkpoint", str(checkpoint).encode())
        failpoints.hit("publish.published")
    return Published(checkpoint, written)


def add_signature(folder: Path, checkpoint: Checkpoint, signature: Signature) -> None:
    """Signs the published checkpoint again, if it still is this one; what others signed meanwhile stays.

    Raises NotNow, StorageError.
    """
    with held(folder):
        now = Folder(folder).checkpoint()
        if now.text != checkpoint.text:
            raise NotNow(
                f"{folder / 'checkpoint'} was published again while its {checkpoint.size} entries were audited: cosign"
                " it again"
            )
        put(folder / "checkpoint", str(now.signed(signature)).encode())


@contextmanager
def held(folder: Path, mode: int = 0o777) -> Iterator[None]:
    """Makes the folder and keeps other writers out of it. Raises StorageError, as for every OSError meanwhile."""
    try:
        folder.mkdir(mode, parents=True, exist_ok=True)
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)
    except OSError as error:
        where = error.filename or folder
        raise StorageError(f"{where} cannot be written ({error.strerror}): choose another folder") from None


def put(path: Path, data: bytes, mode: int = 0o666) -> bool:
    """Makes ``path`` hold ``data``, at once, whole and on disk; whether that took writing."""
    if path.is_file() and path.read_bytes() == data:
        return False
    failpoints.hit("publish.file")
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    failpoints.hit("publish.draft")
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return True


def _continued(checkpoint: Checkpoint, store: Store, folder: Path) -> Checkpoint:
    """The store's checkpoint, with witnesses' signatures if it is the published one. Raises StorageUnreadable."""
    if root_hash(store.read, checkpoint.size) != checkpoint.root:
        raise StorageUnreadable(
            f"{store.path} is damaged: its tiles have another root than its checkpoint; nothing was published, restore"
            " a backup"
        )
    try:
        old = Folder(folder).checkpoint()
    except NotFound:
        return checkpoint
    if old.size > checkpoint.size or root_hash(store.read, old.size) != old.root or old.origin != checkpoint.origin:
        raise StorageUnreadable(
            f"{folder / 'checkpoint'} is not continued by this ledger: it is another's, or this one was restored"
            " from a backup that ends before it; publish elsewhere"
        )
    if old.text != checkpoint.text:
        return checkpoint
    return checkpoint.signed(*(one for one in old.signatures if one not in checkpoint.signatures))


def _add(path: Path, data: bytes, store: Store) -> bool:
    """Publishes a file that never changes; whether it is new. Raises StorageUnreadable where it has another content."""
    if path.is_file() and path.read_bytes() != data:
        raise StorageUnreadable(
            f"{path} was published with another content than {store.path} has: one of the two is damaged, and"
            " `harmonia ledger audit` of each says which; nothing was written over"
        )
    return put(path, data)
