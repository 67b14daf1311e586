"""A night steward at work through real processes: a role from a file, a silent room, help, a fire, petitions."""

import os
import pty
import socket
import subprocess
import wave
from contextlib import ExitStack, suppress
from pathlib import Path
from queue import SimpleQueue
from select import select
from threading import Thread
from typing import Any

import numpy as np
import pytest
import trio

from harmonia.client import Purpose, join
from tests.e2e.terminal import COMMAND, PATIENCE_S, Terminal, answer, harmonia, sanctuary, terminal
from tests.e2e.test_udp import until

SCORE = """
end = "01:00:00"
rhythm = 4.0
[tone-sets]
one = [{ wave = "binaural", carrier_hz = 110, locked = 1, amplitude_pct = 20 }]
[[timeline]]
at = 0
play = "one"
transition = "cut"
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "night.toml").write_text(SCORE)
    return tmp_path / "data"


def loud(one: Terminal) -> bool:
    """Waits until this platform plays something."""
    for _ in range(1000):
        if one.line().get("level_dbfs", -120) > -40:
            return True
    raise AssertionError("it never sounded")


def still(one: Terminal) -> bool:
    """Waits until this platform plays nothing."""
    for _ in range(1000):
        if one.line().get("level_dbfs", 0) == -120:
            return True
    raise AssertionError("it never fell silent")


def silence_told(one: Terminal) -> dict[str, Any]:
    """The next silence of which it is known who said so: frames may have been faster, and do not say."""
    silence: dict[str, Any] = one.until(event="silenced")["silence"]
    while not silence["by"]:
        silence = one.until(event="silenced")["silence"]
    return silence


def test_a_steward_silences_a_room_answers_a_call_and_lifts(data: Path) -> None:
    role = str(data.parent / "sam.role")
    with ExitStack() as stack:
        daemon, place = stack.enter_context(sanctuary(data))
        score = str(data.parent / "night.toml")
        circle = answer("circle", "create", "--score", score, "--gather", "0", data=data)["circle_id"]
        granted = answer("circle", "role", "grant", circle, "steward", "--name", "Sam", "--output", role, data=data)
        join = ("join", circle, "--json-lines", "--interval", "0.1", "--control", "--light", "0.5")
        one, two = (stack.enter_context(terminal(*join, "--output", str(data.parent / n), data=data)) for n in "ab")
        name = one.until(event="joined")["sleeper_id"]
        other = two.until(event="joined")["sleeper_id"]
        assert loud(one) and loud(two)

        # Help, from somebody who has withdrawn everything.
        answer("optout", "--sleeper", other, data=data)
        assert still(two)
        (call,) = answer("help", "--sleeper", other, "--message", "dizzy", data=data)
        room = answer("steward", role, "--once", data=data)
        (shown,) = room["calls"]
        assert (shown["place"], shown["message"], shown["sleeper_id"]) == (call["place"], "dizzy", "")
        assert [bed["sleeper_id"] for bed in room["beds"]] == [name], "who withdrew is not shown"
        answer("steward", "coming", role, call["help_id"], data=data)
        seen = two.until(event="help")["calls"]
        while not seen[0]["by"]:
            seen = two.until(event="help")["calls"]
        assert seen[0]["by"] == "Sam"
        answer("steward", "resolved", role, call["help_id"], data=data)

        # A silent room, over a crash of the sanctuary.
        silence = answer("steward", "alarm", role, "--message", "fire", data=data)
        said = silence_told(one)
        assert (said["message"], said["by"], said["alarm"]) == ("fire", "Sam", True)
        moment = one.until(room_silent=True)
        assert moment["light"] == 0.5
        assert still(one)
        daemon.end(9)
        ports = ("--port", str(place["grpc_port"]), "--udp-port", str(place["udp_port"]))
        stack.enter_context(sanctuary(data, *ports))
        assert one.until(connected=True)["room_silent"]
        room = answer("steward", role, "--once", data=data)
        assert room["silence"]["silence_id"] == silence["silence_id"]

        answer("steward", "lift", role, data=data)
        assert one.until(event="silenced")["silence"] is None
        assert loud(one)
        assert silence_told(two)["by"] == "Sam"
        assert two.until(room_silent=False)["muted"], "a lift is nobody's yes"
        harmonia("circle", "role", "revoke", circle, granted["role_id"], data=data)
        refused = harmonia("steward", "silence", role, data=data)
        assert refused.returncode == 4
        assert refused.stderr == "error: this role of steward has been revoked: ask the host for another\n"
        nothing = harmonia("steward", "lift", circle, data=data)
        assert (nothing.returncode, nothing.stderr) == (2, "error: this room is not silent: there is nothing to lift\n")


class Wire:
    """Stands before a daemon's gRPC port: passes connections on, or breaks them all and takes no more."""

    def __init__(self, grpc_port: int) -> None:
        self._front = socket.create_server(("127.0.0.1", 0))
        self._grpc_port = grpc_port
        self._orders, self._hand = socket.socketpair()
        self.port: int = self._front.getsockname()[1]
        self._thread = Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        other: dict[socket.socket, socket.socket] = {}
        broken = False

        def hang_up(*ends: socket.socket) -> None:
            for end in ends:
                other.pop(end, None)
                end.close()

        while True:
            for one in select([self._orders, self._front, *other], [], [])[0]:
                if one is self._orders:
                    order = one.recv(1)
                    broken = order != b"m"
                    if broken:
                        hang_up(*other)
                    if order == b"e":
                        return
                elif one is self._front:
                    front, _ = one.accept()
                    if broken:
                        front.close()
                        continue
                    back = socket.create_connection(("127.0.0.1", self._grpc_port))
                    other |= {front: back, back: front}
                elif one in other:
                    try:
                        part = one.recv(65536)
                        other[one].sendall(part)
                    except OSError:
                        part = b""
                    if not part:
                        hang_up(one, other[one])

    def cut(self) -> None:
        self._hand.send(b"c")

    def mend(self) -> None:
        self._hand.send(b"m")

    def close(self) -> None:
        self._hand.send(b"e")
        self._thread.join()
        for one in (self._front, self._orders, self._hand):
            one.close()


