"""What was withdrawn is told at the end of a night too, and after it: an ended credential can still withdraw."""

from pathlib import Path

import pytest
import trio
from click.testing import CliRunner

from harmonia import errors
from harmonia.cli.common import past_dir, put_by, sleepers_dir
from harmonia.cli.consent import optout
from harmonia.client import Identity, Purpose, join, resume
from harmonia.client import sleeper as sleepers
from harmonia.v1 import types_pb2
from tests.client.house import FakeCore, House
from tests.client.test_sleeper import platform, until

ENDED = errors.CredentialEnded("this circle is closed: this credential can withdraw consent and nothing else")


@pytest.mark.parametrize("way", ["closed", "ended"])
async def test_a_no_under_way_when_the_night_ends_is_told_before_the_block_is_left(
    house: House, core: FakeCore, tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sleepers, "_LAST_WORD_S", 30.0)
    path = tmp_path / "me.json"
    async with join(house.invitation(), state_file=path, core=platform(core)) as sleeper:
        await until(lambda: house.watching)
        house.refusals["Withdraw"] = errors.StorageError("disk full")
        sleeper.mute(Purpose.RESEARCH)
        await until(lambda: house.calls["Withdraw"])
        if way == "closed":
            house.state.circle.state = types_pb2.CIRCLE_STATE_CLOSED
            house.report()
            await sleeper.ended()
        else:
            house.refusals["AttachPlatform"] = ENDED
            house.close()
            house.open()
            with pytest.raises(errors.CredentialEnded):
                await sleeper.ended()
        del house.refusals["Withdraw"]
    assert {purposes for _, purposes in house.withdrawn} == {(Purpose.RESEARCH,)}
    assert Identity.load(path).withdrawals == {}


async def test_opting_out_after_the_end_is_told(house: House, core: FakeCore, tmp_path: Path) -> None:
    path = tmp_path / "me.json"
    async with join(house.invitation(), state_file=path, core=platform(core)) as sleeper:
        await until(lambda: house.watching)
        house.state.circle.state = types_pb2.CIRCLE_STATE_CLOSED
        house.report()
        await sleeper.ended()
        with trio.fail_after(30):
            assert await sleeper.opt_out(Purpose.RESEARCH) == 7
    assert Identity.load(path).withdrawals == {}
    # Nobody is there to tell it any more; the file keeps it.
    sleeper.mute(Purpose.VOICE)
    assert list(Identity.load(path).withdrawals.values()) == [(Purpose.VOICE,)]


async def test_who_does_not_answer_at_the_end_is_waited_for_no_longer_than_said(
    house: House, core: FakeCore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sleepers, "_LAST_WORD_S", 0.2)
    path = tmp_path / "me.json"
    async with join(house.invitation(), state_file=path, core=platform(core)) as sleeper:
        house.refusals["Withdraw"] = errors.StorageError("disk full")
        sleeper.mute(Purpose.RESEARCH)
    assert list(Identity.load(path).withdrawals.values()) == [(Purpose.RESEARCH,)]


async def test_coming_back_tells_what_was_withdrawn_before_it_is_refused(
    house: House, core: FakeCore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = await _left_untold(house, core, tmp_path / "me.json", monkeypatch)
    house.refusals["ComeBack"] = ENDED
    with pytest.raises(errors.CredentialEnded):
        async with resume(path, core=platform(FakeCore())):
            pass
    assert [purposes for _, purposes in house.withdrawn] == [(Purpose.RESEARCH,)]
    assert Identity.load(path).withdrawals == {}


async def test_an_opt_out_after_the_night_finds_its_sleeper_and_tells_what_they_left_untold(
    house: House, core: FakeCore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = await _left_untold(house, core, sleepers_dir(tmp_path) / "s-test.json", monkeypatch)
    kept = put_by(tmp_path, path, "s-test")
    assert kept.parent == past_dir(tmp_path)

    def command() -> None:
        done = CliRunner().invoke(optout, ["--data", str(tmp_path), "--purpose", "voice"])
        assert (done.exit_code, done.exception) == (0, None), done.output

    await trio.to_thread.run_sync(command)
    assert [purposes for _, purposes in house.withdrawn] == [(Purpose.VOICE,), (Purpose.RESEARCH,)]
    assert Identity.load(kept).withdrawals == {}


async def _left_untold(house: House, core: FakeCore, path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with monkeypatch.context() as patch:
        patch.setattr(sleepers, "_LAST_WORD_S", 0.2)
        house.refusals["Withdraw"] = errors.StorageError("disk full")
        async with join(house.invitation(), state_file=path, core=platform(core)) as sleeper:
            sleeper.mute(Purpose.RESEARCH)
    del house.refusals["Withdraw"]
    assert Identity.load(path).withdrawals
    return path
