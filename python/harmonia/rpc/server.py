"""The daemon: everything that a sanctuary consists of, opened in order and closed in the opposite one.

Order matters twice. The engine has read its journal before a port answers, so nobody sounds on half a memory; and the
ports close before the engine ends, so no answer is given that is not kept.
"""

import asyncio
import ipaddress
import logging
import os
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from harmonia import failpoints
from harmonia.domain.controller import Controller
from harmonia.engine.plane import DataPlane
from harmonia.engine.sanctuary import Sanctuary
from harmonia.engine.scores import ScoreReader, read_score
from harmonia.errors import AddressTaken, BadInput, NotPermitted, StorageError
from harmonia.journal.opening import open_sealed
from harmonia.ledger.ledger import Ledger, doubtful
from harmonia.rpc import files, tls
from harmonia.rpc.auth import Gatekeeper
from harmonia.rpc.bridge import Bridge
from harmonia.rpc.interceptor import Around
from harmonia.rpc.services.circle import CircleServicer
from harmonia.rpc.services.consent import ConsentServicer
from harmonia.rpc.services.dialogue import DialogueServicer
from harmonia.rpc.services.house import House
from harmonia.rpc.services.ledger import LedgerServicer
from harmonia.rpc.services.me import MeServicer
from harmonia.rpc.services.offer import OfferServicer
from harmonia.rpc.services.platform import PlatformServicer
from harmonia.rpc.services.rhythm import RhythmServicer
from harmonia.rpc.services.sanctuary import SanctuaryServicer
from harmonia.rpc.services.series import SeriesServicer
from harmonia.rpc.services.stem import StemServicer
from harmonia.rpc.services.steward import StewardServicer
from harmonia.rpc.stems import StemStore
from harmonia.v1 import (
    circle_pb2_grpc,
    consent_pb2_grpc,
    dialogue_pb2_grpc,
    ledger_pb2_grpc,
    me_pb2_grpc,
    offer_pb2_grpc,
    platform_pb2_grpc,
    rhythm_pb2_grpc,
    sanctuary_pb2_grpc,
    series_pb2_grpc,
    stem_pb2_grpc,
    steward_pb2_grpc,
)

_log = logging.getLogger(__name__)

DEFAULT_PORT = 7117
MESSAGE_BYTES_MAX = 4 << 20
GRACE_S = 1.0
_WITHDRAWAL_WRITERS = 32

PlaneFactory = Callable[[str, int, str], DataPlane]
"""host, UDP port, clock file → the data plane."""

_OPTIONS: list[tuple[str, int]] = [
    # A second daemon on the same port must fail, not share it.
    ("grpc.so_reuseport", 0),
    # Without a limit, one client that opens and resets streams in a flood has its neighbours' calls cancelled.
    ("grpc.max_concurrent_streams", 1024),
    # By default a storm of joins beyond 1,000 waiting requests is cancelled at random, and beyond 3,000 wholly.
    ("grpc.server.max_pending_requests", 20_000),
    ("grpc.server.max_pending_requests_hard_limit", 40_000),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    # A platform that vanished without a word is noticed; one that asks whether we are here is not told off.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 15_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
]


@dataclass(frozen=True)
class Settings:
    """How a sanctuary is to be run."""

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    """gRPC; 0 for any."""
    udp_port: int = 0
    """Sync and mix frames; 0 for any."""
    certificate: Path | None = None
    """A certificate chain (PEM) in place of the local CA's, with its ``key``."""
    key: Path | None = None
    expose: bool = False
    """Binds another address than loopback with a certificate of the local CA."""
    journal_bytes_max: int | None = None
    upstreams: tuple[str, ...] = ()
    """Whom the node's clock follows, HOST[:PORT] or nts://HOST[:PORT] each; nobody: it is the root of its time."""
    upstream_ca: bytes | None = None
    """Who must have signed the certificates of those with NTS (PEM); None for the system's certificates."""
    max_drift_ppb: int = 500_000
    """The largest difference of the clocks' rates on which bounds rest."""
    max_wander: float = 1e-7
    """Its largest change in a second, 1/s."""
    nts_port: int | None = None
    """TCP port of NTS key exchanges, 0 for any; None for none."""
    only_authenticated: bool = False
    """Time requests without NTS meet silence, but for the platforms of the house."""
    metrics_port: int | None = None
    """Prometheus metrics on loopback; 0 for any port, None for none."""
    erasures: Path | None = None
    """The erasure journal, kept apart from the data folder; None for a file in it."""
    new_erasures: bool = False
    """Begins another erasure journal where it is not the one that was used last, in place of refusing to start."""
    forget_unreadable: bool = False
    """Forgets whoever's key is missing, in place of refusing to start."""
    controller: Controller | None = None
    """Who answers for what is kept about people, from this start on; None: who was stated before."""
    plane: PlaneFactory | None = None
    """None: the core's node."""
    scores: ScoreReader = read_score


