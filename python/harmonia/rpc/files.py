"""The data folder: one sanctuary's, one daemon's at a time."""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harmonia import failpoints
from harmonia.domain.controller import Controller, Statement, dumped, loaded, stated
from harmonia.errors import FolderInUse, StorageError, StorageUnreadable

PRIVATE = 0o600


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Makes the folder and keeps every other daemon out of it. Raises FolderInUse or StorageError."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, PRIVATE)
    except OSError as error:
        raise StorageError(
            f"cannot use the data folder {folder} ({error.strerror}): choose another with --data"
        ) from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderInUse(
                f"another sanctuary is running in {folder}: stop it, or choose another folder with --data"
            ) from None
        yield
    finally:
        os.close(lock)


def in_use(folder: Path) -> bool:
    """Whether a daemon holds the folder now."""
    try:
        with held(folder):
            return False
    except FolderInUse:
        return True


def write_private(path: Path, data: bytes) -> None:
    """Replaces ``path`` at once and whole, readable by its owner only. When this returns, it is on disk."""
    write_whole(path, data, PRIVATE)


def write_whole(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Replaces ``path`` at once and whole. When this returns, it is on disk: the contents and the name."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, mode), "wb") as file:
        failpoints.hit("files.draft")
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    failpoints.hit("files.synced")
    replace_synced(draft, path)
    failpoints.hit("files.replaced")


def replace_synced(draft: Path, path: Path) -> None:
    """Renames ``draft`` to ``path`` for good: a name is on disk only once its folder is."""
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def admin_token(folder: Path) -> str:
    """The host's token, made at the first start."""
    path = folder / "admin.token"
    try:
        if token := path.read_text("ascii").strip():
            return token
    except FileNotFoundError:
        pass
    except UnicodeDecodeError:
        raise StorageUnreadable(f"{path} is damaged: restore it, or delete it for a new token") from None
    token = "ha_" + secrets.token_urlsafe(24)
    write_private(path, token.encode() + b"\n")
    return token


def controllers(folder: Path, controller: Controller | None, t_ns: int) -> tuple[Statement, ...]:
    """Who answers for this sanctuary, as it was stated at this start, node time ``t_ns``, and before.

    Raises StorageError, StorageUnreadable.
    """
    path = folder / "controller.json"
    try:
        kept = loaded(path.read_text())
    except FileNotFoundError:
        kept = ()
    except OSError as error:
        raise StorageError(f"cannot read {path} ({error.strerror}): check it") from None
    except ValueError:
        raise StorageUnreadable(f"{path} is damaged: restore it, or delete it and state --controller anew") from None
    now = stated(kept, controller, t_ns)
    if now != kept:
        try:
            write_private(path, dumped(now).encode())
        except OSError as error:
            raise StorageError(f"cannot write {path} ({error.strerror}): free some space or check it") from None
    return now


def write_place(folder: Path, place: dict[str, str | int]) -> None:
    """sanctuary.json: where this sanctuary listens, for commands on the same machine."""
    draft = folder / "sanctuary.json.new"
    draft.write_text(json.dumps(place, indent=2) + "\n")
    draft.replace(folder / "sanctuary.json")
