"""`harmonia serve`: the sanctuary's daemon."""

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import click

from harmonia.cli.common import arm_failpoints, data_option, echo_json, read_certificates, stated_options
from harmonia.domain.controller import parse_controller
from harmonia.rpc.server import serve as run_server


@click.command()
@data_option
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to bind; another than loopback needs --certificate and --key, or --expose.",
)
@click.option("--port", type=click.IntRange(0, 65535), default=7117, show_default=True, help="gRPC port; 0 for any.")
@click.option(
    "--udp-port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default=True,
    help="UDP port of sync and mix frames; 0 for any.",
)
@click.option(
    "--upstream",
    "upstreams",
    multiple=True,
    metavar="[nts://]HOST[:PORT]",
    help="Follow this sanctuary or NTP server (port 123 if none is given); repeat it for several, best three or more. "
    "With nts:// it proves its answers, and PORT is that of its key exchange (4460).",
)
@click.option(
    "--ca",
    "cas",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="PEM",
    help="Who must have signed the certificates of nts:// upstreams (a sanctuary's ca.pem), in place of the system's "
    "certificates; may be repeated.",
)
@stated_options
@click.option(
    "--nts-port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Give out keys for NTS (RFC 8915) on this TCP port, 4460 by custom; 0 for any. Without it there is no NTS.",
)
@click.option(
    "--only-authenticated",
    is_flag=True,
    help="Do not answer time requests without NTS, but for those of the circles' own platforms.",
)
@click.option("--certificate", type=click.Path(path_type=Path, dir_okay=False), help="TLS certificate chain (PEM).")
@click.option("--key", type=click.Path(path_type=Path, dir_okay=False), help="Its private key (PEM).")
@click.option("--expose", is_flag=True, help="Bind another address than loopback with a certificate of the local CA.")
@click.option(
    "--journal-bytes",
    "journal_bytes_max",
    type=click.IntRange(1 << 20),
    metavar="N",
    help="Refuse to write a journal larger than N bytes, to leave room on a shared disk.",
)
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    metavar="N",
    help="Serve Prometheus metrics on http://127.0.0.1:N/metrics; 0 for any. About the house, never a person.",
)
@click.option(
    "--erasures",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Keep the erasure journal here, apart from the data folder, so that restoring a backup brings back nobody who "
    "was forgotten. [default: `erasures` in the data folder]",
)
@click.option(
    "--new-erasures",
    is_flag=True,
    help="Begin another erasure journal, or go on with another one than was used last, in place of refusing to start.",
)
@click.option(
    "--forget-unreadable",
    is_flag=True,
    help="Forget, for ever, everybody whose key is missing, in place of refusing to start.",
)
@click.option(
    "--controller",
    metavar="NAME",
    help="Who answers for what is kept about people: receipts and `harmonia me` name them, from this start on. Kept "
    "until another is given.",
)
@click.option("--contact", metavar="TEXT", help="How to reach them: an e-mail address, a telephone number.")
@click.option("--controller-address", metavar="TEXT", help="Their postal address.")
@click.option("--privacy-notice", metavar="URL", help="Their privacy notice.")
@click.option("--json", "as_json", is_flag=True, help="Say where everything is as one line of JSON.")
@click.option("--with-stdin", is_flag=True, hidden=True, help="End when standard input ends, with whoever started it.")
def serve(
    data_dir: Path,
    host: str,
    port: int,
    udp_port: int,
    upstreams: tuple[str, ...],
    cas: tuple[Path, ...],
    max_drift_ppm: float,
    max_wander: float,
    nts_port: int | None,
    only_authenticated: bool,
    certificate: Path | None,
    key: Path | None,
    expose: bool,
    journal_bytes_max: int | None,
    metrics_port: int | None,
    erasures: Path | None,
    new_erasures: bool,
    forget_unreadable: bool,
    controller: str | None,
    contact: str | None,
    controller_address: str | None,
    privacy_notice: str | None,
    as_json: bool,
    with_stdin: bool,
) -> None:
    """Run a sanctuary until Ctrl-C.

    The first start makes the data folder with a local CA and the host's token; later starts continue every circle where
    it was, in phase.

    Without --upstream its own clock is the time. With it, a new clock first asks, and from then on follows whoever the
    majority of its sources agrees with; while it hosts circles so gently that no platform notices.
    """
    if (certificate is None) != (key is None):
        raise click.UsageError("--certificate and --key belong together.")
    if only_authenticated and nts_port is None:
        raise click.UsageError("--only-authenticated needs --nts-port: without it nobody could be.")
    if cas and not any(upstream.startswith("nts://") for upstream in upstreams):
        raise click.UsageError("--ca is for --upstream nts://HOST.")
    upstream_ca = read_certificates(cas)
    answers = parse_controller(controller, contact, controller_address, privacy_notice)
    arm_failpoints("sanctuary")
    if with_stdin:
        threading.Thread(target=_end_with_stdin, daemon=True).start()

    def on_ready(info: Any) -> None:
        place = info if isinstance(info, dict) else vars(info)
        if as_json:
            echo_json({**place, "data": str(data_dir)})
        else:
            click.echo(
                f"sanctuary {place['sanctuary_id']} is open; Ctrl-C closes it\n"
                f"  gRPC over TLS  {place['host']}:{place['grpc_port']}\n"
                f"  sync and mix   {place['host']}:{place['udp_port']} (UDP)\n"
                + _nts_line(place)
                + (
                    f"  metrics        http://127.0.0.1:{place['metrics_port']}/metrics\n"
                    if place["metrics_port"]
                    else ""
                )
                + f"  data folder    {data_dir}\n"
                f"  its CA         {data_dir / 'ca.pem'}\n"
                f"  host's token   {data_dir / 'admin.token'} (whoever reads it is the host)"
            )
        sys.stdout.flush()

    run_server(
        data_dir,
        host,
        port,
        udp_port,
        upstreams=upstreams,
        upstream_ca=upstream_ca,
        max_drift_ppb=round(max_drift_ppm * 1e3),
        max_wander=max_wander,
        nts_port=nts_port,
        only_authenticated=only_authenticated,
        certificate=certificate,
        key=key,
        expose=expose,
        journal_bytes_max=journal_bytes_max,
        metrics_port=metrics_port,
        erasures=erasures,
        new_erasures=new_erasures,
        forget_unreadable=forget_unreadable,
        controller=answers,
        on_ready=on_ready,
    )


def _nts_line(place: dict[str, Any]) -> str:
    return f"  keys for NTS   {place['host']}:{place['nts_port']} (TCP)\n" if place["nts_port"] is not None else ""


def _end_with_stdin() -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
