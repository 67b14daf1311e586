"""A sleeper of a campaign: joins, grants and withdraws by both doors, sets and asks for all that is theirs, leaves."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from faults.host import Host
from faults.house import House
from faults.ledger import ANYTHING, NOTHING, Caller, Facts, Gone, Surprise
from faults.steward import Steward
from faults.wire import Wire
from harmonia._core import Platform, TimeKeys
from harmonia.errors import StorageUnreadable
from harmonia.ledger.note import Checkpoint, Verifier
from harmonia.ledger.own import Shown, audit_own, of_one_tree
from harmonia.ledger.proof import Proof
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
    steward_pb2,
    steward_pb2_grpc,
    types_pb2,
)
from loadtests.stranger import Stranger

PURPOSES = [number for number in types_pb2.Purpose.values() if number]
OTHERS = tuple(f"sleeper-other{n}" for n in range(4))
_FOLLOWING = (types_pb2.PURPOSE_BIOSIGNAL, types_pb2.PURPOSE_PULL)
_SOON_NS = 3600 * 1_000_000_000
_GRAVES_MAX = 3
_WISHES_MAX = 4
_WAITING_MAX = 4
_PROOFS_MAX = 8
_UNTIL_NS = 24 * 3600 * 1_000_000_000
_CHANNELS = 2


class Sleeper(Caller):
    """Facts are all that the sanctuary shows of them."""

    OPERATIONS = (
        "offset",
        "own_rhythm",
        "follow",
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
        "wake",
        "wake_later",
        "call_for_help",
        "need_no_help",
        "petition",
        "take_back",
        "prove",
        "go_away",
        "come_back",
        "leave",
        "forget",
        "be_forgotten",
        "attach",
    )

    def __init__(self, house: House, host: Host, steward: Steward, seed: int) -> None:
        super().__init__(house, seed)
        self._host, self._steward = host, steward
        self._stranger, self._token = Stranger(), ""
        self._sleeper_id = ""
        """Empty: not in the circle."""
        self._graves: list[Stranger] = []
        """Who this person was before they left: nobody may call in their name any more."""
        self._platform: Platform | None = None
        self._wire: Wire | None = None
        self._withdrawing = b""
        self._follows = False
        """Whether their rhythm may follow a living signal."""
        self._uses: list[me_pb2.Use] = []
        """What they were told of who used what they allow."""
        self.streams: dict[str, bool | None] = {}
        """The journal's streams of whoever this person was: whether they are forgotten; None: it was not answered."""
        self.shown: Checkpoint | None = None
        """The newest checkpoint of the ledger that this person was shown."""
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
        self._room = steward_pb2_grpc.StewardServiceStub(signed)
        self._talk = dialogue_pb2_grpc.DialogueServiceStub(signed)
        self._ledgers = ledger_pb2_grpc.LedgerServiceStub(signed)
        self._me = me_pb2_grpc.MeServiceStub(signed)

    def do(self, operation: str) -> None:
        """One thing; who is not in the circle joins."""
        if not self._sleeper_id and not self.ledger.wish:
            self._join()
        if self._sleeper_id or self.ledger.wish:  # else there is no token
            super().do(operation)

    def close(self) -> None:
        """Switches the platform off."""
        if self._platform is not None:
            self._platform.close()
            self._platform = None
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def verify(self) -> list[str]:
        """What is wrong with what the sanctuary knows of this person."""
        wrong = [f"{grave} is let in again" for grave in self._graves if not self._refused(grave)]
        if not self._sleeper_id:
            if self._token:
                self._join()  # with a token that was promised to be good, and whose first answer was lost, maybe
            return wrong
        if "forgotten" in self.ledger.wish:
            return wrong + self._forgotten_at_last()
        if "left" in self.ledger.wish:
            if self._refused(self._stranger):
                self.ledger.kept += 1
                self._bury()
                return wrong
            self.ledger.wish = {}
            self.ledger.undone += 1
        wrong += self.ledger.compare(self._facts())
        muted, here = self._muted(), not self.ledger.facts["away"]
        heard = here and bool(self.ledger.facts[_name(types_pb2.PURPOSE_VOICE)][0])
        if muted is heard:
            wrong.append(f"the voice is {'granted' if heard else 'withdrawn'} and {'muted' if muted else 'heard'}")
        wrong += self._wrong_uses() + self._wrong_entries()
        if self._withdrawing:  # until acknowledged, as every platform does
            self._withdraw(self._withdrawing, PURPOSES)
        return wrong

    def clock_was_lost(self) -> None:
        """All grants that have an end are to be withdrawn."""
        for facts in (self.ledger.facts, self.ledger.wish):
            for name, value in facts.items():
                if name.startswith("consent") and value[3] is not None:
                    facts[name] = (False, "", 0.0, None, ANYTHING)
            if self._follows and any(facts.get(_name(one), (True,))[0] is False for one in _FOLLOWING):
                facts["own"] = ANYTHING

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

    def follow(self) -> None:
        """A living signal, for as long as they allow both that it takes."""
        for purpose in _FOLLOWING:
            if not self.ledger.facts[_name(purpose)][0]:
                self.grant(timed=False, purpose=purpose)
        self._follows = True
        self.ledger.wish = {"own": ANYTHING}
        request = rhythm_pb2.SetOwnRhythmRequest(
            frequency_hz=self.random.randint(1, 80) / 4, ramp_ns=1_000_000_000, from_biosignal=True
        )
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
        """That something be taken back when it is too loud, which only a platform can tell."""
        wish_id = self.random.randbytes(16)
        self.ledger.wish = {f"wish {wish_id.hex()}": True}
        loud = consent_pb2.AdvanceWish(
            wish_id=wish_id,
            kind=consent_pb2.ADVANCE_WISH_KIND_LOUD,
            level=-10.0,
            unit=consent_pb2.ADVANCE_WISH_UNIT_DBFS,
            purposes=[types_pb2.Purpose.ValueType(self.random.choice(PURPOSES))],
        )
        self.call(self._consents.AddAdvanceWish, consent_pb2.AddAdvanceWishRequest(wish=loud))
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

    def wake(self) -> None:
        """For themself, within some time; or they go back to sleep."""
        awake, fade_ns = not self.ledger.facts["awake"][0], self.random.randint(60, 3600) * 1_000_000_000
        self.ledger.wish = {"awake": (awake, fade_ns if awake else ANYTHING)}
        self.call(self._platforms.SetAwake, platform_pb2.SetAwakeRequest(awake=awake, fade_ns=fade_ns))
        self.ledger.granted(self.ledger.wish)

    def wake_later(self) -> None:
        """Or earlier than the circle."""
        offset_ns = self.random.randint(-10, 10) * _SOON_NS
        self.ledger.wish = {"later": offset_ns}
        self.call(self._platforms.SetScheduleOffset, platform_pb2.SetScheduleOffsetRequest(offset_ns=offset_ns))
        self.ledger.granted(self.ledger.wish)

    def call_for_help(self) -> None:
        """Whoever has called often enough leaves, and somebody else calls."""
        if len(self._calling()) >= _WAITING_MAX:
            self.leave()
        if not self._sleeper_id:
            return
        message = f"{self.random.getrandbits(48):012x}"
        self.ledger.wish = {f"call {message}": True}
        request = steward_pb2.CallForHelpRequest(event_id=self.random.randbytes(16), message=message)
        self.call(self._room.CallForHelp, request)
        self.ledger.granted(self.ledger.wish)

    def need_no_help(self) -> None:
        """Of a call that nobody has resolved."""
        if not self._calling():
            self.call_for_help()
        for call in self._calling()[:1] if self._sleeper_id else ():
            self.ledger.wish = {f"call {call.message}": False}
            self.call(self._room.TakeBackHelp, steward_pb2.TakeBackHelpRequest(help_id=call.help_id))
            self.ledger.granted(self.ledger.wish)

    def _calling(self) -> list[steward_pb2.HelpCall]:
        return [call for call in self._state().calls if not call.HasField("resolved_ns")]

    def petition(self) -> None:
        if len(self._waiting()) >= _WAITING_MAX:
            self.take_back()
        text = f"{self.random.getrandbits(48):012x}"
        self.ledger.wish = {f"petition {text}": True}
        request = dialogue_pb2.MakePetitionRequest(event_id=self.random.randbytes(16), text=text)
        self.call(self._talk.MakePetition, request)
        self.ledger.granted(self.ledger.wish)

    def take_back(self) -> None:
        """A petition that waits, unless the advocate is faster."""
        if not self._waiting():
            self.petition()
        for petition in self._waiting()[:1]:
            self.ledger.wish = {f"petition {petition.text}": NOTHING}
            request = dialogue_pb2.WithdrawPetitionRequest(petition_id=petition.petition_id)
            try:
                self.call(self._talk.WithdrawPetition, request)
            except Surprise as surprise:
                if "is filed" not in str(surprise):
                    raise
                self.ledger.refused()
                return
            self.ledger.granted(self.ledger.wish)

    def prove(self) -> None:
        """That the ledger has what they have just said."""
        self.grant()
        entries = self.call(self._ledgers.ListEntries, ledger_pb2.ListEntriesRequest()).entries
        self._see()
        if not entries or entries[-1].kind != "grant":
            raise Surprise("a grant was acknowledged, and is not the newest of its person's entries in the ledger")

    def go_away(self) -> None:
        """For a while."""
        event_id = self.random.randbytes(16)
        self.ledger.begun = _withdrawn(event_id, [types_pb2.PURPOSE_VOICE])
        self.ledger.wish = {**self.ledger.begun, "away": True}
        self.call(self._circles.LeaveCircle, circle_pb2.LeaveCircleRequest(come_back=True, event_id=event_id))
        self.ledger.granted(self.ledger.wish)

    def come_back(self) -> None:
        """Whoever is away; whoever is not goes first."""
        if not self.ledger.facts["away"]:
            self.go_away()
        self.ledger.wish = {"away": False}
        self.call(self._circles.ComeBack, circle_pb2.ComeBackRequest())
        self.ledger.granted(self.ledger.wish)

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
        given = self.attach()
        self._platform = self._platform or Platform(clock_offset_ns=0, clock_drift_ppb=0, seed=1)
        if self._wire is not None:
            self._wire.close()
        wire = self._wire = Wire(self.house.place.host, given.udp_port)
        keys = TimeKeys(
            given.time_keys.aead_algorithm,
            given.time_keys.client_key,
            given.time_keys.server_key,
            list(given.time_keys.cookies),
        )
        self._platform.connect(self.house.place.host, wire.port, given.session_id, given.secret, keys)
        event_id = self.random.randbytes(16)
        self._withdrawing = event_id
        self.ledger.wish = self._taken_back(event_id, PURPOSES)
        self._platform.withdraw(event_id, 0)
        while not self._platform.acknowledged(event_id):
            if not self.house.alive:
                raise Gone
            wire.carry(self.house.death)
        self._took_back()

    def attach(self) -> platform_pb2.AttachPlatformResponse:
        """Whoever is away comes back for it."""
        if self.ledger.facts["away"]:
            self.come_back()
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

    def forget(self) -> None:
        """For good, with all that they ever said."""
        self._forget(lambda: self.call(self._ledgers.ForgetMe, ledger_pb2.ForgetMeRequest()))

    def be_forgotten(self) -> None:
        """By the host."""
        self._forget(lambda: self._host.forget_sleeper(self._sleeper_id))

    def _forget(self, ask: Callable[[], Any]) -> None:
        names = (name for name in self.ledger.facts if name.startswith("call "))
        self._steward.forgotten |= {name.removeprefix("call ") for name in names}
        self.streams[self._stream] = None
        self.ledger.wish = {"forgotten": True}
        ask()
        self._forgot()
        self._join()

    def _forgot(self) -> None:
        self.streams[self._stream] = True
        self.ledger.acknowledged += 1
        self._bury()

    def _forgotten_at_last(self) -> list[str]:
        """What is wrong with how far it came; then it is asked for until acknowledged, as every client does."""
        wrong = []
        with suppress(Surprise):  # they have left already, or all is done
            self.ledger.begun = self._taken_back(ANYTHING, PURPOSES)
            wrong = self.ledger.compare(self._facts())
        self.ledger.wish = {"forgotten": True}
        try:
            self.call(self._ledgers.ForgetMe, ledger_pb2.ForgetMeRequest())
        except Surprise as surprise:
            if not str(surprise).startswith("UNAUTHENTICATED"):
                raise
            self.ledger.kept += 1
        self._forgot()
        return wrong

    @property
    def _stream(self) -> str:
        return f"person/{self._sleeper_id}"

    def _bury(self) -> None:
        self.close()  # or it would go on withdrawing in another's name
        self._graves = [*self._graves[1 - _GRAVES_MAX :], self._stranger]
        self._stranger, self._token, self._sleeper_id = Stranger(), "", ""
        self.ledger.facts, self._withdrawing, self._follows, self._uses = {}, b"", False, []
        self.ledger.refused()
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
        self.streams[self._stream] = False
        self.ledger.granted(_FRESH)

    def _withdraw(self, event_id: bytes, purposes: Sequence[types_pb2.Purpose.ValueType]) -> None:
        self._withdrawing = event_id if len(purposes) == len(PURPOSES) else b""
        self.ledger.wish = self._taken_back(event_id, purposes)
        self.call(self._consents.Withdraw, consent_pb2.WithdrawRequest(purposes=purposes, event_id=event_id))
        self._took_back()

    def _taken_back(self, event_id: Any, purposes: Sequence[types_pb2.Purpose.ValueType]) -> Facts:
        """What follows from a withdrawal: a rhythm that follows a living signal goes home as well."""
        released = self._follows and not set(_FOLLOWING).isdisjoint(purposes)
        return _withdrawn(event_id, purposes) | ({"own": ANYTHING} if released else {})

    def _took_back(self) -> None:
        """A withdrawal was acknowledged: the rhythm is from now on as it is shown."""
        self._withdrawing, released = b"", "own" in self.ledger.wish
        self.ledger.granted(self.ledger.wish)
        if released:
            self._follows = False
            self.ledger.facts["own"] = self._state().own_rhythm.SerializeToString(deterministic=True)

    def _see(self) -> None:
        """How the ledger stands: whatever is signed later has to continue that."""
        answer = self.call(self._ledgers.GetLedger, ledger_pb2.GetLedgerRequest())
        self.shown = Checkpoint.parse(answer.checkpoint, "the sanctuary's checkpoint")

    def _wrong_entries(self) -> list[str]:
        """An audit of their own entries in the ledger, as `harmonia ledger audit --sleeper` makes it."""
        for _ in range(_PROOFS_MAX):
            answer = self.call(self._ledgers.GetLedger, ledger_pb2.GetLedgerRequest())
            shown = []
            for one in self.call(self._ledgers.ListEntries, ledger_pb2.ListEntriesRequest()).entries:
                given = self.call(self._ledgers.GetProof, ledger_pb2.GetProofRequest(id=str(one.index)))
                shown.append(Shown(one.index, Proof.parse(given.proof, f"entry {one.index}"), given.opening))
            if of_one_tree(shown):
                break
        else:
            return [f"the ledger grew {_PROOFS_MAX} times while it was audited, though nobody did anything"]
        try:
            own = audit_own(self._stream, shown, [Verifier.parse(answer.verifier_key)])
            own.compare(
                types_pb2.Purpose.Name(one).removeprefix("PURPOSE_").lower()
                for one in types_pb2.Purpose.values()
                if one and self.ledger.facts[_name(one)][0]
            )
        except StorageUnreadable as error:
            return [f"their own audit: {error}"]
        return []

    def _wrong_uses(self) -> list[str]:
        """What was told of who used what, and is not told any more; from here on all that is told now."""
        told = list(self.call(self._me.GetMe, me_pb2.GetMeRequest()).uses)
        wrong = [
            f"the use of {one.purpose} by {one.by} since {one.since_ns} was told of, and is not any more"
            for one in self._uses
            if not any(
                (use.purpose, use.by) == (one.purpose, one.by)
                and use.since_ns <= one.since_ns
                and use.until_ns >= one.until_ns
                for use in told
            )
        ]
        self._uses = told
        return wrong

    def _waiting(self) -> list[dialogue_pb2.Petition]:
        return [one for one in self._petitions() if not one.withdrawn and not one.dialogue_id]

    def _petitions(self) -> list[dialogue_pb2.Petition]:
        request = dialogue_pb2.ListOwnPetitionsRequest()
        return list(self.call(self._talk.ListOwnPetitions, request).petitions)

    def _state(self) -> platform_pb2.PlatformState:
        """As their platform follows it, whether they are here or away."""
        answer = self.first(self._platforms.WatchPlatform, platform_pb2.WatchPlatformRequest())
        state: platform_pb2.PlatformState = answer.state
        return state

    def _facts(self) -> Facts:
        state = self._state()
        facts: Facts = {
            "offset": state.offset,
            "voice": [(v.re, v.im) for v in state.voice],
            "hearing": (state.hearing_level, state.own_level),
            "coupling": (state.coupling, state.weight),
            "own": state.own_rhythm.SerializeToString(deterministic=True),
            "away": state.away,
            "awake": (state.edges.awake, state.edges.turn_ns),
            "later": state.schedule_offset_ns,
        }
        facts |= {f"call {call.message}": not call.taken_back for call in state.calls}
        facts |= {f"petition {one.text}": True for one in self._petitions() if not one.withdrawn}
        facts |= {f"apart {one.sleeper_id}": (one.unheard, one.unhearing) for one in state.apart}
        facts |= {_name(one.purpose): _standing(one) for one in state.purposes}
        facts |= {f"wish {one.wish_id.hex()}": not one.fired for one in state.wishes}
        facts |= {f"answer {offer.text}": offer.answer for offer in self._rules() if offer.answer}
        return facts

    def _muted(self) -> bool:
        first = self.first(self._circles.WatchCircle, circle_pb2.WatchCircleRequest(circle_id=self._host.main))
        (own,) = (one for one in first.sleepers if one.sleeper_id == self._sleeper_id)
        return bool(own.muted)

    def _refused(self, stranger: Stranger) -> bool:
        assert self.house.channel is not None
        consents = consent_pb2_grpc.ConsentServiceStub(stranger.signed(self.house.channel))
        try:
            self.call(consents.GetConsent, consent_pb2.GetConsentRequest())
        except Surprise:
            return True
        return False


def _name(purpose: int) -> str:
    return f"consent {types_pb2.Purpose.Name(types_pb2.Purpose.ValueType(purpose))}"


def _withdrawn(event_id: Any, purposes: Sequence[types_pb2.Purpose.ValueType]) -> Facts:
    named = event_id if event_id is ANYTHING else event_id.hex()
    return {_name(purpose): (False, "", 0.0, None, named) for purpose in purposes}


def _standing(one: Any) -> tuple[Any, ...]:
    until_ns = one.until_ns if one.HasField("until_ns") else None
    return (one.granted, one.scope, one.level, until_ns, one.withdrawal_id)


_FRESH: Facts = {
    "offset": 0,
    "voice": [(1.0, 0.0)] * _CHANNELS,
    "hearing": (1.0, 1.0),
    "coupling": (0.0, 1.0),
    "own": b"",
    "away": False,
    "awake": (False, 0),
    "later": 0,
    **{_name(purpose): (False, "", 0.0, None, "") for purpose in PURPOSES},
}
"""Who has just joined: nothing is allowed."""
