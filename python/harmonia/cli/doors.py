"""The doors by which a person's no comes in while `harmonia join` runs: a signal, a pipe, a key, a line.

A no that waits behind something else is no no. So each door takes something back the moment it is heard, and only what
may wait is done in turn: a sanctuary that cannot be reached holds up an offset, and never an opt-out. That turns the
order round, and an earlier yes that is still under way would win over a later no; therefore a no calls off every yes
to the same purpose that was asked for before it.
"""

import math
import os
import re
import signal
import sys
import termios
import tty
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import click
import trio

from harmonia import errors
from harmonia.cli.weaving import parse_rhythm
from harmonia.client import EVERY_PURPOSE, Identity, Purpose, Sleeper, obey_pipe
from harmonia.client.gesture import meant

OFFSET_STEP = 0.05
"""Turns that one press of an arrow key moves the offset."""
GOODBYE_S = 3.0
"""How long leaving may take before the sleeper simply goes."""


class Yes:
    """One purpose that the person asked to be allowed; a later no calls it off."""

    def __init__(self, purpose: Purpose) -> None:
        self.purpose = purpose
        self.scope = trio.CancelScope()


class Menu(Protocol):
    """What is shown, as far as keys concern it."""

    keys: bool
    """Whether it tells which keys there are."""
    choosing: bool
    """The next key names a purpose to withdraw."""


