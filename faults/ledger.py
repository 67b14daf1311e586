"""The ledger of a campaign, kept outside of the sanctuary: what was acknowledged, and the one wish in the balance.

Everybody does one thing at a time. So after a death there is at most one wish of each whose outcome is unknown: what a
restarted sanctuary shows must be the ledger, or the ledger with that one wish wholly granted. Anything else is a loss,
or a change that nobody asked for. Where the sanctuary does two things for one wish, a no first, the wish names what may
be there already when the rest is not.
"""

import random
from collections.abc import Callable
from typing import Any

import grpc

from faults.house import House

CALL_TIMEOUT_S = 30.0

Facts = dict[str, Any]


class Gone(Exception):
    """The sanctuary died before it answered."""


class Surprise(Exception):
    """It refused what it should have granted, or the reverse."""


class _Anything:
    """Equal to every value: of some wishes only the answer tells what became of them."""

    def __eq__(self, _other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "a change"


ANYTHING = _Anything()
NOTHING = object()
"""What is to be there no more."""


class Ledger:
    """One person's."""

    def __init__(self) -> None:
        self.facts: Facts = {}
        self.wish: Facts = {}
        self.begun: Facts = {}
        """What of the wish may be there alone."""
        self.acknowledged = 0
        self.kept = 0
        """Wishes that were granted though nobody was told."""
        self.undone = 0
        """Wishes that left no trace."""

    def granted(self, facts: Facts) -> None:
        """What was wished for was acknowledged, with these facts."""
        self.facts = self._with(facts)
        self.wish = self.begun = {}
        self.acknowledged += 1

    def refused(self) -> None:
        """What was wished for was refused, with reason: somebody else was faster."""
        self.wish = self.begun = {}

    def compare(self, seen: Facts) -> list[str]:
        """What is wrong with what the sanctuary shows now, which from here on is what holds."""
        wrong: list[str] = []
        if seen == self.facts:
            self.undone += bool(self.wish)
        elif self.wish and seen == self._with(self.wish):
            self.kept += 1
        elif self.begun and seen == self._with(self.begun):
            self.undone += 1
        else:
            for name in sorted({*seen, *self.facts}):
                before, now = self.facts.get(name), seen.get(name)
                if now != before:
                    asked = f" ({self.wish[name]!r} was asked for)" if name in self.wish else ""
                    wrong.append(f"{name}: {before!r} was acknowledged{asked}, {now!r} is there")
        self.facts, self.wish, self.begun = seen, {}, {}
        return wrong

    def _with(self, changes: Facts) -> Facts:
        return {name: value for name, value in {**self.facts, **changes}.items() if value is not NOTHING}


class Caller:
    """Somebody who does one thing at a time, as a random source of their own says."""

    OPERATIONS: tuple[str, ...] = ()

    def __init__(self, house: House, seed: int) -> None:
        self.house, self.random = house, random.Random(seed)
        self.ledger = Ledger()

    def connect(self) -> None:
        """To the daemon that runs now."""
        raise NotImplementedError

    def clock_was_lost(self) -> None:
        """The sanctuary's next clock is another one: whether what has an end has ended is not known any more."""

    def verify(self) -> list[str]:
        """What is wrong with what the sanctuary shows of theirs, which from here on is what holds."""
        raise NotImplementedError

    def do(self, operation: str) -> None:
        """One thing, by name. Raises Gone or Surprise."""
        if self.ledger.wish:
            raise Gone  # it died of the last one
        getattr(self, operation)()

    def first(self, method: Callable[..., Any], request: Any, **arguments: Any) -> Any:
        """The first answer of a stream. Raises Gone or Surprise."""
        return self.until(method, request, lambda _answer: True, **arguments)

    def until(self, method: Callable[..., Any], request: Any, wanted: Callable[[Any], bool], **arguments: Any) -> Any:
        """The first answer of a stream that is as wanted. Raises Gone or Surprise."""
        stream = method(request, timeout=CALL_TIMEOUT_S, **arguments)
        try:
            answer = self.call(lambda _request, **_: next(filter(wanted, stream), None), None)
        finally:
            stream.cancel()
        if answer is None:
            raise Surprise("a stream ended before it said what it was to say")
        return answer

    def call(self, method: Callable[..., Any], request: Any, **arguments: Any) -> Any:
        """One call. Raises Gone if the sanctuary died of it, Surprise if it refused."""
        try:
            return method(request, timeout=CALL_TIMEOUT_S, **arguments)
        except grpc.RpcError as error:
            code, told = error.code(), error.details() or ""
            if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED) or "Socket closed" in told:
                raise Gone from error
            raise Surprise(f"{code.name}: {told}") from error
