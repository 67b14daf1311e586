"""Advance wishes and gestures on the platform: at once, without a network, told in the end, kept through a restart."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harmonia.client import AdvanceWish, Calibration, Identity, LevelUnit, Purpose, Sleeper, WishKind, join, resume
from harmonia.client import sleeper as sleepers
from harmonia.client.views import wish_message
from harmonia.domain import consent
from harmonia.v1 import types_pb2
from tests.client.house import FakeCore, House
from tests.client.test_sleeper import platform, until

EVERYTHING = tuple(consent.Purpose)
LOUD = AdvanceWish(b"w" * 16, WishKind.LOUD, EVERYTHING, level=-20.0)


class SensingCore(FakeCore):
    """A core with a clock and a level that the test sets. ``looks`` counts how often the vigil has read them."""

    def __init__(self) -> None:
        super().__init__()
        self.level = -120.0
        self.node_ns = 0
        self.lock_state = 3
        self.ceilings: list[float] = []
        self.looks = 0

    def clock(self) -> Any:
        return SimpleNamespace(lock_state=self.lock_state, node_ns=self.node_ns, platform_ns=self.node_ns)

    def level_dbfs(self) -> float:
        self.looks += 1
        return self.level

    def set_ceiling(self, dbfs: float) -> None:
        self.ceilings.append(dbfs)


def wishing(house: House, *wishes: AdvanceWish) -> None:
    del house.state.wishes[:]
    house.state.wishes.extend(map(wish_message, wishes))
    house.report()


def acted(sleeper: Sleeper) -> list[bool]:
    return [one.fired for one in sleeper.wishes]


async def a_look(core: SensingCore) -> None:
    """Returns after the vigil has looked and acted: it does both before anybody else gets a turn."""
    before = core.looks
    await until(lambda: core.looks > before)


@pytest.fixture
def core() -> SensingCore:
    return SensingCore()


async def test_a_wish_acts_here_first_and_is_told_once_the_sanctuary_is_back(
    house: House, core: SensingCore, tmp_path: Path
) -> None:
    wishing(house, LOUD)
    path = tmp_path / "me.json"
    async with join(house.invitation(), state_file=path, grants=[Purpose.VOICE], core=platform(core)) as sleeper:
        await until(lambda: house.watching)
        house.close()
        core.level = -10.0
        await until(lambda: not core.gate_open)
        event_id = LOUD.event_id(sleeper.sleeper_id)
        assert core.did("withdraw") == [("withdraw", event_id, 0)]
        assert acted(sleeper) == [True]
        await until(lambda: event_id in Identity.load(path).withdrawals)
        house.open()
        await until(lambda: house.withdrawn)
        assert set(house.withdrawn) == {(event_id, ())}
        await until(lambda: not Identity.load(path).withdrawals)


async def test_it_acts_once_whatever_a_late_report_says(house: House, core: SensingCore) -> None:
    wishing(house, LOUD)
    async with join(house.invitation(), grants=[Purpose.VOICE], core=platform(core)) as sleeper:
        core.level = -10.0
        await until(lambda: house.withdrawn)
        unfired = AdvanceWish(b"x" * 16, WishKind.WAKING, EVERYTHING)
        wishing(house, LOUD, unfired)  # LOUD from before it acted; the other one keeps the vigil looking
        await until(lambda: len(sleeper.wishes) == 2)
        await a_look(core)
        assert acted(sleeper) == [True, False]
        assert len(core.did("withdraw")) == 1


async def test_a_wish_is_kept_through_a_restart_and_so_is_that_it_has_acted(
    house: House, core: SensingCore, tmp_path: Path
) -> None:
    path = tmp_path / "me.json"
    other = AdvanceWish(b"x" * 16, WishKind.WAKING, (consent.Purpose.VOICE,))
    wishing(house, LOUD, other)
    async with join(house.invitation(), state_file=path, grants=[Purpose.VOICE], core=platform(core)):
        core.level = -10.0
        await until(lambda: house.withdrawn)
        await until(lambda: any(one.fired for one in Identity.load(path).wishes))
        await until(lambda: not Identity.load(path).withdrawals)
    kept = Identity.load(path).wishes
    assert [(one.wish, one.fired) for one in kept] == [(LOUD, True), (other, False)]
    again = SensingCore()
    again.level = -10.0
    async with resume(path, core=platform(again)) as sleeper:
        sleeper.sense_awake(True)
        await until(lambda: acted(sleeper) == [True, True])
        assert again.did("withdraw") == [("withdraw", other.event_id(sleeper.sleeper_id), 1 << Purpose.VOICE)]


async def test_a_wish_names_what_it_takes_back_and_no_more(house: House, core: SensingCore) -> None:
    wishing(house, AdvanceWish(b"w" * 16, WishKind.AFTER, (consent.Purpose.RECORDING,), after_ns=10))
    house.state.joined_ns = 5
    async with join(house.invitation(), grants=[Purpose.VOICE, Purpose.RECORDING], core=platform(core)) as sleeper:
        core.node_ns, core.lock_state = 15, 2
        await a_look(core)
        assert acted(sleeper) == [False]  # a clock that is still acquiring says nothing
        core.lock_state = 4
        await until(lambda: house.withdrawn)
        assert house.withdrawn[0][1] == (int(Purpose.RECORDING),)
        assert core.gate_open and sleeper.consents[Purpose.VOICE].granted


async def test_decibels_at_the_bed_are_read_once_the_platform_is_calibrated(house: House, core: SensingCore) -> None:
    wishing(house, AdvanceWish(b"w" * 16, WishKind.LOUD, EVERYTHING, level=50.0, unit=LevelUnit.DB_SPL))
    async with join(house.invitation(), grants=[Purpose.VOICE], core=platform(core)) as sleeper:
        core.level = -40.0
        await a_look(core)
        assert acted(sleeper) == [False]
        sleeper.calibration = Calibration(full_scale_spl_db=95.0)
        await until(lambda: house.withdrawn)


async def test_the_circles_waking_is_a_reason_here_too(house: House, core: SensingCore) -> None:
    wishing(house, AdvanceWish(b"w" * 16, WishKind.WAKING, EVERYTHING))
    async with join(house.invitation(), grants=[Purpose.VOICE], core=platform(core)):
        house.state.circle.state = types_pb2.CIRCLE_STATE_WAKING
        house.report()
        await until(lambda: house.withdrawn)


async def test_a_gesture_mutes_before_it_returns_and_is_not_lost_if_all_ends_at_once(
    house: House, core: SensingCore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sleepers, "_LAST_WORD_S", 0.2)
    path = tmp_path / "me.json"
    async with join(house.invitation(), state_file=path, grants=[Purpose.VOICE], core=platform(core)) as sleeper:
        house.close()
        sleeper.mute()
        assert not core.gate_open
        assert not sleeper.consents[Purpose.VOICE].granted
    assert list(Identity.load(path).withdrawals.values()) == [()]


async def test_a_ceiling_is_told_to_nobody_and_outlives_a_restart_and_every_report(
    house: House, core: SensingCore, tmp_path: Path
) -> None:
    path = tmp_path / "me.json"
    async with join(house.invitation(), state_file=path, core=platform(core)) as sleeper:
        await until(lambda: house.watching)
        calls = house.calls.total()
        sleeper.set_ceiling(-30.0)
        house.state.hearing_level = 0.5
        house.report()
        await sleeper.changed()
        await sleeper.set_offset(0.25)
        assert core.ceilings == [-30.0]
        assert house.calls.total() == calls + 1
    again = SensingCore()
    async with resume(path, core=platform(again)):
        assert again.ceilings == [-30.0]
