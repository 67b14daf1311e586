"""What `harmonia join` reads and prints."""

import cmath
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from harmonia.cli.common import find_sleeper, put_by, sleepers_dir
from harmonia.cli.doors import chosen, keys
from harmonia.cli.join import moment_json, parse_voice, spread_voice
from harmonia.client import EVERY_PURPOSE, Endpoint, Identity, LockState, Moment
from harmonia.errors import BadInput, NotFound
from tests.client.test_identity import someone


def test_a_voice_is_amplitudes_and_turns() -> None:
    voice = parse_voice("1,0.5@0.25,0")
    assert [abs(c) for c in voice] == pytest.approx([1, 0.5, 0])
    assert cmath.phase(voice[1]) / (2 * math.pi) == pytest.approx(0.25)


@pytest.mark.parametrize("text", ["", "loud", "1@", "-1", "4.1", "nan", "1@inf", "1,,1", "1 2"])
def test_what_is_no_voice_is_refused(text: str) -> None:
    if text == "1@":
        assert parse_voice(text) == [1]
    else:
        with pytest.raises(BadInput, match="AMPLITUDE@TURNS"):
            parse_voice(text)


def test_one_coefficient_stands_for_all_channels_and_other_counts_are_refused() -> None:
    assert spread_voice([1j], 3) == [1j] * 3
    assert spread_voice([1, 2], 2) == [1, 2]
    with pytest.raises(BadInput, match="3 channels"):
        spread_voice([1, 2], 3)


def test_a_moment_is_json_even_in_silence() -> None:
    moment = Moment(LockState.LOCKED, 1, 2, 3, 4, 5, 6, 0.5, -0.25, -math.inf, True)
    line = json.loads(json.dumps(moment_json(moment), allow_nan=False))
    assert line["lock_state"] == "locked"
    assert line["level_dbfs"] == -120


def lay_down(folder: Path, sleeper_id: str, circle_id: str) -> None:
    one = someone(folder / "sleepers" / f"{sleeper_id}.json")
    one.sleeper_id, one.circle_id = sleeper_id, circle_id
    one.save()


def test_the_only_sleeper_is_meant_and_several_have_to_be_chosen_from(tmp_path: Path) -> None:
    lay_down(tmp_path, "s-one", "c-a")
    assert find_sleeper(tmp_path, None).sleeper_id == "s-one"
    lay_down(tmp_path, "s-two", "c-b")
    with pytest.raises(BadInput, match=r"--sleeper.*s-one.*s-two"):
        find_sleeper(tmp_path, None)
    assert find_sleeper(tmp_path, "s-t").sleeper_id == "s-two"
    assert find_sleeper(tmp_path, None, "c-a").sleeper_id == "s-one"
    with pytest.raises(NotFound, match="s-one, s-two"):
        find_sleeper(tmp_path, "s-three")


def test_a_sleeper_may_be_named_by_file(tmp_path: Path) -> None:
    path = tmp_path / "me.json"
    someone(path).save()
    assert find_sleeper(tmp_path / "elsewhere", str(path)).endpoint == Endpoint("127.0.0.1", 1, "PEM")
    assert isinstance(find_sleeper(tmp_path, str(path)), Identity)


def test_a_sleeper_starts_without_the_heavy_libraries() -> None:
    """Fifty processes start at once on two cores: plotting, tables and arrays are loaded by who needs them."""
    code = "import sys, harmonia.cli.main, harmonia.cli.join; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"matplotlib", "rich", "numpy", "apsw", "harmonia.rpc", "harmonia.night"} & set(loaded)


def test_each_purpose_has_a_key_of_its_own_to_withdraw_it() -> None:
    keys = [chr(ord("a") + place).encode() for place in range(12)]
    assert [chosen(key) for key in keys] == list(EVERY_PURPOSE)
    for other in (b"o", b"q", b"m", b"\x1b[C", b"", b"A", "ä".encode()):
        assert chosen(other) is None


def test_a_sleeper_whose_night_is_over_is_found_only_where_that_is_asked_for(tmp_path: Path) -> None:
    file = sleepers_dir(tmp_path) / "s.json"
    someone(file).save()
    put_by(tmp_path, file, "s")
    assert not file.exists()
    with pytest.raises(NotFound):
        find_sleeper(tmp_path, None)
    assert find_sleeper(tmp_path, None, past=True).sleeper_id == "s"
    here = someone(sleepers_dir(tmp_path) / "t.json")
    here.sleeper_id = "t"
    here.save()
    assert find_sleeper(tmp_path, None, past=True).sleeper_id == "t"
    assert find_sleeper(tmp_path, "s", past=True).sleeper_id == "s"
    put_by(tmp_path, file, "s")  # gone already: nothing to keep


def test_keys_that_come_at_once_are_so_many_keys() -> None:
    assert keys(b"oo") == [b"o", b"o"]
    assert keys(b"wc\x1b[Co\x1b[D\n") == [b"w", b"c", b"\x1b[C", b"o", b"\x1b[D", b"\n"]
    assert keys(b"") == []
