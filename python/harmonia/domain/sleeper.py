"""A participant as a value: an event in, a new sleeper out.

Only a person's own events are folded here. Nothing that a host, a weaver or a council does reaches a sleeper's offset,
frequency, coupling, voice or consent: there is no such event.
"""

import math
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from harmonia.domain import advance, offers, usage
from harmonia.domain.advance import StandingWish
from harmonia.domain.apart import Apart, replaced
from harmonia.domain.circle import LEAD_NS, Circle
from harmonia.domain.consent import Consent, Grant, Limits, Purpose, Standing, effective
from harmonia.domain.edges import FADE_NS, Edges
from harmonia.domain.events import (
    ApartKept,
    AwakeSet,
    ConsentEvent,
    ConsentGranted,
    ConsentWithdrawn,
    CouplingSet,
    HearingSet,
    OfferAnswered,
    OffsetSet,
    PersonEvent,
    RhythmOwned,
    ScheduleOffsetSet,
    SleeperCameBack,
    SleeperJoined,
    SleeperLeft,
    SleeperWentAway,
    UsageNoted,
    VoiceSet,
    WishMade,
    WishRemoved,
)
from harmonia.domain.offers import Answer
from harmonia.domain.rhythm import Rhythm
from harmonia.domain.schedule import Instants
from harmonia.domain.timetable import ends_ns, waking_ns
from harmonia.domain.usage import Use
from harmonia.domain.weaving import ON_THE_CIRCLES, OwnRhythm
from harmonia.errors import BadInput, StaleGrant

MAGNITUDE_MAX = 4.0

FOLLOWING = frozenset({Purpose.BIOSIGNAL, Purpose.PULL})
"""Without both of these nobody's rhythm follows a living signal."""

_UNSET = Consent()


