"""A data plane without sockets: the same calls, the same latch, and a look at who would be heard."""

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from harmonia.domain.rhythm import Rhythm
from harmonia.engine.plane import ClockSource, WeaveThread


class FakeEvent(NamedTuple):
    """As ``_core.NodeEvent``."""

    sleeper: int
    event_id: bytes
    purposes: int
    kind: Literal["withdraw"] = "withdraw"


@dataclass(frozen=True)
class FakeStatus:
    """As ``_core.PlatformStatus``, of a platform that was never heard unless told otherwise."""

    sleeper: int
    muted: bool
    age_ns: int = -1
    session_age_ns: int = -1
    silent_ns: int = -1
    suspends: int = 0
    lock_state: int = 1
    bound_ns: int = 0
    uncertainty_ns: int = 0
    rate_ppb: int = 0
    offset: int = 0
    phase: int = 0
    level_dbfs: float = -120.0
    platform_time_ns: int = 0
    node_time_ns: int = 0
    gate_open: bool = False
    max_drift_ppb: int = 0
    max_wander: float = 0.0


@dataclass(frozen=True)
class FakeTimeKeys:
    """As ``_core.TimeKeys``; nobody answers to them."""

    algorithm: int = 30
    c2s: bytes = bytes(16)
    s2c: bytes = bytes(16)
    cookies: Sequence[bytes] = (bytes(72),)


@dataclass
class FakeSleeper:
    """What the plane holds of one sleeper."""

    circle: int
    latched: bool = True
    answered: bool = False
    """Whether a grant has named the newest withdrawal."""
    withdrawals: list[bytes] = field(default_factory=list)
    """In order of first arrival; the newest is what a release has to name."""
    voice_planned: bool = False
    hearing_planned: bool = False
    recording_planned: bool = False
    voice: tuple[complex, ...] = ()
    own_rhythm: Rhythm | None = None
    coupling: float = 0.0
    weight: float = 0.0
    hearing: float = 1.0
    ear: tuple[int, float] | None = None
    """Through whose ears they hear, and how loud that one's own voice is there."""
    unheard: frozenset[int] = frozenset()
    unhearing: frozenset[int] = frozenset()
    session: tuple[int, bytes, bool] | None = None
    hears_hush: bool = False
    acknowledged: list[bytes] = field(default_factory=list)


@dataclass(frozen=True)
class FakeTracking:
    """A clock that is the root of its time."""

    clock_id: int
    node_time_ns: int
    stratum: int = 10
    refid: int = 0x4C4F434C
    lock_state: int = 3
    offset_ns: int = 0
    uncertainty_ns: int = 0
    bound_ns: int = 0
    rate_ppb: int = 0
    slew_ppb: int = 0
    root_delay_ns: int = 0
    leap: int = 0
    steps_left: int = 1
    max_drift_ppb: int = 500_000
    max_wander: float = 1e-7


