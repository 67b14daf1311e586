"""Consent from the command line, with real processes: scopes and ends, wishes, gestures, offers, and me."""

import json
import os
import pty
import signal
import subprocess
import threading
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from pyld import jsonld

from tests.e2e.terminal import COMMAND, PATIENCE_S, answer, harmonia, sanctuary, terminal
from tests.e2e.test_by_hand import SCORE, create, eventually, joined


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "night.toml").write_text(SCORE)
    return tmp_path / "data"


def allows(data: Path, *state: Path) -> dict[str, dict[str, object]]:
    """Where each purpose stands, of the one sleeper here or of that of a state file."""
    named = [word for path in state for word in ("--sleeper", str(path))]
    found: dict[str, dict[str, object]] = answer("consent", *named, data=data)["purposes"]
    return found


def test_a_night_of_consent(data: Path, tmp_path: Path) -> None:
    with sanctuary(data):
        circle = create(data, "--gather", "1")
        pipe = tmp_path / "button"
        os.mkfifo(pipe)
        with terminal(
            "join", circle, "--json-lines", "--control", "--log-clock", "--gesture", str(pipe), data=data
        ) as sleeper:
            sleeper_id = joined(sleeper)
            sleeper.until(lock_state="locked", circle_state="entraining")

            # Scope, level and end; a monitoring grant for one listener alone.
            granted = answer(
                "grant", "monitoring", "--scope", "sleeper-ben", "--level", "0.5", "--for", "90m", data=data
            )
            assert (granted["granted"], granted["scope"], granted["level"]) == (True, "sleeper-ben", 0.5)
            shown = harmonia("consent", data=data).stdout
            assert "monitoring  yes, only to sleeper-ben, up to 0.5, until" in shown and "(in 1 h" in shown
            refused = harmonia("grant", "voice", "--supersedes", "ab" * 16, data=data)
            assert refused.returncode == 2 and "read the consent again" in refused.stderr

            # A wish acts on the platform, as what it says and no more.
            wish = answer("advance", "add", "--louder", "-119", "--purpose", "monitoring", data=data)
            assert sleeper.until(event="wish")["wish_id"] == wish["wish_id"]
            eventually(lambda: not allows(data)["monitoring"]["granted"])
            assert allows(data)["voice"]["granted"]
            kept = answer("advance", "add", "--after", "3h", data=data)
            assert [one["fired"] for one in answer("advance", "ls", data=data)["wishes"]] == [True, False]
            answer("advance", "rm", kept["wish_id"][:8], data=data)

            # Offers: nothing before they are accepted, and then what they said.
            offered = answer("offer", circle, "let us be recorded", "--consent", "recording=0.5", data=data)
            assert not allows(data)["recording"]["granted"]
            answer("accept", offered["offer_id"][:8], data=data)
            assert allows(data)["recording"]["level"] == 0.5
            (mode, ours) = answer("offers", data=data)["offers"]
            assert (mode["kind"], mode["answer"], ours["answer"]) == ("mode", "", "accepted")
            answer("decline", mode["offer_id"], data=data)

            # A gesture through a pipe, and the signal.
            pipe.write_text("optout recording\n")
            eventually(lambda: not allows(data)["recording"]["granted"])
            assert allows(data)["voice"]["granted"]
            sleeper.process.send_signal(signal.SIGUSR1)
            sleeper.until(muted=True)
            eventually(lambda: not allows(data)["voice"]["granted"])

            # What is known of me.
            me = answer("me", data=data)
            assert {use["purpose"] for use in me["uses"]} >= {"voice"}
            exported = answer("me", "export", str(tmp_path / "mine"), data=data)
            assert (tmp_path / "mine").stat().st_mode & 0o777 == 0o700
            assert set(exported["files"]) == {
                *("README.md", "events.jsonl", "me.json", "consents.csv", "usage.csv", "receipts.jsonld"),
                "clock.jsonl",
            }
            again = harmonia("me", "export", str(tmp_path / "mine"), data=data)
            assert again.returncode == 2 and "exists already" in again.stderr
            sleeper.tell("quit")
            sleeper.process.wait()

        # After the night, with the credential that has ended.
        answer("me", "export", str(tmp_path / "mine.zip"), "--sleeper", sleeper_id, data=data)
        with zipfile.ZipFile(tmp_path / "mine.zip") as archive:
            events = [json.loads(line)["event"] for line in archive.read("events.jsonl").splitlines()]
            receipts = json.loads(archive.read("receipts.jsonld"))
        assert (events[0]["type"], "SleeperLeft" in {event["type"] for event in events}) == ("SleeperJoined", True)
        yes_and_no = [event for event in events if event["type"] in ("ConsentGranted", "ConsentWithdrawn")]
        assert len(receipts) == len(yes_and_no)
        assert receipts == answer("me", "receipts", data=data)
        assert len(jsonld.expand(receipts, {"documentLoader": None})) == len(receipts)