@dataclass(frozen=True)
class Place:
    """Where a sanctuary listens; the contents of sanctuary.json."""

    sanctuary_id: str
    host: str
    grpc_port: int
    udp_port: int
    pid: int
    nts_port: int | None = None
    """None: keys for NTS are not given out."""
    metrics_port: int | None = None


def serve(
    data_dir: Path,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    udp_port: int = 0,
    *,
    upstreams: tuple[str, ...] = (),
    upstream_ca: bytes | None = None,
    max_drift_ppb: int = 500_000,
    max_wander: float = 1e-7,
    certificate: Path | None = None,
    key: Path | None = None,
    expose: bool = False,
    journal_bytes_max: int | None = None,
    nts_port: int | None = None,
    only_authenticated: bool = False,
    metrics_port: int | None = None,
    erasures: Path | None = None,
    new_erasures: bool = False,
    forget_unreadable: bool = False,
    controller: Controller | None = None,
    on_ready: Callable[[Place], None] | None = None,
) -> None:
    """Runs a sanctuary until SIGTERM or SIGINT. ``on_ready`` is told where it listens. Raises HarmoniaError."""
    settings = Settings(
        data_dir,
        host,
        port,
        udp_port,
        certificate=certificate,
        key=key,
        expose=expose,
        journal_bytes_max=journal_bytes_max,
        upstreams=upstreams,
        upstream_ca=upstream_ca,
        max_drift_ppb=max_drift_ppb,
        max_wander=max_wander,
        nts_port=nts_port,
        only_authenticated=only_authenticated,
        metrics_port=metrics_port,
        erasures=erasures,
        new_erasures=new_erasures,
        forget_unreadable=forget_unreadable,
        controller=controller,
    )
    asyncio.run(_serve(settings, on_ready))


async def _serve(settings: Settings, on_ready: Callable[[Place], None] | None) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running(settings) as daemon:
        if on_ready is not None:
            on_ready(daemon.place)
        stopping = asyncio.ensure_future(stop.wait())
        either: list[asyncio.Future[Any]] = [stopping, daemon.bridge.ended]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if daemon.bridge.ended.done():
            daemon.bridge.ended.result()


