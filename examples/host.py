"""A host's evening: open a circle on a running sanctuary, invite, watch it for a minute, close it.

python3 examples/host.py DATA_FOLDER SCORE_FILE
"""

import sys
from pathlib import Path

import trio

from harmonia import client


async def main(data_dir: Path, score: client.ScoreText) -> None:
    async with client.Sanctuary.at(data_dir) as sanctuary:
        circle = await sanctuary.create_circle(score, title="An evening", gather_s=10)
        for invitation in await sanctuary.invitations(circle.circle_id, count=3):
            print(invitation)
        with trio.move_on_after(60):
            async with sanctuary.watch(circle.circle_id) as views:
                async for view in views:
                    print(view.circle.state.word, [(s.sleeper_id, s.lock_state.word) for s in view.sleepers])
        await sanctuary.advance(circle.circle_id, client.CircleState.CLOSED)


score_file = Path(sys.argv[2])
form = "sbg" if score_file.suffix == ".sbg" else "toml"
trio.run(main, Path(sys.argv[1]), client.ScoreText(score_file.name, form, score_file.read_text()))
