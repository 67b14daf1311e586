"""Every short history of words, doors, disks and deaths, through the engine itself, judged by the nights' oracle.

The model tries every order of a small world's steps; this tries every order of what may befall one person's voice in
the real engine, up to a length at which it still takes seconds. Each history ends with one more start.
"""

from itertools import product

from sim.nights.plot import Act
from sim.nights.stage import play

BEGINNING = (Act("circle"), Act("join"), Act("grant", b=1))
"""Somebody whose voice sounds."""
EVENTS = {
    "yes": Act("grant", b=1),
    "stale yes": Act("grant", b=8),
    "no, by RPC": Act("withdraw"),
    "no, by datagram": Act("withdraw", b=8),
    "the first no again": Act("repeat"),
    "two devices' no at once": Act("two-doors"),
    "the process ends": Act("crash"),
    "power fails before the next write": Act("power-cut"),
    "power fails after the next write": Act("power-cut", b=1),
    "the disk is full": Act("disk-full"),
    "the disk has room": Act("disk-free"),
}
LENGTH = 3


def test_every_history_of_three_events_keeps_every_invariant() -> None:
    histories = lives = 0
    for names in product(EVENTS, repeat=LENGTH):
        played = play(1, [*BEGINNING, *(EVENTS[name] for name in names)])
        assert not played.broken, f"{', '.join(names)}: {played.broken}"
        histories += 1
        lives += played.lives
    assert histories == len(EVENTS) ** LENGTH
    assert lives > 2 * histories, "each is started again at its end"
