"""What a circle's people are told of who used what they allow: looked at every minute, written to their own streams.

Voices, recorders, pull and biosignals last; they are looked at once a minute, and seconds after a grant or a step of
the night, when a use may have begun. Somebody who listens in, keeps a recording or looks at the circle may be gone
before the next look; they are remembered until then. Writing it waits for nobody and nobody waits for it: a disk that
refuses is asked again at the next look.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import trio

from harmonia.domain.consent import Purpose
from harmonia.domain.states import SOUNDING
from harmonia.domain.usage import Book, Party
from harmonia.engine.desk import Desk
from harmonia.errors import StorageError

if TYPE_CHECKING:
    from harmonia.engine.conductor import Conductor
    from harmonia.engine.person import Person

_log = logging.getLogger(__name__)

LOOK_S = 60.0
SETTLE_S = 5.0
"""The shortest time between two looks at everybody: a storm of grants is one reason to look."""
CIRCLE = "circle"
OWN_RHYTHM = "own rhythm"


class UsageKeeper:
    """Of one circle. Belongs to the engine's thread."""

    def __init__(self, desk: Desk, conductor: "Conductor") -> None:
        self._desk = desk
        self._conductor = conductor
        self._books: defaultdict[str, Book] = defaultdict(Book)
        self._heard: defaultdict[str, set[str]] = defaultdict(set)
        """Who listened in to whom since the last look at the latter."""
        self._looked: defaultdict[str, set[str]] = defaultdict(set)
        """Who looked at the circle since the last look at all, by role."""
        self._recorders: set[str] = set()
        self._moved = trio.Event()

    def look(self) -> None:
        """A use may have begun."""
        self._moved.set()

    def listened(self, person: "Person", names: Iterable[str]) -> None:
        """These listen in to ``person``."""
        self._heard[person.sleeper.sleeper_id] |= set(names)

    def looked(self, role: str, sleeper_id: str = "") -> None:
        """Somebody was shown the circle, in that role."""
        self._looked[role].add(sleeper_id)

    def recorder(self, sleeper_id: str) -> None:
        """A platform that keeps what it plays has opened its session."""
        self._recorders.add(sleeper_id)

    def forget(self, sleeper_id: str) -> None:
        """Drops what was noted of somebody who was forgotten."""
        self._books.pop(sleeper_id, None)
        self._heard.pop(sleeper_id, None)
        for names in (*self._looked.values(), self._recorders):
            if sleeper_id in names:  # that somebody did, others may know all the same
                names.remove(sleeper_id)
                names.add("")

    async def run(self) -> None:
        """Looks at everybody, for ever."""
        while True:
            self._moved = trio.Event()
            # Taken whole: what happens while it is written belongs to the next look.
            looked, self._looked = self._looked, defaultdict(set)
            recorders, self._recorders = self._recorders, set()
            await self._note(list(self._conductor.entrance.people.values()), looked, recorders)
            await trio.sleep(SETTLE_S)
            with trio.move_on_after(LOOK_S - SETTLE_S):
                await self._moved.wait()

    async def note(self, people: Iterable["Person"]) -> None:
        """Looks at ``people`` now, and writes what is to be written."""
        await self._note(people, self._looked, self._recorders)

    async def _note(self, people: Iterable["Person"], looked: Mapping[str, set[str]], recorders: set[str]) -> None:
        recorders = recorders | {
            person.sleeper.sleeper_id
            for person in self._conductor.entrance.people.values()
            if person.recording and person.watchers
        }
        for person in people:
            sleeper_id = person.sleeper.sleeper_id
            parties = self._parties(person, looked, recorders - {sleeper_id})
            uses = self._books[sleeper_id].observe(self._desk.now_ns(), parties)
            self._heard.pop(sleeper_id, None)
            if person.sleeper.left:
                del self._books[sleeper_id]
            if not uses:
                continue
            try:
                await person.note(uses)
            except StorageError as error:
                self._books[sleeper_id].keep(uses)
                _log.error("%s: who used what is not written: %s", sleeper_id, error)

    def _parties(self, person: "Person", looked: Mapping[str, set[str]], recorders: set[str]) -> set[Party]:
        sleeper, circle, now_ns = person.sleeper, self._conductor.circle, self._desk.now_ns()
        if sleeper.left or not circle.open:
            return set()
        heard = self._heard.get(sleeper.sleeper_id, set())
        heard = heard | {name for name, one in person.listeners.items() if one.flows}
        parties = {(Purpose.MONITORING, name) for name in heard}
        sounding = circle.state in SOUNDING and person.on_plane
        voice, recording = (sleeper.allows(one, circle, now_ns) for one in (Purpose.VOICE, Purpose.RECORDING))
        if sounding and voice > 0:
            parties.add((Purpose.VOICE, CIRCLE))
            if recorders and recording >= voice:
                parties.add((Purpose.RECORDING, CIRCLE))
        if sounding and circle.weaving.pulling_rad_s and sleeper.bond(circle, now_ns)[0]:
            parties.add((Purpose.PULL, CIRCLE))
        if sleeper.own_rhythm.set_hz is not None and not sleeper.may_follow(circle, now_ns):
            parties.add((Purpose.BIOSIGNAL, OWN_RHYTHM))
        for role, names in looked.items():
            others = names - {sleeper.sleeper_id}
            scopes = (role, *others) if others else ()
            if any(sleeper.allows(Purpose.VISIBILITY, circle, now_ns, scope) for scope in scopes):
                parties.add((Purpose.VISIBILITY, role))
        return parties
