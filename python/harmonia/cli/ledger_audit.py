"""`harmonia ledger audit`: everything that can be checked of a ledger, by anybody or by those who can open it."""

from pathlib import Path

import click

from harmonia import errors
from harmonia.cli.common import data_option, echo_json, find_sleeper, json_option, run, sleeper_option
from harmonia.cli.ledger_verify import erasures_option, key_option, read_text, verifiers, witness_option
from harmonia.client import SleeperCalls
from harmonia.domain.consent import Purpose
from harmonia.journal.sealing import PERSON
from harmonia.ledger.audit import Findings, audit_openings
from harmonia.ledger.audit import audit as audit_files
from harmonia.ledger.note import Checkpoint, Verifier
from harmonia.ledger.own import Shown, audit_own, of_one_tree
from harmonia.ledger.proof import Proof
from harmonia.ledger.publishing import Folder, Stored
from harmonia.ledger.reading import opened, store_of
from harmonia.rpc.files import in_use

TRIES = 8
"""How often a sleeper's proofs are fetched again, because the ledger grew between them."""


@click.command()
@data_option
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(path_type=Path, file_okay=False))
@key_option
@witness_option
@click.option(
    "--since",
    "earlier",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="A checkpoint or proof from earlier, which the ledger must continue; may be repeated.",
)
@erasures_option
@click.option("--openings", is_flag=True, help="Open every entry too: as the operator, or of --sleeper.")
@sleeper_option
@json_option
def audit(
    data_dir: Path,
    folder: Path | None,
    key: str | None,
    witnesses: tuple[str, ...],
    earlier: tuple[Path, ...],
    erasures: Path | None,
    openings: bool,
    sleeper: str | None,
    as_json: bool,
) -> None:
    """Check a ledger: one that was published in DIR, or the data folder's own.

    Signatures, every tile and the root are computed again from the entries; with --since also that nothing before has
    changed. With --openings every commitment is computed again from the journal, what is missing or too much is found,
    and consent is replayed: no ruling, mode or offer touched anybody's no. With --sleeper it is that sleeper's own
    entries that are proved and opened.
    """
    if sleeper is not None:
        _audit_own(data_dir, sleeper, verifiers(key, witnesses, data_dir), as_json)
        return
    if openings and folder is not None:
        raise errors.BadInput("--openings needs the journal: audit the data folder (--data), without DIR")
    wanted = verifiers(key, witnesses, data_dir)
    since = {str(path): _checkpoint(path) for path in earlier}
    if folder is not None:
        found = audit_files(Folder(folder), wanted, since)
    elif openings:
        with opened(data_dir, erasures) as ledger:
            since |= {f"{ledger.store.path}: checkpoint {old.size}": old for old in ledger.store.checkpoints()}
            found = audit_files(Stored(ledger.store), wanted, since)
            audit_openings(found, ledger.journal, ledger.store, ledger.salt)
            if found.behind and not in_use(data_dir):
                raise errors.StorageUnreadable(
                    f"{ledger.store.path} lacks the journal's newest {found.behind} events that belong into it, and no"
                    f" sanctuary runs in {data_dir} that would write them: start it, then audit again"
                )
    else:
        with store_of(data_dir) as store:
            found = audit_files(Stored(store), wanted, since)
    _tell(found, openings, as_json)


def _checkpoint(path: Path) -> Checkpoint:
    text = read_text(path)
    return (
        Proof.parse(text, str(path)).checkpoint if text.startswith("c2sp.org/") else Checkpoint.parse(text, str(path))
    )


def _tell(found: Findings, openings: bool, as_json: bool) -> None:
    checkpoint = found.checkpoint
    if as_json:
        basic = {"origin": checkpoint.origin, "size": checkpoint.size, "root": checkpoint.root.hex()}
        more = {
            name: getattr(found, name)
            for name in ("opened", "behind", "shredded", "orphans", "lost_noes", "grants", "stale", "withdrawals")
        }
        echo_json({**basic, "kinds": dict(found.kinds), **(more if openings else {})})
        return
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(found.kinds.items())) or "none yet"
    click.echo(f"{checkpoint.origin}: {checkpoint.size} entries ({kinds}), signed; every tile follows from them")
    if openings:
        click.echo(
            f"{found.opened} opened, as the journal has them; {found.shredded} shredded: their people were forgotten"
            + (f"; {found.behind} events behind the checkpoint, still to be written" if found.behind else "")
            + (f"; {found.orphans} orphans: the journal was restored from before them" if found.orphans else "")
        )
        click.echo(
            f"consent replayed: {found.grants} grants, {found.withdrawals} withdrawals, {found.stale} stale grants that"
            " changed nothing; " + _verdict(found)
        )


def _verdict(found: Findings) -> str:
    if not found.lost_noes:
        return "nobody's no became a yes by anything but their own grant"
    return (
        f"but {found.lost_noes} of the orphans are withdrawals or wishes that the journal has lost: whose no they were"
        " cannot be told, nor that it was kept"
    )


def _audit_own(data_dir: Path, sleeper: str, wanted: list[Verifier], as_json: bool) -> None:
    """Proves and opens each of a sleeper's entries, and compares what they add up to with what the sanctuary says."""
    identity = find_sleeper(data_dir, sleeper)

    async def work() -> tuple[int, set[Purpose]]:
        async with SleeperCalls(identity) as calls:
            shown = await _shown(calls)
            own = audit_own(PERSON + identity.sleeper_id, shown, wanted)
            own.compare({purpose.word for purpose, one in (await calls.consents()).items() if one.granted})
            return len(shown), set(own.allowed)

    count, purposes = run(work)
    allowed = sorted(purpose.name.lower() for purpose in purposes)
    if as_json:
        echo_json({"entries": count, "allowed": allowed})
    else:
        click.echo(
            f"{count} entries proved and opened; they add up to what the sanctuary goes by:"
            f" {', '.join(allowed) or 'nothing'} allowed"
        )


async def _shown(calls: SleeperCalls) -> list[Shown]:
    """All that the sanctuary lists as this sleeper's, proved under one checkpoint."""
    for _ in range(TRIES):
        shown = []
        for one in await calls.ledger_entries():
            text, opening = await calls.prove(str(one.index))
            shown.append(Shown(one.index, Proof.parse(text, f"entry {one.index}"), opening))
        if of_one_tree(shown):
            return shown
    raise errors.NotNow("the ledger grew each time while it was audited: audit again when fewer people are at it")
