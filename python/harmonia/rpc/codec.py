"""The shapes of the messages: domain values to messages and back; nobody else but ``codec_room`` knows them."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from harmonia.domain import offers as domain_offers
from harmonia.domain import timetable
from harmonia.domain.advance import AdvanceWish, LevelUnit, Since, StandingWish, WishKind
from harmonia.domain.apart import Apart
from harmonia.domain.circle import Circle
from harmonia.domain.consent import ALL_PURPOSES, EVENT_ID_BYTES, Consent, Purpose
from harmonia.domain.controller import Controller
from harmonia.domain.edges import Edges
from harmonia.domain.offers import Offer, OfferedGrant, OfferKind
from harmonia.domain.rhythm import Rhythm, Segment
from harmonia.domain.schedule import Instants, NightPlan
from harmonia.domain.states import CircleState
from harmonia.domain.usage import Use
from harmonia.domain.weaving import CircleMode, Share, Weaving, Woven, offered_to, parse_weaving
from harmonia.engine.conductor import Conductor, Schedule
from harmonia.engine.entrance import Joined, Place
from harmonia.engine.person import Person
from harmonia.engine.plane import ClockSource, ClockTracking, TimeKeys
from harmonia.engine.series import Keeper, Night
from harmonia.engine.views import CircleView, SleeperRow
from harmonia.engine.wall import Wall
from harmonia.errors import BadInput
from harmonia.journal import Position
from harmonia.rpc import codec_room
from harmonia.v1 import circle_pb2, consent_pb2, me_pb2, offer_pb2, platform_pb2, sanctuary_pb2, series_pb2, types_pb2

_64 = (1 << 64) - 1
_FORMATS = {types_pb2.SCORE_FORMAT_TOML: "toml", types_pb2.SCORE_FORMAT_SBG: "sbg"}
_FORMAT_NUMBERS = {name: number for number, name in _FORMATS.items()}


def int128(value: int) -> types_pb2.Int128:
    """A signed integer in two's complement."""
    return types_pb2.Int128(high=value >> 64 & _64, low=value & _64)


def segment(value: Segment) -> types_pb2.Segment:
    """A stretch of the timeline."""
    return types_pb2.Segment(
        start_ns=value.start_ns,
        phase=value.phase,
        frequency=int128(value.frequency),
        half_ramp=int128(value.half_ramp),
        ramp_ns=value.ramp_ns,
    )


def rhythm(value: Rhythm, revision: int) -> types_pb2.Rhythm:
    """The shared timeline."""
    return types_pb2.Rhythm(segments=map(segment, value.segments), revision=revision)


def circle(value: Circle, present: int, planned: Instants | None, waiting: int) -> types_pb2.Circle:
    """A circle as everybody in it may see it."""
    ending, cause = types_pb2.CircleEnding.ValueType(value.ending), types_pb2.CircleCause.ValueType(value.cause)
    score = types_pb2.Score(name=value.score_name, format=_FORMAT_NUMBERS[value.score_format], text=value.score_text)
    message = types_pb2.Circle(
        circle_id=value.circle_id,
        title=value.title,
        state=types_pb2.CircleState.ValueType(value.state),
        score=score,
        epoch_ns=value.epoch_ns,
        capacity=value.capacity,
        sleepers=present,
        channels=value.channels,
        weaving=types_pb2.Weaving(
            mode=types_pb2.CircleMode.ValueType(value.weaving.mode),
            strength_rad_s=value.weaving.strength_rad_s,
            lag_rad=value.weaving.lag_rad,
        ),
        plan=None if value.plan is None else types_pb2.NightPlan(**asdict(value.plan)),
        gathers_ns=timetable.gathers_ns(value, planned),
        begins_ns=timetable.begins_ns(value, planned),
        wakes_ns=timetable.waking_ns(value, planned),
        ends_ns=timetable.ends_ns(value, planned),
        cause=cause,
        ending=ending,
        reason=value.reason,
        waiting=waiting,
        series_id=value.series_id,
        night=value.night,
    )
    if value.rhythm is not None:
        message.rhythm.CopyFrom(rhythm(value.rhythm, value.rhythm_revision))
    return message


