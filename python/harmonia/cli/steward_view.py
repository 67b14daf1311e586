"""The room in a terminal: calls for help above everything, then what is wrong, then who sleeps well."""

import os
import termios
import tty
from dataclasses import asdict
from typing import Any

import trio

from harmonia import errors
from harmonia.client import Bed, HelpCall, RoomView, Stewardship, Trouble
from harmonia.client.words import error_text, seconds_text

ALARM_S = 3.0
"""Within this the alarm's key has to be pressed again."""
KEYS = "s silences the room, l lifts that, a twice raises the alarm, c I am coming, r resolved, q leaves"
ALARM = "Wake up, please, and get up."

_WORDS = {
    Trouble.UNKNOWN: "something is wrong that this version does not know",
    Trouble.NO_SESSION: "not connected yet",
    Trouble.SILENT: "nothing comes from its platform",
    Trouble.UNLOCKED: "its clock has lost lock",
    Trouble.BOUND: "its clock is too uncertain",
    Trouble.SOUNDING: "STILL SOUNDS in the silent room",
}


def trouble_text(bed: Bed, trouble: Trouble) -> str:
    """What is wrong, with its number."""
    if trouble is Trouble.SILENT:
        return f"{_WORDS[trouble]} for {seconds_text(bed.silent_ns / 1e9)}"
    if trouble is Trouble.BOUND:
        return f"{_WORDS[trouble]} (within {error_text(bed.bound_ns)})"
    return _WORDS[trouble]


def room_json(view: RoomView) -> dict[str, Any]:
    """A room for programs."""
    beds = [
        {**asdict(bed), "troubles": [one.word for one in bed.troubles], "lock_state": bed.lock_state.word}
        if bed.visible
        else {"place": bed.place, "visible": False}
        for bed in view.beds
    ]
    return {**asdict(view), "state": view.state.word, "beds": beds}


def _call_text(view: RoomView, call: HelpCall) -> str:
    ago = seconds_text((view.node_time_ns - call.called_ns) / 1e9)
    words = f": {call.message}" if call.message else ""
    who = f" ({call.sleeper_id})" if call.sleeper_id else ""
    if call.taken_back:
        return f"  taken back: place {call.place}{who}{words}"
    if call.resolved_ns is not None:
        return f"  resolved: place {call.place}{who}{words}, by {call.by}"
    state = f", {call.by} is coming" if call.coming_ns is not None else ""
    return f"  HELP at place {call.place}{who}{words}, {ago} ago{state}  {call.help_id}"


def room_lines(view: RoomView) -> list[tuple[str, str]]:
    """The room as lines, each with its style."""
    lines = [(f"{view.title}  {view.state.word}  {view.sleepers} sleepers", "bold")]
    if view.silence is not None:
        what = "ALARM" if view.silence.alarm else "SILENT"
        since = seconds_text((view.node_time_ns - view.silence.since_ns) / 1e9)
        lines.append((f"{what} for {since}, by {view.silence.by}  {view.silence.message}".rstrip(), "bold magenta"))
    lines += [(_call_text(view, call), "bold red" if call.waiting else "dim") for call in view.calls]
    if view.voices_dropped:
        lines.append(
            (f"  ALARM: {view.voices_dropped} voices dropped in this house: no numbers, made silence", "bold red")
        )
    seen = [bed for bed in view.beds if bed.visible]
    for bed in seen:
        for one in bed.troubles:
            lines.append((f"  place {bed.place} ({bed.sleeper_id}): {trouble_text(bed, one)}", "yellow"))
    well = [bed for bed in seen if not bed.troubles]
    levels = "  ".join(f"{bed.place}: {bed.level_dbfs:.0f} dBFS{' muted' if bed.muted else ''}" for bed in well)
    if well:
        lines.append((f"  well  {levels}", "green"))
    hidden = ", ".join(str(bed.place) for bed in view.beds if not bed.visible)
    if hidden:
        lines.append((f"  present and not shown: places {hidden}", "dim"))
    return lines


def room_text(view: RoomView) -> str:
    """The room for a person."""
    return "\n".join(text for text, _ in room_lines(view))


class _Desk:
    """What the keys do, and what came of it."""

    def __init__(self, held: Stewardship) -> None:
        self.held = held
        self.view: RoomView | None = None
        self.said = ""
        self._armed_s = -ALARM_S

    async def press(self, key: bytes) -> None:
        """One key. What is refused is said in the view."""
        try:
            self.said = await self._obey(key)
        except errors.HarmoniaError as error:
            self.said = f"error: {error}"

    async def _obey(self, key: bytes) -> str:
        view = self.view
        match key:
            case b"s":
                await self.held.silence()
                return "the room is silent"
            case b"a" if trio.current_time() - self._armed_s > ALARM_S:
                self._armed_s = trio.current_time()
                return "press a again within three seconds to raise the alarm"
            case b"a":
                self._armed_s = -ALARM_S
                await self.held.silence(ALARM, alarm=True)
                return "the alarm is raised"
            case b"l" if view is not None and view.silence is not None:
                await self.held.lift(view.silence.silence_id)
                return "lifted"
            case b"l":
                return "the room is not silent"
            case b"c" | b"r":
                return await self._answer(resolved=key == b"r")
        return ""

    async def _answer(self, resolved: bool) -> str:
        waiting = [] if self.view is None else [call for call in self.view.calls if call.waiting]
        first = next((call for call in waiting if resolved or call.coming_ns is None), None)
        if first is None:
            return "no call waits for that"
        call = await self.held.answer(first.help_id, resolved=resolved)
        return f"place {call.place}: resolved" if resolved else f"place {call.place} is told that you are coming"


async def watch_keys(held: Stewardship) -> None:
    """The live view, with its keys, until the circle closes or q."""
    from rich.live import Live
    from rich.text import Text

    desk = _Desk(held)

    def draw() -> None:
        lines = Text()
        for text, style in [] if desk.view is None else room_lines(desk.view):
            lines.append(f"{text}\n", style=style)
        lines.append(desk.said or KEYS, style="dim")
        live.update(lines, refresh=True)

    async def follow(leave: trio.CancelScope) -> None:
        async with held.watch() as views:
            async for desk.view in views:
                draw()
        leave.cancel()

    async def obey(key: bytes) -> None:
        await desk.press(key)
        draw()

    before = termios.tcgetattr(0)
    tty.setcbreak(0)
    try:
        with Live(auto_refresh=False) as live:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(follow, nursery.cancel_scope)
                while True:
                    await trio.lowlevel.wait_readable(0)
                    keys = os.read(0, 4096)
                    if b"q" in keys or not keys:
                        nursery.cancel_scope.cancel()
                        return
                    for key in keys:  # none waits for another's answer
                        nursery.start_soon(obey, bytes([key]))
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)
