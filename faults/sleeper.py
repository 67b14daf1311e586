"""A sleeper of a campaign: joins, grants and withdraws through both doors, sets all that is their own, leaves."""

import time
from collections.abc import Sequence
from typing import Any

from faults.host import Host
from faults.house import House
from faults.ledger import ANYTHING, NOTHING, Caller, Facts, Gone, Surprise
from harmonia._core import Platform, TimeKeys
from harmonia.v1 import (
    circle_pb2,
    circle_pb2_grpc,
    consent_pb2,
    consent_pb2_grpc,
    offer_pb2,
    offer_pb2_grpc,
    platform_pb2,
    platform_pb2_grpc,
    rhythm_pb2,
    rhythm_pb2_grpc,
    types_pb2,
)
from loadtests.stranger import Stranger

PURPOSES = [number for number in types_pb2.Purpose.values() if number]
OTHERS = tuple(f"sleeper-other{n}" for n in range(4))
_GRAVES_MAX = 3
_WISHES_MAX = 4
_UNTIL_NS = 24 * 3600 * 1_000_000_000
_CHANNELS = 2


class Sleeper(Caller):
    """Facts are all that the sanctuary shows of them."""

    OPERATIONS = (
        "offset",
        "own_rhythm",
        "couple",
        "voice",
        "hear",
        "keep_apart",
        "grant",
        "grant",
        "grant",
        "withdraw",
        "withdraw",
        "withdraw_sealed",
        "wish",
        "unwish",
        "answer",
        "leave",
        "attach",
    )

    def __init__(self, house: House, host: Host, seed: int) -> None:
        super().__init__(house, seed)
        self._host = host
        self._stranger, self._token = Stranger(), ""
        self._sleeper_id = ""
        """Empty: not in the circle."""
        self._graves: list[Stranger] = []
        """Who this person was before they left: nobody may call in their name any more."""
        self._platform: Platform | None = None
        self._withdrawing = b""
        self.offered = 0

    def connect(self) -> None:
        """To the daemon that runs now."""
        assert self.house.channel is not None
        signed = self._stranger.signed(self.house.channel)
        self._circles = circle_pb2_grpc.CircleServiceStub(signed)
        self._consents = consent_pb2_grpc.ConsentServiceStub(signed)
        self._platforms = platform_pb2_grpc.PlatformServiceStub(signed)
        self._rhythms = rhythm_pb2_grpc.RhythmServiceStub(signed)
        self._offers = offer_pb2_grpc.OfferServiceStub(signed)

    def do(self, operation: str) -> None:
        """One thing; who is not in the circle joins."""
        if not self._sleeper_id and not self.ledger.wish:
            self._join()
        if operation != "join":
            super().do(operation)

    def close(self) -> None:
        """Switches the platform off."""
        if self._platform is not None:
            self._platform.close()
            self._platform = None

    def verify(self) -> list[str]:
        """What is wrong with what the sanctuary knows of this person."""
        wrong = [f"{grave} is let in again" for grave in self._graves if not self._refused(grave)]
        if not self._sleeper_id:
            if self._token:
                self._join()  # with a token that was promised to be good, and whose first answer was lost, maybe
            return wrong
        if "left" in self.ledger.wish:
            if self._refused(self._stranger):
                self.ledger.kept += 1
                self._bury()
                return wrong
            self.ledger.wish = {}
            self.ledger.undone += 1
        wrong += self.ledger.compare(self._facts())
        muted = self._muted()
        heard = bool(self.ledger.facts[_name(types_pb2.PURPOSE_VOICE)][0])
        if muted is heard:
            wrong.append(f"the voice is {'granted' if heard else 'withdrawn'} and {'muted' if muted else 'heard'}")
        if self._withdrawing:  # until acknowledged, as every platform does
            self._withdraw(self._withdrawing, PURPOSES)
        return wrong

    def clock_was_lost(self) -> None:
        """Whether the end of a grant has passed is not known any more: all that have one are to be withdrawn."""
        for facts in (self.ledger.facts, self.ledger.wish):
            for name, value in facts.items():
                if name.startswith("consent") and value[3] is not None:
                    facts[name] = (False, "", 0.0, None, ANYTHING)

    def offset(self) -> None:
        turns = self.random.randrange(-31, 32) / 64
        self.ledger.wish = {"offset": round(turns * 2**64)}
        self.call(self._rhythms.SetPhaseOffset, rhythm_pb2.SetPhaseOffsetRequest(offset_turns=turns))
        self.ledger.granted(self.ledger.wish)

    def own_rhythm(self) -> None:
        self.ledger.wish = {"own": ANYTHING}
        request = rhythm_pb2.SetOwnRhythmRequest(frequency_hz=self.random.randint(1, 80) / 4, ramp_ns=1_000_000_000)
        answer = self.call(self._rhythms.SetOwnRhythm, request)
        self.ledger.granted({"own": answer.rhythm.SerializeToString(deterministic=True)})

    def couple(self) -> None:
        wish = (self.random.randrange(9) / 8, self.random.randrange(9) / 8)
        self.ledger.wish = {"coupling": wish}
        self.call(self._rhythms.SetCoupling, rhythm_pb2.SetCouplingRequest(coupling=wish[0], weight=wish[1]))
        self.ledger.granted(self.ledger.wish)

    def voice(self) -> None:
        parts = [(self.random.randrange(-8, 9) / 8, self.random.randrange(-8, 9) / 8) for _ in range(_CHANNELS)]
        self.ledger.wish = {"voice": parts}
        voice = [types_pb2.Coefficient(re=re, im=im) for re, im in parts]
        self.call(self._platforms.SetVoice, platform_pb2.SetVoiceRequest(voice=voice))
        self.ledger.granted(self.ledger.wish)

    def hear(self) -> None:
        wish = (self.random.randrange(33) / 8, self.random.randrange(9) / 8)
        self.ledger.wish = {"hearing": wish}
        request = platform_pb2.SetHearingRequest(hearing_level=wish[0], own_level=wish[1])
        self.call(self._platforms.SetHearing, request)
        self.ledger.granted(self.ledger.wish)

    def keep_apart(self) -> None:
        other = self.random.choice(OTHERS)
        unheard, unhearing = self.random.choice([(True, False), (False, True), (True, True)])
        self.ledger.wish = {f"apart {other}": (unheard, unhearing)}
        request = consent_pb2.KeepApartRequest(sleeper_id=other, unheard=unheard, unhearing=unhearing)
        self.call(self._consents.KeepApart, request)
        self.ledger.granted(self.ledger.wish)

    def wish(self) -> None:
        """That something be taken back when the circle wakes, which it does not."""
        wish_id = self.random.randbytes(16)
        self.ledger.wish = {f"wish {wish_id.hex()}": True}
        waking = consent_pb2.AdvanceWish(
            wish_id=wish_id,
            kind=consent_pb2.ADVANCE_WISH_KIND_WAKING,
            purposes=[types_pb2.Purpose.ValueType(self.random.choice(PURPOSES))],
        )
        self.call(self._consents.AddAdvanceWish, consent_pb2.AddAdvanceWishRequest(wish=waking))
        self.ledger.granted(self.ledger.wish)
        if sum(name.startswith("wish") for name in self.ledger.facts) > _WISHES_MAX:
            self.unwish()

    def unwish(self) -> None:
        if not any(name.startswith("wish") for name in self.ledger.facts):
            self.wish()
        name = next(name for name in self.ledger.facts if name.startswith("wish"))
        self.ledger.wish = {name: NOTHING}
        request = consent_pb2.RemoveAdvanceWishRequest(wish_id=bytes.fromhex(name.removeprefix("wish ")))
        self.call(self._consents.RemoveAdvanceWish, request)
        self.ledger.granted(self.ledger.wish)

    def answer(self) -> None:
        """To a rule that was not answered yet, if there is one."""
        for offer in self._rules():
            if not offer.answer:
                accept = self.random.random() < 0.5
                said = offer_pb2.OFFER_ANSWER_ACCEPTED if accept else offer_pb2.OFFER_ANSWER_DECLINED
                self.ledger.wish = {f"answer {offer.text}": said}
                request = offer_pb2.AnswerOfferRequest(
                    offer_id=offer.offer_id, accept=accept, event_id=self.random.randbytes(16)
                )
                self.call(self._offers.AnswerOffer, request)
                self.ledger.granted(self.ledger.wish)
                return

    def _rules(self) -> list[offer_pb2.Offer]:
        answer = self.call(self._offers.ListOffers, offer_pb2.ListOffersRequest())
        return [offer for offer in answer.offers if offer.text.startswith("lasting")]

    def grant(self, *, timed: bool | None = None, purpose: types_pb2.Purpose.ValueType | None = None) -> None:
        purpose = purpose or types_pb2.Purpose.ValueType(self.random.choice(PURPOSES))
        level, timed = self.random.randrange(1, 9) / 8, self.random.random() < 0.3 if timed is None else timed
        named = self.ledger.facts[_name(purpose)][4]
        until_ns = time.time_ns() + _UNTIL_NS if timed else None
        request = consent_pb2.GrantRequest(
            purpose=purpose, level=level, until_ns=until_ns, supersedes=named, event_id=self.random.randbytes(16)
        )
        self.ledger.wish = {_name(purpose): (True, "", level, until_ns, named)}
        self.call(self._consents.Grant, request)
        self.ledger.granted(self.ledger.wish)

    def withdraw(self) -> None:
        count = self.random.choice((1, 2, len(PURPOSES)))
        self._withdraw(self.random.randbytes(16), self.random.sample(PURPOSES, count))

    def withdraw_sealed(self) -> None:
        """Through the other door: a datagram, which the node mutes before Python hears of it."""
        self._platform = self._platform or Platform(clock_offset_ns=0, clock_drift_ppb=0, seed=1)
        given = self.attach()
        keys = TimeKeys(
            given.time_keys.aead_algorithm,
            given.time_keys.client_key,
            given.time_keys.server_key,
            list(given.time_keys.cookies),
        )
        self._platform.connect(self.house.place.host, given.udp_port, given.session_id, given.secret, keys)
        event_id = self.random.randbytes(16)
        self._withdrawing = event_id
        self.ledger.wish = _withdrawn(event_id, PURPOSES)
        self._platform.withdraw(event_id, 0)
        while not self._platform.acknowledged(event_id):
            if not self.house.alive:
                raise Gone
            time.sleep(0.002)
        self._withdrawing = b""
        self.ledger.granted(self.ledger.wish)

    def attach(self) -> platform_pb2.AttachPlatformResponse:
        answer: platform_pb2.AttachPlatformResponse = self.call(
            self._platforms.AttachPlatform, platform_pb2.AttachPlatformRequest()
        )
        self.offered = answer.state.offered_offset
        return answer

    def leave(self) -> None:
        self.ledger.wish = {"left": True}
        self.call(self._circles.LeaveCircle, circle_pb2.LeaveCircleRequest())
        self.ledger.acknowledged += 1
        self._bury()
        self._join()

    def _bury(self) -> None:
        self.close()  # or it would go on withdrawing in another's name
        self._graves = [*self._graves[1 - _GRAVES_MAX :], self._stranger]
        self._stranger, self._token, self._sleeper_id = Stranger(), "", ""
        self.ledger.facts, self.ledger.wish, self._withdrawing = {}, {}, b""
        self.connect()

    def _join(self) -> None:
        if not self._token:
            if not self._host.tokens:
                return
            self._token = self._host.tokens.pop()
        channel = self.house.channel
        assert channel is not None
        answer = self.call(lambda _, **__: self._stranger.join(channel, self._host.main, self._token), None)
        self._sleeper_id = answer.sleeper_id
        self.ledger.granted(_FRESH)

    def _withdraw(self, event_id: bytes, purposes: Sequence[types_pb2.Purpose.ValueType]) -> None:
        wish = _withdrawn(event_id, purposes)
        self._withdrawing = event_id if len(purposes) == len(PURPOSES) else b""
        self.ledger.wish = wish
        self.call(self._consents.Withdraw, consent_pb2.WithdrawRequest(purposes=purposes, event_id=event_id))
        self._withdrawing = b""
        self.ledger.granted(wish)

    def _facts(self) -> Facts:
        state = self.attach().state
        facts: Facts = {
            "offset": state.offset,
            "voice": [(v.re, v.im) for v in state.voice],
            "hearing": (state.hearing_level, state.own_level),
            "coupling": (state.coupling, state.weight),
            "own": state.own_rhythm.SerializeToString(deterministic=True),
        }
        facts |= {f"apart {one.sleeper_id}": (one.unheard, one.unhearing) for one in state.apart}
        facts |= {_name(one.purpose): _standing(one) for one in state.purposes}
        facts |= {f"wish {one.wish_id.hex()}": not one.fired for one in state.wishes}
        facts |= {f"answer {offer.text}": offer.answer for offer in self._rules() if offer.answer}
        return facts

    def _muted(self) -> bool:
        watching: Any = self._circles.WatchCircle(circle_pb2.WatchCircleRequest(circle_id=self._host.main), timeout=30)
        try:
            first = self.call(lambda _, **__: next(watching), None)
        finally:
            watching.cancel()
        (own,) = (one for one in first.sleepers if one.sleeper_id == self._sleeper_id)
        return bool(own.muted)

    def _refused(self, stranger: Stranger) -> bool:
        assert self.house.channel is not None
        platforms = platform_pb2_grpc.PlatformServiceStub(stranger.signed(self.house.channel))
        try:
            self.call(platforms.AttachPlatform, platform_pb2.AttachPlatformRequest())
        except Surprise:
            return True
        return False


def _name(purpose: int) -> str:
    return f"consent {types_pb2.Purpose.Name(types_pb2.Purpose.ValueType(purpose))}"


def _withdrawn(event_id: bytes, purposes: Sequence[types_pb2.Purpose.ValueType]) -> Facts:
    return {_name(purpose): (False, "", 0.0, None, event_id.hex()) for purpose in purposes}


def _standing(one: Any) -> tuple[Any, ...]:
    until_ns = one.until_ns if one.HasField("until_ns") else None
    return (one.granted, one.scope, one.level, until_ns, one.withdrawal_id)


_FRESH: Facts = {
    "offset": 0,
    "voice": [(1.0, 0.0)] * _CHANNELS,
    "hearing": (1.0, 1.0),
    "coupling": (0.0, 1.0),
    "own": b"",
    **{_name(purpose): (False, "", 0.0, None, "") for purpose in PURPOSES},
}
"""Who has just joined: nothing is allowed."""
