"""`harmonia bench` measures what it says; how fast this machine is, is not its test's business."""

import json
import math
import shutil
import wave
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from harmonia import _core
from harmonia.cli import bench_journal, bench_mix, scsynth
from harmonia.cli.bench_rhythm import NumpyRhythms
from harmonia.cli.main import cli

KINDS = ["echo", "echo_long", "plain", "circle", "nts", "nts_gcm_siv"]


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


def test_coupled_rhythms_are_measured_beside_numpy() -> None:
    result = CliRunner().invoke(cli, ["bench", "rhythm", "--seconds", "0", "--json"])
    assert result.exit_code == 0, result.output
    measured = json.loads(result.output)
    for peer in ("", "numpy_"):
        each = [measured[f"{peer}oscillator_steps_per_s_{size}"] for size in ("1e4", "1e6")]
        assert min(each) > 0
        assert measured[f"{peer}oscillator_steps_per_s"] == min(each)


def test_numpy_steps_the_same_population() -> None:
    """R after the same steps: the peer is measured for the same work."""
    ours, theirs = _core.RhythmBench(10_000), NumpyRhythms(10_000)
    evaluations, _, unity = ours.run(0)
    while evaluations:
        done, _ = theirs.run(0)
        evaluations -= done
    assert math.isclose(theirs.unity(), unity, rel_tol=1e-6)


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


def test_sound_is_measured_beside_its_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    result = CliRunner().invoke(cli, ["bench", "mix", "--seconds", "0", "--sleepers", "2", "--optouts", "0", "--json"])
    assert result.exit_code == 0, result.output
    measured = json.loads(result.output)
    for key in ("multiply_adds_per_s", "kernel_sine_samples_per_s", "sine_samples_per_s", "numpy_sine_samples_per_s"):
        assert measured[key] > 0
    assert math.isclose(measured["sleepers_realtime"], measured["sine_samples_per_s"] / 64 / 48_000)
    assert (measured["scsynth_sine_samples_per_s"] is None) == (shutil.which("scsynth") is None)
    monkeypatch.setenv("PATH", "/nowhere")
    shown = CliRunner().invoke(cli, ["bench", "mix", "--seconds", "0", "--sleepers", "2", "--optouts", "0"])
    assert "scsynth is not installed" in shown.output
    assert "sleepers of 32 binaural channels" in shown.output


def test_numpy_adds_the_same_number_of_sines() -> None:
    assert bench_mix.NumpySines().run(0)[0] == 64 * 512


@pytest.mark.skipif(shutil.which("scsynth") is None, reason="scsynth is not installed")
def test_scsynth_plays_the_sines_that_it_is_measured_for(tmp_path: Path) -> None:
    cpu_s, file = scsynth.render("scsynth", 1, tmp_path)
    assert cpu_s > 0
    with wave.open(str(file)) as opened:
        sound = np.frombuffer(opened.readframes(48_000), "<i2") / 32_768
    spectrum = np.abs(np.fft.rfft(sound)) * 2 / len(sound)
    sines = [170 + 17 * k for k in range(scsynth.SINES)]
    assert np.allclose(spectrum[sines], 0.01, atol=1e-4)
    spectrum[sines] = 0
    assert spectrum.max() < 1e-4


def test_opt_outs_are_measured_at_both_ends() -> None:
    size = ["--count", "40", "--per-s", "100", "--sleepers", "1000", "--circle", "100", "--no-large"]
    result = CliRunner().invoke(cli, ["bench", "optout", *size, "--json"])
    assert result.exit_code == 0, result.output
    measured = json.loads(result.output)
    assert (measured["optouts"], measured["optout_lost"], measured["optout_ticks_max"]) == (40, 0, 1)
    for name in ("tick_p99_ms", "optout_p999_ms", "timer_p999_ms", "optout_rpc_p99_ms"):
        assert measured[name] > 0
    for end in ("optout_first", "optout_last", "optout_seen_last"):
        assert 0 < measured[f"{end}_p50_ms"] <= measured[f"{end}_p999_ms"]
    assert measured["optout_p999_ms"] == measured["optout_last_p999_ms"]


def test_not_forgetting_is_measured_from_appending_to_restarting() -> None:
    size = ["--seconds", "0.1", "--appenders", "8", "--sync-ms", "1", "--events", "2000"]
    result = CliRunner().invoke(cli, ["bench", "journal", *size, "--json"])
    assert result.exit_code == 0, result.output
    measured = json.loads(result.stdout)
    assert (measured["appenders"], measured["sync_ms"], measured["events"]) == (8, 1.0, 2000)
    for name in ("appends_per_s", "append_cpu_us", "events_replay_s", "restart_s", "consent_ms"):
        assert measured[name] > 0
    assert measured["appends_per_s"] <= 8 / 0.001, "each of eight waits for a sync of a millisecond"


def test_the_nights_that_are_read_again_are_the_same_in_every_run() -> None:
    first, second = (list(bench_journal.events(2, 5, 200)) for _ in range(2))
    assert first == second
    assert len(first) == 200
