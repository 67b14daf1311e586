"""Real daemons on free ports, and real clients to them: TLS, gRPC and SQLite; only the data plane is a fake."""

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from harmonia.engine.plane import DataPlane, number_of
from harmonia.rpc.server import Daemon, Settings, running
from harmonia.testing import FakePlane, fake_scores
from harmonia.v1 import (
    circle_pb2,
    circle_pb2_grpc,
    consent_pb2,
    consent_pb2_grpc,
    me_pb2_grpc,
    offer_pb2_grpc,
    platform_pb2,
    platform_pb2_grpc,
    rhythm_pb2,
    rhythm_pb2_grpc,
    sanctuary_pb2_grpc,
    types_pb2,
)

PATIENCE_S = 30.0
"""Longer than anything here takes; nothing waits that long unless it is broken."""


class _Loop:
    """The process's one asyncio loop, in a thread of its own: grpcio wants no second one."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, name="asyncio", daemon=True).start()

    def run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE_S)


_LOOP: list[_Loop] = []


def the_loop() -> _Loop:
    if not _LOOP:
        _LOOP.append(_Loop())
    return _LOOP[0]


class Outside:
    """A daemon as its host sees it, through its data folder and a channel to it."""

    def __init__(self, address: str, data_dir: Path) -> None:
        self.address, self.data_dir = address, data_dir
        credentials = grpc.ssl_channel_credentials((data_dir / "ca.pem").read_bytes())
        self.channel = grpc.secure_channel(self.address, credentials)
        self.admin = [("authorization", f"Bearer {(data_dir / 'admin.token').read_text().strip()}")]
        # The stubs' types ask for tuples as metadata; lists do as well.
        self.circles: Any = circle_pb2_grpc.CircleServiceStub(self.channel)
        self.consents: Any = consent_pb2_grpc.ConsentServiceStub(self.channel)
        self.offers: Any = offer_pb2_grpc.OfferServiceStub(self.channel)
        self.mine: Any = me_pb2_grpc.MeServiceStub(self.channel)
        self.rhythms: Any = rhythm_pb2_grpc.RhythmServiceStub(self.channel)
        self.platforms: Any = platform_pb2_grpc.PlatformServiceStub(self.channel)
        self.sanctuaries: Any = sanctuary_pb2_grpc.SanctuaryServiceStub(self.channel)

    def create(self, text: str = "4", **fields: Any) -> Any:
        score = types_pb2.Score(name="night.sbg", format=types_pb2.SCORE_FORMAT_SBG, text=text)
        request = circle_pb2.CreateCircleRequest(title="Night", score=score, **fields)
        return self.circles.CreateCircle(request, metadata=self.admin, timeout=PATIENCE_S).circle

    def tokens(self, circle_id: str, count: int = 1, valid_ns: int = 0) -> list[str]:
        request = circle_pb2.CreateJoinTokensRequest(circle_id=circle_id, count=count, valid_ns=valid_ns)
        return list(self.circles.CreateJoinTokens(request, metadata=self.admin, timeout=PATIENCE_S).tokens)

    def advance(self, circle_id: str, state: Any) -> Any:
        request = circle_pb2.AdvanceCircleRequest(circle_id=circle_id, state=state)
        return self.circles.AdvanceCircle(request, metadata=self.admin, timeout=PATIENCE_S).circle

    def join(self, circle_id: str) -> "Guest":
        return Guest(self, circle_id, self.tokens(circle_id)[0])


class Running(Outside):
    """A daemon in this process, with a look behind its door."""

    def __init__(self, daemon: Daemon, plane: FakePlane, data_dir: Path, host: str) -> None:
        super().__init__(f"{host}:{daemon.place.grpc_port}", data_dir)
        self.daemon, self.plane = daemon, plane


class Guest:
    """A sleeper's client, no more than the API asks for."""

    def __init__(self, running: Outside, circle_id: str, token: str) -> None:
        self.running, self.key = running, Ed25519PrivateKey.generate()
        self.answer = running.circles.JoinCircle(join_request(self.key, circle_id, token), timeout=PATIENCE_S)
        self.credential = self.answer.credential
        self.number = number_of(self.answer.sleeper_id)

    def at(self, running: Outside) -> "Guest":
        """This guest, calling another daemon."""
        moved = object.__new__(Guest)
        moved.__dict__.update(self.__dict__, running=running)
        return moved

    def signed(self, method: str, nonce: str = "", key: Ed25519PrivateKey | None = None) -> list[tuple[str, str]]:
        nonce = nonce or os.urandom(16).hex()
        message = b"harmonia call\0" + f"/harmonia.v1.{method}\0{nonce}\0{self.credential}".encode()
        proof = (key or self.key).sign(message).hex()
        named = {"credential": self.credential, "nonce": nonce, "proof": proof}
        return [(f"harmonia-{name}", value) for name, value in named.items()]

    def call(self, service: str, method: str, request: Any) -> Any:
        stubs = {"Consent": self.running.consents, "Rhythm": self.running.rhythms}
        stubs |= {"Offer": self.running.offers, "Me": self.running.mine}
        stubs |= {"Platform": self.running.platforms, "Circle": self.running.circles}
        send = getattr(stubs[service], method)
        return send(request, metadata=self.signed(f"{service}Service/{method}"), timeout=PATIENCE_S)

    def grant(self, purpose: types_pb2.Purpose.ValueType, supersedes: str = "") -> consent_pb2.PurposeConsent:
        request = consent_pb2.GrantRequest(purpose=purpose, supersedes=supersedes, event_id=os.urandom(16))
        answer: consent_pb2.GrantResponse = self.call("Consent", "Grant", request)
        return answer.consent

    def withdraw(self, *purposes: types_pb2.Purpose.ValueType, event_id: bytes = b"") -> consent_pb2.WithdrawResponse:
        request = consent_pb2.WithdrawRequest(purposes=purposes, event_id=event_id or os.urandom(16))
        answer: consent_pb2.WithdrawResponse = self.call("Consent", "Withdraw", request)
        return answer

    def set_offset(self, turns: float) -> int:
        request = rhythm_pb2.SetPhaseOffsetRequest(offset_turns=turns)
        answer: rhythm_pb2.SetPhaseOffsetResponse = self.call("Rhythm", "SetPhaseOffset", request)
        return answer.offset

    def attach(self) -> platform_pb2.AttachPlatformResponse:
        answer: platform_pb2.AttachPlatformResponse = self.call(
            "Platform", "AttachPlatform", platform_pb2.AttachPlatformRequest()
        )
        return answer

    @property
    def audible(self) -> bool:
        assert isinstance(self.running, Running)
        return self.running.plane.audible(self.number)


