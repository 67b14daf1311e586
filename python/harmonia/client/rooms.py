"""Roles, rooms and dialogues as plain immutable values; everything else's are in :mod:`harmonia.client.views`."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

from harmonia.client.names import CircleState, LockState, Role, Trouble
from harmonia.v1 import dialogue_pb2, steward_pb2


@dataclass(frozen=True, slots=True)
class RoleView:
    """A role that was given, without its credential."""

    role_id: str
    role: Role
    name: str
    until_ns: int | None
    made_ns: int
    over: str
    """Why it is good for nothing any more; empty while it is good."""


@dataclass(frozen=True, slots=True)
class PublicCircle:
    """What a circle shows to whoever may only look. Node times; None: not known yet."""

    circle_id: str
    title: str
    state: CircleState
    node_time_ns: int
    created_ns: int
    entered_ns: int
    epoch_ns: int | None
    next_ns: int | None
    """When it moves on by itself."""
    capacity: int
    sleepers: int


@dataclass(frozen=True, slots=True)
class Silence:
    """A room that is silent."""

    silence_id: str
    message: str
    alarm: bool
    """Everybody is to wake."""
    by: str
    since_ns: int


@dataclass(frozen=True, slots=True)
class HelpCall:
    """A call for help."""

    help_id: str
    place: int
    """1 for who joined first."""
    message: str
    called_ns: int
    by: str
    """Who is coming or came; empty while nobody has answered."""
    coming_ns: int | None
    resolved_ns: int | None
    sleeper_id: str
    """Empty where the caller does not grant visibility."""
    taken_back: bool = False
    """By its caller, before it was resolved."""

    @property
    def waiting(self) -> bool:
        """It is not resolved."""
        return self.resolved_ns is None


@dataclass(frozen=True, slots=True)
class Bed:
    """One place: nothing but that of who grants presence and not visibility."""

    place: int
    visible: bool
    sleeper_id: str
    troubles: tuple[Trouble, ...]
    lock_state: LockState
    bound_ns: int
    silent_ns: int
    """For how long no datagram has come; -1 without a session."""
    level_dbfs: float
    muted: bool
    suspends: int


@dataclass(frozen=True, slots=True)
class RoomView:
    """A room as whoever is awake may see it, at one node time."""

    circle_id: str
    title: str
    state: CircleState
    node_time_ns: int
    sleepers: int
    silence: Silence | None
    calls: tuple[HelpCall, ...]
    """Those that wait first."""
    beds: tuple[Bed, ...]
    voices_dropped: int
    """In the whole house since it started: an alarm."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What somebody said in a dialogue."""

    role: Role
    name: str
    """Of the role's holder; empty for a sleeper."""
    text: str
    petition_id: str
    """The petition that this is the text of; empty for what was said."""
    t_ns: int


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A dialogue; ``statements`` is empty in lists."""

    dialogue_id: str
    topic: str
    role: Role
    """Who opened it."""
    name: str
    opened_ns: int
    closed_ns: int | None
    outcome: str
    statement_count: int
    statements: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Petition:
    """A petition as its maker sees it."""

    petition_id: str
    text: str
    made_ns: int
    withdrawn: bool
    dialogue_id: str
    """Where it was filed; empty while it waits."""


@dataclass(frozen=True, slots=True)
class WaitingPetition:
    """A petition as the advocate sees it."""

    petition_id: str
    text: str


def role_number(role: Role) -> steward_pb2.Role.ValueType:
    """The role as the API numbers it."""
    return cast("steward_pb2.Role.ValueType", int(role))


def role_view(m: steward_pb2.RolePass) -> RoleView:
    """The role of a message."""
    until_ns = m.until_ns if m.HasField("until_ns") else None
    return RoleView(m.role_id, Role.read(m.role), m.name, until_ns, m.made_ns, m.over)


def public_circle(m: steward_pb2.LookAtCircleResponse) -> PublicCircle:
    """The public state of an answer."""
    return PublicCircle(
        circle_id=m.circle_id,
        title=m.title,
        state=CircleState.read(m.state),
        node_time_ns=m.node_time_ns,
        created_ns=m.created_ns,
        entered_ns=m.entered_ns,
        epoch_ns=m.epoch_ns if m.HasField("epoch_ns") else None,
        next_ns=m.next_ns if m.HasField("next_ns") else None,
        capacity=m.capacity,
        sleepers=m.sleepers,
    )


def silence(m: steward_pb2.Silence) -> Silence:
    """The silence of a message."""
    return Silence(m.silence_id, m.message, m.alarm, m.by, m.since_ns)


def help_call(m: steward_pb2.HelpCall) -> HelpCall:
    """The call of a message."""
    coming_ns = m.coming_ns if m.HasField("coming_ns") else None
    resolved_ns = m.resolved_ns if m.HasField("resolved_ns") else None
    return HelpCall(
        m.help_id, m.place, m.message, m.called_ns, m.by, coming_ns, resolved_ns, m.sleeper_id, m.taken_back
    )


def help_calls(messages: Iterable[steward_pb2.HelpCall]) -> tuple[HelpCall, ...]:
    """The calls of a message."""
    return tuple(map(help_call, messages))


def room_view(m: steward_pb2.WatchRoomResponse) -> RoomView:
    """The room of an answer."""
    return RoomView(
        circle_id=m.circle_id,
        title=m.title,
        state=CircleState.read(m.state),
        node_time_ns=m.node_time_ns,
        sleepers=m.sleepers,
        silence=silence(m.silence) if m.HasField("silence") else None,
        calls=help_calls(m.calls),
        beds=tuple(map(_bed, m.beds)),
        voices_dropped=m.voices_dropped,
    )


def _bed(m: steward_pb2.Bed) -> Bed:
    return Bed(
        place=m.place,
        visible=m.visible,
        sleeper_id=m.sleeper_id,
        troubles=tuple(map(Trouble.read, m.troubles)),
        lock_state=LockState.read(m.lock_state),
        bound_ns=m.bound_ns,
        silent_ns=m.silent_ns,
        level_dbfs=m.level_dbfs,
        muted=m.muted,
        suspends=m.suspends,
    )


def dialogue(m: dialogue_pb2.Dialogue) -> Dialogue:
    """The dialogue of a message."""
    return Dialogue(
        dialogue_id=m.dialogue_id,
        topic=m.topic,
        role=Role.read(m.role),
        name=m.name,
        opened_ns=m.opened_ns,
        closed_ns=m.closed_ns if m.HasField("closed_ns") else None,
        outcome=m.outcome,
        statement_count=m.statement_count,
        statements=tuple(Statement(Role.read(s.role), s.name, s.text, s.petition_id, s.t_ns) for s in m.statements),
    )


def petition(m: dialogue_pb2.Petition) -> Petition:
    """The petition of a message."""
    return Petition(m.petition_id, m.text, m.made_ns, m.withdrawn, m.dialogue_id)
