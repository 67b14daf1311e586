"""Laws of the journal against a model: whatever is appended, refused, broken, cut off and opened again."""

import random
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from harmonia.errors import StorageError
from harmonia.journal import ALL, ANY, NO_STREAM, Expected, OutcomeUnknown, Position, WrongExpectedRevision
from harmonia.journal.sqlite import SqliteJournal
from harmonia.testing.power_cut import PowerCutDisk

streams = st.sampled_from(["person/a", "person/b", "circle/c"])
ids = st.integers(0, 12).map(lambda n: b"%d" % n)
faults = st.sampled_from(["full", "broken", "cut"])

Entry = tuple[str, bytes, bytes]


class JournalAgainstAModel(RuleBasedStateMachine):
    """The model: what is there for certain, in order, and what may be there."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="harmonia-laws-"))
        self.disk = PowerCutDisk(self.folder)
        self.kept: list[tuple[Entry, Position]] = []
        self.perhaps: set[Entry] = set()
        self.journal = self.opened()

    def opened(self) -> SqliteJournal:
        return SqliteJournal(self.folder / "journal.db", vfs=self.disk.vfs, checkpoint_pages=8)

    def position_of(self, stream: str, event_id: bytes) -> Position | None:
        return next((p for (s, i, _), p in self.kept if (s, i) == (stream, event_id)), None)

    def newest(self, stream: str) -> Expected | Position:
        return next((p for (s, _, _), p in reversed(self.kept) if s == stream), NO_STREAM)

    @rule(stream=streams, event_id=ids, data=st.binary(max_size=40), stale=st.booleans(), anyhow=st.booleans())
    def append(self, stream: str, event_id: bytes, data: bytes, stale: bool, anyhow: bool) -> None:
        self.settle()
        entry, known, newest = (stream, event_id, data), self.position_of(stream, event_id), self.newest(stream)
        expected = ANY if anyhow else Position(1, 10**9) if stale else newest
        try:
            position = self.journal.append(stream, expected, event_id, data)
        except WrongExpectedRevision:
            assert stale and not anyhow and known is None
        except OutcomeUnknown:
            self.perhaps.add(entry)
        except StorageError:
            pass  # nothing was written: the invariant looks
        else:
            assert known in (None, position), "the first of that id is meant"
            assert known is not None or anyhow or not stale
            if known is None:
                self.kept.append((entry, position))

    @rule(fault=faults, at=st.integers(1, 30), lasting=st.booleans())
    def break_the_disk(self, fault: Any, at: int, lasting: bool) -> None:
        self.disk.fail(fault, at, lasting=lasting)

    @rule(seed=st.integers(0, 2**32))
    def cut_the_power(self, seed: int) -> None:
        self.disk.powered = False
        self.journal.close()
        self.disk.survive(random.Random(seed))
        self.journal = self.opened()

    @rule()
    def restart(self) -> None:
        self.journal.close()
        if not self.disk.powered:
            self.disk.survive(random.Random(0))
        self.disk.repair()
        self.journal = self.opened()

    def settle(self) -> None:
        """Takes over what turns out to be there of what was uncertain, while nothing is broken."""
        if self.disk.powered and not self.disk.failing:
            self.everything_kept_is_there_and_nothing_else()

    @invariant()
    def everything_kept_is_there_and_nothing_else(self) -> None:
        if not self.disk.powered or self.disk.failing:
            return
        found = [((r.stream, r.event_id, r.data), r.position) for r in self.journal.read(ALL)]
        surplus = [one for one in found if one not in self.kept]
        assert [one for one in found if one in self.kept] == self.kept
        assert {entry for entry, _ in surplus} <= self.perhaps
        self.kept = found

    def teardown(self) -> None:
        self.journal.close()
        self.disk.close()
        shutil.rmtree(self.folder)


TestJournalAgainstAModel = JournalAgainstAModel.TestCase
TestJournalAgainstAModel.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
