"""`harmonia me export` and `me receipts`: everything about me, in open formats, and a receipt for each yes and no."""

import io
import json
import shutil
import zipfile
from pathlib import Path

import click

from harmonia import errors
from harmonia.cli.common import (
    clock_log_path,
    data_option,
    echo_json,
    find_sleeper,
    json_option,
    run,
    sleeper_option,
)
from harmonia.client import SleeperCalls
from harmonia.client.export import gather
from harmonia.client.identity import Identity


@click.command()
@data_option
@click.argument("target", metavar="DIR|FILE.zip", type=click.Path(path_type=Path))
@sleeper_option
@json_option
def export(data_dir: Path, target: Path, sleeper: str | None, as_json: bool) -> None:
    """Write everything about me into a new folder, or a new ZIP file; a README in it says what is what.

    It works as long as the sanctuary answers, also once I have left or the circle is closed.
    """
    if target.exists():
        raise errors.BadInput(f"{target} exists already: name a folder or a file that does not")
    identity = find_sleeper(data_dir, sleeper, past=True)

    async def work() -> dict[str, bytes]:
        async with SleeperCalls(identity) as calls:
            return await gather(calls)

    files = run(work) | clock_log(data_dir, identity)
    try:
        if target.suffix.lower() == ".zip":
            write_zip(target, files)
        else:
            write_folder(target, files)
    except OSError as error:
        raise errors.StorageError(f"cannot write {target}: {error.strerror}; choose another place") from None
    if as_json:
        sizes = {name: len(data) for name, data in files.items()}
        echo_json({"sleeper_id": identity.sleeper_id, "target": str(target), "files": sizes})
    else:
        events = files["events.jsonl"].count(b"\n")
        click.echo(
            f"{target}: {len(files)} files, {events} events of {identity.sleeper_id}; README.md says what is what"
        )


@click.command()
@data_option
@sleeper_option
@json_option
def receipts(data_dir: Path, sleeper: str | None, as_json: bool) -> None:
    """Print a receipt for each grant and withdrawal, one JSON-LD document a line (--json: one array)."""
    identity = find_sleeper(data_dir, sleeper, past=True)

    async def work() -> list[str]:
        async with SleeperCalls(identity) as calls:
            return await calls.my_receipts()

    found = run(work)
    if as_json:
        echo_json([json.loads(text) for text in found])
        return
    for text in found:
        click.echo(text)


def clock_log(data_dir: Path, identity: Identity) -> dict[str, bytes]:
    """How this platform's clock stood, if `join --log-clock` kept it here. Raises StorageError."""
    path = clock_log_path(data_dir, identity.sleeper_id)
    try:
        return {"clock.jsonl": path.read_bytes()}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise errors.StorageError(f"cannot read {path}: {error.strerror}") from None


def write_folder(target: Path, files: dict[str, bytes]) -> None:
    """All files or no folder, readable by their owner alone. Raises OSError."""
    draft = target.with_name(f".{target.name}.new")
    draft.mkdir(mode=0o700, parents=True)
    try:
        for name, data in files.items():
            path = draft / name
            path.touch(mode=0o600)
            path.write_bytes(data)
        draft.rename(target)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def write_zip(target: Path, files: dict[str, bytes]) -> None:
    """The whole file or none, readable by its owner alone. Raises OSError."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    draft = target.with_name(f".{target.name}.new")
    try:
        draft.touch(mode=0o600)
        draft.write_bytes(packed.getvalue())
        draft.rename(target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
