"""A score reader without the core: every score is two channels on one steady rhythm."""

from harmonia.domain.rhythm import Rhythm
from harmonia.engine.scores import FORMATS, ReadScore
from harmonia.errors import BadInput, BadScore

CHANNELS = 2


def fake_scores(name: str, format: str, text: str) -> ReadScore:
    """``text`` is ``HERTZ`` or ``HERTZ SECONDS``; anything else is a bad score."""
    if format not in FORMATS:
        raise BadInput(f"a score must be written in toml or sbg, not {format}")
    try:
        hertz, *rest = (float(word) for word in text.split())
    except ValueError:
        raise BadScore(f"{name}:1: not HERTZ or HERTZ SECONDS", name=name, line="1") from None
    duration_ns = round(rest[0] * 1e9) if rest else None
    return ReadScore(CHANNELS, duration_ns, lambda epoch_ns: Rhythm.constant(epoch_ns, hertz), lambda rhythm: rhythm)
