"""The ledger through the daemon: proofs for those whom they are about, and being forgotten for good."""

import os
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import grpc
import pytest
from click.testing import CliRunner

from harmonia.cli.main import cli
from harmonia.journal.keys import KeyStore
from harmonia.journal.sealing import PERSON
from harmonia.ledger.leaves import Entry
from harmonia.ledger.note import Checkpoint, Verifier
from harmonia.ledger.proof import Proof
from harmonia.ledger.reading import opened
from harmonia.v1 import ledger_pb2, ledger_pb2_grpc, types_pb2
from tests.rpc.daemon import PATIENCE_S, Guest, Running, daemon, reason_of


class Ledger:
    """A client of the service, no more than the API asks for."""

    def __init__(self, house: Running) -> None:
        self.house = house
        self.stub: Any = ledger_pb2_grpc.LedgerServiceStub(house.channel)

    def own(self, guest: Guest, method: str, request: Any) -> Any:
        metadata = guest.signed(f"LedgerService/{method}")
        return getattr(self.stub, method)(request, metadata=metadata, timeout=PATIENCE_S)

    def entries(self, guest: Guest) -> list[Any]:
        return list(self.own(guest, "ListEntries", ledger_pb2.ListEntriesRequest()).entries)

    def prove(self, guest: Guest, id: str) -> Any:
        return self.own(guest, "GetProof", ledger_pb2.GetProofRequest(id=id))

    def state(self) -> tuple[Verifier, Checkpoint]:
        answer = self.stub.GetLedger(ledger_pb2.GetLedgerRequest(), timeout=PATIENCE_S)
        return Verifier.parse(answer.verifier_key), Checkpoint.parse(answer.checkpoint, "answer")

    def forget(self, sleeper_id: str, metadata: Any = None) -> None:
        request = ledger_pb2.ForgetSleeperRequest(sleeper_id=sleeper_id)
        self.stub.ForgetSleeper(request, metadata=metadata or self.house.admin, timeout=PATIENCE_S)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Running]:
    with daemon(tmp_path) as running:
        yield running


def test_an_acknowledged_withdrawal_is_in_the_ledger_and_only_its_person_opens_it(house: Running) -> None:
    ledger, circle = Ledger(house), house.create()
    ada, bo = house.join(circle.circle_id), house.join(circle.circle_id)
    ada.grant(types_pb2.PURPOSE_VOICE)
    event_id = os.urandom(16)
    ada.withdraw(types_pb2.PURPOSE_VOICE, event_id=event_id)
    assert [entry.kind for entry in ledger.entries(ada)] == ["grant", "withdrawal"]
    assert ledger.entries(bo) == []
    answer = ledger.prove(ada, event_id.hex())
    key, checkpoint = ledger.state()
    proof = Proof.parse(answer.proof, "answer")
    proof.verify([key], "answer")
    assert checkpoint.size == proof.checkpoint.size == 3
    entry = Entry.parse(proof.entry, "answer")
    assert (entry.kind, entry.by) == ("withdrawal", "person")
    assert entry.commitment == sha256(answer.opening).hexdigest()
    assert event_id.hex().encode() in answer.opening
    with pytest.raises(grpc.RpcError) as refused:
        ledger.prove(bo, event_id.hex())
    assert reason_of(refused.value) == "NOT_FOUND"
    with pytest.raises(grpc.RpcError) as refused:
        ledger.stub.ListEntries(ledger_pb2.ListEntriesRequest(), metadata=house.admin, timeout=PATIENCE_S)
    assert reason_of(refused.value) == "NOT_AUTHENTICATED"


def test_proofs_are_there_after_the_night(house: Running) -> None:
    ledger, circle = Ledger(house), house.create()
    ada = house.join(circle.circle_id)
    ada.grant(types_pb2.PURPOSE_HEARING)
    house.advance(circle.circle_id, types_pb2.CIRCLE_STATE_CLOSED)
    (entry,) = ledger.entries(ada)
    assert ledger.prove(ada, str(entry.index)).opening


