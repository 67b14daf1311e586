"""The low-latency core: exact phase, synchronisation, mixing and rendering, in Rust.

Times are integer nanoseconds: ``node`` times on a sanctuary's clock, ``platform`` times on a platform's own. Phases and
offsets are integers in 2**-64 turn where they must be exact, floats in turns where a person reads them. Every call
releases the GIL while it works or waits, and every object may be used from any thread.
"""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BatchRenderer",
    "ByStream",
    "ClockExchange",
    "ClockReading",
    "IoError",
    "LiveTracker",
    "MixBench",
    "Node",
    "NodeEvent",
    "NodeSource",
    "NodeTracking",
    "PersonKey",
    "Platform",
    "PlatformStatus",
    "Rehearsal",
    "Renderer",
    "Rhythm",
    "RhythmBench",
    "RhythmError",
    "Score",
    "ScoreError",
    "Stem",
    "TimeKeys",
    "TimeMeasurement",
    "TimerBench",
    "Tracker",
    "WeaveThread",
    "__version__",
    "bench_clock",
    "bench_crowd",
    "bench_hub",
    "bench_mix_kernel",
    "bench_mix_peak",
    "bench_session",
    "bench_ticks",
    "estimates",
    "offset_from_turns",
    "play_samples",
    "query_time",
    "replay_trace",
    "sound_devices",
]

__version__: str

_Segment = tuple[int, int, int, int, int]
_EstimatorName = Literal["predictor", "end-corrected", "hilbert", "pll"]
"""start_ns, phase (2**-64 turn), frequency (2**-128 turn/ns), half_ramp (2**-128 turn/ns**2), ramp_ns."""

class ScoreError(ValueError):
    """A score was refused. ``str()`` is ``FILE:LINE: reason`` or ``FILE:LINE:COLUMN: reason``."""

    name: str
    line: int
    column: int | None
    reason: str

class RhythmError(ValueError):
    """A rhythm, segment, frequency or phase offset was refused; the message says what is allowed."""

class IoError(OSError):
    """A socket or a file could not be opened; the message says which and what to do."""

@final
class Rhythm:
    """A circle's shared timeline. Immutable: changing it makes a new one."""

    def __new__(cls, segments: Sequence[_Segment]) -> Rhythm: ...
    @staticmethod
    def constant(start_ns: int, frequency_hz: float, phase: int = 0) -> Rhythm:
        """One frequency from ``start_ns`` on. Raises RhythmError on a frequency that is not finite or beyond ±1 MHz."""
    @property
    def segments(self) -> list[_Segment]: ...
    def phase_at(self, node_ns: int) -> int:
        """The phase in 2**-64 turn; the same bits on every machine."""
    def turns_at(self, node_ns: int) -> float: ...
    def frequency_at(self, node_ns: int) -> float:
        """In hertz."""
    def continue_at(self, start_ns: int, frequency_hz: float, ramp_ns: int) -> Rhythm:
        """This rhythm, led to another frequency from ``start_ns`` on without a jump in phase."""

def offset_from_turns(turns: float) -> int:
    """A phase offset in 2**-64 turn (signed). Raises RhythmError unless ``turns`` is finite."""

def replay_trace(trace: str, name: str, max_drift_ppb: int, max_wander: float) -> tuple[str, str]:
    """Replays recorded exchanges (CSV: t1,t2,t3,t4 in ns) through the session that platforms run.

    Returns CSV with one row an exchange, from what came before it alone: t4; offset_before (node - platform as the
    clock stood at t4); bound_ns (its largest possible error if the two clocks' frequencies never differ by more than
    ``max_drift_ppb`` and that difference never changes faster than ``max_wander`` a second); uncertainty_ns (99 % of
    errors lie within, if the delay floors are symmetric); rate_ppb. And a summary as JSON: rows, duration_s,
    round_trip_min_ns, bound_median_ns, uncertainty_median_ns, rate_ppb, contradictions, steps, max_drift_ppm,
    max_wander.

    Raises ValueError on a trace that is malformed (``NAME:LINE: reason``) or assumptions out of range.
    """

def estimates(
    exchanges: Sequence[tuple[int, int, int, int, int]], *, max_drift_ppb: int, max_wander: float
) -> list[tuple[int, int, float, float, float, float]]:
    """What the filter made of recorded exchanges (t1, t2, t3, t4, stamp error), each from those before it alone.

    For each: at_ns (its t4), the likely offset (node − platform) in ns, its rate in ppb, the 99 % uncertainty in ns,
    how fast that grows in ppb, and the walk of the frequency in ppb for one second. Raises ValueError on absurd
    assumptions.
    """

@final
class Score:
    """A score as its author wrote it, read and validated."""

    @staticmethod
    def parse(text: str, name: str, format: Literal["toml", "sbg"]) -> Score:
        """Reads a score. Raises ScoreError with file, line and reason on anything that cannot be played as written."""
    @property
    def name(self) -> str: ...
    @property
    def format(self) -> Literal["toml", "sbg"]: ...
    @property
    def text(self) -> str: ...
    @property
    def channels(self) -> int: ...
    @property
    def noises(self) -> list[bool]:
        """For each channel, whether it is noise."""
    @property
    def start_s(self) -> float:
        """The score's own clock reading at which it begins: seconds after midnight, or 0."""
    @property
    def duration_ns(self) -> int | None:
        """None if the score is endless."""
    def summary(self) -> str:
        """JSON: duration_s (or null), tone_sets, timeline, channels_max, stems and more."""
    def rhythm(self, epoch_ns: int) -> Rhythm:
        """The rhythm that the score proposes if it begins at node time ``epoch_ns``."""

