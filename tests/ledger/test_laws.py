"""What an audit rests on, and what a sudden death must not change."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia.domain.events import PersonEvent, encode
from harmonia.journal import Position, Record
from harmonia.journal.opening import open_sealed
from harmonia.ledger.audit import Replay, audit, audit_openings
from harmonia.ledger.ledger import Ledger
from harmonia.ledger.publishing import Stored
from harmonia.ledger.reading import opened
from harmonia.rpc.files import write_private
from tests.domain.test_consent import JOINED, notes, person_events


@given(st.lists(st.one_of(person_events, notes), max_size=40))
def test_the_audits_rules_and_the_domains_agree_on_any_history(events: list[PersonEvent]) -> None:
    replay = Replay()
    for n, event in enumerate([JOINED, *events], 1):
        replay.take_in(Record("person/a", Position(1, n), b"%d" % n, encode(event)))


WRITER = """
import itertools, os, sys, threading
from pathlib import Path
from harmonia.domain.consent import Purpose
from harmonia.domain.events import ConsentWithdrawn, SleeperJoined, encode
from harmonia.journal import ANY, NO_STREAM
from harmonia.journal.opening import open_sealed
from harmonia.ledger.ledger import Ledger
from harmonia.rpc.files import write_private

folder = Path(sys.argv[1])
journal = open_sealed(folder)
ledger = Ledger(journal, folder, "example.org/ledger", write_private)
said = threading.Lock()

def write(name):
    for n in itertools.count():
        stream = f"person/{name}{n}"
        joined = SleeperJoined("circle-a", f"{name}{n}", b"t", b"c", b"p" * 32, 0)
        journal.append(stream, NO_STREAM, b"j", encode(joined))
        event_id = os.urandom(16)
        journal.append(stream, ANY, event_id, encode(ConsentWithdrawn((Purpose.VOICE,), event_id, 1)))
        with said:
            print(stream, event_id.hex(), flush=True)

for name in "abcd":
    threading.Thread(target=write, args=(name,), daemon=True).start()
threading.Event().wait()
"""


@pytest.mark.parametrize("acknowledged_before_death", [1, 30, 150])
def test_after_kill_9_every_acknowledged_withdrawal_is_in_the_journal_and_soon_in_the_ledger(
    tmp_path: Path, acknowledged_before_death: int
) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(acknowledged_before_death)]
        writer.send_signal(signal.SIGKILL)
        lines += writer.stdout.read().splitlines(keepends=True)
    acknowledged = [line.split() for line in lines if line.endswith("\n")]
    assert len(acknowledged) >= acknowledged_before_death
    journal = open_sealed(tmp_path)
    ledger = Ledger(journal, tmp_path, "example.org/ledger", write_private)
    for stream, event_id in acknowledged:
        proof, opening = ledger.prove(stream, event_id)
        assert opening is not None and event_id.encode() in opening
        assert proof.index < ledger.checkpoint().size
    ledger.close()
    journal.close()
    with opened(tmp_path) as parts:
        found = audit(Stored(parts.store), [parts.signer.verifier], {})
        assert audit_openings(found, parts.journal, parts.store, parts.salt).withdrawals >= len(acknowledged)
