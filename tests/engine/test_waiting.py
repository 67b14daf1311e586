"""The waiting list: in order, through restarts and full disks; and room that is made takes nothing from anybody."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import cast

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonia.domain.admission import secret_hash
from harmonia.domain.consent import Purpose
from harmonia.domain.events import CircleEvent, WaitingBegun
from harmonia.domain.states import CircleState
from harmonia.engine.conductor import Conductor
from harmonia.engine.entrance import Joined, Place
from harmonia.errors import (
    CircleFull,
    NotNow,
    TokenExpired,
    TokenUsed,
    WrongExpectedRevision,
)
from harmonia.journal import SHREDDED, Expected, Gathering, Journal, OutcomeUnknown, Position, Unavailable
from harmonia.journal.page import whole
from harmonia.testing import FlakyJournal
from tests.engine.nights import HOUR_NS, KEY, House, audible, came_in, in_virtual_time, plane_of, settle

S = CircleState


async def wait(conductor: Conductor, count: int) -> list[str]:
    """That many people redeem a token, whatever comes of it."""
    tokens = await conductor.entrance.create_tokens(count, 0)
    for token in tokens:
        await conductor.entrance.join(token, KEY, wait=True)
    return tokens


def place(conductor: Conductor, token: str) -> int:
    """1 for the first who waits; 0: in."""
    answer = conductor.entrance.standing(token, KEY)
    assert answer is not None
    return 0 if isinstance(answer, Joined) else answer.place


def test_who_waits_comes_in_by_themself_in_order_through_restarts_and_allows_nothing_yet() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary, capacity=2)
            first, second = await house.join(conductor), await house.join(conductor)
            tokens = await wait(conductor, 3)
            assert [place(conductor, token) for token in tokens] == [1, 2, 3]
            assert await conductor.entrance.join(tokens[1], KEY, wait=True) == Place(2, 3)
            with pytest.raises(TokenUsed, match="somebody waits with this join token"):
                await conductor.entrance.join(tokens[1], b"q" * 32, wait=True)
            (late,) = await conductor.entrance.create_tokens(1, 0)
            with pytest.raises(CircleFull, match="all 2 places"):
                await conductor.entrance.join(late, KEY)
            await first.leave()
            await settle()
            assert [place(conductor, token) for token in tokens] == [0, 1, 2]
        async with house.awake() as again:
            back = again.conductor(conductor.circle.circle_id)
            assert [place(back, token) for token in tokens] == [0, 1, 2]
            leaving = again.roll.by_id(second.sleeper.sleeper_id)
            assert leaving is not None
            await leaving.leave()
            await settle()
            assert [place(back, token) for token in tokens] == [0, 0, 1]
            person = came_in(await back.entrance.join(tokens[1], KEY))
            assert not audible(again, person)
            assert not person.sleeper.consent.standings
            await house.grant(person, Purpose.VOICE)
            assert audible(again, person)

    in_virtual_time(scenario)


def test_a_draft_lets_nobody_in_and_everybody_wait_until_it_gathers() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary, draft=True)
            (token,) = await conductor.entrance.create_tokens(1, 0)
            with pytest.raises(NotNow, match="does not gather yet"):
                await conductor.entrance.join(token, KEY)
            tokens = await wait(conductor, 2)
            assert not plane_of(sanctuary).circles
            await conductor.advance(S.GATHERING)
            await settle()
            assert [place(conductor, token) for token in tokens] == [0, 0]
            assert len(plane_of(sanctuary).sleepers) == 2

    in_virtual_time(scenario)


def test_one_command_takes_off_the_list_and_the_token_stays_good() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary, capacity=1)
            person = await house.join(conductor)
            tokens = await wait(conductor, 2)
            await conductor.entrance.stop_waiting(tokens[0], KEY)
            with pytest.raises(NotNow, match="nobody waits"):
                await conductor.entrance.stop_waiting(tokens[0], KEY)
            assert place(conductor, tokens[1]) == 1
            assert await conductor.entrance.join(tokens[0], KEY, wait=True) == Place(2, 2)
            await person.leave()
            await settle()
            with pytest.raises(NotNow, match="come in meanwhile"):
                await conductor.entrance.stop_waiting(tokens[1], KEY)

    in_virtual_time(scenario)


@pytest.mark.parametrize("refused", [False, True])
def test_nobody_passes_who_gives_up_until_that_is_written(monkeypatch: pytest.MonkeyPatch, refused: bool) -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary, trio.open_nursery() as nursery:
            conductor = await house.circle(sanctuary, capacity=1)
            person = await house.join(conductor)
            tokens = await wait(conductor, 2)
            writing, record = trio.Event(), conductor.record

            async def slowly(wish: CircleEvent | Callable[[], CircleEvent]) -> None:
                await writing.wait()
                if refused:
                    raise Unavailable("the disk is full")
                await record(wish)

            async def give_up() -> None:
                monkeypatch.setattr(conductor, "record", slowly)
                with pytest.raises(Unavailable) if refused else nullcontext():
                    await conductor.entrance.stop_waiting(tokens[0], KEY)

            nursery.start_soon(give_up)
            await settle()
            monkeypatch.setattr(conductor, "record", record)
            await person.leave()
            await settle()
            assert not conductor.entrance.people, "the first has not given up yet, as far as anybody can tell"
            writing.set()
            await settle()
            assert isinstance(conductor.entrance.standing(tokens[0 if refused else 1], KEY), Joined)
            assert len(conductor.entrance.people) == 1

    in_virtual_time(scenario)


def test_a_full_disk_keeps_everybodys_place() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary, capacity=1)
            await house.join(conductor)
            tokens = await wait(conductor, 2)
            (late,) = await conductor.entrance.create_tokens(1, 0)
            await conductor.edit(capacity=1)
            house.journal.full = True
            with pytest.raises(Unavailable):
                await conductor.entrance.join(late, KEY, wait=True)
            with pytest.raises(Unavailable):
                await conductor.entrance.stop_waiting(tokens[0], KEY)
            assert [place(conductor, token) for token in tokens] == [1, 2]
            house.journal.full = False
            await conductor.edit(capacity=2)
            house.journal.full = True
            await trio.sleep(4.5)
            assert [place(conductor, token) for token in tokens] == [1, 2]
            house.journal.full = False
            await trio.sleep(5)
            assert [place(conductor, token) for token in tokens] == [0, 1]

    in_virtual_time(scenario)


def test_room_made_or_taken_throws_nobody_out_and_makes_nobody_louder_not_even_after_a_restart() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary, capacity=4)
            people = [await house.join(conductor) for _ in range(4)]
            for person in people:
                await house.grant(person, Purpose.VOICE)
            settings_before = [person.sleeper for person in people]
            tokens = await wait(conductor, 2)
            await conductor.edit(capacity=1)
            assert conductor.entrance.present == 4
            assert all(audible(sanctuary, person) for person in people)
            await conductor.edit(capacity=5)
            await settle()
            assert [place(conductor, token) for token in tokens] == [0, 1]
            assert [person.sleeper for person in people] == settings_before
            assert plane_of(sanctuary).weights == {conductor.number: 0.5}
        async with house.awake() as again:
            assert again.conductor(conductor.circle.circle_id).circle.capacity == 5
            assert plane_of(again).weights == {conductor.number: 0.5}

    in_virtual_time(scenario)


def test_who_waits_when_it_is_called_off_is_told_why() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary, draft=True)
            (token,) = await conductor.entrance.create_tokens(1, 0)
            await conductor.advance(S.CLOSED, "the hall is flooded")
            with pytest.raises(NotNow, match="this circle was cancelled: the hall is flooded"):
                await conductor.entrance.join(token, KEY, wait=True)

    in_virtual_time(scenario)


def test_who_comes_while_a_place_is_still_being_given_stands_behind_those_who_wait() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary, capacity=1)
            person = await house.join(conductor)
            (first,) = await wait(conductor, 1)
            (late,) = await conductor.entrance.create_tokens(1, 0)
            await person.leave()
            house.journal.full = True
            await settle()
            house.journal.full = False
            assert place(conductor, first) == 1, "the disk refused; it is asked again in a second"
            assert await conductor.entrance.join(late, KEY, wait=True) == Place(2, 2)

    in_virtual_time(scenario)


def test_who_has_come_in_waits_no_more_whatever_was_written_first() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            sleeper = (await house.join(conductor)).sleeper
            late = WaitingBegun(sleeper.token_hash, sleeper.credential_hash, sleeper.platform_key, 0)
            conductor.entrance.take_in_waiting(late)
            assert conductor.entrance.waiting == 0

    in_virtual_time(scenario)


class _Unsure(FlakyJournal):
    """Does not say of events of one kind whether it wrote them."""

    kind, writes = b"", True

    def append(self, stream: str, expected: Expected | Position, event_id: bytes, data: bytes) -> Position:
        unsure = bool(self.kind) and self.kind in data
        if self.writes or not unsure:
            position = super().append(stream, expected, event_id, data)
        if unsure:
            raise OutcomeUnknown("nobody knows whether that was written")
        return position


@pytest.mark.parametrize("writes", [True, False])
@pytest.mark.parametrize("waits", [True, False])
def test_who_came_in_where_nobody_knew_whether_it_was_written_is_one_person_at_one_place(
    writes: bool, waits: bool
) -> None:
    async def scenario(house: House) -> None:
        house.journal = journal = _Unsure()
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary, capacity=1)
            before = await house.join(conductor)
            if waits:
                (token,) = await wait(conductor, 1)
            else:
                (token,) = await conductor.entrance.create_tokens(1, 0)
            journal.kind, journal.writes = b"SleeperJoined", writes
            await before.leave()
            await settle()
            if not waits:
                with pytest.raises(OutcomeUnknown):
                    await conductor.entrance.join(token, KEY)
            (late,) = await conductor.entrance.create_tokens(1, 0)
            with pytest.raises(CircleFull):
                await conductor.entrance.join(late, KEY)
            with pytest.raises((OutcomeUnknown, TokenUsed)):
                await conductor.entrance.join(token, b"q" * 32, wait=True)
            if waits:
                with pytest.raises(NotNow, match="come in meanwhile"):
                    await conductor.entrance.stop_waiting(token, KEY)
            journal.kind = b""
            if not waits:
                came_in(await conductor.entrance.join(token, KEY))
            await trio.sleep(2)
            person = came_in(await conductor.entrance.join(token, KEY))
            assert list(conductor.entrance.people) == [person.sleeper.sleeper_id]
        async with house.awake() as again:
            back = again.conductor(conductor.circle.circle_id)
            assert list(back.entrance.people) == [person.sleeper.sleeper_id]
            assert came_in(await back.entrance.join(token, KEY)).place == person.place == 1

    in_virtual_time(scenario)


@pytest.mark.parametrize("writes", [True, False])
def test_who_was_told_that_they_wait_does_after_a_restart_too(writes: bool) -> None:
    async def scenario(house: House) -> None:
        house.journal = journal = _Unsure()
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary, capacity=1)
            await house.join(conductor)
            (token,) = await conductor.entrance.create_tokens(1, 0)
            journal.kind, journal.writes = b"WaitingBegun", writes
            with pytest.raises(OutcomeUnknown):
                await conductor.entrance.join(token, KEY, wait=True)
            with pytest.raises((OutcomeUnknown, WrongExpectedRevision)):
                await conductor.entrance.join(token, KEY, wait=True)
            journal.kind = b""
            assert await conductor.entrance.join(token, KEY, wait=True) == Place(1, 1)
        async with house.awake() as again:
            assert place(again.conductor(conductor.circle.circle_id), token) == 1

    in_virtual_time(scenario)


class _Refusing(FlakyJournal):
    """Has no room for events that hold some bytes."""

    what = b""

    def append(self, stream: str, expected: Expected | Position, event_id: bytes, data: bytes) -> Position:
        if self.what and self.what in data:
            raise Unavailable("there is no room for that")
        return super().append(stream, expected, event_id, data)


@pytest.mark.parametrize("steps", range(8))
def test_nobody_passes_who_is_being_let_in(steps: int) -> None:
    """Two places get free, whoever waits is being let in, and the disk refuses just them."""

    async def scenario(house: House) -> None:
        house.journal = journal = _Refusing()
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary, capacity=1)
            await house.join(conductor)
            (first,) = await wait(conductor, 1)
            (late,) = await conductor.entrance.create_tokens(1, 0)
            journal.what = secret_hash(first).hex().encode()
            await conductor.edit(capacity=3)
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            assert await conductor.entrance.join(late, KEY, wait=True) == Place(2, 2)
            journal.what = b""
            await trio.sleep(2)
            people = [person.sleeper.token_hash for person in conductor.entrance.people.values()]
            assert people[1:] == [secret_hash(token) for token in (first, late)]

    in_virtual_time(scenario)


STEPS = st.lists(
    st.sampled_from(["come", "leave", "stop", "room", "less", "restart", "full", "free"]), min_size=5, max_size=25
)


@settings(max_examples=60, deadline=None)
@given(STEPS, st.randoms(use_true_random=False))
def test_nobody_overtakes_anybody_and_no_place_stays_empty(steps: list[str], chance: object) -> None:
    """The order of coming in is the order of redeeming, less those who gave up, whatever happens in between."""

    async def scenario(house: House) -> None:
        redeemed: list[str] = []
        circle_id, done = "", False
        while not done:
            async with house.awake() as sanctuary:
                if not circle_id:
                    circle_id = (await house.circle(sanctuary, capacity=2, night_ns=8 * HOUR_NS)).circle.circle_id
                conductor = sanctuary.conductor(circle_id)
                entrance = conductor.entrance
                while steps and (step := steps.pop(0)) != "restart":
                    waiting = [t for t in redeemed if isinstance(entrance.standing(t, KEY), Place)]
                    try:
                        if step == "come":
                            (token,) = await entrance.create_tokens(1, 0)
                            await entrance.join(token, KEY, wait=True)
                            redeemed.append(token)
                        elif step == "leave" and entrance.people:
                            await chance.choice(list(entrance.people.values())).leave()  # type: ignore[attr-defined]
                        elif step == "stop" and waiting:
                            gone = chance.choice(waiting)  # type: ignore[attr-defined]
                            await entrance.stop_waiting(gone, KEY)
                            redeemed.remove(gone)
                        elif step in ("room", "less"):
                            more = 1 if step == "room" else -1
                            await conductor.edit(capacity=max(1, conductor.circle.capacity + more))
                    except Unavailable:
                        assert house.journal.full
                    house.journal.full = step == "full" or (house.journal.full and step != "free")
                    await settle()
                house.journal.full = False
                await trio.sleep(2)
                waits = [t for t in redeemed if isinstance(entrance.standing(t, KEY), Place)]
                assert waits == redeemed[len(redeemed) - len(waits) :], "those who wait came last"
                assert [place(conductor, t) for t in waits] == list(range(1, len(waits) + 1))
                assert not waits or entrance.present >= conductor.circle.capacity
                done = not steps

    in_virtual_time(scenario)


class _Shredded:
    """A journal of which somebody's part cannot be read any more."""

    def __init__(self, inner: Journal, gone: set[str]) -> None:
        self._inner, self._gone = inner, gone

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def gathering(self) -> Gathering:
        return Gathering({}, self._look)

    def _look(self, epoch: int, stream: str, revisions: list[int], lines: bytes | None) -> bytes:
        return SHREDDED if stream in self._gone else whole(epoch, stream, revisions, lines)


