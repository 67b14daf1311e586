from collections.abc import Callable

import pytest

from harmonia.cli.main import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def harmonia(capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs the command line in this process; gives exit code, stdout and stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        out, err = capfd.readouterr()
        return int(ended.value.code or 0), out, err

    return run
