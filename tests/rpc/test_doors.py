"""Who may come in, and what they are told who may not."""

import importlib
import os
import pkgutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import harmonia.v1
from harmonia.domain.circle import SCORE_BYTES_MAX
from harmonia.rpc.auth import ACCESS
from harmonia.rpc.errors import MESSAGE_MAX
from harmonia.rpc.interceptor import STREAMS_MAX
from harmonia.v1 import (
    circle_pb2,
    consent_pb2,
    platform_pb2,
    rhythm_pb2,
    types_pb2,
)
from tests.rpc.daemon import PATIENCE_S, Guest, Running, daemon, join_request, reason_of

Code = grpc.StatusCode
PROTOS = [
    importlib.import_module(f"harmonia.v1.{found.name}")
    for found in pkgutil.iter_modules(harmonia.v1.__path__)
    if found.name.endswith("_pb2")
]
"""All that there are: a new service cannot be forgotten here."""


def refused(code: grpc.StatusCode, reason: str, call: Any, *args: Any, **kwargs: Any) -> str:
    """Asserts that ``call`` fails so; returns its message."""
    with pytest.raises(grpc.RpcError) as caught:
        call(*args, **kwargs)
    error: Any = caught.value
    assert (error.code(), reason_of(error)) == (code, reason), error.details()
    return str(error.details())


def all_methods() -> list[str]:
    services = (service for proto in PROTOS for service in proto.DESCRIPTOR.services_by_name.values())
    return [f"/{service.full_name}/{method.name}" for service in services for method in service.methods]


def test_every_method_stands_in_the_table() -> None:
    assert sorted(all_methods()) == sorted(ACCESS)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with daemon(tmp_path_factory.mktemp("house")) as running:
        yield running


def raw(running: Running, method: str, metadata: list[tuple[str, str]]) -> None:
    """Calls any method with an empty request."""
    streams = method.endswith(("WatchCircle", "WatchPlatform"))
    make: Any = running.channel.unary_stream if streams else running.channel.unary_unary
    answer = make(method, request_serializer=lambda data: data, response_deserializer=lambda data: data)(
        b"", metadata=metadata, timeout=PATIENCE_S
    )
    if streams:
        next(iter(answer))


@pytest.mark.parametrize("method", [m for m in all_methods() if ACCESS[m].name != "OPEN"])
def test_without_proof_nothing_but_the_open_methods_answers(running: Running, method: str) -> None:
    for metadata in ([], [("authorization", "Bearer guess")], [("harmonia-credential", "hc_guess")]):
        refused(Code.UNAUTHENTICATED, "NOT_AUTHENTICATED", raw, running, method, metadata)


@pytest.mark.parametrize("method", [m for m in all_methods() if ACCESS[m].name in ("SLEEPER", "WITHDRAWING", "OWN")])
def test_a_host_has_no_way_into_what_is_a_sleepers_own(running: Running, method: str) -> None:
    said = refused(Code.UNAUTHENTICATED, "NOT_AUTHENTICATED", raw, running, method, running.admin)
    assert "only a sleeper may do this" in said


@pytest.mark.parametrize("method", [m for m in all_methods() if ACCESS[m].name == "HOST"])
def test_a_sleeper_is_no_host(running: Running, method: str) -> None:
    guest = running.join(running.create().circle_id)
    signed = guest.signed(method.removeprefix("/harmonia.v1."))
    refused(Code.PERMISSION_DENIED, "NOT_PERMITTED", raw, running, method, signed)


def test_a_sleeper_sees_only_their_own_circle(running: Running) -> None:
    own, other = running.create().circle_id, running.create().circle_id
    guest = running.join(own)
    assert guest.call("Circle", "GetCircle", circle_pb2.GetCircleRequest(circle_id=own)).circle.circle_id == own
    foreign = circle_pb2.GetCircleRequest(circle_id=other)
    refused(Code.PERMISSION_DENIED, "NOT_PERMITTED", guest.call, "Circle", "GetCircle", foreign)


