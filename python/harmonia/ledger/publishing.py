"""A ledger as a folder of static files, and the same files read back.

Any web server can give the folder out, as https://c2sp.org/tlog-tiles says. A published tile never changes, so
publishing again only adds files; the checkpoint comes last, and in place of the old one at once, so that whoever
fetches it finds all that it speaks of. Before it is replaced, the old one is compared: a folder that holds another
history, or a longer one, is left as it is.
"""

from pathlib import Path
from typing import NamedTuple, Protocol

from harmonia.errors import NotFound, StorageError, StorageUnreadable
from harmonia.ledger.note import Checkpoint
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
            return Checkpoint.parse(path.read_text("utf-8"), str(path))
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
    """Files that are new or had another content."""


def publish(store: Store, folder: Path) -> Published:
    """Writes the ledger's files into ``folder``. Raises StorageError."""
    files = Stored(store)
    checkpoint = files.checkpoint()
    try:
        old = Folder(folder).checkpoint()
    except NotFound:
        pass
    else:
        if old.size > checkpoint.size or root_hash(store.read, old.size) != old.root or old.origin != checkpoint.origin:
            raise StorageUnreadable(
                f"{folder / 'checkpoint'} is not continued by this ledger: it is another's, or this one was restored"
                " from a backup that ends before it; publish elsewhere"
            )
        if old.text == checkpoint.text:
            # Witnesses' signatures below it stay.
            checkpoint = checkpoint.signed(*(one for one in old.signatures if one not in checkpoint.signatures))
    size, written = checkpoint.size, 0
    try:
        for level, index, width in tiles_of(size):
            written += put(folder / tile_path(level, index, width), files.tile(level, index, width))
        for index, width in bundles_of(size):
            written += put(folder / bundle_path(index, width), files.bundle(index, width))
        written += put(folder / "checkpoint", str(checkpoint).encode())
    except OSError as error:
        raise StorageError(f"{error.filename} cannot be written ({error.strerror}): choose another folder") from None
    return Published(checkpoint, written)


def put(path: Path, data: bytes) -> bool:
    """Makes ``path`` hold ``data``, at once and whole; whether that took writing."""
    if path.is_file() and path.read_bytes() == data:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".new")
    draft.write_bytes(data)
    draft.replace(path)
    return True
