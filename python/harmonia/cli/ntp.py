"""`harmonia ntp query`: what time a server has, and how certain that is."""

from pathlib import Path

import click

from harmonia import _core, errors
from harmonia.cli.common import echo_json, json_option, read_certificates, stated_options, stated_text

NTP_PORT = 123
NTS_PORT = 4460


@click.group()
def ntp() -> None:
    """Sanctuaries and strangers as time servers."""


@ntp.command()
@click.argument("server", metavar="HOST[:PORT]")
@click.option("--nts", is_flag=True, help="Exchange keys first; then every answer is proved to be the server's.")
@click.option(
    "--nts-port",
    type=click.IntRange(1, 65535),
    metavar="PORT",
    help=f"TCP port of the key exchange, {NTS_PORT} by default; the server itself says its NTP port.",
)
@click.option(
    "--ca",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="PEM",
    help="Who must have signed the server's certificate (a sanctuary's ca.pem); else the system's certificates.",
)
@click.option("--exchanges", type=click.IntRange(1, 100), default=8, show_default=True, help="How often to ask.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(0.1, 600), default=10.0, show_default=True, metavar="S")
@stated_options
@json_option
def query(
    server: str,
    nts: bool,
    nts_port: int | None,
    ca: Path | None,
    exchanges: int,
    timeout_s: float,
    max_drift_ppm: float,
    max_wander: float,
    as_json: bool,
) -> None:
    """Ask a server for the time, and compare it with this machine's clock, which stays as it is.

    The offset is certain to within the bound, however lopsided the path; how wrong the server itself may be is told
    apart, as the server tells it.
    """
    if not nts and (nts_port is not None or ca is not None):
        raise click.UsageError("--nts-port and --ca are for --nts.")
    host, port = split(server)
    trusted = read_certificates(() if ca is None else (ca,))
    try:
        got = _core.query_time(
            host,
            port,
            nts_port=(nts_port or NTS_PORT) if nts else None,
            ca=trusted,
            exchanges=exchanges,
            timeout_s=timeout_s,
            max_drift_ppb=round(max_drift_ppm * 1e3),
            max_wander=max_wander,
        )
    except _core.IoError as error:
        raise errors.Unreachable(str(error)) from None
    except ValueError as error:
        raise errors.BadInput(str(error)) from None
    place = f"[{got.host}]:{got.port}" if ":" in got.host else f"{got.host}:{got.port}"
    if as_json:
        echo_json(
            {
                "server": place,
                "authenticated": got.authenticated,
                "clock_id": got.clock_id,
                "stratum": got.stratum,
                "refid": refid_text(got.refid, got.stratum),
                "leap": got.leap,
                "offset_ns": got.offset_ns,
                "bound_ns": got.bound_ns,
                "server_bound_ns": got.server_bound_ns,
                "round_trip_min_ns": got.round_trip_min_ns,
                "sent": got.sent,
                "used": got.used,
                "max_drift_ppb": round(max_drift_ppm * 1e3),
                "max_wander": max_wander,
            }
        )
        return
    kind = "an NTP server" if got.clock_id is None else f"a sanctuary, clock {got.clock_id:016x}"
    proof = "each answer proved with NTS" if got.authenticated else "not authenticated"
    click.echo(
        f"{place} is {kind}: stratum {got.stratum}, {proof}\n"
        f"  its time minus this machine's  {in_s(got.offset_ns)} ± {got.bound_ns / 1e9:.9f} s\n"
        f"                                 {stated_text(round(max_drift_ppm * 1e3), max_wander)}\n"
        f"  its own error, as it says      at most {got.server_bound_ns / 1e9:.9f} s\n"
        f"  shortest round trip            {got.round_trip_min_ns / 1e9:.9f} s; {got.used} of {got.sent} answers used"
    )


def split(server: str) -> tuple[str, int]:
    """HOST, HOST:PORT, [IPv6]:PORT or a bare IPv6 address. Raises BadInput on a port that is none."""
    host, colon, port = server.rpartition(":")
    if not colon or (":" in host and not host.endswith("]")):
        return server.strip("[]"), NTP_PORT
    if not (host and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise errors.BadInput(f"{server!r}: a server is HOST or HOST:PORT with a port from 1 to 65535")
    return host.strip("[]"), int(port)


def refid_text(refid: int, stratum: int) -> str:
    """Letters for a reference clock, an address's four numbers for whoever follows a server."""
    parts = refid.to_bytes(4, "big")
    text = parts.rstrip(b"\0").decode("latin-1")
    if stratum <= 1 or text == "LOCL":
        return text if text.isprintable() and text.isascii() else parts.hex()
    return ".".join(str(part) for part in parts)


def in_s(ns: int) -> str:
    """Signed seconds with every nanosecond."""
    return f"{'-' if ns < 0 else '+'}{abs(ns) // 10**9}.{abs(ns) % 10**9:09d} s"