def test_a_call_signed_wrongly_copied_or_moved_is_refused(running: Running) -> None:
    guest, request = running.join(running.create().circle_id), consent_pb2.GetConsentRequest()
    method = "ConsentService/GetConsent"
    send = running.consents.GetConsent

    def fails(metadata: list[tuple[str, str]], words: str) -> None:
        said = refused(Code.UNAUTHENTICATED, "NOT_AUTHENTICATED", send, request, metadata=metadata, timeout=PATIENCE_S)
        assert words in said

    fails(guest.signed(method, key=Ed25519PrivateKey.generate()), "not this platform's signature")
    fails(guest.signed("ConsentService/Withdraw"), "not this platform's signature")
    fails([(name, value) for name, value in guest.signed(method) if name != "harmonia-proof"], "signature")
    fails(guest.signed(method, nonce="short"), "16 to 64")
    once = guest.signed(method)
    send(request, metadata=once, timeout=PATIENCE_S)
    fails(once, "has been used")


def test_bad_tokens_are_told_apart(running: Running) -> None:
    circle_id, key = running.create().circle_id, Ed25519PrivateKey.generate()
    join = running.circles.JoinCircle

    def fails(code: grpc.StatusCode, reason: str, request: circle_pb2.JoinCircleRequest) -> None:
        refused(code, reason, join, request, timeout=PATIENCE_S)

    fails(Code.PERMISSION_DENIED, "TOKEN_UNKNOWN", join_request(key, circle_id, ""))
    fails(Code.PERMISSION_DENIED, "TOKEN_UNKNOWN", join_request(key, circle_id, "hj_made-up"))
    (used, kept) = running.tokens(circle_id, 2)
    Guest(running, circle_id, used)
    fails(Code.PERMISSION_DENIED, "TOKEN_USED", join_request(key, circle_id, used))
    (expired,) = running.tokens(circle_id, valid_ns=1)
    fails(Code.PERMISSION_DENIED, "TOKEN_EXPIRED", join_request(key, circle_id, expired))
    fails(Code.NOT_FOUND, "NOT_FOUND", join_request(key, "circle-nowhere", kept))
    stolen = join_request(key, circle_id, kept)
    stolen.platform_key = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    fails(Code.UNAUTHENTICATED, "NOT_AUTHENTICATED", stolen)
    stolen.platform_key = b"short"
    fails(Code.INVALID_ARGUMENT, "BAD_INPUT", stolen)
    Guest(running, circle_id, kept)


def test_what_is_not_a_number_is_refused_and_changes_nothing(running: Running) -> None:
    circle = running.create()
    guest = running.join(circle.circle_id)
    assert guest.set_offset(0.25) == 2**62
    for bad in (float("nan"), float("inf")):
        said = refused(Code.INVALID_ARGUMENT, "BAD_INPUT", guest.set_offset, bad)
        assert "a finite number of turns such as 0.25" in said
    hearing = platform_pb2.SetHearingRequest(hearing_level=float("nan"))
    refused(Code.INVALID_ARGUMENT, "BAD_INPUT", guest.call, "Platform", "SetHearing", hearing)
    nan = types_pb2.Coefficient(re=float("nan"))
    for voice in ([nan, nan], [types_pb2.Coefficient()], [types_pb2.Coefficient(re=5), nan]):
        wrong = platform_pb2.SetVoiceRequest(voice=voice)
        refused(Code.INVALID_ARGUMENT, "BAD_INPUT", guest.call, "Platform", "SetVoice", wrong)
    level = consent_pb2.GrantRequest(purpose=types_pb2.PURPOSE_VOICE, level=float("nan"), event_id=os.urandom(16))
    refused(Code.INVALID_ARGUMENT, "BAD_INPUT", guest.call, "Consent", "Grant", level)
    unnamed = consent_pb2.GrantRequest(purpose=types_pb2.PURPOSE_VOICE)
    refused(Code.INVALID_ARGUMENT, "BAD_INPUT", guest.call, "Consent", "Grant", unnamed)
    refused(Code.INVALID_ARGUMENT, "BAD_SCORE", running.create, text="nonsense")
    assert guest.attach().state.offset == 2**62


def test_a_circle_that_is_not_there_or_not_so_far_is_said(running: Running) -> None:
    circle_id = running.create().circle_id
    refused(Code.NOT_FOUND, "NOT_FOUND", running.advance, "circle-nowhere", types_pb2.CIRCLE_STATE_CLOSED)
    refused(Code.FAILED_PRECONDITION, "NOT_NOW", running.advance, circle_id, types_pb2.CIRCLE_STATE_DREAMING)
    refused(Code.INVALID_ARGUMENT, "BAD_INPUT", running.advance, circle_id, 99)
    early = rhythm_pb2.GetRhythmRequest(circle_id=circle_id)
    call = running.rhythms.GetRhythm
    refused(Code.FAILED_PRECONDITION, "NOT_NOW", call, early, metadata=running.admin, timeout=PATIENCE_S)


