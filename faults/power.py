"""The campaign of power cuts: the real journal on a disk that loses what was not synced.

Several threads append, and now and then the journal is closed and opened; at a random call of SQLite's the power goes.
Then the journal is opened from what is left: every append that had returned must be there, in its place, with its
bytes; nothing may be there that nobody wrote; and SQLite must find its file in order. Ten cuts and more strike the same
disk in turn, each what the last one has left.
"""

import random
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count, product
from pathlib import Path
from typing import Any

import apsw

from harmonia.errors import StorageError
from harmonia.journal import ALL, ANY, OutcomeUnknown, Position
from harmonia.journal.sqlite import SqliteJournal
from harmonia.testing.power_cut import Fault, PowerCutDisk, power_cut_disk

_CUTS_A_DISK = 12
_WRITERS = 4
_APPENDS = 6
_CALLS_MAX = 180
"""About as many calls as a life without a cut makes."""

Promise = dict[bytes, tuple[str, Position, bytes]]
"""By event id: what was acknowledged."""


@dataclass
class Report:
    """What a campaign found."""

    cuts: int = 0
    acknowledged: int = 0
    lost: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """For a program."""
        return {"cuts": self.cuts, "acknowledged": self.acknowledged, "lost": self.lost}


def run(folder: Path, cuts: int, seed: int, *, unsynced: bool = False) -> Report:
    """Cuts the power so many times. ``unsynced``: the control, a journal that does not sync."""
    source, report = random.Random(seed), Report()
    with ThreadPoolExecutor(_WRITERS) as writers:
        while report.cuts < cuts:
            place = folder / f"disk-{report.cuts}"
            place.mkdir()
            with power_cut_disk(place) as disk:
                _strike(disk, min(_CUTS_A_DISK, cuts - report.cuts), source, report, writers, unsynced)
            shutil.rmtree(place)
    return report


def _strike(
    disk: PowerCutDisk,
    cuts: int,
    source: random.Random,
    report: Report,
    writers: ThreadPoolExecutor,
    unsynced: bool,
) -> None:
    promised: Promise = {}
    wished: dict[bytes, tuple[str, bytes]] = {}
    for _ in range(cuts):
        disk.fail("cut", source.randint(1, _CALLS_MAX))
        while not disk.failed:
            _live(disk, source, promised, wished, writers, unsynced)
        disk.survive(source)
        report.cuts += 1
        try:
            wrong = check(disk, promised, wished)
        except StorageError as error:
            wrong = [f"the journal does not open any more: {error}"]
        report.lost += [f"cut {report.cuts}: {words}" for words in wrong]
        if wrong:
            break
    report.acknowledged += len(promised)


def _live(
    disk: PowerCutDisk,
    source: random.Random,
    promised: Promise,
    wished: dict[bytes, tuple[str, bytes]],
    writers: ThreadPoolExecutor,
    unsynced: bool,
) -> None:
    """One life of the journal: opened, written to by several, closed."""
    try:
        journal = SqliteJournal(
            disk.folder / "journal.db", vfs=disk.vfs, checkpoint_pages=source.choice((8, 16, 64, 1000))
        )
    except StorageError:
        return
    if unsynced:
        journal._writing.execute("PRAGMA synchronous=OFF")
    works = []
    for writer in range(_WRITERS):
        given = [(source.randbytes(16), source.randbytes(source.choice((40, 200, 5000)))) for _ in range(_APPENDS)]
        wished.update({event_id: (f"person/{writer}", data) for event_id, data in given})
        works.append(writers.submit(_write, journal, f"person/{writer}", given))
    for work in works:
        promised.update(work.result())
    journal.close()


def _write(journal: SqliteJournal, stream: str, given: list[tuple[bytes, bytes]]) -> Promise:
    promised: Promise = {}
    for event_id, data in given:
        try:
            promised[event_id] = (stream, journal.append(stream, ANY, event_id, data), data)
        except StorageError:
            break
    return promised


def check(disk: PowerCutDisk, promised: Promise, wished: dict[bytes, tuple[str, bytes]]) -> list[str]:
    """What is wrong with the journal on the disk. Raises StorageError if it does not open."""
    journal = SqliteJournal(disk.folder / "journal.db", vfs=disk.vfs)
    try:
        records = journal.read(ALL)
        sound = journal._reading.execute("PRAGMA integrity_check").get
    except apsw.Error as error:
        sound = str(error)
    finally:
        journal.close()
    found = {record.event_id: (record.stream, record.position, record.data) for record in records}
    wrong = [
        f"{stream} lost an append" for id_, (stream, *rest) in promised.items() if found.get(id_) != (stream, *rest)
    ]
    wrong += [
        f"{record.stream} holds what nobody wrote"
        for record in records
        if wished.get(record.event_id) != (record.stream, record.data)
    ]
    if sound != "ok":
        wrong.append(f"SQLite finds its file damaged: {sound}")
    return wrong


@dataclass
class ErrorReport:
    """What came of failing calls."""

    lives: int = 0
    acknowledged: int = 0
    lost: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """For a program."""
        return {"lives": self.lives, "acknowledged": self.acknowledged, "lost": self.lost}


def faults_everywhere(folder: Path, step: int = 1) -> ErrorReport:
    """Lets each call of a short life (or every ``step``-th) fail: full and broken disks, for once and for good."""
    report = ErrorReport()
    kinds: tuple[Fault, ...] = ("full", "broken")
    for fault, lasting in product(kinds, (False, True)):
        for call in count(1, step):
            place = folder / f"{fault}-{lasting}-{call}"
            place.mkdir()
            with power_cut_disk(place) as disk:
                disk.fail(fault, call, lasting=lasting)
                failed, acknowledged, words = _life_with_a_fault(disk)
            shutil.rmtree(place)
            report.lives += 1
            report.acknowledged += acknowledged
            report.lost += [f"{fault} at call {call}{' and after' if lasting else ''}: {one}" for one in words]
            if not failed:
                break
    return report


def _life_with_a_fault(disk: PowerCutDisk) -> tuple[bool, int, list[str]]:
    """A short life in which something fails: each append is kept, or refused and not there, or said to be uncertain."""
    promised: Promise = {}
    wished: dict[bytes, tuple[str, bytes]] = {}
    refused: set[bytes] = set()
    for life in range(2):
        try:
            journal = SqliteJournal(disk.folder / "journal.db", vfs=disk.vfs, checkpoint_pages=8)
        except StorageError:
            continue
        for n in range(6):
            event_id, stream, data = bytes([life, n]) * 8, f"person/{n % 2}", bytes([n]) * (4000 if n == 3 else 80)
            wished[event_id] = (stream, data)
            try:
                promised[event_id] = (stream, journal.append(stream, ANY, event_id, data), data)
            except OutcomeUnknown:
                pass
            except StorageError:
                refused.add(event_id)
        journal.close()
    failed = disk.failed
    disk.repair()
    wrong = check(disk, promised, wished)
    journal = SqliteJournal(disk.folder / "journal.db", vfs=disk.vfs)
    there = {record.event_id for record in journal.read(ALL)}
    wrong += [f"{event_id.hex()} was said not to be written, and is there" for event_id in refused & there]
    journal.close()
    return failed, len(promised), wrong
