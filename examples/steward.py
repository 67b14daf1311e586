"""A steward's night: watch a room, say that you are coming to whoever calls, until the circle closes.

python3 examples/steward.py ROLE_FILE
"""

import sys
from pathlib import Path

import trio

from harmonia import client


async def main(key: client.RoleKey) -> None:
    async with client.Stewardship(key) as held, held.watch() as rooms:
        async for room in rooms:
            for bed in room.beds:
                if bed.troubles:
                    print(f"place {bed.place}: {', '.join(trouble.word for trouble in bed.troubles)}")
            for call in room.calls:
                if call.waiting and not call.by:
                    print(f"place {call.place} calls: {call.message}")
                    await held.answer(call.help_id)


trio.run(main, client.RoleKey.parse(Path(sys.argv[1]).read_text()))
