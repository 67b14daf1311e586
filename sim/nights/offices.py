"""Roles, dialogues, petitions and calls for help: who may do what, what they are shown, and what must not follow.

Who calls is found out by the sanctuary's own gate, from a credential and the name of a method; beside it stands what a
second reading of the rules says. What is shown is looked at as the bytes that would leave the house.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from harmonia.domain.consent import Purpose
from harmonia.domain.dialogue import Statement
from harmonia.domain.events import Event, HelpAnswered, PetitionFiled, RoleRevoked
from harmonia.domain.roles import GIVEN, Role
from harmonia.domain.silence import Silence
from harmonia.engine.conductor import Conductor
from harmonia.errors import NotAuthenticated, NotPermitted
from harmonia.rpc import codec_room as codec
from harmonia.rpc.auth import PACKAGE, Gatekeeper
from sim.nights.oracle import Account, Yes
from sim.nights.plot import Act
from sim.nights.topic import MissingAct, Topic

if TYPE_CHECKING:
    from sim.nights.stage import Night

ADMIN = "the host's own"

_S, _W, _C, _A, _G = Role.STEWARD, Role.WEAVER, Role.COUNCIL, Role.ADVOCATE, Role.GUEST
OFFICES: dict[str, frozenset[Role]] = {
    "StewardService/WatchRoom": frozenset({_S}),
    "StewardService/SilenceRoom": frozenset({_S}),
    "StewardService/LiftSilence": frozenset({_S}),
    "StewardService/AnswerHelp": frozenset({_S}),
    "DialogueService/OpenDialogue": frozenset({_C}),
    "DialogueService/CloseDialogue": frozenset({_C}),
    "DialogueService/Say": frozenset({_S, _W, _C}),
    "DialogueService/GetDialogue": frozenset({_S, _W, _C}),
    "DialogueService/ListPetitions": frozenset({_A}),
    "DialogueService/FilePetition": frozenset({_A}),
    "StewardService/LookAtCircle": frozenset({_S, _W, _C, _G}),
    "RhythmService/GetRhythm": frozenset({_W, _C}),
    **dict.fromkeys(
        (
            *("ConsentService/Grant", "ConsentService/Withdraw", "RhythmService/SetPhaseOffset", "MeService/GetMe"),
            *("RhythmService/SetRhythm", "CircleService/AdvanceCircle", "CircleService/EditCircle"),
            *("StewardService/GrantRole", "LedgerService/ForgetSleeper", "OfferService/MakeOffer"),
        ),
        frozenset[Role](),
    ),
}
"""Who may call what, of those who have been given a role."""


@dataclass
class Held:
    """A role's credential in somebody's hand."""

    circle_id: str
    role_id: str
    role: Role
    credential: str
    until_ns: int | None
    revoked: bool = False
    told: bool = False
    """That it was revoked was acknowledged."""
    written: bool = False


@dataclass
class Said:
    """A dialogue as it was last seen."""

    topic: str
    statements: tuple[Statement, ...]
    closed_ns: int | None


class Offices(Topic):
    """Those of all circles of one night."""

    ACTS: ClassVar = (
        *("role", "revoke", "office", "show", "petition", "unpetition", "say", "talk"),
        *("silence", "lift", "help"),
    )

    def __init__(self, night: "Night") -> None:
        super().__init__(night)
        self._held: dict[str, Held] = {}
        self._said: dict[tuple[str, str], Said] = {}
        self._withdrawn: set[str] = set()
        """Petitions whose withdrawal was acknowledged."""
        self._filed: dict[str, str] = {}
        self._calls: dict[str, Account] = {}
        """Acknowledged calls for help."""
        self._resolved: set[str] = set()
        self._silences: dict[str, Silence] = {}
        """The acknowledged silence of each circle, while nobody has asked to lift it."""

    def written(self, stream: str, event: Event) -> None:
        match event:
            case RoleRevoked(role_id) if role_id in self._held:
                held = self._held[role_id]
                held.written = held.revoked = True
            case PetitionFiled(petition_id, dialogue_id):
                self.night.require(petition_id not in self._withdrawn, petition_id, "is filed, and was withdrawn")
                before = self._filed.setdefault(petition_id, dialogue_id)
                self.night.require(before == dialogue_id, petition_id, "is filed twice")
            case HelpAnswered(help_id, resolved=True):
                self._resolved.add(help_id)

    # Acts

    async def role(self, act: Act) -> None:
        """The host gives somebody a role."""
        conductor, role = self.night.conductor(act), (Role.STEWARD, *sorted(GIVEN))[act.a % (1 + len(GIVEN))]
        until_ns = None if act.b % 3 else self.night.now_ns() + (1, 60, 3600)[act.b // 3 % 3] * 1_000_000_000
        given = await conductor.stewarding.grant(role, f"Bo {role.word}", until_ns)
        role_id = given.held.role_id
        self._held[role_id] = Held(conductor.circle.circle_id, role_id, role, given.credential, until_ns)

    async def revoke(self, act: Act) -> None:
        """The host takes one back."""
        held = self._any(act)
        held.revoked = True
        await self.night.sanctuary.conductor(held.circle_id).stewarding.revoke(held.role_id)
        held.told = True

    def _any(self, act: Act) -> Held:
        if not self._held:
            raise MissingAct("nobody has a role yet")
        return list(self._held.values())[act.who % len(self._held)]

    async def office(self, act: Act) -> None:
        """Somebody uses their role's credential, for what it is good for or not."""
        held, method = self._any(act), list(OFFICES)[act.a % len(OFFICES)]
        if act.b & 3 and (own := [name for name, roles in OFFICES.items() if held.role in roles]):
            method = own[0 if act.b & 4 else act.a % len(own)]
        conductor = self.night.sanctuary.conductor(held.circle_id)
        expired = held.until_ns is not None and self.night.now_ns() >= held.until_ns
        may = not held.revoked and not expired and conductor.circle.open and held.role in OFFICES[method]
        gate = Gatekeeper(ADMIN, self.night.sanctuary.roll)
        try:
            gate.admit(PACKAGE + method, {"authorization": f"Bearer {held.credential}"})
        except (NotAuthenticated, NotPermitted):
            self.night.require(not may, held.role_id, f"is {held.role.word}, and is refused {method}")
            raise
        self.night.require(may, held.role_id, f"is {held.role.word} or was, and may call {method}")
        if (do := _DO.get(method)) is not None:
            await do(self, conductor, held, act)

    async def _watch_room(self, conductor: Conductor, held: Held, _act: Act) -> None:
        room = conductor.stewarding.room(held.role)
        data, where = codec.room(room).SerializeToString(), {bed.place for bed in room.beds}
        for account in [*self.night.accounts.values(), *self.night.forgotten.values()]:
            shown, at = self._shows(account, Purpose.VISIBILITY), self._place(account)
            named = account.sleeper_id.encode() in data
            here = account.circle_id == held.circle_id and not account.forgetting
            if Purpose.VISIBILITY not in account.doubt:
                self.night.require(not named or (shown and here), account.sleeper_id, "is named to a steward unasked")
            if here and at is not None and not account.doubt & {Purpose.VISIBILITY, Purpose.PRESENCE}:
                present = shown or self._shows(account, Purpose.PRESENCE)
                self.night.require(at not in where or present, account.sleeper_id, "is shown to a steward unasked")

    def _shows(self, account: Account, purpose: Purpose) -> bool:
        return not account.forgetting and account.level(purpose, self.night.where(account)) > 0

    def _place(self, account: Account) -> int | None:
        person = self.night.sanctuary.roll.by_id(account.sleeper_id)
        return None if person is None else person.place

    async def _silence_room(self, conductor: Conductor, held: Held, act: Act) -> None:
        await self._hush(conductor, act, held.role.word)

    async def _hush(self, conductor: Conductor, act: Act, by: str) -> None:
        circle_id = conductor.circle.circle_id
        self._silences.pop(circle_id, None)
        done = await conductor.stewarding.silence("quiet", act.b & 2 > 0, by)
        self._silences[circle_id] = done

    async def _lift_silence(self, conductor: Conductor, held: Held, act: Act) -> None:
        await self._lift(conductor, act, held.role.word)

    async def _lift(self, conductor: Conductor, act: Act, by: str) -> None:
        silence, circle_id = conductor.circle.silence, conductor.circle.circle_id
        named = silence.silence_id if silence and act.b % 4 else "none"
        if (said := self._silences.get(circle_id)) is not None and said.silence_id == named:
            del self._silences[circle_id]
        await conductor.stewarding.lift(named, by)

    async def _answer_help(self, conductor: Conductor, held: Held, act: Act) -> None:
        calls = list(conductor.stewarding.calls)
        if calls:
            await conductor.stewarding.answer(calls[act.b % len(calls)], held.role.word, act.b & 2 > 0)

    async def _open(self, conductor: Conductor, held: Held, _act: Act) -> None:
        await conductor.stewarding.open_dialogue("what to do", held.role, held.role.word)

    async def _close(self, conductor: Conductor, _held: Held, act: Act) -> None:
        if (dialogue_id := self._dialogue(conductor, act)) is not None:
            await conductor.stewarding.close_dialogue(dialogue_id, "so be it")

    async def _speak(self, conductor: Conductor, held: Held, act: Act) -> None:
        if (dialogue_id := self._dialogue(conductor, act)) is not None:
            await conductor.stewarding.say(dialogue_id, f"words {act.a}", held.role, held.role.word)

    async def _read(self, conductor: Conductor, _held: Held, _act: Act) -> None:
        for dialogue in conductor.stewarding.dialogues.values():
            self._names_nobody(codec.dialogue(dialogue).SerializeToString(), "a dialogue")

    async def _read_petitions(self, conductor: Conductor, _held: Held, _act: Act) -> None:
        for petition in conductor.stewarding.waiting_petitions():
            self._names_nobody(codec.waiting_petition(petition).SerializeToString(), "a petition")
            self.night.require(petition.petition_id not in self._withdrawn, petition.petition_id, "waits, withdrawn")

    async def _look(self, conductor: Conductor, _held: Held, _act: Act) -> None:
        self._names_nobody(codec.public_circle(conductor, self.night.now_ns()).SerializeToString(), "a guest's view")

    def _names_nobody(self, data: bytes, what: str) -> None:
        for sleeper_id in [*self.night.accounts, *self.night.forgotten]:
            self.night.require(sleeper_id.encode() not in data, sleeper_id, "is named in", what)

    async def _file(self, conductor: Conductor, held: Held, act: Act) -> None:
        waiting = conductor.stewarding.waiting_petitions()
        if waiting:
            into = self._dialogue(conductor, act) if act.b & 2 else None
            topic = "" if into else "a petition"
            await conductor.stewarding.file(
                waiting[act.b % len(waiting)].petition_id, into or "", topic, held.role.word
            )

    def _dialogue(self, conductor: Conductor, act: Act) -> str | None:
        known = list(conductor.stewarding.dialogues)
        return known[act.b % len(known)] if known else None

    async def show(self, act: Act) -> None:
        """A sleeper lets themself be seen, or that somebody lies there."""
        account, person = self.night.person(act)
        purpose = Purpose.VISIBILITY if act.a % 3 == 0 else Purpose.PRESENCE
        await self.night.say_yes(account, person, Yes(self.night.new_id(), purpose, account.newest(purpose), 1.0, None))

    async def petition(self, act: Act) -> None:
        """A sleeper asks for something."""
        _, person = self.night.person(act)
        await person.conductor.stewarding.petition(person, self.night.new_id(), f"wish {act.a}")

    async def unpetition(self, act: Act) -> None:
        """A sleeper takes a petition back."""
        _, person = self.night.person(act)
        own = person.conductor.stewarding.petitions_of(person)
        if own:
            petition_id = own[act.a % len(own)].petition_id
            await person.conductor.stewarding.withdraw_petition(person, petition_id)
            self._withdrawn.add(petition_id)

    async def say(self, act: Act) -> None:
        """A sleeper speaks, as a sleeper."""
        _, person = self.night.person(act)
        if (dialogue_id := self._dialogue(person.conductor, act)) is not None:
            person.check_present()
            await person.conductor.stewarding.say(dialogue_id, f"words {act.a}", Role.SLEEPER, "")

    async def talk(self, act: Act) -> None:
        """The host opens a dialogue, or closes one."""
        conductor = self.night.conductor(act)
        dialogue_id = self._dialogue(conductor, act)
        if act.a % 3 and dialogue_id is not None:
            await conductor.stewarding.close_dialogue(dialogue_id, "so be it")
        else:
            await conductor.stewarding.open_dialogue("how was it", Role.HOST, "")

    async def silence(self, act: Act) -> None:
        """The host silences a room."""
        await self._hush(self.night.conductor(act), act, "host")

    async def lift(self, act: Act) -> None:
        """The host lifts the silence, or another than there is."""
        await self._lift(self.night.conductor(act), act, "host")

    async def help(self, act: Act) -> None:
        """A sleeper calls whoever is awake."""
        account, person = self.night.person(act)
        call = await person.conductor.stewarding.call(person, self.night.new_id(), "")
        self._calls[call.help_id] = account

    # What has to hold

    def started(self) -> None:
        for held in self._held.values():
            self.night.require(held.written or not held.told, held.role_id, "was revoked, and its revocation is lost")
            lost = held.until_ns is not None and self.night.new_clock_came
            held.revoked = held.written or lost

    def check(self) -> None:
        for circle_id, said in self._silences.items():
            circle = self.night.sanctuary.conductor(circle_id).circle
            stands = circle.silence is not None and circle.silence.silence_id == said.silence_id
            self.night.require(stands or not (circle.open or said.alarm), circle_id, "is silent no more")
            self.night.require(circle.open or said.alarm or not stands, circle_id, "is closed, and silent for ever")
        for help_id, account in self._calls.items():
            if not account.forgetting:
                known = self.night.sanctuary.conductor(account.circle_id).stewarding.calls.get(help_id)
                self.night.require(known is not None, account.sleeper_id, "called for help, and nobody knows")
                answered = known is None or known.resolved_ns is None or help_id in self._resolved
                self.night.require(answered, account.sleeper_id, "has been helped, and nobody says so")
        for circle_id in self.night.circles:
            for dialogue in self.night.sanctuary.conductor(circle_id).stewarding.dialogues.values():
                now = Said(dialogue.topic, dialogue.statements, dialogue.closed_ns)
                before = self._said.setdefault((circle_id, dialogue.dialogue_id), now)
                grown = before.closed_ns is None and now.statements[: len(before.statements)] == before.statements
                same = now == before or (grown and now.topic == before.topic)
                self.night.require(same, dialogue.dialogue_id, "has another past than it had")
                self._said[circle_id, dialogue.dialogue_id] = now


Do = Callable[[Offices, Conductor, Held, Act], Awaitable[None]]
_DO: dict[str, Do] = {
    "StewardService/WatchRoom": Offices._watch_room,
    "StewardService/SilenceRoom": Offices._silence_room,
    "StewardService/LiftSilence": Offices._lift_silence,
    "StewardService/AnswerHelp": Offices._answer_help,
    "DialogueService/OpenDialogue": Offices._open,
    "DialogueService/CloseDialogue": Offices._close,
    "DialogueService/Say": Offices._speak,
    "DialogueService/GetDialogue": Offices._read,
    "DialogueService/ListPetitions": Offices._read_petitions,
    "DialogueService/FilePetition": Offices._file,
    "StewardService/LookAtCircle": Offices._look,
}
