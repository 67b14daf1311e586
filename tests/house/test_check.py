"""The checks are counted as they were."""

import os
import sys
from pathlib import Path

import pytest

from scripts import check


def test_cargo_is_summed_over_its_programs() -> None:
    output = (
        "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n"
        "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n"
    )
    assert check.count_cargo(output) == check.Counts(15, 2, 1)


def test_pytest_is_read_from_its_last_line() -> None:
    assert check.count_pytest("x\n=== 2 failed, 31 passed, 1 skipped, 1 error in 3.21s ===\n") == check.Counts(31, 3, 1)
    assert check.count_pytest("5 passed in 0.1s\n") == check.Counts(5)


def test_a_program_that_ends_badly_has_failed_even_if_it_counted_nothing() -> None:
    broken = check.Check("broken", [sys.executable, "-c", "raise SystemExit(1)"], check.count_pytest)
    assert check.run(broken, []) == (False, check.Counts(failed=1))


def test_a_suite_that_ran_no_test_has_failed() -> None:
    empty = check.Check("empty", [sys.executable, "-c", ""], check.count_pytest)
    assert check.run(empty, []) == (False, check.Counts(failed=1))


def test_shares_are_counted_as_one_check_which_fails_with_any_of_them() -> None:
    says = ("print('2 passed in 0.1s')",), ("print('1 failed, 3 passed in 0.1s'); raise SystemExit(1)",)
    both = check.Check("both", [sys.executable, "-c"], check.count_pytest, shares=says)
    assert check.run(both, []) == (False, check.Counts(5, 1))
    assert check.run(both, ["print('4 passed in 0.1s')"]) == (True, check.Counts(4))


def test_shares_run_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "STUCK_AFTER_S", 60)  # what ends a test that has failed anyway
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)  # neither end opens before the other
    ends = tuple((f"open({str(pipe)!r}, {mode!r})",) for mode in "wr")
    assert check.run(check.Check("both", [sys.executable, "-c"], shares=ends), []) == (True, check.Counts(2))


def test_every_folder_of_tests_belongs_to_a_check_once(root: Path) -> None:
    (suite,) = (one for one in check.CHECKS if one.name == "pytest")
    rest, waiting = suite.shares
    assert {word.removeprefix("--ignore=") for word in rest} == {"tests/house", *waiting}
    assert all((root / folder).is_dir() for folder in waiting)


def test_the_cases_of_property_tests_are_chosen_in_one_place(root: Path) -> None:
    """A profile that a folder loads would hold for all that is collected after it."""
    files = (path for path in (root / "tests").rglob("*.py") if path != Path(__file__))
    assert [path for path in files if "load_profile(" in path.read_text()] == [root / "tests" / "conftest.py"]
