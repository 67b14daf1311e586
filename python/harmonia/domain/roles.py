"""Roles: what each may do and see, in one table.

A circle needs people beside its sleepers: somebody awake at night, somebody who speaks for others, somebody who only
looks. Rights that are asked for here and there in the code cannot be read at once, and what nobody reads at once grows.
So there is one table, action by role; every call asks it, the documentation is printed from it, and a test makes every
call in every role. A role narrows or looks; none grants, and no action here reaches a person's consent or settings but
the two that are a sleeper's own. What of a person a role sees is decided by that person's purposes, not here.

A role's credential is a random secret, of which the house keeps SHA-256 as it does of join tokens. It is for one
circle, ends with it or earlier, and is revoked at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum

from harmonia.errors import BadInput, NotNow

NAME_MAX = 60
ROLES_MAX = 1000
"""Credentials that were ever made for one circle."""


class Role(IntEnum):
    """Who somebody is to a circle, numbered as harmonia.v1.Role."""

    HOST = 1
    STEWARD = 2
    WEAVER = 3
    COUNCIL = 4
    ADVOCATE = 5
    SLEEPER = 6
    GUEST = 7

    @property
    def word(self) -> str:
        """As people write it."""
        return self.name.lower()


class Access(Enum):
    """What a call does, and in the documentation's words."""

    OPEN = "ask what the sanctuary is and how its clock stands; redeem a join token"
    HOST = "open, move and close circles, invite, lead the rhythm, add music, grant and revoke roles"
    HOST_OR_MEMBER = "watch the circle, and those in it who grant visibility"
    SCORE = "read the circle with its score, its music and its rhythm"
    LOOK = "see the public state: title, state, schedule, counts"
    TEND = "watch the room, answer calls for help, silence the room, lift that, raise the alarm"
    READ = "read the circle's dialogues"
    SPEAK = "speak in a dialogue"
    LEAD = "open and close dialogues"
    PETITIONS = "read petitions' texts, and file them into a dialogue"
    SLEEPER = "what is a sleeper's own: consent, offset, voice, levels, a call for help, a petition"
    WITHDRAWING = "withdraw consent, even once the credential has ended"
    OWN = "read what is kept about oneself, even then"


_R = Role
MAY: Mapping[Access, frozenset[Role]] = {
    Access.OPEN: frozenset(Role),
    Access.HOST: frozenset({_R.HOST}),
    Access.HOST_OR_MEMBER: frozenset({_R.HOST, _R.SLEEPER}),
    Access.SCORE: frozenset({_R.HOST, _R.SLEEPER, _R.WEAVER, _R.COUNCIL}),
    Access.LOOK: frozenset(Role) - {_R.ADVOCATE},
    Access.TEND: frozenset({_R.HOST, _R.STEWARD}),
    Access.READ: frozenset({_R.HOST, _R.STEWARD, _R.WEAVER, _R.COUNCIL, _R.SLEEPER}),
    Access.SPEAK: frozenset({_R.HOST, _R.STEWARD, _R.WEAVER, _R.COUNCIL, _R.SLEEPER}),
    Access.LEAD: frozenset({_R.HOST, _R.COUNCIL}),
    Access.PETITIONS: frozenset({_R.ADVOCATE}),
    Access.SLEEPER: frozenset({_R.SLEEPER}),
    Access.WITHDRAWING: frozenset({_R.SLEEPER}),
    Access.OWN: frozenset({_R.SLEEPER}),
}
"""Who may do what. What is open is open to strangers, too."""

GIVEN = frozenset(Role) - {_R.HOST, _R.SLEEPER}
"""Roles that a host gives: theirs comes with the house, a sleeper's with joining."""


@dataclass(frozen=True, slots=True)
class RolePass:
    """A role's credential, as much of it as the house keeps."""

    role_id: str
    circle_id: str
    role: Role
    name: str
    """Whose it is, as the host called them; shown to members beside what its holder does."""
    until_ns: int | None
    """Node time at which it ends; None: with the circle."""
    made_ns: int
    revoked: bool = False

    def over(self, circle_open: bool, t_ns: int) -> str:
        """Why it is good for nothing at node time ``t_ns``; empty while it is good."""
        if self.revoked:
            return "has been revoked"
        if not circle_open:
            return "has ended with its circle"
        if self.until_ns is not None and t_ns >= self.until_ns:
            return "has expired"
        return ""


def parse_role(role: Role, name: str, until_ns: int | None, made: int, t_ns: int) -> str:
    """``name`` if such a role may be given at node time ``t_ns``, where ``made`` have been. Raises BadInput, NotNow."""
    if role not in GIVEN:
        words = ", ".join(sorted(one.word for one in GIVEN))
        raise BadInput(f"nobody is given the role {role.word}: choose one of {words}")
    if until_ns is not None and until_ns <= t_ns:
        raise BadInput(f"a role must end in the future, after {t_ns} ns of node time, not at {until_ns} ns")
    if made >= ROLES_MAX:
        raise NotNow(f"{ROLES_MAX} roles have been given in this circle, its most")
    return parse_line("a role's name", name, NAME_MAX)


def parse_line(what: str, text: str, most: int, least: int = 1) -> str:
    """``text`` without blanks around it, if it can be shown to everybody as one line. Raises BadInput."""
    line = text.strip()
    if not least <= len(line) <= most or not line.isprintable():
        raise BadInput(f"{what} must have {least} to {most} printable characters on one line, not {line[:40]!r}")
    return line


def who_may(access: Access) -> str:
    """For an error: the roles that may do this."""
    return " or ".join(role.word for role in sorted(MAY[access]))
