"""`harmonia ledger key`, `ls` and `prove`: what a sanctuary's operator, or a sleeper, takes out of the ledger.

With a sleeper of this machine they ask the sanctuary, over that sleeper's credential, and see what that sleeper said;
without one they read the data folder, as its owner may.
"""

from dataclasses import asdict
from pathlib import Path

import click

from harmonia import errors
from harmonia.cli.common import data_option, echo_json, find_sleeper, json_option, run, sleeper_option
from harmonia.cli.ledger_verify import erasures_option, read_text
from harmonia.client import LedgerEntry, Sanctuary, SleeperCalls
from harmonia.ledger.leaves import Entry, open_leaf
from harmonia.ledger.ledger import find, proof_of
from harmonia.ledger.note import Checkpoint
from harmonia.ledger.proof import Proof
from harmonia.ledger.reading import opened, signer_of, store_of


@click.command()
@data_option
@json_option
def key(data_dir: Path, as_json: bool) -> None:
    """Print the verifier key: give it to everybody who is to verify, on another way than the ledger itself."""
    try:
        verifier = str(signer_of(data_dir).verifier)
    except errors.NotFound:
        verifier, _ = run(Sanctuary.at(data_dir).ledger)
    if as_json:
        echo_json({"verifier_key": verifier})
    else:
        click.echo(verifier)


@click.command()
@data_option
@sleeper_option
@json_option
def ls(data_dir: Path, sleeper: str | None, as_json: bool) -> None:
    """List the ledger's entries, or (with --sleeper) those of what a sleeper of this machine said."""
    entries = _listed(data_dir) if sleeper is None else _own(data_dir, sleeper)
    if as_json:
        echo_json({"entries": [asdict(one) for one in entries]})
        return
    for one in entries:
        click.echo(f"{one.index:>7}  {one.kind:<10}  hour {one.hour_s}  {one.event_id}")
    if not entries:
        click.echo("the ledger has no entries yet")


@click.command()
@data_option
@click.argument("id", metavar="ID")
@click.option("--output", type=click.Path(path_type=Path), help="The proof's file. [default: ENTRY.tlog-proof]")
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Prove it under this checkpoint, such as a published one with witnesses' signatures; not with --sleeper.",
)
@erasures_option
@sleeper_option
@json_option
def prove(
    data_dir: Path,
    id: str,
    output: Path | None,
    checkpoint: Path | None,
    erasures: Path | None,
    sleeper: str | None,
    as_json: bool,
) -> None:
    """Write a proof that an entry is in the ledger, and beside it what opens the entry (FILE.opening).

    ID is an entry's number or an event's id, as `harmonia ledger ls` lists them. Whoever gets both files learns what
    was said; whoever gets the proof alone learns that something was. With --sleeper the sanctuary is asked, for what
    that sleeper said.
    """
    if sleeper is not None and (checkpoint or erasures) is not None:
        raise errors.BadInput("--checkpoint and --erasures are for the operator: give them without --sleeper")
    text, opening = _proved(data_dir, id, checkpoint, erasures) if sleeper is None else _asked(data_dir, sleeper, id)
    proof = Proof.parse(text, "the sanctuary's answer")
    output = output or Path(f"{proof.index}.tlog-proof")
    opening_file = output.with_name(output.name + ".opening") if opening else None
    try:
        output.write_text(text)
        if opening_file is not None:
            opening_file.touch(mode=0o600)
            opening_file.write_bytes(opening)
    except OSError as error:
        raise errors.StorageError(f"{error.filename} cannot be written ({error.strerror}): choose another") from None
    if as_json:
        named = {"proof": str(output), "opening": None if opening_file is None else str(opening_file)}
        echo_json({"entry": proof.index, "size": proof.checkpoint.size, **named})
        return
    click.echo(f"{output}: entry {proof.index} is in the ledger of {proof.checkpoint.size} entries")
    click.echo(
        f"{opening_file}: what it says; keep it to yourself, or give it to whom you want to show"
        if opening_file is not None
        else "nobody can open it any more: its person was forgotten"
    )


def _listed(data_dir: Path) -> list[LedgerEntry]:
    with store_of(data_dir) as store:
        found = []
        for index, leaf in enumerate(store.leaves(0, store.size)):
            entry = Entry.parse(leaf.entry, str(store.path))
            found.append(LedgerEntry(index, leaf.event_id.hex(), entry.kind, entry.hour_s))
        return found


def _own(data_dir: Path, sleeper: str) -> list[LedgerEntry]:
    async def work() -> list[LedgerEntry]:
        async with SleeperCalls(find_sleeper(data_dir, sleeper)) as calls:
            return list(await calls.ledger_entries())

    return run(work)


def _proved(data_dir: Path, id: str, checkpoint: Path | None, erasures: Path | None) -> tuple[str, bytes]:
    under = None if checkpoint is None else Checkpoint.parse(read_text(checkpoint), str(checkpoint))
    with opened(data_dir, erasures) as ledger:
        record = find(ledger.journal, ledger.store, id)
        return str(proof_of(ledger.store, record, under)), open_leaf(record, ledger.salt) or b""


def _asked(data_dir: Path, sleeper: str, id: str) -> tuple[str, bytes]:
    async def work() -> tuple[str, bytes]:
        async with SleeperCalls(find_sleeper(data_dir, sleeper)) as calls:
            return await calls.prove(id)

    return run(work)
