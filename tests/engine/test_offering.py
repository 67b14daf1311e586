"""Offers in the engine: an acceptance is the person's own acts, and stale, late or repeated ones set nothing."""

import pytest
import trio

from harmonia.domain.consent import Purpose
from harmonia.domain.events import (
    ConsentGranted,
    CouplingSet,
    OfferAnswered,
    OffsetSet,
    decode,
)
from harmonia.domain.offers import Offer, OfferedGrant, OfferKind, answer_to
from harmonia.domain.states import CircleState
from harmonia.domain.weaving import CircleMode
from harmonia.engine import offering
from harmonia.engine.person import Person
from harmonia.errors import BadInput, CredentialEnded, NotFound, NotNow, StaleGrant
from harmonia.testing import FakePlane
from tests.engine.nights import HOUR_NS, House, audible, in_virtual_time

VOICE = (OfferedGrant(Purpose.VOICE, 0.5),)


async def accept(
    house: House, person: Person, offer: Offer, supersedes: dict[Purpose, bytes] | None = None, yes: bool = True
) -> Offer:
    event_id = house.event_id()
    return await offering.answer(person, offer.offer_id, yes, supersedes or {}, event_id, house.now_ns())


def kinds(house: House, person: Person) -> list[str]:
    return [type(decode(record.data)).__name__ for record in house.journal.read(person.stream)]


def test_nothing_follows_from_an_offer_until_its_person_accepts_it() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            person, other = await house.join(conductor), await house.join(conductor)
            offer = await conductor.make_offer(OfferKind.CONSENT, "sing with us", None, VOICE)
            before = person.sleeper
            await trio.sleep(60)
            assert person.sleeper.consent == before.consent
            assert not audible(sanctuary, person)
            await accept(house, person, offer)
            assert audible(sanctuary, person)
            assert person.sleeper.consent[Purpose.VOICE].level_at(house.now_ns()) == 0.5
            assert other.sleeper.consent == before.consent
            await accept(house, other, offer, yes=False)
            assert kinds(house, other)[1:] == [OfferAnswered.__name__]

    in_virtual_time(scenario)


def test_an_acceptance_that_does_not_know_the_newest_no_is_refused_and_answers_nothing() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            person = await house.join(conductor)
            no = house.event_id()
            sanctuary.doors.withdraw(person, frozenset({Purpose.VOICE}), no)
            offer = await conductor.make_offer(OfferKind.CONSENT, "sing with us", None, VOICE)
            with pytest.raises(StaleGrant):
                await accept(house, person, offer)
            assert not audible(sanctuary, person)
            assert answer_to(person.sleeper.answers, offer.offer_id) is None
            await accept(house, person, offer, {Purpose.VOICE: no})
            assert audible(sanctuary, person)

    in_virtual_time(scenario)


def test_accepting_a_mode_records_the_persons_own_settings() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            person = await house.join(conductor)
            await person.set_offset(0.25)
            await person.set_coupling(0.0, 0.5)
            await conductor.advance(CircleState.ENTRAINING)
            await trio.sleep(10)
            await person.set_own_rhythm(5.0, 0)
            (standard,) = conductor.circle.offers
            await accept(house, person, standard)
            assert person.sleeper.own_rhythm.home_ns is not None
            await conductor.weave(CircleMode.WOVEN, None)
            (woven,) = conductor.circle.offers
            await accept(house, person, woven)
            assert (person.sleeper.coupling, person.sleeper.weight) == (1.0, 0.5)
            assert person.sleeper.consent[Purpose.PULL].grant is not None
            await conductor.weave(CircleMode.FREE, None)
            assert person.sleeper.coupling == 1.0  # a mode alone sets nothing
            assert person.sleeper.offset == 1 << 62
            recorded = kinds(house, person)
            assert recorded[-3:] == [ConsentGranted.__name__, CouplingSet.__name__, OfferAnswered.__name__]

    in_virtual_time(scenario)


