"""What the journal remembers: the facts of a night, each a frozen record with a versioned JSON encoding.

An event is never changed once its version has been released. A field that is added later gets a default and a new
version; a reader that meets a version or a type newer than itself says so instead of guessing, because a guess could
turn somebody's no into a yes.
"""

import json
import types
import typing
from dataclasses import dataclass, fields, is_dataclass
from enum import IntEnum
from typing import Any, ClassVar

from harmonia.domain.advance import AdvanceWish
from harmonia.domain.consent import Purpose
from harmonia.domain.offers import Offer
from harmonia.domain.rhythm import Segment
from harmonia.domain.roles import Role
from harmonia.domain.schedule import NightPlan, TimesOfDay
from harmonia.domain.states import Cause, CircleState, Ending
from harmonia.domain.usage import Use
from harmonia.domain.weaving import CircleMode
from harmonia.errors import StorageUnreadable


@dataclass(frozen=True, slots=True)
class SanctuaryFounded:
    """The first event of every journal."""

    VERSION: ClassVar[int] = 1
    sanctuary_id: str
    t_ns: int


@dataclass(frozen=True, slots=True)
class ClockBegun:
    """From here on the journal's times are another clock's. Grants with an end that were given before are withdrawn."""

    VERSION: ClassVar[int] = 1
    clock_id: int
    t_ns: int


@dataclass(frozen=True, slots=True)
class CircleCreated:
    """The first event of a circle's stream."""

    VERSION: ClassVar[int] = 3
    circle_id: str
    title: str
    score_name: str
    score_format: str
    """``toml`` or ``sbg``."""
    score_text: str
    channels: int
    duration_ns: int | None
    """The score's own; None if it is endless."""
    capacity: int
    gather_ns: int | None
    night_ns: int | None
    t_ns: int
    mode: CircleMode = CircleMode.STANDARD
    """This and what follows: since version 2."""
    strength_rad_s: float = 0.0
    lag_rad: float = 0.0
    draft: bool = False
    """It began as a draft. This and what follows: since version 3."""
    plan: NightPlan | None = None
    series_id: str = ""
    night: str = ""
    """Which of the series' nights it is: a local date, ISO 8601."""


@dataclass(frozen=True, slots=True)
class CircleAdvanced:
    """A circle entered another state."""

    VERSION: ClassVar[int] = 2
    state: CircleState
    t_ns: int
    epoch_ns: int | None = None
    """Set once, when the circle leaves gathering; so are the segments."""
    segments: tuple[Segment, ...] = ()
    cause: Cause = Cause.UNRECORDED
    """This and what follows: since version 2."""
    ending: Ending = Ending.OPEN
    reason: str = ""
    """Why it was cancelled or failed."""


@dataclass(frozen=True, slots=True)
class CircleTitled:
    """A host gave a circle another title."""

    VERSION: ClassVar[int] = 1
    title: str
    t_ns: int


@dataclass(frozen=True, slots=True)
class CapacitySet:
    """A host made room for more sleepers or fewer; nobody leaves for it."""

    VERSION: ClassVar[int] = 1
    capacity: int
    t_ns: int


@dataclass(frozen=True, slots=True)
class ScheduleSet:
    """A host gave a circle another schedule, whole."""

    VERSION: ClassVar[int] = 1
    gather_ns: int | None
    night_ns: int | None
    plan: NightPlan | None
    t_ns: int


@dataclass(frozen=True, slots=True)
class ScoreSet:
    """A host gave a draft another score."""

    VERSION: ClassVar[int] = 1
    score_name: str
    score_format: str
    score_text: str
    channels: int
    duration_ns: int | None
    t_ns: int


@dataclass(frozen=True, slots=True)
class WaitingBegun:
    """Somebody redeemed a token where there was no place yet. They come in, in this order, as places get free."""

    VERSION: ClassVar[int] = 1
    token_hash: bytes
    credential_hash: bytes
    platform_key: bytes
    t_ns: int


