"""What happens around every call: who is it, how long may it take, and how is a failure told."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from harmonia import failpoints
from harmonia.errors import BadInput, Unreachable
from harmonia.rpc.auth import PACKAGE, Gatekeeper, caller
from harmonia.rpc.errors import abort

DEADLINE_S = 10.0
"""The longest that a unary call may take, whatever its caller asked for."""
STREAMS_MAX = 8
"""Streams of one sleeper, role or join token at once. Each holds a whole answer, score and all, until it is read."""


class Streams:
    """How many are open, by whose they are."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    @contextmanager
    def another(self, owner: str, whose: str) -> Iterator[None]:
        """One more of ``owner``; nobody's, the host's, are not counted. Raises Unreachable beyond the most."""
        if not owner:
            yield
            return
        if self._open[owner] >= STREAMS_MAX:
            raise Unreachable(f"{STREAMS_MAX} streams of {whose} are open, the most: end one, then try again")
        self._open[owner] += 1
        try:
            yield
        finally:
            self._open[owner] -= 1
            if not self._open[owner]:
                del self._open[owner]


class Around(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]
    """Wraps every handler of ours; the health service answers everybody as it is."""

    def __init__(self, gatekeeper: Gatekeeper) -> None:
        self._gatekeeper = gatekeeper
        self._streams = Streams()

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any) -> Any:
        """As grpc.aio asks."""
        handler, method = await continuation(handler_call_details), handler_call_details.method
        if handler is None or not method.startswith(PACKAGE):
            return handler
        if handler.request_streaming:
            return grpc.stream_stream_rpc_method_handler(
                self._stream(method, handler.stream_stream),
                _parse(handler.request_deserializer),
                handler.response_serializer,
            )
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(
                self._stream(method, handler.unary_stream),
                _parse(handler.request_deserializer),
                _serialise_once(handler.response_serializer),
            )
        return grpc.unary_unary_rpc_method_handler(
            self._unary(method, handler.unary_unary),
            _parse(handler.request_deserializer),
            handler.response_serializer,
        )

    def _unary(self, method: str, answer: Callable[[Any, Any], Awaitable[Any]]) -> Callable[[Any, Any], Any]:
        answering = f"answer.{method.rpartition('/')[2]}"

        async def around(request: Any, context: Any) -> Any:
            try:
                self._gatekeeper.admit(method, dict(context.invocation_metadata()))
                async with asyncio.timeout(DEADLINE_S):
                    answered = await answer(parsed(request), context)
                failpoints.hit(answering)
                return answered
            except TimeoutError:
                late = f"the sanctuary did not finish this within {DEADLINE_S:g} s: it is overloaded; try again"
                await abort(context, Unreachable(late), method)
            except Exception as error:  # noqa: BLE001 - told to the caller, logged if it is not ours
                await abort(context, error, method)

        return around

    def _stream(self, method: str, answers: Callable[[Any, Any], AsyncIterator[Any]]) -> Callable[[Any, Any], Any]:
        async def around(request: Any, context: Any) -> AsyncIterator[Any]:
            try:
                self._gatekeeper.admit(method, dict(context.invocation_metadata()))
                with self._streams.another(owner := caller().stream_owner, owner):
                    async for answer in answers(parsed(request), context):
                        yield answer
            except Exception as error:  # noqa: BLE001 - told to the caller, logged if it is not ours
                await abort(context, error, method)

        return around


def _parse(deserialise: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """Hands a message that cannot be read on, so that it is answered and not logged: anybody can send one."""

    def parse(data: bytes) -> Any:
        try:
            return deserialise(data)
        except DecodeError as error:
            return error

    return parse


def parsed(request: Any) -> Any:
    """A request that could be read. Raises BadInput on any other."""
    if isinstance(request, DecodeError):
        raise BadInput("this request is not a message of the kind that its method takes: make it with the API's stubs")
    return request


def _serialise_once(serialise: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    """Lets a handler send bytes that it made once for everybody."""
    return lambda answer: answer if isinstance(answer, bytes) else serialise(answer)