def test_a_pattern_sets_the_offset_of_ones_place_as_it_was_then() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            await house.join(conductor)
            second = await house.join(conductor)
            await conductor.offer([0.0, 0.25])
            first_pattern = conductor.circle.offers[-1]
            await accept(house, second, first_pattern)
            assert second.sleeper.offset == 1 << 62
            await conductor.offer([0.0, 0.5])
            assert second.sleeper.offset == 1 << 62
            with pytest.raises(NotFound, match="was changed"):
                await accept(house, second, first_pattern)
            assert answer_to(second.sleeper.answers, conductor.circle.offers[-1].offer_id) is None
            assert kinds(house, second)[1:] == [OffsetSet.__name__, OfferAnswered.__name__]

    in_virtual_time(scenario)


def test_an_ended_offer_cannot_be_accepted_and_what_it_set_stays() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            person, late = await house.join(conductor), await house.join(conductor)
            until_ns = house.now_ns() + HOUR_NS
            offer = await conductor.make_offer(OfferKind.CONSENT, "sing", until_ns, VOICE)
            await accept(house, person, offer)
            await trio.sleep(3600)
            with pytest.raises(NotFound, match="has ended"):
                await accept(house, late, offer)
            assert audible(sanctuary, person) and not audible(sanctuary, late)
            ruling = await conductor.make_offer(OfferKind.RULING, "no talking", None, ())
            await conductor.end_offer(ruling.offer_id)
            with pytest.raises(NotFound):
                await accept(house, late, ruling)

    in_virtual_time(scenario)


def test_accepting_twice_sets_nothing_more_and_declining_afterwards_undoes_nothing() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            person = await house.join(conductor)
            offer = await conductor.make_offer(OfferKind.CONSENT, "sing", None, VOICE)
            await accept(house, person, offer, yes=False)
            await accept(house, person, offer)
            no = house.event_id()
            sanctuary.doors.withdraw(person, frozenset({Purpose.VOICE}), no)
            await accept(house, person, offer, {Purpose.VOICE: no})  # a repetition, whatever it names
            assert not audible(sanctuary, person)
            with pytest.raises(NotNow, match="to be changed one by one"):
                await accept(house, person, offer, yes=False)

    in_virtual_time(scenario)


def test_answers_and_offers_survive_a_restart() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            person = await house.join(conductor)
            offer = await conductor.make_offer(OfferKind.RULING, "no talking after three", None, ())
            await accept(house, person, offer)
        async with house.awake() as again:
            back = again.roll.by_id(person.sleeper.sleeper_id)
            assert back is not None
            assert back.conductor.circle.offers[-1] == offer
            answer = answer_to(back.sleeper.answers, offer.offer_id)
            assert answer is not None and answer.accepted

    in_virtual_time(scenario)


def test_only_who_is_here_answers_and_only_hosts_kinds_are_made() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            person = await house.join(conductor)
            offer = await conductor.make_offer(OfferKind.RULING, "no talking", None, ())
            with pytest.raises(BadInput, match="circle mode"):
                await conductor.make_offer(OfferKind.MODE, "woven", None, ())
            await person.leave()
            with pytest.raises(CredentialEnded):
                await accept(house, person, offer)

    in_virtual_time(scenario)


def test_an_offer_with_an_end_on_a_clock_that_is_gone_is_over() -> None:
    async def scenario(house: House) -> None:
        async with house.awake() as sanctuary:
            conductor = await house.circle(sanctuary)
            timed = await conductor.make_offer(OfferKind.RULING, "until midnight", house.now_ns() + HOUR_NS, ())
            endless = await conductor.make_offer(OfferKind.RULING, "for the night", None, ())
        plane = FakePlane(house.now_ns)
        plane.clock_id += 1
        async with house.awake(plane=plane) as again:
            left = [one.offer_id for one in again.conductor(conductor.circle.circle_id).circle.offers]
            assert endless.offer_id in left and timed.offer_id not in left

    in_virtual_time(scenario)