@dataclass(frozen=True)
class Daemon:
    """A sanctuary that is running."""

    place: Place
    sanctuary: Sanctuary
    bridge: Bridge


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Daemon]:
    """A sanctuary for the length of the block. Raises HarmoniaError if it cannot be opened."""
    _check_address(settings)
    with ExitStack() as closing:
        closing.enter_context(files.held(settings.data_dir))
        failpoints.hit("start.held")
        try:
            pair = _key_and_certificate(settings)
            token = files.admin_token(settings.data_dir)
        except OSError as error:
            raise StorageError(
                f"cannot write {error.filename} ({error.strerror}): free some space or check it"
            ) from None
        plane = _open_plane(settings)
        closing.callback(plane.close)
        nts_port = _open_nts(settings, plane, pair)
        journal = open_sealed(
            settings.data_dir,
            erasures=settings.erasures,
            new_erasures=settings.new_erasures,
            bytes_max=settings.journal_bytes_max,
            shred_unreadable=settings.forget_unreadable,
        )
        closing.callback(journal.close)
        in_doubt = doubtful(journal, settings.data_dir)
        sanctuary = Sanctuary(journal, plane, secrets.token_bytes, settings.scores, in_doubt=in_doubt)
        bridge = Bridge(sanctuary)
        try:
            await bridge.start()
            ledger = Ledger(journal, settings.data_dir, sanctuary.sanctuary_id, files.write_private)
            closing.callback(ledger.close)
            controllers = files.controllers(settings.data_dir, settings.controller, plane.node_time_ns())
            house = House(sanctuary, bridge, ledger, _reachable(settings.host), controllers)
            credentials = grpc.ssl_server_credentials([pair])
            async with _serving(settings, credentials, token, house) as grpc_port:
                metrics_port = _open_metrics(settings, house, closing)
                ports = (grpc_port, plane.port, os.getpid(), nts_port, metrics_port)
                place = Place(sanctuary.sanctuary_id, settings.host, *ports)
                failpoints.hit("start.place")
                files.write_place(settings.data_dir, vars(place))
                yield Daemon(place, sanctuary, bridge)
        finally:
            await bridge.stop()


def _open_metrics(settings: Settings, house: House, closing: ExitStack) -> int | None:
    if settings.metrics_port is None:
        return None
    from harmonia.rpc.metrics import serving_metrics

    return closing.enter_context(serving_metrics(house, settings.metrics_port))


@asynccontextmanager
async def _serving(
    settings: Settings, credentials: grpc.ServerCredentials, token: str, house: House
) -> AsyncIterator[int]:
    """The gRPC port, open. Both doors for withdrawals are open while it is."""
    around = Around(Gatekeeper(token, house.sanctuary.roll))
    server = grpc.aio.server(interceptors=[around], options=_OPTIONS)
    writers = ThreadPoolExecutor(_WITHDRAWAL_WRITERS, thread_name_prefix="withdraw-rpc")
    healthy: Any = health.aio.HealthServicer()  # type: ignore[attr-defined]
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    sanctuary_pb2_grpc.add_SanctuaryServiceServicer_to_server(SanctuaryServicer(house), server)
    circle_pb2_grpc.add_CircleServiceServicer_to_server(CircleServicer(house), server)
    series_pb2_grpc.add_SeriesServiceServicer_to_server(SeriesServicer(house), server)
    consent_pb2_grpc.add_ConsentServiceServicer_to_server(ConsentServicer(house, writers), server)
    offer_pb2_grpc.add_OfferServiceServicer_to_server(OfferServicer(house), server)
    me_pb2_grpc.add_MeServiceServicer_to_server(MeServicer(house), server)
    platform_pb2_grpc.add_PlatformServiceServicer_to_server(PlatformServicer(house), server)
    rhythm_pb2_grpc.add_RhythmServiceServicer_to_server(RhythmServicer(house), server)
    ledger_pb2_grpc.add_LedgerServiceServicer_to_server(LedgerServicer(house), server)
    stems = StemServicer(house, StemStore(settings.data_dir / "stems"))
    stem_pb2_grpc.add_StemServiceServicer_to_server(stems, server)
    steward_pb2_grpc.add_StewardServiceServicer_to_server(StewardServicer(house), server)
    dialogue_pb2_grpc.add_DialogueServiceServicer_to_server(DialogueServicer(house), server)
    failpoints.hit("start.listen")
    port = _bind(server, settings, credentials)
    await server.start()
    house.sanctuary.doors.listen()
    try:
        await healthy.set("", health_pb2.HealthCheckResponse.SERVING)
        yield port
    finally:
        await healthy.enter_graceful_shutdown()
        await server.stop(GRACE_S)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, house.sanctuary.doors.close)
        await loop.run_in_executor(None, writers.shutdown)


def _bind(server: Any, settings: Settings, credentials: grpc.ServerCredentials) -> int:
    try:
        return int(server.add_secure_port(_authority(settings.host, settings.port), credentials))
    except RuntimeError:
        raise AddressTaken(_taken("TCP", settings.host, settings.port, "--port")) from None


