"""What every part of the engine works with: the journal, the data plane, entropy, and the roll of people."""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import trio

from harmonia import failpoints
from harmonia.domain.events import Event, encode
from harmonia.engine.plane import DataPlane, number_of
from harmonia.engine.wall import Wall
from harmonia.journal import Expected, Journal, OutcomeUnknown, Position, Record

if TYPE_CHECKING:
    from harmonia.domain.roles import RolePass
    from harmonia.engine.conductor import Conductor
    from harmonia.engine.doors import Doors
    from harmonia.engine.person import Person

T = TypeVar("T")

Entropy = Callable[[int], bytes]
"""That many unpredictable bytes."""

_REPEATS = 3
_THREADS = 64


def person_stream(sleeper_id: str) -> str:
    """Where a person's events are."""
    return f"person/{sleeper_id}"


def circle_stream(circle_id: str) -> str:
    """Where a circle's own events are."""
    return f"circle/{circle_id}"


class Roll:
    """Everybody who ever joined, by id, number and credential, and who has a role. Any thread may read it."""

    def __init__(self) -> None:
        self._by_id: dict[str, Person] = {}
        self._by_number: dict[int, Person] = {}
        self._by_credential: dict[bytes, Person] = {}
        self._passes: dict[bytes, tuple[Conductor, str]] = {}

    def add(self, person: "Person") -> None:
        self._by_number[number_of(person.sleeper.sleeper_id)] = person
        self._by_id[person.sleeper.sleeper_id] = person
        self._by_credential[person.sleeper.credential_hash] = person

    def remove(self, person: "Person") -> None:
        self._by_number.pop(number_of(person.sleeper.sleeper_id), None)
        self._by_id.pop(person.sleeper.sleeper_id, None)
        self._by_credential.pop(person.sleeper.credential_hash, None)

    def everybody(self) -> "list[Person]":
        """In the order of joining."""
        return list(self._by_id.values())

    def by_id(self, sleeper_id: str) -> "Person | None":
        return self._by_id.get(sleeper_id)

    def by_number(self, number: int) -> "Person | None":
        return self._by_number.get(number)

    def by_credential(self, credential_hash: bytes) -> "Person | None":
        return self._by_credential.get(credential_hash)

    def add_pass(self, secret_hash: bytes, conductor: "Conductor", role_id: str) -> None:
        self._passes[secret_hash] = (conductor, role_id)

    def by_pass(self, secret_hash: bytes) -> "tuple[Conductor, RolePass] | None":
        """The role of that credential as it now stands, and its circle."""
        found = self._passes.get(secret_hash)
        return None if found is None else (found[0], found[0].stewarding.passes[found[1]])


class Desk:
    """Shared by the sanctuary's conductors."""

    def __init__(self, journal: Journal, plane: DataPlane, entropy: Entropy, utc_ns: Callable[[], int]) -> None:
        self.journal = journal
        self.plane = plane
        self.entropy = entropy
        self.wall = Wall(utc_ns, plane.node_time_ns)
        self.roll = Roll()
        self.doors: Doors | None = None
        """None while the journal is read."""
        self._threads = trio.CapacityLimiter(_THREADS)

    def now_ns(self) -> int:
        return self.plane.node_time_ns()

    async def append(
        self, stream: str, expected: Expected | Position, event: Event, event_id: bytes | None = None
    ) -> Position:
        """Writes ``event``, in a thread if the journal may wait. Repeats it while its outcome is unknown."""
        event_id, data = event_id or self.entropy(16), encode(event)
        name = type(event).__name__
        for _ in range(_REPEATS):
            try:
                failpoints.hit(f"append.{name}")
                position = await self.in_thread(self.journal.append, stream, expected, event_id, data)
                failpoints.hit(f"appended.{name}")
                return position
            except OutcomeUnknown as error:
                last = error
        raise last

    async def read(self, stream: str | None, after: Position | None, limit: int | None = None) -> list[Record]:
        return await self.in_thread(self.journal.read, stream, after, limit)

    async def in_thread(self, call: Callable[..., T], *args: object) -> T:
        """Runs what may wait for the journal, in a thread if it does wait."""
        if not self.journal.blocking:
            await trio.lowlevel.checkpoint()
            return call(*args)
        return await trio.to_thread.run_sync(call, *args, limiter=self._threads)
