"""A sleeper's device: the core's clock, frames and renderer, made to follow what the sanctuary says.

The sanctuary's word decides about what is shared (score, epoch, rhythm); the person's own word about what is theirs
(offset, voice, levels, whether anything sounds at all). This file is the one place where the two meet.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from harmonia import _core
from harmonia.client.names import EVERY_PURPOSE, CircleState, Purpose
from harmonia.client.owned import Owned
from harmonia.client.views import TURN, PlatformState, ScoreText, float32
from harmonia.errors import BadInput

SOUNDING = (CircleState.ENTRAINING, CircleState.DREAMING, CircleState.WAKING)
"""The score plays."""

STAYING = (Purpose.PRESENCE, Purpose.HEARING, Purpose.VOICE)
"""Who has withdrawn all three has left the night: their platform is silent until they grant one of them again."""


def parse_score(score: ScoreText) -> _core.Score:
    """The core's own reading of a circle's score. Raises BadInput if it refuses what the sanctuary had accepted."""
    try:
        return _core.Score.parse(score.text, score.name, "sbg" if score.format == "sbg" else "toml")
    except _core.ScoreError as error:
        raise BadInput(f"this platform cannot play the circle's score: {error}") from None


class Platform:
    """One platform. Not for several tasks at once; the core beneath it may be used from any thread."""

    def __init__(self, core: _core.Platform) -> None:
        self.core = core
        self._offset = Owned(0)
        self._voice: Owned[tuple[complex, ...]] = Owned(())
        self._levels = Owned((1.0, 1.0))
        self._playing: tuple[Any, ...] | None = None
        self._stems: Mapping[str, _core.Stem] = {}
        self._rhythm: tuple[Any, ...] | None = None
        self._hears = True
        self._noes: dict[Purpose, bytes] = {}
        """What was withdrawn here, by which withdrawal, until the sanctuary reports it: older reports say yes."""
        self._withdrawn: frozenset[Purpose] = frozenset()
        """What of STAYING the sanctuary reports as withdrawn."""
        self._closed = False
        self._mix = 1.0

    def ask(self) -> None:
        """A new stream of states is about to be asked for."""
        for owned in (self._offset, self._voice, self._levels):
            owned.ask()

    def renew(self, state: PlatformState) -> None:
        """Follows the first state of that stream, which is older than nothing that was told before."""
        for owned in (self._offset, self._voice, self._levels):
            owned.renew()
        self.follow(state)

    def follow(self, state: PlatformState) -> None:
        """Takes over what changed. Raises BadInput if the core refuses the score, which the sanctuary had accepted."""
        self._follow_consent(state)
        # Frames say so too, and the core knows which of both is newer.
        silence = state.silence
        alarm = silence is not None and silence.alarm
        self.core.set_hush(silent=silence is not None, alarm=alarm, epoch=state.hush_epoch)
        if self._offset.hear(state.offset_bits):
            self.core.set_offset(state.offset_bits / TURN)
        if state.voice and self._voice.hear(state.voice):
            self.core.set_voice(state.voice)
        self._levels.hear((state.hearing_level, state.own_level))
        self._follow_rhythm(state)
        self._follow_score(state)
        self._apply_levels()

    def _follow_consent(self, state: PlatformState) -> None:
        for purpose, event_id in list(self._noes.items()):
            if state.consents[purpose].withdrawal_id == event_id.hex():
                del self._noes[purpose]
        self._hears = state.consents[Purpose.HEARING].granted
        standing = {purpose: state.consents[purpose] for purpose in STAYING}
        self._withdrawn = frozenset(p for p, one in standing.items() if not one.granted and one.withdrawal_id)
        # A report from before an opt-out here does not open the gate again: first the sanctuary has to have
        # reported the opt-out itself. An opt-out from another terminal closes the gate here just the same.
        if self._close_if_all_is_withdrawn():
            return
        if self._closed and not self._noes.keys() & set(STAYING):
            self.open()

    def _close_if_all_is_withdrawn(self) -> bool:
        if not self._withdrawn | self._noes.keys() >= set(STAYING):
            return False
        self._closed = True
        self.core.close_gate()
        return True

    def _follow_rhythm(self, state: PlatformState) -> None:
        rhythm = state.own_rhythm or state.circle.rhythm
        if rhythm is not None and rhythm.segments != self._rhythm:
            self.core.set_rhythm(_core.Rhythm(rhythm.segments))
            self._rhythm = rhythm.segments

    def _follow_score(self, state: PlatformState) -> None:
        circle, score = state.circle, state.circle.score
        # Who wakes later than the circle sleeps on with the score, alone.
        woken_ns = state.edges.woken_ns
        later = state.schedule_offset_ns > 0 and woken_ns is not None and self.core.clock().node_ns < woken_ns
        sounding = circle.epoch_ns is not None and (circle.state in SOUNDING or (later and circle.ran))
        playing = (score, circle.epoch_ns) if sounding else None
        if playing == self._playing:
            return
        if playing is None:
            self.core.clear_score()
        else:
            self.core.set_score(parse_score(score), circle.epoch_ns or 0, self._stems)
        self._playing = playing

    def use_stems(self, stems: Mapping[str, _core.Stem]) -> None:
        """The recordings for the circle's score, by its names for them: from now on."""
        self._stems = dict(stems)
        if self._playing is not None:
            score, epoch_ns = self._playing
            self.core.set_score(parse_score(score), epoch_ns or 0, self._stems)

    def _apply_levels(self) -> None:
        hearing, own = self._levels.value
        hears = self._hears and Purpose.HEARING not in self._noes
        self.core.set_levels(hearing=self._mix * hearing if hears else 0.0, own=self._mix * own)

    def ease(self, mix: float) -> None:
        """How much of the night is heard here, 0 to 1, while its sleeper wakes."""
        if mix != self._mix:
            self._mix = mix
            self._apply_levels()

    def change_offset(self, turns: float) -> int:
        """Glides there from the next block on. Returns 2**-64 turn. Raises BadInput unless ``turns`` is finite."""
        try:
            bits = self.core.set_offset(turns)
        except ValueError as error:
            raise BadInput(str(error)) from None
        self._offset.change(bits)
        return bits

    def offset_told(self, bits: int) -> None:
        """The sanctuary has recorded this offset."""
        self._offset.told(bits)

    def change_voice(self, voice: Sequence[complex]) -> None:
        """Sounds with ``voice`` from the next block on. Raises BadInput on a coefficient that is not allowed."""
        try:
            self.core.set_voice(voice)
        except ValueError as error:
            raise BadInput(str(error)) from None
        self._voice.change(_as_reported(voice))

    def voice_told(self, voice: Sequence[complex]) -> None:
        """The sanctuary has recorded this voice."""
        self._voice.told(_as_reported(voice))

    def change_levels(self, *, hearing: float, own: float) -> None:
        """Sets how loud the others (0 to 4) and the own voice (0 to 1) are here. Raises BadInput."""
        if not (0 <= hearing <= 4 and 0 <= own <= 1):
            raise BadInput(f"levels must be 0 to 4 for the others and 0 to 1 for oneself, not {hearing} and {own}")
        self._levels.change((float32(hearing), float32(own)))
        self._apply_levels()

    def levels_told(self, hearing: float, own: float) -> None:
        """The sanctuary has recorded these levels."""
        self._levels.told((float32(hearing), float32(own)))

    def withdraw(self, event_id: bytes, purposes: Sequence[Purpose], bits: int) -> None:
        """Opts out in the next block, and says so by sealed datagram until it is acknowledged."""
        self.core.withdraw(event_id, bits)
        self._noes.update(dict.fromkeys(purposes or EVERY_PURPOSE, event_id))
        self._close_if_all_is_withdrawn()
        self._apply_levels()

    def withdrawal_told(self, event_id: bytes) -> None:
        """The withdrawal is on the sanctuary's disk."""
        self.core.set_acknowledged(event_id)

    def granted(self, purpose: Purpose) -> None:
        """The sanctuary has recorded the person's new grant of it: one of STAYING ends the silence."""
        self._noes.pop(purpose, None)
        self._withdrawn -= {purpose}
        if purpose in STAYING and not self.core.gate_open:
            self.open()

    def open(self) -> None:
        """Fades back in, or once the room is not silent any more. Only a new grant by the person may lead here."""
        self._closed = False
        self.core.open_gate()

    @property
    def silent(self) -> bool:
        """Whether the person has opted out of everything that sounds here."""
        return self._closed or not self.core.gate_open


def _as_reported(voice: Sequence[complex]) -> tuple[complex, ...]:
    return tuple(complex(float32(c.real), float32(c.imag)) for c in voice)
