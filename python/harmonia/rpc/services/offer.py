"""OfferService: what a circle would like of its sleepers, and what each of them answers."""

from functools import partial
from typing import Any

from harmonia.domain.offers import still_open
from harmonia.engine import offering
from harmonia.errors import BadInput
from harmonia.rpc import codec
from harmonia.rpc.auth import caller, sleeper
from harmonia.rpc.services.house import House
from harmonia.v1 import offer_pb2, offer_pb2_grpc


class OfferServicer(offer_pb2_grpc.OfferServiceServicer):
    """Hosts offer, sleepers answer."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def MakeOffer(self, request: Any, _context: Any) -> offer_pb2.MakeOfferResponse:  # noqa: N802
        """Offers consents or a ruling to everybody in a circle."""
        make = partial(
            self._house.visible_circle(request.circle_id).make_offer,
            codec.parse_offer_kind(request.kind),
            request.text,
            request.until_ns if request.HasField("until_ns") else None,
            codec.parse_offered_grants(request.grants),
        )
        return offer_pb2.MakeOfferResponse(offer=codec.offer(await self._house.bridge.call(make)))

    async def EndOffer(self, request: Any, _context: Any) -> offer_pb2.EndOfferResponse:  # noqa: N802
        """Takes an offer back."""
        conductor = self._house.visible_circle(request.circle_id)
        await self._house.bridge.call(conductor.end_offer, request.offer_id)
        return offer_pb2.EndOfferResponse()

    async def ListOffers(self, request: Any, _context: Any) -> offer_pb2.ListOffersResponse:  # noqa: N802
        """What lies open."""
        person = caller().person
        if person is None and not request.circle_id:
            raise BadInput("name the circle whose offers are to be listed")
        circle_id = request.circle_id or (person.sleeper.circle_id if person is not None else "")
        offers, now_ns = self._house.visible_circle(circle_id).circle.offers, self._house.now_ns()
        return offer_pb2.ListOffersResponse(offers=[codec.offer(offer, person) for offer in still_open(offers, now_ns)])

    async def AnswerOffer(self, request: Any, _context: Any) -> offer_pb2.AnswerOfferResponse:  # noqa: N802
        """Accepts or declines."""
        person = sleeper()
        supersedes = codec.parse_supersedes(request.supersedes)
        wish = (request.offer_id, request.accept, supersedes, request.event_id, self._house.now_ns())
        answered = await self._house.bridge.call(offering.answer, person, *wish)
        return offer_pb2.AnswerOfferResponse(offer=codec.offer(answered, person))
