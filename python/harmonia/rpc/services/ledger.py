"""LedgerService: proofs for those whom they are about, and being forgotten."""

import asyncio
from typing import Any

from harmonia.engine.desk import person_stream
from harmonia.engine.person import Person
from harmonia.errors import NotFound
from harmonia.rpc.auth import sleeper
from harmonia.rpc.services.house import House
from harmonia.v1 import ledger_pb2, ledger_pb2_grpc


class LedgerServicer(ledger_pb2_grpc.LedgerServiceServicer):
    """A sleeper reaches their own entries, and nobody else's."""

    def __init__(self, house: House) -> None:
        self._house, self._ledger = house, house.ledger

    async def GetLedger(self, _request: Any, _context: Any) -> ledger_pb2.GetLedgerResponse:  # noqa: N802
        """How the ledger stands."""
        checkpoint = await asyncio.to_thread(self._ledger.checkpoint)
        return ledger_pb2.GetLedgerResponse(verifier_key=self._ledger.key, checkpoint=str(checkpoint))

    async def ListEntries(self, _request: Any, _context: Any) -> ledger_pb2.ListEntriesResponse:  # noqa: N802
        """The caller's own entries."""
        written = await asyncio.to_thread(self._ledger.entries_of, sleeper().stream)
        entries = [
            ledger_pb2.LedgerEntry(index=one.place, event_id=one.event_id, kind=one.entry.kind, hour_s=one.entry.hour_s)
            for one in written
        ]
        return ledger_pb2.ListEntriesResponse(entries=entries)

    async def GetProof(self, request: Any, _context: Any) -> ledger_pb2.GetProofResponse:  # noqa: N802
        """The proof of one of them, and its opening."""
        proof, opening = await asyncio.to_thread(self._ledger.prove, sleeper().stream, request.id)
        return ledger_pb2.GetProofResponse(proof=str(proof), opening=opening or b"")

    async def ForgetMe(self, _request: Any, _context: Any) -> ledger_pb2.ForgetMeResponse:  # noqa: N802
        """Forgets the caller."""
        await self._forget(sleeper())
        return ledger_pb2.ForgetMeResponse()

    async def ForgetSleeper(self, request: Any, _context: Any) -> ledger_pb2.ForgetSleeperResponse:  # noqa: N802
        """Forgets a sleeper; a repetition is answered alike."""
        person = self._house.sanctuary.roll.by_id(request.sleeper_id)
        if person is not None:
            await self._forget(person)
        elif not self._ledger.forgot(person_stream(request.sleeper_id)):
            raise NotFound(f"there is no sleeper {request.sleeper_id[:80]!r} here: give the whole id")
        return ledger_pb2.ForgetSleeperResponse()

    async def _forget(self, person: Person) -> None:
        await self._house.bridge.call(self._house.sanctuary.forget, person, self._ledger.shred)
