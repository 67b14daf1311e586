"""Nights as hosts say them, in civil time, also where the clocks change, and series of them: a second reading of both.

What a plan says is read from its words with the zone's own rules, whenever it is asked. A circle's timetable may do
nothing before that time and, on a disk that writes, nothing long after it. Of a series every night is made or missed,
once, in the order of its rule.
"""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, ClassVar
from zoneinfo import ZoneInfo

from harmonia.domain.events import (
    CircleAdvanced,
    CircleCreated,
    Event,
    NightMissed,
    ScheduleSet,
    SeriesChanged,
    SeriesCreated,
    SeriesEnded,
    SeriesTemplate,
)
from harmonia.domain.schedule import NightPlan, parse_times
from harmonia.domain.states import Cause, CircleState
from harmonia.domain.weaving import CircleMode, Weaving
from harmonia.engine.conductor import Schedule
from sim.nights.door import CAPACITIES, SETTLED_S
from sim.nights.plot import Act
from sim.nights.topic import MissingAct, Topic

if TYPE_CHECKING:
    from sim.nights.stage import Night

_S_NS = 1_000_000_000
_HOUR_NS = 3600 * _S_NS
_LEAD_NS = 2 * _S_NS
_EDGE_NS = 600 * _S_NS
_AHEAD_NS = 7 * 24 * _HOUR_NS
_WALL_S = 60.0
"""Within this time somebody is seen to have set the clock."""
_SLACK_NS = 5 * _S_NS
_KEEPER_S = 3600.0
CIRCLES_MAX = 4
ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu")
EVENINGS = tuple(
    int(datetime.fromisoformat(local).replace(tzinfo=ZoneInfo(zone)).timestamp()) * _S_NS
    for local, zone in (
        ("2026-12-04T20:00", "Europe/Berlin"),
        ("2026-03-28T20:00", "Europe/Berlin"),
        ("2026-10-24T20:00", "Europe/Berlin"),
        ("2026-11-01T00:10", "America/New_York"),
        ("2026-04-05T00:30", "Australia/Lord_Howe"),
        ("2026-03-29T00:50", "Europe/Berlin"),
    )
)
"""When nights begin, UTC: an ordinary evening, and some before which or in which the clocks change."""
_BEGIN = ("02:30", "01:30", "23:00", "")
_WAKE = ("", "06:30..07:00", "02:30..03:30", "03:15", "05:00..08:00")
_RULES = ("FREQ=DAILY;INTERVAL=3", "saturday", "FREQ=DAILY;INTERVAL=2;COUNT=3", "daily")


def read_ns(local: str, zone: str) -> int:
    """What an ISO 8601 local time is in UTC: after a gap as far as it stood after its beginning, else the first."""
    return round(datetime.fromisoformat(local).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1e9)


@dataclass
class Words:
    """What was said of when a circle is to be, as the disk has it."""

    gather_ns: int | None
    night_ns: int | None
    plan: NightPlan | None
    state: CircleState
    gathered_ns: int
    epoch_ns: int | None = None
    entered_ns: int = 0


@dataclass
class Recurring:
    """One series, as the disk has it."""

    rule: str
    first: date
    excluded: tuple[str, ...]
    template: SeriesTemplate
    dealt: list[str] = field(default_factory=list)
    ended: bool = False
    known: bool = False
    """A sanctuary keeps it: else it was written, and that was not acknowledged."""

    def next_night(self) -> str | None:
        """The night that is to be dealt with next; None: there is none."""
        day, count = self.first, 0
        for _ in range(400):
            if self._holds(day):
                count += 1
                name = day.isoformat()
                if name not in self.excluded and (not self.dealt or name > self.dealt[-1]):
                    return name if count <= 3 or "COUNT" not in self.rule else None
            day += timedelta(days=1)
        return None

    def _holds(self, day: date) -> bool:
        if self.rule == "saturday":
            return day.weekday() == 5
        return (day - self.first).days % (
            3 if "INTERVAL=3" in self.rule else 2 if "INTERVAL=2" in self.rule else 1
        ) == 0


