"""The silent room: one act that narrows what everybody of a circle may hear and say, and its end.

Whoever is awake must be able to silence a room at once, for a person who panics or for a fire, and must not thereby
decide anything for anybody afterwards. So silence is a state of the circle and of nobody in it: it enters consent as
safety does, through a minimum. Whatever people allow, withdraw or set meanwhile stands when it is lifted.

A lift names the silence that it ends. One that was on its way while somebody silenced the room anew names an older one
and ends nothing: of two who act at once, the one who wants it silent is obeyed.

Of an alarm nobody makes a mere silence without lifting it: whoever silences a room beside somebody who has just raised
one, with another key of the same view, would else put the lights out in a fire.

A silence ends with its circle, as the roles do that could lift it: somebody who sleeps on alone would else never hear
anything again. An alarm does not: everybody was to wake.
"""

from dataclasses import dataclass, replace

from harmonia.domain.consent import ALL_PURPOSES, OPEN, Ceiling, Purpose

MESSAGE_MAX = 200

SILENT = Ceiling.of(ALL_PURPOSES - {Purpose.VOICE, Purpose.HEARING, Purpose.RECORDING, Purpose.MONITORING})
"""What safety allows in a silent room."""


@dataclass(frozen=True, slots=True)
class Silence:
    """A room that is silent."""

    silence_id: str
    message: str
    """For everybody; may be empty."""
    alarm: bool
    """Everybody is to wake: platforms show the message and turn up their lights."""
    by: str
    since_ns: int


def safety(silence: Silence | None) -> Ceiling:
    """How far safety lets each purpose go."""
    return OPEN if silence is None else SILENT


def upon(standing: Silence | None, silence: Silence) -> Silence:
    """``silence`` upon one that is in force: an alarm stays one, with its message where there is no newer one."""
    if standing is None or not standing.alarm:
        return silence
    return replace(silence, alarm=True, message=silence.message or standing.message)


def left_over(silence: Silence | None) -> Silence | None:
    """What is left of ``silence`` once its circle is closed."""
    return silence if silence is not None and silence.alarm else None


def lifted(silence: Silence | None, silence_id: str) -> Silence | None:
    """What is left of ``silence`` after a lift of ``silence_id``."""
    return None if silence is not None and silence.silence_id == silence_id else silence