def test_who_was_forgotten_does_not_come_in_again_by_themself() -> None:
    """A backup from before they were forgotten has them waiting, and nothing that says that they came in."""

    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary, capacity=2)
            first, second = await house.join(conductor), await house.join(conductor)
            waited, again = await wait(conductor, 2)
            await first.leave()
            await settle()
            ada = came_in(await conductor.entrance.join(waited, KEY))
            await second.leave()
            await settle()
            bo = came_in(await conductor.entrance.join(again, KEY))
        gone = cast(Journal, _Shredded(house.journal, {ada.stream}))
        for _ in range(2):
            async with house.awake(gone) as restored:
                back = restored.conductor(conductor.circle.circle_id)
                await settle()
                assert list(back.entrance.people) == [bo.sleeper.sleeper_id] and not back.entrance.waiting
                with pytest.raises(TokenExpired):
                    await back.entrance.join(waited, KEY)
        async with house.awake(gone) as restored:
            back = restored.conductor(conductor.circle.circle_id)
            (token,) = await back.entrance.create_tokens(1, 0)
        async with house.awake(gone) as restored:  # what is made later is good, through every restart
            back = restored.conductor(conductor.circle.circle_id)
            came_in(await back.entrance.join(token, KEY))

    in_virtual_time(scenario)


def test_where_a_no_was_lost_every_yes_is_withdrawn_before_anybody_sounds_and_nobody_waits() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary, capacity=2)
            ada, bo = await house.join(conductor), await house.join(conductor)
            await wait(conductor, 2)
            for person in (ada, bo):
                await house.grant(person, Purpose.VOICE)
            await bo.leave()
            await settle()
        async with house.awake(in_doubt=True) as again:
            for person in (ada, bo):
                back = again.roll.by_id(person.sleeper.sleeper_id)
                assert back is not None and back.sleeper.consent[Purpose.VOICE].grant is None
                assert not audible(again, back)
            assert again.conductor(conductor.circle.circle_id).entrance.waiting == 0
        async with house.awake() as later:
            back = later.roll.by_id(ada.sleeper.sleeper_id)
            assert back is not None and back.sleeper.consent[Purpose.VOICE].grant is None

    in_virtual_time(scenario)