def join_request(key: Ed25519PrivateKey, circle_id: str, token: str) -> circle_pb2.JoinCircleRequest:
    proof = key.sign(b"harmonia join\0" + circle_id.encode() + b"\0" + token.encode())
    public = key.public_key().public_bytes_raw()
    return circle_pb2.JoinCircleRequest(circle_id=circle_id, token=token, platform_key=public, proof=proof)


@contextmanager
def daemon(data_dir: Path, **changes: Any) -> Iterator[Running]:
    """A daemon for the length of the block, on free ports."""
    planes: list[FakePlane] = []

    def make_plane(_host: str, _port: int, _clock_file: str) -> DataPlane:
        planes.append(FakePlane(time.monotonic_ns))
        return planes[0]

    settings = replace(Settings(data_dir, port=0, plane=make_plane, scores=fake_scores), **changes)
    opened = running(settings)
    house = the_loop().run(opened.__aenter__())
    outside = Running(house, planes[0], data_dir, settings.host)
    try:
        yield outside
    finally:
        outside.channel.close()
        the_loop().run(opened.__aexit__(None, None, None))


def reason_of(error: grpc.RpcError) -> str:
    """The ErrorInfo's reason; asserts that the error is told as we tell them: our domain, one line."""
    status: Any = rpc_status.from_call(error)  # type: ignore[arg-type]
    assert status is not None, error
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.domain == "harmonia"
    assert status.message
    assert "\n" not in status.message
    return str(info.reason)