def circle_of(conductor: Conductor) -> types_pb2.Circle:
    """The circle that ``conductor`` leads, now."""
    return circle(conductor.circle, conductor.entrance.present, conductor.planned(), conductor.entrance.waiting)


def sleeper_view(row: SleeperRow) -> circle_pb2.SleeperView:
    """One sleeper's row. Nothing of a platform that was never heard."""
    message = circle_pb2.SleeperView(
        sleeper_id=row.sleeper.sleeper_id,
        connected=row.connected,
        offset=row.sleeper.offset,
        level_dbfs=-120.0,
        muted=row.muted,
        granted=map(types_pb2.Purpose.ValueType, row.granted),
    )
    if row.thread is not None:
        message.own_hz, message.achieved_hz = row.thread.own_hz, row.thread.achieved_hz
    status = row.status
    message.session_age_ns = -1 if status is None else status.session_age_ns
    message.silent_ns = -1 if status is None else status.silent_ns
    if status is not None and status.age_ns >= 0:
        message.lock_state = types_pb2.LockState.ValueType(status.lock_state)
        message.bound_ns, message.uncertainty_ns = status.bound_ns, status.uncertainty_ns
        message.max_drift_ppb, message.max_wander = status.max_drift_ppb, status.max_wander
        message.rate_ppb, message.level_dbfs = status.rate_ppb, status.level_dbfs
        message.phase, message.offset = status.phase, status.offset
        message.platform_time_ns, message.node_time_ns = status.platform_time_ns, status.node_time_ns
        message.suspends = status.suspends
    return message


def _share(value: Share | None) -> circle_pb2.WovenShare | None:
    if value is None:
        return None
    return circle_pb2.WovenShare(unity=value.unity, mean_pull=value.mean_pull, individuality=value.individuality)


def woven(value: Woven | None) -> circle_pb2.Woven | None:
    """How a circle's rhythms stand."""
    if value is None:
        return None
    return circle_pb2.Woven(
        sleepers=value.sleepers,
        unity=value.unity,
        unity_by_chance=value.by_chance,
        actual=_share(value.actual),
        standard=_share(value.standard),
    )


def watch_circle(view: CircleView) -> circle_pb2.WatchCircleResponse:
    """What everybody may see; :func:`watch_circle_own` follows it in the same answer."""
    return circle_pb2.WatchCircleResponse(
        circle=circle(view.circle, view.present, view.planned, view.waiting),
        node_time_ns=view.node_time_ns,
        sleepers=map(sleeper_view, view.rows),
        woven=woven(view.woven),
    )


def watch_circle_own(view: CircleView, role: str, own: SleeperRow | None) -> circle_pb2.WatchCircleResponse:
    """What differs from caller to caller. Its bytes behind those of :func:`watch_circle` make one message."""
    sleeper_id = own.sleeper.sleeper_id if own is not None else ""
    rows = list(view.shown_to(role, sleeper_id))
    if own is not None and not own.sleeper.left and sleeper_id not in view.shown:
        rows.append(own)
    pull = None if own is None or own.thread is None else own.thread.pull
    hidden = view.hidden_ids - {sleeper_id, *(row.sleeper.sleeper_id for row in rows)}
    return circle_pb2.WatchCircleResponse(sleepers=map(sleeper_view, rows), hidden=len(hidden), own_pull=pull)


