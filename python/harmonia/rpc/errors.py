"""The one mapping from what went wrong to what a caller is told: a status, and google.rpc.ErrorInfo with the reason."""

import logging
from typing import Any, NoReturn

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from harmonia import errors

_log = logging.getLogger(__name__)

DOMAIN = "harmonia"
MESSAGE_MAX = 400
"""Characters of an error. It travels in headers, twice; a client drops the call if they are longer than 8 KiB."""
_FACT_MAX = 100

_STATUS: dict[type[errors.HarmoniaError], grpc.StatusCode] = {
    errors.StaleGrant: grpc.StatusCode.ABORTED,
    errors.WrongExpectedRevision: grpc.StatusCode.ABORTED,
    errors.CircleFull: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.NotNow: grpc.StatusCode.FAILED_PRECONDITION,
    errors.BadInput: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.NotAuthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.NotPermitted: grpc.StatusCode.PERMISSION_DENIED,
    errors.StorageUnreadable: grpc.StatusCode.DATA_LOSS,
    errors.StorageError: grpc.StatusCode.UNAVAILABLE,
    errors.Unreachable: grpc.StatusCode.UNAVAILABLE,
    errors.HarmoniaError: grpc.StatusCode.INTERNAL,
}


def status_of(error: errors.HarmoniaError) -> grpc.StatusCode:
    """The status of the nearest kind that has one."""
    return next(_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)


def one_line(text: str, most: int) -> str:
    """``text`` as it may be shown to anybody: it may quote whatever a caller has sent."""
    line = "".join(c if c.isprintable() else " " for c in text[: most + 1])
    return line if len(line) <= most else line[: most - 1] + "…"


async def abort(context: Any, error: Exception, method: str) -> NoReturn:
    """Ends the call with ``error``. What is not ours is logged and told as one line without its insides."""
    if not isinstance(error, errors.HarmoniaError):
        _log.error("%s failed", method, exc_info=error)
        error = errors.HarmoniaError("something broke inside the sanctuary: its log says what; please report it")
    code, info = status_of(error), any_pb2.Any()
    facts = {name: one_line(fact, _FACT_MAX) for name, fact in error.metadata.items()}
    info.Pack(error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=facts))
    message = one_line(str(error), MESSAGE_MAX)
    rich = rpc_status.to_status(status_pb2.Status(code=code.value[0], message=message, details=[info]))
    await context.abort(rich.code, rich.details, rich.trailing_metadata)
    raise AssertionError("abort raises")
