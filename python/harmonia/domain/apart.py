"""From whom a sleeper keeps apart: whom they do not want to hear, and who may not hear them.

A wish about one other person, in two directions that are set and taken back separately. It is its sleeper's alone:
nobody else sets it, learns of it, or is asked; it names a pseudonym, which need not be anybody here yet; and no other
change touches it. Who does not hear whom follows from both persons' wishes: either's is enough.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from harmonia.errors import BadInput

OTHERS_MAX = 1000
"""Others about whom one sleeper may have wishes."""
_ID_MAX = 64


@dataclass(frozen=True, slots=True)
class Apart:
    """One sleeper's wish about one other."""

    other_id: str
    unheard: bool = False
    """The sleeper does not want to hear the other."""
    unhearing: bool = False
    """The other may not hear the sleeper."""

    @property
    def wished(self) -> bool:
        """Whether there is a wish at all."""
        return self.unheard or self.unhearing

    def changed(self, unheard: bool | None, unhearing: bool | None) -> "Apart":
        """This wish with each direction as given, None for as it is."""
        return replace(
            self,
            unheard=self.unheard if unheard is None else unheard,
            unhearing=self.unhearing if unhearing is None else unhearing,
        )

    def joined(self, other: "Apart") -> "Apart":
        """What both wishes keep apart."""
        return replace(self, unheard=self.unheard or other.unheard, unhearing=self.unhearing or other.unhearing)


def about(wishes: Iterable[Apart], other_id: str) -> Apart:
    """The wish about one other; an empty one where there is none."""
    return next((wish for wish in wishes if wish.other_id == other_id), Apart(other_id))


def replaced(wishes: Iterable[Apart], wish: Apart) -> tuple[Apart, ...]:
    """``wishes`` with this one in place of what there was about the same other, ordered by whom they are about."""
    rest = [one for one in wishes if one.other_id != wish.other_id]
    return tuple(sorted([*rest, wish] if wish.wished else rest, key=lambda one: one.other_id))


def parse_other(other_id: str, own_id: str) -> str:
    """``other_id`` if it can be somebody else's. Raises :class:`BadInput`."""
    if not (0 < len(other_id) <= _ID_MAX and other_id.isprintable() and " " not in other_id):
        raise BadInput(f"a sleeper's id has 1 to {_ID_MAX} printable characters and no space, unlike {other_id[:80]!r}")
    if other_id == own_id:
        raise BadInput(f"{own_id} is this sleeper's own id: name somebody else; `optout` takes one's own voice back")
    return other_id


def check_room(wishes: tuple[Apart, ...]) -> None:
    """Raises :class:`BadInput` if these are more wishes than anybody may have."""
    if len(wishes) > OTHERS_MAX:
        raise BadInput(f"a sleeper keeps apart from at most {OTHERS_MAX} others: take another wish back first")