@dataclass(frozen=True, slots=True)
class Sleeper:
    """A participant, known by a pseudonymous id."""

    sleeper_id: str
    circle_id: str
    token_hash: bytes
    credential_hash: bytes
    platform_key: bytes
    joined_ns: int
    left: bool = False
    consent: Consent = _UNSET
    offset: int = 0
    """2⁻⁶⁴ turn, signed."""
    voice: tuple[complex, ...] = ()
    """One coefficient a channel; empty: ones."""
    hearing_level: float = 1.0
    own_level: float = 1.0
    own_rhythm: OwnRhythm = ON_THE_CIRCLES
    strayed: bool = False
    """Their rhythm was the circle's before it followed a living signal, and has not been set since."""
    coupling: float = 0.0
    """c: how far the circle may pull, 0 to 1, where pull is allowed too."""
    weight: float = 1.0
    """w: what this person counts in the mean, where pull is allowed."""

    away: bool = False
    """They have left for a while."""
    came_ns: int = 0
    """When they came in, or came back."""
    awake: bool = False
    """They have woken for themself."""
    turned_ns: int | None = None
    """When they woke, or went back to sleep; None: neither."""
    turn_ns: int = 0
    """How long that takes."""
    schedule_offset_ns: int = 0
    """How much later than the circle they wake; negative: earlier."""
    apart: tuple[Apart, ...] = ()
    """From whom this person keeps apart, ordered by id."""
    wishes: tuple[StandingWish, ...] = ()
    """What is to be taken back without a button, oldest first."""
    answers: tuple[Answer, ...] = ()
    """To offers, newest last."""
    uses: tuple[Use, ...] = ()
    """Who used what this person allows. For this person's eyes."""

    def allows(self, purpose: Purpose, circle: Circle, t_ns: int, scope: str = "") -> float:
        """The meet of this person's consent (to ``scope``) with everybody else's limits, 0 (no) to 1."""
        if self.left:
            return 0.0
        rules, score, safety = circle.rules, circle.score_ceiling, circle.safety
        return effective(self.consent, purpose, t_ns, rules=rules, score=score, safety=safety, scope=scope)

    def allowed(self, limits: Limits, t_ns: int) -> dict[Purpose, float]:
        """Every purpose that this person and the ``limits`` of their circle allow, and how far."""
        return {} if self.left else limits.effective(self.consent, t_ns)

    def bond(self, circle: Circle, t_ns: int) -> tuple[float, float]:
        """Coupling and weight as they may be used: nothing without the purpose pull, and never more than it says."""
        pull = self.allows(Purpose.PULL, circle, t_ns)
        return (min(self.coupling, pull), self.weight) if pull > 0 else (0.0, 0.0)

    def may_follow(self, circle: Circle, t_ns: int) -> list[Purpose]:
        """What is missing for this person's rhythm to follow a living signal; nothing: it may."""
        return sorted(purpose for purpose in FOLLOWING if not self.allows(purpose, circle, t_ns))

    def let_go(self, circle: Rhythm, ramp_ns: int, t_ns: int) -> OwnRhythm:
        """Their rhythm once it follows nothing any more: home to the circle's, or to what was set before.

        What was set by hand meanwhile stays.
        """
        if self.strayed:
            return self.own_rhythm.led_home(circle, ramp_ns, t_ns, t_ns + LEAD_NS)
        return self.own_rhythm.released(t_ns, t_ns + LEAD_NS)

    def edges(self, circle: Circle, planned: Instants | None) -> Edges:
        """When they come and go. ``planned``: the circle's plan in node time."""
        late = circle.epoch_ns is not None and self.came_ns > circle.epoch_ns
        wakes_ns = woken_ns = None
        if self.schedule_offset_ns:
            wakes_ns, woken_ns = waking_ns(circle, planned), ends_ns(circle, planned)
        if wakes_ns is not None and woken_ns is not None:
            wakes_ns, woken_ns = wakes_ns + self.schedule_offset_ns, woken_ns + self.schedule_offset_ns
            woken_ns = max(woken_ns, wakes_ns + FADE_NS)
        came_ns = self.came_ns if late else None
        return Edges(came_ns, self.awake, self.turned_ns, self.turn_ns, wakes_ns, woken_ns)

    def voice_of(self, channels: int) -> tuple[complex, ...]:
        """The recorded voice, or the plain one: every channel as the score has it."""
        return self.voice or (1 + 0j,) * channels


def limits_of(circle: Circle) -> Limits:
    """What a circle's rules, its score and safety allow anybody now."""
    return Limits(circle.rules, circle.score_ceiling, circle.safety)


def apply(sleeper: Sleeper | None, event: PersonEvent) -> Sleeper:
    """``sleeper`` after ``event``. A grant that a withdrawal overtook on its way to the journal changes nothing."""
    if isinstance(event, SleeperJoined):
        named = (event.sleeper_id, event.circle_id, event.token_hash, event.credential_hash, event.platform_key)
        return sleeper or Sleeper(*named, joined_ns=event.t_ns, came_ns=event.t_ns)
    assert sleeper is not None, "a person's first event is joining"
    changes = changes_after(sleeper, event)
    if isinstance(event, ConsentEvent):
        changes["consent"] = sleeper.consent.with_standings(_standings_after(sleeper.consent, event))
    return replace(sleeper, **changes) if changes else sleeper


def _standings_after(consent: Consent, event: ConsentEvent) -> dict[Purpose, Standing]:
    """What ``event`` makes of which purposes. A grant that a withdrawal overtook makes nothing of any."""
    if isinstance(event, ConsentGranted):
        grant = Grant(event.event_id, event.scope, event.level, event.until_ns)
        with suppress(StaleGrant):
            return {event.purpose: consent[event.purpose].granted(event.purpose, grant, event.supersedes)}
        return {}
    return {purpose: consent[purpose].withdrawn(event.event_id) for purpose in event.purposes}


