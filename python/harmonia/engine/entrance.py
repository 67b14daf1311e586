"""The way into a circle: making join tokens, and redeeming one for a credential."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple

from harmonia.domain import sleeper as sleepers
from harmonia.domain.admission import (
    PLATFORM_KEY_BYTES,
    SECRET_BYTES,
    TOKENS_MAX,
    WAITING_MAX,
    Token,
    check_token,
    credential_for,
    identifier,
    parse_token_wish,
    secret_hash,
    secret_text,
)
from harmonia.domain.circle import closed_words
from harmonia.domain.events import (
    SleeperForgotten,
    SleeperJoined,
    TokensCreated,
    WaitingBegun,
    WaitingEnded,
    WaitingEvent,
)
from harmonia.domain.states import CircleState
from harmonia.engine.desk import Desk, person_stream
from harmonia.engine.person import Person
from harmonia.errors import BadInput, CircleFull, NotNow, TokenUsed, WrongExpectedRevision
from harmonia.journal import NO_STREAM, Position, Unavailable

if TYPE_CHECKING:
    from harmonia.engine.conductor import Conductor

FORGOTTEN = "forgotten"
"""Who came in with the token of somebody forgotten."""


class Joined(NamedTuple):
    """What a new sleeper is told, once."""

    person: Person
    credential: str


class Place(NamedTuple):
    """Where somebody stands who waits."""

    place: int
    """From 1."""
    waiting: int
    """How many wait."""


class _Waiting(NamedTuple):
    event: WaitingBegun
    settled: bool = False
    """That they come in, or do not wait any more, is being written."""
    written: bool = False
    """It is known to be in the journal that they wait."""


class _Coming(NamedTuple):
    event: SleeperJoined
    event_id: bytes
    doubtful: bool = False
    """Nobody knows whether it was written: it is written again as the same event, and so is one coming in."""


class Entrance:
    """One circle's tokens, those who wait for a place, and the people who came in. Belongs to the engine's thread."""

    def __init__(self, desk: Desk, conductor: "Conductor") -> None:
        self._desk = desk
        self._conductor = conductor
        self._tokens: dict[bytes, Token] = {}
        self._made: dict[bytes, Position] = {}
        """Where each token was made."""
        self._waiting: dict[bytes, _Waiting] = {}
        """By their token's hash, in the order in which they come in. Only :meth:`_line_up` and :meth:`_step_out` add to
        it or take from it."""
        self._order: dict[bytes, int] = {}
        """Everybody's number among them, from 1; empty until somebody asks after a change."""
        self._coming: dict[bytes, _Coming] = {}
        """Those whose coming in is being written, or perhaps was, by their token's hash. Their places are taken."""
        self.people: dict[str, Person] = {}
        """Who is in the circle, by id, in the order of joining."""
        self._came: set[bytes] = set()
        """The tokens of all who are known to have come in, also of those who are forgotten."""
        self._next_place = 0

    @property
    def present(self) -> int:
        """How many sleepers are in the circle."""
        return len(self.people)

    async def create_tokens(self, count: int, valid_ns: int) -> list[str]:
        """Makes ``count`` tokens, each good for one sleeper within ``valid_ns`` (0: a day)."""
        count, valid_ns = parse_token_wish(count, valid_ns)
        self._check_open()
        tokens = [secret_text("hj_", self._desk.entropy(SECRET_BYTES)) for _ in range(count)]
        now_ns = self._desk.now_ns()
        event = TokensCreated(tuple(secret_hash(token) for token in tokens), now_ns + valid_ns, now_ns)
        await self._conductor.record(event)
        return tokens

    def take_in_tokens(self, event: TokensCreated, position: Position) -> None:
        self._made |= dict.fromkeys(event.hashes, position)
        self._tokens |= {hash: Token(event.expires_ns) for hash in event.hashes}

    def take_in_forgotten(self, event: SleeperForgotten) -> None:
        self._tokens[event.token_hash] = Token(0, FORGOTTEN)
        self._step_out(event.token_hash)
        self._count(event.token_hash)

    def _count(self, hash: bytes, place: int = -1) -> None:
        """Somebody has come in with that token, at a place (-1: it is forgotten): nobody else gets it."""
        self._came.add(hash)
        self._next_place = max(self._next_place, len(self._came), place + 1)

    async def join(self, token: str, platform_key: bytes, *, wait: bool = False) -> Joined | Place:
        """Redeems ``token`` for a credential bound to ``platform_key``. The sleeper allows nothing yet.

        Who redeems the same token with the same key again is told the same: their first answer may have been lost.
        Where there is no place, or not yet, ``wait`` puts them on the waiting list; else it is refused.
        """
        if len(platform_key) != PLATFORM_KEY_BYTES:
            raise BadInput(f"a platform key is an Ed25519 public key of 32 bytes, not {len(platform_key)}")
        hash, now_ns = secret_hash(token), self._desk.now_ns()
        known = self.standing(token, platform_key)
        if isinstance(known, Place) and not self._waiting[hash].written:
            await self._conductor.record(lambda: self._still_waits(hash))
            return self.standing(token, platform_key) or known
        if known is not None:
            return known
        held, credential = self._tokens.get(hash), secret_hash(credential_for(token, platform_key))
        coming, circle = self._coming.get(hash), self._conductor.circle
        again = coming is not None and coming.doubtful and coming.event.platform_key == platform_key
        if not again:
            check_token(held, now_ns)
        self._check_open()
        # Who is being let in waits still: the disk may refuse, and then nobody may have passed them.
        if again or (self._has_room() and not self._waiting):
            person = await self._enter(hash, credential, platform_key)
            return Joined(person, credential_for(token, platform_key))
        if not wait and circle.state is CircleState.DRAFT:
            raise NotNow("this circle does not gather yet: join when it does, or wait for it")
        if not wait:
            raise CircleFull(
                f"all {circle.capacity} places of this circle are taken or waited for: ask its host for room, or wait"
            )
        await self._begin_waiting(WaitingBegun(hash, credential, platform_key, now_ns))
        return self.standing(token, platform_key) or Place(1, 1)

    def _check_open(self) -> None:
        if not self._conductor.circle.open:
            raise NotNow(f"{closed_words(self._conductor.circle)}; nobody can join it any more")

    def standing(self, token: str, platform_key: bytes) -> Joined | Place | None:
        """How whoever redeemed ``token`` with this key stands; None if nobody did.

        Raises TokenUsed for another key, and NotNow to whoever waits in vain.
        """
        hash = secret_hash(token)
        held = self._tokens.get(hash)
        if held and (again := self.people.get(held.sleeper_id)) and again.sleeper.platform_key == platform_key:
            return Joined(again, credential_for(token, platform_key))
        if (one := self._waiting.get(hash)) is None:
            return None
        if one.event.platform_key != platform_key:
            raise TokenUsed(
                "somebody waits with this join token; each is good for one sleeper: ask the host for another"
            )
        self._check_open()
        if not self._order:
            self._order = {hash: place for place, hash in enumerate(self._waiting, 1)}
        return Place(self._order[hash], len(self._waiting))

    def _line_up(self, event: WaitingBegun, *, written: bool) -> None:
        one = self._waiting.get(event.token_hash, _Waiting(event))
        self._waiting[event.token_hash] = one._replace(written=one.written or written)
        self._order = {}

    def _still_waits(self, hash: bytes) -> WaitingBegun:
        if (one := self._waiting.get(hash)) is None:
            raise NotNow("they do not wait any more: ask again how they stand")
        return one.event

    def _step_out(self, hash: bytes) -> None:
        self._waiting.pop(hash, None)
        self._order = {}

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return len(self._waiting)

    async def stop_waiting(self, token: str, platform_key: bytes) -> None:
        """Takes them off the waiting list; their token is good again. Raises NotNow unless they wait."""
        hash = secret_hash(token)
        match self.standing(token, platform_key):
            case None:
                raise NotNow("nobody waits with this join token")
            case Place() if not self._waiting[hash].settled and hash not in self._coming:
                await self._settle(hash, lambda: self._conductor.record(WaitingEnded(hash, self._desk.now_ns())))
            case _:
                raise NotNow("they have come in meanwhile: leave the circle instead")

    async def fill(self) -> None:
        """Lets those in who wait, first come first, as far as there is room. Raises StorageError; then nobody moves.

        Before them whoever came in and was not told, since nobody knew whether it was written.
        """
        for coming, _, doubtful in list(self._coming.values()):
            if doubtful:
                await self._enter(coming.token_hash, coming.credential_hash, coming.platform_key)
        while self._has_room():
            at_the_head = next(iter(self._waiting.values()), None)
            if at_the_head is None or at_the_head.settled:  # who gives up keeps their place until that is written
                return
            first = at_the_head.event
            who = (first.token_hash, first.credential_hash, first.platform_key)
            await self._settle(first.token_hash, lambda who=who: self._enter(*who))  # type: ignore[misc]

    async def end_doubtful(self, before: Position | None) -> None:
        """Ends tokens that nobody seems to have redeemed, and the waiting with them: those made before that place.

        ``before``: None for all. Whoever redeemed one may be somebody who was forgotten. Raises StorageError; then it
        is gone on with when it is asked for again.
        """
        hashes = [
            hash
            for hash, token in self._tokens.items()
            if not token.sleeper_id and token.expires_ns and (before is None or self._made[hash] < before)
        ]
        for hash in hashes:
            if hash in self._waiting:
                await self._conductor.record(WaitingEnded(hash, self._desk.now_ns()))
        for at in range(0, len(hashes), TOKENS_MAX):
            part = tuple(hashes[at : at + TOKENS_MAX])
            await self._conductor.record(TokensCreated(part, 0, self._desk.now_ns()))  # as expired as can be

    async def _settle(self, hash: bytes, write: Callable[[], Awaitable[object]]) -> None:
        """Writes what becomes of somebody who waits; until then they keep their place, and longer if it cannot be."""
        self._waiting[hash] = self._waiting[hash]._replace(settled=True)
        try:
            await write()
        finally:
            if hash in self._waiting:
                self._waiting[hash] = self._waiting[hash]._replace(settled=False)
                self._conductor.look_at_room()

    async def _begin_waiting(self, event: WaitingBegun) -> None:
        if len(self._waiting) >= WAITING_MAX:
            raise CircleFull(f"{WAITING_MAX} people wait already, the most: ask the host for another circle")
        # Taken before it is written, so that whoever redeems later stands behind.
        self._line_up(event, written=False)
        try:
            await self._conductor.record(event)
        except (Unavailable, WrongExpectedRevision):  # not written for certain, unless by a repetition
            if (one := self._waiting.get(event.token_hash)) is not None and not one.written:
                self._step_out(event.token_hash)
            raise

    def _has_room(self) -> bool:
        circle = self._conductor.circle
        return circle.on_plane and self.present + len(self._coming) < circle.capacity

    async def _enter(self, hash: bytes, credential_hash: bytes, platform_key: bytes) -> Person:
        held = self._tokens[hash]
        if (again := self._coming.get(hash)) is None:
            sleeper_id = identifier("sleeper-", self._desk.entropy(10))
            circle_id, now_ns = self._conductor.circle.circle_id, self._desk.now_ns()
            new = SleeperJoined(circle_id, sleeper_id, hash, credential_hash, platform_key, now_ns, self._next_place)
            # Taken before it is written: of two who hold the same token only one comes in, and no two get one place.
            self._coming[hash] = _Coming(new, self._desk.entropy(16))
            self._tokens[hash] = held.redeemed(sleeper_id)
            self._next_place += 1
        event, event_id, _ = self._coming[hash]
        try:
            position = await self._desk.append(person_stream(event.sleeper_id), NO_STREAM, event, event_id)
        except Unavailable:
            if again is None:
                self._tokens[hash] = held
                del self._coming[hash]
            raise
        except BaseException:  # nobody knows, or the call was given up meanwhile
            if hash in self._coming:  # else another repetition was told
                self._coming[hash] = _Coming(event, event_id, doubtful=True)
                self._conductor.look_at_room()
            raise
        if (known := self._desk.roll.by_id(event.sleeper_id)) is not None:  # two asked again at once
            return known
        person = self.take_in_joining(event, position)
        if self._conductor.circle.on_plane:
            person.put_on_plane()
        self._conductor.look_at_edges()
        self._conductor.changed.send()
        return person

    def take_in_waiting(self, event: WaitingEvent) -> None:
        """Takes in that somebody waits, or does not any more. Who has come in meanwhile waits no more."""
        if isinstance(event, WaitingEnded):
            self._step_out(event.token_hash)
        elif not self._tokens[event.token_hash].sleeper_id:
            self._line_up(event, written=True)

    def take_in_joining(self, event: SleeperJoined, position: Position) -> Person:
        """Takes in a sleeper whose joining is in the journal."""
        self._tokens[event.token_hash] = Token(0, event.sleeper_id)
        self._coming.pop(event.token_hash, None)
        self._step_out(event.token_hash)
        place = self._next_place if event.place is None else event.place
        self._count(event.token_hash, place)
        person = Person(self._desk, self._conductor, sleepers.apply(None, event), position, place)
        self.people[event.sleeper_id] = person
        self._desk.roll.add(person)
        return person
