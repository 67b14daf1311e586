"""`harmonia bench clock` measures what it says; how fast this machine is, is not its test's business."""

import json
import math

from click.testing import CliRunner

from harmonia.cli.main import cli

KINDS = ["echo", "plain", "circle", "nts", "nts_gcm_siv"]


def test_the_figures_are_there_and_fit_together() -> None:
    result = CliRunner().invoke(cli, ["bench", "clock", "--seconds", "0.5", "--json"])
    assert result.exit_code == 0, result.output
    measured = json.loads(result.output)
    for kind in KINDS:
        assert measured[f"{kind}_answers"] > 0
        assert measured[f"{kind}_per_cpu_s"] > 0
    for kind in KINDS[1:]:
        ratio = measured[f"{kind}_per_cpu_s"] / measured["echo_per_cpu_s"]
        assert math.isclose(measured[f"{kind}_ratio"], ratio)


def test_a_person_sees_a_table() -> None:
    result = CliRunner().invoke(cli, ["bench", "clock", "--seconds", "0"])
    assert result.exit_code == 0, result.output
    assert len(result.output.splitlines()) == 1 + len(KINDS)
