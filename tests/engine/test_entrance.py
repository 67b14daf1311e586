"""Tokens and places: each good for one."""

import pytest
import trio

from harmonia.engine.entrance import Joined
from harmonia.errors import BadInput, CircleFull, HarmoniaError, TokenExpired, TokenUnknown, TokenUsed
from harmonia.journal import Unavailable
from tests.engine.nights import KEY, House, came_in, in_virtual_time


def test_of_two_who_hold_one_token_one_comes_in() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            (token,) = await conductor.entrance.create_tokens(1, 0)
            refused: list[HarmoniaError] = []

            async def attempt() -> None:
                try:
                    await conductor.entrance.join(token, KEY)
                except TokenUsed as error:
                    refused.append(error)

            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(attempt)
            assert (conductor.entrance.present, len(refused)) == (1, 4)

    in_virtual_time(scenario)


def test_an_answer_that_was_lost_can_be_asked_for_again_by_the_same_platform_alone() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            (token,) = await conductor.entrance.create_tokens(1, 0)
            first = await conductor.entrance.join(token, KEY)
            assert await conductor.entrance.join(token, KEY) == first
            assert conductor.entrance.present == 1
            with pytest.raises(TokenUsed):
                await conductor.entrance.join(token, b"q" * 32)
            await came_in(first).leave()
            with pytest.raises(TokenUsed):
                await conductor.entrance.join(token, KEY)

    in_virtual_time(scenario)


def test_of_two_who_want_the_last_place_one_gets_it() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary, capacity=2)
            tokens = await conductor.entrance.create_tokens(5, 0)
            refused: list[HarmoniaError] = []

            async def attempt(token: str) -> None:
                try:
                    await conductor.entrance.join(token, KEY)
                except CircleFull as error:
                    refused.append(error)

            async with trio.open_nursery() as nursery:
                for token in tokens:
                    nursery.start_soon(attempt, token)
            assert (conductor.entrance.present, len(refused)) == (2, 3)
            await next(iter(conductor.entrance.people.values())).leave()
            await house.join(conductor)

    in_virtual_time(scenario)


def test_bad_tokens_and_keys_are_refused_by_name() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor, other = await house.circle(sanctuary), await house.circle(sanctuary)
            (kept,) = await conductor.entrance.create_tokens(1, 10**9)
            (elsewhere,) = await other.entrance.create_tokens(1, 10**9)
            entrance = conductor.entrance
            for text in ("", "hj_nonsense", elsewhere, "\ud800"):
                with pytest.raises(TokenUnknown):
                    await entrance.join(text, KEY)
            with pytest.raises(BadInput, match="32 bytes"):
                await entrance.join("x", b"short")
            await trio.sleep(1)
            with pytest.raises(TokenExpired):
                await entrance.join(kept, KEY)
            for count, valid_ns in ((0, 0), (10_001, 0), (1, -1), (1, 2**62)):
                with pytest.raises(BadInput):
                    await entrance.create_tokens(count, valid_ns)

    in_virtual_time(scenario)


def test_a_full_disk_refuses_a_join_and_the_token_stays_good() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            (token,) = await conductor.entrance.create_tokens(1, 0)
            house.journal.full = True
            with pytest.raises(Unavailable, match="free some space"):
                await conductor.entrance.join(token, KEY)
            assert conductor.entrance.present == 0
            house.journal.full = False
            await conductor.entrance.join(token, KEY)

    in_virtual_time(scenario)


def test_secrets_are_never_written_down() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            (token,) = await conductor.entrance.create_tokens(1, 0)
            joined = await conductor.entrance.join(token, KEY)
            assert isinstance(joined, Joined)
            written = b"".join(record.data for record in house.journal.read(None))
            assert token.encode() not in written
            assert joined.credential.encode() not in written

    in_virtual_time(scenario)
