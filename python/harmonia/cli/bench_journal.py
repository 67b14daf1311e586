"""`harmonia bench journal`: what it costs not to forget: appending, reading again, restarting, and asking for consent.

Appends go to a disk whose every sync takes a stated time, so that the figure tells how well commits are grouped and not
how fast this disk is. The journal that is read again is that of many nights: people join one after another and set what
is theirs, and from then on one or another of them changes something. Every event of it is read, decoded and applied;
there is no snapshot. CPU time is given beside wall time: on a busy machine it is the fairer of the two.
"""

import itertools
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import apsw
import click
import trio

from harmonia.cli.common import echo_json, json_option
from harmonia.domain import circle as circles
from harmonia.domain import sleeper as sleepers
from harmonia.domain.consent import Purpose
from harmonia.domain.events import (
    ApartKept,
    CircleCreated,
    ConsentGranted,
    ConsentWithdrawn,
    CouplingSet,
    Event,
    HearingSet,
    OffsetSet,
    PersonEvent,
    RhythmOwned,
    SanctuaryFounded,
    SleeperJoined,
    VoiceSet,
    encode,
)
from harmonia.domain.rhythm import Rhythm
from harmonia.engine.sanctuary import Sanctuary
from harmonia.journal import ANY
from harmonia.journal.opening import open_sealed
from harmonia.journal.sqlite import SqliteJournal
from harmonia.testing import FakePlane, fake_scores

START_NS = 1_800_000_000_000_000_000
CHANNELS = 4
CIRCLES = 100
SLEEPERS = 10_000
EVENT_BYTES = 120
_SCORE = "\n".join(("theta: 200+5/20 100+5/20 300+5/20 400+5/20", "NOW theta", ""))


