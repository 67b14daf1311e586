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
    CircleAdvanced,
    CircleCreated,
    CircleEvent,
    OfferEnded,
    OfferMade,
    OffsetsOffered,
    RhythmLed,
    RoomLifted,
    RoomSilenced,
    WeavingSet,
)
from harmonia.domain.offers import Offer, OfferKind
from harmonia.domain.rhythm import Rhythm
from harmonia.domain.silence import Silence, lifted, safety
from harmonia.domain.states import SOUNDING, TRANSITIONS, CircleState
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
    silence: Silence | None = None
    """The room is silent."""
    offers: tuple[Offer, ...] = ()
    """What is offered to everybody here, oldest first."""

    @property
    def open(self) -> bool:
        return self.state is not CircleState.CLOSED

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
    if not event.title.strip() or len(event.title) > TITLE_MAX or not event.title.isprintable():
        raise BadInput(f"a title must have 1 to {TITLE_MAX} printable characters, not {event.title[:40]!r}")
    if not 1 <= event.capacity <= CAPACITY_MAX:
        raise BadInput(f"a capacity must be 1 to {CAPACITY_MAX} sleepers, not {event.capacity}")
    for name, length_ns in (("gathering", event.gather_ns), ("night", event.night_ns)):
        if length_ns is not None and not 0 <= length_ns <= 7 * 24 * 3600 * NS_PER_S:
            raise BadInput(f"a {name} must last from 0 s to a week, not {length_ns / NS_PER_S:g} s")
    parse_weaving(event.mode, event.strength_rad_s, event.lag_rad)
    return event


def decide_advance(
    circle: Circle, to: CircleState, t_ns: int, rhythm_from: Callable[[int], Rhythm], lead_ns: int = LEAD_NS
) -> CircleAdvanced:
    """The event that moves ``circle`` to ``to`` at node time ``t_ns``. Raises :class:`NotNow` off the table.

    Leaving gathering fixes the epoch ``lead_ns`` ahead and takes the score's rhythm from there.
    """
    allowed = TRANSITIONS[circle.state]
    if to not in allowed:
        names = ", ".join(state.name.lower() for state in sorted(allowed)) or "nothing: it is over"
        raise NotNow(
            f"a circle that is {circle.state.name.lower()} cannot become {to.name.lower()}; it may become {names}",
            state=circle.state.name,
        )
    if to is not CircleState.ENTRAINING:
        return CircleAdvanced(to, t_ns)
    epoch_ns = t_ns + lead_ns
    return CircleAdvanced(to, t_ns, epoch_ns, rhythm_from(epoch_ns).segments)


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


def decide_new_offer(circle: Circle, offer: Offer, t_ns: int) -> OfferMade:
    """The event that makes ``offer`` to everybody. Raises on a bad wish."""
    if not circle.open:
        raise NotNow("this circle is closed: nobody is there to take an offer")
    return OfferMade(offers.decide_offer(circle.offers, offer, t_ns), t_ns)


def decide_end(circle: Circle, offer_id: bytes, t_ns: int) -> OfferEnded:
    """The event that takes an offer back. Raises NotFound, and BadInput for a mode or a pattern."""
    offer = offers.require(circle.offers, offer_id, circle.created_ns)
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
            weaving = Weaving(event.mode, event.strength_rad_s, event.lag_rad)
            state, t_ns = CircleState.GATHERING, event.t_ns
            offered = (offers.mode_offer(event.mode, t_ns),)
            return Circle(**given, created_ns=t_ns, state=state, entered_ns=t_ns, weaving=weaving, offers=offered)
        case _ if circle is None:
            raise AssertionError("a circle's first event creates it")
        case CircleAdvanced(state, t_ns, epoch_ns, segments):
            moved = replace(circle, state=state, entered_ns=t_ns)
            if epoch_ns is None:
                return moved
            return replace(moved, epoch_ns=epoch_ns, rhythm=Rhythm(segments), rhythm_revision=1)
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
        case OfferMade(offer, _):
            return replace(circle, offers=(*circle.offers, offer))
        case OfferEnded(offer_id, _):
            return replace(circle, offers=offers.without(circle.offers, offer_id))
        case RoomSilenced(silence_id, message, alarm, by, t_ns):
            return replace(circle, silence=Silence(silence_id, message, alarm, by, t_ns))
        case RoomLifted(silence_id, _, _):
            return replace(circle, silence=lifted(circle.silence, silence_id))
        case _:
            return circle


_GIVEN = (
    *("circle_id", "title", "score_name", "score_format", "score_text", "channels"),
    *("duration_ns", "capacity", "gather_ns", "night_ns"),
)
