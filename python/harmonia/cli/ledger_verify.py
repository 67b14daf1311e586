"""`harmonia ledger verify`: whether a proof holds, for whoever has the file and the key. No sanctuary is asked."""

import json
from pathlib import Path

import click

from harmonia import errors
from harmonia.cli.common import data_option, echo_json, json_option
from harmonia.ledger.audit import check_opening
from harmonia.ledger.leaves import Entry
from harmonia.ledger.note import COSIGNATURE, ED25519, KINDS, Verifier
from harmonia.ledger.proof import Proof
from harmonia.ledger.reading import signer_of


def read_file(path: Path) -> bytes:
    """A file that somebody gave. Raises NotFound, StorageError."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise errors.NotFound(f"{path}: no such file") from None
    except OSError as error:
        raise errors.StorageError(f"{path}: {error.strerror}") from None


def read_text(path: Path) -> str:
    """The same, as text. Raises StorageUnreadable too."""
    try:
        return read_file(path).decode()
    except UnicodeDecodeError:
        raise errors.StorageUnreadable(f"{path} is damaged: it is no text") from None


def verifiers(key: str | None, witnesses: tuple[str, ...], data_dir: Path) -> list[Verifier]:
    """Whose signatures are wanted: the ledger's, by default of the data folder's, and the witnesses'."""
    try:
        first = Verifier.parse(key) if key else signer_of(data_dir).verifier
    except errors.NotFound:
        raise errors.BadInput(
            "give the ledger's verifier key with --key: its operator prints it with `harmonia ledger key`"
        ) from None
    return [_of_kind(ED25519, first), *(_of_kind(COSIGNATURE, Verifier.parse(one)) for one in witnesses)]


def _of_kind(kind: int, found: Verifier) -> Verifier:
    if found.kind != kind:
        raise errors.BadInput(
            f"the key of {found.name} is {KINDS[found.kind]}, not {KINDS[kind]}: --key takes a ledger's, --witness a"
            " witness's"
        )
    return found


key_option = click.option("--key", metavar="VKEY", help="The ledger's verifier key. [default: the data folder's]")
witness_option = click.option(
    "--witness", "witnesses", metavar="VKEY", multiple=True, help="A witness who must have signed too; may be repeated."
)
erasures_option = click.option(
    "--erasures",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The erasure journal, if `serve --erasures` keeps it apart: it says who was forgotten.",
)


@click.command()
@data_option
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@key_option
@witness_option
@click.option("--opening", type=click.Path(path_type=Path, dir_okay=False), help="What opens the entry: shows it.")
@json_option
def verify(
    data_dir: Path, file: Path, key: str | None, witnesses: tuple[str, ...], opening: Path | None, as_json: bool
) -> None:
    """Check a .tlog-proof FILE: the signatures, and that the entry is in the tree that was signed."""
    wanted = verifiers(key, witnesses, data_dir)
    proof = Proof.parse(read_text(file), str(file))
    proof.verify(wanted, str(file))
    entry, event = Entry.parse(proof.entry, str(file)), None
    if opening is not None:
        data = read_file(opening)
        check_opening(entry, data, str(opening))
        event = json.loads(data)
    if as_json:
        said = {"kind": entry.kind, "by": entry.by, "hour_s": entry.hour_s, "commitment": entry.commitment}
        checkpoint = {"origin": proof.checkpoint.origin, "size": proof.checkpoint.size}
        echo_json({"entry": proof.index, **said, **checkpoint, "opened": event})
        return
    click.echo(
        f"entry {proof.index} of {proof.checkpoint.origin} ({proof.checkpoint.size} entries) holds: a {entry.kind} by a"
        f" {entry.by}, in hour {entry.hour_s} of node time"
    )
    if event is not None:
        click.echo(f"it is {event['event']} of {event['stream']}")