def test_a_wish_acts_while_the_sanctuary_is_dead_and_is_recorded_once(data: Path, tmp_path: Path) -> None:
    state = tmp_path / "me.json"
    with sanctuary(data) as (serving, place):
        circle = create(data, "--gather", "1")
        with terminal("join", circle, "--json-lines", "--control", "--state", str(state), data=data) as sleeper:
            joined(sleeper)
            sleeper.until(lock_state="locked", circle_state="entraining")
            wish = answer("advance", "add", "--waking", "--sleeper", str(state), data=data)
            assert any(wish["wish_id"] in state.read_text() for _ in range(100) if sleeper.line())
            serving.process.kill()
            serving.process.wait()
            sleeper.tell("awake")
            assert sleeper.until(event="wish")["wish_id"] == wish["wish_id"]
            sleeper.until(muted=True)
            with sanctuary(data, "--port", str(place["grpc_port"])):
                eventually(lambda: not allows(data, state)["voice"]["granted"])
                me = answer("me", "--sleeper", str(state), data=data)
                assert [one["fired"] for one in me["wishes"]] == [True]
                exported = tmp_path / "mine"
                answer("me", "export", str(exported), "--sleeper", str(state), data=data)
                lines = (exported / "events.jsonl").read_text().splitlines()
                events = [json.loads(line)["event"] for line in lines]
                assert [event["type"] for event in events].count("ConsentWithdrawn") == 1
                sleeper.process.send_signal(signal.SIGTERM)
                sleeper.process.wait()


def test_a_line_that_opts_out_waits_behind_no_other_and_wins_over_every_earlier_yes(data: Path) -> None:
    with sanctuary(data) as (serving, place):
        circle = create(data, "--gather", "1")
        with terminal("join", circle, "--json-lines", "--interval", "0.05", "--control", data=data) as sleeper:
            joined(sleeper)
            sleeper.until(lock_state="locked", circle_state="entraining")
            serving.end(signal.SIGKILL)
            sleeper.until(connected=False)
            sleeper.tell("offset 0.25\ngrant biosignal\ngrant voise\noptout voice\noptout everything\noffset 0.375")
            sleeper.until(muted=True)
            with sanctuary(data, "--port", str(place["grpc_port"]), "--udp-port", str(place["udp_port"])):
                sleeper.until(offset_turns=0.375)  # all that was said before has had its turn
                assert not any(one["granted"] for one in allows(data).values())
                sleeper.tell("grant hearing biosignal\nquit")
                sleeper.process.wait(PATIENCE_S)
            assert sleeper.process.stderr is not None
            said = sleeper.process.stderr.read()
            assert "biosignal is not granted: you opted out" in said
            assert "'voise' is not a purpose" in said


