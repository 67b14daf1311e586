"""One TLS channel to a sanctuary, usable from trio.

grpcio has asyncio and threaded stacks, none for trio. A unary call needs no thread of ours: grpcio's future wakes the
waiting task, and cancelling the task cancels the call. A stream needs one thread, because reading it blocks; it hands
each answer over through a slot that holds only the newest, so that a slow reader costs no memory and never lags.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, TypeVar

import grpc
import trio
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from harmonia import errors

Request = TypeVar("Request")
Answer = TypeVar("Answer")
Metadata = Sequence[tuple[str, str]]

CALL_DEADLINE_S = 10.0
"""How long a call may take unless its caller says otherwise."""

_OPTIONS = [
    # A sanctuary that restarts should be found again at once, not after grpcio's default of up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    # In spite of its name, how long one attempt may take; a TLS handshake with a busy machine is slow.
    ("grpc.min_reconnect_backoff_ms", 8000),
    ("grpc.max_reconnect_backoff_ms", 2000),
    # A host that vanished without a word is noticed within half a minute.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.enable_http_proxy", 0),
]


def open_channel(host: str, port: int, ca_pem: bytes) -> grpc.Channel:
    """A channel to ``host:port`` that trusts this one CA and no other. Connects with the first call."""
    credentials = grpc.ssl_channel_credentials(root_certificates=ca_pem)
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return grpc.secure_channel(target, credentials, options=_OPTIONS)


async def call(
    method: "grpc.UnaryUnaryMultiCallable[Request, Answer]",
    request: Request,
    metadata: Metadata = (),
    *,
    deadline_s: float = CALL_DEADLINE_S,
) -> Answer:
    """Calls a unary method; returns its answer. Cancelling the task cancels the call. Raises a HarmoniaError."""
    future: Any = method.future(request, timeout=deadline_s, metadata=tuple(metadata))
    await _done(future)
    try:
        answer: Answer = future.result()
    except grpc.RpcError as error:
        raise translate(error) from None
    return answer


async def _done(future: Any) -> None:
    done = trio.Event()
    token = trio.lowlevel.current_trio_token()
    future.add_done_callback(lambda _: _wake(token, done.set))
    try:
        await done.wait()
    except BaseException:
        future.cancel()
        raise


def _wake(token: trio.lowlevel.TrioToken, wake: Callable[[], object]) -> None:
    with suppress(trio.RunFinishedError):
        token.run_sync_soon(wake)


@asynccontextmanager
async def stream(
    method: "grpc.UnaryStreamMultiCallable[Request, Answer]", request: Request, metadata: Metadata = ()
) -> AsyncIterator[AsyncIterator[Answer]]:
    """Opens a server stream for the length of the block; iterating gives the newest answer each time.

    Iteration ends when the sanctuary ends the stream and raises a HarmoniaError when it breaks.
    """
    token = trio.lowlevel.current_trio_token()
    slot = Latest[Answer]()
    answers: Any = method(request, metadata=tuple(metadata))

    def read() -> None:
        for answer in answers:
            _wake(token, partial(slot.put, answer))

    def ended(outcome: Any) -> None:
        # In the reading thread, after everything that it handed over; run_sync_soon keeps that order.
        error = getattr(outcome, "error", None)
        _wake(token, partial(slot.end, error))

    trio.lowlevel.start_thread_soon(read, ended, name="harmonia stream")
    try:
        yield slot
    finally:
        answers.cancel()


class Latest(AsyncIterator[Answer]):
    """A slot that holds the newest of what was put in, for one reader."""

    def __init__(self) -> None:
        self._newest: list[Answer] = []
        self._ended = False
        self._error: BaseException | None = None
        self._changed = trio.Event()

    def put(self, answer: Answer) -> None:
        """Replaces what the reader has not taken yet."""
        self._newest = [answer]
        self._changed.set()

    def end(self, error: BaseException | None) -> None:
        """Ends the iteration after what is still in the slot."""
        self._ended, self._error = True, error
        self._changed.set()

    async def __anext__(self) -> Answer:
        while not self._newest and not self._ended:
            self._changed = trio.Event()
            await self._changed.wait()
        if self._newest:
            await trio.lowlevel.checkpoint()
            return self._newest.pop()
        if isinstance(self._error, grpc.RpcError):
            raise translate(self._error)
        if self._error is not None:
            raise self._error
        raise StopAsyncIteration


_BY_CODE: dict[grpc.StatusCode, type[errors.HarmoniaError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: errors.BadInput,
    grpc.StatusCode.OUT_OF_RANGE: errors.BadInput,
    grpc.StatusCode.FAILED_PRECONDITION: errors.BadInput,
    grpc.StatusCode.ALREADY_EXISTS: errors.BadInput,
    grpc.StatusCode.ABORTED: errors.BadInput,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.BadInput,
    grpc.StatusCode.NOT_FOUND: errors.NotFound,
    grpc.StatusCode.PERMISSION_DENIED: errors.NotPermitted,
    grpc.StatusCode.UNAUTHENTICATED: errors.NotPermitted,
    grpc.StatusCode.UNAVAILABLE: errors.Unreachable,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.Unreachable,
    grpc.StatusCode.CANCELLED: errors.Unreachable,
    grpc.StatusCode.DATA_LOSS: errors.StorageError,
    grpc.StatusCode.UNIMPLEMENTED: errors.NotFound,
}


def translate(error: Any) -> errors.HarmoniaError:
    """The exception for a failed call: the one that the sanctuary raised, where it said so."""
    code, details = error.code(), error.details() or ""
    info = _error_info(error)
    if info is not None and info.reason in _BY_REASON:
        return _BY_REASON[info.reason](details, **dict(info.metadata))
    kind = _BY_CODE.get(code, errors.HarmoniaError)
    if kind is errors.Unreachable:
        return kind(f"the sanctuary does not answer ({_plain(details)}); is `harmonia serve` running there?")
    return kind(_plain(details) or f"the sanctuary failed: {code.name.lower()}")


def _kinds(root: type[errors.HarmoniaError]) -> Iterator[type[errors.HarmoniaError]]:
    yield root
    for kind in root.__subclasses__():
        yield from _kinds(kind)


_BY_REASON = {kind.reason: kind for kind in _kinds(errors.HarmoniaError)}


def _error_info(error: Any) -> Any:
    """The call's google.rpc.ErrorInfo of our domain; None without one."""
    try:
        status = rpc_status.from_call(error)
    except ValueError:
        return None
    for detail in status.details if status is not None else ():
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info) and info.domain == "harmonia":
            return info
    return None


def _plain(details: str) -> str:
    """grpcio's own words cut down to the cause: they carry addresses and retry histories on several lines."""
    for cause in ("Connection refused", "Deadline Exceeded", "CERTIFICATE_VERIFY_FAILED", "Connection reset"):
        if cause.lower() in details.lower():
            return cause.replace("_", " ").lower()
    return " ".join(details.split())[:200]
