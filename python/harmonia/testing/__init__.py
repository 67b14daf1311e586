"""Public fakes: a node clock, a data plane, a score reader and a journal with a bad disk. For tests above them."""

from harmonia.testing.clock import FakeNodeClock, virtual_node_clock
from harmonia.testing.journal import FlakyJournal
from harmonia.testing.plane import FakePlane, FakeStatus
from harmonia.testing.scores import fake_scores

__all__ = ["FakeNodeClock", "FakePlane", "FakeStatus", "FlakyJournal", "fake_scores", "virtual_node_clock"]