@dataclass(frozen=True, slots=True)
class WaitingEnded:
    """They do not wait any more; their token is good again."""

    VERSION: ClassVar[int] = 1
    token_hash: bytes
    t_ns: int


@dataclass(frozen=True, slots=True)
class RhythmLed:
    """A segment was added."""

    VERSION: ClassVar[int] = 1
    segment: Segment
    t_ns: int


@dataclass(frozen=True, slots=True)
class WeavingSet:
    """A host changed the circle's mode, or lowered its strength."""

    VERSION: ClassVar[int] = 1
    mode: CircleMode
    strength_rad_s: float
    t_ns: int


@dataclass(frozen=True, slots=True)
class OffsetsOffered:
    """A host offered a pattern of offsets; nobody's offset follows from it."""

    VERSION: ClassVar[int] = 1
    pattern: tuple[int, ...]
    """2⁻⁶⁴ turn, signed; empty: the offer is over."""
    t_ns: int


@dataclass(frozen=True, slots=True)
class OfferMade:
    """A host made an offer; nobody's settings follow from it."""

    VERSION: ClassVar[int] = 1
    offer: Offer
    t_ns: int


@dataclass(frozen=True, slots=True)
class OfferEnded:
    """A host took an offer back; whoever accepted it keeps what it set."""

    VERSION: ClassVar[int] = 1
    offer_id: bytes
    t_ns: int


@dataclass(frozen=True, slots=True)
class TokensCreated:
    """A host made join tokens."""

    VERSION: ClassVar[int] = 1
    hashes: tuple[bytes, ...]
    """SHA-256 of each token; the tokens themselves are never stored."""
    expires_ns: int
    t_ns: int


@dataclass(frozen=True, slots=True)
class SleeperForgotten:
    """Somebody of the circle was forgotten: their token stays used. Who it was stands nowhere."""

    VERSION: ClassVar[int] = 1
    token_hash: bytes
    t_ns: int


@dataclass(frozen=True, slots=True)
class RoleGranted:
    """A host gave somebody a role."""

    VERSION: ClassVar[int] = 1
    role_id: str
    role: Role
    name: str
    secret_hash: bytes
    """SHA-256 of its credential."""
    until_ns: int | None
    t_ns: int


@dataclass(frozen=True, slots=True)
class RoleRevoked:
    """A role's credential is good for nothing any more."""

    VERSION: ClassVar[int] = 1
    role_id: str
    t_ns: int


@dataclass(frozen=True, slots=True)
class RoomSilenced:
    """Everybody's sound ended, until a lift that names this."""

    VERSION: ClassVar[int] = 1
    silence_id: str
    message: str
    alarm: bool
    by: str
    t_ns: int


@dataclass(frozen=True, slots=True)
class RoomLifted:
    """The silence of that name is over; a later one is not."""

    VERSION: ClassVar[int] = 1
    silence_id: str
    by: str
    t_ns: int


@dataclass(frozen=True, slots=True)
class HelpAnswered:
    """Somebody is coming to who called for help, or has helped."""

    VERSION: ClassVar[int] = 1
    help_id: str
    by: str
    resolved: bool
    t_ns: int


@dataclass(frozen=True, slots=True)
class DialogueOpened:
    """The host or the council opened a dialogue."""

    VERSION: ClassVar[int] = 1
    dialogue_id: str
    topic: str
    role: Role
    name: str
    t_ns: int


@dataclass(frozen=True, slots=True)
class DialogueSpoken:
    """Somebody said something in a dialogue."""

    VERSION: ClassVar[int] = 1
    dialogue_id: str
    role: Role
    name: str
    """Of the role's holder; empty for a sleeper."""
    text: str
    t_ns: int


@dataclass(frozen=True, slots=True)
class DialogueClosed:
    """A dialogue ended."""

    VERSION: ClassVar[int] = 1
    dialogue_id: str
    outcome: str
    t_ns: int