def test_who_opts_out_while_they_wait_comes_in_and_allows_nothing(data: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "button"
    os.mkfifo(pipe)
    with sanctuary(data):
        circle = create(data, "--draft")
        with (
            terminal("join", circle, "--json-lines", data=data) as one,
            terminal("join", circle, "--json-lines", "--gesture", str(pipe), data=data) as two,
        ):
            one.until(event="waiting")
            two.until(event="waiting")
            for waiting in (one, two):
                if waiting is one:
                    one.process.send_signal(signal.SIGUSR1)
                else:
                    pipe.write_text("optout voice\n")
                assert waiting.process.stderr is not None
                while "opted out" not in (line := waiting.process.stderr.readline()):
                    assert line
            answer("circle", "open", circle, data=data)
            assert one.until(event="joined")["granted"] == []
            assert two.until(event="joined")["granted"] == ["presence", "hearing", "visibility"]
            one.until(muted=True)


def test_who_opts_out_and_does_not_get_in_has_taken_it_back_the_next_time(data: Path, tmp_path: Path) -> None:
    state = tmp_path / "me.json"
    with sanctuary(data) as (serving, place):
        circle = create(data)
        assert harmonia("join", circle, "--state", str(state), "--seconds", "0.1", data=data).returncode == 0
        serving.process.send_signal(signal.SIGSTOP)
        pipe = tmp_path / "button"
        os.mkfifo(pipe)
        with terminal("join", "--state", str(state), "--gesture", str(pipe), data=data) as sleeper:
            pipe.write_text("optout voice\n")
            assert sleeper.process.stderr is not None
            assert "opted out" in sleeper.process.stderr.readline()
            serving.end(signal.SIGKILL)
            assert sleeper.process.wait(PATIENCE_S) == 5
    with sanctuary(data, "--port", str(place["grpc_port"])):
        assert allows(data, state)["voice"]["granted"]
        with terminal("join", "--state", str(state), "--json-lines", data=data) as sleeper:
            joined(sleeper)
            eventually(lambda: not allows(data, state)["voice"]["granted"])
            assert allows(data, state)["hearing"]["granted"]


def test_a_key_that_was_pressed_before_anybody_listens_counts(data: Path) -> None:
    with sanctuary(data):
        circle = create(data, "--gather", "1")
        keyboard, screen = pty.openpty()
        os.write(keyboard, b"o")
        environment = {**os.environ, "HARMONIA_DATA": str(data), "TERM": "xterm"}
        with subprocess.Popen([*COMMAND, "join", circle], stdin=screen, stdout=screen, env=environment) as process:
            shown = threading.Event()
            threading.Thread(target=_read_all, args=(keyboard, shown), daemon=True).start()
            try:
                assert shown.wait(PATIENCE_S)
                assert not any(one["granted"] for one in allows(data).values())
            finally:
                process.kill()
                os.close(screen)


def test_who_cannot_leave_is_told_so_and_takes_everything_back(data: Path, tmp_path: Path) -> None:
    with sanctuary(data) as (serving, place):
        circle = create(data, "--gather", "1")
        mix = str(tmp_path / "mix.wav")
        join = ("join", circle, "--json-lines", "--interval", "0.05", "--control", "--output", mix)
        with terminal(*join, data=data) as sleeper:
            sleeper_id = joined(sleeper)
            serving.process.send_signal(signal.SIGSTOP)
            sleeper.tell("quit")
            sleeper.until(event="end")
            sleeper.process.send_signal(signal.SIGUSR1)  # a no is heard to the very end
            assert sleeper.process.wait(PATIENCE_S) == 0
            assert sleeper.process.stderr is not None
            said = sleeper.process.stderr.read()
            assert said.count("you could not leave") == 1
            assert f"circle leave --sleeper {sleeper_id}" in said
        serving.end(signal.SIGKILL)
    with sanctuary(data, "--port", str(place["grpc_port"])):
        assert allows(data)["voice"]["granted"]
        with terminal("join", "--sleeper", sleeper_id, "--json-lines", data=data) as back:
            assert back.until(event="joined")["new"] is False
            eventually(lambda: not any(one["granted"] for one in allows(data).values()))
        assert harmonia("circle", "leave", "--sleeper", sleeper_id, data=data).returncode == 0


def test_one_key_withdraws_one_purpose_and_one_key_everything(data: Path) -> None:
    with sanctuary(data):
        circle = create(data, "--gather", "1")
        keyboard, screen = pty.openpty()
        environment = {**os.environ, "HARMONIA_DATA": str(data), "TERM": "xterm"}
        with subprocess.Popen([*COMMAND, "join", circle], stdin=screen, stdout=screen, env=environment) as process:
            shown = threading.Event()
            threading.Thread(target=_read_all, args=(keyboard, shown), daemon=True).start()
            try:
                assert shown.wait(PATIENCE_S)
                os.write(keyboard, b"wc")
                eventually(lambda: not allows(data)["voice"]["granted"])
                assert allows(data)["hearing"]["granted"]
                os.write(keyboard, b"wzwo")  # z is nothing
                eventually(lambda: not any(one["granted"] for one in allows(data).values()))
                os.write(keyboard, b"q")
                assert process.wait(PATIENCE_S) == 0
            finally:
                process.kill()
                os.close(screen)


def _read_all(descriptor: int, shown: threading.Event) -> None:
    """Somebody has to look at the screen, or who draws on it waits."""
    seen = b""
    with suppress(OSError):
        while chunk := os.read(descriptor, 65536):
            seen = (seen + chunk)[-100_000:]
            if b"opts out" in seen:
                shown.set()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["grant", "voice", "--for", "soon"], "no length of time"),
        (["grant", "voice", "--for", "3h", "--until", "03:00"], "not both"),
        (["grant", "voice", "--until", "yesterday"], "is no time"),
        (["grant", "voice", "--level", "7"], "0<=x<=1"),
        (["advance", "add"], "one reason"),
        (["advance", "add", "--after", "3h", "--waking"], "one reason"),
        (["advance", "add", "--waking", "--spl"], "--spl to --louder"),
        (["offer", "circle"], "say in TEXT"),
        (["offer", "circle", "text", "--consent", "voise"], "no consent to offer"),
        (["join", "circle", "--taps", "2"], "give both"),
        (["join", "circle", "--gesture", "/dev/null"], "no named pipe"),
    ],
)
def test_bad_input_is_one_clear_line(tmp_path: Path, words: list[str], said: str) -> None:
    done = harmonia(*words, data=tmp_path / "data")
    assert done.returncode == 2
    assert said in done.stderr and done.stderr.count("\n") == 1