@final
class Stem:
    """A recording, decoded into memory: FLAC, WAV or Ogg Vorbis, one or two channels."""

    @staticmethod
    def load(path: PathLike[str] | str) -> Stem:
        """Reads a file. Raises IoError if it cannot be read, ValueError if it is no recording that can be played."""
    @staticmethod
    def hash(path: PathLike[str] | str) -> str:
        """SHA-256 of a file, in hexadecimal. Raises IoError."""
    @property
    def sha256(self) -> str: ...
    @property
    def sample_rate(self) -> int: ...
    @property
    def frames(self) -> int: ...

@final
class Tracker:
    """The phase of a living rhythm in samples at one steady rate, causally: nothing to come changes what was said.

    Raises ValueError for a band that cannot be tracked at that rate.
    """

    def __new__(
        cls, lo_hz: float, hi_hz: float, rate_hz: float, estimator: _EstimatorName = "predictor"
    ) -> Tracker: ...
    def feed(
        self, samples: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Takes the next samples, NaN where one is missing. Returns, for each: its phase in turns (0 at the peak of the
        band-passed signal), frequency in Hz, and confidence (the resultant length to be expected of the phase's error,
        0 to 1).
        """

@final
class LiveTracker:
    """The same for samples with time stamps, some late, some lost. Realtime-safe but for its lock."""

    def __new__(
        cls, lo_hz: float, hi_hz: float, rate_hz: float, estimator: _EstimatorName = "predictor"
    ) -> LiveTracker: ...
    def push(self, platform_ns: int, sample: float) -> bool:
        """Takes a sample; False if a later one is known already, and this one is left out."""
    def at(self, platform_ns: int) -> tuple[float, float, float]:
        """Phase in turns, frequency in Hz and confidence at an instant."""

@final
class Renderer:
    """Renders a score offline, from any instant of it. Not realtime: see Platform for that."""

    def __new__(
        cls, score: Score, epoch_ns: int, sample_rate: int, stems: Mapping[str, Stem] | None = None
    ) -> Renderer:
        """``stems`` are the recordings that the score wants, by its names for them; those without one are silent."""
    def render(
        self,
        node_ns: int,
        frames: int,
        *,
        rhythm: Rhythm | None = None,
        offset_turns: float = 0.0,
        own: Sequence[complex] | None = None,
        others: Sequence[complex] | None = None,
        limit: bool = True,
    ) -> NDArray[np.float32]:
        """``frames`` × 2 samples from node time ``node_ns`` on, one node second a second.

        Without ``rhythm`` the score's own is used, without ``own`` a voice of ones. ``limit=False`` leaves the safety
        chain out, for measurements. Raises ValueError on more than 2**27 frames.
        """

@final
class BatchRenderer:
    """Renders one score for many sleepers in one call, for a node that renders for simple devices.

    What each hears is to the bit what a renderer of their own would give. With ``persons`` every sleeper has the safety
    chain of a platform: a gate that is closed at first and fades in, and a loudness that rises slowly. Without, each is
    a file, as with Renderer.
    """

    def __new__(
        cls,
        score: Score,
        epoch_ns: int,
        sample_rate: int,
        sleepers: int,
        *,
        persons: bool = False,
        stems: Mapping[str, Stem] | None = None,
    ) -> BatchRenderer:
        """``stems`` as for Renderer.

        Raises ValueError on a sample rate that no converter has, and on more than 1000000 sleepers.
        """
    @property
    def sleepers(self) -> int:
        """Rows of what ``render`` takes and fills."""
    @property
    def channels(self) -> int:
        """Channels of the score: coefficients of each sleeper."""
    def render(
        self,
        node_ns: int,
        out: NDArray[np.float32],
        own: NDArray[np.complex64],
        offsets: NDArray[np.float64],
        *,
        others: NDArray[np.complex64] | None = None,
        rhythms: Sequence[Rhythm] | None = None,
        gates: NDArray[np.bool_] | None = None,
        ceilings_dbfs: NDArray[np.float32] | None = None,
        limit: bool = True,
    ) -> None:
        """Fills ``out``, (sleepers, 2, frames), in place, from node time ``node_ns`` on, one node second a second.

        ``own`` and ``others`` are (sleepers, channels); ``offsets``, turns, ``gates``, open or not, and
        ``ceilings_dbfs`` are (sleepers,). All are C-contiguous; nothing is copied but offsets and ceilings. Without
        ``rhythms`` all follow the score's, without ``others`` nobody else is heard, without ``gates`` all are open.

        A call that begins where the last one ended goes on from it: coefficients glide, offsets turn. Any other place
        is a new performance. Raises TypeError on what is no array of the stated type, ValueError on another shape or
        order, on more than 2**27 frames, and while another call uses the same ``out``; RhythmError on an offset that
        is no number.
        """

@final
class Rehearsal:
    """A woven circle without a network: weave, field and one sleeper's platform, in simulated time from 0 on.

    ``parts``: for each sleeper their own frequency in Hz, their phase at the beginning in turns, their coupling (0 to
    1) and the second from which on, within ten more, they let themselves be pulled by it, how much of their voice goes
    with their breath (0 to 1), and their voice: one coefficient a channel, when the breath is fullest. ``ear`` is who
    listens, counted from 0. The same arguments give the same samples. Raises ValueError on what a circle would refuse.
    """

    def __new__(
        cls,
        score: Score,
        sample_rate: int,
        strength_rad_s: float,
        lag_rad: float,
        parts: Sequence[tuple[float, float, float, float, float, Sequence[complex]]],
        ear: int,
    ) -> Rehearsal: ...
    def tick(self) -> NDArray[np.float32]:
        """What is heard until the next mix frame, 0.2 s later: frames × 2 samples."""
    def weave(self) -> tuple[complex, list[WeaveThread]]:
        """R·e^{iΨ} and everybody, as of the last frame."""
    @property
    def elapsed_ns(self) -> int: ...

@final
class NodeEvent:
    """Something that the data plane heard."""

    @property
    def kind(self) -> Literal["withdraw"]: ...
    @property
    def sleeper(self) -> int: ...
    @property
    def event_id(self) -> bytes: ...
    @property
    def purposes(self) -> int:
        """Bit ``n`` for purpose ``n`` of harmonia.v1.Purpose; 0 for all."""

@final
class PlatformStatus:
    """What a platform last said of itself, authenticated."""

    @property
    def sleeper(self) -> int: ...
    @property
    def age_ns(self) -> int:
        """How long ago it was heard; -1 if never."""
    @property
    def session_age_ns(self) -> int:
        """How long its session is open; -1 without one."""
    @property
    def silent_ns(self) -> int:
        """For how long no authentic datagram of the session has come: its age if none ever did; -1 without one."""
    @property
    def suspends(self) -> int:
        """How often its machine was suspended since the platform began; 65535 for more."""
    @property
    def lock_state(self) -> int:
        """As harmonia.v1.LockState."""
    @property
    def bound_ns(self) -> int: ...
    @property
    def uncertainty_ns(self) -> int: ...
    @property
    def rate_ppb(self) -> int: ...
    @property
    def offset(self) -> int:
        """φ in use, 2**-64 turn, signed."""
    @property
    def phase(self) -> int:
        """θ + φ at ``node_time_ns``, 2**-64 turn."""
    @property
    def level_dbfs(self) -> float: ...
    @property
    def platform_time_ns(self) -> int: ...
    @property
    def node_time_ns(self) -> int: ...
    @property
    def muted(self) -> bool:
        """The node's latch on this sleeper's voice."""
    @property
    def gate_open(self) -> bool:
        """The platform's own gate."""
    @property
    def max_drift_ppb(self) -> int:
        """The largest drift on which ``bound_ns`` rests."""
    @property
    def max_wander(self) -> float:
        """The largest wander on which it rests, 1/s."""

@final
class NodeTracking:
    """How a sanctuary's own clock stands at one instant."""

    @property
    def clock_id(self) -> int: ...
    @property
    def stratum(self) -> int:
        """Steps from a reference clock; 10 without a source."""
    @property
    def refid(self) -> int:
        """What is followed: NTP's reference identifier, big-endian letters ``LOCL`` without a source."""
    @property
    def lock_state(self) -> int:
        """As harmonia.v1.LockState; locked also for a clock that was told to follow nobody."""
    @property
    def node_time_ns(self) -> int: ...
    @property
    def offset_ns(self) -> int:
        """What the sources say that node time should be, minus what it is: still to be slewed."""
    @property
    def uncertainty_ns(self) -> int:
        """Expected error against the sources."""
    @property
    def bound_ns(self) -> int:
        """Certain error against the root of the time; 0 at the root."""
    @property
    def rate_ppb(self) -> int:
        """How much faster than the raw clock node time runs, correction included."""
    @property
    def slew_ppb(self) -> int:
        """How much of ``rate_ppb`` is correction."""
    @property
    def root_delay_ns(self) -> int:
        """Round trip to the root of the time."""
    @property
    def leap(self) -> int:
        """NTP's leap indicator."""
    @property
    def steps_left(self) -> int:
        """How often this clock may still be stepped, in this life or a later one."""
    @property
    def max_drift_ppb(self) -> int:
        """The largest drift on which ``bound_ns`` rests."""
    @property
    def max_wander(self) -> float:
        """The largest wander on which it rests, 1/s."""

@final
class NodeSource:
    """One source of a sanctuary's time as it stands."""

    @property
    def name(self) -> str:
        """As it was given."""
    @property
    def address(self) -> str:
        """``address:port`` where it was found; empty before."""
    @property
    def state(
        self,
    ) -> Literal[
        "unresolved",
        "silent",
        "measuring",
        "selected",
        "candidate",
        "falseticker",
        "undecided",
        "loop",
        "refusing",
    ]:
        """What became of it in the last selection.

        No address; no answer for a while; answers, still being measured; followed; agrees, others are better; disagrees
        with the majority; no majority; follows this very clock; says that its clock is not set or asks for silence.
        """
    @property
    def clock_id(self) -> int:
        """0 for a stranger's NTP server, or before the first answer."""
    @property
    def stratum(self) -> int: ...
    @property
    def refid(self) -> int: ...
    @property
    def offset_ns(self) -> int:
        """Its time minus node time."""
    @property
    def bound_ns(self) -> int:
        """Certain error of ``offset_ns`` against the root of the source's time: path and source together."""
    @property
    def uncertainty_ns(self) -> int:
        """Expected error of ``offset_ns``."""
    @property
    def delay_ns(self) -> int:
        """Shortest round trip of the last exchanges."""
    @property
    def rate_ppb(self) -> int:
        """Its rate against this machine's raw clock."""
    @property
    def reach(self) -> int:
        """The last eight requests, a bit each, the newest lowest: 1 was answered."""
    @property
    def exchanges(self) -> int: ...
    @property
    def age_ns(self) -> int:
        """How long ago the last answer came; -1 before the first."""
    @property
    def authenticated(self) -> bool:
        """Whether each answer used was proved to be the server's with NTS; False before the first."""
    @property
    def cookies(self) -> int:
        """With NTS, how many requests can be made before keys must be exchanged anew, if no answer comes."""
    @property
    def key_exchanges(self) -> int:
        """With NTS, how often keys were exchanged."""
    @property
    def max_drift_ppb(self) -> int:
        """The largest drift on which ``bound_ns`` rests."""
    @property
    def max_wander(self) -> float:
        """The largest wander on which it rests, 1/s."""
    @property
    def trouble(self) -> str:
        """Why the last answer was refused, or the name was not found; empty if neither."""

@final
class TimeMeasurement:
    """What time a server has, compared with this machine's realtime clock."""

    @property
    def host(self) -> str:
        """The address that answered."""
    @property
    def port(self) -> int: ...
    @property
    def authenticated(self) -> bool:
        """Whether each answer was protected by NTS."""
    @property
    def clock_id(self) -> int | None:
        """None unless it is a sanctuary."""
    @property
    def stratum(self) -> int: ...
    @property
    def refid(self) -> int: ...
    @property
    def leap(self) -> int: ...
    @property
    def offset_ns(self) -> int:
        """The server's UTC minus this machine's."""
    @property
    def bound_ns(self) -> int:
        """The true offset is no further from ``offset_ns``, however lopsided the path."""
    @property
    def server_bound_ns(self) -> int:
        """How wrong the server says that it may be itself; not part of ``bound_ns``."""
    @property
    def round_trip_min_ns(self) -> int: ...
    @property
    def sent(self) -> int:
        """Requests sent."""
    @property
    def used(self) -> int:
        """Answers used."""

def query_time(
    host: str,
    port: int,
    *,
    nts_port: int | None = None,
    ca: bytes | None = None,
    exchanges: int = 8,
    timeout_s: float = 10.0,
    max_drift_ppb: int = 500_000,
    max_wander: float = 1e-7,
) -> TimeMeasurement:
    """Asks a sanctuary or any NTP server for the time, up to ``exchanges`` times within ``timeout_s``.

    With ``nts_port``, keys are exchanged with ``host`` there first (its certificate must be signed by one of the PEM
    certificates in ``ca``, or the system's), and the NTP server that it names is asked instead of ``port``. Raises
    IoError without an acceptable answer, ValueError on an unusable certificate. The bound rests on ``max_drift_ppb``
    and ``max_wander`` (1/s).
    """

@final
class WeaveThread:
    """How one sleeper stands in their circle's weave."""

    @property
    def sleeper(self) -> int: ...
    @property
    def woven(self) -> bool:
        """Whether they are in the mean."""
    @property
    def phase(self) -> int:
        """θ, before the sleeper's own offset, in 2**-64 turn."""
    @property
    def pulled(self) -> int:
        """How far the others have displaced them from their own timeline, in 2**-64 turn."""
    @property
    def own_hz(self) -> float: ...
    @property
    def achieved_hz(self) -> float:
        """What the own frequency comes to, over the last ten seconds or so."""
    @property
    def pull(self) -> float:
        """c·K·R·abs(sin(Ψ - θ + α)) / max(abs(ω), 0.06 rad/s)."""

@final
class Node:
    """A sanctuary's data plane: one UDP socket that answers sync requests and carries sealed mix frames.

    Sleepers and circles are named by 64-bit numbers of the caller's choice. A new sleeper's voice is muted.
    """

    def __new__(
        cls,
        host: str,
        port: int,
        clock_file: str,
        upstreams: Sequence[str] = ...,
        *,
        ca: bytes | None = None,
        max_drift_ppb: int = 500_000,
        max_wander: float = 1e-7,
    ) -> Node:
        """Binds ``host:port`` (0 for any) and resumes the node clock from ``clock_file``, or makes it.

        The clock's anchor is written there every second; what the sources certified, and the keys of NTS cookies (mode
        0600), beside it. ``upstreams`` are sources that the clock follows, ``HOST`` or ``HOST:PORT`` each (port 123 if
        none), or ``nts://HOST[:PORT]`` with the port of its key exchange (4460); a clock that is new asks them, for at
        most a few seconds, before anybody is answered. The certificates of those with NTS must be signed by one of the
        PEM certificates in ``ca``, or the system's. Bounds rest on ``max_drift_ppb`` and ``max_wander`` (1/s). Raises
        IoError on a taken port or an unwritable file, ValueError on a malformed source, certificate or limit.
        """
    @property
    def port(self) -> int: ...
    @property
    def clock_id(self) -> int: ...
    @property
    def resumes(self) -> int: ...
    @property
    def resumed(self) -> bool:
        """Whether this start continued the former clock exactly; False after a reboot or on a first start."""
    def node_time_ns(self) -> int: ...
    def anchor(self) -> tuple[int, int, int]:
        """raw_ns, node_ns, rate_ppb: node = node_ns + (raw − raw_ns)·(1 + rate_ppb·1e-9) on CLOCK_MONOTONIC_RAW.

        With sources, the rate is that of the instant and changes by and by.
        """
    def tracking(self) -> NodeTracking: ...
    def sources(self) -> list[NodeSource]:
        """How each source stands, in the order in which they were given."""
    def add_circle(self, circle: int, channels: int, voice_weight: float) -> None:
        """Hosts a circle, unless it is hosted already. Raises ValueError on > 64 channels or a bad weight."""
    def remove_circle(self, circle: int) -> None: ...
    def set_rhythm(self, circle: int, rhythm: Rhythm) -> None:
        """The rhythm whose phase and frequency this circle's frames carry."""
    def set_strength(self, circle: int, strength_rad_s: float, lag_rad: float) -> None:
        """How far the circle pulls those who let it: K (0 to 100 rad/s) and α (-π to π rad). Raises ValueError."""
    def set_hush(self, circle: int, *, silent: bool, alarm: bool) -> int:
        """Says in every frame whether the room is silent, at once; voices are for ``set_plan`` to take out.

        Returns the gate epoch from which frames say so, or something newer.
        """
    def set_own_rhythm(self, sleeper: int, own: Rhythm | None) -> None:
        """A sleeper's own timeline; None for the circle's."""
    def set_coupling(self, sleeper: int, coupling: float, weight: float) -> None:
        """How far a sleeper is pulled, 0 to 1, and what they count in the mean. From the next step on."""
    def weave(self, circle: int) -> tuple[float, list[WeaveThread]]:
        """R, and everybody whose platform is there with a locked clock, brought to now."""
    def add_sleeper(self, circle: int, sleeper: int) -> None:
        """The sleeper's latch is closed: nobody hears them before a grant is read.

        Raises RuntimeError if they are in another circle: a mute reaches one.
        """
    def remove_sleeper(self, sleeper: int) -> None: ...
    def attach(self, sleeper: int, session_id: int, secret: bytes, recording: bool, hears_hush: bool = True) -> None:
        """Opens a session, in place of the sleeper's earlier one. Id and secret must be drawn anew for each.

        Without ``hears_hush`` frames say nothing of a silent room: for a platform from before they did.
        Raises RuntimeError if a session with this id is open: nonces would repeat.
        """
    def time_keys(self) -> TimeKeys:
        """Fresh keys and cookies for one platform's session: give them over a channel that is secret."""
    def detach(self, sleeper: int) -> None: ...
    def set_voice(self, sleeper: int, voice: Sequence[complex]) -> None:
        """Raises ValueError unless there is one finite coefficient of magnitude ≤ 4 a channel."""
    def set_hearing(self, sleeper: int, level: float) -> None: ...
    def set_apart(self, sleeper: int, unheard: Sequence[int], unhearing: Sequence[int]) -> None:
        """Whom a sleeper does not want to hear, and who may not hear them, in place of who that was; at once.

        The others need not be in. Raises ValueError for a sleeper who is not in.
        """
    def set_plan(self, sleeper: int, *, voice: bool, hearing: bool, recording: bool) -> None:
        """What everybody else allows. It can only narrow: it is AND-ed with the latch."""
    def set_ear(self, listener: int, sleeper: int | None, own_level: float = 1.0) -> None:
        """Lets ``listener``'s platform hear what ``sleeper`` hears, and ``sleeper`` themself at ``own_level`` (0 to 4).

        None for their own mix again, from a cut on. Whether ``sleeper`` allows it is for the caller to know. Raises
        ValueError if they are not in one circle.
        """
    def mute(self, sleeper: int, event_id: bytes) -> int:
        """The latch. At once, from any thread; returns the gate epoch from which no frame holds the voice."""
    def release(self, sleeper: int, withdrawal: bytes) -> bool:
        """Lowers the latch if ``withdrawal`` names what raised it (``b""``: only joining). False otherwise."""
    def acknowledge(self, sleeper: int, event_id: bytes) -> None:
        """Tells the platform, sealed, that a withdrawal is on disk."""
    def next_event(self, timeout_s: float) -> NodeEvent | None:
        """Waits for the next event without the GIL; None after ``timeout_s`` or once closed.

        A withdrawal comes again, for as long as its platform repeats it, until it is acknowledged.
        """
    def status(self, circle: int) -> list[PlatformStatus]: ...
    def serve_nts(self, certificate: bytes, key: bytes, port: int) -> int:
        """Listens for NTS key exchanges on this TCP port (0 for any) of the node's address; returns the port.

        ``certificate`` is a chain, ``key`` its private key, both PEM. Raises IoError on a taken port, ValueError on a
        certificate that cannot be used.
        """
    def answer_only_authenticated(self, only: bool) -> None:
        """Whether requests without NTS meet silence. Platforms with a session here are answered all the same."""
    def set_rate_limit(self, per_s: int, burst: int, *, loopback: bool = False) -> None:
        """How many requests of one address are answered a second, and at once; 0 a second for no limit.

        The default is 1000 and 8000. This machine's own addresses are limited only with ``loopback``.
        """
    def stats(self) -> dict[str, int]:
        """Counters since the start: answered, malformed, unauthentic, frames_sealed, cut_frames, withdrawals."""
    def cuts(self) -> dict[str, float]:
        """How soon withdrawals were in the frames handed to the socket, since the start.

        ``optouts``: how many there were with somebody to be told. ``first_p50_ms``, …``p99``…, ``p999``, ``max``: from
        the arrival of the withdrawal (the kernel's stamp of its datagram, or the call) until the first listener's frame
        was handed over; ``last_…``: until the last listener's was; each rounded up by at most an eighth. ``ticks_max``:
        the most ticks that any took, the one under way at its arrival not counted.
        """
    def close(self) -> None: ...

@final
class PersonKey:
    """The key under which the journal seals what one person said: AES-256-GCM (NIST SP 800-38D)."""

    def __new__(cls, key: bytes) -> PersonKey:
        """Of 32 bytes. Raises ValueError."""

    def seal(self, nonce: bytes, event_id: bytes, data: bytes) -> bytes:
        """The nonce, the ciphertext and its tag of 16 bytes. ``nonce``: 12 bytes, never used before under this key.

        Raises ValueError.
        """

    def open(self, event_id: bytes, sealed: bytes) -> bytes | None:
        """What was sealed; None if it was not sealed as that event under this key, or is damaged."""

@final
class ByStream:
    """A stretch of the journal, taken apart by streams and unsealed: for reading millions of events."""

    def __new__(cls) -> ByStream: ...
    def add(self, rows: list[tuple[str, int, bytes, bytes]]) -> None:
        """Gathers more events: each a stream, a revision, an id and data, in the order of writing.

        Raises ValueError for an event that does not come after those that are there.
        """

    def take(self, keys: dict[str, PersonKey], heads: Sequence[bytes]) -> list[tuple[str, list[int], bytes | None]]:
        """Each stream with its events' revisions and their data, unsealed, a line feed between two. Nothing is left.

        ``keys``: of the streams that are sealed. ``heads``: how sealed events begin that a later one with the same head
        replaces, at most 64; only the last of each goes on, of those that are taken together. No data where an event
        does not open, is empty or has a line feed in it: somebody has to look at each.
        """

@final
class ClockReading:
    """One instant, on both clocks."""

    @property
    def lock_state(self) -> int: ...
    @property
    def platform_ns(self) -> int: ...
    @property
    def raw_ns(self) -> int:
        """CLOCK_MONOTONIC_RAW of this machine at that instant: for tests that know the truth."""
    @property
    def node_ns(self) -> int: ...
    @property
    def earliest_ns(self) -> int:
        """The true node time is not before this, whatever the path's asymmetry."""
    @property
    def latest_ns(self) -> int: ...
    @property
    def uncertainty_ns(self) -> int:
        """The expected error if the path's delay floors are symmetric."""
    @property
    def rate_ppb(self) -> int: ...
    @property
    def exchanges(self) -> int: ...

@final
class ClockExchange:
    """One exchange with the sanctuary, as it was used."""

    @property
    def number(self) -> int:
        """Counts from 1."""
    @property
    def t1_ns(self) -> int:
        """Platform time at which the request left, or a little before."""
    @property
    def t2_ns(self) -> int:
        """Node time at which it arrived."""
    @property
    def t3_ns(self) -> int:
        """Node time at which the answer left."""
    @property
    def t4_ns(self) -> int:
        """Platform time at which it arrived, or a little after."""
    @property
    def stamp_error_ns(self) -> int:
        """How far the platform's stamps may be off in the harmful direction."""
    @property
    def node_bound_ns(self) -> int:
        """How far the node's own clock was from its source, at most."""
    @property
    def era(self) -> int:
        """Counts the times that everything before was forgotten; only one era's exchanges relate the same clocks."""
    @property
    def step_ns(self) -> int:
        """By how much the clock was stepped then, while nobody listened."""

@final
class TimeKeys:
    """What a platform asks its sanctuary for authentic time with: the keys and cookies of a client of NTS. Secret."""

    def __new__(cls, algorithm: int, c2s: bytes, s2c: bytes, cookies: Sequence[bytes]) -> TimeKeys: ...
    @property
    def algorithm(self) -> int:
        """IANA's number of the AEAD algorithm."""
    @property
    def c2s(self) -> bytes: ...
    @property
    def s2c(self) -> bytes: ...
    @property
    def cookies(self) -> list[bytes]: ...

@final
class Platform:
    """A sleeper's device: clock, frames and renderer, all in Rust threads shared by the platforms of a process.

    ``clock_offset_ns`` and ``clock_drift_ppb`` make its clock deliberately wrong, and ``card_drift_ppb`` the sound card
    that a recording plays, against that clock; for simulations and tests. Its bounds rest on the largest drift
    (``max_drift_ppb``) and wander (``max_wander``, 1/s) of its clock against the sanctuary's.
    """

    def __new__(
        cls,
        *,
        sample_rate: int = 48000,
        clock_offset_ns: int = 0,
        clock_drift_ppb: int = 0,
        card_drift_ppb: int = 0,
        seed: int | None = None,
        max_drift_ppb: int = 500_000,
        max_wander: float = 1e-7,
    ) -> Platform: ...
    def connect(self, host: str, port: int, session_id: int, secret: bytes, time_keys: TimeKeys | None = None) -> None:
        """Opens or re-opens the data plane. The clock estimate survives a reconnection to the same node clock.

        With ``time_keys`` only answers that the sanctuary itself made move the clock; without, anybody's on the path.
        The open session may be given again; it goes on. Raises RuntimeError on a former session, whose nonces would
        repeat, on keys that cannot be used, and once closed.
        """
    def silence(self) -> dict[str, Any] | None:
        """Requests for the time that wait for an answer: server (HOST:PORT), since_raw_ns, requests, forged (answers
        that came and were not the sanctuary's own), keys_refused; None when the last one was answered.
        """
    def suspends(self) -> tuple[int, int, int]:
        """How often this machine was suspended meanwhile, for how long in all (ns), and when on CLOCK_MONOTONIC_RAW
        (ns) the last time was noticed. Afterwards the clock begins anew, and the sound fades out and in.
        """
    def simulate_suspend(self, seconds: float) -> None:
        """For simulations and tests: the machine says that it was suspended for so long, by and by."""
    def clock(self) -> ClockReading: ...
    def exchanges(self, after: int) -> list[ClockExchange]:
        """Those of the last 512 exchanges whose number is beyond ``after``, oldest first."""
    def assumptions(self) -> tuple[int, float]:
        """The largest drift (ppb) and wander (1/s) of the clocks, on which every bound rests."""
    def set_output_latency(self, ms: float) -> None:
        """How long after the sound card has played a sample it is heard, 0 to 2000. What sounds glides there."""
    def played(self, frames: int, raw_ns: int) -> None:
        """The sound card had played ``frames`` of what ``render`` gave when CLOCK_MONOTONIC_RAW read ``raw_ns``.

        Say so in each of its callbacks, and the phase is kept at its converter however wrong its crystal is. A time
        that is late, as callbacks are, does no harm; an early one does.
        """
    def converter(self) -> dict[str, int] | None:
        """The sound card's clock: rate_ppb against the platform's, uncertainty_ns, pairs, gaps; None before any."""
    def set_score(self, score: Score, epoch_ns: int, stems: Mapping[str, Stem] | None = None) -> None:
        """From node time ``epoch_ns`` on. ``stems`` as in Renderer."""
    def clear_score(self) -> None:
        """Silence until the next set_score."""
    def set_rhythm(self, rhythm: Rhythm) -> None: ...
    def set_offset(self, turns: float) -> int:
        """Glides there by the shortest way from the next block on. Returns 2**-64 turn. Raises RhythmError."""
    def set_voice(self, voice: Sequence[complex]) -> None:
        """The sleeper's own voice as they hear it themself."""
    def set_levels(self, *, hearing: float, own: float) -> None: ...
    def set_ceiling(self, dbfs: float) -> None:
        """No sample is louder than this, at most -1. A lower ceiling holds within 8 ms, a higher one at 3 dB/s."""
    def set_loudspeaker(self, loudspeaker: bool) -> None:
        """From the next set_score on, beats between the ears are pulses: a loudspeaker reaches both ears alike."""
    def phase(self) -> int:
        """θ + φ now, 2**-64 turn."""
    @property
    def offset(self) -> int: ...
    def withdraw(self, event_id: bytes, purposes: int) -> None:
        """Opts out at once: all (0) closes this platform's own gate in the next block, hearing silences the others.

        Sends the sealed withdrawal and repeats it until acknowledged, network or not.
        """
    def acknowledged(self, event_id: bytes) -> bool:
        """Whether the sanctuary said that this withdrawal is on disk."""
    def set_acknowledged(self, event_id: bytes) -> None:
        """Another channel (the RPC) says that this withdrawal is on disk: stop repeating it."""
    def open_gate(self) -> None:
        """Fades back in. Only a person's own new grant may lead here."""
    def close_gate(self) -> None:
        """Silent from the next block on, without telling anybody: for a withdrawal made elsewhere."""
    @property
    def gate_open(self) -> bool:
        """The person's own gate. Nothing is played in a silent room, either."""
    def set_hush(self, *, silent: bool, alarm: bool, epoch: int | None) -> None:
        """What is said over gRPC of whether the room is silent; heard from the next block on.

        Frames of gate epoch ``epoch`` and higher ones say so, or something newer, and then count; None: they say
        nothing.
        """
    def hush(self) -> tuple[bool, bool, bool]:
        """Whether the room is silent; whether it is an alarm; whether that is what ``set_hush`` said last."""
    def level_dbfs(self) -> float: ...
    def sound(self) -> dict[str, Any]:
        """What is played now: momentary_lufs (ITU-R BS.1770, 400 ms), peak_dbfs, gain_db of the limiter, ceiling_dbfs;
        dropped (coefficients and samples that were no numbers, made silence), resets of the cursor, faded.
        """
    def light(self, brightest: float) -> float:
        """The relative luminance that a lamp is to show now, 0 to ``brightest`` (at most 1): it glows at this sleeper's
        beat, is dark in silence, and flashes fewer than three times a second whatever happens (WCAG 2.3.1). In an
        alarm it is ``brightest``.
        """
    def fade_out(self) -> None:
        """Goes out softly, in five seconds; ``sound()["faded"]`` says when. Not to be undone: for the end."""
    def play(self, device: str, buffer_ms: float = 40.0) -> None:
        """Plays through an ALSA device, in a thread of its own, until stop_playing.

        An opt-out is heard behind the buffer (10 to 500 ms). Raises IoError if there is no ALSA or the device cannot be
        opened, ValueError, RuntimeError while recording or playing. A device that is lost later is opened again.
        """
    def device(self) -> dict[str, Any] | None:
        """How it plays: name, buffer_frames, frames, glitches (the sum of underruns, late, resets and lost), keeps_time
        (ALSA's null and file do not), realtime (priority granted), trouble (why nothing is played); None without one.
        """
    def stop_playing(self) -> dict[str, Any]:
        """Ends it with a ramp; returns what ``device`` said last. Raises RuntimeError if nothing is played."""
    def frames(self) -> dict[str, int]:
        """Counters: received, cut, stale, replayed, unauthentic, gate_epoch, age_ms (-1 before the first)."""
    def others(self) -> list[complex]:
        """The newest frame's coefficients: what others contribute, one a channel."""
    def render(self, frames: int) -> NDArray[np.float32]:
        """The next ``frames`` × 2 samples, continuing where the last call ended; the first call starts now.

        Raises ValueError on more than 2**27 frames, and RuntimeError while recording.
        """
    def next_sample(self) -> tuple[int, int] | None:
        """When the next sample to be rendered is heard: platform_ns, node_ns. None before the first."""
    def record(self, path: str) -> None:
        """Renders in real time, in a thread of its own, into a WAV file, until stop_recording.

        It also ends when the disk refuses or the file holds 4 GiB (six hours at 48 kHz); stop_recording raises then.
        """
    def stop_recording(self) -> int:
        """Closes the file; returns the frames written. Raises what ended the recording before, if anything did."""
    def close(self) -> None: ...

def sound_devices() -> list[tuple[str, str]]:
    """The sound devices that play, by name and description. Raises IoError where ALSA is not installed."""

def play_samples(device: str, sample_rate: int, samples: NDArray[np.float32]) -> None:
    """Plays frames × 2 samples to their end, for calibration; they are clipped at -1 dBFS. Raises IoError."""

@final
class RhythmBench:
    """A population of coupled rhythms, all coupled by half, from 4 to 5 Hz, that is stepped to see what it costs."""

    def __new__(cls, sleepers: int) -> RhythmBench:
        """Raises ValueError unless 1 ≤ sleepers ≤ 100000000."""
    def run(self, seconds: float) -> tuple[int, float, float]:
        """Steps for about ``seconds`` of this thread's CPU time, at least once.

        Returns the evaluations (means of all, times sleepers: a step of Runge-Kutta counts four), the CPU time in
        seconds, and R at the end. Raises ValueError unless 0 ≤ seconds ≤ 600.
        """

@final
class MixBench:
    """Sleepers of one circle, 32 binaural channels each at 48 kHz, that are rendered to see what it costs.

    Carriers glide; each sleeper has a gliding rhythm, an offset and coefficients of their own; the limiter is in the
    path.
    """

    def __new__(cls, sleepers: int) -> MixBench:
        """Raises ValueError unless 1 ≤ sleepers ≤ 100000."""
    def run(self, seconds: float, *, gliding: bool = False) -> tuple[int, float]:
        """Renders blocks of 512 samples for about ``seconds`` of this thread's CPU time, at least one for everybody.

        ``gliding``: every coefficient is on its way all the time. Returns sine-samples and the CPU time in seconds.
        Raises ValueError unless 0 ≤ seconds ≤ 600.
        """

def bench_mix_kernel(seconds: float) -> tuple[int, float]:
    """Sine-samples of the kernel alone, 64 sines over runs of 256 samples, and this thread's CPU time in seconds.

    Raises ValueError unless 0 ≤ seconds ≤ 600.
    """

def bench_mix_peak(seconds: float) -> tuple[int, float]:
    """Multiplications with an addition in registers, all that the core can do, and this thread's CPU time in seconds.

    Raises ValueError unless 0 ≤ seconds ≤ 600.
    """

def bench_ticks(sleepers: int, channels: int, seconds: float) -> dict[str, float]:
    """Measures ``seconds`` of CPU time of a mixer's ticks: all mixes of a circle, ready to be sealed, after 64 changes.

    ``ticks``; ``p50_ms``, ``p99_ms``, ``p999_ms``, ``max_ms`` of the thread's CPU time, ``elapsed_p50_ms`` and so on
    from beginning to end; each rounded up by at most an eighth. Raises ValueError on what cannot be measured.
    """

@final
class TimerBench:
    """A thread that sleeps to deadlines a millisecond apart, from now on."""

    def __new__(cls) -> TimerBench: ...
    def stop(self) -> dict[str, float]:
        """Ends it: ``deadlines``, and ``p50_ms``, ``p99_ms``, ``p999_ms``, ``max_ms`` of how late it woke. Once."""

def bench_session(port: int, sleeper: int) -> tuple[int, bytes]:
    """Id and secret with which `bench_crowd` seals for a sleeper of the node at ``port``. Good for nothing else."""

def bench_crowd(port: int, circles: int, sleepers: int, optouts: int, per_s: float) -> dict[str, float]:
    """Plays the platforms of the node at ``port`` of this machine: ``circles`` circles of ``sleepers`` each, from 1 up.

    Withdraws ``optouts`` times, ``per_s`` times a second in the mean, and returns how many ``optouts`` every listener
    was told of and how many were ``lost``, ``frames`` that were followed, and in ``first_p50_ms`` and so on the time
    from sending a withdrawal until the kernel had the first listener's frame without the voice, in ``last_…`` the last
    listener's. Raises ValueError on an impossible crowd, IoError if the node does not serve it.
    """

def bench_hub(platforms: int, seconds: float) -> dict[str, float]:
    """Measures for ``seconds`` what so many platforms cost in one process, on a node of its own on loopback.

    ``us_per_platform_s``: CPU time of the thread that serves them all, for one platform in one second; with
    ``platforms``, how many of them are ``locked``, and the ``exchanges`` and ``frames`` meanwhile. Raises ValueError
    unless 1 ≤ platforms ≤ 20000 and 0 ≤ seconds ≤ 600, IoError.
    """

def bench_clock(seconds: float) -> dict[str, float]:
    """Measures for about ``seconds`` what answers cost, on a node of its own on loopback, beside a bare echo.

    For ``echo`` (of 48 bytes), ``echo_long`` (of a request under NTS), ``plain`` (NTP), ``circle`` (with the circle's
    field), ``nts`` (AEAD_AES_SIV_CMAC_256) and ``nts_gcm_siv``: ``…_answers``, ``…_per_cpu_s`` (answers a second of the
    answering thread's CPU time) and, but for ``echo``, ``…_ratio`` to that of ``echo``. Raises ValueError unless
    0 ≤ seconds ≤ 600, IoError.
    """
