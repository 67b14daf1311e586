"""The second opinion: what may be done with whom, from what people said and what the disk holds, written to be read.

It shares no rule with the engine and knows none of its objects: it is told every word at the moment it is said, and
compares. The one thing that it takes from the domain is the names of purposes and states, and how events are encoded.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from harmonia.domain.consent import Purpose
from harmonia.domain.events import ConsentGranted, ConsentWithdrawn, Event, SleeperLeft
from harmonia.domain.states import CircleState

SOUND = (Purpose.VOICE, Purpose.HEARING, Purpose.RECORDING, Purpose.PULL)
WITH_SOUND = (CircleState.GATHERING, CircleState.ENTRAINING, CircleState.DREAMING, CircleState.WAKING)


IN_SILENCE = frozenset({Purpose.VOICE, Purpose.HEARING, Purpose.RECORDING, Purpose.MONITORING})
"""Of which a silent room has none."""


class Where(NamedTuple):
    """What surrounds a person at one instant."""

    state: CircleState
    silent: bool
    """Somebody silenced the room."""
    now_ns: int


class Broken(AssertionError):
    """An invariant does not hold; the message says which, for whom."""


class Yes(NamedTuple):
    """A grant as its person said it."""

    event_id: bytes
    purpose: Purpose
    names: bytes
    level: float
    until_ns: int | None
    scope: str = ""


@dataclass
class Account:
    """What one person has said."""

    sleeper_id: str
    circle_id: str
    nos: dict[Purpose, list[bytes]] = field(default_factory=lambda: {purpose: [] for purpose in Purpose})
    """Every withdrawal that a house has heard, in the order in which it heard them."""
    unwritten: set[tuple[Purpose, bytes]] = field(default_factory=set)
    """Those of them that no disk has yet."""
    yes: dict[Purpose, Yes | None] = field(default_factory=lambda: dict.fromkeys(Purpose))
    """The grant in force."""
    said: list[Yes] = field(default_factory=list)
    """Every grant that was ever asked for."""
    on_disk: set[bytes] = field(default_factory=set)
    """Grants among the records."""
    promised: list[tuple[bytes, tuple[Purpose, ...]]] = field(default_factory=list)
    """Withdrawals that were acknowledged."""
    doubt: set[Purpose] = field(default_factory=set)
    """A grant of these failed in a way that leaves open whether it was written."""
    settings: dict[str, object] = field(default_factory=dict)
    """As acknowledged."""
    maybe: dict[str, list[object]] = field(default_factory=dict)
    """Asked for, and not acknowledged: there or not."""
    left: bool = False
    known: bool = False
    """A sanctuary has had them on its roll."""
    forgetting: bool = False
    """They were to be forgotten, and the disk may have refused."""
    hushed: bool = False
    """A withdrawal was repeated after it had been answered, and is not settled yet: mute until it is."""

    def hears_no(self, purposes: Iterable[Purpose], event_id: bytes) -> None:
        """A withdrawal reaches the house, for the first time or again."""
        for purpose in purposes:
            if event_id not in self.nos[purpose]:
                self.nos[purpose].append(event_id)
                self.unwritten.add((purpose, event_id))
                self.yes[purpose] = None
                self.doubt.discard(purpose)

    def writes_no(self, purposes: Iterable[Purpose], event_id: bytes) -> None:
        """The disk takes a withdrawal: behind all others, so that it is the newest that it will give back."""
        for purpose in purposes:
            if (purpose, event_id) in self.unwritten:
                self.unwritten.remove((purpose, event_id))
                self.nos[purpose].remove(event_id)
                self.nos[purpose].append(event_id)

    def newest(self, purpose: Purpose) -> bytes:
        """The name that a grant must give."""
        return self.nos[purpose][-1] if self.nos[purpose] else b""

    def accepted(self, yes: Yes) -> None:
        """The house said that the grant counts."""
        if yes.names == self.newest(yes.purpose):
            self.yes[yes.purpose] = yes
            self.doubt.discard(yes.purpose)
            self.hushed = self.hushed and yes.purpose is not Purpose.VOICE

    def level(self, purpose: Purpose, where: Where) -> float:
        """How far the purpose is allowed."""
        return 0.0 if self.left else level_of(self.yes[purpose], purpose, where)

    def may(self, purpose: Purpose, where: Where) -> bool:
        """Whether some grant of the person's own, on disk and answering the newest no, allows the purpose."""
        answers = (
            yes
            for yes in self.said
            if yes.purpose is purpose and yes.names == self.newest(purpose) and yes.event_id in self.on_disk
        )
        return not self.left and any(level_of(yes, purpose, where) > 0 for yes in answers)

    def reread(self, events: Iterable[Event]) -> None:
        """The house has started: only what its disk holds is left of all that it heard."""
        before, self.yes = self.yes, dict.fromkeys(Purpose)
        doubt, self.doubt = self.doubt, set()
        self.nos = {purpose: [] for purpose in Purpose}
        self.unwritten.clear()
        self.left = self.hushed = False
        for event in events:
            if isinstance(event, ConsentWithdrawn):
                self.hears_no(event.purposes, event.event_id)
                self.writes_no(event.purposes, event.event_id)
            elif isinstance(event, ConsentGranted):
                self._rereads_yes(event)
            elif isinstance(event, SleeperLeft):
                self.left = True
        for event_id, purposes in self.promised:
            for purpose in purposes:
                if event_id not in self.nos[purpose]:
                    raise Broken(
                        f"{self.sleeper_id}: the acknowledged withdrawal {event_id.hex()} of {purpose.name} is lost"
                    )
        for purpose, yes in before.items():
            if yes is not None and purpose not in doubt and self.yes[purpose] != yes:
                raise Broken(f"{self.sleeper_id}: the acknowledged grant of {purpose.name} is lost")

    def _rereads_yes(self, event: ConsentGranted) -> None:
        known = [yes for yes in self.said if yes.event_id == event.event_id and yes.purpose is event.purpose]
        if not known:
            raise Broken(f"{self.sleeper_id}: the journal holds a grant of {event.purpose.name} that nobody gave")
        if known[0] != Yes(event.event_id, event.purpose, event.supersedes, event.level, event.until_ns, event.scope):
            raise Broken(f"{self.sleeper_id}: the journal holds another grant of {event.purpose.name} than was given")
        self.accepted(known[0])


def level_of(yes: Yes | None, purpose: Purpose, where: Where) -> float:
    """How far one grant reaches."""
    if yes is None or where.state is CircleState.CLOSED:
        return 0.0
    if yes.until_ns is not None and where.now_ns >= yes.until_ns:
        return 0.0
    if where.silent and purpose in IN_SILENCE:
        return 0.0
    return 0.0 if purpose in SOUND and where.state not in WITH_SOUND else yes.level
