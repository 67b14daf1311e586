"""Who listens in to a sleeper: only with their `monitoring`, never behind their back, and not a frame longer.

The order is what keeps the promise. A listener is first *admitted*: shown to the sleeper and to nobody's ears. Only
when their platform has been sent a state that names the listener does the first frame go. A sleeper whose platform is
not connected cannot see anybody, so nobody is admitted, and whoever listens when it goes is dismissed. What takes the
consent back dismisses in the same step, from any thread, with a cut; telling comes after.

Nothing of it is written down: a sanctuary that restarts lets nobody listen who has not asked anew.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from harmonia.domain.consent import Purpose
from harmonia.errors import BadInput, NotFound, NotNow, NotPermitted

if TYPE_CHECKING:
    from harmonia.engine.person import Person


@dataclass(frozen=True, slots=True)
class Listening:
    """One who listens in, or waits until the sleeper has been told."""

    listener: "Person"
    since_ns: int
    flows: bool = False
    """Frames go."""


def nobody(name: str) -> NotFound:
    """The one answer about who is not here and who hides it: asking tells nobody which."""
    return NotFound(f"there is no sleeper {name!r} in your circle, or they grant neither monitoring nor presence")


def _hides(person: "Person", listener: "Person", now_ns: int) -> bool:
    scope, circle = listener.sleeper.sleeper_id, person.conductor.circle
    shown = (Purpose.MONITORING, Purpose.PRESENCE)
    return not any(person.sleeper.allows(purpose, circle, now_ns, scope) for purpose in shown)


def require_allowed(person: "Person", listener: "Person", now_ns: int) -> None:
    """Raises NotPermitted unless ``person`` lets ``listener`` listen in, and keep what it hears if it records."""
    name = person.sleeper.sleeper_id
    for purpose, what in ((Purpose.MONITORING, "listened in to"), (Purpose.RECORDING, "recorded by who listens in")):
        if purpose is Purpose.RECORDING and not listener.recording:
            continue
        if not person.sleeper.allows(purpose, person.conductor.circle, now_ns, listener.sleeper.sleeper_id):
            raise NotPermitted(f"{name} does not allow to be {what}: only they can, by granting {purpose.name.lower()}")


def admitted(person: "Person", listener: "Person", now_ns: int) -> dict[str, Listening]:
    """Everybody who listens in to ``person``, with ``listener``. Raises BadInput, NotFound, NotPermitted, NotNow."""
    name, own_name = person.sleeper.sleeper_id, listener.sleeper.sleeper_id
    if listener is person:
        raise BadInput("you hear your own mix already; name another sleeper of your circle")
    if person.conductor is not listener.conductor or _hides(person, listener, now_ns):  # so does everybody who has left
        raise nobody(name)
    require_allowed(person, listener, now_ns)
    if listener.listens_to is not None:  # also to this person: who is heard already must not be admitted as unseen
        raise NotNow("you listen in to somebody already; end that first")
    if not person.watchers:
        raise NotNow(f"{name}'s platform is not connected, and nobody is listened in to who cannot see it; try later")
    return {**person.listeners, own_name: Listening(listener, now_ns)}


def still_allowed(person: "Person", now_ns: int) -> dict[str, Listening]:
    """Those who may go on."""
    kept = {}
    for name, one in person.listeners.items():
        try:
            require_allowed(person, one.listener, now_ns)
        except NotPermitted:
            continue
        if person.watchers and one.listener.on_plane:
            kept[name] = one
    return kept


def told(listeners: dict[str, Listening], names: Iterable[str]) -> dict[str, Listening]:
    """The same once the sleeper has been shown those of ``names``."""
    seen = frozenset(names)
    return {name: replace(one, flows=one.flows or name in seen) for name, one in listeners.items()}
