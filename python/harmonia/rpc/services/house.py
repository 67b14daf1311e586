"""What every servicer works with."""

from dataclasses import dataclass

from harmonia.domain.controller import Statement
from harmonia.engine.conductor import Conductor
from harmonia.engine.sanctuary import Sanctuary
from harmonia.ledger.ledger import Ledger
from harmonia.rpc.auth import caller
from harmonia.rpc.bridge import Bridge


@dataclass(frozen=True)
class House:
    """The engine, and the way to it."""

    sanctuary: Sanctuary
    bridge: Bridge
    ledger: Ledger
    udp_host: str = "127.0.0.1"
    """Where this machine reaches the data plane's port."""
    controllers: tuple[Statement, ...] = ()
    """Who answers for what is kept about people, oldest first."""

    def now_ns(self) -> int:
        """Node time."""
        return self.sanctuary.plane.node_time_ns()

    def own_circle(self, circle_id: str) -> Conductor:
        """The same; without a ``circle_id``, the one that the caller's credential is for."""
        return self.visible_circle(circle_id or caller().circle_id)

    def visible_circle(self, circle_id: str) -> Conductor:
        """A circle that the caller may see. Raises NotFound or NotPermitted."""
        caller().may_see(circle_id)
        return self.sanctuary.conductor(circle_id)
