"""`harmonia join` and `harmonia record`: one sleeper on this machine."""

import json
import math
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import trio

from harmonia import _core, errors
from harmonia.cli.advance import wish_json, wish_text
from harmonia.cli.common import (
    WAITING,
    called_as,
    circle_json,
    clock_log_path,
    data_option,
    find_circle,
    find_sleeper,
    plan_text,
    put_by,
    run,
    sleeper_option,
    sleepers_dir,
    stated_options,
    waiting_path,
)
from harmonia.cli.consent import listener_text, purpose_type
from harmonia.cli.doors import GOODBYE_S, Doors, open_doors, until_signal
from harmonia.cli.help import call_text
from harmonia.cli.sensing import Sense, prepare
from harmonia.cli.sounding import Target, calibration_file, device_option, meter_text
from harmonia.cli.weaving import woven_line
from harmonia.client import (
    EVERY_PURPOSE,
    Calibration,
    Circle,
    CircleMode,
    CircleState,
    CircleView,
    Following,
    HelpCall,
    Invitation,
    Listener,
    Moment,
    Place,
    Purpose,
    Sanctuary,
    Silence,
    Sleeper,
    StandingWish,
    Ticket,
)
from harmonia.client import resume as sdk_resume
from harmonia.client.clock_log import ClockLogWriter
from harmonia.client.sanctuary import read_admin_token
from harmonia.client.udp import UdpLoss
from harmonia.client.words import error_text

LINE_MAX = 10_000
LOOK_AGAIN_S = 5.0
Told = Callable[[Place, Circle, Ticket], None]
WOKEN = "you are waking: the night fades out here, and your voice for the others; a sleeps on"
TUNNELLED = "UDP is blocked, so datagrams go through gRPC: all is as ever, but for a wider bound"
DROPPED = "ALARM: something that sounds here is broken; what was no number was made silence"
SUSPENDED = "this machine was suspended: the clock began anew, and the sound with it"
KEYS = "o opts out, w of one purpose, a wakes, h calls for help, H takes it back, ← → move the offset, q leaves"
UNTOLD = "help: the sanctuary does not answer, so nobody knows of your call yet; call out"


def parse_voice(text: str) -> list[complex]:
    """A voice as `AMPLITUDE[@TURNS]` a channel, comma-separated. Raises BadInput."""
    voice = []
    for part in text.split(","):
        amplitude, _, turn = part.partition("@")
        try:
            size, angle = float(amplitude), 2 * math.pi * float(turn or 0)
        except ValueError:
            size = math.nan
            angle = 0.0
        if not (0 <= size <= 4 and math.isfinite(angle)):
            raise errors.BadInput(
                f"{part!r} is not a voice; write AMPLITUDE or AMPLITUDE@TURNS a channel, amplitudes from 0 to 4, for "
                "instance 0.8@0.25,0.5"
            )
        voice.append(complex(size * math.cos(angle), size * math.sin(angle)))
    return voice


def spread_voice(voice: list[complex], channels: int) -> list[complex]:
    """One coefficient a channel; a single one stands for all. Raises BadInput."""
    if len(voice) == 1:
        return voice * channels
    if len(voice) != channels:
        raise errors.BadInput(f"the circle's score has {channels} channels, the voice {len(voice)}; give one or all")
    return voice


def _simulated(
    seconds: float,
    drift_ppm: float,
    seed: int | None,
    rate: int,
    max_drift_ppm: float,
    max_wander: float,
    card_ppm: float = 0.0,
) -> _core.Platform:
    return _core.Platform(
        sample_rate=rate,
        clock_offset_ns=round(seconds * 1e9),
        clock_drift_ppb=round(drift_ppm * 1e3),
        card_drift_ppb=round(card_ppm * 1e3),
        seed=seed,
        max_drift_ppb=round(max_drift_ppm * 1e3),
        max_wander=max_wander,
    )


