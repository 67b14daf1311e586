"""Ten lines that join a circle: python3 examples/join.py INVITATION (from `harmonia invite CIRCLE`)."""

import sys

import trio

from harmonia import client


async def main() -> None:
    grants = [client.Purpose.PRESENCE, client.Purpose.HEARING, client.Purpose.VOICE]
    async with client.join(sys.argv[1], grants=grants) as sleeper:
        await sleeper.locked()
        print(f"phase {sleeper.phase_turns:.4f} turns, clock certain within {sleeper.bound_ns / 1e3:.1f} µs")
        sound = sleeper.render(48_000)  # the next second: a numpy array, 48000 × 2, float32
        print(f"rendered {len(sound)} frames, loudest sample {abs(sound).max():.3f}")
        await sleeper.set_offset(0.25)  # a quarter turn ahead of everybody; heard at once, then recorded
        await sleeper.opt_out()  # silent in the next block, then on the sanctuary's disk


trio.run(main)
