"""A silent room on a sleeper's own platform: closed beside what the person wants, and opened to no more than that."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from harmonia import _core, errors
from harmonia.client import Purpose, RoleKey, join, resume
from harmonia.client.identity import Identity
from harmonia.client.platform import STAYING, Platform
from harmonia.client.views import platform_state
from harmonia.v1 import consent_pb2, platform_pb2, steward_pb2, types_pb2
from tests.client.house import FakeCore, House
from tests.client.test_sleeper import platform, until


async def test_a_silence_closes_the_gate_and_a_lift_opens_it(house: House, core: FakeCore) -> None:
    async with join(house.invitation(), grants=[Purpose.VOICE], core=platform(core)) as sleeper:
        await until(lambda: house.watching)
        house.state.silence.CopyFrom(steward_pb2.Silence(silence_id="silence-a", message="quiet", by="Sam"))
        house.report()
        await until(lambda: sleeper.silence is not None)
        assert not core.sounds
        assert not sleeper.platform.silent, "the person has not opted out"
        house.state.ClearField("silence")
        house.report()
        await until(lambda: sleeper.silence is None)
        assert core.sounds


async def test_a_lift_does_not_open_the_gate_of_who_opted_out_meanwhile(house: House, core: FakeCore) -> None:
    async with join(house.invitation(), grants=[Purpose.VOICE], core=platform(core)) as sleeper:
        await until(lambda: house.watching)
        house.state.silence.CopyFrom(steward_pb2.Silence(silence_id="silence-a"))
        house.report()
        await until(lambda: sleeper.silence is not None)
        await sleeper.opt_out()
        house.state.ClearField("silence")
        house.report()
        await until(lambda: sleeper.silence is None)
        assert not core.sounds
        assert sleeper.platform.silent


async def test_a_grant_in_a_silent_room_is_heard_once_it_is_lifted(house: House, core: FakeCore) -> None:
    async with join(house.invitation(), grants=[Purpose.VOICE], core=platform(core)) as sleeper:
        await sleeper.opt_out()
        house.state.silence.CopyFrom(steward_pb2.Silence(silence_id="silence-a"))
        house.report()
        await until(lambda: sleeper.silence is not None)
        await sleeper.grant(Purpose.VOICE)
        assert not core.sounds
        house.state.ClearField("silence")
        house.report()
        await until(lambda: core.sounds)


async def test_what_only_frames_know_is_a_silence_of_nobody_and_what_they_lift_is_none(
    house: House, core: FakeCore
) -> None:
    async with join(house.invitation(), core=platform(core)) as sleeper:
        await until(lambda: house.watching)
        house.state.silence.CopyFrom(steward_pb2.Silence(silence_id="silence-a", message="quiet", by="Sam"))
        house.state.hush_epoch = 7
        house.report()
        await until(lambda: core.hush_epoch == 7)
        told = sleeper.silence
        assert told is not None
        assert (told.message, told.by, told.alarm) == ("quiet", "Sam", False)
        core.hushed = (False, False, False)  # as a newer frame would have it
        assert sleeper.silence is None
        core.hushed = (True, True, False)
        unknown = sleeper.silence
        assert unknown is not None
        assert (unknown.silence_id, unknown.message, unknown.by, unknown.alarm) == ("", "", "", True)


async def test_a_sanctuary_whose_frames_do_not_say_is_believed_by_its_word(house: House, core: FakeCore) -> None:
    async with join(house.invitation(), core=platform(core)):
        await until(lambda: house.watching)
        assert core.hush_epoch is None
        house.state.silence.CopyFrom(steward_pb2.Silence(silence_id="silence-a", alarm=True))
        house.report()
        await until(lambda: core.hushed == (True, True, True))
        assert core.hush_epoch is None


STEPS = st.lists(st.sampled_from(["silence", "lift", "withdraw", "report", "grant"]), max_size=12)


@given(STEPS)
def test_the_gate_is_open_exactly_where_the_person_and_the_room_let_it(steps: list[str]) -> None:
    core = FakeCore()
    one = Platform(cast(_core.Platform, core))
    silent = out = False
    withdrawal = ""
    for number, step in enumerate(steps):
        match step:
            case "silence" | "lift":
                silent = step == "silence"
            case "withdraw":
                out, withdrawal = True, f"{number:032x}"
                one.withdraw(bytes.fromhex(withdrawal), (), 0)
            case "grant" if out:
                out = False
                one.open()
        house = SimpleNamespace(silent=silent, out=out, withdrawal=withdrawal)
        one.follow(platform_state(_state(house)))
        assert core.sounds == (not silent and not out), step
        assert one.silent == out


def _state(house: SimpleNamespace) -> platform_pb2.PlatformState:
    purposes = [
        consent_pb2.PurposeConsent(purpose=int(p), granted=not house.out, withdrawal_id=house.withdrawal)  # type: ignore[arg-type]
        for p in STAYING
    ]
    state = platform_pb2.PlatformState(
        circle=types_pb2.Circle(state=types_pb2.CIRCLE_STATE_GATHERING),
        purposes=purposes,
        hearing_level=1.0,
        own_level=1.0,
    )
    if house.silent:
        state.silence.silence_id = "silence-a"
    return state


async def test_a_call_for_help_is_repeated_until_it_is_on_disk(house: House, core: FakeCore) -> None:
    async with join(house.invitation(), core=platform(core)) as sleeper:
        house.refusals["CallForHelp"] = errors.StorageError("the disk is full")
        with pytest.raises(errors.StorageError):
            await sleeper.call_for_help("dizzy")
        await until(lambda: house.calls["CallForHelp"] > 2)
        del house.refusals["CallForHelp"]
        await until(lambda: house.helps)
        first, *more = house.helps
        assert first[1] == "dizzy"
        made = await sleeper.call_for_help()
        assert (made.place, made.by) == (1, "")
        assert {name for name, _ in more} & {first[0]} == set()


async def test_a_call_for_help_is_in_the_state_file_before_it_is_sent_and_told_by_the_next_run_once(
    house: House, core: FakeCore, tmp_path: Path
) -> None:
    path, kept = tmp_path / "me.json", []
    house.on_help = lambda event_id: kept.append(event_id.hex() in path.read_text())
    house.refusals["CallForHelp"] = errors.StorageError("the disk is full")
    async with join(house.invitation(), state_file=path, core=platform(core)) as sleeper:
        with pytest.raises(errors.StorageError):
            await sleeper.call_for_help("dizzy")
        assert [one.message for one in sleeper.untold_calls] == ["dizzy"]
    (event_id,) = Identity.load(path).helps
    del house.refusals["CallForHelp"]
    async with resume(path, core=platform(FakeCore())) as again:
        await until(lambda: not again.untold_calls)
        await until(lambda: not Identity.load(path).helps)
    async with resume(path, core=platform(FakeCore())):
        pass
    assert house.helps == [(event_id, "dizzy")], "the same id, once"
    assert kept == [True]


async def test_a_call_that_was_never_heard_is_taken_back_and_stays_so_over_a_restart(
    house: House, core: FakeCore, tmp_path: Path
) -> None:
    path = tmp_path / "me.json"
    house.refusals |= dict.fromkeys(("CallForHelp", "TakeBackHelp"), errors.Unreachable("no"))
    joined = join(house.invitation(), state_file=path, core=platform(core))
    async with joined as sleeper, trio.open_nursery() as nursery:
        nursery.start_soon(sleeper.call_for_help, "dizzy")
        await until(lambda: house.calls["CallForHelp"])
        nursery.start_soon(sleeper.take_back_help)
        await until(lambda: house.calls["TakeBackHelp"])
        nursery.cancel_scope.cancel()
    assert [one.taken_back for one in Identity.load(path).helps.values()] == [True]
    house.refusals = {"TakeBackHelp": errors.NotFound("never heard")}
    async with resume(path, core=platform(FakeCore())) as again:
        await until(lambda: not Identity.load(path).helps)
        made = await again.call_for_help("again")
        house.refusals.clear()
        again._state = replace(again._known, calls=(made,))
        await again.take_back_help()
    assert [message for _, message in house.helps] == ["again"]
    assert house.taken_back == [made.help_id]


async def test_a_call_that_is_refused_for_good_is_not_repeated(house: House, core: FakeCore, tmp_path: Path) -> None:
    path = tmp_path / "me.json"
    house.refusals["CallForHelp"] = errors.BadInput("too long")
    async with join(house.invitation(), state_file=path, core=platform(core)) as sleeper:
        with pytest.raises(errors.BadInput):
            await sleeper.call_for_help("x" * 201)
        assert not sleeper.untold_calls
    assert not Identity.load(path).helps


def test_a_role_is_one_line_and_its_secret_is_not_shown(house: House) -> None:
    key = RoleKey(house.invitation().endpoint, "circle-a", "hr_secret")
    assert RoleKey.parse(f" {key}\n") == key
    assert "hr_secret" not in repr(key)
    for text, words in (("harmonia://x", "not a role"), (str(key)[:-30], "damaged"), ("", "not a role")):
        with pytest.raises(errors.BadInput, match=words):
            RoleKey.parse(text)
