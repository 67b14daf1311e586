"""A slice of the power cuts and failing disks, and a control that what is not synced is lost."""

from pathlib import Path

from faults import power


def test_nothing_that_was_acknowledged_is_lost_in_power_cuts(tmp_path: Path) -> None:
    report = power.run(tmp_path, cuts=200, seed=7)
    assert (report.cuts, report.lost) == (200, [])
    assert report.acknowledged > 1000


def test_a_journal_that_does_not_sync_is_found_out(tmp_path: Path) -> None:
    assert power.run(tmp_path, cuts=30, seed=7, unsynced=True).lost


def test_a_call_that_fails_loses_nothing_and_says_the_truth(tmp_path: Path) -> None:
    report = power.faults_everywhere(tmp_path, step=4)
    assert report.lost == []
    assert report.lives > 100