def test_a_full_circle_says_so(running: Running) -> None:
    circle_id = running.create(capacity=1).circle_id
    running.join(circle_id)
    refused(Code.RESOURCE_EXHAUSTED, "CIRCLE_FULL", running.join, circle_id)


def test_an_error_is_one_short_line_whatever_it_quotes(running: Running) -> None:
    guest = running.join(running.create().circle_id)
    grant = consent_pb2.GrantRequest(purpose=types_pb2.PURPOSE_VOICE, supersedes="ab" * 1_000_000, event_id=b"g" * 16)
    refused(Code.INVALID_ARGUMENT, "BAD_INPUT", guest.call, "Consent", "Grant", grant)
    for name in ("n" * 1_000_000, "night\n\x1b[31m.sbg"):
        score = types_pb2.Score(name=name, format=types_pb2.SCORE_FORMAT_SBG, text="4")
        request = circle_pb2.CreateCircleRequest(title="Night", score=score)
        said = refused(
            Code.INVALID_ARGUMENT, "BAD_INPUT", running.circles.CreateCircle, request, metadata=running.admin
        )
        assert "200 printable characters" in said
    said = refused(Code.INVALID_ARGUMENT, "BAD_SCORE", running.create, "no\x1bnumber" * 100_000)
    assert said.isprintable()
    assert len(said) <= MESSAGE_MAX


def test_circles_with_large_scores_can_be_listed_and_larger_ones_are_refused(tmp_path: Path) -> None:
    with daemon(tmp_path) as running:
        made = [running.create("4" + " " * (SCORE_BYTES_MAX - 1)).circle_id for _ in range(5)]
        listed, page_token = [], ""
        while True:
            request = circle_pb2.ListCirclesRequest(page_token=page_token)
            page = running.circles.ListCircles(request, metadata=running.admin, timeout=PATIENCE_S)
            listed += [circle.circle_id for circle in page.circles]
            page_token = page.next_page_token
            if not page_token:
                break
        assert listed == made
        refused(Code.INVALID_ARGUMENT, "BAD_SCORE", running.create, "4" + " " * SCORE_BYTES_MAX)


def test_one_sleeper_cannot_open_streams_without_end(running: Running) -> None:
    circle_id = running.create().circle_id
    guest, other = running.join(circle_id), running.join(circle_id)

    def watch(who: Guest) -> Any:
        stream = running.platforms.WatchPlatform(
            platform_pb2.WatchPlatformRequest(), metadata=who.signed("PlatformService/WatchPlatform")
        )
        next(stream)
        return stream

    streams = [watch(guest) for _ in range(STREAMS_MAX)]
    refused(Code.UNAVAILABLE, "UNREACHABLE", watch, guest)
    streams.append(watch(other))
    for stream in streams:
        stream.cancel()
    again = None
    while again is None:  # once the daemon has noticed
        with suppress(grpc.RpcError):
            again = watch(guest)
    again.cancel()


def test_a_message_that_cannot_be_read_is_refused_like_any_other_bad_input(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    guest = running.join(running.create().circle_id)
    for method in ("SanctuaryService/GetStatus", "PlatformService/WatchPlatform"):
        make: Any = running.channel.unary_stream if "Watch" in method else running.channel.unary_unary
        call = make(f"/harmonia.v1.{method}", request_serializer=lambda data: data)
        send = (lambda *args, call=call, **kwargs: next(call(*args, **kwargs))) if "Watch" in method else call
        metadata = guest.signed(method)
        refused(Code.INVALID_ARGUMENT, "BAD_INPUT", send, b"\xff" * 9, metadata=metadata, timeout=PATIENCE_S)
    assert not caplog.records


def test_a_storm_of_joins_is_let_in_whole(tmp_path: Path) -> None:
    with daemon(tmp_path) as running:
        circle_id = running.create(capacity=400).circle_id
        tokens = running.tokens(circle_id, 300)
        with ThreadPoolExecutor(64) as storm:
            guests = list(storm.map(lambda token: Guest(running, circle_id, token), tokens))
        assert len({guest.credential for guest in guests}) == 300
        request = circle_pb2.GetCircleRequest(circle_id=circle_id)
        assert running.circles.GetCircle(request, metadata=running.admin).circle.sleepers == 300
        assert len(running.plane.sleepers) == 300
