"""The three terminals: serve, create, join; and opting out, offsets, status, tracking from a fourth."""

import signal
import stat
import subprocess
import sys
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harmonia.night.truth import NodeTruth
from tests.e2e.terminal import PATIENCE_S, Terminal, answer, harmonia, sanctuary, terminal

SCORE = """
end = "01:00:00"
rhythm = [{ at = 0, hz = 4.0 }]
[tone-sets]
one = [
  { wave = "binaural", carrier_hz = 110, locked = 1, amplitude_pct = 20 },
  { wave = "binaural", carrier_hz = 165, locked = 2, amplitude_pct = 10 },
]
[[timeline]]
at = 0
play = "one"
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "night.toml").write_text(SCORE)
    return tmp_path / "data"


def create(data: Path, *options: str) -> str:
    score = str(data.parent / "night.toml")
    made = answer("circle", "create", "--score", score, "--title", "By hand", *options, data=data)
    circle_id: str = made["circle_id"]
    return circle_id


def joined(one: Terminal) -> str:
    sleeper_id: str = one.until(event="joined")["sleeper_id"]
    return sleeper_id


def seen(data: Path, circle: str, sleeper: str) -> dict[str, Any]:
    tracked = answer("tracking", "--circle", circle, data=data)
    [one] = [view for view in tracked["sleepers"] if view["sleeper_id"] == sleeper]
    return dict(one)


def eventually(true: Callable[[], Any]) -> None:
    """Asks again until it is so; a hundred commands take longer than anything that works."""
    assert any(true() for _ in range(100))


def test_a_night_by_hand(data: Path, tmp_path: Path) -> None:
    mix = tmp_path / "mix.wav"
    with sanctuary(data) as (daemon, place):
        assert stat.S_IMODE((data / "admin.token").stat().st_mode) == 0o600
        circle = create(data, "--gather", "0.5")
        join = ("join", circle, "--offset", "0.25", "--output", str(mix), "--json-lines", "--interval", "0.05")
        wrong = ("--clock-offset", "-0.3", "--clock-drift", "80")
        with terminal(*join, *wrong, data=data) as one:
            sleeper = joined(one)
            moment = one.until(lock_state="locked", circle_state="entraining")
            assert moment["offset_turns"] == pytest.approx(0.25, abs=1e-3)

            status = answer("status", data=data)
            assert (status["circles"], status["sleepers"], status["udp_port"]) == (1, 1, place["udp_port"])
            assert seen(data, circle, sleeper)["offset_turns"] == pytest.approx(0.25)

            # From another terminal; the joined platform follows.
            assert harmonia("offset", "-0.125", data=data).returncode == 0
            one.until(offset_turns=-0.125)
            assert not seen(data, circle, sleeper)["muted"]
            out = answer("optout", data=data)
            assert out["gate_epoch"] >= 0
            one.until(muted=True)
            consents = answer("consent", data=data)["purposes"]
            assert not any(purpose["granted"] for purpose in consents.values())
            # Who withdrew visibility is not shown any more, only counted at most.
            tracked = answer("tracking", "--circle", circle, data=data)
            assert sleeper not in [view["sleeper_id"] for view in tracked["sleepers"]]

            assert harmonia("grant", "hearing", data=data).returncode == 0
            one.until(muted=False)
            assert one.end(signal.SIGINT) == 0
        assert not list((data / "sleepers").glob("*.json")), "who left leaves no credential behind"
        with wave.open(str(mix)) as file:
            assert (file.getnchannels(), file.getframerate()) == (2, 48000)
            assert file.getnframes() > 0
        assert answer("circle", "show", circle, data=data)["sleepers"] == 0
        assert answer("circle", "close", "By hand", data=data)["state"] == "closed"
        assert daemon.end(signal.SIGINT) == 0


def test_a_killed_sanctuary_comes_back_to_the_same_night(data: Path) -> None:
    with sanctuary(data) as (daemon, first):
        circle = create(data, "--gather", "0.2")
        join = ("join", circle, "--json-lines", "--interval", "0.05")
        with terminal(*join, "--control", data=data) as one:
            joined(one)
            one.tell("offset 0.375")
            sounding = one.until(offset_turns=0.375, lock_state="locked")
            truth = NodeTruth.find(data)
            one.tell("optout voice")
            before = answer("circle", "show", circle, data=data)
            eventually(lambda: answer("consent", data=data)["purposes"]["voice"]["withdrawal_id"])
            daemon.end(signal.SIGKILL)
            one.until(connected=False)
            with sanctuary(data, "--port", str(first["grpc_port"]), "--udp-port", str(first["udp_port"])):
                still = one.until(connected=True, lock_state="locked", offset_turns=0.375)
                # Node time is the same function of the machine's oscillator, and the phase went on with it.
                assert NodeTruth.find(data).node_at(still["raw_ns"]) == truth.node_at(still["raw_ns"])
                turns = (still["node_ns"] - sounding["node_ns"]) * 1e-9 * before["rhythm_hz"]
                jump = (still["phase_turns"] - sounding["phase_turns"] - turns + 0.5) % 1 - 0.5
                assert abs(jump) < 1e-5, f"the phase jumped by {jump} turn"
                error_ns = still["node_ns"] - truth.node_at(still["raw_ns"])
                assert abs(error_ns) <= still["bound_ns"]
                after = answer("circle", "show", circle, data=data)
                assert (after["epoch_ns"], after["rhythm_hz"]) == (before["epoch_ns"], before["rhythm_hz"])
                purposes = answer("consent", data=data)["purposes"]
                assert not purposes["voice"]["granted"]
                assert purposes["hearing"]["granted"]
                assert answer("tracking", data=data)["resumes"] >= 1


def test_a_platform_comes_back_as_who_it_was(data: Path, tmp_path: Path) -> None:
    state = str(tmp_path / "me.json")
    with sanctuary(data):
        circle = create(data)
        invitation = harmonia("invite", circle, data=data).stdout.strip()
        join = ("join", "-", "--state", state, "--json-lines", "--control")
        elsewhere = tmp_path / "elsewhere"
        with terminal(*join, data=elsewhere) as one:
            one.tell(invitation)
            sleeper = joined(one)
            one.tell("optout")
            one.until(muted=True)
            consent = ("consent", "--sleeper", state)
            eventually(lambda: not answer(*consent, data=elsewhere)["purposes"]["voice"]["granted"])
            one.end(signal.SIGKILL)
        with terminal(*join, data=elsewhere) as one:
            one.tell(invitation)
            back = one.until(event="joined")
            assert (back["sleeper_id"], back["new"], back["granted"]) == (sleeper, False, [])
            one.until(muted=True)
        used = harmonia("join", invitation, "--seconds", "1", data=elsewhere)
        assert (used.returncode, used.stderr.count("\n")) == (4, 1)
        assert "used" in used.stderr


def test_the_ten_line_example_runs(data: Path) -> None:
    with sanctuary(data):
        circle = create(data, "--gather", "0.1")
        invitation = harmonia("invite", circle, data=data).stdout.strip()
        example = Path(__file__).resolve().parents[2] / "examples" / "join.py"
        done = subprocess.run(
            [sys.executable, str(example), invitation], capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert "certain within" in done.stdout
    assert "rendered 48000 frames" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["join", "c-nowhere"], 3, "c-nowhere"),
        (["circle", "show", "c-nowhere"], 3, "c-nowhere"),
        (["circle", "close", "c-nowhere"], 3, "c-nowhere"),
    ],
)
def test_what_is_not_there_is_one_line(data: Path, arguments: list[str], code: int, says: str) -> None:
    with sanctuary(data):
        done = harmonia(*arguments, data=data)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1)
    assert says in done.stderr


def test_circumstances_have_their_codes(data: Path, tmp_path: Path) -> None:
    with sanctuary(data) as (_, place):
        circle = create(data)
        invitation = harmonia("invite", circle, data=data).stdout.strip()
        nan = harmonia("join", circle, "--offset", "nan", data=data)
        assert (nan.returncode, nan.stderr.count("\n")) == (2, 1)
        (tmp_path / "bad.sbg").write_text("one: 200+x/10\nNOW one\n")
        bad = harmonia("circle", "create", "--score", str(tmp_path / "bad.sbg"), data=data)
        assert bad.returncode == 2
        assert "bad.sbg:1" in bad.stderr

        forged = harmonia("join", invitation.replace("token=", "token=x"), "--seconds", "1", data=data)
        assert (forged.returncode, forged.stderr.count("\n")) == (4, 1)

        token = (data / "admin.token").read_text()
        (data / "admin.token").write_text("wrong")
        assert harmonia("circle", "ls", data=data).returncode == 4
        (data / "admin.token").write_text(token)

        taken = harmonia("serve", "--port", str(place["grpc_port"]), data=tmp_path / "other")
        assert (taken.returncode, taken.stderr.count("\n")) == (7, 1)
        twice = harmonia("serve", "--port", "0", data=data)
        assert (twice.returncode, twice.stderr.count("\n")) == (7, 1)
        exposed = harmonia("serve", "--host", "0.0.0.0", "--port", "0", data=tmp_path / "third")  # noqa: S104 (it is refused)
        assert exposed.returncode in (2, 4)
        assert exposed.stderr.count("\n") == 1
    gone = harmonia("status", data=data)
    assert (gone.returncode, gone.stderr.count("\n")) == (5, 1)
