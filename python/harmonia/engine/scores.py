"""The seam to the core's score reader."""

from collections.abc import Callable
from dataclasses import astuple
from typing import Any, Literal, NamedTuple, cast

from harmonia.domain.rhythm import Rhythm, Segment
from harmonia.errors import BadInput, BadScore

FORMATS = ("toml", "sbg")


class ReadScore(NamedTuple):
    """What the engine must know of a score; the rest is the platforms' business."""

    channels: int
    duration_ns: int | None
    rhythm_from: Callable[[int], Rhythm]
    """The rhythm that the score proposes if it begins at a node time."""
    timeline: Callable[[Rhythm], Any]
    """A rhythm as the data plane takes it."""


ScoreReader = Callable[[str, str, str], ReadScore]
"""name, format, text → the score. Raises BadScore."""


def read_score(name: str, format: str, text: str) -> ReadScore:
    """Reads a score with the core. Raises BadScore with file, line and reason."""
    from harmonia import _core  # only here, so that everything else runs without the extension

    if format not in FORMATS:
        raise BadInput(f"a score must be written in toml or sbg, not {format or 'an unnamed format'}")
    try:
        score = _core.Score.parse(text, name, cast(Literal["toml", "sbg"], format))
    except _core.ScoreError as error:
        raise BadScore(str(error), name=error.name, line=str(error.line)) from None

    def rhythm_from(epoch_ns: int) -> Rhythm:
        return Rhythm(tuple(Segment(*segment) for segment in score.rhythm(epoch_ns).segments))

    def timeline(rhythm: Rhythm) -> Any:
        return _core.Rhythm([astuple(segment) for segment in rhythm.segments])

    return ReadScore(score.channels, score.duration_ns, rhythm_from, timeline)
