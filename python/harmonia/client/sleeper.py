"""A sleeper in a circle: joins, follows the night through every restart of the sanctuary, and obeys their person first.

What the person wants happens on their own platform before anybody is told: an opt-out mutes, an offset glides, and only
then the sanctuary hears of it, again and again until it has answered.
"""

import math
import os
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from harmonia import _core, errors
from harmonia.client import calls, outbox, stems
from harmonia.client.calibration import Calibration
from harmonia.client.following import Following, Pursuit
from harmonia.client.identity import Identity, UntoldHelp, purpose_bits, write_secret
from harmonia.client.invitation import Invitation
from harmonia.client.names import CircleState, LockState, Purpose
from harmonia.client.phase import PhaseTracker
from harmonia.client.platform import Platform, parse_score
from harmonia.client.rooms import HelpCall, Silence
from harmonia.client.sound import SILENCE, Output, Sound
from harmonia.client.ticket import Ticket
from harmonia.client.tunnel import HOST as TUNNEL_HOST
from harmonia.client.tunnel import Tunnel
from harmonia.client.udp import UdpLoss, gets_through, loss_of
from harmonia.client.views import (
    TURN,
    Apart,
    Circle,
    CircleView,
    Listener,
    Offer,
    Place,
    PlatformState,
    PurposeConsent,
    turns,
)
from harmonia.client.vigil import Reading, Vigil
from harmonia.domain.advance import AdvanceWish, StandingWish
from harmonia.domain.edges import STAYING as STAYING_ON
from harmonia.domain.help import call_id

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


_POLL_S = 0.05
_EASE_S = 0.25
"""Between two steps of a mix that fades; the core glides between them."""
_FADE_MAX_S = 8.0
"""Fading out takes five seconds; whoever plays nothing is waited for no longer than this."""
_LOOK_S = 0.5
"""Between two looks at a living signal."""
_LEAD_RAMP_S = 2.0
_HOME_S = 2.0
"""How long a step of it, and the way back at the end, may be waited for."""
FOLLOWING = (Purpose.BIOSIGNAL, Purpose.PULL)
_LAST_WORD_S = 3.0
"""How long, at the end, what was withdrawn may take to be told; then the state file keeps it."""
_VIGIL_S = 0.1
"""Between two looks for advance wishes."""
_SENSED_S = 60.0
"""What a sensor said of waking is true for so long."""
_AWAKE = (CircleState.WAKING, CircleState.DIALOGUE, CircleState.CLOSED)
_RENEW_S = 60.0
"""Between two renewals of keys: whoever forges refusals on the way must not keep everybody busy."""
_WAY_S = 1.0
"""Between two looks at how the datagrams fare."""
_PROBE_EVERY_S = 60.0
"""Between two looks whether UDP gets through again."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Where a sleeper stands, at one instant of their platform's clock."""

    lock_state: LockState
    platform_ns: int
    raw_ns: int
    """CLOCK_MONOTONIC_RAW of this machine, for reports that compare with the truth."""
    node_ns: int
    bound_ns: int
    """The true node time is no further than this from ``node_ns``, whatever the network's asymmetry."""
    uncertainty_ns: int
    rate_ppb: int
    phase_turns: float
    """θ + φ, 0 to 1."""
    offset_turns: float
    """φ, -0.5 to 0.5."""
    level_dbfs: float
    muted: bool
    """The person has opted out of everything that sounds here."""
    suspends: int = 0
    """How often this machine was suspended since the platform began."""
    room_silent: bool = False
    """Somebody has silenced the whole room."""
    sound: Sound = SILENCE


