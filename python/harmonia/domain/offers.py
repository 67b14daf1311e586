"""Offers: what a circle would like of a person, and what of it counts: nothing, until that person accepts it.

A pattern of offsets, a mode, default consents, a ruling: each wants to set something that is somebody's own. So none
of them sets anything. An offer lies open in its circle; a person accepts or declines it; and only the acceptance, an
act of their own, sets what the offer said at that moment. Later changes of the offer reach nobody who accepted it.

An offer is named by a hash over all that it says and when it was made. A changed offer therefore is another one, which
nobody has accepted; there is no way to slip other words under an answer that was given. What it would set is spelled
out (an offset, a coupling, the way home to the circle's rhythm, purposes to allow), so that a kind of offer that is yet
to come, such as a council's ruling, needs no new machinery: its kind is a label.

The purposes in it are granted like all others: one by one, each naming the newest withdrawal.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from harmonia.domain.consent import Purpose, parse_level
from harmonia.domain.weaving import CircleMode, offered_to
from harmonia.errors import BadInput, NotFound, NotNow

OFFERS_MAX = 32
"""Offers that may lie open in one circle at once."""
ANSWERS_MAX = 256
"""Answers remembered a sleeper. One that is forgotten is asked for again: the safe way to err."""
TEXT_MAX = 2000


class OfferKind(IntEnum):
    """What sort of offer, numbered as harmonia.v1.OfferKind."""

    OFFSETS = 1
    MODE = 2
    CONSENT = 3
    RULING = 4


@dataclass(frozen=True, slots=True)
class OfferedGrant:
    """A purpose that whoever accepts allows."""

    purpose: Purpose
    level: float = 1.0


@dataclass(frozen=True, slots=True)
class Offer:
    """What is offered to everybody in a circle."""

    kind: OfferKind
    made_ns: int
    text: str = ""
    until_ns: int | None = None
    """Node time from which it cannot be accepted any more; None: with the circle."""
    pattern: tuple[int, ...] = ()
    """Each takes the offset of their place in it, 2⁻⁶⁴ turn."""
    coupling: float | None = None
    home: bool = False
    """Back to the circle's rhythm."""
    grants: tuple[OfferedGrant, ...] = ()

    @property
    def offer_id(self) -> bytes:
        """16 bytes that name exactly these words of that moment."""
        grants = [[grant.purpose.value, grant.level] for grant in self.grants]
        said = [self.kind.value, self.made_ns, self.text, self.until_ns, self.pattern, self.coupling, self.home, grants]
        return hashlib.sha256(b"harmonia offer\0" + json.dumps(said).encode()).digest()[:16]

    def open_at(self, t_ns: int) -> bool:
        """Whether it can be answered at node time ``t_ns``."""
        return self.until_ns is None or t_ns < self.until_ns


@dataclass(frozen=True, slots=True)
class Answer:
    """A person's answer to one offer."""

    offer_id: bytes
    accepted: bool


def mode_offer(mode: CircleMode, t_ns: int) -> Offer:
    """What a circle of that mode offers."""
    match mode:
        case CircleMode.STANDARD:
            return Offer(OfferKind.MODE, t_ns, "standard: that everybody be on the circle's rhythm", home=True)
        case CircleMode.WOVEN:
            text = "woven: that the circle's mean pull your rhythm as far as it can"
            return Offer(OfferKind.MODE, t_ns, text, coupling=1.0, grants=(OfferedGrant(Purpose.PULL),))
        case CircleMode.FREE:
            return Offer(OfferKind.MODE, t_ns, "free: that everybody keep a rhythm of their own", coupling=0.0)


def offsets_offer(pattern: tuple[int, ...], t_ns: int) -> Offer:
    """A pattern of offsets, as `circle syncopate` offers it."""
    return Offer(OfferKind.OFFSETS, t_ns, "an offset of a pattern, by the order of joining", pattern=pattern)


def replaced(offers: tuple[Offer, ...], offer: Offer) -> tuple[Offer, ...]:
    """``offers`` with this one in place of what there was of its kind: modes and patterns, of which one counts."""
    return (*(one for one in offers if one.kind is not offer.kind), offer)


