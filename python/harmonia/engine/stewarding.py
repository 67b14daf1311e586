"""What goes on in a circle beside its night: roles, calls for help, the silent room, dialogues and petitions.

Acts that narrow are in force before they are written, as withdrawals are: a silence when the data plane has every plan
of it, a revocation when no call passes any more. If the disk refuses, they stay in force and their caller is told so.
Everything else is written first. Of what is written nothing touches a person but through the minimum of consent.
"""

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from harmonia.domain import dialogue as dialogues
from harmonia.domain import help as helps
from harmonia.domain.admission import SECRET_BYTES, identifier, secret_hash, secret_text
from harmonia.domain.circle import Circle
from harmonia.domain.consent import Purpose, parse_event_id
from harmonia.domain.dialogue import WITHDRAWN_MAX, Dialogue, Dialogues, Petition
from harmonia.domain.events import (
    AskingEvent,
    CircleEvent,
    DialogueClosed,
    DialogueOpened,
    DialogueSpoken,
    HelpAnswered,
    HelpCalled,
    HelpTakenBack,
    PetitionFiled,
    PetitionMade,
    PetitionWithdrawn,
    RoleGranted,
    RoleRevoked,
    RoomLifted,
    RoomSilenced,
    SleeperForgotten,
    TokensCreated,
    WaitingBegun,
    WaitingEnded,
)
from harmonia.domain.help import Call
from harmonia.domain.roles import Role, RolePass, parse_line, parse_role
from harmonia.domain.silence import MESSAGE_MAX, Silence, upon
from harmonia.engine.desk import Desk
from harmonia.engine.room import Room, bed, shown_calls
from harmonia.engine.signal import Signal
from harmonia.errors import BadInput, NotFound, NotNow, NotPermitted, WrongExpectedRevision

if TYPE_CHECKING:
    from harmonia.engine.conductor import Conductor
    from harmonia.engine.person import Person

_log = logging.getLogger(__name__)

QUIET = (
    *(TokensCreated, WaitingBegun, WaitingEnded, SleeperForgotten, RoleGranted, RoleRevoked, HelpAnswered),
    *(DialogueOpened, DialogueSpoken, DialogueClosed, PetitionFiled),
)
"""Events of a circle that no platform has to follow."""

HOST = "the host"
"""Whom people see behind what was done with the admin token."""


class Granted(NamedTuple):
    """A new role, and its credential, which is told once."""

    held: RolePass
    credential: str


