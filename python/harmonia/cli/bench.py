"""`harmonia bench`: what the engine costs on this machine."""

import click

from harmonia import _core
from harmonia.cli.bench_journal import journal
from harmonia.cli.bench_mix import mix
from harmonia.cli.bench_optout import optout
from harmonia.cli.bench_rhythm import rhythm
from harmonia.cli.common import echo_json, json_option

_KINDS = {
    "echo": "bare echo of 48 bytes",
    "echo_long": "bare echo, as long as NTS",
    "plain": "NTP",
    "circle": "NTP with the circle's field",
    "nts": "NTS, AES-SIV-CMAC-256",
    "nts_gcm_siv": "NTS, AES-128-GCM-SIV",
}


@click.group()
def bench() -> None:
    """Measure what the engine costs on this machine."""


bench.add_command(mix)
bench.add_command(rhythm)
bench.add_command(optout)
bench.add_command(journal)


@bench.command()
@click.option(
    "--seconds", type=click.FloatRange(0, 600), default=5.0, show_default=True, help="How long to measure, in all."
)
@json_option
def clock(seconds: float, as_json: bool) -> None:
    """Answers of the node for a second of CPU time, beside a bare echo in the same run.

    Only the answering thread's CPU time counts, so the figures hold on a busy machine too; the ratio holds best.
    """
    measured = _core.bench_clock(seconds)
    if as_json:
        echo_json(measured)
        return
    click.echo(f"{'':28} {'answers':>10} {'a CPU-second':>13} {'of the echo':>12}")
    for name, meaning in _KINDS.items():
        ratio = measured.get(f"{name}_ratio")
        share = "" if ratio is None else f"{ratio:.0%}"
        rate, answers = measured[f"{name}_per_cpu_s"], measured[f"{name}_answers"]
        click.echo(f"{meaning:28} {answers:>10} {rate:>13.0f} {share:>12}")


@bench.command()
@click.option(
    "--platforms", type=click.IntRange(1, 20_000), default=1000, show_default=True, help="How many, in one process."
)
@click.option(
    "--seconds",
    type=click.FloatRange(0, 600),
    default=5.0,
    show_default=True,
    help="How long to measure, after all are locked.",
)
@json_option
def platforms(platforms: int, seconds: float, as_json: bool) -> None:
    """CPU time that a platform costs beside many others in one process, for a second of its night.

    Only the thread that serves them counts: exchanges, statuses and mix frames. A lone platform costs more, as nobody
    shares its wakings.
    """
    measured = _core.bench_hub(platforms, seconds)
    if as_json:
        echo_json(measured)
        return
    click.echo(
        f"{measured['platforms']} platforms, {measured['locked']} of them locked: "
        f"{measured['us_per_platform_s']:.1f} µs of CPU time for a platform and second "
        f"({measured['exchanges']} exchanges, {measured['frames']} frames)"
    )
