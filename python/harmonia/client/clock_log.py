"""The clock log: how one platform's clock stood all night, for studies that re-stamp their data afterwards.

JSON lines; format ``harmonia-clock-log``, version 1. The first line is the header, every other one says in ``event``
what it is:

    log         format, version, sleeper_id, circle_id, harmonia, max_drift_ppb, max_wander
    reading     once a second: raw_ns, platform_ns, node_ns, earliest_ns, latest_ns, uncertainty_ns, rate_ppb, state
    exchange    each: number, era, t1_ns, t2_ns, t3_ns, t4_ns, stamp_error_ns, node_bound_ns, step_ns
    otherwise   what happened, when it was noticed (raw_ns, platform_ns, node_ns; within a tenth of a second):
                acquiring, locked, holdover, unsynchronised (the clock's state), reset (an era ended), step (by_ns),
                offset (turns), opt_out, opt_in, connected, disconnected, suspend (slept_ns: the machine slept so
                long), udp_lost (server, since_unix_s), udp_back (tunnelled), end

Times are integer nanoseconds: ``raw`` is CLOCK_MONOTONIC_RAW of the machine, ``platform`` the platform's clock (the
same, unless a simulation displaces it), ``node`` the sanctuary's. They exceed 2**53: read them as integers. Version 1
may gain fields and events, which a reader has to pass over; anything else is a new version. A line is written as a
whole and the file is never rewritten, so a platform that loses its power leaves a log that ends with at most one broken
line.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import trio

from harmonia import _core
from harmonia.client.names import LockState
from harmonia.client.restamp import Exchange
from harmonia.client.sleeper import Sleeper
from harmonia.errors import BadInput, NotFound, StorageError

FORMAT = "harmonia-clock-log"
VERSION = 1
LOOK_S = 0.1
"""How often the writer looks for something that happened."""
LOOKS_A_READING = 10
TIME_MAX_NS = 1 << 62


class ClockLogWriter:
    """Writes the log of one running sleeper. A disk that refuses ends the log, never the night."""

    def __init__(self, path: Path, sleeper: Sleeper) -> None:
        """Opens ``path`` anew. Raises StorageError."""
        self.path = path
        self.trouble = ""
        """Why the log ended early; empty while it goes on."""
        self._sleeper = sleeper
        self._core = sleeper.platform.core
        self._number = 0
        self._era = 0
        self._known: dict[str, Any] = {}
        try:
            self._file: IO[str] = path.open("w", encoding="utf-8", buffering=1)
        except OSError as error:
            raise StorageError(f"cannot write the clock log {path}: {error.strerror}") from None
        drift_ppb, wander = self._core.assumptions()
        self._write(
            event="log",
            format=FORMAT,
            version=VERSION,
            sleeper_id=sleeper.sleeper_id,
            circle_id=sleeper.identity.circle_id,
            harmonia=_core.__version__,
            max_drift_ppb=drift_ppb,
            max_wander=wander,
        )

    async def run(self) -> None:
        """Writes until cancelled."""
        try:
            while True:
                for look in range(LOOKS_A_READING):
                    self.look(reading=look == 0)
                    await trio.sleep(LOOK_S)
        finally:
            self.close()

    def look(self, *, reading: bool) -> None:
        """Writes the exchanges since the last look and what has happened, and how the clock stands if asked for."""
        clock = self._core.clock()
        for exchange in self._core.exchanges(self._number):
            self._note(clock, exchange)
        moment = self._sleeper.now()
        self._changed(clock, "state", moment.lock_state, lambda new: {"event": new.word})
        self._changed(clock, "offset", self._core.offset, lambda _: {"event": "offset", "turns": moment.offset_turns})
        self._changed(clock, "muted", moment.muted, lambda new: {"event": "opt_out" if new else "opt_in"})
        self._changed(
            clock, "connected", self._sleeper.connected, lambda new: {"event": "connected" if new else "disconnected"}
        )
        # A suspend is told by its total, so that two between two looks are not one.
        self._changed(clock, "suspends", self._core.suspends()[:2], self._suspended)
        dropped = moment.sound.dropped
        self._changed(clock, "dropped", dropped, lambda now: {"event": "voice_dropped", "count": now})
        loss = self._sleeper.udp_loss
        way = (loss is None, loss is None and self._sleeper.tunnelled)
        told = {"event": "udp_back", "tunnelled": way[1]}
        if loss is not None:
            told = {"event": "udp_lost", "server": loss.server, "since_unix_s": round(loss.since_unix_s, 3)}
        self._changed(clock, "udp", way, lambda _: told)
        if reading:
            self._write(
                event="reading",
                **_instants(clock),
                earliest_ns=clock.earliest_ns,
                latest_ns=clock.latest_ns,
                uncertainty_ns=clock.uncertainty_ns,
                rate_ppb=clock.rate_ppb,
                state=LockState.read(clock.lock_state).word,
            )

    def close(self) -> None:
        """The last line. Idempotent."""
        if not self._file.closed:
            self._write(event="end", **_instants(self._core.clock()))
            self._file.close()

    def _note(self, clock: _core.ClockReading, exchange: _core.ClockExchange) -> None:
        if exchange.era != self._era:
            self._era = exchange.era
            self._write(event="reset", **_instants(clock), era=exchange.era)
        if exchange.step_ns and exchange.number > 1:  # the first one sets the clock
            self._write(event="step", **_instants(clock), by_ns=exchange.step_ns)
        self._number = exchange.number
        self._write(
            event="exchange",
            number=exchange.number,
            era=exchange.era,
            t1_ns=exchange.t1_ns,
            t2_ns=exchange.t2_ns,
            t3_ns=exchange.t3_ns,
            t4_ns=exchange.t4_ns,
            stamp_error_ns=exchange.stamp_error_ns,
            node_bound_ns=exchange.node_bound_ns,
            step_ns=exchange.step_ns,
        )

    def _suspended(self, now: tuple[int, int]) -> dict[str, Any]:
        return {"event": "suspend", "slept_ns": now[1] - self._known["suspends"][1]}

    def _changed(self, clock: _core.ClockReading, what: str, now: Any, line: Callable[[Any], dict[str, Any]]) -> None:
        if self._known.get(what, now) != now or (what == "state" and what not in self._known):
            self._write(**line(now), **_instants(clock))
        self._known[what] = now

    def _write(self, **fields: Any) -> None:
        if self.trouble:
            return
        try:
            self._file.write(json.dumps(fields, separators=(",", ":")) + "\n")
        except OSError as error:
            self.trouble = f"the clock log {self.path} ends here: {error.strerror}"


def _instants(clock: _core.ClockReading) -> dict[str, int]:
    return {"raw_ns": clock.raw_ns, "platform_ns": clock.platform_ns, "node_ns": clock.node_ns}


@dataclass(frozen=True, slots=True)
class Reading:
    """How the live clock stood at one instant."""

    raw_ns: int
    platform_ns: int
    node_ns: int
    earliest_ns: int
    latest_ns: int
    uncertainty_ns: int
    rate_ppb: int
    state: str

    @property
    def bound_ns(self) -> int:
        """The largest possible error of ``node_ns``."""
        return max(self.latest_ns - self.node_ns, self.node_ns - self.earliest_ns)


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that happened, when it was noticed."""

    event: str
    platform_ns: int
    fields: dict[str, Any]