class Sleeper:
    """One sleeper. Use `join` or `resume`, which give a running one. For one trio task tree, not for threads."""

    def __init__(
        self, identity: Identity, core: _core.Platform, *, recording: bool = False, udp_only: bool = False
    ) -> None:
        self.identity = identity
        self.platform = Platform(core)
        self.trouble: str = ""
        """Why the sanctuary cannot be reached, or what it refused last; empty while all is well."""
        self.connected = False
        self.away = False
        """Has left for a while."""
        self.following: Following | None = None
        """How this sleeper's rhythm stands to their living signal; None while `follow` is not running."""
        self.calibration = Calibration()
        """What decibels mean at this bed: for advance wishes in dB SPL."""
        self._awake: tuple[float, bool] | None = None
        self._breath: PhaseTracker | None = None
        self._nursery: trio.Nursery | None = None
        self._unsaved = False
        self._over = False
        self._recording = recording
        self._udp_only = udp_only
        self._blocked: UdpLoss | None = None
        """Why datagrams go through gRPC; None while they need not."""
        self._udp_port = 0
        self._tunnel: Tunnel | None = None
        self._calls = calls.SleeperCalls(identity)
        self._settings: outbox.Outbox[None] = outbox.Outbox()
        self._withdrawals: outbox.Outbox[int] = outbox.Outbox(stubborn=True)
        self._help: outbox.Outbox[HelpCall | None] = outbox.Outbox(stubborn=True)
        self._withdrawals_made = 0
        """How many withdrawals this platform has heard of, here or from the sanctuary."""
        self._known_noes = {""}
        """Their ids."""
        self._untold_apart: dict[str, tuple[bool | None, bool | None]] = {}
        self._state: PlatformState | None = None
        self._saving = trio.Lock()
        self._session = trio.CancelScope()
        self._changed = trio.Event()
        self._ended = trio.Event()
        self._end_error: errors.HarmoniaError | None = None

    # What the night is

    @property
    def sleeper_id(self) -> str:
        """The pseudonym under which the circle knows this sleeper."""
        return self.identity.sleeper_id

    @property
    def circle(self) -> Circle:
        """The circle as the sanctuary last described it."""
        return self._known.circle

    @property
    def consents(self) -> dict[Purpose, PurposeConsent]:
        """Where every purpose stands, as the sanctuary last recorded it."""
        return self._known.consents

    @property
    def _known(self) -> PlatformState:
        if self._state is None:
            raise RuntimeError("use join() or resume(): this sleeper has not started")
        return self._state

    def now(self) -> Moment:
        """This instant."""
        core = self.platform.core
        # The phase is read between two readings of the clock and belongs to the middle of them.
        before = core.clock()
        phase_turns = turns(core.phase())
        clock = core.clock()
        return Moment(
            lock_state=LockState.read(clock.lock_state),
            platform_ns=(before.platform_ns + clock.platform_ns) // 2,
            raw_ns=(before.raw_ns + clock.raw_ns) // 2,
            node_ns=(before.node_ns + clock.node_ns) // 2,
            bound_ns=max(clock.latest_ns - clock.node_ns, clock.node_ns - clock.earliest_ns),
            uncertainty_ns=clock.uncertainty_ns,
            rate_ppb=clock.rate_ppb,
            phase_turns=phase_turns,
            offset_turns=turns(core.offset),
            level_dbfs=core.level_dbfs(),
            muted=self.platform.silent,
            suspends=core.suspends()[0],
            room_silent=core.hush()[0],
            sound=Sound.of(core),
        )

    @property
    def phase_turns(self) -> float:
        """θ + φ now: where in the rhythm's cycle this sleeper's beat is, 0 to 1."""
        return turns(self.platform.core.phase())

    @property
    def bound_ns(self) -> int:
        """How far the sanctuary's time can be from this platform's idea of it, at most."""
        return self.now().bound_ns

    @property
    def udp_loss(self) -> UdpLoss | None:
        """Since when the sanctuary does not answer by UDP, and what to do; None while it does, or answers by gRPC."""
        if self._blocked is not None and not self.tunnelled:
            return self._blocked
        return loss_of(self.platform.core)

    @property
    def tunnelled(self) -> bool:
        """Whether UDP is blocked, so that datagrams go through gRPC: all is as ever, but for a wider bound."""
        return self._tunnel is not None and self._tunnel.answered

    async def locked(self) -> None:
        """Waits until the platform's clock follows the sanctuary's by slewing alone."""
        while self.platform.core.clock().lock_state != LockState.LOCKED:  # noqa: ASYNC110 (a Rust thread locks it)
            await trio.sleep(_POLL_S)

    async def changed(self) -> None:
        """Waits until the sanctuary reports a change: of the circle, the consents, the settings."""
        await self._changed.wait()

    def watch(self, interval_s: float = 0.0) -> AbstractAsyncContextManager[AsyncIterator[CircleView]]:
        """What this sleeper may see of the circle, at least every ``interval_s`` seconds (0: one); the newest wins."""
        return self._calls.watch_circle(interval_s)

    async def ended(self) -> None:
        """Waits until the circle has closed. Raises NotPermitted or NotFound if the credential ended before."""
        await self._ended.wait()
        if self._end_error is not None:
            raise self._end_error

    # Sound

    def render(self, frames: int) -> "NDArray[np.float32]":
        """The next ``frames`` × 2 samples; the first call starts now. Call it as your sound card asks for more."""
        return self.platform.core.render(frames)

    def record(self, path: Path) -> None:
        """Renders in real time into a WAV file until `stop_recording`. Needs ``recording=True``."""
        if not self._recording:
            raise errors.NotPermitted("this platform did not say that it records; join with recording=True")
        try:
            self.platform.core.record(str(path))
        except OSError as error:
            raise errors.StorageError(f"cannot record into {path}: {error}") from None

    def play_unheard(self) -> None:
        """Renders in real time to nobody: a platform without a loudspeaker still glides, fades and has a level.

        End it with `stop_recording`.
        """
        self.platform.core.record(os.devnull)

    def stop_recording(self) -> int:
        """Closes the file; returns the frames written. Raises StorageError if they are not all on disk."""
        try:
            return self.platform.core.stop_recording()
        except OSError as error:
            raise errors.StorageError(f"the recording is incomplete: {error}") from None

    def play(self, device: str = "default", buffer_ms: float = 40.0) -> None:
        """Plays through an ALSA device until `stop_playing`. An opt-out is heard behind ``buffer_ms`` (10 to 500).

        Raises NotFound without ALSA or such a device, BadInput. A device that is lost later is opened again.
        """
        try:
            self.platform.core.play(device, buffer_ms)
        except _core.IoError as error:
            raise errors.NotFound(str(error)) from None
        except ValueError as error:
            raise errors.BadInput(str(error)) from None

    @property
    def output(self) -> Output | None:
        """How the sound device plays; None without one."""
        told = self.platform.core.device()
        return None if told is None else Output(**told)

    def stop_playing(self) -> Output:
        """Ends `play`, with a ramp of milliseconds; `fade_out` first where somebody sleeps."""
        return Output(**self.platform.core.stop_playing())

    async def fade_out(self) -> None:
        """Goes out softly, for the end: whatever stops abruptly wakes a sleeper. Back when nothing is heard any more.

        An opt-out meanwhile silences as quickly as ever.
        """
        core = self.platform.core
        core.fade_out()
        with trio.move_on_after(_FADE_MAX_S):
            while not (core.sound()["faded"] or core.hush()[0] or self.platform.silent):  # noqa: ASYNC110 (a Rust thread fades)
                await trio.sleep(_POLL_S)

    def set_ceiling(self, dbfs: float) -> None:
        """Nothing here is louder than ``dbfs`` (at most -1), whatever anybody sings. Raises BadInput.

        It is this platform's own and told to nobody, and `resume` finds it again in the state file. A lower one holds
        within 8 ms, a higher one comes at 3 dB/s.
        """
        try:
            self.platform.core.set_ceiling(dbfs)
        except ValueError as error:
            raise errors.BadInput(str(error)) from None
        self.identity.ceiling_dbfs = dbfs
        self._save_soon()

    def light(self, brightest: float = 1.0) -> float:
        """The relative luminance for a lamp to show now, 0 to ``brightest`` (at most 1). Ask as often as it can change.

        It glows at this sleeper's beat and is dark in silence. Whatever happens it flashes fewer than three times a
        second (WCAG 2.3.1), so what is faster than a breath is paler. In an alarm it is ``brightest``, and steady.
        """
        return self.platform.core.light(brightest)

    # What the person wants. Each first takes effect here; awaiting it waits until the sanctuary has recorded it, and
    # whoever stops waiting does not stop the telling.

    async def set_offset(self, offset_turns: float) -> None:
        """Moves this sleeper's beat by ``offset_turns`` against the rhythm. Raises BadInput unless it is finite."""
        bits = self.platform.change_offset(offset_turns)

        async def tell() -> None:
            await self._calls.set_offset(offset_turns)
            self.platform.offset_told(bits)

        await self._settings.post("offset", tell).answer()

    async def set_own_rhythm(self, frequency_hz: float | None, ramp_s: float = 0.0) -> None:
        """Leads this sleeper's own rhythm to ``frequency_hz`` (-50 to 50), or (None) back to the circle's.

        Takes ``ramp_s`` seconds (0: ten); the phase never jumps. Raises BadInput, and NotNow before there is a rhythm.
        """
        await self._calls.set_own_rhythm(frequency_hz, ramp_s)

    async def set_coupling(self, coupling: float, weight: float = 1.0) -> None:
        """Lets the circle pull this sleeper, 0 (not at all, the default) to 1. ``weight``: what they count in its mean.

        Neither is more than the purpose `pull` allows; 0 ends it in the very next step. Raises BadInput.
        """
        await self._calls.set_coupling(coupling, weight)

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """Who listens in to this sleeper's mix, with their `monitoring`; withdrawing it ends that at once."""
        return self._known.listeners

    async def listen_in(
        self, sleeper_id: str, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Plays here what another sleeper of the circle hears, until it is cancelled; that one is told before.

        Takes their `monitoring`, and their `recording` if this platform records. Have no voice and no level of your own
        (`set_levels`): what is heard is theirs. Raises NotPermitted where they do not allow it, or no longer, NotFound,
        and NotNow while their platform is not connected.
        """
        try:
            async with self._calls.listen_in(sleeper_id) as answers:
                async for hearing, offset_bits in answers:
                    self.platform.core.set_offset(offset_bits / TURN)
                    if hearing:
                        task_status.started()
                        task_status = trio.TASK_STATUS_IGNORED
        finally:
            self.platform.core.set_offset(self._known.offset_bits / TURN)
        raise errors.Unreachable(f"the sanctuary ended the stream by which {sleeper_id} was heard")

    @property
    def silence(self) -> Silence | None:
        """Somebody has silenced the room, with a message or an alarm; None while it sounds.

        Where nothing but mix frames say so, nobody knows by whom, since when and with which message: these are empty.
        """
        silent, alarm, told = self.platform.core.hush()
        if not silent:
            return None
        return self._known.silence if told else Silence(silence_id="", message="", alarm=alarm, by="", since_ns=0)

    @property
    def calls(self) -> tuple[HelpCall, ...]:
        """This sleeper's calls for help: those that wait, with who is coming, and those of the last hour."""
        return self._known.calls

    async def call_for_help(self, message: str = "") -> HelpCall:
        """Calls whoever is awake, with the place and ``message`` (up to 200 characters), whatever is granted.

        It is written into the state file, then repeated until the sanctuary has it on disk, by the next run of this
        sleeper too; then this returns. `calls` says who is coming. Raises BadInput, NotNow if it is taken back before,
        and StorageError if the sanctuary's disk refuses: the call is shown there, and the telling goes on.
        """
        event_id = os.urandom(16)
        self.identity.helps[event_id] = UntoldHelp(message)
        made = await self._tell_help(event_id).answer()
        if made is None:
            raise errors.NotNow("this call was taken back before the sanctuary heard of it")
        return made

    @property
    def untold_calls(self) -> tuple[UntoldHelp, ...]:
        """Calls for help, and what was taken back of them, that the sanctuary has not acknowledged yet."""
        return tuple(self.identity.helps.values())

    async def take_back_help(self, help_id: str = "") -> None:
        """Takes one of this sleeper's calls for help back, or all that wait; returns once the sanctuary knows.

        One that is resolved stays as it is. Raises NotFound.
        """
        untold = {call_id(self.sleeper_id, event_id): event_id for event_id in self.identity.helps}
        meant = [help_id] if help_id else [*untold, *(one.help_id for one in self.calls if one.waiting)]
        receipts = []
        for name in dict.fromkeys(meant):
            if (event_id := untold.get(name)) is not None:
                self.identity.helps[event_id] = self.identity.helps[event_id]._replace(taken_back=True)
                receipts.append(self._tell_help(event_id))
            else:
                receipts.append(self._help.post(name, partial(self._calls.take_back_help, name)))
        for receipt in receipts:
            await receipt.answer()

    def _tell_help(self, event_id: bytes) -> outbox.Receipt[HelpCall | None]:
        written = False

        async def tell() -> HelpCall | None:
            nonlocal written
            untold, made = self.identity.helps.get(event_id), None
            if untold is None:
                return None  # taken back twice
            if not written:  # it outlives this process before anybody is told
                await self._save()
                written = True
            try:
                if untold.taken_back:
                    with suppress(errors.NotFound):  # the call itself was never heard
                        made = await self._calls.take_back_help(call_id(self.sleeper_id, event_id))
                else:
                    made = await self._calls.call_for_help(event_id, untold.message)
            except (errors.NotPermitted, errors.NotFound, errors.BadInput):
                await self._help_told(event_id, untold)  # refused for good
                raise
            await self._help_told(event_id, untold)
            return made

        return self._help.post(event_id.hex(), tell)

    async def _help_told(self, event_id: bytes, told: UntoldHelp) -> None:
        if self.identity.helps[event_id] == told:  # else it was taken back meanwhile, which is still to be told
            del self.identity.helps[event_id]
        await self._save()

    async def follow(self, tracker: PhaseTracker) -> None:
        """Lets this sleeper's own rhythm follow a living signal, until it is cancelled: their breath becomes their ω.

        Only a frequency leaves the platform, and only while both biosignal and pull are granted. Once one of them is
        withdrawn, or at the end, the rhythm goes back to the one that was set, without a jump; which one that is, the
        sanctuary knows. One that is set by hand at last stays. An uncertain signal changes nothing.
        """
        pursuit, core = Pursuit(tracker.band_hz), self.platform.core
        self._breath = tracker
        asked = False
        try:
            while True:
                clock = core.clock()
                estimate, now_s = tracker.at(clock.platform_ns), clock.platform_ns / 1e9
                missing = tuple(purpose.word for purpose in FOLLOWING if not self._stands(purpose))
                self.following = Following(estimate, missing, pursuit.said_hz)
                if missing:
                    # The sanctuary has left the signal itself; the way home to the circle's phase is for us to ask.
                    if asked and await self._lead_wholly(None):
                        pursuit.forget()
                        asked = False
                else:
                    pursuit.see(estimate, now_s)
                    wish = pursuit.wish(estimate, self._own_turns(clock.node_ns), now_s)
                    if wish is not None:
                        asked = True  # whether or not the answer comes before the end
                        if await self._lead_wholly(wish):
                            pursuit.said(wish, now_s)
                await trio.sleep(_LOOK_S)
        finally:
            self.following = self._breath = None
            if asked and not self._ended.is_set():
                await self._lead_wholly(None)

    def _stands(self, purpose: Purpose) -> bool:
        """Whether it is granted, and no withdrawal of it is under way: a report from before one lets nothing leave."""
        under_way = any(not purposes or purpose in purposes for purposes in self.identity.withdrawals.values())
        return self.consents[purpose].granted and not under_way

    async def _lead_wholly(self, frequency_hz: float | None) -> bool:
        """As `_lead`, also where whoever follows is cancelled: a call cut off half-way could overtake the way home."""
        with trio.move_on_after(_HOME_S, shield=True):
            return await self._lead(frequency_hz)
        return False

    async def _lead(self, frequency_hz: float | None) -> bool:
        """Leads the own rhythm to a signal's frequency, or (None) back; where that cannot be now, says why: False."""
        try:
            await self._calls.set_own_rhythm(frequency_hz, _LEAD_RAMP_S, from_biosignal=True)
        except errors.NotNow:
            return False  # there is no rhythm yet
        except errors.HarmoniaError as error:
            self.trouble = str(error)
            return False
        self.trouble = ""
        return True

    def _own_turns(self, node_ns: int) -> float:
        """Where this sleeper's own timeline is, without what others pull and without the offset."""
        rhythm = self._known.own_rhythm or self.circle.rhythm
        return 0.0 if rhythm is None else _core.Rhythm(rhythm.segments).turns_at(node_ns)

    @property
    def offered_offset_turns(self) -> float | None:
        """The phase offset that the host offers this sleeper; None without an offer. `set_offset` takes it."""
        bits = self._known.offered_offset_bits
        return None if bits is None else turns(bits)

    async def set_voice(self, voice: Sequence[complex]) -> None:
        """Sounds with ``voice``: one coefficient a channel, magnitudes up to 4. Raises BadInput."""
        if any(not (math.isfinite(abs(c)) and abs(c) <= 4) for c in voice):
            raise errors.BadInput("a voice's coefficients must be finite and at most 4 in magnitude")
        self.platform.change_voice(voice)

        async def tell() -> None:
            await self._calls.set_voice(voice)
            self.platform.voice_told(voice)

        await self._settings.post("voice", tell).answer()

    async def set_levels(self, *, hearing: float, own: float) -> None:
        """Sets how loud this sleeper hears the others (0 to 4) and themself (0 to 1). Raises BadInput."""
        self.platform.change_levels(hearing=hearing, own=own)

        async def tell() -> None:
            await self._calls.set_hearing(hearing=hearing, own=own)
            self.platform.levels_told(hearing, own)

        await self._settings.post("levels", tell).answer()

    @property
    def apart(self) -> tuple[Apart, ...]:
        """From whom this sleeper keeps apart, as the sanctuary last recorded it."""
        return self._known.apart

    async def keep_apart(self, other_id: str, *, unheard: bool | None = True, unhearing: bool | None = True) -> None:
        """Does not hear another sleeper any more (``unheard``), nor is heard by them (``unhearing``).

        False takes either back, None leaves it as it is. The other need not be here, and nobody is told. Silent in the
        sanctuary's next frame; here again once it is on disk. Raises BadInput, and StorageError if the sanctuary's disk
        refuses: what was silenced stays silent all the same.
        """

        untold = self._untold_apart.get(other_id, (None, None))
        wanted = (untold[0] if unheard is None else unheard, untold[1] if unhearing is None else unhearing)
        self._untold_apart[other_id] = wanted

        async def tell() -> None:
            try:
                wishes = await self._calls.keep_apart(other_id, unheard=wanted[0], unhearing=wanted[1])
            except errors.Unreachable:
                raise  # told again
            except errors.HarmoniaError:
                settled()  # refused, and not to be told again with the next one
                raise
            self._state = replace(self._known, apart=wishes)
            settled()

        def settled() -> None:
            if self._untold_apart.get(other_id) == wanted:
                del self._untold_apart[other_id]

        await self._settings.post(f"apart {other_id}", tell).answer()

    async def grant(
        self, *purposes: Purpose, scope: str = "", level: float | None = None, for_s: float | None = None
    ) -> None:
        """Allows ``purposes``. Raises BadInput if a withdrawal stands that this sleeper had not heard of: look again.

        ``scope``: to whom, a sleeper's id for `monitoring` and `visibility`; empty: the circle. ``level``: how far, 0
        to 1. ``for_s``: for so many seconds; None: with the circle. Without any of these, what is allowed already stays
        as it is. Granting presence, hearing or voice ends the silence after an opt-out of everything. Whatever is
        withdrawn while this runs stays withdrawn: it stops there, with StaleGrant.
        """
        withdrawals = self._withdrawals_made
        # An earlier no comes first: a yes can only answer a no that is recorded.
        await self._withdrawals.told()
        until_ns = None if for_s is None else await self._calls.node_time_ns() + round(for_s * 1e9)
        plain = not scope and level is None and until_ns is None
        # Read once: a yes answers the noes from before it, and none that came while it was told.
        seen = await self._calls.consents()
        self._known_noes.update(one.withdrawal_id for one in seen.values())
        for purpose in purposes:
            self._check_no_newer(withdrawals)
            standing = seen[purpose]
            if not (plain and standing.granted):
                standing = await self._calls.grant(
                    purpose, supersedes=standing.withdrawal_id, scope=scope, level=level, until_ns=until_ns
                )
                self._check_no_newer(withdrawals)
            self._state = replace(self._known, consents={**self.consents, purpose: standing})
            self.platform.granted(purpose)

    def _check_no_newer(self, withdrawals: int) -> None:
        """Raises StaleGrant if something was withdrawn since ``withdrawals`` were."""
        if self._withdrawals_made != withdrawals:
            raise errors.StaleGrant("something was withdrawn meanwhile, so that this yes ends here: look again")

    async def opt_out(self, *purposes: Purpose) -> int:
        """Withdraws ``purposes``, or everything: silent here in the next block, whatever the network does.

        Returns, once it is on the sanctuary's disk, the gate epoch from which no frame holds the voice. Raises
        StorageError if the sanctuary's disk refuses: the voice is muted all the same, and the telling goes on.
        """
        receipt = self._withdraw(os.urandom(16), purposes)
        await self._save()
        return await receipt.answer()

    def mute(self, *purposes: Purpose) -> None:
        """A gesture: `opt_out` that returns at once and goes on telling. For the callback of a button or a sensor.

        Call it in trio's thread; from another one by ``trio.from_thread.run_sync(sleeper.mute)``.
        """
        self._withdraw(os.urandom(16), purposes)
        self._save_soon()

    def _withdraw(self, event_id: bytes, purposes: tuple[Purpose, ...]) -> outbox.Receipt[int]:
        """Takes something back here, now; whoever calls has to save."""
        self.platform.withdraw(event_id, purposes, purpose_bits(purposes))
        self.identity.withdrawals[event_id] = purposes
        self._unsaved = True
        self._withdrawals_made += 1
        self._known_noes.add(event_id.hex())
        over = {
            purpose: replace(self.consents[purpose], granted=False, withdrawal_id=event_id.hex())
            for purpose in purposes or self.consents
        }
        self._state = replace(self._known, consents=self.consents | over)
        return self._tell_withdrawal(event_id, purposes)

    # Advance wishes

    @property
    def wishes(self) -> tuple[StandingWish, ...]:
        """What is to be taken back once this sleeper cannot press a button, oldest first."""
        return self.identity.wishes

    async def wish(self, wish: AdvanceWish) -> None:
        """Adds an advance wish: in force here and in the sanctuary when this returns. Raises BadInput."""
        self._keep_wishes(await self._calls.add_wish(wish))
        await self._save()

    async def unwish(self, wish_id: bytes) -> None:
        """Takes an advance wish back; what it has withdrawn stays so. Raises NotFound."""
        self._keep_wishes(await self._calls.remove_wish(wish_id))
        await self._save()

    def sense_awake(self, awake: bool) -> None:
        """What a sensor says of this sleeper, for wishes about waking; it holds for a minute."""
        self._awake = (trio.current_time(), awake)

    def watch_breath(self, tracker: PhaseTracker) -> None:
        """Lets wishes about the breath read it, whether or not the rhythm follows it. It goes nowhere."""
        self._breath = tracker

    def _keep_wishes(self, wishes: tuple[StandingWish, ...]) -> None:
        """As the sanctuary has them; what has acted here has acted."""
        acted = {one.wish.wish_id for one in self.identity.wishes if one.fired}
        self.identity.wishes = tuple(replace(one, fired=one.fired or one.wish.wish_id in acted) for one in wishes)

    async def _keep_vigil(self) -> None:
        """Acts on wishes here, network or not."""
        vigil = Vigil()
        while True:
            if not all(one.fired for one in self.wishes):
                state, t_s = self._known, trio.current_time()
                reading = self._reading(t_s)
                for one in vigil.look(t_s, reading, self.wishes, state.joined_ns, state.circle.epoch_ns):
                    self._act(one)
            await trio.sleep(_VIGIL_S)

    def _act(self, one: StandingWish) -> None:
        purposes = tuple(Purpose(purpose) for purpose in one.wish.purposes)
        whole = set(purposes) >= set(self.consents)
        self._withdraw(one.wish.event_id(self.sleeper_id), () if whole else purposes)
        self.identity.wishes = tuple(
            replace(each, fired=each.fired or each.wish.wish_id == one.wish.wish_id) for each in self.identity.wishes
        )
        self._save_soon()

    def _reading(self, t_s: float) -> Reading:
        core = self.platform.core
        clock, dbfs = core.clock(), core.level_dbfs()
        steady = LockState.read(clock.lock_state) in (LockState.LOCKED, LockState.HOLDOVER)
        fresh = self._awake is not None and t_s - self._awake[0] <= _SENSED_S
        breath = None if self._breath is None else self._breath.at(clock.platform_ns)
        return Reading(
            node_ns=clock.node_ns if steady else None,
            circle_awake=self.circle.state in _AWAKE or self._known.edges.awake,
            awake=self._awake[1] if self._awake is not None and fresh else None,
            level_dbfs=dbfs,
            level_spl_db=self.calibration.spl_db(dbfs),
            breath_hz=None if breath is None else breath.frequency_hz,
            breath_confidence=0.0 if breath is None else breath.confidence,
        )

    # Offers

    @property
    def open_offers(self) -> int:
        """How many offers lie open that this sleeper has not answered."""
        return self._known.open_offers

    async def offers(self) -> list[Offer]:
        """What lies open in the circle, with this sleeper's answers."""
        return await self._calls.offers()

    async def answer_offer(self, offer_id: str, *, accept: bool) -> Offer:
        """Accepts an offer, which sets what it says, or declines it, which sets nothing. Raises NotFound, BadInput.

        A yes answers the withdrawals that this sleeper knows of now: StaleGrant if there are newer ones; look again.
        """
        withdrawals, answered = self._withdrawals_made, {p: one.withdrawal_id for p, one in self.consents.items()}
        if accept:
            await self._withdrawals.told()
            self._check_no_newer(withdrawals)
        return await self._calls.answer_offer(offer_id, accept=accept, answered=answered)

    async def leave(self, *, come_back: bool = False) -> None:
        """Leaves for good: the voice is gone, the credential ends. With ``come_back``, for a while, until `resume`.

        Place, settings and what was allowed stay as they are then, but for the voice, which takes a new grant.
        """
        await self._calls.leave(come_back=come_back)
        self.away = come_back
        self._finish(None)

    @property
    def woken(self) -> bool:
        """Whether this sleeper has woken for themself, by `wake`."""
        return self._known.edges.awake

    async def wake(self, fade_s: float = 60.0) -> None:
        """Wakes softly: the own mix fades out within ``fade_s`` seconds (to an hour), and the voice for the others.

        `sleep_on` undoes it. An opt-out is for who wants silence at once.
        """
        if not 0 < fade_s <= 3600:
            raise errors.BadInput(f"waking takes up to 3600 s, not {fade_s:g} s")
        await self._calls.set_awake(True, fade_s)

    async def sleep_on(self) -> None:
        """Goes back to sleep after `wake`: both fade in again."""
        await self._calls.set_awake(False)

    async def set_schedule_offset(self, hours: float) -> None:
        """Wakes this sleeper so many hours later than the circle, -12 to 12; negative: earlier. Raises BadInput.

        Who wakes earlier fades out within their own wake window; who wakes later sleeps on with the score, alone.
        """
        if not (math.isfinite(hours) and abs(hours) <= 12):
            raise errors.BadInput(f"a schedule offset is a number of hours from -12 to 12, not {hours}")
        await self._calls.set_schedule_offset(hours)

    @property
    def schedule_offset_hours(self) -> float:
        """How much later than the circle this sleeper wakes."""
        return self._known.schedule_offset_ns / 3.6e12

    async def _ease(self) -> None:
        """Lets the night go, and come, as softly as its edges say."""
        while True:
            edges = self._known.edges
            self.platform.ease(1.0 if edges == STAYING_ON else edges.mix(self.platform.core.clock().node_ns))
            await trio.sleep(_EASE_S)

    async def _sleep_on_alone(self, states: AsyncIterator[PlatformState]) -> None:
        """The circle is over; returns when this sleeper's own night is. An alarm may still be lifted."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._hear_on, states)
            while (ahead_ns := self._own_night_ns()) > 0:  # noqa: ASYNC110 (a clock is steered, and nobody tells)
                await trio.sleep(min(ahead_ns / 1e9, 60.0))
            nursery.cancel_scope.cancel()

    async def _hear_on(self, states: AsyncIterator[PlatformState]) -> None:
        with suppress(errors.HarmoniaError):  # what nobody tells any more stays as it is
            async for state in states:
                self._hear(state, self.platform.follow)

    def _own_night_ns(self) -> int:
        """How long this sleeper's night goes on without the circle; 0 or less: it does not."""
        state = self._known
        if state.schedule_offset_ns <= 0 or state.edges.woken_ns is None or not state.circle.ran:
            return 0
        return state.edges.woken_ns - self.platform.core.clock().node_ns

    def _tell_withdrawal(self, event_id: bytes, purposes: tuple[Purpose, ...]) -> outbox.Receipt[int]:
        async def tell() -> int:
            gate_epoch = await self._calls.withdraw(event_id, purposes)
            self.platform.withdrawal_told(event_id)
            self.identity.withdrawals.pop(event_id, None)
            await self._save()
            return gate_epoch

        return self._withdrawals.post(event_id.hex(), tell)

    def _save_soon(self) -> None:
        """Writes the state file without waiting for it; at the latest when this sleeper ends, and after that here."""
        self._unsaved = True
        if self._nursery is not None:
            self._nursery.start_soon(self._save)
        elif self._over:
            try:
                self.identity.save()
            except errors.StorageError as error:
                self.trouble = str(error)

    async def _save(self) -> None:
        """Writes the state file. A disk that refuses keeps nobody from opting out; it is only said."""
        async with self._saving:
            self._unsaved = False
            if self.identity.path is None:
                return
            try:
                await trio.to_thread.run_sync(write_secret, self.identity.path, self.identity.text())
            except errors.StorageError as error:
                self.trouble = str(error)
            except trio.Cancelled:
                self._unsaved = True
                raise

    # Following the sanctuary

    async def _run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        for event_id, purposes in self.identity.withdrawals.items():
            # A no of the last run that nobody has acknowledged: it holds from the first sample of this one.
            self.platform.withdraw(event_id, purposes, purpose_bits(purposes))
            self._tell_withdrawal(event_id, purposes)
        for event_id in self.identity.helps:
            self._tell_help(event_id)
        if self.identity.ceiling_dbfs is not None:
            self.set_ceiling(self.identity.ceiling_dbfs)
        await self._attach()
        task_status.started()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep_vigil)
                nursery.start_soon(self._settings.run)
                nursery.start_soon(self._ease)
                nursery.start_soon(self._help.run)
                nursery.start_soon(self._mind_the_way)
                await self._follow()
                nursery.cancel_scope.cancel()
        finally:
            self._settings.abandon(self._why_over())
            self._help.abandon(self._why_over())

    def _why_over(self) -> errors.HarmoniaError:
        return self._end_error or errors.NotNow("the night is over; there is nothing to change any more")

    async def _tell_withdrawals(self) -> None:
        """Tells them for as long as this sleeper runs, and a little longer: an ended credential can still withdraw.

        What is not told even then stays in the state file.
        """
        try:
            async with trio.open_nursery() as self._nursery:
                await self._withdrawals.run()
        finally:
            self._nursery = None
            with trio.CancelScope(shield=True):
                with trio.move_on_after(_LAST_WORD_S):
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._withdrawals.run)
                        await self._withdrawals.told()
                        nursery.cancel_scope.cancel()
                while self._unsaved:
                    await self._save()
            self._withdrawals.abandon(self._why_over())
            self._over = True

    async def _attach(self) -> None:
        self.platform.ask()
        attachment = await self._calls.attach(recording=self._recording)
        self._close_tunnel()
        host, port = self.identity.endpoint.host, attachment.udp_port
        self._udp_port = port
        if self._blocked is not None:
            self._tunnel = Tunnel(self._calls.carry_datagrams)
            host, port = TUNNEL_HOST, self._tunnel.port
        try:
            given = attachment.time_keys
            keys = None
            if given is not None:
                keys = _core.TimeKeys(given.algorithm, given.c2s, given.s2c, given.cookies)
            self.platform.core.connect(host, port, attachment.session_id, attachment.secret, keys)
        except OSError as error:
            raise errors.Unreachable(f"no data plane to {host}:{port}: {error}") from None
        self._hear(attachment.state, self.platform.renew)
        self.connected, self.trouble = True, ""
        self._settings.nudge()
        self._withdrawals.nudge()
        self._help.nudge()

    async def _follow(self) -> None:
        """Follows the stream of states, and attaches again after every break, until the night is over."""
        waits_s = outbox.backoff_s()
        attached = True
        while not self._ended.is_set():
            try:
                if not attached:
                    await self._attach()
                attached = False
                with trio.CancelScope() as self._session:
                    async with self._calls.watch_platform() as states:
                        async for state in states:
                            waits_s = outbox.backoff_s()
                            self._hear(state, self.platform.follow)
                            if not state.circle.open:
                                await self._sleep_on_alone(states)
                                self._finish(None)
                            if self._ended.is_set():
                                return
                if self._session.cancelled_caught:
                    continue  # at once: the keys are renewed
            except (errors.NotPermitted, errors.NotFound, errors.BadInput) as error:
                self._finish(error)
                return
            except errors.HarmoniaError as error:
                self.trouble = str(error)
            self.connected = False
            await trio.sleep(next(waits_s))

    async def _mind_the_way(self) -> None:
        """Opens the session anew where datagrams need new keys, or another way: through gRPC, or by UDP again."""
        probed, waits_s = trio.current_time(), outbox.backoff_s()
        while True:
            await trio.sleep(_WAY_S)
            loss = loss_of(self.platform.core)
            if not (self.connected and self.circle.open):  # of a night that is over nothing more comes, by no way
                continue
            if loss is not None and loss.reason == "keys":
                self._session.cancel()
                await trio.sleep(_RENEW_S)
            elif self._blocked is None and loss is not None and not self._udp_only:
                self._blocked, probed = loss, trio.current_time()
                self._session.cancel()
            elif (tunnel := self._tunnel) is not None:
                if tunnel.trouble:
                    # Without the stream there is no data plane at all.
                    self.trouble = tunnel.trouble
                    await trio.sleep(next(waits_s))
                    if self._tunnel is tunnel:
                        self._session.cancel()
                elif tunnel.answered:
                    waits_s = outbox.backoff_s()
                if trio.current_time() < probed + _PROBE_EVERY_S:
                    continue
                probed = trio.current_time()
                if await gets_through(self.identity.endpoint.host, self._udp_port):
                    self._blocked = None
                    self._session.cancel()

    def _close_tunnel(self) -> None:
        if self._tunnel is not None:
            self._tunnel.close()
            self._tunnel = None

    def _hear(self, state: PlatformState, follow: Callable[[PlatformState], None]) -> None:
        follow(state)
        self._state = state
        noes = {one.withdrawal_id for one in state.consents.values()} - self._known_noes
        self._withdrawals_made += len(noes)
        self._known_noes |= noes
        before = self.identity.wishes
        self._keep_wishes(state.wishes)
        if self.identity.wishes != before:
            self._save_soon()
        self._changed.set()
        self._changed = trio.Event()
        if state.away:
            self.away = True
            self._finish(None)
        elif state.circle.state is CircleState.CLOSED and self._own_night_ns() <= 0:
            self._finish(None)

    def _finish(self, error: errors.HarmoniaError | None) -> None:
        self.connected = False
        self._end_error = error
        self._ended.set()

    async def find_stems(
        self, *folders: Path, cache: Path | None = None, tell: Callable[[str], None] = lambda _: None
    ) -> stems.Found:
        """Looks in ``folders`` for the music that the circle's score wants, and plays what is there from now on.

        With ``cache``, a folder, what is in none of them is fetched from the sanctuary and kept there; ``tell`` is
        given lines about that for a person. What cannot be had is silent, and everything else plays. Do this before
        the night.
        """
        score = parse_score(self.circle.score)
        if cache is None:
            found = await trio.to_thread.run_sync(stems.find, score, folders)
        else:
            found = await stems.fetch(score, folders, self._calls, cache, tell)
        self.platform.use_stems(found.stems)
        return found

    def close(self) -> None:
        """Silence, and the end of every connection. The credential stays good for a later `resume`."""
        self._close_tunnel()
        self._calls.close()
        self.platform.core.close()


