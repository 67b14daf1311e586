"""What `harmonia steward` and its kin print, and how they are called."""

import json

import pytest
from click.testing import CliRunner

from harmonia.cli.help import call_text
from harmonia.cli.petition import petition
from harmonia.cli.steward import steward
from harmonia.cli.steward_view import room_json, room_text
from harmonia.client import Bed, CircleState, HelpCall, LockState, RoomView, Silence, Trouble

CALL = HelpCall("help-a", 3, "dizzy", 60 * 10**9, "", None, None, "")


def bed(place: int, *troubles: Trouble, visible: bool = True) -> Bed:
    lock = LockState.LOCKED if visible else LockState.UNKNOWN
    name = f"sleeper-{place}" if visible else ""
    return Bed(place, visible, name, troubles, lock, 30_000_000, 8_000_000_000, -31.4, False, 0)


def room(*beds: Bed, calls: tuple[HelpCall, ...] = (), silence: Silence | None = None, dropped: int = 0) -> RoomView:
    return RoomView("circle-a", "Night", CircleState.DREAMING, 90 * 10**9, 4, silence, calls, beds, dropped)


def test_calls_stand_above_everything_and_who_hides_is_a_place() -> None:
    lines = room_text(room(bed(1), bed(2, visible=False), calls=(CALL,), dropped=2)).splitlines()
    assert lines[0] == "Night  dreaming  4 sleepers"
    assert lines[1] == "  HELP at place 3: dizzy, 0:00:30 ago  help-a"
    assert "ALARM: 2 voices dropped" in lines[2]
    assert lines[3:] == ["  well  1: -31 dBFS", "  present and not shown: places 2"]


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (Trouble.NO_SESSION, "not connected yet"),
        (Trouble.SILENT, "nothing comes from its platform for 0:00:08"),
        (Trouble.UNLOCKED, "lost lock"),
        (Trouble.BOUND, "too uncertain (within 30"),
        (Trouble.SOUNDING, "STILL SOUNDS"),
        (Trouble.UNKNOWN, "does not know"),
    ],
)
def test_every_trouble_is_said_in_words(trouble: Trouble, words: str) -> None:
    said = room_text(room(bed(1, trouble)))
    assert words in said
    assert "place 1 (sleeper-1)" in said
    assert "well" not in said


def test_a_silence_says_since_when_by_whom_and_whether_it_is_an_alarm() -> None:
    quiet = Silence("silence-a", "", False, "Sam", 30 * 10**9)
    assert "SILENT for 0:01:00, by Sam" in room_text(room(silence=quiet))
    fire = Silence("silence-a", "get up", True, "Sam", 30 * 10**9)
    assert "ALARM for 0:01:00, by Sam  get up" in room_text(room(silence=fire))


def test_a_program_is_told_of_who_hides_no_more_than_the_place() -> None:
    told = json.loads(json.dumps(room_json(room(bed(1, Trouble.SILENT), bed(2, visible=False)))))
    assert told["beds"][1] == {"place": 2, "visible": False}
    assert (told["beds"][0]["troubles"], told["beds"][0]["lock_state"]) == (["silent"], "locked")


def test_a_caller_sees_what_became_of_their_call() -> None:
    assert call_text(CALL) == "help: called, from place 3; whoever is awake sees it"
    coming = HelpCall("help-a", 3, "", 1, "Sam", 2, None, "")
    assert call_text(coming) == "help: Sam is coming to place 3"
    assert call_text(HelpCall("help-a", 3, "", 1, "Sam", 2, 3, "")) == "help: resolved (Sam)"


def test_the_first_word_may_be_what_is_meant() -> None:
    said = CliRunner().invoke(petition, ["less bass", "--data", "/nonexistent"])
    assert "nobody has joined from" in str(said.exception)
    assert "steward watch" in CliRunner().invoke(steward, ["--once", "--help"]).output
    assert "Commands:" in CliRunner().invoke(steward, ["--help"]).output