@click.command()
@data_option
@click.argument("circle", metavar="[CIRCLE|INVITATION]", required=False)
@sleeper_option
@click.option(
    "--state",
    "state_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Keep key and credential here, and come back as the same sleeper if the file exists.",
)
@click.option("--offset", "offset_turns", type=float, help="Phase offset in turns; 0.25 is a quarter cycle ahead.")
@click.option(
    "--schedule-offset",
    "schedule_hours",
    type=click.FloatRange(-12, 12),
    metavar="HOURS",
    help="Wake so much later than the circle; negative: earlier.",
)
@click.option("--voice", "voice_text", help="AMPLITUDE[@TURNS] for all channels or comma-separated for each.")
@click.option("--hearing", type=click.FloatRange(0, 4), help="How loud the others are.  [default: 1]")
@click.option("--own", type=click.FloatRange(0, 1), help="How loud the own voice is.  [default: 1]")
@click.option("--grant", "grants", multiple=True, type=purpose_type, help="Allow this too; may be repeated.")
@click.option("--no-presence", is_flag=True, help="Do not let others know that I am here.")
@click.option("--no-hearing", is_flag=True, help="Do not let me hear others.")
@click.option("--no-voice", is_flag=True, help="Do not let others hear me.")
@click.option("--no-visibility", is_flag=True, help="Do not show my state.")
@click.option(
    "--output",
    metavar="device|FILE",
    help="`device`: play through a sound card. Else record my mix into this WAV file, which also grants `recording` of "
    "my own voice.",
)
@device_option
@click.option(
    "--device-buffer-ms",
    type=click.FloatRange(10, 500),
    default=40.0,
    show_default=True,
    metavar="MS",
    help="How much the device queues: an opt-out is heard behind it.",
)
@click.option(
    "--ceiling", "ceiling_dbfs", type=click.FloatRange(-120, 0), metavar="DBFS", help="Nothing is louder than this."
)
@click.option(
    "--ceiling-spl",
    type=click.FloatRange(0, 120),
    metavar="DB",
    help="The same in dB SPL, after `platform calibrate spl`.",
)
@click.option("--loudspeaker", is_flag=True, help="Pulses in place of beats between the ears.")
@click.option(
    "--light",
    "brightest",
    type=click.FloatRange(0, 1),
    metavar="BRIGHTEST",
    help="With --json-lines: `light` for a lamp, up to this; it never flashes.",
)
@click.option(
    "--gesture",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="PIPE",
    help="Opt out for each line that a button's program writes into this named pipe. SIGUSR1 always does so.",
)
@click.option(
    "--taps",
    "tap_threshold",
    type=click.FloatRange(0, min_open=True),
    metavar="THRESHOLD",
    help="With --gesture: its lines are samples t_s,value of a sensor, and three taps above this opt out.",
)
@click.option(
    "--stems",
    "folders",
    multiple=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Look for the score's music here before it is fetched; may be repeated.",
)
@click.option("--seconds", type=click.FloatRange(0, min_open=True), help="Leave after so many seconds.")
@click.option("--rate", type=click.Choice(["44100", "48000"]), default="48000", show_default=True)
@click.option("--udp-only", is_flag=True, help="Where UDP is blocked, say so and stay silent: no gRPC instead.")
@click.option(
    "--clock-offset", type=float, default=0.0, metavar="S", help="Simulate a clock that is wrong by S seconds."
)
@click.option("--clock-drift", type=float, default=0.0, metavar="PPM", help="... and gains PPM parts per million.")
@click.option("--card-drift", type=float, default=0.0, metavar="PPM", help="... and a sound card that is off by PPM.")
@click.option("--seed", type=int, help="Seed of the simulation and of noise.")
@click.option(
    "--output-latency-ms",
    type=click.FloatRange(0, 2000),
    metavar="MS",
    help="How long after the sound card plays a sample it is heard.  [default: as calibrated, or 0]",
)
@click.option(
    "--biosignal",
    metavar="FILE|-",
    help="Let my rhythm follow this signal: an EDF or CSV, replayed, or lines t_s,value from standard input. Takes "
    "effect where I grant `biosignal` and `pull`.",
)
@click.option("--channel", help="The signal's channel, if the file has several.")
@click.option("--band", nargs=2, type=float, metavar="LO HI", help="The signal's band, Hz: 0.1 0.5 for breath.")
@stated_options
@click.option(
    "--clock-log",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write how the clock stands, all night, into this file: for `harmonia clock plot` and `clock restamp`.",
)
@click.option("--log-clock", is_flag=True, help="The same beside the sleeper's state, where --sleeper finds it.")
@click.option("--no-view", is_flag=True, help="No live status.")
@click.option("--json-lines", is_flag=True, help="A line of JSON for each moment, in place of the live status.")
@click.option(
    "--interval",
    "interval_s",
    type=click.FloatRange(0.02, 60),
    default=0.25,
    show_default=True,
    metavar="S",
    help="Time between two moments.",
)
@click.option(
    "--control",
    is_flag=True,
    help="Take commands from standard input, one a line: optout [PURPOSE...], "
    "offset TURNS, grant PURPOSE, help [TEXT], take-back, quit. Its end is a quit.",
)
def join(
    data_dir: Path,
    circle: str | None,
    sleeper: str | None,
    state_file: Path | None,
    offset_turns: float | None,
    schedule_hours: float | None,
    voice_text: str | None,
    hearing: float | None,
    own: float | None,
    grants: tuple[str, ...],
    no_presence: bool,
    no_hearing: bool,
    no_voice: bool,
    no_visibility: bool,
    output: str | None,
    device: str,
    device_buffer_ms: float,
    ceiling_dbfs: float | None,
    ceiling_spl: float | None,
    loudspeaker: bool,
    brightest: float | None,
    gesture: Path | None,
    tap_threshold: float | None,
    folders: tuple[Path, ...],
    seconds: float | None,
    rate: str,
    udp_only: bool,
    clock_offset: float,
    clock_drift: float,
    card_drift: float,
    seed: int | None,
    output_latency_ms: float | None,
    biosignal: str | None,
    channel: str | None,
    band: tuple[float, float] | None,
    max_drift_ppm: float,
    max_wander: float,
    clock_log: Path | None,
    log_clock: bool,
    no_view: bool,
    json_lines: bool,
    interval_s: float,
    control: bool,
) -> None:
    """Join a circle, until it closes or Ctrl-C.

    With an INVITATION from anywhere; with a CIRCLE (id, its beginning, or title) on the host's own machine. With - the
    invitation is read from standard input: others who use this machine can see a command's words, and who is faster
    joins. Where there is no place, or the circle does not gather yet, it waits, and comes in by itself. Keys while
    joined: o opts out of everything, w of one purpose, a wakes softly, h calls for help, H takes that back, left and
    right move the offset, q leaves. The signal SIGUSR1 opts out of everything, too, and so does what --gesture hears.

    Joining is a person's explicit command, so it grants presence, hearing, voice and visibility unless told otherwise,
    and says so. A sleeper who comes back (--state, --sleeper) keeps what they allowed before.
    """
    refused = {
        Purpose.PRESENCE: no_presence,
        Purpose.HEARING: no_hearing,
        Purpose.VOICE: no_voice,
        Purpose.VISIBILITY: no_visibility,
    }
    wanted = {purpose for purpose, no in refused.items() if not no} | {Purpose.of(word) for word in grants}
    target = Target.of(output, device, device_buffer_ms)
    if target.file is not None:
        wanted.add(Purpose.RECORDING)
    if offset_turns is not None and not math.isfinite(offset_turns):
        raise errors.BadInput(f"--offset must be a finite number of turns, for instance 0.25, not {offset_turns}")
    if not (abs(clock_offset) <= 1e6 and abs(clock_drift) <= 1e5):
        raise errors.BadInput("a simulated clock is at most 1000000 s and 100000 ppm wrong")
    if not abs(card_drift) <= 1e3:
        raise errors.BadInput("a simulated sound card is at most 1000 ppm wrong")
    voice = None if voice_text is None else parse_voice(voice_text)
    calibration = Calibration.load(calibration_file(data_dir))
    if ceiling_spl is not None:
        ceiling_dbfs = min(calibration.ceiling_dbfs(ceiling_spl), 0.0 if ceiling_dbfs is None else ceiling_dbfs)
    if (biosignal is None) != (band is None):
        raise errors.BadInput("--biosignal and --band belong together: a signal, and where in it the rhythm lies")
    if biosignal == "-" and (control or circle == "-"):
        raise errors.BadInput("standard input can be one thing only: a signal, an invitation or commands")
    if tap_threshold is not None and gesture is None:
        raise errors.BadInput("--taps says how to read what comes through --gesture PIPE: give both")
    sense = None if biosignal is None or band is None else prepare(biosignal, channel, band)

    async def work() -> None:
        core = _simulated(clock_offset, clock_drift, seed, int(rate), max_drift_ppm, max_wander, card_drift)
        core.set_output_latency(calibration.output_latency_ms or 0 if output_latency_ms is None else output_latency_ms)
        core.set_loudspeaker(loudspeaker)
        recording, tell = target.file is not None, waiting_teller(json_lines)
        show = _shower(json_lines, no_view)
        show.calibration, show.brightest = calibration, brightest
        async with open_doors(gesture, tap_threshold) as doors:
            wishes = doors.ask(*sorted(wanted))
            present = _present(doors, data_dir, circle, sleeper, state_file, recording, core, tell, udp_only)
            async with present as (who, new):
                await doors.listen(control, show)
                who.calibration = calibration
                if ceiling_dbfs is not None:
                    who.set_ceiling(ceiling_dbfs)
                # This may take minutes, and nobody should be heard before they hear anything.
                found = await who.find_stems(*folders, cache=data_dir / "stems", tell=_say)
                for line in found.words():
                    _say(line)
                if new:
                    await doors.grant(*wishes)
                if voice is not None:
                    await who.set_voice(spread_voice(voice, who.circle.channels))
                if hearing is not None or own is not None:
                    await who.set_levels(hearing=1.0 if hearing is None else hearing, own=1.0 if own is None else own)
                if offset_turns is not None:
                    await who.set_offset(offset_turns)
                if schedule_hours is not None:
                    await who.set_schedule_offset(schedule_hours)
                doors.settled()
                show.begin(who, new, target)
                path = clock_log or (clock_log_path(data_dir, who.sleeper_id) if log_clock else None)
                log = None if path is None else ClockLogWriter(path, who)
                await _stay(who, show, target, seconds, interval_s, doors, log, sense)

    run(work)


