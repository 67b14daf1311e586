"""What the SDK hands out, as plain immutable values. This file and `rooms` alone know the generated messages' shapes.

Times are node times in nanoseconds; phases and offsets are exact, in 2**-64 turn (``bits``); `turns` makes floats.
"""

import struct
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, cast

from harmonia.client import rooms
from harmonia.client.names import CircleCause, CircleEnding, CircleMode, CircleState, LockState, Purpose
from harmonia.client.rooms import HelpCall, Silence
from harmonia.domain import consent as domain_consent
from harmonia.domain.advance import AdvanceWish, LevelUnit, Since, StandingWish, WishKind
from harmonia.domain.edges import STAYING, Edges
from harmonia.domain.schedule import NightPlan
from harmonia.v1 import (
    circle_pb2,
    consent_pb2,
    ledger_pb2,
    me_pb2,
    offer_pb2,
    platform_pb2,
    sanctuary_pb2,
    series_pb2,
    types_pb2,
)

if TYPE_CHECKING:
    from harmonia._core import _Segment as Segment

TURN = 1 << 64


def turns(bits: int) -> float:
    """``bits`` · 2**-64 turn as a float: a phase in [0, 1), an offset in [-0.5, 0.5)."""
    return bits / TURN


def segment_hz(segment: "Segment") -> float:
    """The frequency at which ``segment`` starts, in hertz."""
    return segment[2] / (1 << 128) * 1e9


@dataclass(frozen=True, slots=True)
class ScoreText:
    """A score as its author wrote it. ``format`` is ``toml`` or ``sbg``."""

    name: str
    format: str
    text: str


@dataclass(frozen=True, slots=True)
class RhythmView:
    """The circle's timeline; ``segments`` as ``harmonia._core.Rhythm`` takes them."""

    segments: tuple["Segment", ...]
    revision: int


@dataclass(frozen=True, slots=True)
class Weaving:
    """How a circle pulls those who let it: dθ/dt = ω + c·K·R·sin(Ψ - θ + α), in a woven circle."""

    mode: CircleMode = CircleMode.STANDARD
    strength_rad_s: float = 0.0
    """K."""
    lag_rad: float = 0.0
    """α."""


@dataclass(frozen=True, slots=True)
class WovenShare:
    """Unity and its price."""

    unity: float
    mean_pull: float
    individuality: float
    """Share of sleepers whose achieved frequency is within 1 % of their own."""


@dataclass(frozen=True, slots=True)
class Woven:
    """How united those are who allow pull, and what it costs."""

    sleepers: int
    unity: float
    unity_by_chance: float
    actual: WovenShare | None
    """Of those who grant visibility; None where fewer than three of them do."""
    standard: WovenShare | None
    """The same if everybody were forced onto the circle's rhythm."""


@dataclass(frozen=True, slots=True)
class Circle:
    """A communal session."""

    circle_id: str
    title: str
    state: CircleState
    score: ScoreText
    epoch_ns: int | None
    """When the score begins; None until the circle leaves gathering."""
    rhythm: RhythmView | None
    capacity: int
    sleepers: int
    channels: int
    weaving: Weaving = Weaving()
    plan: NightPlan | None = None
    """The night in civil time; None where its times are lengths."""
    gathers_ns: int | None = None
    """When it gathers or began to; this and what follows as expected now, None while nobody knows."""
    begins_ns: int | None = None
    wakes_ns: int | None = None
    ends_ns: int | None = None
    """When the score is over and the dialogue begins."""
    cause: CircleCause = CircleCause.UNKNOWN
    """Who or what moved it last."""
    ending: CircleEnding = CircleEnding.OPEN
    reason: str = ""
    """Why it was cancelled or failed."""
    waiting: int = 0
    """How many wait for a place."""
    series_id: str = ""
    night: str = ""
    """Which of the series' nights it is: a local date."""

    @property
    def open(self) -> bool:
        """Whether it is not closed."""
        return self.state is not CircleState.CLOSED

    @property
    def ran(self) -> bool:
        """Whether its night was not cut short: the score is over, or it still plays."""
        return self.ending in (CircleEnding.OPEN, CircleEnding.ENDED)

    @property
    def ending_words(self) -> str:
        """How it came to be closed, in words; empty while it is open."""
        if self.ending in (CircleEnding.CANCELLED, CircleEnding.FAILED):
            return f"{'cancelled' if self.ending is CircleEnding.CANCELLED else 'failed'}: {self.reason}"
        return "" if self.ending is CircleEnding.OPEN else "ended"


