"""A no that comes while a yes is under way, or in pieces, or before an older report: it stands."""

import itertools
from collections.abc import Sequence
from typing import Any, cast

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from harmonia import _core, errors
from harmonia.client import EVERY_PURPOSE, Purpose, join
from harmonia.client.identity import purpose_bits
from harmonia.client.platform import STAYING, Platform
from harmonia.client.views import platform_state
from tests.client.house import FakeCore, House
from tests.client.test_sleeper import platform, until

WANTED = (Purpose.PRESENCE, Purpose.HEARING, Purpose.VOICE, Purpose.RECORDING)


@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.parametrize("at", ["grant", "answer"])
async def test_a_grant_under_way_overrules_no_opt_out(
    house: House, core: FakeCore, monkeypatch: pytest.MonkeyPatch, elsewhere: bool, at: str
) -> None:
    async with join(house.invitation(), core=platform(core)) as sleeper:
        await until(lambda: house.watching)
        asked, calls = list[Purpose](), sleeper._calls
        really = calls.grant

        async def opt_out() -> None:
            if elsewhere:
                for standing in house.standing.values():
                    standing[:] = [False, "ab" * 16]
                house.report()
                await until(lambda: sleeper.consents[Purpose.VOICE].withdrawal_id)
            else:
                sleeper.mute()
                await until(lambda: house.withdrawn)

        async def grant(purpose: Purpose, **how: Any) -> Any:
            asked.append(purpose)
            if at == "grant" and len(asked) == 2:
                await opt_out()
            answer = await really(purpose, **how)
            if at == "answer" and len(asked) == 2:
                await opt_out()
            return answer

        monkeypatch.setattr(calls, "grant", grant)
        with pytest.raises(errors.StaleGrant):
            await sleeper.grant(*WANTED)
        assert len(asked) == 2
        assert not core.gate_open
        assert sleeper.platform.silent
        assert not any(one.granted for one in sleeper.consents.values())
        await until(lambda: not any(granted for granted, _ in house.standing.values()))
        # Whoever wants it anyway says so again.
        await sleeper.grant(Purpose.VOICE)
        assert core.gate_open


async def test_an_opt_out_while_a_grant_waits_for_an_older_no_ends_the_grant(house: House, core: FakeCore) -> None:
    async with join(house.invitation(), core=platform(core)) as sleeper, trio.open_nursery() as nursery:
        await until(lambda: house.watching)
        house.close()
        sleeper.mute(Purpose.RESEARCH)
        refused = list[errors.HarmoniaError]()

        async def grant() -> None:
            try:
                await sleeper.grant(Purpose.VOICE)
            except errors.StaleGrant as error:
                refused.append(error)

        nursery.start_soon(grant)
        await trio.testing.wait_all_tasks_blocked()
        sleeper.mute()
        house.open()
        await until(lambda: refused)
        assert house.granted == []
        assert not core.gate_open


@pytest.mark.parametrize("meanwhile", [False, True])
async def test_accepting_an_offer_answers_what_its_person_knew_of(
    house: House, core: FakeCore, monkeypatch: pytest.MonkeyPatch, meanwhile: bool
) -> None:
    async with join(house.invitation(), grants=[Purpose.VOICE], core=platform(core)) as sleeper:
        await until(lambda: house.watching)
        await sleeper.opt_out(Purpose.RESEARCH)
        [(event_id, _)] = house.withdrawn
        named = list[dict[Purpose, str]]()

        async def answer(offer_id: str, *, accept: bool, answered: dict[Purpose, str]) -> None:
            named.append(answered)

        async def told() -> None:
            sleeper.mute()

        monkeypatch.setattr(sleeper._calls, "answer_offer", answer)
        if meanwhile:
            monkeypatch.setattr(sleeper._withdrawals, "told", told)
            with pytest.raises(errors.StaleGrant):
                await sleeper.answer_offer("ab", accept=True)
            assert named == []
        else:
            # Withdrawn elsewhere and not reported here yet: the person does not know of it.
            house.standing[Purpose.VOICE] = [False, "cd" * 16]
            await sleeper.answer_offer("ab", accept=True)
            assert (named[0][Purpose.RESEARCH], named[0][Purpose.VOICE]) == (event_id.hex(), "")