def _say(line: str) -> None:
    click.echo(line, err=True)


@click.command()
@data_option
@click.argument("circle", metavar="CIRCLE|INVITATION")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The WAV file to write.")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), help="End after so many seconds.")
@click.option("--rate", type=click.Choice(["44100", "48000"]), default="48000", show_default=True)
@stated_options
@click.option("--no-view", is_flag=True, help="No live status.")
@click.option("--json-lines", is_flag=True, help="A line of JSON for each moment, in place of the live status.")
@click.option(
    "--interval",
    "interval_s",
    type=click.FloatRange(0.02, 60),
    default=0.25,
    show_default=True,
    metavar="S",
    help="Time between two moments.",
)
@click.option("--control", is_flag=True, hidden=True)
def record(
    circle: str,
    data_dir: Path,
    output: Path,
    seconds: float | None,
    rate: str,
    max_drift_ppm: float,
    max_wander: float,
    no_view: bool,
    json_lines: bool,
    interval_s: float,
    control: bool,
) -> None:
    """Record a circle's field: the voices of those who grant `recording`, and nobody else's.

    A listening platform joins for it, silent itself and visible to everybody.
    """

    async def work() -> None:
        core = _simulated(0.0, 0.0, None, int(rate), max_drift_ppm, max_wander)
        tell = waiting_teller(json_lines)
        show = _shower(json_lines, no_view)
        async with open_doors() as doors:
            wishes = doors.ask(Purpose.PRESENCE, Purpose.HEARING, Purpose.VISIBILITY)
            async with _present(doors, data_dir, circle, None, None, True, core, tell) as (who, _):
                await doors.listen(control, show)
                await who.set_levels(hearing=1.0, own=0.0)
                await doors.grant(*wishes)
                doors.settled()
                show.begin(who, True, Target(output))
                await _stay(who, show, Target(output), seconds, interval_s, doors)

    run(work)


