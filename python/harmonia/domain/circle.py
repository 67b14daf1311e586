"""A circle as a value: an event in, a new circle out.

``decide_*`` functions look at a circle and a wish and return the event that grants it, or raise; :func:`apply` folds an
event that the journal holds into the circle. Deciding may refuse, applying never does: what is written has happened.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from harmonia.domain import offers
from harmonia.domain.consent import OPEN, Ceiling, Purpose
from harmonia.domain.events import (
    CapacitySet,
    CircleAdvanced,
    CircleCreated,
    CircleEvent,
    CircleTitled,
    OfferEnded,
    OfferMade,
    OffsetsOffered,
    RhythmLed,
    RoomLifted,
    RoomSilenced,
    ScheduleSet,
    ScoreSet,
    WeavingSet,
)
from harmonia.domain.offers import Offer, OfferKind
from harmonia.domain.rhythm import Rhythm
from harmonia.domain.schedule import NightPlan
from harmonia.domain.silence import Silence, left_over, lifted, safety
from harmonia.domain.states import BEFORE, ENDINGS, SOUNDING, TRANSITIONS, Cause, CircleState, Ending, move_between
from harmonia.domain.weaving import STANDARD, CircleMode, Weaving, parse_pattern, parse_weaving
from harmonia.errors import BadInput, BadScore, NotNow

NS_PER_S = 1_000_000_000
LEAD_NS = 2 * NS_PER_S
"""A beginning or a change of rhythm lies this far in the future, so that every platform hears of it before."""
EDGE_NS_MAX = 600 * NS_PER_S
"""The longest entraining and waking; in a short night each takes a tenth."""
DIALOGUE_NS_MAX = 1800 * NS_PER_S
CAPACITY_DEFAULT = 64
CAPACITY_MAX = 100_000
RAMP_NS_DEFAULT = 10 * NS_PER_S
LEAD_HZ_MAX = 1000.0
TITLE_MAX = 200
REASON_MAX = 200
WAIT_NS_MAX = 7 * 24 * 3600 * NS_PER_S
"""The longest gathering or night; who waits for a host waits no longer."""
SCORE_BYTES_MAX = 1 << 20
"""A circle is sent with its score and its whole rhythm, and gRPC clients take 4 MiB."""
SEGMENTS_MAX = 20_000


@dataclass(frozen=True, slots=True)
class Circle:
    """One communal sleep event."""

    circle_id: str
    title: str
    score_name: str
    score_format: str
    score_text: str
    channels: int
    duration_ns: int | None
    capacity: int
    gather_ns: int | None
    night_ns: int | None
    created_ns: int
    state: CircleState
    entered_ns: int
    """When it entered that state, node time."""
    epoch_ns: int | None = None
    """When the score begins, node time; None until the circle leaves gathering."""
    rhythm: Rhythm | None = None
    rhythm_revision: int = 0
    weaving: Weaving = STANDARD
    offered: tuple[int, ...] = ()
    """A pattern of phase offsets for whoever likes theirs, 2⁻⁶⁴ turn."""
    plan: NightPlan | None = None
    """The night in civil time: counts in place of ``gather_ns``, its wake window in place of ``night_ns``."""
    voices: int = CAPACITY_DEFAULT
    """Of how many unlike voices together are as loud as one: the capacity with which it began to gather. It stays, or
    everybody would become louder or quieter whenever a host makes room."""
    gathered_ns: int = 0
    """When it began to gather."""
    cause: Cause = Cause.HOST
    """Who or what moved it last."""
    ending: Ending = Ending.OPEN
    reason: str = ""
    """Why it was cancelled or failed."""
    series_id: str = ""
    night: str = ""
    silence: Silence | None = None
    """The room is silent."""
    offers: tuple[Offer, ...] = ()
    """What is offered to everybody here, oldest first."""

    @property
    def open(self) -> bool:
        return self.state is not CircleState.CLOSED

    @property
    def on_plane(self) -> bool:
        """Whether sleepers may be in it: it has begun to gather, and is not over."""
        return self.open and self.state is not CircleState.DRAFT

    @property
    def length_ns(self) -> int | None:
        """From the score's beginning to its end; None until a host ends it."""
        return self.duration_ns if self.night_ns is None else self.night_ns

    @property
    def rules(self) -> Ceiling:
        """What this circle's own rules allow: everything while it is open, nothing afterwards."""
        return OPEN if self.open else Ceiling()

    @property
    def score_ceiling(self) -> Ceiling:
        """What the score allows: voices sound from gathering to the end of waking."""
        sounding = self.state in SOUNDING or self.state is CircleState.GATHERING
        return OPEN if sounding else _WITHOUT_SOUND

    def silenced(self, silence: Silence | None) -> "Circle":
        """This circle with that silence, as far as it outlasts a circle that is closed."""
        return replace(self, silence=silence if self.open else left_over(silence))

    @property
    def safety(self) -> Ceiling:
        """What safety allows: everything, but in a silent room."""
        return safety(self.silence)