@asynccontextmanager
async def join(
    invitation: Invitation | str,
    *,
    state_file: Path | None = None,
    grants: Iterable[Purpose] = (),
    recording: bool = False,
    udp_only: bool = False,
    core: _core.Platform | None = None,
    wait: Callable[[Place, Circle], None] | None = None,
) -> AsyncIterator[Sleeper]:
    """Joins a circle for the length of the block.

    Where there is no place, or the circle does not gather yet, ``wait`` is told how things stand, now and after every
    change, until this sleeper is in; without it that raises BadInput.

    ``state_file`` keeps key and credential (mode 0600); if it exists already, the sleeper comes back as who they were
    and what they allow stays as they left it. A new sleeper allows ``grants``; without any, nobody hears or sees them
    and they hear the score alone. ``recording`` says that this platform keeps what it plays. ``udp_only``: where UDP
    is blocked, datagrams do not go through gRPC. ``core`` is for a platform of another rate or a simulated clock.

    Raises NotPermitted on a used or expired token, NotFound, BadInput, Unreachable.
    """
    if isinstance(invitation, str):
        invitation = Invitation.parse(invitation)
    new = False
    if state_file is not None and await trio.Path(state_file).exists():
        identity = Identity.load(state_file)
        if identity.circle_id != invitation.circle_id:
            raise errors.BadInput(f"{state_file} belongs to circle {identity.circle_id}; name another state file")
    else:
        waiting = None if state_file is None else state_file.with_suffix(".waiting")
        ticket = Ticket(invitation, path=waiting) if waiting is None else Ticket.at(waiting, invitation)
        identity, _ = await ticket.redeem(wait)
        identity.path = state_file
        identity.save()
        ticket.discard()
        new = True
    async with _running(Sleeper(identity, core or _core.Platform(), recording=recording, udp_only=udp_only)) as sleeper:
        if new:
            await sleeper.grant(*grants)
        yield sleeper