def _withdraw(one: Platform, number: int, purposes: Sequence[Purpose]) -> bytes:
    event_id = bytes([number]) * 16
    one.withdraw(event_id, purposes, purpose_bits(purposes))
    return event_id


@given(st.permutations(EVERY_PURPOSE), st.lists(st.integers(1, 11), max_size=5))
def test_opting_out_of_all_that_sounds_in_any_pieces_closes_the_gate(order: list[Purpose], cuts: list[int]) -> None:
    core = FakeCore()
    one = Platform(cast(_core.Platform, core))
    gone = set[Purpose]()
    edges = [0, *sorted(set(cuts)), len(order)]
    for number, (first, last) in enumerate(itertools.pairwise(edges)):
        _withdraw(one, number, order[first:last])
        gone |= set(order[first:last])
        assert core.gate_open == (not gone >= set(STAYING))
        assert one.silent == (not core.gate_open)


async def test_a_late_report_opens_nothing_and_the_recorded_rest_counts(house: House, core: FakeCore) -> None:
    for purpose in STAYING:
        house.standing[purpose] = [True, ""]
    one = Platform(cast(_core.Platform, core))
    late = platform_state(house.snapshot())
    one.follow(late)
    first = _withdraw(one, 1, [Purpose.PRESENCE, Purpose.VOICE])
    for purpose in (Purpose.PRESENCE, Purpose.VOICE):
        house.standing[purpose] = [False, first.hex()]
    one.follow(platform_state(house.snapshot()))
    assert core.gate_open
    last = _withdraw(one, 2, [Purpose.HEARING])
    assert not core.gate_open
    one.follow(late)
    assert not core.gate_open
    house.standing[Purpose.HEARING] = [False, last.hex()]
    one.follow(platform_state(house.snapshot()))
    assert not core.gate_open
    house.standing[Purpose.HEARING] = [True, last.hex()]
    one.follow(platform_state(house.snapshot()))
    assert core.gate_open


async def test_a_no_to_something_else_right_after_a_grant_closes_nothing(house: House, core: FakeCore) -> None:
    one = Platform(cast(_core.Platform, core))
    event_id = _withdraw(one, 1, ())
    for standing in house.standing.values():
        standing[:] = [False, event_id.hex()]
    one.follow(platform_state(house.snapshot()))
    one.granted(Purpose.VOICE)
    assert core.gate_open
    _withdraw(one, 2, [Purpose.RESEARCH])
    assert core.gate_open


async def test_an_old_quiet_and_an_old_yes_do_not_undo_a_newer_no(house: House, core: FakeCore) -> None:
    one = Platform(cast(_core.Platform, core))
    first = _withdraw(one, 1, ())
    for standing in house.standing.values():
        standing[:] = [False, first.hex()]
    quiet = platform_state(house.snapshot())
    one.follow(quiet)
    _withdraw(one, 2, ())
    house.standing[Purpose.HEARING] = [True, first.hex()]
    one.follow(quiet)
    one.follow(platform_state(house.snapshot()))
    assert not core.gate_open


async def test_neither_a_fade_nor_an_older_report_brings_back_what_is_not_to_be_heard(
    house: House, core: FakeCore
) -> None:
    async with join(house.invitation(), grants=[Purpose.HEARING, Purpose.VOICE], core=platform(core)) as sleeper:
        await until(lambda: house.watching)
        house.report()
        await until(lambda: core.levels == (1.0, 1.0))
        late = house.snapshot()
        late.circle.title = "late"
        house.refusals["Withdraw"] = errors.StorageError("disk full")
        sleeper.mute(Purpose.HEARING)
        assert core.levels == (0.0, 1.0)
        house.report(late)
        await until(lambda: sleeper.circle.title == "late")
        assert core.levels == (0.0, 1.0)
        sleeper.platform.ease(0.5)
        assert core.levels == (0.0, 0.5)
        sleeper.platform.ease(1.0)
        del house.refusals["Withdraw"]
        await until(lambda: house.withdrawn)
        house.report()
        await until(lambda: sleeper.consents[Purpose.HEARING].withdrawal_id == house.withdrawn[0][0].hex())
        await sleeper.grant(Purpose.HEARING)
        house.report()
        await until(lambda: core.levels == (1.0, 1.0))
