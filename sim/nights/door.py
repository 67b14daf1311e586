"""Who comes in, who waits, and for whom there is room: told by what the disk took, and by nothing that the engine says.

Whoever waits comes in before all who came later; nobody comes in where there is no room, and nobody goes for want of
it; a token lets in one person, once, and is good again for whoever gives up waiting.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import trio

from harmonia.domain.admission import secret_hash
from harmonia.domain.events import (
    CapacitySet,
    CircleAdvanced,
    CircleCreated,
    Event,
    SleeperForgotten,
    SleeperJoined,
    SleeperLeft,
    WaitingBegun,
    WaitingEnded,
)
from harmonia.domain.states import CircleState
from harmonia.engine.conductor import Conductor
from harmonia.engine.entrance import Joined, Place
from harmonia.errors import HarmoniaError, StorageError, TokenUnknown, TokenUsed
from sim.nights.plot import Act
from sim.nights.topic import MissingAct, Topic

if TYPE_CHECKING:
    from sim.nights.stage import Night

CAPACITIES = (1, 2, 3, 5, 8, 24)
SETTLED_S = 15.0
"""So long after the last trouble the house has done all that it puts off."""


@dataclass
class Line:
    """One circle's, as the disk has it."""

    capacity: int
    state: CircleState
    waiting: list[bytes] = field(default_factory=list)
    """By their tokens' hashes, in the order in which they came."""
    used: dict[bytes, str] = field(default_factory=dict)
    """Whom each token let in."""
    present: set[str] = field(default_factory=set)
    places: dict[int, str] = field(default_factory=dict)
    """Whose each place is: theirs for the night, whatever befalls them."""


@dataclass
class Ticket:
    """A token in somebody's hand, and what they were told."""

    circle_id: str
    token: str
    key: bytes
    sleeper_id: str = ""
    """They are in."""
    waits: bool = False
    """They wait, and have not asked for anything else."""
    given_up: bool = False
    """They do not wait any more."""


