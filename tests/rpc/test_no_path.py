"""Nobody but the person: every call that there is, by everybody else, leaves what somebody allows and set as it was.

The calls are those of the proto files, so that a new one is tried as soon as it is there. Each is sent as the host,
as another sleeper, in every role that a host gives, as a stranger, and with a credential that has ended; wherever a
call can name somebody, it names the one who is watched. Compared are the bytes of that person's stream in the journal
and their state in the engine, before and after.
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from harmonia.domain.events import UsageNoted, decode
from harmonia.domain.roles import GIVEN, Role
from harmonia.domain.sleeper import Sleeper
from harmonia.rpc.auth import PACKAGE
from harmonia.v1 import circle_pb2, types_pb2
from tests.rpc.daemon import Running, daemon, reason_of
from tests.rpc.test_roles import ALONE, FIELDS, METHODS, House

WHO: list[Role | str] = [Role.HOST, Role.SLEEPER, *sorted(GIVEN), "stranger", "left"]
GRANTED = (types_pb2.PURPOSE_VOICE, types_pb2.PURPOSE_MONITORING, types_pb2.PURPOSE_VISIBILITY)
TAKEN_BACK = types_pb2.PURPOSE_HEARING
SETTINGS = {"offset", "voice", "hearing_level", "own_level", "own_rhythm", "coupling", "weight", "apart", "wishes"}


class Watched(House):
    """A house with somebody in it who has said yes to some, no to some, and set what there is to set."""

    def __init__(self, running: Running) -> None:
        super().__init__(running)
        self.begin()
        self.left = running.join(self.circle_id)
        self.left.call("Circle", "LeaveCircle", circle_pb2.LeaveCircleRequest())
        guest = running.join(self.circle_id)
        for purpose in (*GRANTED, TAKEN_BACK):
            guest.grant(purpose)
        guest.withdraw(TAKEN_BACK)
        guest.set_offset(0.25)
        for method in ("SetVoice", "SetCoupling", "SetHearing", "KeepApart"):
            (whole,) = (name.removeprefix(PACKAGE) for name in METHODS if name.endswith("/" + method))
            self.send(whole, self.request(whole), guest.signed(whole))
        self.target = guest

    def filled(self, value: Any) -> Any:
        if value == "sleeper-nobody" and hasattr(self, "target"):
            return self.target.answer.sleeper_id
        return super().filled(value)

    def call_as(self, who: Role | str, method: str) -> str:
        """The reason why it was refused; empty: it was answered."""
        if who == "left":
            metadata = self.left.signed(method)
        else:
            metadata = self.metadata(None if who == "stranger" else Role(who), method)  # type: ignore[arg-type]
        try:
            self.send(method, self.request(method), metadata)
        except grpc.RpcError as error:
            return reason_of(error)
        return ""

    def look(self) -> tuple[Sleeper, list[bytes]]:
        """The target as the engine has them, and every byte that the journal has of them but who looked."""
        sanctuary = self.running.daemon.sanctuary
        person = sanctuary.roll.by_id(self.target.answer.sleeper_id)
        assert person is not None
        records = sanctuary._desk.journal.read(person.stream)
        bytes_ = [record.data for record in records if not isinstance(decode(record.data), UsageNoted)]
        return replace(person.sleeper, uses=()), bytes_


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with daemon(tmp_path_factory.mktemp("paths")) as running:
        yield running


@pytest.mark.parametrize("who", WHO, ids=lambda who: who if isinstance(who, str) else who.word)
def test_no_call_of_anybody_else_changes_what_a_person_allows_or_set(running: Running, who: Role | str) -> None:
    house, answered = Watched(running), 0
    for method in sorted(method.removeprefix(PACKAGE) for method in METHODS):
        where = Watched(running) if method.partition("/")[2] in ALONE else house
        before = where.look()
        reason = where.call_as(who, method)
        assert reason != "INTERNAL", method
        answered += not reason
        assert where.look() == before, (who, method)
    # Not everything was refused, or nothing was seen: even a stranger is told what the sanctuary is.
    assert answered >= (1 if who in ("stranger", "left", Role.ADVOCATE) else 2)


def test_the_person_alone_can_do_all_of_it(running: Running) -> None:
    """So that the above compares what can change."""
    house = Watched(running)
    for method in ("ConsentService/Grant", "ConsentService/Withdraw", "RhythmService/SetPhaseOffset"):
        before = house.look()
        request = house.request(method)
        if method.endswith("Offset"):
            request.offset_turns = 0.4
        house.send(method, request, house.target.signed(method))
        assert house.look() != before, method


def test_a_call_signed_by_another_key_is_nobodys(running: Running) -> None:
    house = Watched(running)
    for method in ("ConsentService/Grant", "ConsentService/Withdraw", "RhythmService/SetPhaseOffset"):
        before = house.look()
        for metadata in (
            house.target.signed(method, key=house.sleeper.key),
            house.target.signed("ConsentService/GetConsent"),
            [*house.target.signed(method)[:2], ("harmonia-proof", os.urandom(64).hex())],
        ):
            with pytest.raises(grpc.RpcError) as caught:
                house.send(method, house.request(method), metadata)
            assert reason_of(caught.value) in ("NOT_AUTHENTICATED", "NOT_PERMITTED")
        assert house.look() == before


def test_everything_that_is_set_is_compared() -> None:
    assert set(Sleeper.__dataclass_fields__) >= SETTINGS | {"consent"}
    assert all(FIELDS[name] for name in ("KeepApart", "ListenIn"))


def test_the_journal_is_where_it_was_looked_for(running: Running, tmp_path: Path) -> None:
    del tmp_path
    house = Watched(running)
    kinds = {type(decode(data)).__name__ for data in house.look()[1]}
    assert {"SleeperJoined", "ConsentGranted", "ConsentWithdrawn", "OffsetSet", "ApartKept"} <= kinds
