"""`harmonia ledger publish` and `cosign`: a ledger for everybody to fetch, and a witness's signature below it."""

import secrets
import time
from pathlib import Path

import click

from harmonia import errors
from harmonia.cli.common import arm_failpoints, data_option, echo_json, json_option
from harmonia.cli.ledger_verify import key_option, read_text, verifiers
from harmonia.ledger.audit import audit
from harmonia.ledger.note import COSIGNATURE, Checkpoint, Signer, parse_name
from harmonia.ledger.publishing import Folder, add_signature, held, put
from harmonia.ledger.publishing import publish as publish_files
from harmonia.ledger.reading import store_of

NOTHING_YET = "nothing signed yet\n"
"""What a new witness's last checkpoint says: a file that is gone or empty is no new witness's."""


@click.command()
@data_option
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@json_option
def publish(data_dir: Path, folder: Path, as_json: bool) -> None:
    """Write the ledger into DIR as static files, for any web server to give out (https://c2sp.org/tlog-tiles).

    Again and again into the same DIR: what is there stays, what is new is added, the checkpoint last.
    """
    arm_failpoints("publishing")
    with store_of(data_dir) as store:
        done = publish_files(store, folder)
    if as_json:
        echo_json({"folder": str(folder), "size": done.checkpoint.size, "files_written": done.written})
    else:
        click.echo(f"{folder}: {done.checkpoint.size} entries, {done.written} files written")


@click.command()
@data_option
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@key_option
@click.option("--name", required=True, help="The witness's name, for instance witness.example/me.")
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="The witness's own folder: its key, made at first, and the last checkpoint that it signed.",
)
@json_option
def cosign(data_dir: Path, folder: Path, key: str | None, name: str, state: Path, as_json: bool) -> None:
    """Sign the checkpoint in DIR as a witness, if all of DIR follows from it and continues what was signed before."""
    (log,) = verifiers(key, (), data_dir)
    parse_name(name)
    last = state / "checkpoint"
    with held(state, 0o700):
        signer = _witness_key(state, name)
        before = read_text(last)
        since = {} if before == NOTHING_YET else {str(last): Checkpoint.parse(before, str(last))}
        checkpoint = audit(Folder(folder), [log], since).checkpoint
        signature = signer.cosign(checkpoint.text, int(time.time()))
        # First what must not be forgotten: whoever signed this signs nothing that does not continue it.
        put(last, str(checkpoint.signed(signature)).encode())
        add_signature(folder, checkpoint, signature)
    if as_json:
        echo_json({"size": checkpoint.size, "witness_key": str(signer.verifier)})
    else:
        click.echo(f"{folder / 'checkpoint'}: {checkpoint.size} entries, signed by {signer.verifier}")


def _witness_key(state: Path, name: str) -> Signer:
    """The witness's key, made at first, together with a mark that it signed nothing yet."""
    path, last = state / "witness.key", state / "checkpoint"
    if path.is_file():
        found = Signer.parse(read_text(path), str(path))
        if found.name != name:
            raise errors.BadInput(f"{path} is the key of {found.name}, not of {name}: one folder a witness")
        if not last.is_file():
            raise errors.StorageUnreadable(
                f"{last} is missing, the last checkpoint that {path} signed: restore it, or be a new witness in another"
                " folder; who forgot what they signed can be shown another history"
            )
        return found
    signer = Signer(name, secrets.token_bytes(32), COSIGNATURE)
    if not last.is_file():
        put(last, NOTHING_YET.encode())
    put(path, f"{signer}\n".encode(), 0o600)
    return signer
