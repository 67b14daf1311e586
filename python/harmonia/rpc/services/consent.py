"""ConsentService: what a person allows. Only their own credential opens it."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from harmonia.rpc import codec
from harmonia.rpc.auth import sleeper
from harmonia.rpc.services.house import House
from harmonia.v1 import consent_pb2, consent_pb2_grpc


class ConsentServicer(consent_pb2_grpc.ConsentServiceServicer):
    """The first door for withdrawals; see :mod:`harmonia.engine.doors`."""

    def __init__(self, house: House, writers: ThreadPoolExecutor) -> None:
        self._house = house
        self._writers = writers

    async def GetConsent(self, _request: Any, _context: Any) -> consent_pb2.GetConsentResponse:  # noqa: N802
        """Where every purpose stands."""
        purposes = codec.purpose_consents(sleeper().sleeper.consent, self._house.now_ns())
        wishes = codec.wishes(sleeper().sleeper.wishes)
        return consent_pb2.GetConsentResponse(purposes=purposes, listeners=codec.listeners(sleeper()), wishes=wishes)

    async def Grant(self, request: Any, _context: Any) -> consent_pb2.GrantResponse:  # noqa: N802
        """Allows a purpose."""
        purpose = codec.parse_purpose(request.purpose)
        grant = partial(
            sleeper().grant,
            purpose,
            scope=request.scope,
            level=request.level if request.HasField("level") else 1.0,
            until_ns=request.until_ns if request.HasField("until_ns") else None,
            supersedes=codec.parse_withdrawal(request.supersedes),
            event_id=request.event_id,
        )
        consent = await self._house.bridge.call(grant)
        (standing,) = codec.purpose_consents(consent, self._house.now_ns(), [purpose])
        return consent_pb2.GrantResponse(consent=standing)

    async def Withdraw(self, request: Any, _context: Any) -> consent_pb2.WithdrawResponse:  # noqa: N802
        """Mutes in this very thread, then writes in another, then answers. Waits for no queue of the engine's."""
        doors, purposes = self._house.sanctuary.doors, codec.parse_purposes(request.purposes)
        withdrawal = doors.mute(sleeper(), purposes, request.event_id)
        loop = asyncio.get_running_loop()
        withdrawn = await loop.run_in_executor(self._writers, doors.record, withdrawal)
        standings = codec.purpose_consents(withdrawn.consent, self._house.now_ns(), purposes)
        return consent_pb2.WithdrawResponse(purposes=standings, gate_epoch=withdrawn.gate_epoch)

    async def KeepApart(self, request: Any, _context: Any) -> consent_pb2.KeepApartResponse:  # noqa: N802
        """Sets the caller's wish about one other sleeper."""
        unheard, unhearing = (
            getattr(request, name) if request.HasField(name) else None for name in ("unheard", "unhearing")
        )
        wishes = await self._house.bridge.call(sleeper().keep_apart, request.sleeper_id, unheard, unhearing)
        return consent_pb2.KeepApartResponse(apart=codec.apart(wishes))

    async def AddAdvanceWish(self, request: Any, _context: Any) -> consent_pb2.AddAdvanceWishResponse:  # noqa: N802
        """Says beforehand when to take something back."""
        wishes = await self._house.bridge.call(sleeper().add_wish, codec.parse_wish(request.wish))
        return consent_pb2.AddAdvanceWishResponse(wishes=codec.wishes(wishes))

    async def RemoveAdvanceWish(self, request: Any, _context: Any) -> consent_pb2.RemoveAdvanceWishResponse:  # noqa: N802
        """Takes such a wish back."""
        wishes = await self._house.bridge.call(sleeper().remove_wish, request.wish_id)
        return consent_pb2.RemoveAdvanceWishResponse(wishes=codec.wishes(wishes))
