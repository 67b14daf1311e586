"""A circle's night over the wire: drafts, waiting, series, leaving for a while; and what is told when it cannot be."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from harmonia.client import Circle, Endpoint, Invitation, Place, Ticket
from harmonia.rpc.interceptor import STREAMS_MAX
from harmonia.v1 import (
    circle_pb2,
    platform_pb2,
    series_pb2,
    series_pb2_grpc,
    steward_pb2,
    steward_pb2_grpc,
    types_pb2,
)
from tests.rpc.daemon import PATIENCE_S, Guest, Running, daemon, join_request, reason_of

WISH = types_pb2.NightWish(zone="Europe/Berlin", gather_at="2099-03-28 22:00", lights_out="23:00", wake="02:30..07:00")


def edit(running: Running, circle_id: str, **changes: Any) -> Any:
    request = circle_pb2.EditCircleRequest(circle_id=circle_id, **changes)
    return running.circles.EditCircle(request, metadata=running.admin, timeout=PATIENCE_S)


def test_a_draft_is_edited_opened_and_called_off_with_a_reason(tmp_path: Path) -> None:
    with daemon(tmp_path) as running:
        draft = running.create(draft=True)
        assert draft.state == types_pb2.CIRCLE_STATE_DRAFT
        score = types_pb2.Score(name="other.sbg", format=types_pb2.SCORE_FORMAT_SBG, text="5")
        schedule = circle_pb2.ScheduleWish(gather_ns=10**12)
        edited = edit(running, draft.circle_id, title="Noon", capacity=3, score=score, schedule=schedule).circle
        assert (edited.title, edited.capacity, edited.score.text) == ("Noon", 3, "5")
        opened = running.advance(draft.circle_id, types_pb2.CIRCLE_STATE_GATHERING)
        assert opened.begins_ns - opened.gathers_ns == 10**12
        with pytest.raises(grpc.RpcError) as refused:
            edit(running, draft.circle_id, score=score)
        assert reason_of(refused.value) == "NOT_NOW"
        request = circle_pb2.AdvanceCircleRequest(
            circle_id=draft.circle_id, state=types_pb2.CIRCLE_STATE_CLOSED, reason="the hall is flooded"
        )
        closed = running.circles.AdvanceCircle(request, metadata=running.admin, timeout=PATIENCE_S).circle
        assert closed.ending == types_pb2.CIRCLE_ENDING_CANCELLED
        assert closed.reason == "the hall is flooded"


def test_a_wish_that_cannot_be_is_refused_in_words(tmp_path: Path) -> None:
    with daemon(tmp_path) as running:
        for changes, said in (
            ({"zone": "Europe/Blin"}, "no time zone 'Europe/Blin'"),
            ({"gather_at": "2020-01-01 22:00"}, "has passed in Europe/Berlin"),
            ({"gather_at": ""}, "would end before it begins"),
            ({}, "more than 366 days ahead"),
        ):
            wish = types_pb2.NightWish(zone="Europe/Berlin", gather_at=WISH.gather_at, lights_out="23:00", wake="")
            wish.MergeFrom(types_pb2.NightWish(**changes))
            if "gather_at" in changes and not changes["gather_at"]:
                wish.gather_at, wish.wake = "", "2020-01-01 07:00"
            with pytest.raises(grpc.RpcError) as refused:
                running.create(wish=wish)
            assert reason_of(refused.value) == "BAD_INPUT"
            assert said in (refused.value.details() or "")


def test_a_guest_is_told_when_a_planned_circle_moves_on(tmp_path: Path) -> None:
    with daemon(tmp_path) as running:
        evening = datetime.now(UTC) + timedelta(days=2)
        wish = types_pb2.NightWish(zone="UTC", gather_at=f"{evening:%Y-%m-%d} 22:00", lights_out="23:00")
        planned = running.create(wish=wish)
        stub: Any = steward_pb2_grpc.StewardServiceStub(running.channel)
        given = steward_pb2.GrantRoleRequest(circle_id=planned.circle_id, role=steward_pb2.ROLE_GUEST, name="Gus")
        key = stub.GrantRole(given, metadata=running.admin, timeout=PATIENCE_S).credential
        metadata = [("authorization", f"Bearer {key}")]
        for state, said in ((None, "gathers_ns"), (types_pb2.CIRCLE_STATE_GATHERING, "begins_ns")):
            if state is not None:
                planned = running.advance(planned.circle_id, state)
            seen = stub.LookAtCircle(steward_pb2.LookAtCircleRequest(), metadata=metadata, timeout=PATIENCE_S)
            assert abs(seen.next_ns - getattr(planned, said)) < 10 * 10**9


def test_the_sdk_waits_and_comes_in_by_itself_or_gives_up(tmp_path: Path) -> None:
    with daemon(tmp_path) as running:
        circle_id = running.create(capacity=1).circle_id
        first = running.join(circle_id)
        host, _, port = running.address.rpartition(":")
        endpoint = Endpoint(host, int(port), (tmp_path / "ca.pem").read_text())
        one, two = (Invitation(endpoint, circle_id, token) for token in running.tokens(circle_id, 2))

        async def wait() -> tuple[list[int], str]:
            places: list[int] = []

            def tell(place: Place, circle: Circle) -> None:
                places.append(place.place)
                assert circle.circle_id == circle_id
                waiting.set()

            ticket = Ticket.at(tmp_path / "one.waiting", one)
            found: list[str] = []
            waiting = trio.Event()

            async def redeem() -> None:
                found.append((await ticket.redeem(tell))[0].sleeper_id)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(redeem)
                with trio.fail_after(PATIENCE_S):
                    await waiting.wait()
                    other = Ticket(two)
                    with trio.CancelScope() as scope:

                        def stop(place: Place, _: Circle) -> None:
                            places.append(place.place)
                            scope.cancel()

                        await other.redeem(stop)
                    await other.give_up()
                    leave = circle_pb2.LeaveCircleRequest()
                    await trio.to_thread.run_sync(first.call, "Circle", "LeaveCircle", leave)
            again = Ticket.load(tmp_path / "one.waiting")
            assert (await again.redeem())[0].sleeper_id == found[0]
            return places, found[0]

        places, sleeper_id = trio.run(wait)
        assert places[0] == 1
        assert 2 in places
        assert sleeper_id.startswith("sleeper-")
        request = join_request(Ed25519PrivateKey.generate(), circle_id, running.tokens(circle_id)[0])
        with pytest.raises(grpc.RpcError) as refused:
            running.circles.JoinCircle(request, timeout=PATIENCE_S)
        assert reason_of(refused.value) == "CIRCLE_FULL"


def test_one_token_waits_in_few_streams_and_another_is_not_kept_out(tmp_path: Path) -> None:
    with daemon(tmp_path) as running:
        circle_id = running.create(capacity=1).circle_id
        running.join(circle_id)
        one, two = (
            join_request(Ed25519PrivateKey.generate(), circle_id, token) for token in running.tokens(circle_id, 2)
        )
        for request in (one, two):
            request.wait = True
            running.circles.JoinCircle(request, timeout=PATIENCE_S)

        def wait(request: Any) -> Any:
            named = circle_pb2.WaitForPlaceRequest(
                circle_id=circle_id, token=request.token, platform_key=request.platform_key, proof=request.proof
            )
            return running.circles.WaitForPlace(named, timeout=PATIENCE_S)

        streams = [wait(one) for _ in range(STREAMS_MAX)]
        assert [next(stream).waiting.place for stream in streams] == [1] * STREAMS_MAX
        with pytest.raises(grpc.RpcError, match="streams of this join token are open") as refused:
            next(wait(one))
        assert reason_of(refused.value) == "UNREACHABLE"
        assert one.token not in (refused.value.details() or "")
        assert next(wait(two)).waiting.place == 2
        for stream in streams:
            stream.cancel()


def test_leaving_for_a_while_keeps_the_place_and_mutes_until_a_new_grant(tmp_path: Path) -> None:
    with daemon(tmp_path) as running:
        guest = running.join(running.create().circle_id)
        guest.grant(types_pb2.PURPOSE_VOICE)
        assert guest.audible
        leaving = os.urandom(16)
        for _ in range(2):  # whoever is not answered repeats it
            guest.call("Circle", "LeaveCircle", circle_pb2.LeaveCircleRequest(come_back=True, event_id=leaving))
            assert not guest.audible
        with pytest.raises(grpc.RpcError) as refused:
            guest.attach()
        assert reason_of(refused.value) == "NOT_NOW"
        assert guest.call("Circle", "ComeBack", circle_pb2.ComeBackRequest()).circle.sleepers == 1
        assert guest.attach().state.away is False
        assert not guest.audible
        guest.grant(types_pb2.PURPOSE_VOICE, leaving.hex())
        assert guest.audible


def test_waking_and_the_schedule_offset_are_the_sleepers_own(tmp_path: Path) -> None:
    with daemon(tmp_path) as running:
        guest: Guest = running.join(running.create().circle_id)
        guest.call("Platform", "SetScheduleOffset", platform_pb2.SetScheduleOffsetRequest(offset_ns=-(10**12)))
        guest.call("Platform", "SetAwake", platform_pb2.SetAwakeRequest(awake=True, fade_ns=10**9))
        state = guest.attach().state
        assert state.schedule_offset_ns == -(10**12)
        assert state.edges.awake
        assert state.edges.turn_ns == 10**9
        with pytest.raises(grpc.RpcError) as refused:
            running.platforms.SetAwake(platform_pb2.SetAwakeRequest(), metadata=running.admin, timeout=PATIENCE_S)
        assert reason_of(refused.value) == "NOT_AUTHENTICATED"


def test_a_series_is_made_changed_and_ended_and_found_again_after_a_restart(tmp_path: Path) -> None:
    wish = types_pb2.NightWish(zone="Europe/Berlin", gather_at="22:00", lights_out="23:00", wake="06:30")
    score = types_pb2.Score(name="night.sbg", format=types_pb2.SCORE_FORMAT_SBG, text="4")
    with daemon(tmp_path) as running:
        stub: Any = series_pb2_grpc.SeriesServiceStub(running.channel)

        def call(method: str, request: Any) -> Any:
            return getattr(stub, method)(request, metadata=running.admin, timeout=PATIENCE_S)

        create = series_pb2.CreateSeriesRequest(title="Moon", score=score, rule="full-moon", wish=wish)
        made = call("CreateSeries", create).series
        excluded = [made.nights[1].night] if len(made.nights) > 1 else []
        change = series_pb2.ChangeSeriesRequest(series_id=made.series_id, capacity=7, excluded=excluded)
        changed = call("ChangeSeries", change).series
        assert changed.capacity == 7
        assert all(night.night not in excluded for night in changed.nights if not night.circle_id)
        for request, said in (
            (series_pb2.CreateSeriesRequest(score=score, rule="sometimes", wish=wish), "is no rule for nights"),
            (series_pb2.CreateSeriesRequest(score=score, rule="daily"), "gather-at must be HH:MM"),
        ):
            with pytest.raises(grpc.RpcError, match=said):
                call("CreateSeries", request)
    with daemon(tmp_path) as running:
        stub = series_pb2_grpc.SeriesServiceStub(running.channel)
        (found,) = call("ListSeries", series_pb2.ListSeriesRequest()).series
        assert (found.series_id, found.capacity, list(found.excluded)) == (made.series_id, 7, excluded)
        assert found.nights[0].circle_id
        assert call("EndSeries", series_pb2.EndSeriesRequest(series_id=made.series_id)).series.ended