# Coming and going


@asynccontextmanager
async def _present(
    doors: Doors,
    data_dir: Path,
    circle: str | None,
    sleeper: str | None,
    state_file: Path | None,
    recording: bool,
    core: _core.Platform,
    tell: Told,
    udp_only: bool = False,
) -> AsyncIterator[tuple[Sleeper, bool]]:
    """A running sleeper, and whether they are new here. One who did not ask to be kept leaves at the end."""
    if circle == "-":
        circle = (await trio.to_thread.run_sync(_read_line, abandon_on_cancel=True)).decode(errors="replace").strip()
    if sleeper is not None:
        state_file = find_sleeper(data_dir, sleeper).path
    keep = state_file is not None
    new = state_file is None or not state_file.exists()
    if new:
        if circle is None:
            raise errors.BadInput("say which circle to join: an invitation, or a circle's id on the host's machine")
        ticket = await _ticket(data_dir, circle)
        identity, _ = await ticket.redeem(lambda place, found: tell(place, found, ticket))
        identity.path = state_file = state_file or sleepers_dir(data_dir) / f"{identity.sleeper_id}.json"
        identity.save()
        ticket.discard()
    if state_file is None:
        raise errors.NotFound("this sleeper has no state file")
    try:
        async with sdk_resume(state_file, recording=recording, udp_only=udp_only, core=core) as who:
            try:
                with doors.leave:
                    await doors.admit(who)
                    yield who, new
            finally:
                over = who.circle.state is CircleState.CLOSED
                if who.away:
                    keep = True
                    _say(f"you have left; come back with `{called_as()} join --sleeper {who.sleeper_id}`")
                if not keep and not over:
                    over = await _left(who)
                if over:
                    who.identity.path = put_by(data_dir, state_file, who.sleeper_id)
    finally:
        doors.keep(state_file)