@dataclass(frozen=True, slots=True)
class PetitionFiled:
    """The advocate put a petition's text into a dialogue."""

    VERSION: ClassVar[int] = 1
    petition_id: str
    dialogue_id: str
    topic: str
    """Of the dialogue that this opened; empty: it was open."""
    name: str
    """The advocate's."""
    text: str
    t_ns: int


@dataclass(frozen=True, slots=True)
class SleeperJoined:
    """The first event of a person's stream."""

    VERSION: ClassVar[int] = 2
    circle_id: str
    sleeper_id: str
    token_hash: bytes
    credential_hash: bytes
    platform_key: bytes
    t_ns: int
    place: int | None = None
    """In the order of joining, from 0, so that it stays theirs when somebody before them is forgotten. None: as many as
    the journal still knows before them. Since version 2."""


@dataclass(frozen=True, slots=True)
class SleeperLeft:
    """A sleeper left for good."""

    VERSION: ClassVar[int] = 1
    t_ns: int


@dataclass(frozen=True, slots=True)
class ConsentGranted:
    """A person said yes to one purpose."""

    VERSION: ClassVar[int] = 1
    purpose: Purpose
    scope: str
    level: float
    until_ns: int | None
    supersedes: bytes
    event_id: bytes
    t_ns: int


@dataclass(frozen=True, slots=True)
class ConsentWithdrawn:
    """A person took back what they had allowed."""

    VERSION: ClassVar[int] = 1
    purposes: tuple[Purpose, ...]
    event_id: bytes
    t_ns: int


@dataclass(frozen=True, slots=True)
class OffsetSet:
    """A sleeper chose their displacement from the rhythm."""

    VERSION: ClassVar[int] = 1
    offset: int
    """2⁻⁶⁴ turn, signed."""
    t_ns: int


@dataclass(frozen=True, slots=True)
class RhythmOwned:
    """A sleeper chose a rhythm of their own, or went back to the circle's, or follows a living signal."""

    VERSION: ClassVar[int] = 2
    segments: tuple[Segment, ...]
    home_ns: int | None
    """When it joins the circle's; None: never."""
    t_ns: int
    set_hz: float | None = None
    """Following a living signal: what they go back to. Since version 2."""


@dataclass(frozen=True, slots=True)
class CouplingSet:
    """A sleeper chose how far the circle may pull them, and what they count in its mean."""

    VERSION: ClassVar[int] = 1
    coupling: float
    weight: float
    t_ns: int


@dataclass(frozen=True, slots=True)
class VoiceSet:
    """A sleeper chose their voice, one coefficient a channel."""

    VERSION: ClassVar[int] = 1
    voice: tuple[complex, ...]
    t_ns: int


@dataclass(frozen=True, slots=True)
class HearingSet:
    """A sleeper chose how loud they hear the others and themself."""

    VERSION: ClassVar[int] = 1
    hearing_level: float
    own_level: float
    t_ns: int


@dataclass(frozen=True, slots=True)
class ApartKept:
    """A sleeper wished to keep apart from another, or took that back. Replaces an earlier wish about the same other."""

    VERSION: ClassVar[int] = 1
    other_id: str
    unheard: bool
    unhearing: bool
    t_ns: int


@dataclass(frozen=True, slots=True)
class WishMade:
    """A sleeper said beforehand when to take back what they allow."""

    VERSION: ClassVar[int] = 1
    wish: AdvanceWish
    t_ns: int


@dataclass(frozen=True, slots=True)
class WishRemoved:
    """A sleeper does not wish that any more. What it has taken back stays taken back."""

    VERSION: ClassVar[int] = 1
    wish_id: bytes
    t_ns: int


@dataclass(frozen=True, slots=True)
class OfferAnswered:
    """A sleeper accepted or declined an offer; what they accepted is in events of its own, before this one."""

    VERSION: ClassVar[int] = 1
    offer: Offer
    """As it was then."""
    accepted: bool
    t_ns: int


