"""CircleService: opening circles, inviting to them, joining, watching."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from harmonia.domain.admission import secret_hash
from harmonia.domain.consent import Purpose
from harmonia.engine.conductor import Conductor
from harmonia.engine.entrance import Joined
from harmonia.engine.views import CircleView, SleeperRow
from harmonia.errors import BadInput, NotNow
from harmonia.rpc import codec
from harmonia.rpc.auth import Caller, caller, check_join_proof, sleeper
from harmonia.rpc.interceptor import Streams
from harmonia.rpc.services.house import House
from harmonia.v1 import circle_pb2, circle_pb2_grpc

PAGE_MAX = 100
PAGE_BYTES_MAX = 2 << 20
"""A page of circles is smaller than this, or holds but one: each brings its score, and gRPC clients take 4 MiB."""
INTERVAL_NS_MIN = 50_000_000
INTERVAL_NS_DEFAULT = 1_000_000_000
_WAIT_PACE_S = 1.0
"""The shortest time between two looks of somebody who waits for a place."""


class CircleServicer(circle_pb2_grpc.CircleServiceServicer):
    """Communal sleep events."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._sent: dict[str, tuple[CircleView, bytes]] = {}
        self._waits = Streams()
        """Of those who wait for a place, who have no name yet, by their token."""

    async def CreateCircle(self, request: Any, _context: Any) -> circle_pb2.CreateCircleResponse:  # noqa: N802
        """Opens a circle in gathering, or as a draft."""
        wall = self._house.sanctuary.wall
        plan, notes = codec.parse_night_wish(request.wish, wall) if request.HasField("wish") else (None, [])

        async def create() -> Conductor:
            return await self._house.sanctuary.create_circle(
                title=request.title or request.score.name,
                score_name=request.score.name,
                score_format=codec.parse_format(request.score.format),
                score_text=request.score.text,
                capacity=request.capacity,
                gather_ns=request.gather_ns if request.HasField("gather_ns") else None,
                night_ns=request.night_ns if request.HasField("night_ns") else None,
                weaving=codec.parse_new_weaving(request.weaving),
                plan=plan,
                draft=request.draft,
            )

        made = await self._house.bridge.call(create)
        return circle_pb2.CreateCircleResponse(circle=codec.circle_of(made), notes=notes)

    async def EditCircle(self, request: Any, _context: Any) -> circle_pb2.EditCircleResponse:  # noqa: N802
        """Changes what of a circle can still be changed."""
        conductor, house, given = self._house.visible_circle(request.circle_id), self._house, request.score
        schedule, notes = None, list[str]()
        if request.HasField("schedule"):
            schedule, notes = codec.parse_schedule(request.schedule, house.sanctuary.wall)

        async def edit() -> None:
            score = None
            if request.HasField("score"):
                score = house.sanctuary.read_score(given.name, codec.parse_format(given.format), given.text)
            title, capacity = (
                getattr(request, name) if request.HasField(name) else None for name in ("title", "capacity")
            )
            await conductor.edit(title=title, capacity=capacity, schedule=schedule, score=score)

        await house.bridge.call(edit)
        return circle_pb2.EditCircleResponse(circle=codec.circle_of(conductor), notes=notes)

    async def GetCircle(self, request: Any, _context: Any) -> circle_pb2.GetCircleResponse:  # noqa: N802
        """One circle."""
        return circle_pb2.GetCircleResponse(circle=codec.circle_of(self._house.visible_circle(request.circle_id)))

    async def ListCircles(self, request: Any, _context: Any) -> circle_pb2.ListCirclesResponse:  # noqa: N802
        """All circles, a page at a time, in the order of their making."""
        limit = min(request.page_size or PAGE_MAX, PAGE_MAX)
        page, more = await self._house.bridge.ask(self._house.sanctuary.circles, request.page_token, limit)
        answer = circle_pb2.ListCirclesResponse(next_page_token=more)
        bytes_left = PAGE_BYTES_MAX
        for circle in map(codec.circle_of, page):
            bytes_left -= circle.ByteSize()
            if bytes_left < 0 and answer.circles:
                answer.next_page_token = answer.circles[-1].circle_id
                break
            answer.circles.append(circle)
        return answer

    async def AdvanceCircle(self, request: Any, _context: Any) -> circle_pb2.AdvanceCircleResponse:  # noqa: N802
        """Moves a circle along the transition table."""
        conductor, state = self._house.visible_circle(request.circle_id), codec.parse_state(request.state)
        await self._house.bridge.call(conductor.advance, state, request.reason)
        return circle_pb2.AdvanceCircleResponse(circle=codec.circle_of(conductor))

    async def CreateJoinTokens(self, request: Any, _context: Any) -> circle_pb2.CreateJoinTokensResponse:  # noqa: N802
        """Makes tokens, each good for one sleeper."""
        create = self._house.visible_circle(request.circle_id).entrance.create_tokens
        tokens = await self._house.bridge.call(create, request.count, request.valid_ns)
        return circle_pb2.CreateJoinTokensResponse(tokens=tokens)

    async def JoinCircle(self, request: Any, _context: Any) -> circle_pb2.JoinCircleResponse:  # noqa: N802
        """Redeems a token for a credential that is bound to the platform's key."""
        conductor = self._house.sanctuary.conductor(request.circle_id)
        check_join_proof(request.circle_id, request.token, request.platform_key, request.proof)
        join = partial(conductor.entrance.join, request.token, request.platform_key, wait=request.wait)
        joined = await self._house.bridge.call(join)
        return circle_pb2.JoinCircleResponse(**codec.standing(joined, conductor))

    async def WaitForPlace(self, request: Any, _context: Any) -> AsyncIterator[Any]:  # noqa: N802
        """How whoever waits stands, until they are in."""
        conductor = self._house.sanctuary.conductor(request.circle_id)
        check_join_proof(request.circle_id, request.token, request.platform_key, request.proof)
        bridge, told = self._house.bridge, None
        with self._waits.another(secret_hash(request.token).hex(), "this join token"):
            async with bridge.changes(conductor.changed) as changes:
                while True:
                    found = await bridge.ask(conductor.entrance.standing, request.token, request.platform_key)
                    if found is None:
                        raise NotNow("nobody waits with this join token: join with it")
                    if found != told:
                        yield circle_pb2.WaitForPlaceResponse(**codec.standing(found, conductor))
                    if isinstance(found, Joined):
                        return
                    told = found
                    await asyncio.sleep(_WAIT_PACE_S)
                    await changes.wait(None)

    async def StopWaiting(self, request: Any, _context: Any) -> circle_pb2.StopWaitingResponse:  # noqa: N802
        """Takes whoever waits off the list."""
        conductor = self._house.sanctuary.conductor(request.circle_id)
        check_join_proof(request.circle_id, request.token, request.platform_key, request.proof)
        await self._house.bridge.call(conductor.entrance.stop_waiting, request.token, request.platform_key)
        return circle_pb2.StopWaitingResponse()

    async def LeaveCircle(self, request: Any, _context: Any) -> circle_pb2.LeaveCircleResponse:  # noqa: N802
        """Ends the caller's credential; or mutes them as any withdrawal does, and lets them come back."""
        person = sleeper()
        if not request.come_back:
            await self._house.bridge.call(person.leave)
            return circle_pb2.LeaveCircleResponse()
        doors, loop = self._house.sanctuary.doors, asyncio.get_running_loop()
        withdrawal = doors.mute(person, frozenset({Purpose.VOICE}), request.event_id)
        await loop.run_in_executor(None, doors.record, withdrawal)
        await self._house.bridge.call(person.go_away)
        return circle_pb2.LeaveCircleResponse()

    async def ComeBack(self, _request: Any, _context: Any) -> circle_pb2.ComeBackResponse:  # noqa: N802
        """Lets a caller who had left for a while be here again."""
        person = sleeper()
        await self._house.bridge.call(person.come_back)
        return circle_pb2.ComeBackResponse(circle=codec.circle_of(person.conductor))

    async def WatchCircle(self, request: Any, _context: Any) -> AsyncIterator[Any]:  # noqa: N802
        """The circle, as bytes of a WatchCircleResponse: at once, after every change, and at least every interval."""
        if request.interval_ns < 0:
            raise BadInput(f"an interval must last 0 ns (a second) or longer, not {request.interval_ns} ns")
        interval_ns = max(request.interval_ns or INTERVAL_NS_DEFAULT, INTERVAL_NS_MIN)
        conductor, who = self._house.visible_circle(request.circle_id), caller()
        async with self._house.bridge.changes(conductor.changed) as changes:
            while True:
                view, own = await self._house.bridge.ask(_look, conductor, who)
                yield self._serialised(view) + codec.watch_circle_own(view, who.role.word, own).SerializeToString()
                if not view.circle.open or (own is not None and own.sleeper.left):
                    return
                # Changes come in storms; whoever watches gets the newest at a pace that they can read.
                await asyncio.sleep(INTERVAL_NS_MIN / 1e9)
                await changes.wait((interval_ns - INTERVAL_NS_MIN) / 1e9)

    def _serialised(self, view: CircleView) -> bytes:
        """Serialised once, however many watch."""
        held, data = self._sent.get(view.circle.circle_id, (None, b""))
        if held is not view:
            data = codec.watch_circle(view).SerializeToString()
            if view.circle.open:
                self._sent[view.circle.circle_id] = (view, data)
            else:
                self._sent.pop(view.circle.circle_id, None)
        return data


def _look(conductor: Conductor, who: Caller) -> tuple[CircleView, SleeperRow | None]:
    person = who.person
    conductor.usage.looked(who.role.word, "" if person is None else person.sleeper.sleeper_id)
    return conductor.view(), conductor.own_row(person) if person is not None else None