def test_frames_alone_silence_a_room_score_and_all_and_lift_that_for_whoever_has_not_opted_out(data: Path) -> None:
    heard = data.parent / "heard.wav"

    async def steward(*words: str) -> Any:
        return await trio.to_thread.run_sync(lambda: answer("steward", *words, data=data))

    async def night(circle: str, invitation: str, wire: Wire) -> None:
        grants = (Purpose.HEARING, Purpose.VOICE, Purpose.VISIBILITY, Purpose.RECORDING)
        async with join(invitation, grants=grants, recording=True) as one:
            one.record(heard)

            def plays() -> bool:
                return one.now().sound.peak_dbfs > -50

            def is_still() -> bool:
                return one.now().sound.peak_dbfs == -120

            await until(plays)
            wire.cut()
            await until(lambda: not one.connected)
            assert plays(), "on its own"
            await steward("alarm", circle, "--message", "fire")
            await until(is_still)
            said = one.silence
            assert said is not None
            assert (said.alarm, said.message, one.light(0.5)) == (True, "", 0.5)
            assert not one.connected
            bed = (await steward(circle, "--once"))["beds"][0]
            assert bed["sleeper_id"] == one.sleeper_id
            assert "sounding" not in str(bed["troubles"]).lower()

            await steward("lift", circle)
            await until(plays)
            assert one.silence is None
            assert not one.connected

            # Of what comes by both ways the newer counts: the stream is back, and later dies in a silent room.
            wire.mend()
            await until(lambda: one.connected)
            await steward("silence", circle, "--message", "hush")
            await until(lambda: one.silence is not None and one.silence.message == "hush")
            await until(is_still)
            wire.cut()
            await until(lambda: not one.connected)
            await steward("lift", circle)
            await until(plays)
            assert not one.connected

            await steward("silence", circle)
            await until(is_still)
            one.platform.withdraw(bytes(range(16)), (), 0)
            await steward("lift", circle)
            await until(lambda: not one.now().room_silent)
            (now_ns, _), core = one.platform.core.next_sample() or (0, 0), one.platform.core
            await until(lambda: (core.next_sample() or (0, 0))[0] > now_ns + 1_000_000_000)
            assert is_still(), "a lift is nobody's yes"
            one.stop_recording()

    with sanctuary(data) as (_, place):
        score = str(data.parent / "night.toml")
        circle = answer("circle", "create", "--score", score, "--gather", "0", data=data)["circle_id"]
        wire = Wire(place["grpc_port"])
        try:
            invitation = answer("invite", circle, data=data)[0]
            port = str(place["grpc_port"])
            assert invitation.count(port) == 1
            trio.run(night, circle, invitation.replace(port, str(wire.port)), wire)
        finally:
            wire.close()
    with wave.open(str(heard)) as file:
        rate = file.getframerate()
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16).reshape(-1, 2)
    sounding = np.flatnonzero(np.abs(samples).max(axis=1))
    silences = np.flatnonzero(np.diff(sounding) > rate / 3)
    assert len(silences) == 2, "each of two silences, and sound after it"
    assert len(samples) - sounding[-1] > rate, "and none after the opt-out"


