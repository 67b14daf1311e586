"""Failpoints: known by name, harmless when off, and reached by what the campaigns do."""

import importlib
import os
import pkgutil
import signal
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

import harmonia.v1
from faults import kills
from faults.almanac import Almanac
from faults.causes import ONCE, PUBLISHING, UNCHANGING, WISHES, wish_for
from faults.door import Door
from faults.host import Host
from faults.sleeper import Sleeper
from faults.steward import Steward
from harmonia import failpoints
from harmonia.cli.serve import serve
from harmonia.domain.events import Event
from harmonia.errors import BadInput, StorageOutcomeUnknown

PEOPLE = (Host, Steward, Almanac, Door, Sleeper)


def _methods() -> list[str]:
    """Every call of the API."""
    names = [one.name for one in pkgutil.iter_modules(harmonia.v1.__path__) if one.name.endswith("_pb2")]
    files = [importlib.import_module(f"harmonia.v1.{name}").DESCRIPTOR for name in names]
    services = [service for file in files for service in file.services_by_name.values()]
    return [method.name for service in services for method in service.methods]


@pytest.fixture(autouse=True)
def _off() -> Iterator[None]:
    yield
    failpoints.arm("")


def test_an_unknown_name_is_refused_with_all_that_there_are() -> None:
    with pytest.raises(BadInput, match=r"no failpoint 'journal\.comit'; there are .*journal\.commit, ") as told:
        failpoints.arm("journal.begun=error, journal.comit=kill")
    assert all(name in str(told.value) for name in failpoints.NAMES)
    assert failpoints.armed() == []


@pytest.mark.parametrize(
    "text", ["journal.commit", "journal.commit=stop", "journal.commit=kill@0", "journal.commit=kill@x"]
)
def test_an_action_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="is not NAME=kill, =error or =log, with @N for the N-th time"):
        failpoints.arm(text)


def test_it_happens_at_the_nth_time_and_only_then() -> None:
    failpoints.arm("journal.commit=error@3")
    failpoints.hit("journal.begun")
    failpoints.hit("journal.commit")
    failpoints.hit("journal.commit")
    with pytest.raises(StorageOutcomeUnknown, match=r"the failpoint journal\.commit failed"):
        failpoints.hit("journal.commit")
    failpoints.hit("journal.commit")


def test_kill_is_sigkill_and_runs_nothing_more() -> None:
    code = "from harmonia import failpoints as f; f.arm('journal.commit=kill'); f.hit('journal.commit'); print('alive')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, b"")


def test_serve_takes_them_from_the_environment_alone_and_says_so(tmp_path: Path) -> None:
    arguments = [sys.executable, "-m", "harmonia.cli", "serve", "--data", str(tmp_path / "data"), "--port", "0"]
    environment = {**os.environ, failpoints.VARIABLE: "start.held=kill,journal.commit=error@9"}
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL
    (warning,) = done.stderr.splitlines()
    assert warning == "warning: HARMONIA_FAILPOINTS breaks this sanctuary at journal.commit, start.held"
    assert "failpoint" not in CliRunner().invoke(serve, ["--help"]).output.lower()


def test_what_serve_does_not_know_ends_it_in_one_line(tmp_path: Path) -> None:
    arguments = [sys.executable, "-m", "harmonia.cli", "serve", "--data", str(tmp_path / "data"), "--port", "0"]
    done = subprocess.run(
        arguments, env={**os.environ, failpoints.VARIABLE: "x=kill"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "data").exists()


def test_every_kind_of_event_has_a_place_before_its_writing_and_one_behind_it() -> None:
    assert sorted(failpoints.EVENTS) == sorted(kind.__name__ for kind in typing.get_args(Event))


def test_every_call_changes_something_and_is_wished_for_or_is_said_to_change_nothing() -> None:
    unchanging = [name for names in UNCHANGING.values() for name in names]
    assert sorted([*failpoints.METHODS, *unchanging]) == sorted(_methods())


def test_every_place_is_wished_for_by_somebody_or_has_its_circumstances() -> None:
    for name in failpoints.NAMES - ONCE - PUBLISHING:
        assert any(hasattr(person, wish_for(name)) for person in PEOPLE), name
    assert {wish_for(name) for name in ONCE | PUBLISHING} == {""}
    assert ONCE | PUBLISHING <= failpoints.NAMES


def test_whatever_somebody_may_wish_at_random_exists_and_every_wish_for_an_event_is_among_it() -> None:
    at_random = {operation: person for person in PEOPLE for operation in person.OPERATIONS}
    assert all(callable(getattr(person, operation)) for operation, person in at_random.items())
    assert set(WISHES.values()) - {"write_much"} <= set(at_random)


def test_the_campaigns_reach_every_place(tmp_path: Path) -> None:
    assert kills.reached(tmp_path, seed=1) == set(failpoints.NAMES)
