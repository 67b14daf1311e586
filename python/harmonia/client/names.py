"""The names that the API numbers: purposes of consent, states of a circle and of a clock, roles, troubles."""

from enum import IntEnum
from typing import Self

from harmonia.errors import BadInput


class _Named(IntEnum):
    @property
    def word(self) -> str:
        """The name as a person writes it, for instance ``gathering``."""
        return self.name.lower()

    @classmethod
    def of(cls, word: str) -> Self:
        """The member that ``word`` names. Raises BadInput with the allowed words."""
        try:
            return cls[word.upper()]
        except KeyError:
            allowed = ", ".join(member.word for member in cls if member.value)
            raise BadInput(f"{word!r} is not a {cls.__name__.lower()}; choose from {allowed}") from None

    @classmethod
    def read(cls, value: int) -> Self:
        """The member numbered ``value``; UNKNOWN for a number that a newer sanctuary has added."""
        try:
            return cls(value)
        except ValueError:
            return cls(0)


class Purpose(_Named):
    """What a person may allow. Unset means no."""

    UNKNOWN = 0
    PRESENCE = 1
    HEARING = 2
    VOICE = 3
    PULL = 4
    BIOSIGNAL = 5
    CIRCADIAN = 6
    HISTORY = 7
    RECORDING = 8
    MONITORING = 9
    VISIBILITY = 10
    SHARING = 11
    RESEARCH = 12


EVERY_PURPOSE = tuple(purpose for purpose in Purpose if purpose)


class CircleState(_Named):
    """Where a circle stands in its night."""

    UNKNOWN = 0
    DRAFT = 1
    GATHERING = 2
    ENTRAINING = 3
    DREAMING = 4
    WAKING = 5
    DIALOGUE = 6
    CLOSED = 7


class CircleCause(_Named):
    """Who or what moved a circle last."""

    UNKNOWN = 0
    HOST = 1
    TIMETABLE = 2
    FAILURE = 3


class CircleEnding(_Named):
    """How a circle came to be closed."""

    OPEN = 0
    ENDED = 1
    CANCELLED = 2
    FAILED = 3


class CircleMode(_Named):
    """What a circle offers. Nobody's frequency, coupling or offset follows from it."""

    UNKNOWN = 0
    STANDARD = 1
    WOVEN = 2
    FREE = 3


class LockState(_Named):
    """Whether a platform's clock follows the sanctuary's."""

    UNKNOWN = 0
    UNSYNCHRONISED = 1
    ACQUIRING = 2
    LOCKED = 3
    HOLDOVER = 4


class Role(_Named):
    """Who somebody is to a circle."""

    UNKNOWN = 0
    HOST = 1
    STEWARD = 2
    WEAVER = 3
    COUNCIL = 4
    ADVOCATE = 5
    SLEEPER = 6
    GUEST = 7


GIVEN_ROLES = (Role.STEWARD, Role.WEAVER, Role.COUNCIL, Role.ADVOCATE, Role.GUEST)


class Trouble(_Named):
    """What is wrong with a platform."""

    UNKNOWN = 0
    NO_SESSION = 1
    SILENT = 2
    UNLOCKED = 3
    BOUND = 4
    SOUNDING = 5
    """The room is silent, and it is not."""