def test_a_lift_of_an_alarm_that_outlasted_its_circle_is_heard_by_who_sleeps_on_alone(data: Path) -> None:
    with ExitStack() as stack:
        stack.enter_context(sanctuary(data))
        score = str(data.parent / "night.toml")
        circle = answer("circle", "create", "--score", score, "--gather", "0", data=data)["circle_id"]
        join = ("join", circle, "--json-lines", "--interval", "0.1", "--control", "--schedule-offset", "2")
        one = stack.enter_context(terminal(*join, data=data))
        assert loud(one)
        answer("steward", "alarm", circle, "--message", "fire", data=data)
        assert still(one)
        answer("circle", "close", circle, data=data)
        one.until(circle_state="closed")
        assert still(one)
        answer("steward", "lift", circle, data=data)
        assert loud(one)


def test_a_petition_and_a_dialogue_beside_the_night(data: Path) -> None:
    with ExitStack() as stack:
        stack.enter_context(sanctuary(data))
        score = str(data.parent / "night.toml")
        circle = answer("circle", "create", "--score", score, "--gather", "0", data=data)["circle_id"]
        advocate = answer("circle", "role", "grant", circle, "advocate", "--name", "Ann", data=data)["key"]
        guest = answer("circle", "role", "grant", circle, "guest", "--name", "Lee", data=data)["key"]
        one = stack.enter_context(terminal("join", circle, "--json-lines", data=data))
        name = one.until(event="joined")["sleeper_id"]
        made = answer("petition", "less bass", data=data)
        gone = answer("petition", "make", "more bass", data=data)
        assert answer("petition", "withdraw", gone["petition_id"], data=data)["withdrawn"]
        assert answer("petition", "inbox", "--as", advocate, data=data) == [
            {"petition_id": made["petition_id"], "text": "less bass"}
        ]
        filed = answer("petition", "file", made["petition_id"], "--topic", "bass", "--as", advocate, data=data)
        dialogue = filed["dialogue_id"]
        answer("dialogue", "say", dialogue, "I agree", data=data)
        answer("dialogue", "close", dialogue, "--outcome", "it is lower", "--as", circle, data=data)
        read = answer("dialogue", "show", dialogue, data=data)
        assert [(s["role"], s["text"]) for s in read["statements"]] == [
            ("advocate", "less bass"),
            ("sleeper", "I agree"),
        ]
        assert read["outcome"] == "it is lower"
        assert name not in str(read)
        assert [one["dialogue_id"] for one in answer("petition", "ls", data=data)] == [dialogue, ""]
        assert answer("circle", "look", guest, data=data)["sleepers"] == 1
        for refused in (
            harmonia("dialogue", "ls", "--as", advocate, data=data),
            harmonia("dialogue", "ls", "--as", guest, data=data),
            harmonia("circle", "look", advocate, data=data),
        ):
            assert refused.returncode == 4
            assert refused.stderr.startswith("error: only host or ")
            assert refused.stderr.count("\n") == 1


