"""What a person sees while the night runs: a live table, or plain lines where there is no terminal."""

import sys
from types import TracebackType
from typing import Any, Protocol

from harmonia.client import CircleView, SleeperView
from harmonia.client.views import turns
from harmonia.client.words import error_text, seconds_text
from harmonia.night.diary import Diary

LOCKS = {"locked": "green", "acquiring": "yellow", "holdover": "magenta", "unsynchronised": "red"}
BARS = " ▁▂▃▄▅▆▇█"
ROWS_MAX = 24


class Show(Protocol):
    """Shows a night."""

    def say(self, text: str) -> None:
        """Something happened."""

    def update(self, seen: CircleView, diaries: list[Diary], left_s: float) -> None:
        """The night as it stands."""

    def __enter__(self) -> "Show": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class PlainShow:
    """A line for each thing that happens and each state that the circle reaches."""

    def __init__(self) -> None:
        self._state = ""

    def __enter__(self) -> "PlainShow":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def say(self, text: str) -> None:
        """Prints it."""
        print(text, flush=True)

    def update(self, seen: CircleView, diaries: list[Diary], left_s: float) -> None:
        """Prints a line when the circle's state changed."""
        if seen.circle.state.word == self._state:
            return
        self._state = seen.circle.state.word
        last = [diary.last for diary in diaries if diary.last is not None]
        locked = sum(sight.lock_state == "locked" for sight in last)
        worst_ns = max((abs(sight.error_ns) for sight in last if sight.lock_state == "locked"), default=0)
        self.say(
            f"{self._state}: {len(seen.sleepers) + seen.hidden} in the circle, {locked} of {len(diaries)} locked, "
            f"worst clock {error_text(worst_ns)}, {seconds_text(left_s)} left"
        )


class LiveShow:
    """A table that is drawn anew four times a second."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console()
        self._live = Live(console=self._console, auto_refresh=False)

    def __enter__(self) -> "LiveShow":
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def say(self, text: str) -> None:
        """Prints it above the table."""
        self._console.print(text, highlight=False, markup=False)

    def update(self, seen: CircleView, diaries: list[Diary], left_s: float) -> None:
        """Draws the table."""
        self._live.update(table(seen, diaries, left_s), refresh=True)


def table(seen: CircleView, diaries: list[Diary], left_s: float) -> Any:
    """The circle as a rich table: the sanctuary's view of each sleeper beside the truth about their clock."""
    from rich.table import Table
    from rich.text import Text

    state = seen.circle.state.word
    drawn = Table(
        title=f"{seen.circle.title or seen.circle.circle_id} · {state} · {seconds_text(left_s)} left",
        caption="clock error: measured against the sanctuary's true clock; ±: what the platform itself certifies",
        expand=False,
    )
    for heading, justify in (
        ("sleeper", "left"),
        ("lock", "left"),
        ("clock error", "right"),
        ("± bound", "right"),
        ("phase", "left"),
        ("offset", "right"),
        ("level", "left"),
        ("", "left"),
    ):
        drawn.add_column(heading, justify=justify)  # type: ignore[arg-type]
    views = {view.sleeper_id: view for view in seen.sleepers}
    for diary in diaries[:ROWS_MAX]:
        drawn.add_row(*_row(diary, views.get(diary.sleeper_id), Text))
    if len(diaries) > ROWS_MAX:
        drawn.add_row(f"… and {len(diaries) - ROWS_MAX} more")
    if seen.hidden:
        drawn.add_row(f"({seen.hidden} unseen)")
    return drawn


def _row(diary: Diary, view: SleeperView | None, text: Any) -> list[Any]:
    sight = diary.last
    if sight is None:
        return [diary.name, text("joining", style="dim"), "", "", "", "", "", ""]
    within = abs(sight.error_ns) <= sight.bound_ns
    error = text(error_text(sight.error_ns), style="" if within else "bold red")
    phase_turns = sight.phase_turns if view is None else turns(view.phase_bits)
    level_dbfs = max(sight.level_dbfs, -120.0)
    height = max(0, min(len(BARS) - 1, round((level_dbfs + 80) / 10)))
    level = f"{BARS[height]} {level_dbfs:4.0f} dB"
    muted = sight.muted or (view is not None and view.muted)
    offset = text(f"{sight.offset_turns:+.3f}", style="bold cyan" if abs(sight.offset_turns) > 0.001 else "dim")
    return [
        text(diary.name, style="strike dim" if muted else "bold"),
        text(sight.lock_state, style=LOCKS.get(sight.lock_state, "")),
        error,
        error_text(sight.bound_ns),
        f"{_dial(phase_turns)} {phase_turns:.2f}",
        offset,
        level,
        text("opted out", style="bold magenta") if muted else "",
    ]


def _dial(phase_turns: float) -> str:
    position = int(phase_turns * 8) % 8
    return "·" * position + "●" + "·" * (7 - position)


def choose(plain: bool) -> Show:
    """A live table on a terminal, plain lines elsewhere or if asked."""
    return PlainShow() if plain or not sys.stdout.isatty() else LiveShow()
