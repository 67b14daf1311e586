"""Going, coming back, waking, and being forgotten: what is left of somebody, on the data plane, in memory, on the disk.

Whoever is away has nothing on the data plane; whoever wakes is out of the night when their fade is over; of whoever is
forgotten nothing is left but what others said of them, and that their token is used.
"""

import gc
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from harmonia.domain.consent import Purpose
from harmonia.domain.events import WaitingBegun, decode
from harmonia.engine.person import Person
from harmonia.engine.plane import number_of
from harmonia.errors import HarmoniaError
from sim.nights.oracle import Account
from sim.nights.plot import Act
from sim.nights.topic import Topic

if TYPE_CHECKING:
    from sim.nights.stage import Night

_OTHERS_WORDS = {"apart", "_unrecorded_apart", "unheard", "unhearing", "uses", "_heard", "_books"}
"""What others said of somebody, or may know of them, is those others' own."""
_GONE_S = 70.0
"""So long after somebody is forgotten nothing that was under way holds them any more."""
_LAG_NS = 1_000_000_000


@dataclass
class _Trace:
    """What may be left of somebody who was forgotten."""

    sleeper_id: str
    secrets: frozenset[object]
    person: "weakref.ref[Person]"
    since_ns: int
    looked: bool = False


class Leaving(Topic):
    """Those who are away, awake or forgotten."""

    ACTS: ClassVar = ("away", "back", "awake", "forget")

    def __init__(self, night: "Night") -> None:
        super().__init__(night)
        self._away: set[str] = set()
        """Off the data plane, whatever the disk says of it."""
        self._turned: dict[str, tuple[bool, int]] = {}
        """Whether they are awake, and from when nothing of them is heard then."""
        self._traces: list[_Trace] = []

    async def away(self, act: Act) -> None:
        """Leaves for a while, as a platform does it: muted first."""
        account, person = self.night.person(act)
        self.night.say_no(account, person, frozenset({Purpose.VOICE}), self.night.new_id(), by_datagram=False)
        if person.present:
            self._away.add(account.sleeper_id)
        await self.night.set(account, person, "away", True, person.go_away)

    async def back(self, act: Act) -> None:
        """Is here again: with everything as it was, and mute."""
        account, person = self.night.person(act)
        await self.night.set(account, person, "away", False, person.come_back)
        self._away.discard(account.sleeper_id)
        on_plane = person.number in self.night.plane.sleepers
        self.night.require(on_plane or not person.conductor.circle.on_plane, account.sleeper_id, "did not come back")

    async def awake(self, act: Act) -> None:
        """Wakes softly, or sleeps on."""
        account, person = self.night.person(act)
        awake, fade_ns = act.a % 3 > 0, (0, 5, 60, 1800)[act.b % 4] * 1_000_000_000
        self._turned.pop(account.sleeper_id, None)
        await self.night.set(account, person, "awake", awake, lambda: person.set_awake(awake, fade_ns))
        self._turned[account.sleeper_id] = awake, self.night.now_ns() + (fade_ns or 60_000_000_000) + _LAG_NS

    async def forget(self, act: Act) -> None:
        """Somebody is forgotten, for good."""
        account, person = self.night.person(act)
        sleeper = person.sleeper
        secrets = {sleeper.sleeper_id, sleeper.credential_hash, sleeper.platform_key, person.number}
        account.forgetting = True
        trace = _Trace(account.sleeper_id, frozenset(secrets), weakref.ref(person), self.night.now_ns())
        try:
            await self.night.sanctuary.forget(person, self.night.disk.shred)
        except HarmoniaError:
            account.left |= person.sleeper.left  # it may have come as far as that
            raise
        if account.sleeper_id in self.night.accounts:  # else somebody else asked, too
            self.night.forget(account)
            self._traces.append(trace)

    # What has to hold

    def started(self) -> None:
        self._traces.clear()
        self._away = {one.sleeper_id for one in self.night.accounts.values() if one.settings.get("away")}
        for sleeper_id in self.night.forgotten:
            self._check_roll(sleeper_id)
            self._check_disk(sleeper_id)

    def check(self) -> None:
        plane, now_ns = self.night.plane, self.night.now_ns()
        for sleeper_id in self._away & self.night.accounts.keys():
            self.night.require(
                number_of(sleeper_id) not in plane.sleepers, sleeper_id, "is away, and on the data plane"
            )
        for sleeper_id, (awake, out_ns) in self._turned.items():
            account, held = self.night.accounts.get(sleeper_id), plane.sleepers.get(number_of(sleeper_id))
            if (
                awake
                and now_ns > out_ns
                and account is not None
                and held is not None
                and not account.maybe.get("awake")
            ):
                self.night.require(not any(held.voice), sleeper_id, "is awake, and heard")
        for account in self.night.accounts.values():
            self._check_softer(account)
        for trace in list(self._traces):
            self._check_trace(trace, now_ns)

    def _check_softer(self, account: Account) -> None:
        """Coming and going only ever make softer."""
        held = self.night.plane.sleepers.get(number_of(account.sleeper_id))
        if held is None or Purpose.VOICE in account.doubt or account.maybe.get("voice"):
            return
        level = account.level(Purpose.VOICE, self.night.where(account))
        set_to: Any = account.settings["voice"] or (1,) * len(held.voice)
        softer = all(abs(heard) <= level * abs(most) + 1e-9 for heard, most in zip(held.voice, set_to, strict=True))
        self.night.require(softer, account.sleeper_id, "is louder than they set, or allow")

    def _check_trace(self, trace: _Trace, now_ns: int) -> None:
        if not trace.looked:
            trace.looked = True
            self._check_roll(trace.sleeper_id)
            self._check_disk(trace.sleeper_id)
            left = next(_places(self.night.sanctuary, trace.secrets), "")
            self.night.require(not left, trace.sleeper_id, "was forgotten, and is left in", left)
        elif now_ns - trace.since_ns > _GONE_S * 1e9:
            self._traces.remove(trace)
            if trace.person() is not None:
                gc.collect()
            held = trace.person()
            by = "" if held is None else [type(one).__name__ for one in gc.get_referrers(held)]
            self.night.require(held is None, trace.sleeper_id, "was forgotten, and somebody holds what was theirs:", by)

    def _check_roll(self, sleeper_id: str) -> None:
        number, roll = number_of(sleeper_id), self.night.sanctuary.roll
        known = roll.by_id(sleeper_id) or roll.by_number(number) or number in self.night.plane.sleepers
        self.night.require(not known, sleeper_id, "was forgotten, and is here")

    def _check_disk(self, sleeper_id: str) -> None:
        """Their own part is there and empty; nothing else names them. Of who waited there is the token's line."""
        journal = self.night.disk.inner
        own = journal.read(f"person/{sleeper_id}")
        self.night.require(bool(own) and not any(one.data for one in own), sleeper_id, "was forgotten, and can be read")
        clear = (one for one in journal._inner.read(None) if not one.stream.startswith("person/"))
        named = any(sleeper_id.encode() in one.data and type(decode(one.data)) is not WaitingBegun for one in clear)
        self.night.require(not named, sleeper_id, "was forgotten, and is named in the clear")


def _places(root: object, secrets: frozenset[object]) -> Iterator[str]:
    """Where in the engine's state any of ``secrets`` stands, beside others' own words."""
    ahead, seen = [(root, type(root).__name__)], set[int]()
    while ahead:
        one, path = ahead.pop()
        if isinstance(one, str | bytes | int):
            if one in secrets:
                yield path
            continue
        if id(one) in seen:
            continue
        seen.add(id(one))
        ahead += ((part, f"{path}.{name}") for name, part in _parts(one) if name not in _OTHERS_WORDS)


def _parts(one: object) -> Iterator[tuple[str, object]]:
    if isinstance(one, Mapping):
        for key, value in one.items():
            yield "key", key
            yield "value", value
    elif isinstance(one, tuple | list | set | frozenset):
        yield from (("item", item) for item in one)
    elif (bound := getattr(one, "__self__", None)) is not None:
        yield "self", bound
    elif type(one).__module__.startswith("harmonia.") and not type(one).__module__.startswith("harmonia.journal"):
        yield from vars(one).items() if hasattr(one, "__dict__") else ()
        if is_dataclass(one):
            yield from ((part.name, getattr(one, part.name)) for part in fields(one))