def purpose_consents(consent: Consent, t_ns: int, purposes: Iterable[Purpose] = ()) -> list[consent_pb2.PurposeConsent]:
    """Where ``purposes`` (none: all) stand at node time ``t_ns``.

    The withdrawal is the newest one ever, answered or not: what the next grant has to name.
    """
    messages = []
    for purpose in sorted(purposes or ALL_PURPOSES):
        standing = consent[purpose]
        grant, number = standing.grant, types_pb2.Purpose.ValueType(purpose)
        message = consent_pb2.PurposeConsent(purpose=number, withdrawal_id=standing.withdrawal.hex())
        if grant is not None:
            message.granted = standing.level_at(t_ns, grant.scope) > 0
            message.scope, message.level = grant.scope, grant.level
            if grant.until_ns is not None:
                message.until_ns = grant.until_ns
        messages.append(message)
    return messages


def apart(wishes: Iterable[Apart]) -> list[consent_pb2.Apart]:
    """From whom somebody keeps apart."""
    return [consent_pb2.Apart(sleeper_id=w.other_id, unheard=w.unheard, unhearing=w.unhearing) for w in wishes]


def platform_state(person: Person, t_ns: int) -> platform_pb2.PlatformState:
    """Everything that a platform has to follow."""
    sleeper, conductor = person.sleeper, person.conductor
    silence, hush_epoch = conductor.hushed
    voice = sleeper.voice_of(conductor.circle.channels)
    shared = conductor.circle.rhythm
    own = None if shared is None else sleeper.own_rhythm.over(shared)
    return platform_pb2.PlatformState(
        circle=circle_of(conductor),
        offset=sleeper.offset,
        voice=[types_pb2.Coefficient(re=v.real, im=v.imag) for v in voice],
        hearing_level=sleeper.hearing_level,
        own_level=sleeper.own_level,
        purposes=purpose_consents(sleeper.consent, t_ns),
        own_rhythm=None if own is None else rhythm(own, 0),
        coupling=sleeper.coupling,
        weight=sleeper.weight,
        offered_offset=offered_to(conductor.circle.offered, person.place),
        apart=apart(sleeper.apart),
        listeners=listeners(person),
        silence=codec_room.silence(silence),
        hush_epoch=hush_epoch,
        calls=[codec_room.call(one, one.sleeper_id) for one in conductor.stewarding.calls_of(person)],
        wishes=wishes(sleeper.wishes),
        joined_ns=sleeper.joined_ns,
        away=sleeper.away,
        schedule_offset_ns=sleeper.schedule_offset_ns,
        edges=edges(person.edges),
        open_offers=sum(
            domain_offers.answer_to(sleeper.answers, one.offer_id) is None
            for one in conductor.circle.offers
            if one.open_at(t_ns)
        ),
    )


def edges(value: Edges) -> platform_pb2.Edges:
    """When a sleeper goes out of the night."""
    given = {name: number for name, number in value._asdict().items() if name != "came_ns"}
    return platform_pb2.Edges(**given)


def series(keeper: Keeper, nights: int) -> series_pb2.Series:
    """A circle that recurs, with the nights that come."""
    value = keeper.series
    missed = [series_pb2.Night(night=night, reason=reason) for night, reason in value.missed.items()]
    return series_pb2.Series(
        series_id=value.series_id,
        title=value.template.title,
        rule=value.rule,
        first=value.first,
        excluded=value.excluded,
        capacity=value.template.capacity,
        times=types_pb2.NightWish(**asdict(value.template.times)),
        score_name=value.template.score_name,
        ended=value.ended,
        nights=map(_night, keeper.coming(nights)),
        missed=missed,
    )


def _night(value: Night) -> series_pb2.Night:
    return series_pb2.Night(
        night=value.night,
        circle_id=value.circle_id,
        plan=None if value.plan is None else types_pb2.NightPlan(**asdict(value.plan)),
        gathers_utc_ns=value.gathers_ns,
        reason=value.reason,
    )


def listeners(person: Person) -> list[consent_pb2.Listener]:
    """Who listens in to a person."""
    return [
        consent_pb2.Listener(sleeper_id=name, since_ns=one.since_ns, recording=one.listener.recording)
        for name, one in person.listeners.items()
    ]