_WITHOUT_SOUND = Ceiling.of(set(Purpose) - {Purpose.VOICE, Purpose.HEARING, Purpose.RECORDING, Purpose.PULL})


def parse_score_text(name: str, text: str) -> tuple[str, str]:
    """A score's name and text if they can be sent and shown to everybody. Raises :class:`BadInput`."""
    if len(name) > TITLE_MAX or not name.isprintable():
        raise BadInput(f"a score's name must have at most {TITLE_MAX} printable characters, not {name[:40]!r}")
    if (size := len(text.encode())) > SCORE_BYTES_MAX:
        raise BadScore(f"{name}: {size} bytes; a score has at most {SCORE_BYTES_MAX}")
    return name, text


def decide_creation(event: CircleCreated) -> CircleCreated:
    """``event`` if such a circle may be opened. Raises :class:`BadInput`."""
    parse_title(event.title)
    parse_capacity(event.capacity)
    parse_lengths(event.gather_ns, event.night_ns)
    parse_weaving(event.mode, event.strength_rad_s, event.lag_rad)
    return event


def parse_title(title: str) -> str:
    """``title`` if people can call a circle that. Raises :class:`BadInput`."""
    if not title.strip() or len(title) > TITLE_MAX or not title.isprintable():
        raise BadInput(f"a title must have 1 to {TITLE_MAX} printable characters, not {title[:40]!r}")
    return title


def parse_capacity(capacity: int) -> int:
    """``capacity`` if a circle can have it. Raises :class:`BadInput`."""
    if not 1 <= capacity <= CAPACITY_MAX:
        raise BadInput(f"a capacity must be 1 to {CAPACITY_MAX} sleepers, not {capacity}")
    return capacity


def parse_lengths(gather_ns: int | None, night_ns: int | None) -> None:
    """Raises :class:`BadInput` unless a circle can gather and last that long."""
    for name, length_ns in (("gathering", gather_ns), ("night", night_ns)):
        if length_ns is not None and not 0 <= length_ns <= WAIT_NS_MAX:
            raise BadInput(f"a {name} must last from 0 s to a week, not {length_ns / NS_PER_S:g} s")


def decide_advance(
    circle: Circle,
    to: CircleState,
    t_ns: int,
    rhythm_from: Callable[[int], Rhythm],
    lead_ns: int = LEAD_NS,
    *,
    cause: Cause = Cause.HOST,
    reason: str = "",
) -> CircleAdvanced:
    """The event that moves ``circle`` to ``to`` at node time ``t_ns``. Raises :class:`NotNow` off the table.

    Leaving gathering fixes the epoch ``lead_ns`` ahead and takes the score's rhythm from there. ``reason`` is told to
    everybody where the circle is cancelled or fails.
    """
    move = move_between(circle.state, to, cause)
    if move is None:
        names = ", ".join(state.name.lower() for state in sorted(TRANSITIONS[circle.state])) or "nothing: it is over"
        raise NotNow(
            f"a circle that is {circle.state.name.lower()} cannot become {to.name.lower()}; it may become {names}",
            state=circle.state.name,
        )
    if len(reason) > REASON_MAX or not reason.isprintable():
        raise BadInput(f"a reason must have at most {REASON_MAX} printable characters, not {reason[:40]!r}")
    if to is CircleState.ENTRAINING:
        epoch_ns = t_ns + lead_ns
        return CircleAdvanced(to, t_ns, epoch_ns, rhythm_from(epoch_ns).segments, cause)
    ending = ENDINGS.get(move, Ending.OPEN)
    if ending is Ending.CANCELLED:
        reason = reason or "its host called it off"
    return CircleAdvanced(to, t_ns, cause=cause, ending=ending, reason=reason)