async def _left(who: Sleeper) -> bool:
    """Leaves for good. Where that cannot be, takes everything back, to be told later, and says what else to do."""
    why = f"the sanctuary did not answer within {GOODBYE_S:g} s"
    with trio.CancelScope(deadline=trio.current_time() + GOODBYE_S, shield=True):
        try:
            await who.leave()
            return True
        except (errors.NotPermitted, errors.NotFound):
            return False  # the credential had ended before
        except errors.HarmoniaError as error:
            why = str(error)
    who.mute()
    _say(
        f"warning: you could not leave: {why}. You opted out of everything, and the sanctuary is told so by the next"
        f" `{called_as()} join --sleeper {who.sleeper_id}`; `{called_as()} circle leave --sleeper {who.sleeper_id}`"
        " leaves"
    )
    return False


async def _ticket(data_dir: Path, text: str) -> Ticket:
    """What to redeem: the ticket of somebody who waits, if ``text`` is its file or their invitation; else a new one."""
    if text.endswith(WAITING):
        return Ticket.load(Path(text))
    invitation = await _invitation(data_dir, text)
    return Ticket.at(waiting_path(data_dir, invitation), invitation)


def _tell_waiting(place: Place, circle: Circle, ticket: Ticket) -> None:
    """Says how things stand for somebody who waits, and what they can do."""
    when = "" if circle.plan is None else f"; it gathers {plan_text(circle.plan)}"
    why = f"does not gather yet{when}" if circle.state is CircleState.DRAFT else "is full"
    _say(
        f"{circle.title or circle.circle_id} {why}. You are number {place.place} of {place.waiting} on the waiting list"
        f" and come in by yourself. Ctrl-C keeps the place: `{called_as()} join {ticket.path}` waits on, "
        f"`{called_as()} circle leave {ticket.path}` gives it up"
    )


def _tell_waiting_json(place: Place, circle: Circle, ticket: Ticket) -> None:
    _line(event="waiting", **asdict(place), circle=circle_json(circle), ticket=str(ticket.path))


def waiting_teller(as_json: bool) -> Told:
    """What tells a person, or a program, how things stand while they wait."""
    return _tell_waiting_json if as_json else _tell_waiting


async def _invitation(data_dir: Path, text: str) -> Invitation:
    if text.startswith("harmonia://"):
        return Invitation.parse(text)
    if read_admin_token(data_dir) is None and (data_dir / "sanctuary.json").exists():
        raise errors.NotPermitted(
            f"the host's token in {data_dir} is missing or not readable by you; ask the host for an invitation"
        )
    async with Sanctuary.at(data_dir) as sanctuary:
        found = await find_circle(sanctuary, text)
        return (await sanctuary.invitations(found.circle_id))[0]