def wishes(value: Iterable[StandingWish]) -> list[consent_pb2.AdvanceWish]:
    """Somebody's advance wishes."""
    return [
        consent_pb2.AdvanceWish(
            wish_id=one.wish.wish_id,
            kind=consent_pb2.AdvanceWishKind.ValueType(one.wish.kind),
            purposes=map(types_pb2.Purpose.ValueType, one.wish.purposes),
            after_ns=one.wish.after_ns,
            since=consent_pb2.AdvanceWishSince.ValueType(one.wish.since),
            level=one.wish.level,
            unit=consent_pb2.AdvanceWishUnit.ValueType(one.wish.unit),
            under_hz=one.wish.under_hz,
            over_hz=one.wish.over_hz,
            irregular=one.wish.irregular,
            unknown_ns=one.wish.unknown_ns,
            set_ns=one.set_ns,
            fired=one.fired,
        )
        for one in value
    ]


def parse_wish(message: consent_pb2.AdvanceWish) -> AdvanceWish:
    """A wish as it was asked for; the domain decides whether it can be kept. Raises BadInput."""
    try:
        kind = WishKind(message.kind)
        since, unit = Since(message.since or Since.JOINING), LevelUnit(message.unit or LevelUnit.DBFS)
    except ValueError:
        raise BadInput(
            "there is no such advance wish: its kind is after, waking, loud or breath, its time since joining or night,"
            " its unit dbfs or db_spl"
        ) from None
    purposes = tuple(sorted(parse_purposes(message.purposes)))
    return AdvanceWish(
        message.wish_id,
        kind,
        purposes,
        after_ns=message.after_ns if message.HasField("after_ns") else None,
        since=since,
        level=message.level if message.HasField("level") else None,
        unit=unit,
        under_hz=message.under_hz if message.HasField("under_hz") else None,
        over_hz=message.over_hz if message.HasField("over_hz") else None,
        irregular=message.irregular if message.HasField("irregular") else None,
        unknown_ns=message.unknown_ns if message.HasField("unknown_ns") else None,
    )


def offer(value: Offer, person: Person | None = None) -> offer_pb2.Offer:
    """An offer as ``person`` sees it, or as its host does."""
    message = offer_pb2.Offer(
        offer_id=value.offer_id,
        kind=offer_pb2.OfferKind.ValueType(value.kind),
        text=value.text,
        made_ns=value.made_ns,
        until_ns=value.until_ns,
        coupling=value.coupling,
        home=value.home,
        grants=[
            offer_pb2.OfferedGrant(purpose=types_pb2.Purpose.ValueType(grant.purpose), level=grant.level)
            for grant in value.grants
        ],
        sets=domain_offers.in_words(value),
    )
    if person is not None:
        offset = domain_offers.wanted_offset(value, person.place)
        if offset is not None:
            message.offset = offset
        answer = domain_offers.answer_to(person.sleeper.answers, value.offer_id)
        if answer is not None:
            accepted, declined = offer_pb2.OFFER_ANSWER_ACCEPTED, offer_pb2.OFFER_ANSWER_DECLINED
            message.answer = accepted if answer.accepted else declined
    return message


def parse_offer_kind(number: int) -> OfferKind:
    """Raises BadInput on a kind that this version does not know."""
    try:
        return OfferKind(number)
    except ValueError:
        raise BadInput(f"there is no offer of kind {number}: hosts make offers of consent, or rulings") from None


def parse_offered_grants(messages: Iterable[offer_pb2.OfferedGrant]) -> tuple[OfferedGrant, ...]:
    """The purposes that an offer names. Raises BadInput."""
    return tuple(
        OfferedGrant(parse_purpose(one.purpose), one.level if one.HasField("level") else 1.0) for one in messages
    )


def parse_supersedes(messages: Iterable[offer_pb2.AnsweredWithdrawal]) -> dict[Purpose, bytes]:
    """The withdrawals that an acceptance names. Raises BadInput."""
    return {parse_purpose(one.purpose): parse_withdrawal(one.withdrawal_id) for one in messages}


