"""A slice of the campaign of sudden deaths, and a control that it sees what is lost."""

from pathlib import Path

from faults import kills


def test_nothing_that_was_acknowledged_is_lost_in_sudden_deaths(tmp_path: Path) -> None:
    report = kills.run(tmp_path, kills=15, seed=7)
    assert (sum(report.kills.values()), report.lost, report.missed) == (15, [], [])
    assert report.acknowledged > 100


def test_a_sanctuary_that_acknowledges_before_it_commits_is_found_out(tmp_path: Path) -> None:
    report = kills.run(tmp_path, kills=4, seed=7, names=["journal.answered"], module="faults.hasty")
    assert report.lost
