"""Dialogues: what a circle talks over, in any live phase, beside the night and not instead of it.

A dialogue has a topic, statements by role, and an end with an outcome in words; nothing follows from it by itself. It
is opened by the host or the council, or on a sleeper's petition. Sleepers speak as sleepers: a statement holds a role
and no sleeper's id.

A petition goes to the advocate as a text and a random name. Who made it is known to the house alone, which tells only
that person what became of it. Until it is filed its maker may take it back.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from harmonia.domain.circle import Circle
from harmonia.domain.events import DialogueClosed, DialogueOpened, DialogueSpoken, PetitionFiled
from harmonia.domain.roles import Role, parse_line
from harmonia.domain.states import CircleState
from harmonia.errors import NotFound, NotNow

TOPIC_MAX = 200
TEXT_MAX = 1000
STATEMENTS_MAX = 500
"""In one dialogue: it is sent whole."""
DIALOGUES_MAX = 100
"""In one circle."""
WAITING_MAX = 8
"""Petitions of one sleeper that wait at once."""
WITHDRAWN_MAX = 8
"""Withdrawn petitions of one sleeper that are still shown to them, the newest."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What somebody said."""

    role: Role
    name: str
    """Of the role's holder; empty for a sleeper."""
    text: str
    petition_id: str
    """The petition that this is the text of; empty for what was said."""
    t_ns: int


@dataclass(frozen=True, slots=True)
class Dialogue:
    """One dialogue."""

    dialogue_id: str
    topic: str
    role: Role
    """Who opened it."""
    name: str
    opened_ns: int
    statements: tuple[Statement, ...] = ()
    closed_ns: int | None = None
    outcome: str = ""


@dataclass(frozen=True, slots=True)
class Petition:
    """What a sleeper asks for."""

    petition_id: str
    sleeper_id: str
    event_id: bytes
    """As its maker's client named it, to repeat it."""
    text: str
    made_ns: int
    withdrawn: bool = False
    dialogue_id: str = ""
    """Where it was filed."""

    @property
    def waiting(self) -> bool:
        return not self.withdrawn and not self.dialogue_id


DialogueEvent = DialogueOpened | DialogueSpoken | DialogueClosed | PetitionFiled
Dialogues = Mapping[str, Dialogue]
"""By id, in the order of opening."""


def apply(dialogues: Dialogues, event: DialogueEvent) -> Dialogues:
    """``dialogues`` after ``event``."""
    match event:
        case DialogueOpened(dialogue_id, topic, role, name, t_ns):
            opened = Dialogue(dialogue_id, topic, role, name, t_ns)
            return {**dialogues, dialogue_id: dialogues.get(dialogue_id, opened)}
        case DialogueSpoken(dialogue_id, role, name, text, t_ns):
            return _said(dialogues, dialogue_id, Statement(role, name, text, "", t_ns))
        case DialogueClosed(dialogue_id, outcome, t_ns):
            held = dialogues.get(dialogue_id)
            if held is None or held.closed_ns is not None:
                return dialogues
            return {**dialogues, dialogue_id: replace(held, closed_ns=t_ns, outcome=outcome)}
        case PetitionFiled(petition_id, dialogue_id, topic, name, text, t_ns):
            if topic:
                dialogues = apply(dialogues, DialogueOpened(dialogue_id, topic, Role.ADVOCATE, name, t_ns))
            return _said(dialogues, dialogue_id, Statement(Role.ADVOCATE, name, text, petition_id, t_ns))


def _said(dialogues: Dialogues, dialogue_id: str, statement: Statement) -> Dialogues:
    held = dialogues.get(dialogue_id)
    if held is None:
        return dialogues
    return {**dialogues, dialogue_id: replace(held, statements=(*held.statements, statement))}


def decide_opening(circle: Circle, dialogues: Dialogues, topic: str) -> str:
    """``topic`` if a dialogue may open now. Raises BadInput, NotNow."""
    topic = parse_line("a topic", topic, TOPIC_MAX)
    if not circle.open or circle.state is CircleState.DRAFT:
        raise NotNow(f"this circle is {circle.state.name.lower()}: a dialogue opens in a live phase of its night")
    if len(dialogues) >= DIALOGUES_MAX:
        raise NotNow(f"this circle has had {DIALOGUES_MAX} dialogues, its most: go on in one of them")
    return topic


def decide_statement(circle: Circle, dialogues: Dialogues, dialogue_id: str, text: str) -> str:
    """``text`` if it may be said there now. Raises BadInput, NotFound, NotNow."""
    text = parse_line("a statement", text, TEXT_MAX)
    held = open_dialogue(circle, dialogues, dialogue_id)
    if len(held.statements) >= STATEMENTS_MAX:
        raise NotNow(f"this dialogue has {STATEMENTS_MAX} statements, its most: open another")
    return text


def open_dialogue(circle: Circle, dialogues: Dialogues, dialogue_id: str) -> Dialogue:
    """One that goes on. Raises NotFound, NotNow."""
    held = find(dialogues, dialogue_id)
    if held.closed_ns is not None or not circle.open:
        raise NotNow("this dialogue is closed: nothing more is said there")
    return held


def find(dialogues: Dialogues, dialogue_id: str) -> Dialogue:
    """Raises NotFound."""
    held = dialogues.get(dialogue_id)
    if held is None:
        raise NotFound(f"there is no dialogue {dialogue_id[:80]!r} in this circle: list them to see their ids")
    return held


def parse_petition(own: Iterable[Petition], text: str) -> str:
    """``text`` if a sleeper may ask for it, beside their ``own`` petitions. Raises BadInput, NotNow."""
    text = parse_line("a petition", text, TEXT_MAX)
    if sum(petition.waiting for petition in own) >= WAITING_MAX:
        raise NotNow(f"{WAITING_MAX} of your petitions wait for the advocate already: withdraw one first")
    return text