class FakePlane:
    """Implements :class:`harmonia.engine.plane.DataPlane` in memory. Every method may be called from any thread."""

    port = 4460
    clock_id: int = 1
    resumes = 0
    resumed = True

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._now_ns = now_ns
        self._lock = threading.Lock()
        self._events: queue.SimpleQueue[FakeEvent] = queue.SimpleQueue()
        self.gate_epoch = 1
        self.circles: dict[int, int] = {}
        self.hushes: dict[int, tuple[bool, bool, int]] = {}
        """Of each circle: whether it is silent, whether it is an alarm, and since which gate epoch."""
        self.weights: dict[int, float] = {}
        self.sleepers: dict[int, FakeSleeper] = {}
        self.rhythms: dict[int, Rhythm] = {}
        self.strengths: dict[int, tuple[float, float]] = {}
        self.closed = False
        self.trail: list[str] = []
        """Which calls came in, in order: ``mute``, ``release``, ``acknowledge``."""

    def audible(self, sleeper: int) -> bool:
        """Whether the next frame holds this sleeper's voice."""
        held = self.sleepers.get(sleeper)
        return held is not None and not held.latched and held.voice_planned

    def hears(self, listener: int, speaker: int) -> bool:
        """Whether the next frame to one sleeper holds another's voice."""
        held, other = self.sleepers.get(listener), self.sleepers.get(speaker)
        if held is None or other is None or held.circle != other.circle or not held.hearing_planned:
            return False
        return self.audible(speaker) and speaker not in held.unheard and listener not in other.unhearing

    def hear(self, sleeper: int, event_id: bytes, purposes: int = 0) -> None:
        """A sealed withdrawal arrives: muted before anybody else knows of it."""
        if purposes == 0 or purposes >> 3 & 1:
            self.mute(sleeper, event_id)
        self._events.put(FakeEvent(sleeper, event_id, purposes))

    def node_time_ns(self) -> int:
        return self._now_ns()

    def anchor(self) -> tuple[int, int, int]:
        return (0, self._now_ns(), 0)

    def tracking(self) -> "FakeTracking":
        return FakeTracking(self.clock_id, self._now_ns())

    def sources(self) -> Sequence[ClockSource]:
        return []

    def add_circle(self, circle: int, channels: int, voice_weight: float) -> None:
        assert circle not in self.circles
        assert channels > 0
        assert voice_weight > 0
        self.circles[circle] = channels
        self.hushes[circle] = (False, False, 0)
        self.weights[circle] = voice_weight

    def remove_circle(self, circle: int) -> None:
        del self.circles[circle]
        assert all(held.circle != circle for held in self.sleepers.values()), "sleepers leave first"

    def set_rhythm(self, circle: int, rhythm: Rhythm) -> None:
        assert circle in self.circles
        self.rhythms[circle] = rhythm

    def set_strength(self, circle: int, strength_rad_s: float, lag_rad: float) -> None:
        assert circle in self.circles
        self.strengths[circle] = (strength_rad_s, lag_rad)

    def set_hush(self, circle: int, *, silent: bool, alarm: bool) -> int:
        if self.hushes[circle][:2] != (silent, alarm):
            self.gate_epoch += 1
            self.hushes[circle] = (silent, alarm, self.gate_epoch)
        return self.hushes[circle][2]

    def set_own_rhythm(self, sleeper: int, own: Rhythm | None) -> None:
        self._held(sleeper).own_rhythm = own

    def set_coupling(self, sleeper: int, coupling: float, weight: float) -> None:
        self._held(sleeper).coupling, self._held(sleeper).weight = coupling, weight

    def weave(self, circle: int) -> tuple[float, Sequence[WeaveThread]]:
        assert circle in self.circles
        return 0.0, []

    def add_sleeper(self, circle: int, sleeper: int) -> None:
        assert circle in self.circles
        assert sleeper not in self.sleepers
        self.sleepers[sleeper] = FakeSleeper(circle)

    def remove_sleeper(self, sleeper: int) -> None:
        del self.sleepers[sleeper]

    def attach(self, sleeper: int, session_id: int, secret: bytes, recording: bool, hears_hush: bool = True) -> None:
        assert len(secret) == 32
        self._held(sleeper).session, self._held(sleeper).hears_hush = (session_id, secret, recording), hears_hush

    def time_keys(self) -> FakeTimeKeys:
        return FakeTimeKeys()

    def detach(self, sleeper: int) -> None:
        self._held(sleeper).session = None

    def set_voice(self, sleeper: int, voice: Sequence[complex]) -> None:
        if len(voice) != self.circles[self._held(sleeper).circle]:
            raise ValueError("one coefficient a channel")
        self._held(sleeper).voice = tuple(voice)

    def set_hearing(self, sleeper: int, level: float) -> None:
        self._held(sleeper).hearing = level

    def set_apart(self, sleeper: int, unheard: Sequence[int], unhearing: Sequence[int]) -> None:
        self._held(sleeper).unheard, self._held(sleeper).unhearing = frozenset(unheard), frozenset(unhearing)

    def set_plan(self, sleeper: int, *, voice: bool, hearing: bool, recording: bool) -> None:
        held = self._held(sleeper)
        held.voice_planned, held.hearing_planned, held.recording_planned = voice, hearing, recording

    def set_ear(self, listener: int, sleeper: int | None, own_level: float = 1.0) -> None:
        assert sleeper is None or self._held(sleeper).circle == self._held(listener).circle
        if self._held(listener).ear is not None and sleeper is None:
            self.gate_epoch += 1
        self._held(listener).ear = None if sleeper is None else (sleeper, own_level)

    def mute(self, sleeper: int, event_id: bytes) -> int:
        with self._lock:
            self.trail.append("mute")
            held = self._held(sleeper)
            if event_id not in held.withdrawals:
                held.withdrawals.append(event_id)
            held.latched, held.answered = True, False
            self.gate_epoch += 1
            return self.gate_epoch

    def release(self, sleeper: int, withdrawal: bytes) -> bool:
        with self._lock:
            held = self._held(sleeper)
            newest = held.withdrawals[-1] if held.withdrawals else b""
            if withdrawal == newest or (not withdrawal and held.answered):
                self.trail.append("release")
                held.latched, held.answered = False, True
                return True
            return False

    def acknowledge(self, sleeper: int, event_id: bytes) -> None:
        self.trail.append("acknowledge")
        self._held(sleeper).acknowledged.append(event_id)

    def next_event(self, timeout_s: float) -> FakeEvent | None:
        try:
            return self._events.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def status(self, circle: int) -> list[FakeStatus]:
        members = [(number, held) for number, held in list(self.sleepers.items()) if held.circle == circle]
        return [FakeStatus(number, held.latched) for number, held in members]

    def _held(self, sleeper: int) -> FakeSleeper:
        if sleeper not in self.sleepers:
            raise ValueError(f"sleeper {sleeper} is not in any circle here; add them first")
        return self.sleepers[sleeper]

    def serve_nts(self, certificate: bytes, key: bytes, port: int) -> int:  # noqa: ARG002 (it has no sockets)
        return port or 4461

    def answer_only_authenticated(self, only: bool) -> None:
        self.only_authenticated = only

    def stats(self) -> dict[str, int]:
        told = "answered", "malformed", "unauthentic", "frames_sealed", "cut_frames", "withdrawals", "voices_dropped"
        return dict.fromkeys(told, 0)

    def close(self) -> None:
        self.closed = True
