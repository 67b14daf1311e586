"""The way into a circle: making join tokens, and redeeming one for a credential."""

from typing import TYPE_CHECKING, NamedTuple

from harmonia.domain import sleeper as sleepers
from harmonia.domain.admission import (
    PLATFORM_KEY_BYTES,
    SECRET_BYTES,
    Token,
    check_room,
    check_token,
    credential_for,
    identifier,
    parse_token_wish,
    secret_hash,
    secret_text,
)
from harmonia.domain.events import SleeperForgotten, SleeperJoined, TokensCreated
from harmonia.engine.desk import Desk, person_stream
from harmonia.engine.person import Person
from harmonia.errors import BadInput
from harmonia.journal import NO_STREAM, Position, Unavailable

if TYPE_CHECKING:
    from harmonia.engine.conductor import Conductor

FORGOTTEN = "forgotten"
"""Who came in with the token of somebody forgotten."""


class Joined(NamedTuple):
    """What a new sleeper is told, once."""

    person: Person
    credential: str


class Entrance:
    """One circle's tokens and the people who came in with them. Belongs to the engine's thread."""

    def __init__(self, desk: Desk, conductor: "Conductor") -> None:
        self._desk = desk
        self._conductor = conductor
        self._tokens: dict[bytes, Token] = {}
        self._entering = 0
        self.people: dict[str, Person] = {}
        """Who is in the circle, by id, in the order of joining."""
        self.joined = 0
        """How many ever came in."""

    @property
    def present(self) -> int:
        """How many sleepers are in the circle."""
        return len(self.people)

    async def create_tokens(self, count: int, valid_ns: int) -> list[str]:
        """Makes ``count`` tokens, each good for one sleeper within ``valid_ns`` (0: a day)."""
        count, valid_ns = parse_token_wish(count, valid_ns)
        check_room(self._conductor.circle.open, 0, 1)
        tokens = [secret_text("hj_", self._desk.entropy(SECRET_BYTES)) for _ in range(count)]
        now_ns = self._desk.now_ns()
        event = TokensCreated(tuple(secret_hash(token) for token in tokens), now_ns + valid_ns, now_ns)
        await self._conductor.record(event)
        return tokens

    def take_in_tokens(self, event: TokensCreated) -> None:
        self._tokens |= {hash: Token(event.expires_ns) for hash in event.hashes}

    def take_in_forgotten(self, event: SleeperForgotten) -> None:
        self._tokens[event.token_hash] = Token(0, FORGOTTEN)

    async def join(self, token: str, platform_key: bytes) -> Joined:
        """Redeems ``token`` for a credential bound to ``platform_key``. The sleeper allows nothing yet.

        Who redeems the same token with the same key again is told the same: their first answer may have been lost.
        """
        if len(platform_key) != PLATFORM_KEY_BYTES:
            raise BadInput(f"a platform key is an Ed25519 public key of 32 bytes, not {len(platform_key)}")
        hash, now_ns = secret_hash(token), self._desk.now_ns()
        held = self._tokens.get(hash)
        credential = credential_for(token, platform_key)
        if held and (again := self.people.get(held.sleeper_id)) and again.sleeper.platform_key == platform_key:
            return Joined(again, credential)
        check_token(held, now_ns)
        circle = self._conductor.circle
        check_room(circle.open, self.present + self._entering, circle.capacity)
        assert held is not None
        sleeper_id = identifier("sleeper-", self._desk.entropy(10))
        event = SleeperJoined(circle.circle_id, sleeper_id, hash, secret_hash(credential), platform_key, now_ns)
        # Taken before it is written, so that of two who hold the same token only one comes in.
        self._tokens[hash] = held.redeemed(sleeper_id)
        self._entering += 1
        try:
            position = await self._desk.append(person_stream(sleeper_id), NO_STREAM, event)
        except Unavailable:
            self._tokens[hash] = held
            raise
        finally:
            self._entering -= 1
        person = self.take_in_joining(event, position)
        if self._conductor.circle.open:
            person.put_on_plane()
        self._conductor.changed.send()
        return Joined(person, credential)

    def take_in_joining(self, event: SleeperJoined, position: Position) -> Person:
        """Takes in a sleeper whose joining is in the journal."""
        self._tokens[event.token_hash] = Token(0, event.sleeper_id)
        person = Person(self._desk, self._conductor, sleepers.apply(None, event), position)
        self.people[event.sleeper_id] = person
        self.joined += 1
        self._desk.roll.add(person)
        return person