async def _stay(
    who: Sleeper,
    show: "_Quiet",
    target: Target,
    seconds: float | None,
    interval_s: float,
    doors: Doors,
    log: ClockLogWriter | None = None,
    sense: Sense | None = None,
) -> None:
    """Follows the night until it ends, the person leaves, or ``seconds`` are over."""
    target.start(who)
    try:
        async with trio.open_nursery() as nursery:
            if seconds is not None:
                doors.leave.deadline = min(doors.leave.deadline, trio.current_time() + seconds)
            nursery.start_soon(_until_ended, who, doors.leave, show)
            if log is not None:
                nursery.start_soon(log.run)
            if sense is not None:
                nursery.start_soon(sense, who)
            if show.lively:
                nursery.start_soon(_look_around, who, show)
            with show:
                while True:
                    show.moment(who, who.now())
                    await trio.sleep(interval_s)
    finally:
        with trio.CancelScope(shield=True):
            if target.device is not None:
                await _fade_out(who)
            if said := await trio.to_thread.run_sync(target.stop, who):
                show.end(said)
        if log is not None and log.trouble:
            click.echo(f"error: {log.trouble}", err=True)


async def _look_around(who: Sleeper, show: "_Quiet") -> None:
    """Keeps what the circle shows of itself; where it cannot be had, nothing is shown of it."""
    while True:
        with suppress(errors.HarmoniaError):
            async with who.watch() as views:
                async for show.seen in views:
                    pass
        show.seen = None
        await trio.sleep(LOOK_AGAIN_S)