@dataclass(frozen=True, slots=True)
class NightWish:
    """A night as a host says it; forms as `Sanctuary.create_circle` says."""

    zone: str
    lights_out: str
    gather_at: str = ""
    wake: str = ""


@dataclass(frozen=True, slots=True)
class Night:
    """One night of a series."""

    night: str
    """Its evening's local date."""
    circle_id: str
    """Empty: not made yet."""
    plan: NightPlan | None
    """None: missed, or cannot be."""
    gathers_utc_ns: int | None
    reason: str
    """Why it was missed, or cannot be."""


@dataclass(frozen=True, slots=True)
class Series:
    """A circle that recurs."""

    series_id: str
    title: str
    """Its nights are called that and their date."""
    rule: str
    first: str
    """The local date from which the rule counts."""
    excluded: tuple[str, ...]
    capacity: int
    times: NightWish
    """Times of day."""
    score_name: str
    ended: bool
    nights: tuple[Night, ...]
    """Those that come."""
    missed: tuple[Night, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where somebody stands who waits."""

    place: int
    """From 1, the next to come in."""
    waiting: int
    """How many wait."""


@dataclass(frozen=True, slots=True)
class PurposeConsent:
    """Where one purpose stands."""

    purpose: Purpose
    granted: bool
    scope: str
    level: float
    until_ns: int | None
    withdrawal_id: str
    """The newest withdrawal, whether or not a grant has answered it; empty if never withdrawn."""


@dataclass(frozen=True, slots=True)
class Apart:
    """A sleeper's wish about one other."""

    sleeper_id: str
    unheard: bool
    """The sleeper does not want to hear the other."""
    unhearing: bool
    """The other may not hear the sleeper."""


@dataclass(frozen=True, slots=True)
class Listener:
    """Somebody who listens in to a sleeper's mix."""

    sleeper_id: str
    since_ns: int
    recording: bool
    """They keep what they hear."""


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """An entry of the ledger that is of what a sleeper said."""

    index: int
    """Its place in the ledger, from 0."""
    event_id: str
    """Hexadecimal; names it to `prove`."""
    kind: str
    hour_s: int
    """The hour of node time, seconds."""


@dataclass(frozen=True, slots=True)
class Offer:
    """Something that a circle would like of its sleepers. Nothing follows from it until they accept it."""

    offer_id: str
    kind: str
    """offsets, mode, consent or ruling."""
    text: str
    made_ns: int
    until_ns: int | None
    """Node time from which it cannot be accepted any more; None: with the circle."""
    sets: str
    """What accepting it sets, in words."""
    grants: tuple[tuple[Purpose, float], ...]
    """Purposes that accepting it allows, and how far."""
    answer: str
    """accepted, declined, or empty."""


@dataclass(frozen=True, slots=True)
class Use:
    """One interval in which somebody used what a sleeper allows."""

    purpose: Purpose
    by: str
    """A sleeper's id for who listened in; else a role."""
    since_ns: int
    until_ns: int


@dataclass(frozen=True, slots=True)
class Controller:
    """Who answers for what a sanctuary keeps about people, as whoever runs it stated."""

    name: str
    contact: str
    address: str
    """Empty where it was not stated; so is the next."""
    notice_url: str


def controller(m: me_pb2.GetMeResponse | sanctuary_pb2.GetStatusResponse) -> Controller | None:
    """Who answers for it; None if nobody was stated."""
    if not m.HasField("controller"):
        return None
    one = m.controller
    return Controller(one.name, one.contact, one.address, one.notice_url)


@dataclass(frozen=True, slots=True)
class Me:
    """What a sanctuary keeps about a sleeper, but for their events."""

    sleeper_id: str
    circle_id: str
    sanctuary_id: str
    joined_ns: int
    left: bool
    consents: dict[Purpose, PurposeConsent]
    listeners: tuple[Listener, ...]
    wishes: tuple[StandingWish, ...]
    apart: tuple[Apart, ...]
    uses: tuple[Use, ...]
    offset_bits: int
    coupling: float
    weight: float
    hearing_level: float
    own_level: float
    voice: tuple[complex, ...]
    node_time_ns: int
    controller: Controller | None
    """Who answers for what is kept; None: whoever runs the sanctuary has not named anybody."""


@dataclass(frozen=True, slots=True)
class PlatformState:
    """What a platform follows."""

    circle: Circle
    offset_bits: int
    voice: tuple[complex, ...]
    hearing_level: float
    own_level: float
    consents: dict[Purpose, PurposeConsent]
    own_rhythm: RhythmView | None = None
    """The sleeper's own timeline; None for the circle's."""
    coupling: float = 0.0
    weight: float = 1.0
    offered_offset_bits: int | None = None
    """What the host offers; None where there is no offer."""
    apart: tuple[Apart, ...] = ()
    """From whom the sleeper keeps apart."""
    listeners: tuple[Listener, ...] = ()
    """Who listens in to the sleeper."""
    wishes: tuple[StandingWish, ...] = ()
    """What the platform has to take back by itself."""
    away: bool = False
    """The sleeper has left for a while."""
    schedule_offset_ns: int = 0
    """How much later than the circle the sleeper wakes; negative: earlier."""
    edges: Edges = STAYING
    """When the sleeper goes out of the night, softly."""
    open_offers: int = 0
    """Offers that the sleeper has not answered."""
    joined_ns: int = 0
    silence: Silence | None = None
    """The room is silent."""
    hush_epoch: int | None = None
    """From which gate epoch on mix frames say of the room what is said here, or something newer; None: they do not."""
    calls: tuple[HelpCall, ...] = ()
    """The sleeper's own calls for help: those that wait, and those of the last hour."""


@dataclass(frozen=True, slots=True)
class TimeKeys:
    """What the platform asks for authentic time with, as ``harmonia._core.TimeKeys`` takes it."""

    algorithm: int
    c2s: bytes
    s2c: bytes
    cookies: tuple[bytes, ...]

    def __repr__(self) -> str:
        return f"TimeKeys(algorithm={self.algorithm})"


@dataclass(frozen=True, slots=True)
class Attachment:
    """The data-plane session that the sanctuary opened for a platform."""

    session_id: int
    secret: bytes
    udp_port: int
    state: PlatformState
    time_keys: TimeKeys | None
    """None from a sanctuary that gives none: the time is then asked for in plain."""


@dataclass(frozen=True, slots=True)
class SleeperView:
    """What may be seen of one sleeper."""

    sleeper_id: str
    connected: bool
    lock_state: LockState
    bound_ns: int
    """Half of the certified interval around the platform's idea of node time."""
    uncertainty_ns: int
    rate_ppb: int
    phase_bits: int
    """θ + φ at ``node_time_ns``, in 2**-64 turn."""
    offset_bits: int
    level_dbfs: float
    muted: bool
    granted: tuple[Purpose, ...]
    platform_time_ns: int
    node_time_ns: int
    max_drift_ppb: int
    """The largest difference of the clocks' rates on which ``bound_ns`` rests, as the platform states it."""
    max_wander: float
    """Its largest change in a second, 1/s, on which it rests."""
    session_age_ns: int
    """How long the platform's session is open; -1 without one."""
    silent_ns: int
    """For how long the sanctuary has had no authentic datagram of it; the session's age if it never had one."""
    suspends: int
    """How often its machine was suspended."""
    own_hz: float | None = None
    achieved_hz: float | None = None
    """What the own frequency comes to; None while their platform has no seat in the weave."""


@dataclass(frozen=True, slots=True)
class CircleView:
    """A circle and those in it who may be seen, at one node time."""

    circle: Circle
    node_time_ns: int
    sleepers: tuple[SleeperView, ...]
    hidden: int
    woven: Woven | None = None
    own_pull: float | None = None
    """What the circle puts on whoever asks; told to nobody else."""


@dataclass(frozen=True, slots=True)
class SanctuaryStatus:
    """What a sanctuary is and hosts."""

    sanctuary_id: str
    version: str
    node_time_ns: int
    uptime_ns: int
    udp_port: int
    circles: int
    sleepers: int
    voices_dropped: int
    """What platforms made silence because it was no number, since the daemon began: an alarm."""
    controller: Controller | None
    """Who answers for what is kept about people; None: whoever runs the sanctuary has not named anybody."""


@dataclass(frozen=True, slots=True)
class Source:
    """One source of a sanctuary's time. Offsets are its time minus node time."""

    name: str
    """As it was given."""
    address: str
    state: str
    """unresolved, silent, measuring, selected, candidate, falseticker, undecided, loop, refusing."""
    clock_id: int
    stratum: int
    refid: str
    offset_ns: int
    bound_ns: int
    """The largest possible error of ``offset_ns``: path and source together."""
    uncertainty_ns: int
    delay_ns: int
    """The shortest round trip of late."""
    rate_ppb: int
    reach: int
    """The last eight requests, a bit each, the newest lowest: 1 was answered."""
    exchanges: int
    age_ns: int
    """How long ago the last answer came; -1 before the first."""
    trouble: str
    authenticated: bool
    """Each answer that was used was proved to be the server's with NTS."""
    cookies: int
    """With NTS: requests that can be made before keys must be exchanged anew, if no answer comes."""
    key_exchanges: int
    max_drift_ppb: int
    """The largest difference of the clocks' rates on which ``bound_ns`` rests."""
    max_wander: float
    """Its largest change in a second, 1/s, on which it rests."""


@dataclass(frozen=True, slots=True)
class Tracking:
    """How the sanctuary's own clock stands."""

    clock_id: int
    stratum: int
    node_time_ns: int
    bound_ns: int
    """The largest possible error against the root of its time; 0 at the root."""
    rate_ppb: int
    resumes: int
    answered: int
    malformed: int
    unauthentic: int
    refid: str
    """What is followed: letters for a kind of clock (LOCL: nobody), else an address."""
    lock_state: LockState
    offset_ns: int
    """What the sources say that node time should be, minus what it is: still to be slewed."""
    uncertainty_ns: int
    slew_ppb: int
    """How much of ``rate_ppb`` is correction."""
    root_delay_ns: int
    root_dispersion_ns: int
    leap: int
    steps_left: int
    max_drift_ppb: int
    """The largest difference of two clocks' rates on which ``bound_ns`` rests."""
    max_wander: float
    """Its largest change in a second, 1/s, on which it rests."""
    sources: tuple[Source, ...]


_FORMATS = {types_pb2.SCORE_FORMAT_TOML: "toml", types_pb2.SCORE_FORMAT_SBG: "sbg"}


def score_message(score: ScoreText) -> types_pb2.Score:
    """The message of ``score``; its format must be one of the two."""
    number = next(number for number, word in _FORMATS.items() if word == score.format)
    return types_pb2.Score(name=score.name, format=number, text=score.text)


def purpose_number(purpose: Purpose) -> types_pb2.Purpose.ValueType:
    """The purpose as the API numbers it."""
    return cast("types_pb2.Purpose.ValueType", int(purpose))


def mode_number(mode: CircleMode) -> types_pb2.CircleMode.ValueType:
    """The mode as the API numbers it."""
    return cast("types_pb2.CircleMode.ValueType", int(mode))


def weaving_message(weaving: Weaving) -> types_pb2.Weaving:
    """The message of ``weaving``."""
    return types_pb2.Weaving(
        mode=mode_number(weaving.mode), strength_rad_s=weaving.strength_rad_s, lag_rad=weaving.lag_rad
    )


def state_number(state: CircleState) -> types_pb2.CircleState.ValueType:
    """The state as the API numbers it."""
    return cast("types_pb2.CircleState.ValueType", int(state))


def float32(value: float) -> float:
    """``value`` as it comes back from the wire."""
    rounded: float = struct.unpack("f", struct.pack("f", value))[0]
    return rounded


def coefficients(voice: Iterable[complex]) -> list[types_pb2.Coefficient]:
    """The messages of a voice."""
    return [types_pb2.Coefficient(re=c.real, im=c.imag) for c in map(complex, voice)]


def _int128(message: types_pb2.Int128) -> int:
    value = (message.high << 64) | message.low
    return value - (1 << 128) if value >> 127 else value


def rhythm(message: types_pb2.Rhythm) -> RhythmView | None:
    """None for the empty rhythm of a circle that has none yet."""
    if not message.segments:
        return None
    return RhythmView(
        tuple((s.start_ns, s.phase, _int128(s.frequency), _int128(s.half_ramp), s.ramp_ns) for s in message.segments),
        message.revision,
    )


def circle(message: types_pb2.Circle) -> Circle:
    """The circle of a message."""
    score = message.score
    return Circle(
        circle_id=message.circle_id,
        title=message.title,
        state=CircleState.read(message.state),
        score=ScoreText(score.name, _FORMATS.get(score.format, "toml"), score.text),
        epoch_ns=message.epoch_ns if message.HasField("epoch_ns") else None,
        rhythm=rhythm(message.rhythm),
        capacity=message.capacity,
        sleepers=message.sleepers,
        channels=message.channels,
        weaving=Weaving(CircleMode.read(message.weaving.mode), message.weaving.strength_rad_s, message.weaving.lag_rad),
        plan=_plan(message.plan) if message.HasField("plan") else None,
        gathers_ns=message.gathers_ns if message.HasField("gathers_ns") else None,
        begins_ns=message.begins_ns if message.HasField("begins_ns") else None,
        wakes_ns=message.wakes_ns if message.HasField("wakes_ns") else None,
        ends_ns=message.ends_ns if message.HasField("ends_ns") else None,
        cause=CircleCause.read(message.cause),
        ending=CircleEnding.read(message.ending),
        reason=message.reason,
        waiting=message.waiting,
        series_id=message.series_id,
        night=message.night,
    )


def _plan(message: types_pb2.NightPlan) -> NightPlan:
    return NightPlan(message.zone, message.gather_at, message.lights_out, message.wake_from, message.wake_until)


def night_wish_message(wish: NightWish) -> types_pb2.NightWish:
    """The message of ``wish``."""
    return types_pb2.NightWish(**asdict(wish))


def series(m: series_pb2.Series) -> Series:
    """The series of a message."""
    return Series(
        series_id=m.series_id,
        title=m.title,
        rule=m.rule,
        first=m.first,
        excluded=tuple(m.excluded),
        capacity=m.capacity,
        times=NightWish(m.times.zone, m.times.lights_out, m.times.gather_at, m.times.wake),
        score_name=m.score_name,
        ended=m.ended,
        nights=tuple(map(_night, m.nights)),
        missed=tuple(map(_night, m.missed)),
    )


def _night(m: series_pb2.Night) -> Night:
    plan = _plan(m.plan) if m.HasField("plan") else None
    gathers = m.gathers_utc_ns if m.HasField("gathers_utc_ns") else None
    return Night(m.night, m.circle_id, plan, gathers, m.reason)


def place(message: circle_pb2.WaitingPlace) -> Place:
    """Where somebody stands who waits."""
    return Place(message.place, message.waiting)


def consents(messages: Iterable[consent_pb2.PurposeConsent]) -> dict[Purpose, PurposeConsent]:
    """Every purpose, those that the sanctuary did not name as not granted: unset means no."""
    standing = {p: PurposeConsent(p, False, "", 0.0, None, "") for p in Purpose if p}
    for m in messages:
        purpose = Purpose.read(m.purpose)
        if purpose:
            until_ns = m.until_ns if m.HasField("until_ns") else None
            standing[purpose] = PurposeConsent(purpose, m.granted, m.scope, m.level, until_ns, m.withdrawal_id)
    return standing


def listeners(messages: Iterable[consent_pb2.Listener]) -> tuple[Listener, ...]:
    """Who listens in to somebody."""
    return tuple(Listener(one.sleeper_id, one.since_ns, one.recording) for one in messages)


def ledger_entries(messages: Iterable[ledger_pb2.LedgerEntry]) -> tuple[LedgerEntry, ...]:
    """Entries of the ledger."""
    return tuple(LedgerEntry(m.index, m.event_id.hex(), m.kind, m.hour_s) for m in messages)


def apart(messages: Iterable[consent_pb2.Apart]) -> tuple[Apart, ...]:
    """From whom somebody keeps apart."""
    return tuple(Apart(m.sleeper_id, m.unheard, m.unhearing) for m in messages)


def _edges(m: platform_pb2.Edges) -> Edges:
    return Edges(
        awake=m.awake,
        turned_ns=m.turned_ns if m.HasField("turned_ns") else None,
        turn_ns=m.turn_ns,
        wakes_ns=m.wakes_ns if m.HasField("wakes_ns") else None,
        woken_ns=m.woken_ns if m.HasField("woken_ns") else None,
    )


def platform_state(message: platform_pb2.PlatformState) -> PlatformState:
    """The platform state of a message."""
    return PlatformState(
        circle=circle(message.circle),
        offset_bits=message.offset,
        voice=tuple(complex(c.re, c.im) for c in message.voice),
        hearing_level=message.hearing_level,
        own_level=message.own_level,
        consents=consents(message.purposes),
        own_rhythm=rhythm(message.own_rhythm),
        coupling=message.coupling,
        weight=message.weight,
        offered_offset_bits=message.offered_offset if message.HasField("offered_offset") else None,
        apart=apart(message.apart),
        listeners=listeners(message.listeners),
        silence=rooms.silence(message.silence) if message.HasField("silence") else None,
        hush_epoch=message.hush_epoch if message.HasField("hush_epoch") else None,
        calls=rooms.help_calls(message.calls),
        wishes=wishes(message.wishes),
        away=message.away,
        schedule_offset_ns=message.schedule_offset_ns,
        edges=_edges(message.edges),
        open_offers=message.open_offers,
        joined_ns=message.joined_ns,
    )


def wishes(messages: Iterable[consent_pb2.AdvanceWish]) -> tuple[StandingWish, ...]:
    """Somebody's advance wishes; one of a kind that a newer sanctuary has added is left to it."""
    return tuple(
        StandingWish(
            AdvanceWish(
                wish_id=m.wish_id,
                kind=WishKind(m.kind),
                purposes=tuple(domain_consent.Purpose(number) for number in m.purposes),
                after_ns=m.after_ns if m.HasField("after_ns") else None,
                since=Since(m.since),
                level=m.level if m.HasField("level") else None,
                unit=LevelUnit(m.unit),
                under_hz=m.under_hz if m.HasField("under_hz") else None,
                over_hz=m.over_hz if m.HasField("over_hz") else None,
                irregular=m.irregular if m.HasField("irregular") else None,
                unknown_ns=m.unknown_ns if m.HasField("unknown_ns") else None,
            ),
            m.set_ns,
            m.fired,
        )
        for m in messages
        if m.kind in {kind.value for kind in WishKind}
    )


def wish_message(wish: AdvanceWish) -> consent_pb2.AdvanceWish:
    """The message of a wish."""
    return consent_pb2.AdvanceWish(
        wish_id=wish.wish_id,
        kind=cast("consent_pb2.AdvanceWishKind.ValueType", int(wish.kind)),
        purposes=[cast("types_pb2.Purpose.ValueType", int(purpose)) for purpose in wish.purposes],
        after_ns=wish.after_ns,
        since=cast("consent_pb2.AdvanceWishSince.ValueType", int(wish.since)),
        level=wish.level,
        unit=cast("consent_pb2.AdvanceWishUnit.ValueType", int(wish.unit)),
        under_hz=wish.under_hz,
        over_hz=wish.over_hz,
        irregular=wish.irregular,
        unknown_ns=wish.unknown_ns,
    )


_OFFER_ANSWERS = {offer_pb2.OFFER_ANSWER_ACCEPTED: "accepted", offer_pb2.OFFER_ANSWER_DECLINED: "declined"}


def offer(m: offer_pb2.Offer) -> Offer:
    """The offer of a message."""
    known = offer_pb2.OfferKind.values()
    return Offer(
        offer_id=m.offer_id.hex(),
        kind=offer_pb2.OfferKind.Name(m.kind).removeprefix("OFFER_KIND_").lower() if m.kind in known else "unknown",
        text=m.text,
        made_ns=m.made_ns,
        until_ns=m.until_ns if m.HasField("until_ns") else None,
        sets=m.sets,
        grants=tuple((Purpose.read(one.purpose), one.level if one.HasField("level") else 1.0) for one in m.grants),
        answer=_OFFER_ANSWERS.get(m.answer, ""),
    )


def me(m: me_pb2.GetMeResponse) -> Me:
    """What an answer tells."""
    return Me(
        sleeper_id=m.sleeper_id,
        circle_id=m.circle_id,
        sanctuary_id=m.sanctuary_id,
        joined_ns=m.joined_ns,
        left=m.left,
        consents=consents(m.purposes),
        listeners=listeners(m.listeners),
        wishes=wishes(m.wishes),
        apart=apart(m.apart),
        uses=tuple(Use(Purpose.read(one.purpose), one.by, one.since_ns, one.until_ns) for one in m.uses),
        offset_bits=m.offset,
        coupling=m.coupling,
        weight=m.weight,
        hearing_level=m.hearing_level,
        own_level=m.own_level,
        voice=tuple(complex(c.re, c.im) for c in m.voice),
        node_time_ns=m.node_time_ns,
        controller=controller(m),
    )


def attachment(message: platform_pb2.AttachPlatformResponse) -> Attachment:
    """The attachment of an answer."""
    given = message.time_keys
    keys = TimeKeys(given.aead_algorithm, given.client_key, given.server_key, tuple(given.cookies))
    return Attachment(
        message.session_id,
        message.secret,
        message.udp_port,
        platform_state(message.state),
        keys if message.HasField("time_keys") else None,
    )


def circle_view(message: circle_pb2.WatchCircleResponse) -> CircleView:
    """The view of an answer."""
    return CircleView(
        circle=circle(message.circle),
        node_time_ns=message.node_time_ns,
        sleepers=tuple(map(_sleeper_view, message.sleepers)),
        hidden=message.hidden,
        woven=_woven(message.woven) if message.HasField("woven") else None,
        own_pull=message.own_pull if message.HasField("own_pull") else None,
    )


def _woven(m: circle_pb2.Woven) -> Woven:
    actual = _share(m.actual) if m.HasField("actual") else None
    standard = _share(m.standard) if m.HasField("standard") else None
    return Woven(m.sleepers, m.unity, m.unity_by_chance, actual, standard)


def _share(m: circle_pb2.WovenShare) -> WovenShare:
    return WovenShare(m.unity, m.mean_pull, m.individuality)


def _sleeper_view(m: circle_pb2.SleeperView) -> SleeperView:
    return SleeperView(
        sleeper_id=m.sleeper_id,
        connected=m.connected,
        lock_state=LockState.read(m.lock_state),
        bound_ns=m.bound_ns,
        uncertainty_ns=m.uncertainty_ns,
        rate_ppb=m.rate_ppb,
        phase_bits=m.phase,
        offset_bits=m.offset,
        level_dbfs=m.level_dbfs,
        muted=m.muted,
        granted=tuple(p for p in map(Purpose.read, m.granted) if p),
        platform_time_ns=m.platform_time_ns,
        node_time_ns=m.node_time_ns,
        max_drift_ppb=m.max_drift_ppb,
        max_wander=m.max_wander,
        session_age_ns=m.session_age_ns,
        silent_ns=m.silent_ns,
        suspends=m.suspends,
        own_hz=m.own_hz if m.HasField("own_hz") else None,
        achieved_hz=m.achieved_hz if m.HasField("achieved_hz") else None,
    )


def status(m: sanctuary_pb2.GetStatusResponse) -> SanctuaryStatus:
    """The status of an answer."""
    return SanctuaryStatus(
        m.sanctuary_id,
        m.version,
        m.node_time_ns,
        m.uptime_ns,
        m.udp_port,
        m.circles,
        m.sleepers,
        m.voices_dropped,
        controller(m),
    )


def tracking(m: sanctuary_pb2.GetTrackingResponse) -> Tracking:
    """The tracking of an answer."""
    return Tracking(
        clock_id=m.clock_id,
        stratum=m.stratum,
        node_time_ns=m.node_time_ns,
        bound_ns=m.bound_ns,
        rate_ppb=m.rate_ppb,
        resumes=m.resumes,
        answered=m.answered,
        malformed=m.malformed,
        unauthentic=m.unauthentic,
        refid=refid_text(m.refid),
        lock_state=LockState.read(m.lock_state),
        offset_ns=m.offset_ns,
        uncertainty_ns=m.uncertainty_ns,
        slew_ppb=m.slew_ppb,
        root_delay_ns=m.root_delay_ns,
        # NTP's root distance is half the delay and the dispersion; ours is the bound.
        root_dispersion_ns=max(0, m.bound_ns - m.root_delay_ns // 2),
        leap=m.leap,
        steps_left=m.steps_left,
        max_drift_ppb=m.max_drift_ppb,
        max_wander=m.max_wander,
        sources=tuple(map(_source, m.sources)),
    )


def _source(m: sanctuary_pb2.Source) -> Source:
    name = sanctuary_pb2.SourceState.Name(m.state) if m.state in sanctuary_pb2.SourceState.values() else "UNKNOWN"
    return Source(
        name=m.name,
        address=m.address,
        state=name.removeprefix("SOURCE_STATE_").lower(),
        clock_id=m.clock_id,
        stratum=m.stratum,
        refid=refid_text(m.refid),
        offset_ns=m.offset_ns,
        bound_ns=m.bound_ns,
        uncertainty_ns=m.uncertainty_ns,
        delay_ns=m.delay_ns,
        rate_ppb=m.rate_ppb,
        reach=m.reach,
        exchanges=m.exchanges,
        age_ns=m.age_ns,
        trouble=m.trouble,
        authenticated=m.authenticated,
        cookies=m.cookies,
        key_exchanges=m.key_exchanges,
        max_drift_ppb=m.max_drift_ppb,
        max_wander=m.max_wander,
    )


def refid_text(refid: int) -> str:
    """NTP's reference identifier: four letters, or an IPv4 address; empty for none."""
    octets = refid.to_bytes(4, "big")
    letters = octets.rstrip(b"\0")
    if letters and all(0x20 < octet < 0x7F for octet in letters):
        return letters.decode()
    return ".".join(map(str, octets)) if refid else ""
