"""The operator of a campaign: after every death publishes the ledger, audits it, and reads who was forgotten.

An audit believes nothing: every tile, signature and commitment is computed again, and consent is replayed. It has to
hold whatever the ledger, the keys and the erasure journal were at when the process died; and it has to continue every
checkpoint that anybody was shown before, or the ledger would have two histories.
"""

import signal
from pathlib import Path

from faults.house import House
from faults.sleeper import Sleeper
from harmonia.errors import HarmoniaError
from harmonia.journal import ALL, SHREDDED
from harmonia.ledger.audit import audit, audit_openings
from harmonia.ledger.note import Checkpoint
from harmonia.ledger.publishing import Folder, Stored, publish
from harmonia.ledger.reading import Opened, opened

_PAGE = 1000


class Auditor:
    """Of one data folder; what it publishes lies beside it."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._published: Path = house.folder.with_name(f"{house.folder.name}-published")
        self._newest: dict[str, Checkpoint] = {}
        """The newest checkpoints that were seen, by where."""

    def verify(self, sleepers: list[Sleeper]) -> list[str]:
        """What is wrong with the ledger, and with what is readable of whom."""
        since = dict(self._newest)
        since |= {f"what sleeper {n} was shown": one.shown for n, one in enumerate(sleepers) if one.shown is not None}
        try:
            with opened(self._house.folder) as ledger:
                verifiers = [ledger.signer.verifier]
                kept = {f"checkpoint {old.size}": old for old in ledger.store.checkpoints()}
                found = audit_openings(
                    audit(Stored(ledger.store), verifiers, since | kept), ledger.journal, ledger.store, ledger.salt
                )
                publish(ledger.store, self._published)
                published = audit(Folder(self._published), verifiers, since)
                self._newest = {"the ledger": found.checkpoint, "what was published": published.checkpoint}
                wrong = _wrongly_readable(ledger, sleepers)
        except HarmoniaError as error:
            return [f"the audit: {error}"]
        return wrong + [f"{found.orphans} entries have no event any more"] * bool(found.orphans)

    def dies_publishing(self, name: str, count: int) -> bool:
        """Publishes, and dies of it at that failpoint for the N-th time, if it is reached."""
        return self._house.publish(self._published, f"{name}=kill@{count}") == -signal.SIGKILL

    def log_publishing(self, failpoints: str) -> None:
        """Publishes, and lets it say which failpoints it reaches."""
        self._house.publish(self._published, failpoints)


def _wrongly_readable(ledger: Opened, sleepers: list[Sleeper]) -> list[str]:
    streams = {stream: state for one in sleepers for stream, state in one.streams.items()}
    shredded, readable, after = set[str](), set[str](), None
    while page := ledger.journal.read(ALL, after, _PAGE):
        for record in page:
            (shredded if record.data == SHREDDED else readable).add(record.stream)
        after = page[-1].position
    gone = {stream for stream, forgotten in streams.items() if forgotten}
    maybe = {stream for stream, forgotten in streams.items() if forgotten is None}
    wrong = [f"{stream} was forgotten, and can be read" for stream in gone & readable]
    wrong += [f"{stream} was not forgotten, and cannot be read" for stream in shredded - gone - maybe]
    return wrong + [f"{stream} is gone from the journal" for stream in streams.keys() - readable - shredded]
