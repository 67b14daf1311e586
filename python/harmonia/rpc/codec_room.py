"""The shapes of the messages of roles, rooms and dialogues; everything else's are in :mod:`harmonia.rpc.codec`."""

from harmonia.domain.dialogue import Dialogue, Petition
from harmonia.domain.help import Call
from harmonia.domain.roles import Role, RolePass
from harmonia.domain.silence import Silence
from harmonia.domain.timetable import next_due
from harmonia.engine.conductor import Conductor
from harmonia.engine.room import Bed, Room
from harmonia.errors import BadInput
from harmonia.v1 import dialogue_pb2, steward_pb2, types_pb2


def parse_role(number: int) -> Role:
    """Raises BadInput on a role that this version does not know."""
    try:
        return Role(number)
    except ValueError:
        names = ", ".join(role.word for role in Role)
        raise BadInput(f"there is no role number {number}: choose one of {names}") from None


def role_pass(held: RolePass, circle_open: bool, t_ns: int) -> steward_pb2.RolePass:
    """A role, as it stands at node time ``t_ns``."""
    return steward_pb2.RolePass(
        role_id=held.role_id,
        role=steward_pb2.Role.ValueType(held.role),
        name=held.name,
        until_ns=held.until_ns,
        made_ns=held.made_ns,
        over=held.over(circle_open, t_ns),
    )


def public_circle(conductor: Conductor, t_ns: int) -> steward_pb2.LookAtCircleResponse:
    """What a circle shows to whoever may only look."""
    circle = conductor.circle
    due = next_due(circle, conductor.planned())
    return steward_pb2.LookAtCircleResponse(
        circle_id=circle.circle_id,
        title=circle.title,
        state=types_pb2.CircleState.ValueType(circle.state),
        node_time_ns=t_ns,
        created_ns=circle.created_ns,
        entered_ns=circle.entered_ns,
        epoch_ns=circle.epoch_ns,
        next_ns=None if due is None else due.t_ns,
        capacity=circle.capacity,
        sleepers=conductor.entrance.present,
    )


def silence(value: Silence | None) -> steward_pb2.Silence | None:
    """A silent room; None while it is not."""
    if value is None:
        return None
    return steward_pb2.Silence(
        silence_id=value.silence_id,
        message=value.message,
        alarm=value.alarm,
        by=value.by,
        since_ns=value.since_ns,
    )


def call(value: Call, sleeper_id: str) -> steward_pb2.HelpCall:
    """A call for help; ``sleeper_id`` is empty for whoever may not see who called."""
    return steward_pb2.HelpCall(
        help_id=value.help_id,
        place=value.place + 1,
        message=value.message,
        called_ns=value.called_ns,
        by=value.by,
        coming_ns=value.coming_ns,
        resolved_ns=value.resolved_ns,
        sleeper_id=sleeper_id,
        taken_back=value.taken_back,
    )


def bed(value: Bed) -> steward_pb2.Bed:
    """One place. Nothing of a platform that was never heard."""
    row = value.row
    if row is None:
        return steward_pb2.Bed(place=value.place + 1)
    message = steward_pb2.Bed(
        place=value.place + 1,
        visible=True,
        sleeper_id=row.sleeper.sleeper_id,
        troubles=map(steward_pb2.Trouble.ValueType, value.troubles),
        silent_ns=-1,
        level_dbfs=-120.0,
        muted=row.muted,
    )
    if (status := row.status) is not None:
        message.silent_ns = status.silent_ns
        if status.age_ns >= 0:
            message.lock_state = types_pb2.LockState.ValueType(status.lock_state)
            message.bound_ns, message.level_dbfs = status.bound_ns, status.level_dbfs
            message.suspends = status.suspends
    return message


def room(value: Room) -> steward_pb2.WatchRoomResponse:
    """A room as whoever is awake may see it."""
    return steward_pb2.WatchRoomResponse(
        circle_id=value.circle.circle_id,
        title=value.circle.title,
        state=types_pb2.CircleState.ValueType(value.circle.state),
        node_time_ns=value.node_time_ns,
        sleepers=value.present,
        silence=silence(value.circle.silence),
        calls=[call(one, value.callers.get(one.help_id, "")) for one in value.calls],
        beds=map(bed, value.beds),
        voices_dropped=value.voices_dropped,
    )


def dialogue(value: Dialogue, whole: bool = True) -> dialogue_pb2.Dialogue:
    """A dialogue, with what was said if it is ``whole``."""
    statements = [
        dialogue_pb2.Statement(
            role=steward_pb2.Role.ValueType(one.role),
            name=one.name,
            text=one.text,
            petition_id=one.petition_id,
            t_ns=one.t_ns,
        )
        for one in value.statements
    ]
    return dialogue_pb2.Dialogue(
        dialogue_id=value.dialogue_id,
        topic=value.topic,
        role=steward_pb2.Role.ValueType(value.role),
        name=value.name,
        opened_ns=value.opened_ns,
        closed_ns=value.closed_ns,
        outcome=value.outcome,
        statement_count=len(statements),
        statements=statements if whole else [],
    )


def petition(value: Petition) -> dialogue_pb2.Petition:
    """A petition as its maker sees it."""
    return dialogue_pb2.Petition(
        petition_id=value.petition_id,
        text=value.text,
        made_ns=value.made_ns,
        withdrawn=value.withdrawn and not value.dialogue_id,
        dialogue_id=value.dialogue_id,
    )


def waiting_petition(value: Petition) -> dialogue_pb2.WaitingPetition:
    """A petition as the advocate sees it."""
    return dialogue_pb2.WaitingPetition(petition_id=value.petition_id, text=value.text)