class _SlowSync(apsw.VFS):
    """A disk that takes its time over every sync, and is the system's otherwise."""

    def __init__(self, sync_s: float) -> None:
        self.name = f"slow-sync-{id(self)}"
        self._sync_s = sync_s
        super().__init__(self.name, "")

    def xOpen(self, name: "str | apsw.URIFilename | None", flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        return _SlowFile(self._sync_s, name, flags)


class _SlowFile(apsw.VFSFile):
    def __init__(self, sync_s: float, name: "str | apsw.URIFilename | None", flags: list[int]) -> None:
        super().__init__("", name, flags)
        self._sync_s = sync_s

    def xSync(self, flags: int) -> None:  # noqa: N802, ARG002
        time.sleep(self._sync_s)


def measure_appends(folder: Path, appenders: int, seconds: float, sync_ms: float) -> dict[str, float]:
    """Acknowledged appends a second of wall time, and what each costs."""
    disk = _SlowSync(sync_ms / 1000)
    journal = SqliteJournal(folder / "appends.db", vfs=disk.name)
    over, counts = threading.Event(), [0] * appenders
    data = bytes(EVENT_BYTES)

    def append(n: int) -> None:
        for i in itertools.count():
            if over.is_set():
                return
            journal.append(f"person/{n}", ANY, b"%d" % i, data)
            counts[n] += 1

    threads = [threading.Thread(target=append, args=(n,)) for n in range(appenders)]
    began, cpu = time.monotonic(), time.process_time()
    for thread in threads:
        thread.start()
    over.wait(seconds)
    over.set()
    for thread in threads:
        thread.join()
    took, cpu = time.monotonic() - began, time.process_time() - cpu
    journal.close()
    disk.unregister()
    total = sum(counts)
    return {
        "appends_per_s": total / took,
        "append_cpu_us": cpu / total * 1e6,
        "appenders": appenders,
        "sync_ms": sync_ms,
    }


def events(circle_count: int, sleeper_count: int, count: int) -> Iterator[tuple[str, Event]]:
    """So many events of a sanctuary, each with its stream: the same in every run."""
    source, t_ns = random.Random(1), START_NS
    yield "sanctuary", SanctuaryFounded("sanctuary-bench", t_ns)
    names = [f"circle-{n:016}" for n in range(circle_count)]
    score = ("bench.sbg", "sbg", _SCORE, CHANNELS, None)
    for name in names:
        yield f"circle/{name}", CircleCreated(name, "bench", *score, sleeper_count, None, None, t_ns)
    left = count - circle_count - 1
    withdrawn: dict[tuple[int, Purpose], bytes] = {}
    for n in range(sleeper_count):
        sleeper_id, keys = f"sleeper-{n:016}", (source.randbytes(32), source.randbytes(32), source.randbytes(32))
        joined = SleeperJoined(names[n % circle_count], sleeper_id, *keys, t_ns)
        for event in itertools.islice((joined, *_arrival(source, t_ns)), max(left, 0)):
            left -= 1
            yield f"person/{sleeper_id}", event
    for _ in range(left):
        n = source.randrange(sleeper_count)
        t_ns += 1_000_000
        yield f"person/sleeper-{n:016}", _change(source, n, t_ns, withdrawn)


def _arrival(source: random.Random, t_ns: int) -> list[PersonEvent]:
    allowed = (Purpose.PRESENCE, Purpose.HEARING, Purpose.VOICE, Purpose.PULL, Purpose.VISIBILITY)
    grants = [ConsentGranted(p, "", 1.0, None, b"", source.randbytes(16), t_ns) for p in allowed]
    voice = tuple(complex(source.random(), source.random()) for _ in range(CHANNELS))
    return [*grants, OffsetSet(source.getrandbits(62), t_ns), VoiceSet(voice, t_ns), HearingSet(1.0, 1.0, t_ns)]


def _change(source: random.Random, n: int, t_ns: int, withdrawn: dict[tuple[int, Purpose], bytes]) -> PersonEvent:
    """Half of it settings, a quarter consent, the rest rhythms and wishes to keep apart."""
    kind, purpose = source.random(), source.choice(list(Purpose))
    if kind < 0.3:
        return OffsetSet(source.getrandbits(62), t_ns)
    if kind < 0.4:
        return HearingSet(source.random(), source.random(), t_ns)
    if kind < 0.5:
        return CouplingSet(source.random(), source.random(), t_ns)
    if kind < 0.6:
        event_id = withdrawn[n, purpose] = source.randbytes(16)
        return ConsentWithdrawn((purpose,), event_id, t_ns)
    if kind < 0.75:
        named = withdrawn.get((n, purpose), b"")
        return ConsentGranted(purpose, "", 1.0, None, named, source.randbytes(16), t_ns)
    if kind < 0.9:
        return RhythmOwned(Rhythm.constant(t_ns, source.uniform(0.1, 40.0)).segments, None, t_ns)
    if kind < 0.95:
        return VoiceSet(tuple(complex(source.random(), source.random()) for _ in range(CHANNELS)), t_ns)
    return ApartKept(f"sleeper-{source.randrange(8):016}", True, False, t_ns)


def write(folder: Path, circle_count: int, sleeper_count: int, count: int) -> None:
    """A journal of so many events, past its writer: only reading it is measured. Whoever opens it seals it first."""
    path = folder / "journal.db"
    SqliteJournal(path).close()
    rows = ((stream, os.urandom(16), encode(event)) for stream, event in events(circle_count, sleeper_count, count))
    with apsw.Connection(str(path)) as connection:
        connection.executemany("INSERT INTO events(stream, event_id, data) VALUES (?, ?, ?)", rows)
        connection.execute("UPDATE meta SET value = 1 WHERE key = 'format'")


def measure_replay(folder: Path, count: int) -> dict[str, float]:
    """Seconds until a sanctuary has read, unsealed, decoded and applied all of a journal."""
    write(folder, CIRCLES, SLEEPERS, count)
    journal = open_sealed(folder)
    sanctuary = Sanctuary(journal, FakePlane(lambda: START_NS), os.urandom, fake_scores)
    began, cpu = time.monotonic(), time.process_time()
    trio.run(sanctuary.read_journal)
    took = {"events_replay_s": time.monotonic() - began, "events_replay_cpu_s": time.process_time() - cpu}
    journal.close()
    return {**took, "events": count}


def measure_restart(folder: Path, count: int) -> dict[str, float]:
    """Seconds from starting a real daemon until it listens, with its clock kept and everybody let in."""
    data = folder / "data"
    command = [sys.executable, "-m", "harmonia.cli", "serve", "--data", str(data), "--port", "0", "--json"]
    data.mkdir()
    write(data, CIRCLES, SLEEPERS, count)
    _until_it_listens(command)  # makes certificates, and the clock that the journal then knows
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    took = _until_it_listens(command) - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    joined = sum(isinstance(event, SleeperJoined) for _, event in events(CIRCLES, SLEEPERS, count))
    return {"restart_s": took, "restart_cpu_s": cpu, "restart_circles": CIRCLES, "restart_sleepers": joined}


def _until_it_listens(command: list[str]) -> float:
    """When it did, monotonic seconds; then it is killed."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout is not None
        line = daemon.stdout.readline()
        listened = time.monotonic()
        daemon.kill()
    json.loads(line)
    return listened


def measure_consent() -> dict[str, float]:
    """Milliseconds of CPU time for every sleeper's effective consent to every purpose."""
    granted = [ConsentGranted(p, "", 1.0, None, b"", bytes([p]) * 16, START_NS) for p in Purpose]
    joined = [SleeperJoined("circle", f"sleeper-{n}", b"", b"", b"", START_NS) for n in range(SLEEPERS)]
    people = [sleepers.apply(None, event) for event in joined]
    for event in granted:
        people = [sleepers.apply(person, event) for person in people]
    score = ("bench.sbg", "sbg", _SCORE, CHANNELS, None)
    circle = circles.apply(None, CircleCreated("circle", "bench", *score, SLEEPERS, None, None, START_NS))
    began = time.process_time()
    limits = sleepers.limits_of(circle)
    allowed = [person.allowed(limits, START_NS) for person in people]
    took = time.process_time() - began
    assert sum(map(len, allowed)) == SLEEPERS * len(Purpose)
    return {"consent_ms": took * 1000, "consent_sleepers": SLEEPERS, "consent_purposes": len(Purpose)}


@click.command()
@click.option("--seconds", type=click.FloatRange(0.1, 600), default=3.0, show_default=True, help="How long to append.")
@click.option(
    "--appenders", type=click.IntRange(1, 4096), default=512, show_default=True, help="Threads that append at once."
)
@click.option(
    "--sync-ms", type=click.FloatRange(0, 1000), default=3.0, show_default=True, help="What a sync of the disk takes."
)
@click.option(
    "--events",
    "count",
    type=click.IntRange(1000),
    default=1_000_000,
    show_default=True,
    help="How many to read again.",
)
@json_option
def journal(seconds: float, appenders: int, sync_ms: float, count: int, as_json: bool) -> None:
    """What it costs not to forget: acknowledged appends a second, reading a journal again, restarting, asking consent.

    The restart is a real daemon's, of 100 circles and 10,000 sleepers with twenty events each.
    """
    measured = measure_consent()
    with tempfile.TemporaryDirectory(prefix="harmonia-bench-") as name:
        folder = Path(name)
        measured |= measure_appends(folder, appenders, seconds, sync_ms)
        measured |= measure_replay(folder, count)
        measured |= measure_restart(folder, min(count, 20 * SLEEPERS))
    if as_json:
        echo_json(measured)
        return
    click.echo(
        f"{measured['appends_per_s']:.0f} acknowledged appends a second by {appenders} at once, a sync taking"
        f" {sync_ms:g} ms ({measured['append_cpu_us']:.0f} µs of CPU time each)\n"
        f"{count} events read again in {measured['events_replay_s']:.1f} s"
        f" ({measured['events_replay_cpu_s']:.1f} s of CPU time)\n"
        f"{CIRCLES} circles and {measured['restart_sleepers']} sleepers restarted in {measured['restart_s']:.1f} s"
        f" ({measured['restart_cpu_s']:.1f} s of CPU time)\n"
        f"{SLEEPERS} people's consent to {len(Purpose)} purposes in {measured['consent_ms']:.0f} ms of CPU time"
    )
