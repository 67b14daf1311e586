"""A sleeper's calls to their sanctuary, each signed by the platform's key. No audio, no clock: see Sleeper for them."""

import os
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from harmonia import errors
from harmonia.client import channel, rooms, views
from harmonia.client.identity import Identity
from harmonia.client.invitation import Invitation
from harmonia.client.names import Purpose
from harmonia.client.rooms import HelpCall
from harmonia.client.ticket import Ticket
from harmonia.domain.advance import AdvanceWish, StandingWish
from harmonia.v1 import (
    circle_pb2,
    circle_pb2_grpc,
    consent_pb2,
    consent_pb2_grpc,
    dialogue_pb2,
    dialogue_pb2_grpc,
    ledger_pb2,
    ledger_pb2_grpc,
    me_pb2,
    me_pb2_grpc,
    offer_pb2,
    offer_pb2_grpc,
    platform_pb2,
    platform_pb2_grpc,
    rhythm_pb2,
    rhythm_pb2_grpc,
    sanctuary_pb2,
    sanctuary_pb2_grpc,
    stem_pb2,
    stem_pb2_grpc,
    steward_pb2,
    steward_pb2_grpc,
)

if TYPE_CHECKING:
    from typing import Self

WITHDRAW_DEADLINE_S = 3.0
"""A withdrawal is repeated anyway; better soon again than long in one attempt."""


async def redeem(invitation: Invitation) -> tuple[Identity, views.Circle]:
    """Redeems the invitation's token for an identity with a new key. Raises NotPermitted, NotFound, Unreachable.

    Where there is no place, it raises BadInput; whoever wants to wait takes a `Ticket`.
    """
    return await Ticket(invitation).redeem()