def _check_address(settings: Settings) -> None:
    """Says what is wrong with the address before anything is opened."""
    if (settings.certificate is None) != (settings.key is None):
        raise BadInput("a certificate and its key belong together: give both or neither")
    if not _is_loopback(settings.host) and settings.certificate is None and not settings.expose:
        raise BadInput(
            f"{settings.host} can be reached from other machines: give --certificate and --key, or --expose to serve"
            " there with the local CA"
        )
    for kind, name, port, option in (
        (socket.SOCK_STREAM, "TCP", settings.port, "--port"),
        (socket.SOCK_DGRAM, "UDP", settings.udp_port, "--udp-port"),
        (socket.SOCK_STREAM, "TCP", settings.nts_port or 0, "--nts-port"),
    ):
        _check_free(settings.host, port, kind, name, option)


def _check_free(host: str, port: int, kind: socket.SocketKind, name: str, option: str) -> None:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=kind, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, kind) as probe:
            if kind is socket.SOCK_STREAM:  # a port in TIME_WAIT is free, one that listens is not
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except socket.gaierror as error:
        raise BadInput(
            f"{host!r} is not an address of this machine ({error.strerror}): choose another --host"
        ) from None
    except PermissionError:
        raise NotPermitted(f"{name} port {port} needs privileges: choose one from 1024 on with {option}") from None
    except OSError as error:
        if error.errno == 98:
            raise AddressTaken(_taken(name, host, port, option)) from None
        raise BadInput(f"cannot listen on {host} ({error.strerror}): choose another --host") from None


def _taken(name: str, host: str, port: int, option: str) -> str:
    return f"{name} port {port} on {host} is taken: stop what listens there, or choose another with {option}"


def _reachable(host: str) -> str:
    """The address at which this machine itself reaches what listens on ``host``."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104 (it is not bound)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _key_and_certificate(settings: Settings) -> tuple[bytes, bytes]:
    if settings.certificate is None or settings.key is None:
        return tls.ensure(settings.data_dir, settings.host)
    try:
        pair = settings.key.read_bytes(), settings.certificate.read_bytes()
    except OSError as error:
        raise BadInput(f"cannot read {error.filename} ({error.strerror}): check --certificate and --key") from None
    if not tls.belong_together(*pair):
        raise BadInput(
            f"{settings.key} is not the key of {settings.certificate}: give a certificate chain and its private"
            " key, both PEM and without a password, to --certificate and --key"
        )
    return pair


def _open_plane(settings: Settings) -> DataPlane:
    clock_file = str(settings.data_dir / "clock")
    if settings.plane is not None:
        return settings.plane(settings.host, settings.udp_port, clock_file)
    from harmonia import _core  # so that the daemon's tests run without the extension

    try:
        return _core.Node(
            settings.host,
            settings.udp_port,
            clock_file,
            settings.upstreams,
            ca=settings.upstream_ca,
            max_drift_ppb=settings.max_drift_ppb,
            max_wander=settings.max_wander,
        )
    except ValueError as error:
        raise BadInput(str(error)) from None
    except _core.IoError as error:
        if "in use" in str(error):  # taken since it was looked at
            raise AddressTaken(_taken("UDP", settings.host, settings.udp_port, "--udp-port")) from None
        raise StorageError(str(error)) from None


def _open_nts(settings: Settings, plane: DataPlane, pair: tuple[bytes, bytes]) -> int | None:
    """Opens the port of NTS key exchanges, if there is to be one, with the certificate that gRPC shows."""
    plane.answer_only_authenticated(settings.only_authenticated)
    if settings.nts_port is None:
        return None
    key, certificate = pair
    try:
        return plane.serve_nts(certificate, key, settings.nts_port)
    except ValueError as error:  # gRPC believes what it is given until somebody calls
        raise BadInput(f"--certificate and --key do not serve NTS: {error}") from None
    except OSError as error:
        if "in use" in str(error):
            raise AddressTaken(_taken("TCP", settings.host, settings.nts_port, "--nts-port")) from None
        raise StorageError(str(error)) from None