@dataclass(slots=True)
class ClockLog:
    """A log that was read."""

    path: Path
    header: dict[str, Any]
    readings: list[Reading] = field(default_factory=list)
    exchanges: list[Exchange] = field(default_factory=list)
    happenings: list[Happening] = field(default_factory=list)

    @property
    def max_drift_ppb(self) -> int:
        """The clocks' largest drift, on which the bounds rest."""
        return int(self.header["max_drift_ppb"])

    @property
    def max_wander(self) -> float:
        """Their largest wander, 1/s."""
        return float(self.header["max_wander"])

    @classmethod
    def load(cls, path: Path) -> "ClockLog":
        """Reads a log. Raises NotFound, StorageError, and BadInput as ``FILE:LINE: reason``."""
        try:
            with path.open(encoding="utf-8", errors="replace") as file:
                return cls.parse(path, file)
        except FileNotFoundError:
            raise NotFound(f"{path}: no such clock log; `harmonia join --clock-log FILE` writes one") from None
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error.strerror}") from None

    @classmethod
    def parse(cls, path: Path, lines: Iterable[str]) -> "ClockLog":
        """A log from its lines; ``path`` is for messages. Raises BadInput as ``FILE:LINE: reason``."""
        log: ClockLog | None = None
        number = 0
        for number, text in enumerate(lines, 1):
            if not text.endswith("\n"):
                break  # a log that is still being written, or whose platform lost its power
            try:
                fields = json.loads(text)
                if not isinstance(fields, dict):
                    raise TypeError("no object")
                if log is None:
                    log = cls(path, _header(path, fields))
                else:
                    log._take(fields)
            except (ValueError, TypeError, KeyError) as error:
                reason = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
                raise BadInput(f"{path}:{number}: this is no line of a clock log: {reason}") from None
        if log is None:
            raise BadInput(
                f"{path}:{max(number, 1)}: this is no clock log; `harmonia join --clock-log FILE` writes one"
            )
        return log

    def _take(self, fields: dict[str, Any]) -> None:
        match fields["event"]:
            case "reading":
                names = Reading.__dataclass_fields__
                values = {name: _time(fields, name) for name in names if name != "state"}
                self.readings.append(Reading(state=str(fields["state"]), **values))
            case "exchange":
                stamps = [_time(fields, name) for name in ("t1_ns", "t2_ns", "t3_ns", "t4_ns", "stamp_error_ns", "era")]
                self.exchanges.append(Exchange(*stamps))
            case str(event):
                self.happenings.append(Happening(event, _time(fields, "platform_ns"), fields))
            case _:
                raise TypeError("event is no text")


def _header(path: Path, fields: dict[str, Any]) -> dict[str, Any]:
    if fields.get("format") != FORMAT:
        raise BadInput(f"{path}:1: this is no clock log; `harmonia join --clock-log FILE` writes one")
    if fields.get("version") != VERSION:
        raise BadInput(
            f"{path}:1: version {fields.get('version')!r} of the clock log; this program reads {VERSION}: update it"
        )
    if not (0 <= int(fields["max_drift_ppb"]) <= 10**9 and 0 <= float(fields["max_wander"]) <= 1):
        raise ValueError("max_drift_ppb is 0 to 1000000000 and max_wander 0 to 1")
    return fields


def _time(fields: dict[str, Any], name: str) -> int:
    value = fields[name]
    if type(value) is not int:
        raise TypeError(f"{name} is an integer, not {value!r}")
    # An unsynchronised clock's interval is all of time; nothing else comes near.
    if abs(value) > TIME_MAX_NS and name not in {"earliest_ns", "latest_ns", "uncertainty_ns"}:
        raise ValueError(f"{name} {value} is centuries away")
    return value
