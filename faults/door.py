"""Those who wait at the door of a small circle in a campaign: in line, out of it again, and in, as there is room."""

from typing import Any

from faults.house import House
from faults.ledger import Caller, Surprise
from harmonia.v1 import circle_pb2, circle_pb2_grpc, types_pb2
from loadtests.stranger import Stranger

_LINE_MAX = 5
_SCORE = types_pb2.Score(name="door.sbg", format=types_pb2.SCORE_FORMAT_SBG, text="theta: 200+5/20\nNOW theta\n")


class Door(Caller):
    """Facts are how many the newest such circle has room for (0 before it gathers), and who stands in line, in order.

    As many as there is room for, from the first on, are in.
    """

    OPERATIONS = ("queue", "queue", "step_out", "make_room")

    def __init__(self, house: House, seed: int) -> None:
        super().__init__(house, seed)
        self._circle_id = ""
        self._people: dict[str, tuple[Stranger, str]] = {}
        """Everybody who ever waited there, in the order of their coming, with their token."""

    def connect(self) -> None:
        """To the daemon that runs now."""
        assert self.house.channel is not None
        self._metadata = (("authorization", f"Bearer {self.house.place.admin_token}"),)
        self._circles = circle_pb2_grpc.CircleServiceStub(self.house.channel)

    def verify(self) -> list[str]:
        """What is wrong with the line that is there."""
        if not self._circle_id:
            return []
        known = (*self.ledger.facts["line"], *self._people)  # those who have stepped out as well
        circle = self._settled()
        places = {name: place for name in dict.fromkeys(known) if (place := self._place(name)) is not None}
        line = tuple(sorted(places, key=lambda name: places[name]))  # whoever is in stays in the order of the ledger
        return self.ledger.compare({"room": _room(circle), "line": line})

    def queue(self) -> None:
        """Somebody more. Where many are, a new circle is made."""
        if not self._circle_id or len(self.ledger.facts["line"]) >= _LINE_MAX:
            self._begin()
        tokens = circle_pb2.CreateJoinTokensRequest(circle_id=self._circle_id, count=1)
        (token,) = self._ask(self._circles.CreateJoinTokens, tokens).tokens
        name, stranger = f"{self.random.getrandbits(48):012x}", Stranger()
        self._people[name] = stranger, token
        self.ledger.wish = {"line": (*self.ledger.facts["line"], name)}
        fields = stranger.redeeming(self._circle_id, token)
        answer = self.call(self._circles.JoinCircle, circle_pb2.JoinCircleRequest(**fields, wait=True))
        if not answer.HasField("waiting"):
            raise Surprise("somebody came in where there is no room")
        self.ledger.granted(self.ledger.wish)

    def step_out(self) -> None:
        """One of those who wait."""
        if self._waiting() <= 0:
            self.queue()
        line = self.ledger.facts["line"]
        name = self.random.choice(line[self.ledger.facts["room"] :])
        self.ledger.wish = {"line": tuple(one for one in line if one != name)}
        stranger, token = self._people[name]
        fields = stranger.redeeming(self._circle_id, token)
        self.call(self._circles.StopWaiting, circle_pb2.StopWaitingRequest(**fields))
        self.ledger.granted(self.ledger.wish)

    def make_room(self) -> None:
        """For the next who waits: at first the circle gathers, then it grows."""
        if not self._circle_id or self._waiting() <= 0:
            self.queue()
        room = self.ledger.facts["room"]
        self.ledger.wish = {"room": room + 1}
        if room == 0:
            gathering = types_pb2.CIRCLE_STATE_GATHERING
            begun = circle_pb2.AdvanceCircleRequest(circle_id=self._circle_id, state=gathering)
            self._ask(self._circles.AdvanceCircle, begun)
        else:
            larger = circle_pb2.EditCircleRequest(circle_id=self._circle_id, capacity=room + 1)
            self._ask(self._circles.EditCircle, larger)
        self.ledger.granted(self.ledger.wish)
        self._settled()

    def _begin(self) -> None:
        """A new circle with nobody at its door; the one before is nobody's concern any more."""
        request = circle_pb2.CreateCircleRequest(title="door", score=_SCORE, capacity=1, draft=True)
        self._circle_id = self._ask(self._circles.CreateCircle, request).circle.circle_id
        self._people = {}
        self.ledger.granted({"room": 0, "line": ()})

    def _waiting(self) -> int:
        """How many wait."""
        return len(self.ledger.facts.get("line", ())) - int(self.ledger.facts.get("room", 0))

    def _settled(self) -> types_pb2.Circle:
        """The circle, once all are in for whom there is room."""
        request = circle_pb2.WatchCircleRequest(circle_id=self._circle_id)

        def settled(answer: circle_pb2.WatchCircleResponse) -> bool:
            circle = answer.circle
            return circle.waiting == 0 or circle.sleepers >= _room(circle)

        answer = self.until(self._circles.WatchCircle, request, settled, metadata=self._metadata)
        circle: types_pb2.Circle = answer.circle
        return circle

    def _place(self, name: str) -> int | None:
        """Where somebody stands: 0 for who is in, None for who is not in line."""
        stranger, token = self._people[name]
        request = circle_pb2.JoinCircleRequest(**stranger.redeeming(self._circle_id, token))
        try:
            answer = self.call(self._circles.JoinCircle, request)
        except Surprise:
            return None  # the circle is full, or does not gather: so they would be told to wait
        return answer.waiting.place if answer.HasField("waiting") else 0

    def _ask(self, method: Any, request: Any) -> Any:
        return self.call(method, request, metadata=self._metadata)


def _room(circle: types_pb2.Circle) -> int:
    return 0 if circle.state == types_pb2.CIRCLE_STATE_DRAFT else circle.capacity