def controller(value: Controller | None) -> types_pb2.Controller | None:
    """Who answers for it; None if nobody was stated."""
    return None if value is None else types_pb2.Controller(**value._asdict())


def me(person: Person, sanctuary_id: str, answers: Controller | None, t_ns: int) -> me_pb2.GetMeResponse:
    """What is kept about a person, but for their events."""
    sleeper = person.sleeper
    return me_pb2.GetMeResponse(
        sleeper_id=sleeper.sleeper_id,
        circle_id=sleeper.circle_id,
        sanctuary_id=sanctuary_id,
        joined_ns=sleeper.joined_ns,
        left=sleeper.left,
        purposes=purpose_consents(sleeper.consent, t_ns),
        listeners=listeners(person),
        wishes=wishes(sleeper.wishes),
        apart=apart(sleeper.apart),
        uses=map(_use, sleeper.uses),
        offset=sleeper.offset,
        coupling=sleeper.coupling,
        weight=sleeper.weight,
        hearing_level=sleeper.hearing_level,
        own_level=sleeper.own_level,
        voice=[types_pb2.Coefficient(re=v.real, im=v.imag) for v in sleeper.voice],
        node_time_ns=t_ns,
        controller=controller(answers),
    )


def _use(use: Use) -> me_pb2.Use:
    purpose = types_pb2.Purpose.ValueType(use.purpose)
    return me_pb2.Use(purpose=purpose, by=use.by, since_ns=use.since_ns, until_ns=use.until_ns)


def position(value: Position) -> str:
    """A place in the journal, for :func:`parse_page_token`."""
    return f"{value.epoch}-{value.revision}"


def parse_page_token(text: str) -> Position | None:
    """None for the beginning. Raises BadInput."""
    if not text:
        return None
    found = re.fullmatch(r"([0-9]{1,18})-([0-9]{1,18})", text)
    if found is None:
        raise BadInput(f"{text[:40]!r} is not a page token of this sanctuary: begin with an empty one")
    return Position(int(found[1]), int(found[2]))


def time_keys(keys: TimeKeys) -> platform_pb2.TimeKeys:
    """What the platform asks for the time with."""
    return platform_pb2.TimeKeys(
        aead_algorithm=keys.algorithm, client_key=keys.c2s, server_key=keys.s2c, cookies=keys.cookies
    )


def parse_voice(coefficients: Iterable[types_pb2.Coefficient]) -> tuple[complex, ...]:
    """A voice as numbers; the domain decides whether it can be sung."""
    return tuple(complex(c.re, c.im) for c in coefficients)


def parse_purpose(number: int) -> Purpose:
    """Raises BadInput on a purpose that this version does not know."""
    try:
        return Purpose(number)
    except ValueError:
        names = ", ".join(purpose.name.lower() for purpose in Purpose)
        raise BadInput(f"there is no purpose number {number}: choose one of {names}") from None


def parse_purposes(numbers: Iterable[int]) -> frozenset[Purpose]:
    """None given means all."""
    return frozenset(map(parse_purpose, numbers)) or ALL_PURPOSES


def parse_state(number: int) -> CircleState:
    """Raises BadInput on a state that this version does not know."""
    try:
        return CircleState(number)
    except ValueError:
        names = ", ".join(state.name.lower() for state in CircleState)
        raise BadInput(f"there is no circle state number {number}: choose one of {names}") from None


def parse_night_wish(message: types_pb2.NightWish, wall: Wall) -> tuple[NightPlan, list[str]]:
    """A night in civil time, and what has to be said of it. Raises BadInput."""
    return wall.parse(message.zone, message.gather_at, message.lights_out, message.wake)


def parse_schedule(message: circle_pb2.ScheduleWish, wall: Wall) -> tuple[Schedule, list[str]]:
    """A schedule, and what has to be said of it. Raises BadInput."""
    plan, notes = parse_night_wish(message.wish, wall) if message.HasField("wish") else (None, [])
    gather_ns = message.gather_ns if message.HasField("gather_ns") else None
    return Schedule(gather_ns, message.night_ns if message.HasField("night_ns") else None, plan), notes


