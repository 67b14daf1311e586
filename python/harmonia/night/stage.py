"""The night itself: starts everybody, lets half-way happen, waits for the end, and leaves nobody running."""

import json
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from harmonia import _core, errors
from harmonia.client import Circle, CircleState, CircleView, Sanctuary, ScoreText
from harmonia.night.children import Child, child
from harmonia.night.diary import Diary
from harmonia.night.plan import OFFSET_TURNS, RECORDER, Plan
from harmonia.night.truth import NodeTruth
from harmonia.night.view import Show

START_S = 30.0
"""How long a daemon or a sleeper may take to start on a busy machine."""
OVERTIME_S = 15.0
"""How long after its planned end a circle may still be open before the host closes it."""
INTERVAL_S = 0.2
STARTING_MAX = 4
"""Sleepers who may be on their way in at the same time."""
MARK = ".harmonia-night"


@dataclass(slots=True)
class Stage:
    """Where a night takes place."""

    folder: Path
    score: ScoreText
    plan: Plan
    show: Show
    keep: bool = False
    diaries: list[Diary] = field(default_factory=list)
    rhythm: _core.Rhythm | None = None
    circle: Circle | None = None
    half_way_ns: int = 0

    @property
    def data_dir(self) -> Path:
        """The sanctuary's data folder."""
        return self.folder / "data"

    @property
    def log_dir(self) -> Path:
        """Where every process's log goes."""
        return self.folder / "logs"

    @property
    def sleepers_dir(self) -> Path:
        """Where the sleepers' state files are: theirs, not the sanctuary's."""
        return self.folder / "sleepers"


def prepare(stage: Stage) -> None:
    """Makes an empty folder of ours. Raises BadInput rather than touch a folder that is somebody else's."""
    folder = stage.folder
    try:
        if folder.exists() and any(folder.iterdir()) and not (folder / MARK).exists():
            raise errors.BadInput(
                f"{folder} is not empty and not from an earlier night; name a new folder with --output"
            )
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARK).write_text("This folder is written anew by `harmonia night`.\n")
        for path in (stage.data_dir, stage.log_dir, stage.sleepers_dir):
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir(mode=0o700)
    except OSError as error:
        raise errors.StorageError(f"cannot write {error.filename or folder}: {error.strerror}") from None


def tidy(stage: Stage) -> None:
    """Removes what holds secrets, once the report is written."""
    for path in (stage.data_dir, stage.sleepers_dir):
        shutil.rmtree(path, ignore_errors=True)


async def play(stage: Stage) -> None:
    """Plays the whole night. Raises a HarmoniaError if anybody ends who should not."""
    async with _sanctuary(stage) as sanctuary, trio.open_nursery() as nursery:
        plan, show = stage.plan, stage.show
        truth = NodeTruth.find(stage.data_dir)
        circle = await sanctuary.create_circle(
            stage.score,
            title="First night",
            capacity=len(plan.sleepers) + 1,
            gather_s=plan.gather_s,
            night_s=plan.night_s,
        )
        stage.circle = circle
        invitations = [str(one) for one in await sanctuary.invitations(circle.circle_id, len(plan.sleepers) + 1)]
        show.say(f"circle {circle.circle_id} gathers for {plan.gather_s:.0f} s; {len(plan.sleepers)} sleepers come")
        async with AsyncExitStack() as stack:
            people: list[Child] = []
            over = trio.Event()
            for planned, invitation in zip(plan.sleepers, invitations[1:], strict=True):
                number = len(people)
                options = [
                    f"--clock-offset={planned.clock_offset_s:.6f}",
                    f"--clock-drift={planned.clock_drift_ppm:.3f}",
                    f"--seed={planned.seed}",
                    f"--voice={planned.voice}",
                ]
                if planned.grants_recording:
                    options.append("--grant=recording")
                if number == plan.mixes:
                    options.append(f"--output={stage.folder / 'mix.wav'}")
                arguments = ["join", "-", *_common(stage), *options]
                await _room(stage)
                people.append(await stack.enter_async_context(child(planned.name, arguments, stage.log_dir)))
                await people[-1].tell(invitation)  # not by its arguments, which everybody on this machine can read
                stage.diaries.append(Diary(planned, planned.name))
                nursery.start_soon(_read, people[-1], stage.diaries[-1], truth, over)
            arguments = ["record", "-", *_common(stage), f"--output={stage.folder / 'field.wav'}"]
            recorder = await stack.enter_async_context(child(RECORDER, arguments, stage.log_dir))
            await recorder.tell(invitations[0])
            nursery.start_soon(_read, recorder, Diary(None, RECORDER), truth, over)
            await _watch(stage, sanctuary, people)
            over.set()
            show.say("the circle has closed; recordings are being finished")
            with trio.move_on_after(START_S):
                for one in (*people, recorder):
                    await one.ended()
        nursery.cancel_scope.cancel()