class Stewarding:
    """One circle's. Belongs to the engine's thread, but that any may read ``passes``, ``calls`` and ``dialogues``.

    These are replaced whole.
    """

    def __init__(self, desk: Desk, conductor: "Conductor") -> None:
        self._desk = desk
        self._conductor = conductor
        self.passes: dict[str, RolePass] = {}
        """Roles by id."""
        self.calls: dict[str, Call] = {}
        """Calls for help by id, in the order of calling."""
        self.dialogues: Dialogues = {}
        self.petitions: dict[str, Petition] = {}
        self.changed = Signal()
        """Anything that a view of the room shows beside the circle's own changes."""
        self._unwritten: set[str] = set()
        """Calls that are shown and not on disk."""
        self._answered: dict[str, list[HelpAnswered]] = {}
        """Answers that the journal has before their calls, which were shown and not on disk."""
        self._filing: set[str] = set()
        """Petitions that are on their way into a dialogue."""
        self._silence: Silence | None = None
        """The newest silence, if it is not on disk."""

    # What the journal holds

    def take_in(self, event: CircleEvent) -> None:
        """Takes in an event of the circle's."""
        match event:
            case RoleGranted(role_id, role, name, hash, until_ns, t_ns):
                circle_id = self._conductor.circle.circle_id
                self.passes = {**self.passes, role_id: RolePass(role_id, circle_id, role, name, until_ns, t_ns)}
                self._desk.roll.add_pass(hash, self._conductor, role_id)
            case RoleRevoked(role_id, _):
                self._revoke(role_id)
            case RoomSilenced(silence_id) | RoomLifted(silence_id):
                if self._silence is not None and self._silence.silence_id == silence_id:
                    self._silence = None
            case HelpAnswered(help_id) if help_id not in self.calls:
                self._answered.setdefault(help_id, []).append(event)
                return
            case HelpAnswered(help_id, by, resolved, t_ns):
                call = self.calls[help_id]
                self.calls = {**self.calls, help_id: call.answered(by, resolved, t_ns)}
                self._tell(call.sleeper_id)
            case DialogueOpened() | DialogueSpoken() | DialogueClosed():
                self.dialogues = dialogues.apply(self.dialogues, event)
            case PetitionFiled():
                self.dialogues = dialogues.apply(self.dialogues, event)
                if (petition := self.petitions.get(event.petition_id)) is not None:
                    self.petitions[event.petition_id] = replace(petition, dialogue_id=event.dialogue_id)
            case _:
                return
        self.changed.send()

    def take_in_asking(self, person: "Person", event: AskingEvent) -> None:
        """Takes in what a person asked for."""
        sleeper_id = person.sleeper.sleeper_id
        match event:
            case HelpCalled(help_id, message, t_ns):
                called = Call(help_id, sleeper_id, person.place, message, t_ns)
                for said in self._answered.pop(help_id, ()):
                    called = called.answered(said.by, said.resolved, said.t_ns)
                self.calls = {**self.calls, help_id: self.calls.get(help_id, called)}
                self._unwritten.discard(help_id)
            case HelpTakenBack(help_id, t_ns) if (call := self.calls.get(help_id)) is not None:
                self.calls = {**self.calls, help_id: call.without(t_ns)}
                self._unwritten.discard(help_id)
            case PetitionMade(petition_id, event_id, text, t_ns):
                self.petitions.setdefault(petition_id, Petition(petition_id, sleeper_id, event_id, text, t_ns))
            case PetitionWithdrawn(petition_id, _) if (petition := self.petitions.get(petition_id)) is not None:
                self.petitions[petition_id] = replace(petition, withdrawn=True)
                gone = [one for one in self.petitions_of(person) if one.withdrawn and not one.dialogue_id]
                for one in gone[:-WITHDRAWN_MAX]:
                    del self.petitions[one.petition_id]
        self.changed.send()

    def forget(self, sleeper_id: str) -> None:
        """Drops what somebody asked for who was forgotten; a petition's text that was filed is the circle's."""
        self.calls = {id: call for id, call in self.calls.items() if call.sleeper_id != sleeper_id}
        self.petitions = {id: one for id, one in self.petitions.items() if one.sleeper_id != sleeper_id}
        self.changed.send()

    def still_silent(self, circle: Circle) -> Circle:
        """``circle`` with the newest silence, where the disk does not know it yet."""
        return circle if self._silence is None else circle.silenced(self._silence)

    # Roles

    async def grant(self, role: Role, name: str, until_ns: int | None) -> Granted:
        """Gives somebody a role. Raises BadInput, NotNow, StorageError."""
        now_ns, circle = self._desk.now_ns(), self._conductor.circle
        if not circle.open:
            raise NotNow("this circle is closed: it has no roles any more")
        name = parse_role(role, name, until_ns, len(self.passes), now_ns)
        role_id = identifier("role-", self._desk.entropy(10))
        credential = secret_text("hr_", self._desk.entropy(SECRET_BYTES))
        await self._conductor.record(RoleGranted(role_id, role, name, secret_hash(credential), until_ns, now_ns))
        return Granted(self.passes[role_id], credential)

    async def revoke(self, role_id: str) -> RolePass:
        """Takes a role back: no call of its holder passes from now on. Raises NotFound, StorageError."""
        if role_id not in self.passes:
            raise NotFound(f"there is no role {role_id[:80]!r} in this circle: list them to see their ids")
        self._revoke(role_id)
        self.changed.send()
        await self._insist(RoleRevoked(role_id, self._desk.now_ns()))
        return self.passes[role_id]

    async def end_timed(self) -> None:
        """Revokes every role that has an end: the clock that it lies on is gone. Raises StorageError."""
        for held in list(self.passes.values()):
            if held.until_ns is not None and not held.revoked and self._conductor.circle.open:
                await self.revoke(held.role_id)

    def _revoke(self, role_id: str) -> None:
        held = self.passes.get(role_id)
        if held is not None:
            self.passes = {**self.passes, role_id: replace(held, revoked=True)}

    # The room

    def room(self, role: Role) -> Room:
        """The room now, for somebody in that role: those who grant visibility are told that it looked."""
        conductor, now_ns = self._conductor, self._desk.now_ns()
        circle, people = conductor.circle, list(conductor.entrance.people.values())
        seen = {
            person.sleeper.sleeper_id
            for person in people
            if person.sleeper.allows(Purpose.VISIBILITY, circle, now_ns, role.word)
        }
        beds = (
            bed(person, conductor.own_row(person), person.sleeper.sleeper_id in seen, circle, now_ns)
            for person in people
        )
        calls = shown_calls(self.calls.values(), now_ns)
        conductor.usage.looked(role.word)
        return Room(
            circle,
            conductor.entrance.present,
            now_ns,
            tuple(one for one in beds if one is not None),
            calls,
            {call.help_id: call.sleeper_id for call in calls if call.sleeper_id in seen},
            self._desk.plane.stats()["voices_dropped"],
        )

    async def silence(self, message: str, alarm: bool, by: str) -> Silence:
        """Silences everybody: on the data plane before this first waits, on disk when it returns. Ends no alarm.

        Raises BadInput, NotNow, and StorageError where the disk refuses: it is silent all the same.
        """
        message = parse_line("a message", message, MESSAGE_MAX, least=0)
        if not self._conductor.circle.open:
            raise NotNow("this circle is closed: it is silent already")
        now_ns, silence_id = self._desk.now_ns(), identifier("silence-", self._desk.entropy(10))
        silence = upon(self._conductor.circle.silence, Silence(silence_id, message, alarm, by, now_ns))
        self._silence = silence
        self._conductor.hush()
        await self._insist(RoomSilenced(silence_id, silence.message, silence.alarm, by, now_ns))
        return silence

    async def lift(self, silence_id: str, by: str) -> None:
        """Ends that silence, and nothing else. Raises NotNow if it is not the one in force, StorageError."""

        def decide() -> RoomLifted:
            silence = self._conductor.circle.silence
            if silence is None or silence.silence_id != silence_id:
                newest = "not silent" if silence is None else f"silent by {silence.silence_id}, of {silence.by}"
                raise NotNow(f"this room is {newest}: look at it again, then lift what is in force")
            return RoomLifted(silence_id, by, self._desk.now_ns())

        await self._conductor.record(decide)

    # Help

    async def call(self, person: "Person", event_id: bytes, message: str) -> Call:
        """A call for help: seen at once, on disk when this returns. The same ``event_id`` again is the same call.

        Raises BadInput, NotNow, StorageError.
        """
        sleeper_id = person.sleeper.sleeper_id
        help_id = helps.call_id(sleeper_id, event_id)
        held = self.calls.get(help_id)
        if held is None:
            message = helps.parse_call(self.calls.values(), sleeper_id, message)
            held = Call(help_id, sleeper_id, person.place, message, self._desk.now_ns())
            self.calls = {**self.calls, help_id: held}
            self._unwritten.add(help_id)
            self.changed.send()
            _log.warning("%s: place %d calls for help", self._conductor.circle.circle_id, held.place + 1)
        if help_id in self._unwritten:
            await person.record(HelpCalled(help_id, held.message, held.called_ns))
        return self.calls[help_id]

    async def take_back(self, person: "Person", help_id: str) -> Call:
        """Takes a call back; one that is resolved stays as it is. Raises NotFound, StorageError."""
        held = self.calls.get(help_id)
        if held is None or held.sleeper_id != person.sleeper.sleeper_id:
            raise NotFound(f"you have not called for help as {help_id[:80]!r} in this circle: list your calls")
        if held.resolved_ns is None:
            await person.record(HelpTakenBack(help_id, self._desk.now_ns()))
        return self.calls[help_id]

    async def answer(self, help_id: str, by: str, resolved: bool) -> Call:
        """Says that somebody is coming, or has helped. Raises NotFound, StorageError."""
        held = self.calls.get(help_id)
        if held is None:
            raise NotFound(f"there is no call for help {help_id[:80]!r} in this circle: look at the room for their ids")
        now_ns = self._desk.now_ns()
        if held.answered(by, resolved, now_ns) != held:
            await self._conductor.record(HelpAnswered(help_id, by, resolved, now_ns))
        return self.calls[help_id]

    def calls_of(self, person: "Person") -> tuple[Call, ...]:
        """A person's own calls: those that wait, and those of late."""
        own = (call for call in self.calls.values() if call.sleeper_id == person.sleeper.sleeper_id)
        return shown_calls(own, self._desk.now_ns())

    # Dialogues and petitions

    async def open_dialogue(self, topic: str, role: Role, name: str) -> Dialogue:
        """Raises BadInput, NotNow, StorageError."""
        dialogue_id = identifier("dialogue-", self._desk.entropy(10))

        def decide() -> DialogueOpened:
            allowed = dialogues.decide_opening(self._conductor.circle, self.dialogues, topic)
            return DialogueOpened(dialogue_id, allowed, role, name, self._desk.now_ns())

        await self._conductor.record(decide)
        return self.dialogues[dialogue_id]

    async def say(self, dialogue_id: str, text: str, role: Role, name: str) -> Dialogue:
        """Raises BadInput, NotFound, NotNow, StorageError."""

        def decide() -> DialogueSpoken:
            allowed = dialogues.decide_statement(self._conductor.circle, self.dialogues, dialogue_id, text)
            return DialogueSpoken(dialogue_id, role, name, allowed, self._desk.now_ns())

        await self._conductor.record(decide)
        return self.dialogues[dialogue_id]

    async def close_dialogue(self, dialogue_id: str, outcome: str) -> Dialogue:
        """Raises BadInput, NotFound, NotNow, StorageError."""
        outcome = parse_line("an outcome", outcome, dialogues.TEXT_MAX, least=0)

        def decide() -> DialogueClosed:
            dialogues.open_dialogue(self._conductor.circle, self.dialogues, dialogue_id)
            return DialogueClosed(dialogue_id, outcome, self._desk.now_ns())

        await self._conductor.record(decide)
        return self.dialogues[dialogue_id]

    async def petition(self, person: "Person", event_id: bytes, text: str) -> Petition:
        """Asks for something; the same ``event_id`` again is the same petition.

        Raises BadInput, NotNow, StorageError.
        """
        parse_event_id(event_id)

        def made() -> Petition | None:
            return next((one for one in self.petitions_of(person) if one.event_id == event_id), None)

        def decide() -> PetitionMade | None:
            if made() is not None:
                return None
            allowed = dialogues.parse_petition(self.petitions_of(person), text)
            petition_id = identifier("petition-", self._desk.entropy(10))
            return PetitionMade(petition_id, event_id, allowed, self._desk.now_ns())

        await person.record(decide)
        held = made()
        assert held is not None, "it was made now or before"
        return held

    async def withdraw_petition(self, person: "Person", petition_id: str) -> Petition:
        """Takes a petition back, until it is filed. Raises NotFound, NotNow, StorageError."""
        held = self.petitions.get(petition_id)
        if held is None or held.sleeper_id != person.sleeper.sleeper_id:
            raise NotFound(f"you have made no petition {petition_id[:80]!r} in this circle: list yours")
        if held.dialogue_id or petition_id in self._filing:
            raise NotNow(f"this petition is filed, in {held.dialogue_id or 'a dialogue'}: say there what you think now")
        # From here on it is not filed: an advocate that is faster than the disk finds it gone.
        gone = self.petitions[petition_id] = replace(held, withdrawn=True)
        await person.record(PetitionWithdrawn(petition_id, self._desk.now_ns()))
        return self.petitions.get(petition_id, gone)

    def petitions_of(self, person: "Person") -> list[Petition]:
        """A person's own."""
        return [one for one in self.petitions.values() if one.sleeper_id == person.sleeper.sleeper_id]

    def waiting_petitions(self) -> list[Petition]:
        """For the advocate, by name: so their order says nothing of who made them when."""
        return sorted((one for one in self.petitions.values() if one.waiting), key=lambda one: one.petition_id)

    async def file(self, petition_id: str, dialogue_id: str, topic: str, name: str) -> Dialogue:
        """Puts a petition into a dialogue that is open, or opens one on ``topic``.

        Raises BadInput, NotFound, NotNow, StorageError.
        """
        if bool(dialogue_id) == bool(topic):
            raise BadInput("a petition is filed into an open dialogue, or opens one: give a dialogue's id, or a topic")
        into = dialogue_id or identifier("dialogue-", self._desk.entropy(10))

        def decide() -> PetitionFiled:
            circle, held, opened = self._conductor.circle, self.petitions.get(petition_id), ""
            if held is None or not held.waiting:
                raise NotFound(f"no petition {petition_id[:80]!r} waits in this circle: list those that do")
            if topic:
                opened = dialogues.decide_opening(circle, self.dialogues, topic)
            else:
                dialogues.decide_statement(circle, self.dialogues, into, held.text)
            self._filing.add(petition_id)
            return PetitionFiled(petition_id, into, opened, name, held.text, self._desk.now_ns())

        try:
            await self._conductor.record(decide)
        finally:
            self._filing.discard(petition_id)
        return self.dialogues[into]

    def require(self, held: RolePass, *, to_the_end: bool = False) -> None:
        """Raises NotPermitted unless that role is still good; ``to_the_end``: or has ended with its circle alone."""
        newest = self.passes.get(held.role_id, held)
        if over := newest.over(to_the_end or self._conductor.circle.open, self._desk.now_ns()):
            raise NotPermitted(f"this role of {held.role.word} {over}: ask the host for another")

    async def _insist(self, event: RoleRevoked | RoomSilenced) -> None:
        """Writes what is in force, once more where an earlier writing that seemed to fail turns up before it."""
        try:
            await self._conductor.record(event)
        except WrongExpectedRevision:
            await self._conductor.record(event)

    def _tell(self, sleeper_id: str) -> None:
        person = self._conductor.entrance.people.get(sleeper_id)
        if person is not None:
            person.tell()
