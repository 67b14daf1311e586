"""A sleeper while a journal is read, and nobody else holds them: as :func:`harmonia.domain.sleeper.apply`, quickly.

Of a million events that a sanctuary reads again, most are settings that a later one replaces, and nearly all of the
rest are grants and withdrawals. Making an event and a new sleeper of each took 7 µs. So of a setting the last is kept,
as it was read, until somebody asks; consent is gathered by its own rules; and whatever else happened goes the usual
way. That both ways come to the same is a law, held in ``tests/domain/test_reading.py``.
"""

import typing
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from harmonia.domain.apart import Apart, replaced
from harmonia.domain.consent import Consent, Grant, Purpose, Standing
from harmonia.domain.events import (
    ApartKept,
    AwakeSet,
    ConsentEvent,
    ConsentGranted,
    ConsentWithdrawn,
    CouplingSet,
    Event,
    HearingSet,
    OffsetSet,
    PersonEvent,
    RhythmOwned,
    ScheduleOffsetSet,
    SettingEvent,
    UsageNoted,
    VoiceSet,
    WishEvent,
    head,
)
from harmonia.domain.reading import Read, made, reading
from harmonia.domain.sleeper import Sleeper, apply, changes_after
from harmonia.domain.usage import USES_MAX, Use, merged
from harmonia.errors import StaleGrant

_PERSONAL = frozenset(typing.get_args(PersonEvent))
_ALONE = frozenset(typing.get_args(ConsentEvent | SettingEvent | WishEvent | UsageNoted))
"""What concerns nobody but its person: nearly all that there is to read."""
_PURPOSES = dict(Purpose.__members__)
_UNSET = Standing()
_bytes = bytes.fromhex


class Recollection:
    """One sleeper, as far as their events have been read."""

    __slots__ = ("_apart", "_last", "_plain", "_sleeper", "_standings", "_uses")

    def __init__(self, sleeper: Sleeper) -> None:
        self._become(sleeper)

    @property
    def sleeper_id(self) -> str:
        """Whose this is."""
        return self._sleeper.sleeper_id

    @property
    def sleeper(self) -> Sleeper:
        """As far as has been read."""
        changes: dict[str, Any] = {"apart": self._apart, "consent": Consent(MappingProxyType({**self._standings}))}
        changes["uses"] = merged(self._sleeper.uses, (Use(*party, until) for party, until in self._uses.items()))
        for read in self._last.values():
            changes |= changes_after(self._sleeper, typing.cast(PersonEvent, made(read)))
        return replace(self._sleeper, **changes)

    def absorb(self, reads: Iterable[Read]) -> Iterator[tuple[int, Event]]:
        """Takes in the next events, as far as they are asked for.

        Yields each that may concern others, or is no person's, with its place among them. Raises StorageUnreadable on
        damage.
        """
        last, quick = self._last, _QUICK
        for place, read in enumerate(reads):
            kind = type(read)
            if kind in _SETTINGS:
                last[kind] = read
                continue
            if self._plain and kind in quick:
                try:
                    if quick[kind](self, read):
                        continue
                except (KeyError, ValueError):  # damage: nothing was changed yet
                    pass
            event = made(read)
            if type(event) in _PERSONAL:
                self._become(apply(self.sleeper, typing.cast(PersonEvent, event)))
                last = self._last
            if type(event) not in _ALONE:
                yield place, event

    def _become(self, sleeper: Sleeper) -> None:
        self._sleeper = sleeper
        self._standings = dict(sleeper.consent.standings)
        self._apart = sleeper.apart
        self._uses: dict[tuple[Purpose, str, int], int] = {}
        """Until when each was noted last that began then: what was noted before of it is no other."""
        self._last: dict[type, Read] = {}
        """Of each setting the newest, for none of which it matters what was before."""
        self._plain = not (sleeper.wishes or sleeper.strayed or sleeper.own_rhythm.set_hz is not None)
        """No withdrawal and no rhythm changes anything but itself."""

    def _own(self, read: Read) -> bool:
        if read.set_hz is not None:  # they follow a living signal from here on, if they allow it
            return False
        self._last[type(read)] = read
        return True

    def _grant(self, read: Read) -> bool:
        purpose, named = _PURPOSES[read.purpose], _bytes(read.supersedes)
        grant = Grant(_bytes(read.event_id), read.scope, read.level, read.until_ns)
        try:
            self._standings[purpose] = self._standings.get(purpose, _UNSET).granted(purpose, grant, named)
        except StaleGrant:  # a withdrawal overtook it
            return True
        return True

    def _withdraw(self, read: Read) -> bool:
        purposes, event_id = [_PURPOSES[name] for name in read.purposes], _bytes(read.event_id)
        for purpose in purposes:
            self._standings[purpose] = self._standings.get(purpose, _UNSET).withdrawn(event_id)
        return True

    def _keep_apart(self, read: Read) -> bool:
        self._apart = replaced(self._apart, Apart(read.other_id, read.unheard, read.unhearing))
        return True

    def _use(self, read: Read) -> bool:
        noted = [((_PURPOSES[use.purpose], use.by, use.since_ns), use.until_ns) for use in read.uses]
        if len(self._sleeper.uses) + len(self._uses) + len(noted) > USES_MAX:
            return False  # from here on it matters in which order they came
        for began, until_ns in noted:
            self._uses[began] = max(until_ns, self._uses.get(began, until_ns))
        return True


_KINDS = (OffsetSet, VoiceSet, HearingSet, CouplingSet, AwakeSet, ScheduleOffsetSet)
_SETTINGS = frozenset(map(reading, _KINDS))
REPLACED = tuple(head(kind) for kind in _KINDS)
"""How an event begins that the next one with the same head replaces, whatever else was said."""
_QUICK: dict[type, Callable[[Recollection, Read], bool]] = {
    reading(RhythmOwned): Recollection._own,
    reading(ConsentGranted): Recollection._grant,
    reading(ConsentWithdrawn): Recollection._withdraw,
    reading(ApartKept): Recollection._keep_apart,
    reading(UsageNoted): Recollection._use,
}
"""Each says whether it has taken the event in; where it has not, nothing was changed."""
