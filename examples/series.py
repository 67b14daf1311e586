"""A year of full moons: plan a series on a running sanctuary, make room in one of its nights, and show what comes.

python3 examples/series.py DATA_FOLDER SCORE_FILE
"""

import sys
from pathlib import Path

import trio

from harmonia import client


async def main(data_dir: Path, score: client.ScoreText) -> None:
    times = client.NightWish("Europe/Berlin", lights_out="22:30", gather_at="21:30", wake="06:30..07:00")
    async with client.Sanctuary.at(data_dir) as sanctuary:
        made = await sanctuary.create_series(score, rule="full-moon", times=times, title="Full moon", capacity=40)
        (series,) = [one for one in await sanctuary.series(nights=13) if one.series_id == made.series_id]
        for night in series.nights:
            print(night.night, night.circle_id or "not made yet", night.plan.lights_out if night.plan else night.reason)
        if series.nights and series.nights[0].circle_id:
            await sanctuary.edit_circle(series.nights[0].circle_id, capacity=60)


score_file = Path(sys.argv[2])
form = "sbg" if score_file.suffix == ".sbg" else "toml"
trio.run(main, Path(sys.argv[1]), client.ScoreText(score_file.name, form, score_file.read_text()))