def decide_title(circle: Circle, title: str, t_ns: int) -> CircleTitled:
    """The event that gives a circle which has not begun another title. Raises on a bad wish."""
    _require(circle, BEFORE, "its title")
    return CircleTitled(parse_title(title), t_ns)


def decide_capacity(circle: Circle, capacity: int, t_ns: int) -> CapacitySet:
    """The event that makes room for more sleepers, or fewer; who is in stays in. Raises on a bad wish."""
    if not circle.open:
        raise NotNow("this circle is closed: nobody can join it any more")
    return CapacitySet(parse_capacity(capacity), t_ns)


def decide_schedule(
    circle: Circle, gather_ns: int | None, night_ns: int | None, plan: NightPlan | None, t_ns: int
) -> ScheduleSet:
    """The event that gives a circle which has not begun another schedule. Raises on a bad wish."""
    _require(circle, BEFORE, "its schedule")
    parse_lengths(gather_ns, night_ns)
    return ScheduleSet(gather_ns, night_ns, plan, t_ns)


def decide_score(circle: Circle, event: ScoreSet) -> ScoreSet:
    """``event`` if the circle is a draft: later its sleepers have seen the score. Raises :class:`NotNow`."""
    _require(circle, frozenset({CircleState.DRAFT}), "its score")
    return event


def _require(circle: Circle, states: frozenset[CircleState], what: str) -> None:
    if circle.state not in states:
        names = " or ".join(state.name.lower() for state in sorted(states))
        raise NotNow(f"this circle is {circle.state.name.lower()}: {what} can be changed only while it is {names}")


def decide_rhythm(circle: Circle, frequency_hz: float, ramp_ns: int, t_ns: int) -> RhythmLed:
    """The event that leads the rhythm to ``frequency_hz`` within ``ramp_ns`` (0: 10 s). Raises on a bad wish."""
    if not math.isfinite(frequency_hz) or abs(frequency_hz) > LEAD_HZ_MAX:
        raise BadInput(f"a rhythm must be a number of hertz from -1000 to 1000, not {frequency_hz}")
    if ramp_ns < 0:
        raise BadInput(f"a ramp must last 0 ns or longer, not {ramp_ns} ns")
    rhythm = require_rhythm(circle)
    if not circle.open:
        raise NotNow("this circle is closed: its rhythm is history")
    if len(rhythm.segments) >= SEGMENTS_MAX:
        raise NotNow(f"this rhythm has {SEGMENTS_MAX} segments, its most: it goes on as it is")
    start_ns = max(t_ns + LEAD_NS, rhythm.segments[-1].start_ns + 1)
    return RhythmLed(rhythm.continue_at(start_ns, frequency_hz, ramp_ns or RAMP_NS_DEFAULT), t_ns)


def decide_weaving(circle: Circle, mode: CircleMode | None, strength_rad_s: float | None, t_ns: int) -> WeavingSet:
    """The event that changes the mode or lowers the strength (None: as it is). Raises on a bad wish."""
    if not circle.open:
        raise NotNow("this circle is closed: its rhythm is history")
    weaving = circle.weaving.lowered(mode, strength_rad_s)
    return WeavingSet(weaving.mode, weaving.strength_rad_s, t_ns)


def decide_offer(circle: Circle, pattern_turns: Sequence[float], t_ns: int) -> OffsetsOffered:
    """The event that offers everybody an offset of the pattern. Raises on a bad wish."""
    if not circle.open:
        raise NotNow("this circle is closed: nobody is there to take an offer")
    return OffsetsOffered(parse_pattern(pattern_turns), t_ns)


def closed_words(circle: Circle) -> str:
    """How the circle came to be closed, in words."""
    if circle.ending in (Ending.CANCELLED, Ending.FAILED):
        return f"this circle {'was cancelled' if circle.ending is Ending.CANCELLED else 'failed'}: {circle.reason}"
    return "this circle is closed"


def decide_new_offer(circle: Circle, offer: Offer, t_ns: int) -> OfferMade:
    """The event that makes ``offer`` to everybody. Raises on a bad wish."""
    if not circle.open:
        raise NotNow("this circle is closed: nobody is there to take an offer")
    return OfferMade(offers.decide_offer(circle.offers, offer, t_ns), t_ns)