def changes_after(sleeper: Sleeper, event: PersonEvent) -> dict[str, Any]:
    """What ``event`` makes of which fields but consent."""
    match event:
        case OffsetSet(offset, _):
            return {"offset": offset}
        case VoiceSet(voice, _):
            return {"voice": voice}
        case HearingSet(hearing_level, own_level, _):
            return {"hearing_level": hearing_level, "own_level": own_level}
        case CouplingSet(coupling, weight, _):
            return {"coupling": coupling, "weight": weight}
        case ConsentWithdrawn(purposes, event_id, t_ns):
            consent, own = sleeper.consent, sleeper.own_rhythm
            changed: dict[str, Any] = {}
            if own.set_hz is not None:  # it follows a living signal
                ending = FOLLOWING.intersection(purposes)
                if any(event_id not in consent[purpose].withdrawals for purpose in ending):  # else a repetition
                    changed["own_rhythm"] = own.released(t_ns, t_ns + LEAD_NS)
            if sleeper.wishes:
                changed["wishes"] = advance.marked(sleeper.wishes, sleeper.sleeper_id, event_id)
            return changed
        case RhythmOwned(segments, home_ns, t_ns, set_hz):
            if set_hz is not None and not all(sleeper.consent[purpose].level_at(t_ns) for purpose in FOLLOWING):
                return {}  # a withdrawal overtook it
            own = OwnRhythm(segments, home_ns, set_hz)
            return {"own_rhythm": own, "strayed": _strayed(sleeper, own, t_ns)}
        case ApartKept(other_id, unheard, unhearing, _):
            return {"apart": replaced(sleeper.apart, Apart(other_id, unheard, unhearing))}
        case WishMade(wish, t_ns):
            return {"wishes": advance.added(sleeper.wishes, wish, t_ns)}
        case WishRemoved(wish_id, _):
            return {"wishes": advance.removed(sleeper.wishes, wish_id)}
        case OfferAnswered(offer, accepted, _):
            return {"answers": offers.answered(sleeper.answers, Answer(offer.offer_id, accepted))}
        case UsageNoted(uses, _):
            return {"uses": usage.merged(sleeper.uses, uses)}
        case SleeperLeft():
            return {"left": True}
        case SleeperWentAway():
            return {"away": True}
        case SleeperCameBack(t_ns):
            return {"away": False, "came_ns": t_ns}
        case AwakeSet(awake, fade_ns, t_ns):
            return {"awake": awake, "turned_ns": t_ns, "turn_ns": fade_ns}
        case ScheduleOffsetSet(offset_ns, _):
            return {"schedule_offset_ns": offset_ns}
        case _:
            return {}


def _strayed(sleeper: Sleeper, own: OwnRhythm, t_ns: int) -> bool:
    before = sleeper.own_rhythm
    if own.set_hz is not None:
        return sleeper.strayed or (before.set_hz is None and (not before.segments or before.home_ns is not None))
    return sleeper.strayed and own in (before, before.released(t_ns, t_ns + LEAD_NS))  # else it was set by hand


def parse_voice(voice: tuple[complex, ...], channels: int) -> tuple[complex, ...]:
    """``voice`` if it can be sung. Raises :class:`BadInput`."""
    if len(voice) != channels:
        raise BadInput(f"a voice here needs {channels} coefficients, one a channel of the score, not {len(voice)}")
    for k, v in enumerate(voice):
        if not (math.isfinite(v.real) and math.isfinite(v.imag) and abs(v) <= MAGNITUDE_MAX):
            raise BadInput(f"coefficient {k} must be finite and of magnitude 0 to 4, not {v.real} {v.imag:+}i")
    return voice


def parse_hearing(hearing_level: float, own_level: float) -> tuple[float, float]:
    """The two levels if they may be set. Raises :class:`BadInput`."""
    for name, level, most in (("hearing", hearing_level, MAGNITUDE_MAX), ("own", own_level, 1.0)):
        if not (math.isfinite(level) and 0.0 <= level <= most):
            raise BadInput(f"the {name} level must be a number from 0 to {most:g}, not {level}")
    return hearing_level, own_level
