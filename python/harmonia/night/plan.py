"""Who sleeps in a night and how wrong their clocks are: everything follows from the seed."""

import random
from dataclasses import dataclass

CLOCK_OFFSET_S_MAX = 0.5
CLOCK_DRIFT_PPM_MAX = 100.0
SLEEPERS_MAX = 200
NAMES = ("Ada", "Bo", "Cleo", "Dov", "Edda", "Finn", "Gro", "Hanno", "Ilse", "Juna", "Kaj", "Lumi")

OFFSET_TURNS = 0.25
"""What one sleeper sets half-way: a quarter turn."""
RECORDER = "recorder"


@dataclass(frozen=True, slots=True)
class Planned:
    """One sleeper to be. ``voice`` is as `harmonia join --voice` takes it."""

    name: str
    seed: int
    clock_offset_s: float
    clock_drift_ppm: float
    voice: str
    grants_recording: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """A night to be."""

    sleepers: tuple[Planned, ...]
    night_s: float
    gather_s: float
    mixes: int = 0
    """Whose mix is recorded."""

    @property
    def offsets(self) -> int:
        """Who sets an offset half-way."""
        return min(1, len(self.sleepers) - 1)

    @property
    def opts_out(self) -> int:
        """Who opts out half-way."""
        return min(2, len(self.sleepers) - 1)


def plan(sleepers: int, minutes: float, channels: int, seed: int) -> Plan:
    """A night of ``sleepers`` for ``minutes`` from the score's beginning, on ``channels`` channels. Pure."""
    chance = random.Random(seed)
    planned = []
    for number in range(sleepers):
        name = NAMES[number % len(NAMES)] + ("" if number < len(NAMES) else str(number // len(NAMES) + 1))
        voice = ",".join(f"{chance.uniform(0.3, 1.0):.3f}@{chance.uniform(0, 1):.3f}" for _ in range(channels))
        planned.append(
            Planned(
                name=name,
                seed=chance.getrandbits(32),
                clock_offset_s=chance.uniform(-CLOCK_OFFSET_S_MAX, CLOCK_OFFSET_S_MAX),
                clock_drift_ppm=chance.uniform(-CLOCK_DRIFT_PPM_MAX, CLOCK_DRIFT_PPM_MAX),
                voice=voice or "1",
                # One says no, so that the report has somebody whom no recording may contain.
                grants_recording=sleepers < 4 or number < sleepers - 1,
            )
        )
    # Starting a process costs about half a second of one core; two cores are the least that is expected.
    return Plan(tuple(planned), night_s=minutes * 60, gather_s=5 + 0.4 * sleepers)


def default_score(minutes: float) -> str:
    """A score in Harmonia's own format that fills ``minutes``: down from 4 Hz to 3 Hz and back."""

    def at(share: float) -> float:
        return round(minutes * 60 * share, 3)

    return f"""# The first night: what a shared night sounds like, in {minutes:g} minutes.
title = "First night"
end = {at(1)}

rhythm = [
  {{ at = 0, hz = 4.0 }},
  {{ at = {at(0.25)}, hz = 3.0, over_s = {at(0.3)} }},
  {{ at = {at(0.7)}, hz = 4.0, over_s = {at(0.2)} }},
]

[tone-sets]
arrive = [
  {{ wave = "binaural", carrier_hz = 110, locked = 1, amplitude_pct = 8 }},
  {{ wave = "binaural", carrier_hz = 165, locked = 2, amplitude_pct = 5 }},
  {{ wave = "isochronic", carrier_hz = 330, locked = 1, amplitude_pct = 3 }},
  {{ wave = "noise", color = "pink", amplitude_pct = 6 }},
]
drift = [
  {{ wave = "binaural", carrier_hz = 104, locked = 1, amplitude_pct = 8 }},
  {{ wave = "binaural", carrier_hz = 156, locked = 2, amplitude_pct = 5 }},
  {{ wave = "isochronic", carrier_hz = 312, locked = 1, amplitude_pct = 3 }},
  {{ wave = "noise", color = "pink", amplitude_pct = 9 }},
]
silence = []

[[timeline]]
at = 0
play = "arrive"
transition = "slide"
over_s = {at(0.05)}

[[timeline]]
at = {at(0.25)}
play = "drift"
transition = "slide"
over_s = {at(0.3)}

[[timeline]]
at = {at(0.7)}
play = "arrive"
transition = "slide"
over_s = {at(0.2)}

[[timeline]]
at = {at(0.92)}
play = "silence"
transition = "slide"
over_s = {at(0.08)}
"""