async def _fade_out(who: Sleeper) -> None:
    """Softly, since whatever stops abruptly wakes a sleeper; a second Ctrl-C does not wait."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(until_signal, nursery.cancel_scope)
        await who.fade_out()
        nursery.cancel_scope.cancel()


async def _until_ended(who: Sleeper, leave: trio.CancelScope, show: "_Quiet") -> None:
    await who.ended()
    show.over(who.circle)
    leave.cancel()


def menu_text(who: Sleeper) -> str:
    """Which key withdraws what of all that is granted."""
    granted = [
        f"{chr(ord('a') + place)} {purpose.word}"
        for place, purpose in enumerate(EVERY_PURPOSE)
        if who.consents[purpose].granted
    ]
    return f"withdraw: {'   '.join(granted) or 'nothing is granted'}   (o everything, any other key nothing)"


def _read_line() -> bytes:
    """One line of standard input and nothing of what follows it: that may be commands."""
    line = b""
    while not line.endswith(b"\n") and len(line) < LINE_MAX and (byte := os.read(0, 1)):
        line += byte
    return line


# What is shown


class _Quiet:
    """Says only what a person must be told: what they allow, where their state is, what was written."""

    keys = False
    lively = False
    """Whether it shows how the circle's rhythms stand."""
    seen: CircleView | None = None
    calibration = Calibration()
    brightest: float | None = None
    """How bright a lamp may be, if there is one."""
    _way = (True, False)
    """Whether datagrams are answered, and whether they go through gRPC."""
    _suspends = 0
    _dropped = 0
    _trouble = ""
    _listeners: tuple[Listener, ...] = ()
    _silence: Silence | None = None
    _calls: tuple[HelpCall, ...] = ()
    _acted: frozenset[bytes] | None = None
    choosing = False
    """The next key names a purpose to withdraw."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass

    def begin(self, who: Sleeper, new: bool, target: Target) -> None:
        allowed = ", ".join(p.word for p, c in who.consents.items() if c.granted) or "nothing"
        verb = "joined" if new else "came back to"
        click.echo(f"{who.sleeper_id} {verb} {who.identity.circle_id} and allows: {allowed}")
        if target.file is not None:
            click.echo(f"recording into {target}; `recording` allowed for it")
        elif target.device is not None:
            click.echo(f"playing on {target}; Ctrl-C fades out")

    def moment(self, who: Sleeper, now: Moment) -> None:
        """Says when UDP or the sound device is lost and is back, when the machine slept, when a voice was dropped."""
        loss = who.udp_loss
        way = (loss is None, loss is None and who.tunnelled)
        if way != self._way:
            self._way = way
            self.udp(loss, who.tunnelled)
        if now.suspends != self._suspends:
            self._suspends = now.suspends
            self.suspended(now.suspends)
        if now.sound.dropped != self._dropped:
            self._dropped = now.sound.dropped
            self.dropped(now.sound.dropped)
        output = who.output
        if output is not None and output.trouble != self._trouble:
            self._trouble = output.trouble
            self.device(output.trouble)
        acted = frozenset(one.wish.wish_id for one in who.wishes if one.fired)
        for one in who.wishes:
            if self._acted is not None and one.wish.wish_id in acted - self._acted:
                self.stopped(one)
        self._acted = acted
        if who.listeners != self._listeners:
            self._listeners = who.listeners
            self.listened(who.listeners)
        if who.silence != self._silence:
            self._silence = who.silence
            self.silenced(who.silence)
        if who.calls != self._calls:
            self._calls = who.calls
            self.helped(who.calls)

    def silenced(self, silence: Silence | None) -> None:
        """Somebody has silenced the room, or lifted that."""
        click.echo("the room sounds again" if silence is None else silence_text(silence), err=True)

    def helped(self, calls: tuple[HelpCall, ...]) -> None:
        """A call for help was made or answered."""
        click.echo("\n".join(map(call_text, calls)), err=True)

    def udp(self, loss: UdpLoss | None, tunnelled: bool) -> None:
        """UDP was lost, or is back, or gRPC carries what it would."""
        back = TUNNELLED if tunnelled else "UDP gets through again"
        click.echo(f"warning: {loss}" if loss is not None else back, err=True)

    def listened(self, listeners: tuple[Listener, ...]) -> None:
        """Others listen in than before."""
        click.echo("\n".join(map(listener_text, listeners)) or "nobody listens in any more", err=True)

    def stopped(self, wish: StandingWish) -> None:
        """An advance wish has acted."""
        click.echo(f"as you wished: {wish_text(wish)}", err=True)

    def suspended(self, count: int) -> None:
        """The machine was suspended."""
        click.echo(f"{SUSPENDED} (suspend {count} of this run)", err=True)

    def dropped(self, count: int) -> None:
        """A voice was dropped."""
        click.echo(f"{DROPPED} ({count} so far)", err=True)

    def device(self, trouble: str) -> None:
        """The sound device was lost, or is back."""
        click.echo(f"warning: {trouble}" if trouble else "the sound device plays again", err=True)

    def over(self, circle: Circle) -> None:
        """The circle is closed: says why, unless its night was over."""
        if circle.reason:
            click.echo(f"{circle.title or circle.circle_id} {circle.ending_words}", err=True)

    def end(self, message: str) -> None:
        click.echo(message)


class _JsonLines(_Quiet):
    """One object a line: first who this is, then moments."""

    def begin(self, who: Sleeper, new: bool, target: Target) -> None:
        _line(
            event="joined",
            sleeper_id=who.sleeper_id,
            circle_id=who.identity.circle_id,
            new=new,
            granted=[p.word for p, c in who.consents.items() if c.granted],
            state_file=str(who.identity.path),
            output=str(target) or None,
        )

    def moment(self, who: Sleeper, now: Moment) -> None:
        super().moment(who, now)
        following = None if who.following is None else asdict(who.following)
        state = who.circle.state.word
        more: dict[str, Any] = {"connected": who.connected, "circle_state": state, "following": following}
        if self.brightest is not None:
            more["light"] = round(who.light(self.brightest), 4)
        _line(event="moment", **moment_json(now), **more)

    def udp(self, loss: UdpLoss | None, tunnelled: bool) -> None:
        if loss is None:
            _line(event="udp_back", tunnelled=tunnelled)
        else:
            _line(event="udp_lost", **asdict(loss), message=str(loss))

    def listened(self, listeners: tuple[Listener, ...]) -> None:
        _line(event="listened", listeners=[asdict(one) for one in listeners])

    def silenced(self, silence: Silence | None) -> None:
        _line(event="silenced", silence=None if silence is None else asdict(silence))

    def helped(self, calls: tuple[HelpCall, ...]) -> None:
        _line(event="help", calls=[asdict(one) for one in calls])

    def stopped(self, wish: StandingWish) -> None:
        _line(event="wish", **wish_json(wish))

    def suspended(self, count: int) -> None:
        _line(event="suspended", count=count, message=SUSPENDED)

    def dropped(self, count: int) -> None:
        _line(event="voice_dropped", count=count, message=DROPPED)

    def device(self, trouble: str) -> None:
        _line(event="device_lost" if trouble else "device_back", message=trouble)

    def over(self, circle: Circle) -> None:
        _line(event="closed", ending=circle.ending.word, reason=circle.reason)

    def end(self, message: str) -> None:
        _line(event="end", message=message)


def moment_json(now: Moment) -> dict[str, Any]:
    """A moment for programs."""
    sound = {name: round(value, 2) for name, value in asdict(now.sound).items()}
    return {
        **asdict(now),
        "lock_state": now.lock_state.word,
        "level_dbfs": round(max(now.level_dbfs, -120.0), 2),
        "sound": sound,
    }


def _line(**fields: Any) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


class _View(_Quiet):
    """The live status of one sleeper."""

    keys = lively = True

    def __init__(self) -> None:
        from rich.live import Live

        self._live = Live(auto_refresh=False)

    def __enter__(self) -> None:
        self._live.start()

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def moment(self, who: Sleeper, now: Moment) -> None:
        from rich.text import Text

        beat = "█" * (1 + int(now.phase_turns * 24))
        lines = Text()
        lines.append(f"{who.circle.state.word:<12}", style="bold")
        lines.append(f"clock {now.lock_state.word}, certain within {error_text(now.bound_ns)}")
        lines.append(f"   rate {now.rate_ppb / 1e3:+.2f} ppm\n", style="dim")
        lines.append(f"phase {now.phase_turns:.3f} ")
        lines.append(f"{beat:<25}", style="cyan")
        lines.append(f" offset {now.offset_turns:+.3f}")
        if self.seen is not None and self.seen.circle.weaving.mode is CircleMode.WOVEN:
            lines.append(woven_line(self.seen), style="green")
        for one in who.listeners:
            lines.append(
                f"\n{listener_text(one)}; `harmonia optout --purpose monitoring` ends it", style="bold magenta"
            )
        if who.following is not None:
            lines.append(f"\n{following_text(who.following)}", style="green")
        if now.muted:
            lines.append("   silent: you have opted out", style="bold magenta")
        if who.silence is not None:
            lines.append(
                f"\n{silence_text(who.silence)}", style="bold reverse" if who.silence.alarm else "bold magenta"
            )
        for call in who.calls:
            if call.waiting:
                lines.append(f"\n{call_text(call)}", style="bold green" if call.by else "bold red")
        if not (who.connected or all(one.taken_back for one in who.untold_calls)):
            lines.append(f"\n{UNTOLD}", style="bold red")
        lines.append(f"\n{meter_text(now, self.calibration)}", style="dim" if now.muted else "")
        if now.sound.dropped:
            lines.append(f"\n{DROPPED} ({now.sound.dropped} so far)", style="bold red")
        if (output := who.output) is not None and (output.trouble or output.glitches):
            lines.append(f"\n{output.trouble or output}", style="bold yellow")
        if who.woken:
            lines.append(f"\n{WOKEN}", style="magenta")
        if now.suspends:
            lines.append(f"\n{SUSPENDED} ({now.suspends} so far)", style="dim")
        if (loss := who.udp_loss) is not None:
            lines.append(f"\n{loss}", style="bold yellow")
        elif who.tunnelled:
            lines.append(f"\n{TUNNELLED}", style="dim")
        if who.open_offers:
            lie = "1 offer lies" if who.open_offers == 1 else f"{who.open_offers} offers lie"
            lines.append(f"\n{lie} open; `harmonia offers` shows them", style="dim")
        if self.choosing:
            lines.append(f"\n{menu_text(who)}", style="bold")
        lines.append(f"\n{who.trouble or KEYS}", style="dim")
        self._live.update(lines, refresh=True)


def silence_text(silence: Silence) -> str:
    """That the room is silent, and why, as far as it is known."""
    what = "ALARM" if silence.alarm else "the room is silent"
    who = f", by {silence.by}" if silence.by else ""
    return f"{what}{who}{': ' if silence.message else ''}{silence.message}"


def following_text(following: Following) -> str:
    """How a rhythm stands to its living signal, in one line."""
    estimate = following.estimate
    heard = f"signal {estimate.frequency_hz:.3f} Hz, confidence {estimate.confidence:.2f}"
    if following.missing:
        return f"{heard}; not followed: grant {' and '.join(following.missing)}"
    return heard if following.said_hz is None else f"{heard}; followed at {following.said_hz:.3f} Hz"


def _shower(json_lines: bool, no_view: bool) -> _Quiet:
    if json_lines:
        return _JsonLines()
    if no_view or not sys.stdout.isatty():
        return _Quiet()
    return _View()
