"""The campaign of sudden deaths: random wishes of several people, kill -9 at a named place, and what is there after it.

A round starts the daemon on the folder that the last one left, audits its ledger, compares all that it shows with the
ledgers of everybody, lets all wish at the same time, and ends with the death at its failpoint. Each place has its turn
before any has a second. A house that has lost something is left: what it shows later would say nothing more. What a
person wishes follows from the seed; how the wishes of several interleave does not.
"""

import random
import signal
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faults.almanac import Almanac
from faults.auditor import Auditor
from faults.causes import CLOCK, CLOSING, FOUNDING, ONCE, PUBLISHING, USING, wish_for
from faults.door import Door
from faults.host import Host
from faults.house import House
from faults.ledger import Caller, Gone, Surprise
from faults.sleeper import Sleeper
from faults.steward import Steward
from harmonia.failpoints import NAMES
from harmonia.v1 import types_pb2

SLEEPERS = 4
_ROUNDS_A_HOUSE = 30
_WISHES = 8
_PROVOCATIONS = 60


@dataclass
class Report:
    """What a campaign found."""

    rounds: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    kept: int = 0
    undone: int = 0
    lost: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    """Places that were not reached in a round of theirs."""

    def as_json(self) -> dict[str, Any]:
        """For a program."""
        return {
            "rounds": self.rounds,
            "kills": sum(self.kills.values()),
            "failpoints": len(self.kills),
            "kills_by_failpoint": dict(sorted(self.kills.items())),
            "acknowledged": self.acknowledged,
            "unanswered_kept": self.kept,
            "unanswered_undone": self.undone,
            "lost": self.lost,
            "missed": self.missed,
        }


class _Street:
    """The people around one data folder."""

    def __init__(self, folder: Path, seed: int, module: str) -> None:
        self.house = House(folder, module)
        self.host = Host(self.house, seed)
        self.steward = Steward(self.house, self.host, seed + 1)
        self.sleepers = [Sleeper(self.house, self.host, self.steward, seed + 2 + n) for n in range(SLEEPERS)]
        others = Almanac(self.house, seed + 2 + SLEEPERS), Door(self.house, seed + 3 + SLEEPERS)
        self.people: list[Caller] = [self.host, self.steward, *others, *self.sleepers]
        self.auditor = Auditor(self.house)

    def settle(self) -> list[str]:
        """Everybody compares; then there is a circle to sleep in and a few tokens. Raises Gone."""
        for one in self.people:
            one.connect()
        wrong = self.auditor.verify(self.sleepers)
        for one in self.people:
            wrong += [f"{type(one).__name__.lower()}: {words}" for words in one.verify()]
            if one is self.host:  # everybody else needs these
                self.host.open_main()
                while len(self.host.tokens) < 4 * SLEEPERS:
                    self.host.invite()
        for sleeper in self.sleepers:
            sleeper.do("attach")
        wrong += self.host.check_offer(self.sleepers[0].offered)
        return wrong

    def live(self, wishes: int) -> list[str]:
        """Everybody wishes at once until each has had so many wishes or the sanctuary is gone."""
        surprises: list[str] = []

        def wish(one: Caller) -> None:
            try:
                for _ in range(wishes):
                    one.do(one.random.choice(one.OPERATIONS))
            except Gone:
                pass
            except Surprise as surprise:
                surprises.append(f"{type(one).__name__}: {surprise}")

        threads = [threading.Thread(target=wish, args=(one,)) for one in self.people]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return surprises

    def provoke(self, name: str) -> None:
        """Does what leads to a place until the sanctuary is gone, which raises Gone; in vain if there is nothing."""
        if wish := wish_for(name):
            for _ in range(_PROVOCATIONS):
                self.do(wish)

    def do(self, wish: str) -> None:
        """What somebody wishes, and before it what that takes. Raises Gone when the sanctuary is."""
        who = next(one for one in self.people if hasattr(one, wish))
        if len(self.host.tokens) < SLEEPERS:
            self.host.do("invite")
        if wish == "answer":
            self.host.do("rule")
            who.do("leave")  # who is new has answered nothing
        if wish in ("weave", "advance") and self.host.random.random() < 0.2:
            self.host.do("create")
        if wish == "answer_help":
            self.sleepers[0].do("call_for_help")
        if wish == "file":
            self.sleepers[0].do("petition")
        who.do(wish)

    def prepare(self, purpose: types_pb2.Purpose.ValueType | None = None) -> list[str]:
        """A life in which somebody allows something, with an end if no purpose is named. Raises Gone or Surprise."""
        wrong: list[str] = []
        if self.house.start():
            wrong = self.settle()
            self.steward.unsilence()
            self.sleepers[0].grant(timed=purpose is None, purpose=purpose)
            self.house.end(signal.SIGTERM)
        return wrong

    def lose_clock(self) -> list[str]:
        """While the sanctuary is closed; somebody had given a grant with an end."""
        wrong = self.prepare()
        (self.house.folder / "clock").unlink()
        for one in self.people:
            one.clock_was_lost()
        return wrong

    def close(self) -> None:
        """Switches all platforms off."""
        for sleeper in self.sleepers:
            sleeper.close()