@dataclass(frozen=True, slots=True)
class UsageNoted:
    """The sanctuary noted who used what this person allows. Sets nothing."""

    VERSION: ClassVar[int] = 1
    uses: tuple[Use, ...]
    t_ns: int


@dataclass(frozen=True, slots=True)
class HelpCalled:
    """A sleeper called for help."""

    VERSION: ClassVar[int] = 1
    help_id: str
    message: str
    t_ns: int


@dataclass(frozen=True, slots=True)
class HelpTakenBack:
    """A sleeper took a call for help back."""

    VERSION: ClassVar[int] = 1
    help_id: str
    t_ns: int


@dataclass(frozen=True, slots=True)
class PetitionMade:
    """A sleeper asks for something, through the advocate."""

    VERSION: ClassVar[int] = 1
    petition_id: str
    """By chance, and not from the event id: so it says nothing of its maker, whatever their client chose."""
    event_id: bytes
    text: str
    t_ns: int


@dataclass(frozen=True, slots=True)
class PetitionWithdrawn:
    """A sleeper took their petition back."""

    VERSION: ClassVar[int] = 1
    petition_id: str
    t_ns: int


@dataclass(frozen=True, slots=True)
class SleeperWentAway:
    """A sleeper left for a while; their place and settings stay. Their voice was withdrawn before."""

    VERSION: ClassVar[int] = 1
    t_ns: int


@dataclass(frozen=True, slots=True)
class SleeperCameBack:
    """A sleeper who had left for a while is here again."""

    VERSION: ClassVar[int] = 1
    t_ns: int


@dataclass(frozen=True, slots=True)
class AwakeSet:
    """A sleeper woke for themself, and goes out of the night within a time; or went back to sleep."""

    VERSION: ClassVar[int] = 1
    awake: bool
    fade_ns: int
    t_ns: int


@dataclass(frozen=True, slots=True)
class ScheduleOffsetSet:
    """A sleeper chose their displacement from the night's schedule: when they wake."""

    VERSION: ClassVar[int] = 1
    offset_ns: int
    t_ns: int


@dataclass(frozen=True, slots=True)
class SeriesTemplate:
    """What the circles of a series are made from."""

    title: str
    score_name: str
    score_format: str
    score_text: str
    channels: int
    duration_ns: int | None
    capacity: int
    night_ns: int | None
    mode: CircleMode
    strength_rad_s: float
    lag_rad: float
    times: TimesOfDay


@dataclass(frozen=True, slots=True)
class SeriesCreated:
    """The first event of a series' stream: a circle that recurs."""

    VERSION: ClassVar[int] = 1
    series_id: str
    rule: str
    first: str
    """The date from which the rule counts."""
    excluded: tuple[str, ...]
    """Nights that it leaves out, local dates."""
    template: SeriesTemplate
    t_ns: int


@dataclass(frozen=True, slots=True)
class SeriesChanged:
    """A host changed a series: all nights that are made from now on."""

    VERSION: ClassVar[int] = 1
    excluded: tuple[str, ...]
    template: SeriesTemplate
    t_ns: int


@dataclass(frozen=True, slots=True)
class NightMissed:
    """A night of a series that could not be held any more when the sanctuary came to it."""

    VERSION: ClassVar[int] = 1
    night: str
    reason: str
    t_ns: int


@dataclass(frozen=True, slots=True)
class SeriesEnded:
    """A host ended a series; the circles that were made of it stay."""

    VERSION: ClassVar[int] = 1
    t_ns: int


