"""The checks are counted as they were."""

import sys

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