class Calendar(Topic):
    """Plans, schedule offsets, series, and the clock on the wall."""

    ACTS: ClassVar = (
        *("circle", "schedule", "schedule_offset", "set_clock"),
        *("series", "change_series", "end_series"),
    )

    def __init__(self, night: "Night") -> None:
        super().__init__(night)
        self._words: dict[str, Words] = {}
        self._series: dict[str, Recurring] = {}
        self._drafts: dict[str, set[str]] = {}
        """Circles of each series that do not gather yet."""

    # What the disk takes

    def written(self, stream: str, event: Event) -> None:
        identity = stream.partition("/")[2]
        match event:
            case CircleCreated():
                state = CircleState.DRAFT if event.draft else CircleState.GATHERING
                self._words[identity] = Words(event.gather_ns, event.night_ns, event.plan, state, event.t_ns)
                if event.series_id:
                    self._makes(identity, event)
            case ScheduleSet(gather_ns, night_ns, plan, _):
                words = self._words[identity]
                words.gather_ns, words.night_ns, words.plan = gather_ns, night_ns, plan
            case CircleAdvanced():
                self._advances(self._words[identity], identity, event)
            case SeriesCreated(series_id, rule, first, excluded, template, _):
                self._series[series_id] = Recurring(rule, date.fromisoformat(first), excluded, template)
            case SeriesChanged(excluded, template, _):
                self._series[identity].excluded, self._series[identity].template = excluded, template
            case SeriesEnded():
                self._series[identity].ended = True
            case NightMissed(night, _, _):
                self._deals(identity, night)

    def _makes(self, circle_id: str, event: CircleCreated) -> None:
        series, require, now_ns = self._series[event.series_id], self.night.require, self.night.utc_ns()
        self._deals(event.series_id, event.night)
        require(not series.ended, event.series_id, "makes a night after its end")
        times, plan = series.template.times, event.plan
        said = f"{event.night}T{times.gather_at}:00", times.zone
        require(plan is not None and (plan.gather_at, plan.zone) == said, circle_id, "is not when its series says")
        if plan is not None:
            over = plan.wake_from and read_ns(plan.wake_from, plan.zone) <= now_ns
            require(not over, circle_id, "is made when its night is over")
            early = read_ns(plan.gather_at, plan.zone) - now_ns > _AHEAD_NS
            require(not early or not self._drafts.get(event.series_id), circle_id, "is made too long ahead")
        self._drafts.setdefault(event.series_id, set()).add(circle_id)

    def _deals(self, series_id: str, night: str) -> None:
        series = self._series[series_id]
        expected = series.next_night()
        self.night.require(night == expected, series_id, f"deals with {night}, and {expected} comes next")
        series.dealt.append(night)

    def _advances(self, words: Words, circle_id: str, event: CircleAdvanced) -> None:
        if event.cause is Cause.TIMETABLE:
            due_ns = self._due_ns(words, event.state)
            now_ns, require = self.night.now_ns(), self.night.require
            if event.state is CircleState.ENTRAINING and event.epoch_ns is not None and due_ns is not None:
                made_up = event.epoch_ns == now_ns + _LEAD_NS and due_ns <= now_ns
                require(made_up or event.epoch_ns == due_ns, circle_id, "does not begin when it was to begin")
            else:
                require(due_ns is not None and due_ns <= now_ns, circle_id, f"is {event.state.name} before its time")
        words.state, words.entered_ns = event.state, event.t_ns
        words.epoch_ns = event.epoch_ns or words.epoch_ns
        if event.state is CircleState.GATHERING:
            words.gathered_ns = event.t_ns
        for drafts in self._drafts.values():
            drafts.discard(circle_id)

    def _due_ns(self, words: Words, to: CircleState) -> int | None:
        """When the words say that a circle comes to a state, node time; None: not at all."""
        plan, ahead_ns = words.plan, self.night.now_ns() - self.night.utc_ns()
        if plan is not None:
            said = {
                CircleState.GATHERING: plan.gather_at,
                CircleState.ENTRAINING: plan.lights_out,
                CircleState.WAKING: plan.wake_from,
                CircleState.DIALOGUE: plan.wake_until,
            }.get(to)
            if said:
                return read_ns(said, plan.zone) + ahead_ns
        lights_ns = words.epoch_ns
        if to is CircleState.ENTRAINING:
            return None if words.gather_ns is None else words.gathered_ns + words.gather_ns
        if to is CircleState.WAKING:
            if lights_ns is None or words.night_ns is None:
                return None
            return lights_ns + words.night_ns - min(_EDGE_NS, words.night_ns // 10)
        return words.entered_ns  # how long an edge or a dialogue is, nobody said

    # Acts

    async def circle(self, act: Act) -> None:
        """Opens a circle: with lengths, or in civil time."""
        night = self.night
        if sum(words.state is not CircleState.CLOSED for words in self._words.values()) >= CIRCLES_MAX:
            raise MissingAct("there are enough circles")
        hours = (None, 1, 6, 8)[act.a % 4]
        plan = self._plan(act) if act.a >> 6 & 1 else None
        await night.sanctuary.create_circle(
            title="Night",
            score_name="night.sbg",
            score_format="sbg",
            score_text="4",
            capacity=(24, 24, 24, *CAPACITIES)[(act.a >> 3) % 9 if act.a >> 3 & 7 else 0],
            gather_ns=None if plan else (None, 60, 1800, 3600)[act.b % 4] and (60, 60, 1800, 3600)[act.b % 4] * _S_NS,
            night_ns=hours and hours * _HOUR_NS,
            weaving=Weaving(CircleMode.WOVEN, 0.5, 0.0) if act.a & 4 else None,
            plan=plan,
            draft=act.a >> 7 & 1 > 0,
        )

    def _plan(self, act: Act) -> NightPlan:
        """A plan in the words of an act. Raises BadInput where it cannot be."""
        zone = ZONES[act.b % len(ZONES)]
        now = datetime.fromtimestamp(self.night.utc_ns() / 1e9, UTC).astimezone(ZoneInfo(zone))
        gathers = (now + timedelta(minutes=(1, 30, 90, 400)[act.b >> 2 & 3])).strftime("%Y-%m-%d %H:%M")
        soon = (now + timedelta(minutes=(20, 95, 150, 500)[act.b >> 4 & 3])).strftime("%H:%M")
        lights_out = _BEGIN[act.b >> 6 & 3] or soon
        if act.b >> 8 & 1:
            lights_out = soon
        wake = _WAKE[(act.b >> 9) % len(_WAKE)]
        plan, _ = self.night.sanctuary.wall.parse(zone, gathers if act.b >> 13 & 3 else "", lights_out, wake)
        return plan

    async def schedule(self, act: Act) -> None:
        """The host plans a circle anew that has not begun."""
        if act.a % 2:
            schedule = Schedule(None, 8 * _HOUR_NS, self._plan(act))
        else:
            schedule = Schedule((60, 1800, 7200)[act.b % 3] * _S_NS, 6 * _HOUR_NS, None)
        await self.night.conductor(act).edit(schedule=schedule)

    async def schedule_offset(self, act: Act) -> None:
        """Somebody is to wake earlier than the others, or later."""
        account, person = self.night.person(act)
        offset_ns = (0, -7200, -1800, 600, 3600)[act.a % 5] * _S_NS
        await self.night.set(
            account, person, "schedule offset", offset_ns, lambda: person.set_schedule_offset(offset_ns)
        )

    async def set_clock(self, act: Act) -> None:
        """Somebody sets the machine's time of day."""
        self.night.set_wall((-3600, -5, 5, 300, 3600)[act.a % 5] * _S_NS)

    async def series(self, act: Act) -> None:
        """A circle that recurs."""
        if len(self._series) > 1:
            raise MissingAct("there are enough series")
        zone = ZONES[act.b % len(ZONES)]
        today = datetime.fromtimestamp(self.night.utc_ns() / 1e9, UTC).astimezone(ZoneInfo(zone)).date()
        excluded = ((today + timedelta(days=act.b >> 6 & 3)).isoformat(),) if act.b >> 5 & 1 else ()
        keeper = await self.night.sanctuary.create_series(
            rule=_RULES[act.a % len(_RULES)], first="", excluded=excluded, template=self._template(act, zone)
        )
        self._series[keeper.series.series_id].known = True

    def _template(self, act: Act, zone: str) -> SeriesTemplate:
        times = parse_times(
            zone, ("20:30", "22:00", "00:45")[(act.b >> 10) % 3], ("02:30", "23:30")[act.b >> 9 & 1], "06:00"
        )
        return SeriesTemplate(
            *("Moon", "night.sbg", "sbg", "4", 2, None, CAPACITIES[act.b % 6], None),
            *(CircleMode.STANDARD, 0.0, 0.0, times),
        )

    async def change_series(self, act: Act) -> None:
        """The host changes what is made, and leaves a night out."""
        if not self._series:
            raise MissingAct("there is no series yet")
        series_id = list(self._series)[act.who % len(self._series)]
        series = self._series[series_id]
        without = ((date.fromisoformat(series.next_night() or "2027-01-01")).isoformat(),) if act.a % 2 else ()
        template = self._template(act, series.template.times.zone)
        await self.night.sanctuary.keeper(series_id).change(template, without, None)

    async def end_series(self, act: Act) -> None:
        """No more nights."""
        if self._series and act.a % 2:
            await self.night.sanctuary.keeper(list(self._series)[act.who % len(self._series)]).end()

    # What has to hold

    def started(self) -> None:
        for series_id, series in self._series.items():
            series.known, keeper = True, self.night.sanctuary.keeper(series_id)
            known = sorted({*keeper.made, *keeper.series.missed})
            self.night.require(
                known == series.dealt, series_id, f"knows {known} after a start, and dealt {series.dealt}"
            )

    def check(self) -> None:
        if self.night.calm_s > max(SETTLED_S, _WALL_S):
            for circle_id in self.night.circles:
                words = self._words[circle_id]
                if self.night.sanctuary.conductor(circle_id).circle.state is words.state:  # else its host does not know
                    self._check_time(circle_id, words)
            for series_id, series in self._series.items():
                self._check_series(series_id, series)
            for account in self.night.accounts.values():
                self._check_woken(account.sleeper_id, self._words[account.circle_id])

    def _check_time(self, circle_id: str, words: Words) -> None:
        later = {
            CircleState.DRAFT: CircleState.GATHERING,
            CircleState.GATHERING: CircleState.ENTRAINING,
            CircleState.ENTRAINING: CircleState.WAKING,
            CircleState.DREAMING: CircleState.WAKING,
            CircleState.WAKING: CircleState.DIALOGUE,
        }
        to = later.get(words.state)
        if to is None or (words.state is CircleState.DRAFT and (words.plan is None or not words.plan.gather_at)):
            return
        due_ns = self._due_ns(words, to)
        if due_ns is None or (to is CircleState.DIALOGUE and (words.plan is None or not words.plan.wake_until)):
            return
        late = self.night.now_ns() - due_ns > _SLACK_NS
        self.night.require(not late, circle_id, f"is still {words.state.name}, and should be {to.name}")

    def _check_series(self, series_id: str, series: Recurring) -> None:
        night, times = series.next_night(), series.template.times
        if night is None or series.ended or not series.known or self.night.life_s < SETTLED_S:
            return
        ahead_ns = read_ns(f"{night}T{times.gather_at}:00", times.zone) - self.night.utc_ns()
        due = ahead_ns < _AHEAD_NS - int((_KEEPER_S + SETTLED_S) * _S_NS)
        self.night.require(not due, series_id, f"has not made {night}")

    def _check_woken(self, sleeper_id: str, words: Words) -> None:
        """Who wakes by a schedule of their own is out of the night when that says so."""
        account = self.night.accounts[sleeper_id]
        person = self.night.sanctuary.roll.by_id(sleeper_id)
        offset_ns = account.settings["schedule offset"]
        if person is None or not offset_ns or account.maybe.get("schedule offset") or not isinstance(offset_ns, int):
            return
        if words.plan is not None and words.plan.wake_until:
            ahead_ns = self.night.now_ns() - self.night.utc_ns()
            wakes_ns = read_ns(words.plan.wake_from, words.plan.zone) + ahead_ns
            ends_ns = read_ns(words.plan.wake_until, words.plan.zone) + ahead_ns
        elif words.epoch_ns is not None and words.night_ns is not None and words.plan is None:
            ends_ns = words.epoch_ns + words.night_ns
            wakes_ns = ends_ns - min(_EDGE_NS, words.night_ns // 10)
        else:
            return
        out_ns = max(ends_ns, wakes_ns + 10 * _S_NS) + offset_ns + _S_NS
        held = self.night.plane.sleepers.get(person.number)
        if held is not None and self.night.now_ns() > out_ns:
            self.night.require(not any(held.voice), sleeper_id, "has woken by their own schedule, and is heard")