def run(folder: Path, kills: int, seed: int, names: list[str] | None = None, module: str = "harmonia.cli") -> Report:
    """Kills a sanctuary so many times; ``names``: at these places, all if None."""
    source, report = random.Random(seed), Report()
    pending: list[str] = []
    street: _Street | None = None
    while sum(report.kills.values()) < kills and report.rounds < 2 * kills + 20:
        if not pending:
            pending = source.sample(every := sorted(names or NAMES), len(every))
        name = pending.pop()
        if street is None or name in FOUNDING or report.rounds % _ROUNDS_A_HOUSE == 0:
            if street is not None:
                _end(street, report)
            street = _Street(folder / f"house-{report.rounds}", source.getrandbits(32), module)
        report.rounds += 1
        words = _round(street, name, _count(source, name), report)
        report.lost += [f"round {report.rounds}, before {name}: {one}" for one in words]
        if words:
            _leave(street, report)
            street = None
    if street is not None:
        _end(street, report)
    return report


def reached(folder: Path, seed: int) -> set[str]:
    """The places that the campaign's wishes lead to, as a sanctuary says that is told to log each."""
    street = _Street(folder / "house", seed, "harmonia.cli")
    everywhere = ",".join(f"{name}=log" for name in sorted(NAMES))
    for again in (False, True):
        if again:
            street.prepare(types_pb2.PURPOSE_VOICE)
            street.lose_clock()
        assert street.house.start(everywhere), street.house.log()
        street.settle()
        if not again:
            for wish in sorted({wish_for(name) for name in NAMES} - {""}):
                street.do(wish)
            street.auditor.log_publishing(everywhere)
            while "failpoint journal.checkpointed\n" not in street.house.log():
                street.host.write_much()
        street.house.end(signal.SIGTERM)
    street.close()
    lines = street.house.log().splitlines()
    return {line.removeprefix("failpoint ") for line in lines if line.startswith("failpoint ")}


def _count(source: random.Random, name: str) -> int:
    if name in ONCE or name in PUBLISHING or "checkpoint" in name:
        return 1
    return source.randint(1, 40 if name.startswith("journal.") else 2)


def _round(street: _Street, name: str, count: int, report: Report) -> list[str]:
    """One life of the daemon, and its death at ``name``; what was wrong at its beginning or in between."""
    wrong, killed = list[str](), False
    try:
        if name in CLOCK:
            wrong += street.lose_clock()
        if name in USING:
            wrong += street.prepare(types_pb2.PURPOSE_VOICE)
    except (Gone, Surprise) as error:
        street.house.end(signal.SIGTERM)
        return [*wrong, repr(error)]
    if street.house.start("" if name in PUBLISHING else f"{name}=kill@{count}"):
        try:
            wrong += street.settle()
            wrong += street.live(_WISHES)
            if name in PUBLISHING:
                killed = street.auditor.dies_publishing(name, count)
            elif name not in CLOSING and street.house.alive:
                street.provoke(name)
        except Gone:
            pass
        except Surprise as surprise:
            wrong.append(str(surprise))
        code = street.house.end(signal.SIGTERM)
    else:
        code = street.house.code
        if code != -signal.SIGKILL:
            wrong.append(_closed(street))
    if killed or code == -signal.SIGKILL:
        report.kills[name] += 1
    else:
        report.missed.append(name)
    return wrong


def _end(street: _Street, report: Report) -> None:
    """The last look at a house."""
    if street.house.start():
        try:
            report.lost += [f"at the end of {street.house.folder.name}: {one}" for one in street.settle()]
        except (Gone, Surprise) as error:
            report.lost.append(f"at the end of {street.house.folder.name}: {error!r}")
        street.house.end(signal.SIGTERM)
    else:
        report.lost.append(_closed(street))
    _leave(street, report)


def _closed(street: _Street) -> str:
    return f"{street.house.folder.name} does not open any more: {street.house.log()[-400:]}"


def _leave(street: _Street, report: Report) -> None:
    street.close()
    for one in street.people:
        report.acknowledged += one.ledger.acknowledged
        report.kept += one.ledger.kept
        report.undone += one.ledger.undone
