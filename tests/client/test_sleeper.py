"""A sleeper: their own word first, the sanctuary's after, through every restart. A fake core, real TLS."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
import trio.testing

from harmonia import _core, errors
from harmonia.client import Purpose, SleeperCalls, join, resume, udp
from harmonia.client import sleeper as sleepers
from harmonia.client.phase import PhaseEstimate, PhaseTracker
from harmonia.v1 import types_pb2
from tests.client.house import CIRCLE, FakeCore, House

QUARTER = 1 << 62


def platform(core: FakeCore) -> _core.Platform:
    return cast(_core.Platform, core)


async def until(true: Callable[[], Any]) -> None:
    """Waits for it; the limit only ends a test that has failed anyway."""
    with trio.fail_after(30):
        while not true():  # noqa: ASYNC110 (what is waited for happens in gRPC's threads)
            await trio.sleep(0.005)


def begin(house: House, epoch_ns: int = 1000) -> None:
    circle = house.state.circle
    circle.state, circle.epoch_ns = types_pb2.CIRCLE_STATE_ENTRAINING, epoch_ns
    circle.rhythm.revision = 1
    del circle.rhythm.segments[:]
    circle.rhythm.segments.add(start_ns=epoch_ns, phase=5, frequency=types_pb2.Int128(high=2**64 - 1, low=2**64 - 2))


# Coming in


async def test_a_token_is_used_once_and_the_state_file_thereafter(house: House, core: FakeCore, tmp_path: Path) -> None:
    path = tmp_path / "me.json"
    async with join(house.invitation(), state_file=path, grants=[Purpose.VOICE], core=platform(core)) as sleeper:
        assert sleeper.sleeper_id == "s-test"
    async with join(house.invitation(), state_file=path, grants=[Purpose.RESEARCH], core=platform(FakeCore())):
        pass
    async with resume(path, core=platform(FakeCore())):
        pass
    assert house.calls["JoinCircle"] == 1
    # Coming back allows nothing anew.
    assert house.granted == [(Purpose.VOICE, "")]


async def test_without_grants_nothing_is_allowed(house: House, core: FakeCore) -> None:
    async with join(str(house.invitation()), core=platform(core)) as sleeper:
        assert not any(consent.granted for consent in sleeper.consents.values())
        assert core.levels == (0.0, 1.0)
    assert house.calls["Grant"] == 0


async def test_another_circles_state_file_is_refused(house: House, core: FakeCore, tmp_path: Path) -> None:
    path = tmp_path / "me.json"
    async with join(house.invitation(), state_file=path, core=platform(core)):
        pass
    text = path.read_text().replace(CIRCLE, "c-other")
    path.write_text(text)
    with pytest.raises(errors.BadInput, match="c-other"):
        async with join(house.invitation(), state_file=path, core=platform(core)):
            pass


async def test_a_sanctuary_that_is_gone_is_said_at_once(house: House, core: FakeCore) -> None:
    house.close()
    with pytest.raises(errors.Unreachable):
        async with join(house.invitation(), core=platform(core)):
            pass


async def test_an_error_in_the_block_comes_out_as_itself(house: House, core: FakeCore) -> None:
    with pytest.raises(KeyError, match="mine"):
        async with join(house.invitation(), core=platform(core)):
            raise KeyError("mine")
    assert core.told[-1] == ("close",)


# Following


async def test_the_score_plays_from_its_epoch_and_stops_with_the_circle(house: House, core: FakeCore) -> None:
    async with join(house.invitation(), core=platform(core)) as sleeper:
        await until(lambda: house.watching)
        assert core.did("score") == []
        begin(house)
        house.report()
        await until(lambda: core.did("score"))
        assert core.did("score") == [("score", "test.toml", 1000)]
        assert core.did("rhythm") == [("rhythm", [(1000, 5, -2, 0, 0)])]
        house.report()
        house.state.circle.state = types_pb2.CIRCLE_STATE_CLOSED
        house.report()
        with trio.fail_after(30):
            await sleeper.ended()
        assert core.did("score")[-1] == ("score", None)
    assert len(core.did("rhythm")) == 1


async def test_a_restart_of_the_sanctuary_attaches_anew(house: House, core: FakeCore) -> None:
    async with join(house.invitation(), core=platform(core)) as sleeper:
        await until(lambda: house.watching)
        house.close()
        await until(lambda: not sleeper.connected)
        await until(lambda: sleeper.trouble)
        house.open()
        await until(lambda: sleeper.connected and house.watching)
        assert sleeper.trouble == ""
    sessions = [session for _, session in core.did("connect")]
    assert sessions == sorted(set(sessions))
    assert len(sessions) >= 2


async def test_keys_that_the_sanctuary_does_not_know_are_renewed(house: House, core: FakeCore) -> None:
    async with join(house.invitation(), core=platform(core)) as sleeper:
        await until(lambda: house.watching)
        assert sleeper.udp_loss is None
        nobody = {"server": "127.0.0.1:9", "since_raw_ns": 0, "requests": 9, "forged": 0, "keys_refused": False}
        core.unanswered = nobody
        assert sleeper.udp_loss is not None
        assert sleeper.udp_loss.reason == "silent"
        core.unanswered = {**nobody, "keys_refused": True}
        await until(lambda: len(core.did("connect")) == 2 and house.watching)
        assert sleeper.connected
        assert sleeper.trouble == ""


async def test_a_tunnel_that_breaks_is_opened_anew_at_once_and_hides_no_other_trouble(
    house: House, core: FakeCore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long_ago = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW) - 10**10
    looks = list[int]()

    def look(core: _core.Platform) -> udp.UdpLoss | None:
        looks.append(1)
        return udp.loss_of(core)

    monkeypatch.setattr(sleepers, "loss_of", look)
    monkeypatch.setattr(sleepers, "_WAY_S", 0.05)
    async with join(house.invitation(), state_file=tmp_path / "me.json", core=platform(core)) as sleeper:
        await until(lambda: house.watching)
        house.refusals["CarryDatagrams"] = errors.Unreachable("no way through")
        core.unanswered = {"since_raw_ns": long_ago, "server": "here:9", "keys_refused": False, "forged": False}
        # Once for the tunnel, and then because it breaks.
        await until(lambda: house.calls["AttachPlatform"] >= 4)
        house.refusals.clear()
        carried = house.calls["CarryDatagrams"]
        await until(lambda: house.calls["CarryDatagrams"] > carried)
        house.carrying.put(None)
        await until(lambda: house.calls["CarryDatagrams"] > carried + 1)

        def full(_path: Path, _text: str) -> None:
            raise errors.StorageError("disk full")

        monkeypatch.setattr(sleepers, "write_secret", full)
        await sleeper.opt_out()
        looks.clear()
        await until(lambda: len(looks) > 2)
        assert sleeper.trouble == "disk full"


async def test_a_credential_that_ended_ends_the_sleeper(house: House, core: FakeCore) -> None:
    async with join(house.invitation(), core=platform(core)) as sleeper:
        await until(lambda: house.watching)
        house.refusals["AttachPlatform"] = errors.CredentialEnded("this credential has ended")
        house.close()
        house.open()
        with pytest.raises(errors.CredentialEnded), trio.fail_after(30):
            await sleeper.ended()
        with pytest.raises(errors.CredentialEnded), trio.fail_after(30):
            await sleeper.set_offset(0.1)


# The person's own word


async def test_an_offset_is_heard_before_it_is_told(house: House, core: FakeCore) -> None:
    async with join(house.invitation(), core=platform(core)) as sleeper, trio.open_nursery() as nursery:
        await until(lambda: house.watching)
        house.close()
        nursery.start_soon(sleeper.set_offset, 0.25)
        await until(lambda: core.offset == QUARTER)
        assert house.offsets == []
        house.open()
        await until(lambda: house.offsets == [0.25])
    assert core.offset == QUARTER


async def test_a_late_report_does_not_undo_an_offset_and_another_terminals_gets_through(
    house: House, core: FakeCore
) -> None:
    async with join(house.invitation(), core=platform(core)) as sleeper:
        await until(lambda: house.watching)
        late = house.snapshot()
        late.circle.title = "late"
        await sleeper.set_offset(0.25)
        house.report(late)
        await until(lambda: sleeper.circle.title == "late")
        assert core.offset == QUARTER
        house.report()
        await until(lambda: sleeper.circle.title == "")
        assert core.offset == QUARTER
        house.state.offset = -QUARTER
        house.report()
        await until(lambda: core.offset == -QUARTER)


async def test_an_offset_that_is_no_number_is_refused_and_not_told(house: House, core: FakeCore) -> None:
    async with join(house.invitation(), core=platform(core)) as sleeper:
        with pytest.raises(errors.BadInput, match="finite"):
            await sleeper.set_offset(float("nan"))
    assert house.offsets == []


@pytest.mark.parametrize("voice", [[float("nan")], [5.0], [complex(0, float("inf"))]])
async def test_a_voice_that_is_not_allowed_is_refused(house: House, core: FakeCore, voice: list[complex]) -> None:
    async with join(house.invitation(), core=platform(core)) as sleeper:
        with pytest.raises(errors.BadInput):
            await sleeper.set_voice(voice)
        assert core.did("voice") == []


async def test_a_restart_does_not_undo_what_was_chosen(house: House, core: FakeCore) -> None:
    async with join(house.invitation(), core=platform(core)) as sleeper:
        await until(lambda: house.watching)
        await sleeper.set_offset(0.25)
        await sleeper.set_voice([0.1 + 0.2j, 1])
        await sleeper.set_levels(hearing=0.3, own=0.7)
        told = len(core.told)
        house.close()
        house.open()
        await until(lambda: len(core.did("connect")) == 2)
    assert [entry for entry in core.told[told:] if entry[0] in ("offset", "voice")] == []


# Opting out


async def test_opting_out_mutes_before_anybody_is_told_and_is_told_in_the_end(
    house: House, core: FakeCore, tmp_path: Path
) -> None:
    path = tmp_path / "me.json"
    async with (
        join(house.invitation(), state_file=path, core=platform(core)) as sleeper,
        trio.open_nursery() as nursery,
    ):
        await until(lambda: house.watching)
        house.close()
        nursery.start_soon(sleeper.opt_out)
        await until(lambda: not core.gate_open)
        [(_, event_id, bits)] = core.did("withdraw")
        assert bits == 0
        await until(lambda: event_id.hex() in path.read_text())
        house.open()
        await until(lambda: house.withdrawn)
        assert set(house.withdrawn) == {(event_id, ())}
        await until(lambda: core.did("acknowledged") == [("acknowledged", event_id)])
        await until(lambda: event_id.hex() not in path.read_text())


async def test_opting_out_returns_the_gate_epoch(house: House, core: FakeCore) -> None:
    async with join(house.invitation(), core=platform(core)) as sleeper:
        assert await sleeper.opt_out(Purpose.VOICE) == 7
    assert core.did("withdraw")[0][2] == 1 << Purpose.VOICE
    assert house.withdrawn[0][1] == (Purpose.VOICE,)


async def test_a_no_that_nobody_heard_outlives_the_process(
    house: House, core: FakeCore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sleepers, "_LAST_WORD_S", 0.2)
    path = tmp_path / "me.json"
    house.refusals["Withdraw"] = errors.StorageError("disk full")
    async with join(house.invitation(), state_file=path, core=platform(core)) as sleeper:
        with pytest.raises(errors.StorageError):
            await sleeper.opt_out()
    house.refusals.clear()
    [(_, event_id, _)] = core.did("withdraw")
    again = FakeCore()
    async with resume(path, core=platform(again)):
        await until(lambda: house.withdrawn)
    # Muted with the same withdrawal before the platform was even connected.
    assert again.told[0] == ("withdraw", event_id, 0)
    assert house.withdrawn[0][0] == event_id


async def test_a_full_disk_of_ones_own_keeps_nobody_from_opting_out(
    house: House, core: FakeCore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with join(house.invitation(), state_file=tmp_path / "me.json", core=platform(core)) as sleeper:

        def full(_path: Path, _text: str) -> None:
            raise errors.StorageError("disk full")

        monkeypatch.setattr("harmonia.client.sleeper.write_secret", full)
        assert await sleeper.opt_out() == 7
        assert sleeper.trouble == "disk full"


async def test_a_late_report_does_not_open_the_gate(house: House, core: FakeCore) -> None:
    granted = [Purpose.PRESENCE, Purpose.HEARING, Purpose.VOICE]
    async with join(house.invitation(), grants=granted, core=platform(core)) as sleeper:
        await until(lambda: house.watching)
        late = house.snapshot()
        late.circle.title = "late"
        await sleeper.opt_out()
        house.report(late)
        await until(lambda: sleeper.circle.title == "late")
        assert not core.gate_open
        house.report()
        await until(lambda: sleeper.consents[Purpose.VOICE].withdrawal_id)
        assert core.did("open") == []
        assert not core.gate_open
        assert sleeper.platform.silent


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_only_a_new_grant_ends_the_silence(house: House, core: FakeCore, elsewhere: bool) -> None:
    async with join(house.invitation(), grants=[Purpose.HEARING], core=platform(core)) as sleeper:
        await until(lambda: house.watching)
        await sleeper.opt_out()
        house.report()
        await until(lambda: sleeper.consents[Purpose.HEARING].withdrawal_id)
        assert not core.gate_open
        withdrawal = house.standing[Purpose.HEARING][1]
        if elsewhere:
            house.standing[Purpose.HEARING] = [True, withdrawal]
        else:
            await sleeper.grant(Purpose.HEARING)
            assert house.granted[-1] == (Purpose.HEARING, withdrawal)
        house.report()
        await until(lambda: core.gate_open and core.levels == (1.0, 1.0))


async def test_granting_something_else_does_not_end_the_silence(house: House, core: FakeCore) -> None:
    async with join(house.invitation(), grants=[Purpose.HEARING], core=platform(core)) as sleeper:
        await until(lambda: house.watching)
        await sleeper.opt_out()
        await sleeper.grant(Purpose.RESEARCH)
        assert sleeper.consents[Purpose.RESEARCH].granted
        house.state.circle.title = "after"
        house.report()
        await until(lambda: sleeper.circle.title == "after")
        assert core.did("open") == []
        assert not core.gate_open


async def test_an_opt_out_from_another_terminal_silences_this_platform(house: House, core: FakeCore) -> None:
    begin(house)
    async with join(house.invitation(), grants=[Purpose.HEARING], core=platform(core)) as sleeper:
        await until(lambda: house.watching)
        for standing in house.standing.values():
            standing[:] = [False, "ab" * 16]
        house.report()
        await until(lambda: sleeper.platform.silent)
        assert core.did("close")
        assert not core.gate_open
        # The old withdrawal is not sent once more: a grant may have answered it meanwhile.
        assert core.did("withdraw") == []


async def test_withdrawing_hearing_silences_the_others_alone(house: House, core: FakeCore) -> None:
    async with join(house.invitation(), grants=[Purpose.HEARING], core=platform(core)) as sleeper:
        await until(lambda: house.watching)
        house.report()
        await until(lambda: core.levels == (1.0, 1.0))
        await sleeper.opt_out(Purpose.HEARING)
        house.report()
        await until(lambda: core.levels == (0.0, 1.0))
        assert core.gate_open


async def test_wishes_about_somebody_are_told_together_once_the_sanctuary_is_back(house: House, core: FakeCore) -> None:
    async with join(house.invitation(), core=platform(core)) as sleeper, trio.open_nursery() as nursery:
        house.refusals["KeepApart"] = errors.Unreachable("away")
        nursery.start_soon(partial(sleeper.keep_apart, "s-ben", unheard=True, unhearing=None))
        await until(lambda: house.calls["KeepApart"] > 0)
        nursery.start_soon(partial(sleeper.keep_apart, "s-ben", unheard=None, unhearing=False))
        nursery.start_soon(partial(sleeper.keep_apart, "s-cleo"))
        await trio.testing.wait_all_tasks_blocked()
        del house.refusals["KeepApart"]
        await until(lambda: len(house.wishes) == 2)
        assert house.wishes == [("s-ben", True, False), ("s-cleo", True, True)]
        await until(lambda: sleeper.apart and sleeper.apart[0].sleeper_id == "s-cleo")
        await sleeper.keep_apart("s-ben", unheard=False, unhearing=None)
        assert house.wishes[-1] == ("s-ben", False, None), "what was told is not told again"


async def test_a_wish_that_was_refused_is_not_told_again_with_the_next(house: House, core: FakeCore) -> None:
    async with join(house.invitation(), core=platform(core)) as sleeper:
        await until(lambda: house.watching)
        house.refusals["KeepApart"] = errors.BadInput("no")
        with pytest.raises(errors.BadInput):
            await sleeper.keep_apart("s-ben", unheard=True, unhearing=None)
        del house.refusals["KeepApart"]
        await sleeper.keep_apart("s-ben", unheard=None, unhearing=True)
        assert house.wishes == [("s-ben", None, True)]


class Breath:
    """Sure of itself, as a living signal seldom is."""

    band_hz = (0.1, 0.5)
    looks = 0

    def at(self, _platform_ns: int) -> PhaseEstimate:
        self.looks += 1
        return PhaseEstimate(0.0, 0.25, 0.9)


def breathing(monkeypatch: pytest.MonkeyPatch) -> tuple[Breath, PhaseTracker]:
    """A breath that is looked at often, on a clock that goes."""
    monkeypatch.setattr("harmonia.client.sleeper._LOOK_S", 0.01)
    monkeypatch.setattr("harmonia.client.following.SAID_EVERY_S", 0.0)

    def clock(_core: FakeCore) -> SimpleNamespace:
        return SimpleNamespace(platform_ns=time.monotonic_ns(), node_ns=time.monotonic_ns())

    monkeypatch.setattr(FakeCore, "clock", clock, raising=False)
    breath = Breath()
    return breath, cast(PhaseTracker, breath)


async def test_nothing_of_a_breath_leaves_once_it_is_withdrawn_here_whatever_a_late_report_says(
    house: House, core: FakeCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    (breath, tracker), both = breathing(monkeypatch), [Purpose.BIOSIGNAL, Purpose.PULL]
    async with join(house.invitation(), grants=both, core=platform(core)) as sleeper, trio.open_nursery() as nursery:
        await until(lambda: house.watching)
        late = house.snapshot()
        late.circle.title = "late"
        house.refusals["Withdraw"] = errors.StorageError("disk full")
        with pytest.raises(errors.StorageError):
            await sleeper.opt_out()
        house.report(late)
        await until(lambda: sleeper.circle.title == "late")
        nursery.start_soon(sleeper.follow, tracker)
        # What a look has to say, the sanctuary has heard before the next look.
        await until(lambda: breath.looks > 3)
        assert sleeper.following is not None
        assert sleeper.following.missing == ("biosignal", "pull")
        assert house.rhythms == []
        house.refusals.clear()  # the last word is heard
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("ending", ["cancelled", "withdrawn"])
async def test_the_way_back_from_a_breath_is_the_sanctuarys_to_know(
    house: House, core: FakeCore, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    (_, tracker), both = breathing(monkeypatch), [Purpose.BIOSIGNAL, Purpose.PULL]
    monkeypatch.setattr(sleepers, "_HOME_S", 60.0)  # a busy machine is as late as it is
    begin(house)
    house.state.own_rhythm.segments.add(start_ns=1000, frequency=types_pb2.Int128(low=2**60))
    async with join(house.invitation(), grants=both, core=platform(core)) as sleeper, trio.open_nursery() as nursery:
        await until(lambda: house.watching)
        house.state.circle.title = "granted"
        house.report()  # the first may be from before the grants
        await until(lambda: sleeper.circle.title == "granted")
        nursery.start_soon(sleeper.follow, tracker)
        await until(lambda: house.rhythms)
        if ending == "cancelled":
            nursery.cancel_scope.cancel()
        else:
            await sleeper.opt_out(Purpose.PULL)
            await until(lambda: house.rhythms[-1][0] is None)
            nursery.cancel_scope.cancel()
    assert house.rhythms[-1] == (None, True), "no frequency of our own memory"
    assert [said for said in house.rhythms if said[0] is None] == [(None, True)], "once"


async def test_a_step_after_a_breath_is_told_to_its_end_before_the_way_home_is(
    house: House, core: FakeCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    (_, tracker), both = breathing(monkeypatch), [Purpose.BIOSIGNAL, Purpose.PULL]
    monkeypatch.setattr(sleepers, "_HOME_S", 60.0)
    begun, answered, told = trio.Event(), trio.Event(), list[float | None]()

    async def slowly(_calls: SleeperCalls, frequency_hz: float | None, *_: Any, **__: Any) -> None:
        begun.set()
        await answered.wait()
        told.append(frequency_hz)

    monkeypatch.setattr(SleeperCalls, "set_own_rhythm", slowly)
    begin(house)
    async with join(house.invitation(), grants=both, core=platform(core)) as sleeper, trio.open_nursery() as nursery:
        await until(lambda: house.watching)
        house.state.circle.title = "granted"
        house.report()  # the first may be from before the grants
        await until(lambda: sleeper.circle.title == "granted")
        nursery.start_soon(sleeper.follow, tracker)
        await begun.wait()
        nursery.cancel_scope.cancel()
        answered.set()
    assert [hz is None for hz in told] == [False, True]


async def test_recording_needs_to_have_been_said(house: House, core: FakeCore, tmp_path: Path) -> None:
    async with join(house.invitation(), core=platform(core)) as sleeper:
        with pytest.raises(errors.NotPermitted, match="recording=True"):
            sleeper.record(tmp_path / "x.wav")