RoomEvent = RoleGranted | RoleRevoked | RoomSilenced | RoomLifted | HelpAnswered
TalkEvent = DialogueOpened | DialogueSpoken | DialogueClosed | PetitionFiled
PlanEvent = CircleTitled | CapacitySet | ScheduleSet | ScoreSet
WaitingEvent = WaitingBegun | WaitingEnded
RhythmEvent = RhythmLed | WeavingSet | OffsetsOffered | OfferMade | OfferEnded
EntranceEvent = TokensCreated | SleeperForgotten | WaitingEvent
CircleEvent = CircleCreated | CircleAdvanced | RhythmEvent | EntranceEvent | PlanEvent | RoomEvent | TalkEvent
ConsentEvent = ConsentGranted | ConsentWithdrawn
SettingEvent = OffsetSet | RhythmOwned | CouplingSet | VoiceSet | HearingSet | ApartKept | AwakeSet | ScheduleOffsetSet
WishEvent = WishMade | WishRemoved | OfferAnswered
AskingEvent = HelpCalled | HelpTakenBack | PetitionMade | PetitionWithdrawn
ComingEvent = SleeperJoined | SleeperLeft | SleeperWentAway | SleeperCameBack
PersonEvent = ComingEvent | ConsentEvent | SettingEvent | WishEvent | AskingEvent | UsageNoted
SeriesEvent = SeriesCreated | SeriesChanged | NightMissed | SeriesEnded
Event = SanctuaryFounded | ClockBegun | CircleEvent | PersonEvent | SeriesEvent

_TYPES: dict[str, Any] = {kind.__name__: kind for kind in typing.get_args(Event)}


def encode(event: Event) -> bytes:
    """``event`` as the journal keeps it: one JSON object."""
    body = {f.name: _to_json(getattr(event, f.name)) for f in fields(event)}
    return json.dumps({**_head(type(event)), **body}, separators=(",", ":"), allow_nan=False).encode()


def head(kind: type[Event]) -> bytes:
    """How every event of ``kind`` and of its present version begins."""
    return json.dumps(_head(kind), separators=(",", ":")).encode()[:-1] + b","


def _head(kind: type[Event]) -> dict[str, object]:
    return {"type": kind.__name__, "v": kind.VERSION}


def decode(data: bytes) -> Event:
    """The event of ``data``. Raises :class:`StorageUnreadable` on a newer version, an unknown type or damage."""
    try:
        body = json.loads(data)
        kind, version = body.pop("type"), body.pop("v")
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        raise StorageUnreadable("the journal holds a damaged event: restore its folder from a backup") from None
    if (
        not isinstance(kind, str)
        or kind not in _TYPES
        or not isinstance(version, int)
        or version > _TYPES[kind].VERSION
    ):
        raise StorageUnreadable(
            f"the journal holds an event {kind} of version {version}, which this version of Harmonia does not know:"
            " start the version that wrote it, or a newer one"
        )
    try:
        return typing.cast(Event, _from_json(_TYPES[kind], body))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        raise StorageUnreadable(f"the journal holds a damaged {kind}: restore its folder from a backup") from None


def _to_json(value: object) -> object:
    """``value`` in JSON's terms; the type it had is known from the field it stands in."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, IntEnum):
        return value.name
    if isinstance(value, complex):
        return [value.real, value.imag]
    if isinstance(value, tuple):
        return [_to_json(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _to_json(getattr(value, f.name)) for f in fields(value)}
    return value


def _from_json(kind: Any, value: Any) -> Any:
    """The inverse of :func:`_to_json` for a field declared as ``kind``."""
    if typing.get_origin(kind) is types.UnionType:
        (inner,) = (arm for arm in typing.get_args(kind) if arm is not types.NoneType)
        return None if value is None else _from_json(inner, value)
    if typing.get_origin(kind) is tuple:
        return tuple(_from_json(typing.get_args(kind)[0], item) for item in value)
    if is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return typing.cast(Any, kind)(**{name: _from_json(hints[name], item) for name, item in value.items()})
    if kind is bytes:
        return bytes.fromhex(value)
    if kind is complex:
        return complex(*value)
    if issubclass(kind, IntEnum):
        return kind[value]
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        raise ValueError(f"{value!r} is not a {kind.__name__}")
    return value
