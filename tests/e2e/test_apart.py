"""Keeping apart with real processes: what one sleeper hears of another, before, during and after."""

from contextlib import ExitStack
from pathlib import Path

from tests.e2e.terminal import Terminal, answer, harmonia, sanctuary, terminal

SCORE = """
end = "01:00:00"
rhythm = [{ at = 0, hz = 4.0 }]
[tone-sets]
one = [{ wave = "binaural", carrier_hz = 110, locked = 1, amplitude_pct = 20 }]
[[timeline]]
at = 0
play = "one"
"""


def until_heard(one: Terminal, heard: bool) -> None:
    """Waits for a moment in which the mix sounds, or does not."""
    for _ in range(1000):
        if (one.line()["level_dbfs"] > -60) == heard:
            return
    raise AssertionError(f"the others were never {'heard' if heard else 'silent'}")


def test_a_sleeper_does_not_hear_whom_they_do_not_want_to_hear(tmp_path: Path) -> None:
    (tmp_path / "night.toml").write_text(SCORE)
    data = tmp_path / "data"
    with ExitStack() as stack:
        stack.enter_context(sanctuary(data))
        score = ("--score", str(tmp_path / "night.toml"))
        circle = answer("circle", "create", *score, "--gather", "0", data=data)["circle_id"]
        join = ("join", circle, "--json-lines", "--interval", "0.1", "--own", "0")
        ann, ben = (stack.enter_context(terminal(*join, data=data)) for _ in range(2))
        ann_id, ben_id = (one.until(event="joined")["sleeper_id"] for one in (ann, ben))

        def apart(*arguments: str) -> object:
            return answer("apart", *arguments, "--sleeper", ann_id, data=data)["apart"]

        for one in (ann, ben):
            one.until(lock_state="locked", circle_state="entraining")
            until_heard(one, True)
        assert apart() == []
        assert apart(ben_id, "--unheard") == [{"other_id": ben_id, "unheard": True, "unhearing": False}]
        until_heard(ann, False)
        assert apart(ben_id, "--unhearing") == apart() == [{"other_id": ben_id, "unheard": True, "unhearing": True}]
        until_heard(ben, False)
        said = harmonia("apart", ben_id, "--undo", "--unheard", "--sleeper", ann_id, data=data)
        assert said.stdout == f"{ann_id} is not heard by {ben_id}\n", said
        until_heard(ann, True)
        assert apart(ben_id, "--undo") == []
        until_heard(ben, True)