class Doors:
    """What the person says while they come in, are here, and go."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.leave = trio.CancelScope()
        """Cancelled when the person leaves."""
        self._who: Sleeper | None = None
        self._early: list[tuple[Purpose, ...]] = []
        self._yeses: list[Yes] = []
        self._settled = trio.Event()

    def settled(self) -> None:
        """What they came in with is set: from now on commands act in their turn."""
        self._settled.set()

    async def admit(self, who: Sleeper) -> None:
        """They are in: what they took back on the way in is taken back now. Whoever ends this process lets them go."""
        self._who = who
        for purposes in self._early:
            who.mute(*purposes)
        await self._nursery.start(until_signal, self.leave)

    def keep(self, state_file: Path) -> None:
        """Where they did not get in: what they took back on the way is in force, and told, the next time."""
        if self._who is None and self._early:
            identity = Identity.load(state_file)
            identity.withdrawals |= {os.urandom(16): purposes for purposes in self._early}
            identity.save()

    async def listen(self, control: bool, menu: Menu) -> None:
        """Opens standard input: for a program's lines, or for keys where there is a live view."""
        if control:
            self._nursery.start_soon(self.obey_lines)
        elif menu.keys and sys.stdin.isatty():
            await self._nursery.start(self.obey_keys, menu)

    def mute(self, *purposes: Purpose) -> None:
        """Takes ``purposes``, or everything, back now, and calls off each yes to them that is under way."""
        if self._who is None:
            self._early.append(purposes)
            click.echo("opted out: once you are in, you allow nothing of it until you grant it", err=True)
        else:
            self._who.mute(*purposes)
        for yes in self._yeses:
            if yes.purpose in (purposes or EVERY_PURPOSE):
                yes.scope.cancel()

    def ask(self, *purposes: Purpose) -> list[Yes]:
        """Notes that the person says yes, for `grant`: a no from here on is the later one."""
        asked = [Yes(purpose) for purpose in purposes]
        self._yeses += asked
        return asked

    async def grant(self, *yeses: Yes) -> None:
        """Allows what was asked for and not taken back since. Raises what `Sleeper.grant` raises."""
        who = self._here()
        try:
            for yes in yeses:
                with yes.scope:
                    await trio.lowlevel.checkpoint_if_cancelled()
                    await who.grant(yes.purpose)
                if yes.scope.cancelled_caught:
                    click.echo(f"{yes.purpose.word} is not granted: you opted out of it after that", err=True)
        finally:
            self._yeses = [yes for yes in self._yeses if yes not in yeses]

    def _here(self) -> Sleeper:
        if self._who is None:
            raise RuntimeError("nobody is in yet: call admit() first")
        return self._who

    async def obey_signal(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """SIGUSR1 opts out of everything, until cancelled."""
        with trio.open_signal_receiver(signal.SIGUSR1) as signals:
            task_status.started()
            async for _ in signals:
                self.mute()

    async def obey_lines(self) -> None:
        """Commands from a program, one after the other but for an opt-out, which is at once.

        One that is refused is said on stderr and changes nothing. The end of the input is a quit.
        """
        send, receive = trio.open_memory_channel[Callable[[], Awaitable[None]]](math.inf)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._in_turn, receive)
            rest, received = b"", b"."
            while received:
                await trio.lowlevel.wait_readable(0)
                received = read_stdin()
                *lines, rest = (rest + (received or b"\nquit\n")).split(b"\n")
                for line in lines:
                    for command in self._heard(line.decode(errors="replace").split()):
                        send.send_nowait(command)

    def _heard(self, words: list[str]) -> list[Callable[[], Awaitable[None]]]:
        """What is left to do of a line, in its turn."""
        match words:
            case ["optout", *names]:
                self.mute(*meant(names))
                return []
            case ["grant", *names] if purposes := meant(names):
                return [partial(self.grant, yes) for yes in self.ask(*purposes)]
            case ["quit"]:
                # What was said before comes first, but does not keep anybody.
                self.leave.deadline = min(self.leave.deadline, trio.current_time() + GOODBYE_S)
        return [partial(self._obey, words)]

    async def _obey(self, words: list[str]) -> None:
        who = self._here()
        match words:
            case ["offset", turns]:
                try:
                    await who.set_offset(float(turns))
                except ValueError:
                    raise errors.BadInput(f"{turns!r} is not a number of turns") from None
            case ["rhythm", frequency]:
                await who.set_own_rhythm(parse_rhythm(frequency))
            case ["coupling", share]:
                try:
                    await who.set_coupling(float(share))
                except ValueError:
                    raise errors.BadInput(f"{share!r} is not a number from 0 to 1") from None
            case ["grant", *names]:
                await who.grant(*map(Purpose.of, names))  # which says what is no purpose
            case ["help", *message]:
                await who.call_for_help(" ".join(message))
            case ["take-back"]:
                await who.take_back_help()
            case ["awake" | "asleep" as word]:
                who.sense_awake(word == "awake")
            case ["wake", *minutes]:
                try:
                    await who.wake(60.0 * float(minutes[0] if minutes else 1))
                except ValueError:
                    raise errors.BadInput(f"{minutes[0]!r} is not a number of minutes") from None
            case ["sleep"]:
                await who.sleep_on()
            case ["quit"]:
                self.leave.cancel()
            case []:
                pass
            case _:
                raise errors.BadInput(
                    f"{' '.join(words)!r} is no command; there are optout, offset, rhythm, coupling, grant, help,"
                    " take-back, awake, asleep, wake, sleep and quit"
                )

    async def _in_turn(self, commands: trio.MemoryReceiveChannel[Callable[[], Awaitable[None]]]) -> None:
        await self._settled.wait()
        async for command in commands:
            await _patiently(command)

    async def obey_keys(self, menu: Menu, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """What is typed in the live view, until cancelled. A key that was typed before counts, too."""
        before, who = termios.tcgetattr(0), self._here()
        tty.setcbreak(0, termios.TCSANOW)  # the default forgets what is typed already: perhaps an o
        task_status.started()
        try:
            async with trio.open_nursery() as nursery:
                while True:
                    await trio.lowlevel.wait_readable(0)
                    for key in keys(read_stdin()) or [b"q"]:  # nothing: the terminal is gone
                        if menu.choosing and key != b"o":
                            menu.choosing = False
                            if (purpose := chosen(key)) is not None:
                                self.mute(purpose)
                            continue
                        match key:
                            case b"o":
                                menu.choosing = False
                                self.mute()
                            case b"h":
                                nursery.start_soon(_patiently, who.call_for_help)
                            case b"H":
                                nursery.start_soon(_patiently, who.take_back_help)
                            case b"a":
                                nursery.start_soon(_patiently, who.sleep_on if who.woken else who.wake)
                            case b"w":
                                menu.choosing = True
                            case b"\x1b[C":
                                nursery.start_soon(_patiently, who.set_offset, who.now().offset_turns + OFFSET_STEP)
                            case b"\x1b[D":
                                nursery.start_soon(_patiently, who.set_offset, who.now().offset_turns - OFFSET_STEP)
                            case b"q":
                                self.leave.cancel()
        finally:
            termios.tcsetattr(0, termios.TCSADRAIN, before)


def keys(pressed: bytes) -> list[bytes]:
    """What was read, key by key: who presses `o` twice in a hurry has pressed `o`."""
    return re.findall(rb"\x1b\[[0-9;]*[A-Za-z~]|.", pressed, re.DOTALL)


def chosen(pressed: bytes) -> Purpose | None:
    """The purpose that a key of the menu stands for: a to l, in their order; None for any other key."""
    place = pressed[0] - ord("a") if len(pressed) == 1 else -1
    return EVERY_PURPOSE[place] if 0 <= place < len(EVERY_PURPOSE) else None


async def _patiently(wish: Any, *arguments: Any) -> None:
    try:
        await wish(*arguments)
    except errors.HarmoniaError as error:
        click.echo(f"error: {error}", err=True)


def read_stdin() -> bytes:
    """What is there to be read."""
    return os.read(0, 4096)


async def until_signal(
    leave: trio.CancelScope, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Ctrl-C, or whoever ends this process, cancels ``leave``."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        task_status.started()
        async for _ in signals:
            leave.cancel()
            return


@asynccontextmanager
async def open_doors(gesture: Path | None = None, tap_threshold: float | None = None) -> AsyncIterator[Doors]:
    """The doors for the length of the block: the signal and the pipe from its very beginning to its very end."""
    async with trio.open_nursery() as nursery:
        doors = Doors(nursery)
        await nursery.start(doors.obey_signal)
        if gesture is not None:
            await nursery.start(obey_pipe, doors, gesture, tap_threshold)
        yield doors
        nursery.cancel_scope.cancel()