class Screen:
    """A command in a terminal of its own, with keys. Read all the while, or its command would wait to be read."""

    def __init__(self, stack: ExitStack, data: Path, *arguments: str) -> None:
        self.hand, screen = pty.openpty()
        self._seen: SimpleQueue[bytes] = SimpleQueue()
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=screen,
            stdout=screen,
            stderr=screen,
            env={**os.environ, "HARMONIA_DATA": str(data)},
            start_new_session=True,
        )
        os.close(screen)
        reader = Thread(target=self._read, daemon=True)
        reader.start()
        stack.callback(os.close, self.hand)
        stack.callback(reader.join)
        stack.callback(self.process.wait)
        stack.callback(self.process.kill)

    def _read(self) -> None:
        with suppress(OSError):  # how a terminal ends whose command has ended
            while part := os.read(self.hand, 4096):
                self._seen.put(part)

    def press(self, keys: bytes) -> None:
        os.write(self.hand, keys)

    def until(self, words: bytes) -> None:
        """Waits until these words are shown, from here on."""
        seen = b""
        while words not in seen:
            seen = (seen + self._seen.get(timeout=PATIENCE_S))[-8192:]


def test_one_key_each_calls_for_help_answers_silences_and_lifts(data: Path) -> None:
    with ExitStack() as stack:
        stack.enter_context(sanctuary(data))
        score = str(data.parent / "night.toml")
        circle = answer("circle", "create", "--score", score, "--gather", "0", data=data)["circle_id"]
        steward = Screen(stack, data, "steward", circle)
        sleeper = Screen(stack, data, "join", circle)

        def silent() -> Any:
            return answer("steward", circle, "--once", data=data)["silence"]

        sleeper.until(b"h calls for help")
        sleeper.press(b"h")
        steward.until(b"HELP at place 1")
        steward.press(b"c")
        sleeper.until(b"is coming to place 1")
        sleeper.press(b"a")
        sleeper.until(b"you are waking")
        sleeper.press(b"a")
        steward.press(b"r")
        steward.until(b"resolved: place 1")
        steward.press(b"s")
        sleeper.until(b"the room is silent, by the host")
        assert not silent()["alarm"]
        steward.press(b"l")
        steward.until(b"lifted")
        assert silent() is None
        steward.press(b"a")
        steward.until(b"press a again")
        steward.press(b"aa")
        sleeper.until(b"ALARM, by the host")
        assert silent()["alarm"]
        steward.press(b"c")
        steward.until(b"no call waits for that")
        steward.press(b"q")
        assert steward.process.wait(PATIENCE_S) == 0


def test_a_call_for_help_outlives_a_dead_sanctuary_and_a_dead_platform_and_is_taken_back(data: Path) -> None:
    with ExitStack() as stack:
        daemon, place = stack.enter_context(sanctuary(data))
        score, state = str(data.parent / "night.toml"), data.parent / "me.json"
        circle = answer("circle", "create", "--score", score, "--gather", "0", data=data)["circle_id"]
        join = ("join", circle, "--json-lines", "--interval", "0.1", "--control", "--state", str(state))
        one = stack.enter_context(terminal(*join, data=data))
        one.until(connected=True)
        daemon.end(9)
        one.until(connected=False)
        one.tell("help dizzy")
        while "dizzy" not in state.read_text():
            one.line()
        one.end(9)
        ports = ("--port", str(place["grpc_port"]), "--udp-port", str(place["udp_port"]))
        stack.enter_context(sanctuary(data, *ports))
        two = stack.enter_context(terminal(*join, data=data))
        (call,) = two.until(event="help")["calls"]
        assert call["message"] == "dizzy"
        (shown,) = answer("steward", circle, "--once", data=data)["calls"]
        assert shown["help_id"] == call["help_id"]
        two.tell("take-back")
        while not call["taken_back"]:
            (call,) = two.until(event="help")["calls"]
        assert answer("steward", circle, "--once", data=data)["calls"][0]["taken_back"]
        assert answer("help", "--take-back", "--sleeper", str(state), data=data) == []
        two.end(9)
        three = stack.enter_context(terminal(*join, data=data))
        three.until(connected=True)
        (kept,) = answer("help", "--ls", "--sleeper", str(state), data=data)
        assert kept["help_id"] == call["help_id"], "shown once"
        made = answer("help", "--sleeper", str(state), data=data)
        gone = answer("help", "--take-back", "--sleeper", str(state), data=data)
        assert [(one["help_id"], one["taken_back"]) for one in gone] == [(made[0]["help_id"], True)]
        refused = harmonia("help", "--take-back", "--ls", data=data)
        assert refused.returncode == 2
        assert refused.stderr.startswith("error: --take-back takes back all your calls that wait")