def still_open(offers: Iterable[Offer], t_ns: int) -> tuple[Offer, ...]:
    """Those of ``offers`` that can be answered at node time ``t_ns``."""
    return tuple(one for one in offers if one.open_at(t_ns))


def without(offers: tuple[Offer, ...], offer_id: bytes) -> tuple[Offer, ...]:
    """``offers`` without that one. Whoever accepted it keeps what it set."""
    return tuple(one for one in offers if one.offer_id != offer_id)


def decide_offer(offers: Sequence[Offer], offer: Offer, t_ns: int) -> Offer:
    """``offer`` if it may be made now. Raises :class:`BadInput`, :class:`NotNow`."""
    if offer.kind not in (OfferKind.CONSENT, OfferKind.RULING):
        raise BadInput("patterns and modes are offered with `circle syncopate` and `circle mode`")
    if not offer.text.strip() or len(offer.text) > TEXT_MAX or not offer.text.replace("\n", " ").isprintable():
        raise BadInput(f"an offer must say in 1 to {TEXT_MAX} printable characters what it is, not {offer.text[:40]!r}")
    if offer.until_ns is not None and offer.until_ns <= t_ns:
        raise BadInput(f"an offer must end in the future, after {t_ns} ns of node time, not at {offer.until_ns} ns")
    if offer.kind is OfferKind.CONSENT and not offer.grants:
        raise BadInput("an offer of consents must name at least one purpose")
    if len({grant.purpose for grant in offer.grants}) != len(offer.grants):
        raise BadInput("an offer names each purpose once")
    for grant in offer.grants:
        parse_level(grant.level)
    if len(still_open(offers, t_ns)) >= OFFERS_MAX:
        raise NotNow(f"{OFFERS_MAX} offers lie open in this circle, the most: end one first")
    return offer


def require(offers: Iterable[Offer], offer_id: bytes, t_ns: int | None) -> Offer:
    """The offer of that id that is open at ``t_ns`` (None: whenever). Raises :class:`NotFound` where there is none."""
    for offer in offers:
        if offer.offer_id == offer_id and (t_ns is None or offer.open_at(t_ns)):
            return offer
    raise NotFound(
        f"no offer {offer_id.hex()[:32] or 'without an id'} lies open here: it has ended, or was changed and has"
        " another id now; look at the offers again"
    )


def answer_to(answers: Iterable[Answer], offer_id: bytes) -> Answer | None:
    """A person's answer to that offer; None if they have not answered (or it is forgotten)."""
    return next((answer for answer in answers if answer.offer_id == offer_id), None)


def answered(answers: tuple[Answer, ...], answer: Answer) -> tuple[Answer, ...]:
    """``answers`` with this one, newest last."""
    return (*(one for one in answers if one.offer_id != answer.offer_id), answer)[-ANSWERS_MAX:]


def wanted_offset(offer: Offer, place: int) -> int | None:
    """The offset that it would set for the sleeper of that place in the order of joining, 2⁻⁶⁴ turn."""
    return offered_to(offer.pattern, place)


def named_withdrawals(offer: Offer, supersedes: Mapping[Purpose, bytes]) -> list[tuple[OfferedGrant, bytes]]:
    """The grants of an acceptance, each with the withdrawal that it names (none: there never was one)."""
    return [(grant, supersedes.get(grant.purpose, b"")) for grant in offer.grants]


def in_words(offer: Offer) -> str:
    """What accepting it sets."""
    sets = []
    if offer.pattern:
        sets.append("your offset")
    if offer.coupling is not None:
        sets.append(f"your coupling to {offer.coupling:g}")
    if offer.home:
        sets.append("your rhythm to the circle's")
    sets += [
        f"{grant.purpose.name.lower()} allowed" + ("" if grant.level == 1 else f" up to {grant.level:g}")
        for grant in offer.grants
    ]
    return ", ".join(sets) or "nothing but your answer"