async def _room(stage: Stage) -> None:
    """Waits until few enough sleepers are starting: all at once would only keep each other waiting."""
    while sum(not diary.sleeper_id for diary in stage.diaries) >= STARTING_MAX:  # noqa: ASYNC110 (they are processes)
        await trio.sleep(0.02)


def _common(stage: Stage) -> list[str]:
    return [f"--data={stage.folder}", "--json-lines", f"--interval={INTERVAL_S}", "--control"]


@asynccontextmanager
async def _sanctuary(stage: Stage) -> AsyncIterator[Sanctuary]:
    """A daemon on free ports, and its host's connection to it."""
    arguments = ["serve", f"--data={stage.data_dir}", "--port=0", "--udp-port=0", "--json", "--with-stdin"]
    async with child("sanctuary", arguments, stage.log_dir) as daemon:
        place = None
        with trio.move_on_after(START_S):
            place = await daemon.first_line()
        if place is None:
            if daemon.returncode is not None:
                raise daemon.failure()
            raise errors.Unreachable(f"the sanctuary did not start within {START_S:.0f} s")
        stage.show.say(
            f"sanctuary {place['sanctuary_id']} on {place['host']}:{place['grpc_port']} (gRPC over TLS) and "
            f"UDP {place['udp_port']}; data in {stage.data_dir}"
        )
        async with Sanctuary.at(stage.data_dir) as sanctuary, trio.open_nursery() as nursery:
            nursery.start_soon(_must_not_end, daemon)
            yield sanctuary
            nursery.cancel_scope.cancel()


async def _must_not_end(one: Child) -> None:
    await one.ended()
    raise one.failure()


async def _read(one: Child, diary: Diary, truth: NodeTruth, over: trio.Event) -> None:
    """Keeps a sleeper's diary; their end before the night's is a failure."""
    try:
        async with aclosing(one.lines()) as lines:
            async for line in lines:
                diary.note(line, truth)
    except json.JSONDecodeError:
        raise errors.HarmoniaError(f"{one.name} printed what is not JSON; see {one.errors_path}") from None
    if not over.is_set():
        await one.ended()
        if one.returncode != 0 or not diary.sights:
            raise one.failure()


async def _watch(stage: Stage, sanctuary: Sanctuary, people: list[Child]) -> None:
    """Follows the circle to its end, and lets half-way happen."""
    plan, show, circle = stage.plan, stage.show, stage.circle
    if circle is None:
        raise errors.NotFound("the night has no circle")
    half_way = False
    with trio.move_on_after(START_S + plan.gather_s + plan.night_s * 1.2 + OVERTIME_S) as limit:
        async with sanctuary.watch(circle.circle_id, 0.25) as answers, trio.open_nursery() as nursery:
            async for seen in answers:
                stage.circle = seen.circle
                if seen.circle.rhythm is not None:
                    stage.rhythm = _core.Rhythm(seen.circle.rhythm.segments)
                show.update(seen, stage.diaries, _left_s(stage, seen))
                epoch_ns = seen.circle.epoch_ns
                if epoch_ns is not None and not half_way:
                    stage.half_way_ns = epoch_ns + round(plan.night_s / 2 * 1e9)
                    if seen.node_time_ns >= stage.half_way_ns:
                        half_way = True
                        nursery.start_soon(_half_way, stage, people, seen)
                if seen.circle.state is CircleState.CLOSED:
                    nursery.cancel_scope.cancel()
                    return
    if limit.cancelled_caught:
        show.say("the circle is still open after its time; its host closes it")
    await sanctuary.advance(circle.circle_id, CircleState.CLOSED)


def _left_s(stage: Stage, seen: CircleView) -> float:
    if seen.circle.epoch_ns is None:
        return stage.plan.gather_s + stage.plan.night_s
    return stage.plan.night_s - (seen.node_time_ns - seen.circle.epoch_ns) / 1e9


async def _half_way(stage: Stage, people: list[Child], seen: CircleView) -> None:
    """One sets a quarter turn; one opts out, by their own platform's command: it is silent before anybody is told."""
    plan = stage.plan
    setter, leaver = plan.offsets, plan.opts_out
    stage.diaries[setter].offset_set_ns = seen.node_time_ns
    await people[setter].tell(f"offset {OFFSET_TURNS}")
    stage.show.say(f"half-way: {stage.diaries[setter].name} sets an offset of a quarter turn")
    wait_s = 0.0
    if leaver in (plan.mixes, setter):
        # With so few sleepers, let the one who leaves be heard a little longer.
        wait_s = plan.night_s / 4
        await trio.sleep(wait_s)
    stage.diaries[leaver].opted_out_ns = seen.node_time_ns + round(wait_s * 1e9)
    await people[leaver].tell("optout")
    stage.show.say(f"          {stage.diaries[leaver].name} opts out of everything")
