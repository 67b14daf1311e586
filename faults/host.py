"""The host of a campaign: opens, changes, moves and closes circles, leads, weaves, offers, invites, gives music."""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from faults.house import House
from faults.ledger import ANYTHING, NOTHING, Caller
from harmonia.v1 import (
    circle_pb2,
    circle_pb2_grpc,
    ledger_pb2,
    ledger_pb2_grpc,
    offer_pb2,
    offer_pb2_grpc,
    rhythm_pb2,
    rhythm_pb2_grpc,
    stem_pb2,
    stem_pb2_grpc,
    types_pb2,
)

SCORE = "# Two beats, for ever.\ntheta: 200+5/20 100+5/20\nNOW theta\n"
_TOKENS_LARGE = 5000
_STEM_BYTES = 3000
_STEMS_MAX = 4
_RULES_MAX = 12


class Host(Caller):
    """Facts are circles by their titles, and stems by their names."""

    OPERATIONS = (
        *("create", "advance", "retitle", "resize", "reschedule", "rescore"),
        *("lead", "weave", "offer", "rule", "end_rule", "invite", "stem"),
    )

    def __init__(self, house: House, seed: int) -> None:
        super().__init__(house, seed)
        self.tokens: list[str] = []
        """Each is promised to be good for one sleeper."""
        self.main = ""
        """The circle in which everybody sleeps: its id. It has begun, and stays open."""
        self._made = 0

    def connect(self) -> None:
        """To the daemon that runs now."""
        channel = self.house.channel
        assert channel is not None
        self._metadata = (("authorization", f"Bearer {self.house.place.admin_token}"),)
        self._circles = circle_pb2_grpc.CircleServiceStub(channel)
        self._rhythms = rhythm_pb2_grpc.RhythmServiceStub(channel)
        self._stems = stem_pb2_grpc.StemServiceStub(channel)
        self._offers = offer_pb2_grpc.OfferServiceStub(channel)
        self._ledgers = ledger_pb2_grpc.LedgerServiceStub(channel)

    def verify(self) -> list[str]:
        """What is wrong with the circles and stems that are there."""
        seen: dict[str, Any] = {}
        page = circle_pb2.ListCirclesRequest()
        while True:
            answer = self._ask(self._circles.ListCircles, page)
            mine = (circle for circle in answer.circles if circle.title.startswith("circle "))
            seen.update((circle.title, _plain(circle)) for circle in mine)
            if not answer.next_page_token:
                break
            page.page_token = answer.next_page_token
        for name in [name for name in self.ledger.facts if name.startswith("stem-")]:
            found = self._ask(self._stems.FindStem, stem_pb2.FindStemRequest(file=name))
            seen[name] = self._ask(self._stems.ReadStem, stem_pb2.ReadStemRequest(sha256=found.sha256)).data
        if "offer" in self.ledger.facts:  # shown to sleepers, who check it
            seen["offer"] = self.ledger.facts["offer"]
        if self.main:
            seen.update((offer.text, offer.offer_id) for offer in self._rules())
        wish = self.ledger.wish
        self.ledger.wish = {k: v for k, v in wish.items() if k.startswith(("circle ", "lasting ", "passing "))}
        wrong = self.ledger.compare(seen)
        if "offer" in wish:
            self.ledger.wish = wish
        return wrong

    def check_offer(self, seen: int) -> list[str]:
        """What is wrong with the offer that sleepers are shown."""
        wished, held = self.ledger.wish.pop("offer", None), self.ledger.facts.get("offer", 0)
        self.ledger.kept += wished is not None and seen == wished
        self.ledger.undone += wished is not None and seen == held
        self.ledger.facts = {**self.ledger.facts, "offer": seen}
        return [] if seen in (wished, held) else [f"offer: {held} was acknowledged, {seen} is there"]

    def create(self, draft: bool = False) -> types_pb2.Circle:
        self._made += 1
        title = f"circle {self._made}"
        weaving = types_pb2.Weaving(mode=types_pb2.CIRCLE_MODE_WOVEN, strength_rad_s=50.0)
        score = types_pb2.Score(name="faults.sbg", format=types_pb2.SCORE_FORMAT_SBG, text=SCORE)
        request = circle_pb2.CreateCircleRequest(title=title, score=score, capacity=1000, weaving=weaving)
        request.draft = draft
        return self._change(title, lambda: self._ask(self._circles.CreateCircle, request).circle)

    def open_main(self) -> None:
        """Before everything else."""
        if not self.main:
            if not self._open():
                self.create()
            self.main = self._open()[0].circle_id
        (main,) = (circle for circle in self._open() if circle.circle_id == self.main)
        if main.state == types_pb2.CIRCLE_STATE_GATHERING:
            self._advance(main)

    def advance(self) -> None:
        aside = [circle for circle in self._open() if circle.circle_id != self.main]
        self._advance(self.random.choice(aside) if aside else self.create())

    def retitle(self) -> None:
        """Of a circle that has not begun."""
        circle = self._one_in(types_pb2.CIRCLE_STATE_GATHERING, types_pb2.CIRCLE_STATE_DRAFT)
        self._made += 1
        title = f"circle {self._made}"
        self.ledger.wish = {circle.title: NOTHING, title: ANYTHING}
        request = circle_pb2.EditCircleRequest(circle_id=circle.circle_id, title=title)
        changed = self._ask(self._circles.EditCircle, request).circle
        self.ledger.granted({circle.title: NOTHING, title: _plain(changed)})

    def resize(self) -> None:
        circle = self.random.choice(self._open())
        self._edit(circle, capacity=self.random.randint(100, 2000))

    def reschedule(self) -> None:
        """To a night in civil time; what of it is seen at once is its plan."""
        circle = self._one_in(types_pb2.CIRCLE_STATE_GATHERING, types_pb2.CIRCLE_STATE_DRAFT)
        night = datetime.now(UTC).date() + timedelta(days=self.random.randint(10, 300))
        wish = types_pb2.NightWish(zone="Europe/Berlin", gather_at=f"{night} 21:00", lights_out="22:00", wake="07:00")
        self._edit(circle, schedule=circle_pb2.ScheduleWish(wish=wish))

    def rescore(self) -> None:
        """Of a draft."""
        circle = self._one_in(types_pb2.CIRCLE_STATE_DRAFT)
        self._made += 1
        name = f"score-{self._made}.sbg"
        self._edit(circle, score=types_pb2.Score(name=name, format=types_pb2.SCORE_FORMAT_SBG, text=SCORE))

    def _one_in(self, *states: types_pb2.CircleState.ValueType) -> types_pb2.Circle:
        aside = [circle for circle in self._open() if circle.circle_id != self.main and circle.state in states]
        return self.random.choice(aside) if aside else self.create(draft=True)

    def _edit(self, circle: types_pb2.Circle, **changes: Any) -> None:
        request = circle_pb2.EditCircleRequest(circle_id=circle.circle_id, **changes)
        self._change(circle.title, lambda: self._ask(self._circles.EditCircle, request).circle)

    def forget_sleeper(self, sleeper_id: str) -> None:
        """Called by that sleeper, who has it in their own ledger."""
        self._ask(self._ledgers.ForgetSleeper, ledger_pb2.ForgetSleeperRequest(sleeper_id=sleeper_id))

    def lead(self) -> None:
        request = rhythm_pb2.SetRhythmRequest(circle_id=self.main, frequency_hz=self.random.randint(1, 40) / 2)
        (main,) = (circle for circle in self._open() if circle.circle_id == self.main)

        def lead() -> types_pb2.Circle:
            main.rhythm.CopyFrom(self._ask(self._rhythms.SetRhythm, request).rhythm)
            return main

        self._change(main.title, lead)

    def weave(self) -> None:
        circle = self.random.choice(self._open())
        mode = self.random.choice([types_pb2.CIRCLE_MODE_STANDARD, types_pb2.CIRCLE_MODE_WOVEN])
        strength = circle.weaving.strength_rad_s * 0.875
        request = rhythm_pb2.SetWeavingRequest(circle_id=circle.circle_id, mode=mode, strength_rad_s=strength)
        self._change(circle.title, lambda: self._ask(self._rhythms.SetWeaving, request).circle)

    def offer(self) -> None:
        """To everybody the same, so that any sleeper's state shows it."""
        sixteenths = self.random.choice([n for n in range(-7, 8) if n << 60 != self.ledger.facts.get("offer", 0)])
        self.ledger.wish = {"offer": sixteenths << 60}
        request = rhythm_pb2.OfferOffsetsRequest(circle_id=self.main, pattern_turns=[sixteenths / 16])
        self._ask(self._rhythms.OfferOffsets, request)
        self.ledger.granted(self.ledger.wish)

    def rule(self, kind: str = "lasting") -> None:
        """Offers a common rule. Sleepers answer those that last; those that pass are taken back."""
        if kind == "lasting" and sum(name.startswith(kind) for name in self.ledger.facts) >= _RULES_MAX:
            return
        self._made += 1
        text = f"{kind} {self._made}"
        self.ledger.wish = {text: ANYTHING}
        request = offer_pb2.MakeOfferRequest(circle_id=self.main, kind=offer_pb2.OFFER_KIND_RULING, text=text)
        self.ledger.granted({text: self._ask(self._offers.MakeOffer, request).offer.offer_id})

    def end_rule(self) -> None:
        if not any(name.startswith("passing") for name in self.ledger.facts):
            self.rule("passing")
        text = next(name for name in self.ledger.facts if name.startswith("passing"))
        self.ledger.wish = {text: NOTHING}
        request = offer_pb2.EndOfferRequest(circle_id=self.main, offer_id=self.ledger.facts[text])
        self._ask(self._offers.EndOffer, request)
        self.ledger.granted(self.ledger.wish)

    def _rules(self) -> list[offer_pb2.Offer]:
        answer = self._ask(self._offers.ListOffers, offer_pb2.ListOffersRequest(circle_id=self.main))
        return [offer for offer in answer.offers if offer.kind == offer_pb2.OFFER_KIND_RULING]

    def invite(self, count: int = 2) -> None:
        request = circle_pb2.CreateJoinTokensRequest(circle_id=self.main, count=count)
        self.tokens += self._ask(self._circles.CreateJoinTokens, request).tokens[:2]
        self.ledger.acknowledged += 1

    def write_much(self) -> None:
        """Fills the journal's log, until it is moved into the file."""
        self.invite(_TOKENS_LARGE)

    def stem(self) -> None:
        self._made += 1
        name, data = f"stem-{self._made}.wav", self.random.randbytes(_STEM_BYTES)
        kept = [name for name in self.ledger.facts if name.startswith("stem-")]
        if len(kept) == _STEMS_MAX:
            del self.ledger.facts[kept[0]]  # nobody looks at it any more
        self.ledger.wish = {name: data}
        for offset in range(0, _STEM_BYTES, _STEM_BYTES // 2):
            part = data[offset : offset + _STEM_BYTES // 2]
            sha256 = hashlib.sha256(data).digest()
            request = stem_pb2.WriteStemRequest(sha256=sha256, file=name, size=len(data), offset=offset, data=part)
            answer = self._ask(self._stems.WriteStem, request)
        assert answer.complete
        self.ledger.granted({name: data})

    def _advance(self, circle: types_pb2.Circle) -> None:
        state = types_pb2.CircleState.ValueType(circle.state + 1)
        request = circle_pb2.AdvanceCircleRequest(circle_id=circle.circle_id, state=state)
        self._change(circle.title, lambda: self._ask(self._circles.AdvanceCircle, request).circle)

    def _change(self, title: str, change: Callable[[], types_pb2.Circle]) -> types_pb2.Circle:
        self.ledger.wish = {title: ANYTHING}
        changed = change()
        self.ledger.granted({title: _plain(changed)})
        return changed

    def _open(self) -> list[types_pb2.Circle]:
        kept = (types_pb2.Circle.FromString(v) for k, v in self.ledger.facts.items() if k.startswith("circle "))
        return [circle for circle in kept if circle.state != types_pb2.CIRCLE_STATE_CLOSED]

    def _ask(self, method: Callable[..., Any], request: Any) -> Any:
        return self.call(method, request, metadata=self._metadata)


def _plain(circle: types_pb2.Circle) -> bytes:
    """Without how many are in it, which is their own doing, and without what a plan's times are expected to be."""
    circle.ClearField("sleepers")
    if circle.HasField("plan"):
        for moving in ("gathers_ns", "begins_ns", "wakes_ns", "ends_ns"):
            circle.ClearField(moving)
    return circle.SerializeToString(deterministic=True)
