"""Whatever fails, a person reads one line and a script reads the documented exit code."""

from pathlib import Path

import click
import pytest

from harmonia import errors
from harmonia.cli import main as cli_main
from tests.cli.conftest import Run


def one_line(err: str) -> str:
    assert err.startswith("error: "), err
    assert err.count("\n") == 1, err
    assert "Traceback" not in err
    return err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["dream"], 2, "No such command"),
        (["join", "--offset", "0.1x", "c"], 2, "not a valid float"),
        (["join", "--offset", "nan", "c"], 2, "finite number of turns"),
        (["offset", "nan"], 2, "finite number of turns"),
        (["offset", "-inf"], 2, "finite number of turns"),
        (["join", "--voice", "loud", "c"], 2, "AMPLITUDE"),
        (["join", "harmonia://nowhere"], 2, "harmonia://HOST:PORT/CIRCLE"),
        (["join"], 2, "which circle"),
        (["join", "c"], 3, "harmonia serve"),
        (["status"], 3, "harmonia serve"),
        (["circle", "ls"], 3, "harmonia serve"),
        (["optout"], 3, "harmonia join"),
        (["optout", "--purpose", "breathing"], 2, "breathing"),
        (["grant", "voice", "--sleeper", "s"], 3, "nobody has joined"),
        (["apart", "--unheard"], 2, "name the other sleeper"),
        (["apart", "somebody"], 3, "harmonia join"),
        (["score", "show", "missing.toml"], 3, "no such file"),
        (["score", "show", "night.mp3"], 2, ".toml, .sbg or .sbgf"),
        (["circle", "create", "--score", "missing.sbg"], 3, "no such file"),
        (["night", "--score", "missing.sbg"], 3, "no such file"),
        (["night", "--sleepers", "0"], 2, "--sleepers"),
    ],
)
def test_bad_input_is_one_line_that_says_what_to_do(
    harmonia: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HARMONIA_DATA", raising=False)
    ended, out, err = harmonia(*arguments)
    assert (ended, out) == (code, "")
    assert says in one_line(err)
    assert list(tmp_path.iterdir()) == []


def test_a_score_is_refused_by_file_and_line(harmonia: Run, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("end = 60\nrhytm = []\n")
    code, _, err = harmonia("score", "show", str(path))
    assert code == 2
    assert f"{path}:2" in one_line(err)


def test_a_score_that_is_not_text_is_refused_by_line(harmonia: Run, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(b"end = 60\n# na\xefve\n")
    code, _, err = harmonia("score", "show", str(path))
    assert code == 2
    assert f"{path}:2: not UTF-8" in one_line(err)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.TokenUsed("this token\nwas used"), 4),
        (errors.Unreachable("no answer"), 5),
        (errors.StorageError("disk full"), 6),
        (errors.AddressTaken("port 7117 is taken"), 7),
        (BaseExceptionGroup("two", [errors.NotFound("x"), errors.NotFound("y")]), 3),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
    ],
)
def test_every_failure_has_its_code(
    harmonia: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(cli_main.cli, "main", fail)
    ended, _, err = harmonia()
    assert ended == code
    if code != cli_main.INTERRUPTED:
        one_line(err)


def test_a_fault_of_ours_is_one_line_and_its_details_are_kept(
    harmonia: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(**_: object) -> None:
        raise ZeroDivisionError("of\nours")

    monkeypatch.setattr(cli_main.cli, "main", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code, _, err = harmonia()
    assert code == 1
    [log] = tmp_path.iterdir()
    assert str(log) in one_line(err)
    assert "ZeroDivisionError" in log.read_text()
    assert "Traceback" in log.read_text()


def test_the_version_is_the_cores(harmonia: Run) -> None:
    code, out, _ = harmonia("--version")
    assert (code, out.split()[0]) == (0, "harmonia")