@pytest.mark.parametrize("by_host", [False, True])
@pytest.mark.parametrize("closed", [False, True])
def test_who_is_forgotten_is_silent_first_and_stays_forgotten(tmp_path: Path, by_host: bool, closed: bool) -> None:
    with daemon(tmp_path) as house:
        ledger, circle = Ledger(house), house.create()
        token = house.tokens(circle.circle_id)[0]
        ada, bo = Guest(house, circle.circle_id, token), house.join(circle.circle_id)
        for guest in (ada, bo):
            guest.grant(types_pb2.PURPOSE_VOICE)
        assert ada.audible
        before = ledger.entries(bo)
        said, key = of_person(tmp_path, ada.answer.sleeper_id)
        assert {b"SleeperJoined", b"ConsentGranted"} <= {data.split(b'"')[3] for data in said}
        assert key in everywhere(tmp_path) and not any(data in everywhere(tmp_path) for data in said)
        if closed:
            house.advance(circle.circle_id, types_pb2.CIRCLE_STATE_CLOSED)
        if by_host:
            for _ in range(2):  # a repetition is answered alike
                ledger.forget(ada.answer.sleeper_id)
        else:
            ledger.own(ada, "ForgetMe", ledger_pb2.ForgetMeRequest())
        assert not ada.audible
        assert_forgotten(house, ada, token, open_circle=None if closed else circle.circle_id)
        _, checkpoint = ledger.state()
        assert checkpoint.size == 4, "the circle, two grants, and the withdrawal that came first"
        assert key not in everywhere(tmp_path), "from when it is acknowledged"
    left = everywhere(tmp_path)
    assert key not in left and b"CircleCreated" in left
    assert not any(word in left for word in (*said, b"ConsentGranted", b"ConsentWithdrawn", b"SleeperJoined"))
    with daemon(tmp_path) as house:
        ledger = Ledger(house)
        assert_forgotten(house, ada, token, open_circle=None if closed else circle.circle_id)
        assert ledger.entries(bo.at(house)) == before
        assert ledger.state()[1] == checkpoint


def of_person(folder: Path, sleeper_id: str) -> tuple[list[bytes], bytes]:
    """What a sleeper said, in the clear, and the key that it is sealed under."""
    with opened(folder) as parts, closing(KeyStore(folder / "keys.sqlite")) as keys:
        key = keys.get(PERSON + sleeper_id)
        assert key is not None
        return [record.data for record in parts.journal.read(PERSON + sleeper_id)], key


def everywhere(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def assert_forgotten(house: Running, guest: Guest, token: str, open_circle: str | None) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        guest.at(house).withdraw()
    assert reason_of(refused.value) == "NOT_AUTHENTICATED"
    if open_circle is not None:
        with pytest.raises(grpc.RpcError) as refused:
            Guest(house, open_circle, token)
        assert reason_of(refused.value) == "TOKEN_USED"


def test_nobody_but_host_and_sleeper_can_have_a_sleeper_forgotten(house: Running) -> None:
    ledger, circle = Ledger(house), house.create()
    ada, bo = house.join(circle.circle_id), house.join(circle.circle_id)
    with pytest.raises(grpc.RpcError) as refused:
        ledger.forget(ada.answer.sleeper_id, bo.signed("LedgerService/ForgetSleeper"))
    assert reason_of(refused.value) == "NOT_PERMITTED"
    with pytest.raises(grpc.RpcError) as refused:
        ledger.forget("sleeper-nobody")
    assert reason_of(refused.value) == "NOT_FOUND"
    assert ledger.entries(ada) == []


def test_the_ledger_goes_on_where_it_was(tmp_path: Path) -> None:
    with daemon(tmp_path) as house:
        ada = house.join(house.create().circle_id)
        ada.grant(types_pb2.PURPOSE_VOICE)
        key, first = Ledger(house).state()
    with daemon(tmp_path) as house:
        ada = ada.at(house)
        ada.withdraw()
        assert [entry.index for entry in Ledger(house).entries(ada)] == [1, 2]
        again, second = Ledger(house).state()
        assert again == key and second.size == 3 > first.size - 1


def test_an_older_journal_makes_no_yes_of_an_acknowledged_no(tmp_path: Path) -> None:
    with daemon(tmp_path) as house:
        circle = house.create()
        ada, bo = house.join(circle.circle_id), house.join(circle.circle_id)
        for guest in (ada, bo):
            guest.grant(types_pb2.PURPOSE_VOICE)
        Ledger(house).entries(ada)
    backup = (tmp_path / "journal.db").read_bytes()
    with daemon(tmp_path) as house:
        ada = ada.at(house)
        ada.withdraw(types_pb2.PURPOSE_VOICE)
        Ledger(house).entries(ada)
    (tmp_path / "journal.db").write_bytes(backup)
    with daemon(tmp_path) as house:
        for guest in (ada, bo):
            assert not guest.at(house).audible
    result = CliRunner().invoke(cli, ["ledger", "audit", "--openings", "--data", str(tmp_path)])
    assert result.exit_code == 0
    assert "1 of the orphans are withdrawals or wishes that the journal has lost" in result.output
    assert "nobody's no became a yes" not in result.output