class SleeperCalls:
    """Everything that a sleeper's credential opens. An async context manager; closes its channel at the end.

    Every method raises a HarmoniaError: Unreachable if the sanctuary does not answer, NotPermitted once the credential
    has ended.
    """

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        endpoint = identity.endpoint
        self._channel = channel.open_channel(endpoint.host, endpoint.port, endpoint.ca_pem.encode())
        self._circle = circle_pb2_grpc.CircleServiceStub(self._channel)
        self._consent = consent_pb2_grpc.ConsentServiceStub(self._channel)
        self._me = me_pb2_grpc.MeServiceStub(self._channel)
        self._offer = offer_pb2_grpc.OfferServiceStub(self._channel)
        self._platform = platform_pb2_grpc.PlatformServiceStub(self._channel)
        self._sanctuary = sanctuary_pb2_grpc.SanctuaryServiceStub(self._channel)
        self._rhythm = rhythm_pb2_grpc.RhythmServiceStub(self._channel)
        self._stem = stem_pb2_grpc.StemServiceStub(self._channel)
        self._ledger = ledger_pb2_grpc.LedgerServiceStub(self._channel)
        self._steward = steward_pb2_grpc.StewardServiceStub(self._channel)
        self._dialogue = dialogue_pb2_grpc.DialogueServiceStub(self._channel)

    async def __aenter__(self) -> "Self":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends every call under way."""
        self._channel.close()

    def _signed(self, service: str, method: str) -> list[tuple[str, str]]:
        return self.identity.call_metadata(f"/harmonia.v1.{service}/{method}", os.urandom(16))

    async def _call(self, stub: Any, service: str, method: str, request: Any, deadline_s: float | None = None) -> Any:
        return await channel.call(
            getattr(stub, method),
            request,
            self._signed(service, method),
            deadline_s=channel.CALL_DEADLINE_S if deadline_s is None else deadline_s,
        )

    async def attach(self, *, recording: bool) -> views.Attachment:
        """Opens a data-plane session. ``recording``: the platform keeps what it plays, and is given less for it."""
        request = platform_pb2.AttachPlatformRequest(recording=recording, hears_hush=True)
        return views.attachment(await self._call(self._platform, "PlatformService", "AttachPlatform", request))

    def carry_datagrams(self, datagrams: Iterator[platform_pb2.CarryDatagramsRequest]) -> Any:
        """Begins to carry datagrams to the data plane; iterating over the call, in a thread, gives the answers."""
        signed = tuple(self._signed("PlatformService", "CarryDatagrams"))
        return self._platform.CarryDatagrams(datagrams, metadata=signed)

    @asynccontextmanager
    async def watch_platform(self) -> AsyncIterator[AsyncIterator[views.PlatformState]]:
        """Everything that the platform has to follow, at once and after every change; the newest wins."""
        signed = self._signed("PlatformService", "WatchPlatform")
        request = platform_pb2.WatchPlatformRequest()
        async with channel.stream(self._platform.WatchPlatform, request, signed) as answers:
            yield (views.platform_state(answer.state) async for answer in answers)

    async def platform_state(self) -> views.PlatformState:
        """What the platform has to follow now."""
        async with self.watch_platform() as states:
            async for state in states:
                return state
        raise errors.Unreachable("the sanctuary ended the stream before it said anything; try again")

    @asynccontextmanager
    async def watch_circle(self, interval_s: float = 0.0) -> AsyncIterator[AsyncIterator[views.CircleView]]:
        """What a member may see of the circle, at least every ``interval_s`` seconds (0: one second)."""
        signed = self._signed("CircleService", "WatchCircle")
        request = circle_pb2.WatchCircleRequest(circle_id=self.identity.circle_id, interval_ns=round(interval_s * 1e9))
        async with channel.stream(self._circle.WatchCircle, request, signed) as answers:
            yield (views.circle_view(answer) async for answer in answers)

    @asynccontextmanager
    async def listen_in(self, sleeper_id: str) -> AsyncIterator[AsyncIterator[tuple[bool, int]]]:
        """Lets the platform hear what another sleeper hears while the block lasts: (whether it does, their offset).

        Raises NotPermitted where they do not allow it, or no longer; NotFound; NotNow while they could not see it.
        """
        signed = self._signed("PlatformService", "ListenIn")
        request = platform_pb2.ListenInRequest(sleeper_id=sleeper_id)
        async with channel.stream(self._platform.ListenIn, request, signed) as answers:
            yield ((answer.hearing, answer.offset) async for answer in answers)

    async def set_voice(self, voice: Sequence[complex]) -> None:
        """Records the voice: one coefficient a channel, magnitudes up to 4."""
        request = platform_pb2.SetVoiceRequest(voice=views.coefficients(voice))
        await self._call(self._platform, "PlatformService", "SetVoice", request)

    async def set_hearing(self, *, hearing: float, own: float) -> None:
        """Records how loud the sleeper hears the others (0 to 4) and themself (0 to 1)."""
        request = platform_pb2.SetHearingRequest(hearing_level=hearing, own_level=own)
        await self._call(self._platform, "PlatformService", "SetHearing", request)

    async def set_offset(self, offset_turns: float) -> int:
        """Records the phase offset; returns it in 2**-64 turn as it stands."""
        request = rhythm_pb2.SetPhaseOffsetRequest(offset_turns=offset_turns)
        answer = await self._call(self._rhythm, "RhythmService", "SetPhaseOffset", request)
        offset_bits: int = answer.offset
        return offset_bits

    async def set_own_rhythm(
        self, frequency_hz: float | None, ramp_s: float = 0.0, *, from_biosignal: bool = False
    ) -> views.RhythmView | None:
        """Leads the sleeper's own rhythm to a frequency within ``ramp_s`` seconds (0: ten), or back to the circle's.

        ``from_biosignal``: it is that of a living signal. Raises NotPermitted unless biosignal and pull are allowed.
        """
        request = rhythm_pb2.SetOwnRhythmRequest(
            frequency_hz=frequency_hz, ramp_ns=round(ramp_s * 1e9), from_biosignal=from_biosignal
        )
        return views.rhythm((await self._call(self._rhythm, "RhythmService", "SetOwnRhythm", request)).rhythm)

    async def set_coupling(self, coupling: float, weight: float | None = None) -> None:
        """Records how far the circle may pull the sleeper, 0 to 1, and what they count in its mean (absent: 1)."""
        request = rhythm_pb2.SetCouplingRequest(coupling=coupling, weight=weight)
        await self._call(self._rhythm, "RhythmService", "SetCoupling", request)

    async def consents(self) -> dict[Purpose, views.PurposeConsent]:
        """Where every purpose stands."""
        return (await self.overview())[0]

    async def overview(self) -> tuple[dict[Purpose, views.PurposeConsent], tuple[views.Listener, ...]]:
        """Where every purpose stands, and who listens in to the sleeper."""
        answer = await self._call(self._consent, "ConsentService", "GetConsent", consent_pb2.GetConsentRequest())
        return views.consents(answer.purposes), views.listeners(answer.listeners)

    async def grant(
        self,
        purpose: Purpose,
        *,
        supersedes: str,
        scope: str = "",
        level: float | None = None,
        until_ns: int | None = None,
    ) -> views.PurposeConsent:
        """Allows ``purpose``, answering the withdrawal ``supersedes``. Raises BadInput if a newer one stands.

        ``scope``: to whom it extends, empty for the circle; ``level``: how far, 0 to 1; ``until_ns``: node time.
        """
        request = consent_pb2.GrantRequest(
            purpose=views.purpose_number(purpose),
            scope=scope,
            supersedes=supersedes,
            level=level,
            until_ns=until_ns,
            event_id=os.urandom(16),
        )
        answer = await self._call(self._consent, "ConsentService", "Grant", request)
        return views.consents([answer.consent])[purpose]

    async def withdraw(self, event_id: bytes, purposes: Iterable[Purpose] = ()) -> int:
        """Withdraws ``purposes``, or everything; returns the gate epoch from which no frame holds the voice.

        Repeat it with the same ``event_id`` (16 bytes) until it returns: then it is on disk.
        """
        request = consent_pb2.WithdrawRequest(purposes=map(views.purpose_number, purposes), event_id=event_id)
        answer = await self._call(self._consent, "ConsentService", "Withdraw", request, WITHDRAW_DEADLINE_S)
        gate_epoch: int = answer.gate_epoch
        return gate_epoch

    async def tell_withdrawals(self) -> None:
        """Tells the withdrawals that the identity keeps, oldest first, and drops each that is on the sanctuary's disk.

        It does not write the state file.
        """
        for event_id, purposes in list(self.identity.withdrawals.items()):
            await self.withdraw(event_id, purposes)
            self.identity.withdrawals.pop(event_id, None)

    async def find_stem(self, file: str, sha256: bytes = b"") -> tuple[bytes, int]:
        """Hash and size of a recording that the circle's score names. Raises NotFound if the sanctuary has none."""
        request = stem_pb2.FindStemRequest(sha256=sha256, file=file)
        answer = await self._call(self._stem, "StemService", "FindStem", request)
        return answer.sha256, answer.size

    async def read_stem(self, sha256: bytes, offset: int) -> bytes:
        """A part of it, empty at the end."""
        request = stem_pb2.ReadStemRequest(sha256=sha256, offset=offset)
        data: bytes = (await self._call(self._stem, "StemService", "ReadStem", request)).data
        return data

    async def keep_apart(
        self, other_id: str, *, unheard: bool | None = None, unhearing: bool | None = None
    ) -> tuple[views.Apart, ...]:
        """Records whether the sleeper wants to hear another, and whether that one may hear them (None: as it is).

        Returns all of the sleeper's wishes.
        """
        request = consent_pb2.KeepApartRequest(sleeper_id=other_id, unheard=unheard, unhearing=unhearing)
        return views.apart((await self._call(self._consent, "ConsentService", "KeepApart", request)).apart)

    async def ledger_entries(self) -> tuple[views.LedgerEntry, ...]:
        """The ledger's entries of what this sleeper said, oldest first; also once the credential has ended."""
        answer = await self._call(self._ledger, "LedgerService", "ListEntries", ledger_pb2.ListEntriesRequest())
        return views.ledger_entries(answer.entries)

    async def prove(self, id: str) -> tuple[str, bytes]:
        """A .tlog-proof of one of them, and its opening; see docs/ledger.md. Raises NotFound."""
        request = ledger_pb2.GetProofRequest(id=id)
        answer = await self._call(self._ledger, "LedgerService", "GetProof", request)
        return answer.proof, answer.opening

    async def forget_me(self) -> None:
        """Withdraws everything, then makes all that this sleeper ever said unreadable. Cannot be undone."""
        await self._call(self._ledger, "LedgerService", "ForgetMe", ledger_pb2.ForgetMeRequest())

    async def call_for_help(self, event_id: bytes, message: str) -> HelpCall:
        """Calls whoever is awake.

        Repeat it with the same ``event_id`` (16 bytes) until it returns: then it is on disk.
        """
        request = steward_pb2.CallForHelpRequest(event_id=event_id, message=message)
        return rooms.help_call((await self._call(self._steward, "StewardService", "CallForHelp", request)).call)

    async def take_back_help(self, help_id: str) -> HelpCall:
        """Takes an own call back; one that is resolved stays as it is. Raises NotFound."""
        request = steward_pb2.TakeBackHelpRequest(help_id=help_id)
        return rooms.help_call((await self._call(self._steward, "StewardService", "TakeBackHelp", request)).call)

    async def look(self) -> rooms.PublicCircle:
        """The circle's public state."""
        request = steward_pb2.LookAtCircleRequest()
        return rooms.public_circle(await self._call(self._steward, "StewardService", "LookAtCircle", request))

    async def dialogues(self) -> list[rooms.Dialogue]:
        """All dialogues of the circle, without what was said."""
        request = dialogue_pb2.ListDialoguesRequest()
        answer = await self._call(self._dialogue, "DialogueService", "ListDialogues", request)
        return [rooms.dialogue(m) for m in answer.dialogues]

    async def dialogue(self, dialogue_id: str) -> rooms.Dialogue:
        """One dialogue, whole. Raises NotFound."""
        request = dialogue_pb2.GetDialogueRequest(dialogue_id=dialogue_id)
        return rooms.dialogue((await self._call(self._dialogue, "DialogueService", "GetDialogue", request)).dialogue)

    async def say(self, dialogue_id: str, text: str) -> rooms.Dialogue:
        """Says something there, as a sleeper: without a name."""
        request = dialogue_pb2.SayRequest(dialogue_id=dialogue_id, text=text)
        return rooms.dialogue((await self._call(self._dialogue, "DialogueService", "Say", request)).dialogue)

    async def make_petition(self, event_id: bytes, text: str) -> rooms.Petition:
        """Asks for something through the advocate, who is told ``text`` and nothing of who asks.

        The same ``event_id`` (16 bytes) again is the same petition.
        """
        request = dialogue_pb2.MakePetitionRequest(event_id=event_id, text=text)
        return rooms.petition((await self._call(self._dialogue, "DialogueService", "MakePetition", request)).petition)

    async def petitions(self) -> list[rooms.Petition]:
        """The sleeper's own, and what became of them."""
        request = dialogue_pb2.ListOwnPetitionsRequest()
        answer = await self._call(self._dialogue, "DialogueService", "ListOwnPetitions", request)
        return [rooms.petition(m) for m in answer.petitions]

    async def withdraw_petition(self, petition_id: str) -> rooms.Petition:
        """Takes one back. Raises BadInput once it is filed, NotFound."""
        request = dialogue_pb2.WithdrawPetitionRequest(petition_id=petition_id)
        answer = await self._call(self._dialogue, "DialogueService", "WithdrawPetition", request)
        return rooms.petition(answer.petition)

    async def add_wish(self, wish: AdvanceWish) -> tuple[StandingWish, ...]:
        """Records an advance wish; returns all of the sleeper's. Raises BadInput."""
        request = consent_pb2.AddAdvanceWishRequest(wish=views.wish_message(wish))
        return views.wishes((await self._call(self._consent, "ConsentService", "AddAdvanceWish", request)).wishes)

    async def remove_wish(self, wish_id: bytes) -> tuple[StandingWish, ...]:
        """Takes an advance wish back; returns those that are left. Raises NotFound."""
        request = consent_pb2.RemoveAdvanceWishRequest(wish_id=wish_id)
        return views.wishes((await self._call(self._consent, "ConsentService", "RemoveAdvanceWish", request)).wishes)

    async def wishes(self) -> tuple[StandingWish, ...]:
        """The sleeper's advance wishes."""
        answer = await self._call(self._consent, "ConsentService", "GetConsent", consent_pb2.GetConsentRequest())
        return views.wishes(answer.wishes)

    async def offers(self) -> list[views.Offer]:
        """What lies open in the sleeper's circle, with their answers."""
        request = offer_pb2.ListOffersRequest()
        return [views.offer(m) for m in (await self._call(self._offer, "OfferService", "ListOffers", request)).offers]

    async def answer_offer(self, offer_id: str, *, accept: bool, answered: Mapping[Purpose, str]) -> views.Offer:
        """Accepts or declines an offer: sets what it says, or nothing.

        ``answered``: of each purpose the newest withdrawal that the person knew of when they decided; a newer one is
        not overruled. Raises StaleGrant then, NotFound, BadInput.
        """
        request = offer_pb2.AnswerOfferRequest(
            offer_id=bytes.fromhex(offer_id),
            accept=accept,
            supersedes=[
                offer_pb2.AnsweredWithdrawal(purpose=views.purpose_number(purpose), withdrawal_id=withdrawal_id)
                for purpose, withdrawal_id in answered.items()
            ],
            event_id=os.urandom(16),
        )
        return views.offer((await self._call(self._offer, "OfferService", "AnswerOffer", request)).offer)

    async def me(self) -> views.Me:
        """What the sanctuary keeps about the sleeper. Also with a credential that has ended, as the next two."""
        return views.me(await self._call(self._me, "MeService", "GetMe", me_pb2.GetMeRequest()))

    async def my_events(self) -> list[tuple[str, str]]:
        """Every event that the journal has of the sleeper, oldest first: where, and as one JSON object."""
        found, token = list[tuple[str, str]](), ""
        while True:
            request = me_pb2.ListMyEventsRequest(page_token=token)
            answer = await self._call(self._me, "MeService", "ListMyEvents", request)
            found += [(event.position, event.json) for event in answer.events]
            token = answer.next_page_token
            if not token:
                return found

    async def my_receipts(self) -> list[str]:
        """A receipt for each grant and withdrawal, oldest first, in JSON-LD."""
        found, token = list[str](), ""
        while True:
            request = me_pb2.ListMyReceiptsRequest(page_token=token)
            answer = await self._call(self._me, "MeService", "ListMyReceipts", request)
            found += answer.receipts
            token = answer.next_page_token
            if not token:
                return found

    async def node_time_ns(self) -> int:
        """The sanctuary's node time, now."""
        answer = await channel.call(self._sanctuary.GetStatus, sanctuary_pb2.GetStatusRequest())
        node_time_ns: int = answer.node_time_ns
        return node_time_ns

    async def leave(self, *, come_back: bool = False) -> None:
        """Leaves the circle for good, and the credential ends; or, with ``come_back``, for a while.

        That withdraws the voice, like any withdrawal: it takes a new grant to sound again.
        """
        request = circle_pb2.LeaveCircleRequest(come_back=come_back, event_id=os.urandom(16))
        await self._call(self._circle, "CircleService", "LeaveCircle", request)

    async def come_back(self) -> None:
        """Is in the circle again, after leaving for a while; does nothing for who is there."""
        await self._call(self._circle, "CircleService", "ComeBack", circle_pb2.ComeBackRequest())

    async def set_awake(self, awake: bool, fade_s: float = 0.0) -> None:
        """Wakes softly within ``fade_s`` seconds (0: a minute), or goes back to sleep."""
        request = platform_pb2.SetAwakeRequest(awake=awake, fade_ns=round(fade_s * 1e9))
        await self._call(self._platform, "PlatformService", "SetAwake", request)

    async def set_schedule_offset(self, hours: float) -> None:
        """Records how much later than the circle the sleeper wakes, in hours (-12 to 12); negative: earlier."""
        request = platform_pb2.SetScheduleOffsetRequest(offset_ns=round(hours * 3.6e12))
        await self._call(self._platform, "PlatformService", "SetScheduleOffset", request)