def decide_end(circle: Circle, offer_id: bytes, t_ns: int) -> OfferEnded:
    """The event that takes an offer back. Raises NotFound, and BadInput for a mode or a pattern."""
    offer = offers.require(circle.offers, offer_id, None)
    if offer.kind in (OfferKind.MODE, OfferKind.OFFSETS):
        raise BadInput("a mode or a pattern of offsets is replaced with `circle mode` or `circle syncopate`")
    return OfferEnded(offer_id, t_ns)


def require_rhythm(circle: Circle) -> Rhythm:
    """The circle's rhythm. Raises :class:`NotNow` while it has none."""
    if circle.rhythm is None:
        raise NotNow(f"this circle is {circle.state.name.lower()} and has no rhythm yet: wait until it is entraining")
    return circle.rhythm


def apply(circle: Circle | None, event: CircleEvent) -> Circle:
    """``circle`` after ``event``."""
    match event:
        case CircleCreated():
            given = {name: getattr(event, name) for name in _GIVEN}
            state, t_ns = CircleState.DRAFT if event.draft else CircleState.GATHERING, event.t_ns
            return Circle(
                **given,
                created_ns=t_ns,
                state=state,
                entered_ns=t_ns,
                weaving=Weaving(event.mode, event.strength_rad_s, event.lag_rad),
                voices=event.capacity,
                gathered_ns=t_ns,
                offers=(offers.mode_offer(event.mode, t_ns),),
            )
        case _ if circle is None:
            raise AssertionError("a circle's first event creates it")
        case CircleAdvanced(state, t_ns, epoch_ns, segments, cause, ending, reason):
            moved = replace(circle, state=state, entered_ns=t_ns, cause=cause)
            if state is CircleState.GATHERING:
                return replace(moved, gathered_ns=t_ns)
            if state is CircleState.CLOSED:
                return replace(moved, ending=ending or Ending.ENDED, reason=reason).silenced(circle.silence)
            if epoch_ns is None:
                return moved
            return replace(moved, epoch_ns=epoch_ns, rhythm=Rhythm(segments), rhythm_revision=1)
        case CircleTitled(title, _):
            return replace(circle, title=title)
        case CapacitySet(capacity, _):
            return replace(circle, capacity=capacity, voices=circle.voices if circle.on_plane else capacity)
        case ScheduleSet(gather_ns, night_ns, plan, _):
            return replace(circle, gather_ns=gather_ns, night_ns=night_ns, plan=plan)
        case ScoreSet(name, format, text, channels, duration_ns, _):
            return replace(
                circle,
                score_name=name,
                score_format=format,
                score_text=text,
                channels=channels,
                duration_ns=duration_ns,
            )
        case RhythmLed(segment, _):
            longer = require_rhythm(circle).with_segment(segment)
            return replace(circle, rhythm=longer, rhythm_revision=circle.rhythm_revision + 1)
        case WeavingSet(mode, strength_rad_s, t_ns):
            changed = replace(circle, weaving=Weaving(mode, strength_rad_s, circle.weaving.lag_rad))
            if mode is circle.weaving.mode:  # weaker at most: who accepted more has accepted this
                return changed
            return replace(changed, offers=offers.replaced(circle.offers, offers.mode_offer(mode, t_ns)))
        case OffsetsOffered(pattern, t_ns):
            offer = offers.offsets_offer(pattern, t_ns)
            rest = offers.replaced(circle.offers, offer)
            return replace(circle, offered=pattern, offers=rest if pattern else offers.without(rest, offer.offer_id))
        case OfferMade(offer, t_ns):
            return replace(circle, offers=(*offers.still_open(circle.offers, t_ns), offer))
        case OfferEnded(offer_id, _):
            return replace(circle, offers=offers.without(circle.offers, offer_id))
        case RoomSilenced(silence_id, message, alarm, by, t_ns):
            return circle.silenced(Silence(silence_id, message, alarm, by, t_ns))
        case RoomLifted(silence_id, _, _):
            return replace(circle, silence=lifted(circle.silence, silence_id))
        case _:
            return circle


_GIVEN = (
    *("circle_id", "title", "score_name", "score_format", "score_text", "channels"),
    *("duration_ns", "capacity", "gather_ns", "night_ns", "plan", "series_id", "night"),
)
