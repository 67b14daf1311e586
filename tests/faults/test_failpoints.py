"""Failpoints: known by name, harmless when off, and reached by what the campaigns do."""

import os
import signal
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from faults import kills
from harmonia import failpoints
from harmonia.cli.serve import serve
from harmonia.domain.events import Event
from harmonia.errors import BadInput, StorageOutcomeUnknown
from harmonia.v1 import circle_pb2, consent_pb2, offer_pb2, platform_pb2, rhythm_pb2, stem_pb2

FILES = [one.DESCRIPTOR for one in (circle_pb2, consent_pb2, offer_pb2, platform_pb2, rhythm_pb2, stem_pb2)]


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


def test_there_are_many_places_and_each_is_of_something_that_exists() -> None:
    assert set(failpoints.EVENTS) <= {kind.__name__ for kind in typing.get_args(Event)}
    methods = {
        method.name for file in FILES for service in file.services_by_name.values() for method in service.methods
    }
    assert set(failpoints.METHODS) <= methods
    assert len(failpoints.NAMES) >= 100


def test_the_campaigns_reach_every_place(tmp_path: Path) -> None:
    assert kills.reached(tmp_path, seed=1) == set(failpoints.NAMES)