def standing(value: Joined | Place, conductor: Conductor) -> dict[str, Any]:
    """How whoever redeemed a token stands: fields of JoinCircleResponse and WaitForPlaceResponse."""
    if isinstance(value, Place):
        return {"circle": circle_of(conductor), "waiting": circle_pb2.WaitingPlace(**value._asdict())}
    sleeper_id = value.person.sleeper.sleeper_id
    return {"sleeper_id": sleeper_id, "credential": value.credential, "circle": circle_of(conductor)}


def parse_mode(number: int) -> CircleMode:
    """Raises BadInput on a mode that this version does not know."""
    try:
        return CircleMode(number)
    except ValueError:
        names = ", ".join(mode.name.lower() for mode in CircleMode)
        raise BadInput(f"there is no circle mode number {number}: choose one of {names}") from None


def parse_new_weaving(message: types_pb2.Weaving) -> Weaving:
    """What a circle is opened with. Raises BadInput."""
    mode = parse_mode(message.mode) if message.mode else CircleMode.STANDARD
    return parse_weaving(mode, message.strength_rad_s, message.lag_rad)


def parse_format(number: int) -> str:
    """``toml`` or ``sbg``. Raises BadInput."""
    if number not in _FORMATS:
        raise BadInput("a score's format must be toml or sbg: say which it is written in")
    return _FORMATS[types_pb2.ScoreFormat.ValueType(number)]


def parse_withdrawal(text: str) -> bytes:
    """The withdrawal that a grant names. Raises BadInput."""
    try:
        if len(text) <= 2 * EVENT_ID_BYTES:
            return bytes.fromhex(text)
    except ValueError:
        pass
    raise BadInput("a withdrawal's id is 32 hexadecimal digits: copy it from the consent that was read")


def source(value: ClockSource) -> sanctuary_pb2.Source:
    """One source of the node's time."""
    return sanctuary_pb2.Source(
        name=value.name,
        address=value.address,
        state=sanctuary_pb2.SourceState.Value(f"SOURCE_STATE_{value.state.upper()}"),
        clock_id=value.clock_id,
        stratum=value.stratum,
        refid=value.refid,
        offset_ns=value.offset_ns,
        bound_ns=value.bound_ns,
        uncertainty_ns=value.uncertainty_ns,
        delay_ns=value.delay_ns,
        rate_ppb=value.rate_ppb,
        reach=value.reach,
        exchanges=value.exchanges,
        age_ns=value.age_ns,
        trouble=value.trouble,
        authenticated=value.authenticated,
        cookies=value.cookies,
        key_exchanges=value.key_exchanges,
        max_drift_ppb=value.max_drift_ppb,
        max_wander=value.max_wander,
    )


def tracking(value: ClockTracking, stats: Mapping[str, int], resumes: int) -> sanctuary_pb2.GetTrackingResponse:
    """How the node's clock stands, without its sources."""
    return sanctuary_pb2.GetTrackingResponse(
        clock_id=value.clock_id,
        stratum=value.stratum,
        node_time_ns=value.node_time_ns,
        bound_ns=value.bound_ns,
        rate_ppb=value.rate_ppb,
        resumes=resumes,
        answered=stats["answered"],
        malformed=stats["malformed"],
        unauthentic=stats["unauthentic"],
        refid=value.refid,
        lock_state=types_pb2.LockState.ValueType(value.lock_state),
        offset_ns=value.offset_ns,
        uncertainty_ns=value.uncertainty_ns,
        slew_ppb=value.slew_ppb,
        root_delay_ns=value.root_delay_ns,
        leap=value.leap,
        steps_left=value.steps_left,
        max_drift_ppb=value.max_drift_ppb,
        max_wander=value.max_wander,
    )
