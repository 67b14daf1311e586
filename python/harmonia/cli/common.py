"""What several commands share: the data folder, circles by id, prefix or title, sleepers of this machine, output."""

import hashlib
import json
import os
import shutil
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict, astuple
from pathlib import Path
from typing import Any, TypeVar

import click
import trio

from harmonia import _core, errors, failpoints
from harmonia.client import (
    Circle,
    CircleState,
    Identity,
    Invitation,
    NightPlan,
    Sanctuary,
    ScoreText,
    SleeperCalls,
    SleeperView,
    Ticket,
    stems,
    views,
)
from harmonia.client.udp import LOST_S

T = TypeVar("T")
Command = TypeVar("Command", bound=Callable[..., Any])

WAITING = ".waiting"
"""What the name of a ticket's file ends in: of somebody who waits for a place."""
FORMATS = {".sbg": "sbg", ".sbgf": "sbg", ".toml": "toml"}
SCORE_BYTES_MAX = 1 << 20

DATA_DEFAULT = "harmonia-data"
data_option = click.option(
    "--data",
    "data_dir",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="HARMONIA_DATA",
    default=DATA_DEFAULT,
    show_default=True,
    show_envvar=True,
    help="The sanctuary's data folder; sleepers of this machine keep their state there too.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
sleeper_option = click.option("--sleeper", help="Which sleeper of this machine: their id or its beginning.")


def arm_failpoints(what: str) -> None:
    """Takes failpoints from the environment, for tests, and says on standard error what they break. Raises BadInput."""
    failpoints.arm(os.environ.get(failpoints.VARIABLE, ""))
    if failpoints.armed():
        click.echo(f"warning: {failpoints.VARIABLE} breaks this {what} at {', '.join(failpoints.armed())}", err=True)


MAX_DRIFT_PPM = 500.0
MAX_WANDER = 1e-7
"""What is stated of clocks that nobody has measured; docs/tracking.md says why."""


def stated_options(command: Command) -> Command:
    """The options ``max_drift_ppm`` and ``max_wander``: what the certified bounds of this clock rest on."""
    drift = click.option(
        "--max-drift-ppm",
        type=click.FloatRange(0, 100_000),
        default=MAX_DRIFT_PPM,
        show_default=True,
        metavar="PPM",
        help="Largest frequency difference of the clocks: bounds rest on it.",
    )
    wander = click.option(
        "--max-wander",
        type=click.FloatRange(0, 1e-3),
        default=MAX_WANDER,
        show_default=True,
        metavar="W",
        help="Largest change of that difference in a second (1e-7: 0.1 ppm): bounds rest on it.",
    )
    return drift(wander(command))


def stated_text(max_drift_ppb: int, max_wander: float) -> str:
    """What a bound rests on, to be said with it."""
    return f"if drift stays within {max_drift_ppb / 1e3:g} ppm and changes by at most {max_wander:g}/s"


def read_certificates(paths: tuple[Path, ...]) -> bytes | None:
    """Certificates (PEM) from these files; None for no file. Raises NotFound, StorageError."""
    found = []
    for path in paths:
        try:
            found.append(path.read_bytes())
        except FileNotFoundError:
            raise errors.NotFound(f"{path}: no such file") from None
        except OSError as error:
            raise errors.StorageError(f"{path}: {error.strerror}") from None
    return b"\n".join(found) if found else None


def run(work: Callable[[], Awaitable[T]]) -> T:
    """Runs ``work`` on trio; a failure arrives as itself, not wrapped in groups."""
    try:
        return trio.run(work)
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None


def echo_json(value: Any) -> None:
    """One JSON document, or one line of JSON lines."""
    click.echo(json.dumps(value, allow_nan=False))


def read_score(path: Path) -> ScoreText:
    """A score file, not validated yet. Raises NotFound, BadInput, StorageError."""
    if path.suffix.lower() not in FORMATS:
        raise errors.BadInput(f"{path}: a score's name must end in .toml, .sbg or .sbgf")
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise errors.NotFound(f"{path}: no such file") from None
    except OSError as error:
        raise errors.StorageError(f"{path}: {error.strerror}") from None
    if len(content) > SCORE_BYTES_MAX:
        raise errors.BadScore(f"{path}: {len(content)} bytes; a score has at most {SCORE_BYTES_MAX}")
    format = FORMATS[path.suffix.lower()]
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if format != "sbg":
            line = content.count(b"\n", 0, error.start) + 1
            raise errors.BadScore(f"{path}:{line}: not UTF-8 text; save the file as UTF-8") from None
        text = _western(content)
    return ScoreText(path.name, format, text)


def _western(content: bytes) -> str:
    """Text from before UTF-8, as in the comments of older ``.sbg`` files: Windows-1252, else Latin-1."""
    try:
        return content.decode("cp1252")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def music_beside(score_file: Path, score: ScoreText) -> list[Path]:
    """The recordings that a score wants and that lie beside it; none if it cannot be played at all. Blocks."""
    try:
        parsed = _core.Score.parse(score.text, score.name, "sbg" if score.format == "sbg" else "toml")
    except _core.ScoreError:
        return []
    return stems.beside(parsed, [score_file.parent])


def called_as() -> str:
    """How this command line is called here: what to put before a command that is suggested."""
    return os.environ.get("HARMONIA_CALLED_AS", "harmonia")


async def find_circle(sanctuary: Sanctuary, text: str) -> Circle:
    """The circle whose id or title is ``text``, or whose id alone begins with it. Raises NotFound, BadInput."""
    try:
        return await sanctuary.circle(text)
    except errors.NotFound:
        circles = await sanctuary.circles()
    titled = [c for c in circles if c.title == text]
    found = titled or [c for c in circles if is_short_for(text, c.circle_id)]
    if len(found) == 1:
        return found[0]
    if found:
        raise errors.BadInput(f"{text!r} fits {', '.join(c.circle_id for c in found)}; give more of the id")
    known = ", ".join(f"{c.circle_id} ({c.title})" if c.title else c.circle_id for c in circles[:5]) or "none yet"
    raise errors.NotFound(f"no circle {text!r} here; there are: {known}")


def is_short_for(text: str, identifier: str) -> bool:
    """Whether ``text`` begins the identifier, with or without the word that says what it is."""
    return identifier.startswith(text) or identifier.partition("-")[2].startswith(text)


def sleepers_dir(data_dir: Path) -> Path:
    """Where the sleepers that joined from this machine keep their state files."""
    return data_dir / "sleepers"


def past_dir(data_dir: Path) -> Path:
    """Where they are kept once the night is over."""
    return sleepers_dir(data_dir) / "past"


def put_by(data_dir: Path, state_file: Path, sleeper_id: str) -> Path:
    """Keeps the state of a sleeper whose night is over, and says where: its credential still withdraws (`optout`) and
    shows what is known of them (`me`).
    """
    kept = past_dir(data_dir) / f"{sleeper_id}.json"
    with suppress(OSError):
        kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.move(state_file, kept)
    return kept if kept.exists() else state_file


async def tell_kept_withdrawals(data_dir: Path, calls: SleeperCalls) -> None:
    """Tells what a state file says is withdrawn and not told yet; what cannot be told stays in it.

    The file of a sleeper who may be running is theirs to write: they tell the same again, which changes nothing.
    """
    path = calls.identity.path
    with suppress(errors.HarmoniaError):
        await calls.tell_withdrawals()
        if path is not None and path.parent == past_dir(data_dir):
            calls.identity.save()


def clock_log_path(data_dir: Path, sleeper_id: str) -> Path:
    """Where `join --log-clock` writes the clock log of a sleeper of this machine."""
    return sleepers_dir(data_dir) / f"{sleeper_id}.clock.jsonl"


def find_clock_log(data_dir: Path, sleeper: str | None) -> Path:
    """The newest clock log of the sleepers of this machine, or of the one who is meant. Raises NotFound."""
    logs = sorted(sleepers_dir(data_dir).glob("*.clock.jsonl"), key=lambda path: path.stat().st_mtime)
    fits = [path for path in logs if is_short_for(sleeper or "", path.name)]
    if not fits:
        raise errors.NotFound(
            f"no clock log in {sleepers_dir(data_dir)}; `harmonia join --log-clock` writes one there, or name one with "
            "--log"
        )
    return fits[-1]


def find_sleeper(data_dir: Path, sleeper: str | None, circle: str | None = None, *, past: bool = False) -> Identity:
    """The one sleeper of this machine who is meant. Raises NotFound if there is none, BadInput if several fit.

    ``past``: also one whose night is over, if they are named or nobody else is here.
    """
    if sleeper is not None and Path(sleeper).is_file():
        return Identity.load(Path(sleeper))
    known = [Identity.load(path) for path in sorted(sleepers_dir(data_dir).glob("*.json"))]
    if past and (not known or (sleeper is not None and not any(is_short_for(sleeper, i.sleeper_id) for i in known))):
        known = [Identity.load(path) for path in sorted(past_dir(data_dir).glob("*.json"))]
    fits = [i for i in known if is_short_for(sleeper or "", i.sleeper_id) and is_short_for(circle or "", i.circle_id)]
    if len(fits) == 1:
        return fits[0]
    if fits:
        names = ", ".join(f"{i.sleeper_id} (in {i.circle_id})" for i in fits)
        raise errors.BadInput(f"several sleepers joined from here; choose with --sleeper: {names}")
    if known:
        names = ", ".join(i.sleeper_id for i in known)
        raise errors.NotFound(f"no such sleeper in {sleepers_dir(data_dir)}; there are: {names}")
    raise errors.NotFound(
        f"nobody has joined from {data_dir}; join first with `harmonia join`, or name the folder with --data"
    )


def waiting_path(data_dir: Path, invitation: Invitation) -> Path:
    """Where somebody of this machine who waits with that invitation keeps their ticket."""
    token = hashlib.sha256(invitation.token.encode()).hexdigest()[:8]
    return sleepers_dir(data_dir) / f"{invitation.circle_id}-{token}{WAITING}"


def find_tickets(data_dir: Path, circle: str) -> list[Ticket]:
    """The tickets of those of this machine who wait, for the circle whose id begins so."""
    paths = sorted(sleepers_dir(data_dir).glob(f"*{WAITING}"))
    return [Ticket.load(path) for path in paths if is_short_for(circle, path.name)]


def plan_text(plan: NightPlan) -> str:
    """A night in civil time, in a few words."""
    gather, lights, wake, until = (text.replace("T", " ")[:16] for text in astuple(plan)[1:])
    return (
        (f"{gather}, " if gather else "")
        + f"lights-out {_later(lights, gather)}"
        + (f", wakes {_later(wake, lights)}" if wake else "")
        + (f" to {_later(until, wake)}" if until != wake else "")
        + f" {plan.zone}"
    )


def _later(moment: str, before: str) -> str:
    """A moment as it is said after another: without the date that both have."""
    return moment[11:] if moment[:10] == before[:10] else moment


def span_text(ns: int) -> str:
    """A length of time as people say it: 7 h 05 min, 12 min, 40 s."""
    minutes, seconds = divmod(max(0, ns) // 1_000_000_000, 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} days"
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {seconds:02} s" if minutes else f"{seconds} s"


def countdown_text(circle: Circle, now_ns: int) -> str:
    """How long it is until what comes next, for people; empty while nobody knows."""
    ahead = (
        ("gathers", circle.gathers_ns if circle.state is CircleState.DRAFT else None),
        ("lights-out", circle.begins_ns),
        ("wakes", circle.wakes_ns if circle.state < CircleState.WAKING else None),
        ("ends", circle.ends_ns if circle.state < CircleState.DIALOGUE else None),
    )
    if not circle.open:
        return circle.ending_words
    return ", ".join(f"{what} in {span_text(at - now_ns)}" for what, at in ahead if at is not None and at > now_ns)


def circle_json(circle: Circle) -> dict[str, Any]:
    """A circle for programs; the score's text is left out."""
    return {
        "circle_id": circle.circle_id,
        "title": circle.title,
        "state": circle.state.word,
        "score": {"name": circle.score.name, "format": circle.score.format},
        "epoch_ns": circle.epoch_ns,
        "rhythm_hz": None if circle.rhythm is None else views.segment_hz(circle.rhythm.segments[-1]),
        "capacity": circle.capacity,
        "sleepers": circle.sleepers,
        "waiting": circle.waiting,
        "channels": circle.channels,
        "plan": None if circle.plan is None else asdict(circle.plan),
        "gathers_ns": circle.gathers_ns,
        "begins_ns": circle.begins_ns,
        "wakes_ns": circle.wakes_ns,
        "ends_ns": circle.ends_ns,
        "cause": circle.cause.word,
        "ending": circle.ending.word,
        "reason": circle.reason,
        "series_id": circle.series_id,
        "night": circle.night,
        "weaving": {**asdict(circle.weaving), "mode": circle.weaving.mode.word},
    }


def silence_text(view: SleeperView) -> str:
    """What the sanctuary says of a platform that has a session and sends nothing; empty while it sends."""
    if view.silent_ns < LOST_S * 1e9:
        return ""
    ever = "the last one" if view.silent_ns < view.session_age_ns else "none since its session was opened"
    ago = f"{view.silent_ns / 1e9:.0f} s ago"
    return f"no datagram from it: {ever} {ago}; either it is off, or UDP is blocked on the way"


def sleeper_json(view: SleeperView) -> dict[str, Any]:
    """A sleeper as the circle sees them, for programs."""
    return {
        **asdict(view),
        "lock_state": view.lock_state.word,
        "phase_turns": views.turns(view.phase_bits),
        "offset_turns": views.turns(view.offset_bits),
        "granted": [purpose.word for purpose in view.granted],
    }