@asynccontextmanager
async def resume(
    state_file: Path,
    *,
    recording: bool = False,
    udp_only: bool = False,
    core: _core.Platform | None = None,
) -> AsyncIterator[Sleeper]:
    """Comes back as the sleeper of ``state_file``, without a token; otherwise like `join`."""
    identity = Identity.load(state_file)
    kept = dict(identity.withdrawals)
    async with calls.SleeperCalls(identity) as coming:
        # A no of the last run is told before anything that may be refused.
        with suppress(errors.HarmoniaError):
            await coming.tell_withdrawals()
        if identity.withdrawals != kept:
            with suppress(errors.StorageError):
                await trio.to_thread.run_sync(identity.save)
        await coming.come_back()
    identity.withdrawals = kept  # told once more, which changes nothing, so that they hold here from the first sample
    async with _running(Sleeper(identity, core or _core.Platform(), recording=recording, udp_only=udp_only)) as sleeper:
        yield sleeper


@asynccontextmanager
async def _running(sleeper: Sleeper) -> AsyncIterator[Sleeper]:
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sleeper._tell_withdrawals)
            await nursery.start(sleeper._run)
            yield sleeper
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        # One failure is the rule, and callers should not have to unwrap it.
        raise _only(group) from None
    finally:
        sleeper.close()


def _only(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
