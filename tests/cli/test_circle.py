"""`harmonia circle`: templates, and options that do not belong together: said before a sanctuary is asked."""

import json
from pathlib import Path

import pytest

from harmonia.cli.circle import create
from harmonia.cli.circle_template import KEYS, every
from tests.cli.conftest import Run


def test_templates_that_come_with_the_program_are_whole(harmonia: Run, tmp_path: Path) -> None:
    names = list(every(tmp_path))
    assert names == ["concert-night", "nap", "research-night"]
    for name in names:
        code, out, _ = harmonia("circle", "template", "show", name, "--data", str(tmp_path), "--json")
        assert code == 0
        assert json.loads(out)["capacity"] > 0
    assert set(KEYS.values()) <= {param.name for param in create.params}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("capacity = 3\nminutez = 4\n", ":2: 'minutez' is nothing that a template can say; choose of title"),
        ("# a night\n\nmode = 'loud'\n", ":3: mode: 'loud' is not one of"),
        ("capacity = 0\n", ":1: capacity: 0 is not in the range"),
        ("capacity = \n", ":1: "),
        ("title = 'x'\nzone = true\n", ":2: zone must be a text or a number"),
        ("[wake]\nfrom = '06:30'\n", ":1: wake must be a text or a number"),
    ],
)
def test_a_mistake_in_a_template_is_said_with_its_line(harmonia: Run, tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    code, _, err = harmonia("circle", "template", "save", "mine", str(file), "--data", str(tmp_path))
    assert code == 2
    assert f"{file}{said}" in err
    assert "mine" not in every(tmp_path)


def test_a_template_of_ones_own_is_kept_goes_first_and_is_removed(harmonia: Run, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    (tmp_path / "mine.sbg").write_text("x")
    file.write_text("score = 'mine.sbg'\ncapacity = 5\n")
    data = ("--data", str(tmp_path))
    assert harmonia("circle", "template", "save", "nap", str(file), *data)[0] == 0
    _, out, _ = harmonia("circle", "template", "show", "nap", "--json", *data)
    assert json.loads(out) == {"score": str(tmp_path / "mine.sbg"), "capacity": 5}
    assert harmonia("circle", "template", "rm", "nap", *data)[0] == 0
    code, _, err = harmonia("circle", "template", "rm", "nap", *data)
    assert (code, "comes with the program" in err) == (2, True)
    assert harmonia("circle", "template", "save", "../x", str(file), *data)[0] == 2
    assert harmonia("circle", "template", "show", "no", *data)[0] == 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--gather-at", "2026-12-04 22:00"], "need --lights-out"),
        (["--lights-out", "23:00"], "and --zone"),
        (["--lights-out", "23:00", "--zone", "UTC", "--gather", "5"], "not both"),
        (["--wake", "07:00", "--lights-out", "23:00", "--zone", "UTC", "--minutes", "5"], "not both"),
        (["--except", "2026-12-04"], "belong to --every"),
        (["--every", "friday"], "a series needs times of day"),
        (["--every", "friday", "--gather", "5"], "a series needs times of day"),
        (["--template", "no"], "no template 'no'; there are concert-night, nap, research-night"),
    ],
)
def test_options_that_do_not_belong_together_are_refused(
    harmonia: Run, tmp_path: Path, options: list[str], said: str
) -> None:
    code, _, err = harmonia("circle", "create", "--score", "x.sbg", "--data", str(tmp_path), *options)
    assert code in (2, 3)
    assert said in err
