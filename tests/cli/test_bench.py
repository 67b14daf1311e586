"""`harmonia bench` measures what it says; how fast this machine is, is not its test's business."""

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


def test_platforms_are_measured_while_they_live() -> None:
    result = CliRunner().invoke(cli, ["bench", "platforms", "--platforms", "3", "--seconds", "1.5", "--json"])
    assert result.exit_code == 0, result.output
    measured = json.loads(result.output)
    assert measured["platforms"] == measured["locked"] == 3
    assert measured["us_per_platform_s"] > 0
    assert measured["exchanges"] >= 3
    assert measured["frames"] >= 3
    shown = CliRunner().invoke(cli, ["bench", "platforms", "--platforms", "1", "--seconds", "0.1"])
    assert "1 platforms, 1 of them locked" in shown.output
