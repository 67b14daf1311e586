"""Answering an offer: what it said becomes the person's own settings, by their own ordinary acts.

First the consents, each naming its newest withdrawal, because those alone can be refused; then offset, coupling and
rhythm; last the answer itself. A crash in between leaves an offer that is still open, and accepting it again finishes
what was begun.
"""

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from harmonia.domain import offers
from harmonia.domain.consent import Purpose, parse_event_id
from harmonia.domain.events import CouplingSet, OfferAnswered, OffsetSet
from harmonia.domain.offers import Offer
from harmonia.errors import NotNow

if TYPE_CHECKING:
    from harmonia.engine.person import Person


async def answer(
    person: "Person",
    offer_id: bytes,
    accept: bool,
    supersedes: Mapping[Purpose, bytes],
    event_id: bytes,
    now_ns: int,
) -> Offer:
    """Accepts or declines; returns the offer. Raises NotFound, NotNow, StaleGrant, CredentialEnded, StorageError."""
    parse_event_id(event_id)
    person.check_present()
    offer = offers.require(person.conductor.circle.offers, offer_id, now_ns)
    before = offers.answer_to(person.sleeper.answers, offer_id)
    if before is not None and before.accepted:
        if accept:
            return offer
        raise NotNow("this offer is accepted already: what it set is the sleeper's own now, to be changed one by one")
    if accept:
        await _set(person, offer, supersedes, event_id, now_ns)
    await person.record(OfferAnswered(offer, accept, now_ns))
    return offer


async def _set(
    person: "Person", offer: Offer, supersedes: Mapping[Purpose, bytes], event_id: bytes, now_ns: int
) -> None:
    for grant, named in offers.named_withdrawals(offer, supersedes):
        own_id = hashlib.sha256(event_id + bytes([grant.purpose])).digest()[:16]
        await person.grant(grant.purpose, scope="", level=grant.level, until_ns=None, supersedes=named, event_id=own_id)
    offset = offers.wanted_offset(offer, person.place)
    if offset is not None:
        await person.record(OffsetSet(offset, now_ns))
    if offer.coupling is not None:
        await person.record(CouplingSet(offer.coupling, person.sleeper.weight, now_ns))
    if offer.home and person.sleeper.own_rhythm.segments:
        await person.set_own_rhythm(None, 0)