class Door(Topic):
    """Tokens, places and the waiting list."""

    ACTS: ClassVar = ("join", "join_storm", "again", "stop_waiting", "capacity", "leave")

    def __init__(self, night: "Night") -> None:
        super().__init__(night)
        self.lines: dict[str, Line] = {}
        self.tickets: dict[str, Ticket] = {}

    # What the disk takes

    def written(self, stream: str, event: Event) -> None:
        kind, _, identity = stream.partition("/")
        match event:
            case CircleCreated(capacity=capacity, draft=draft):
                self.lines[identity] = Line(capacity, CircleState.DRAFT if draft else CircleState.GATHERING)
            case SleeperJoined():
                self._comes_in(event)
            case SleeperLeft() if kind == "person":
                self.lines[self.night.account(identity).circle_id].present.discard(identity)
            case _ if kind == "circle":
                self._circle_written(self.lines[identity], identity, event)

    def _circle_written(self, line: Line, circle_id: str, event: Event) -> None:
        match event:
            case CapacitySet(capacity):
                line.capacity = capacity
            case CircleAdvanced(state):
                line.state = state
            case WaitingBegun(hash):
                if hash not in line.waiting and hash not in line.used:
                    line.waiting.append(hash)
            case WaitingEnded(hash) if hash in line.waiting:
                line.waiting.remove(hash)
            case SleeperForgotten(hash):
                line.used[hash] = ""
                if hash in line.waiting:
                    line.waiting.remove(hash)

    def _comes_in(self, event: SleeperJoined) -> None:
        line, hash, require = self.lines[event.circle_id], event.token_hash, self.night.require
        require(hash not in line.used, event.circle_id, "lets two people in with one token")
        require(line.waiting[:1] in ([], [hash]), event.circle_id, "lets somebody in before who waited longer")
        require(len(line.present) < line.capacity, event.circle_id, "lets somebody in where there is no room")
        require(line.state is not CircleState.CLOSED, event.circle_id, "lets somebody in who comes too late")
        line.used[hash] = event.sleeper_id
        line.present.add(event.sleeper_id)
        if hash in line.waiting:
            line.waiting.remove(hash)

    # Acts

    async def join(self, act: Act) -> None:
        """Redeems a new token; every other one waits if need be."""
        conductor = self.night.conductor(act)
        (token,) = await conductor.entrance.create_tokens(1, 0)
        await self._redeem(conductor, self._ticket(conductor, token), wait=act.a & 1 > 0)

    async def join_storm(self, act: Act) -> None:
        """Many at once."""
        conductor, storm = self.night.conductor(act), 2 + act.a % 12
        tokens = await conductor.entrance.create_tokens(storm, 0)

        async def one(number: int, token: str) -> None:
            try:
                await self._redeem(conductor, self._ticket(conductor, token), wait=act.b >> number & 1 > 0)
            except HarmoniaError:
                return  # full, closed, or a disk that refuses

        async with trio.open_nursery() as nursery:
            for number, token in enumerate(tokens):
                nursery.start_soon(one, number, token)

    def _ticket(self, conductor: Conductor, token: str) -> Ticket:
        return self.tickets.setdefault(token, Ticket(conductor.circle.circle_id, token, self.night.draw(32)))

    async def _redeem(self, conductor: Conductor, ticket: Ticket, *, wait: bool) -> None:
        match await conductor.entrance.join(ticket.token, ticket.key, wait=wait):
            case Joined(person, _):
                sleeper_id = person.sleeper.sleeper_id
                self.night.require(ticket.sleeper_id in ("", sleeper_id), sleeper_id, "came in as somebody else before")
                ticket.sleeper_id, ticket.waits = sleeper_id, False
            case Place():
                ticket.waits = True
        ticket.given_up = False

    async def again(self, act: Act) -> None:
        """Redeems a token once more: the first answer was lost, or they had given up, or they are somebody else."""
        if not self.tickets:
            raise MissingAct("nobody has a token yet")
        ticket = list(self.tickets.values())[act.a % len(self.tickets)]
        line, hash = self.lines[ticket.circle_id], secret_hash(ticket.token)
        conductor = self.night.sanctuary.conductor(ticket.circle_id)
        who = line.used.get(hash)
        if act.b % 8 == 0 and (who is not None or hash in line.waiting):
            try:
                await conductor.entrance.join(ticket.token, self.night.draw(32), wait=True)
            except TokenUsed:
                return
            self.night.fail(f"{ticket.circle_id}: one token is good for two")
            return
        gone = who is not None and who not in line.present
        good = ticket.given_up and who is None
        try:
            await self._redeem(conductor, ticket, wait=act.b & 1 > 0)
        except (TokenUsed, TokenUnknown):
            self.night.require(not good, ticket.circle_id, "does not take the token of somebody who gave up waiting")
            raise
        self.night.require(not gone, ticket.circle_id, "lets somebody in again who has left")

    async def stop_waiting(self, act: Act) -> None:
        """Gives a place on the list up."""
        waiting = [one for one in self.tickets.values() if one.waits]
        if not waiting:
            raise MissingAct("nobody waits")
        ticket = waiting[act.a % len(waiting)]
        ticket.waits = False
        try:
            await self.night.sanctuary.conductor(ticket.circle_id).entrance.stop_waiting(ticket.token, ticket.key)
        except StorageError:
            raise  # they wait or they do not
        except HarmoniaError:
            ticket.waits = True
            raise
        ticket.waits, ticket.given_up = False, True  # also where they redeemed it again meanwhile

    async def capacity(self, act: Act) -> None:
        """The host makes room, or takes it."""
        await self.night.conductor(act).edit(capacity=CAPACITIES[act.a % len(CAPACITIES)])

    async def leave(self, act: Act) -> None:
        """Most stay."""
        account, person = self.night.person(act)
        if act.a % 4 == 0:
            await person.leave()
            account.left = True

    # What has to hold

    def started(self) -> None:
        for circle_id, line in self.lines.items():
            line.present.difference_update(self.night.forgotten)
            people = set(self.night.sanctuary.conductor(circle_id).entrance.people)
            self.night.require(people == line.present, circle_id, "has started with other people than it had")

    def check(self) -> None:
        for circle_id in self.night.circles:
            line, conductor = self.lines[circle_id], self.night.sanctuary.conductor(circle_id)
            line.present.difference_update(self.night.forgotten)
            people = conductor.entrance.people
            for sleeper_id in people.keys() - line.present:  # that they left was written, and not acknowledged; else:
                in_doubt = sleeper_id in line.used.values() and not self.night.account(sleeper_id).left
                self.night.require(in_doubt, circle_id, "has somebody in it who has left, or never came")
            for sleeper_id, person in people.items():
                whose = line.places.setdefault(person.place, sleeper_id)
                self.night.require(whose == sleeper_id, sleeper_id, f"lies at place {person.place}, which is {whose}'s")
            if conductor.circle.on_plane and line.waiting and self.night.calm_s > SETTLED_S:
                self.night.require(len(line.present) >= line.capacity, circle_id, "keeps a place empty, and one waits")
        self._check_waiting()

    def _check_waiting(self) -> None:
        places: dict[str, list[tuple[int, int]]] = {}
        for ticket in self.tickets.values():
            line, hash = self.lines[ticket.circle_id], secret_hash(ticket.token)
            if not ticket.waits or line.state is CircleState.CLOSED or line.used.get(hash) is not None:
                continue
            stands = self.night.sanctuary.conductor(ticket.circle_id).entrance.standing(ticket.token, ticket.key)
            self.night.require(isinstance(stands, Place), ticket.circle_id, "does not know somebody who waits")
            self.night.require(hash in line.waiting, ticket.circle_id, "said that somebody waits, and did not write it")
            if isinstance(stands, Place) and hash in line.waiting:
                places.setdefault(ticket.circle_id, []).append((line.waiting.index(hash), stands.place))
        for circle_id, found in places.items():
            ordered = [place for _, place in sorted(found)]
            self.night.require(ordered == sorted(set(ordered)), circle_id, "has another order of waiting than it wrote")
