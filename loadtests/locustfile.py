"""Sleepers by the hundred: each joins over gRPC, holds its stream, takes sync and mix frames over UDP, and lives.

Every sleeper has a TLS connection, a key and a platform of its own, with a clock that is wrong by up to half a second
and 100 ppm. Locust's users are greenlets, so that blocking gRPC must be told of gevent; the platforms need no such
thing, because their datagrams are handled by one Rust thread that Python never enters.

`run.py load` starts this with a sanctuary of its own. By hand: HARMONIA_LOAD_DATA names the sanctuary's data folder,
HARMONIA_LOAD_CIRCLE the circle, HARMONIA_LOAD_SLEEPERS and -u the sleepers, HARMONIA_LOAD_SECONDS how long they all
stay.
"""

import os
import random
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gevent
import grpc
import grpc.experimental.gevent
from locust import User, between, events, task
from locust.env import Environment
from locust.exception import StopUser

from harmonia._core import Platform, TimeKeys
from harmonia.v1 import (
    circle_pb2,
    circle_pb2_grpc,
    consent_pb2,
    consent_pb2_grpc,
    platform_pb2,
    platform_pb2_grpc,
    rhythm_pb2,
    rhythm_pb2_grpc,
    types_pb2,
)
from loadtests.limits import SETTLING_S, Calls, Finding, Limits, Measured, Sample, judge
from loadtests.stranger import CALL_TIMEOUT_S, Host, Sanctuary, Stranger

# Under gevent, whatever waits inside gRPC waits in a thread of gevent's pool: one for each open stream, one for each
# call under way. gRPC itself makes the pool as large as there are channels, and two: with every stream open, all calls
# would share those two, and wait for seconds. It never makes the pool smaller than it finds it.
SLEEPERS = int(os.environ.get("HARMONIA_LOAD_SLEEPERS", "200"))
gevent.get_hub().threadpool.maxsize = 2 * SLEEPERS + 50
grpc.experimental.gevent.init_gevent()

SEED = int(os.environ.get("HARMONIA_LOAD_SEED", "1"))
SECONDS = float(os.environ.get("HARMONIA_LOAD_SECONDS", "60"))
OPTED_OUT_S = 2.0
ACKNOWLEDGED_WITHIN_S = 10.0
FRESH_MS = 1000
"""A platform without a frame for this long lets the others fade."""
TOKENS_AT_ONCE = 50
RESTRAINT = max(1.0, SLEEPERS / 200)
"""Up to 200 sleepers do something every ten seconds; more of them, as many things a second all together. Every opt-out
sends everybody a cut, so that a crowd of the restless would cost its square, and no night has one."""

FINDINGS: list[Finding] = []


class Night:
    """What the users of one run share."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.sanctuary = Sanctuary.read(Path(os.environ["HARMONIA_LOAD_DATA"]))
        self.circle_id = os.environ["HARMONIA_LOAD_CIRCLE"]
        self.host = Host(self.sanctuary)
        self.tokens: list[str] = []
        self.random = random.Random(SEED)
        self.sleepers: set[Sleeper] = set()
        self.samples: list[Sample] = []
        self.frames = 0
        self.platform_s = 0.0
        self.withdrawing = 0
        self.unacknowledged = 0
        self.over = False

    def token(self) -> str:
        """An invitation that nobody has used."""
        while not self.tokens:
            # Several greenlets may come by while the answer is under way: each brings some, none takes another's.
            self.tokens += self.host.invite(self.circle_id, TOKENS_AT_ONCE)
        return self.tokens.pop()

    def watch(self) -> None:
        """Looks at everybody once a second, from the moment on that all should have settled, then ends the run."""
        gevent.sleep(SETTLING_S)
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            began = time.monotonic()
            self.samples.append(self.sample())
            gevent.sleep(max(0.0, began + 1.0 - time.monotonic()))
        # Locust may end a user who has just begun something: so nobody opts out any more, and who did is waited for.
        self.over = True
        end = time.monotonic() + ACKNOWLEDGED_WITHIN_S
        while self.withdrawing and time.monotonic() < end:
            gevent.sleep(0.05)
        self.unacknowledged += self.withdrawing
        if self.environment.runner is not None:
            self.environment.runner.quit()

    def sample(self) -> Sample:
        """The population now."""
        settled = [sleeper for sleeper in self.sleepers if sleeper.settled()]
        return Sample(
            present=sum(sleeper.watching for sleeper in self.sleepers),
            settled=len(settled),
            locked=sum(sleeper.platform.clock().lock_state == types_pb2.LOCK_STATE_LOCKED for sleeper in settled),
            fresh=sum(0 <= sleeper.platform.frames()["age_ms"] <= FRESH_MS for sleeper in settled),
        )


class Sleeper(User):
    """One person, from joining to leaving, over and over."""

    wait_time = between(5 * RESTRAINT, 15 * RESTRAINT)
    night: Night
    stream: Any = None
    watching = False
    attached_at = float("inf")
    opted_in_at = float("inf")

    def on_start(self) -> None:
        """Joins. Who cannot is gone, and missing in the count of those present."""
        self.random = random.Random(self.night.random.random())
        try:
            self.arrive()
        except grpc.RpcError as error:
            raise StopUser from error
        self.night.sleepers.add(self)

    def on_stop(self) -> None:
        """The run is over: hangs up without leaving, as people do."""
        self.night.sleepers.discard(self)
        self.detach()
        self.depart()

    def arrive(self) -> None:
        """A new platform, key and credential; then attached, and heard."""
        token = self.night.token()
        self.stranger = Stranger()
        self.channel = self.night.sanctuary.channel()
        offset_ns = self.random.randint(-500_000_000, 500_000_000)
        drift_ppb = self.random.randint(-100_000, 100_000)
        self.platform = Platform(clock_offset_ns=offset_ns, clock_drift_ppb=drift_ppb, seed=self.random.getrandbits(63))
        with self.measured("join"):
            answer = self.stranger.join(self.channel, self.night.circle_id, token)
        signed = self.stranger.signed(self.channel)
        self.circles = circle_pb2_grpc.CircleServiceStub(signed)
        self.consents = consent_pb2_grpc.ConsentServiceStub(signed)
        self.platforms = platform_pb2_grpc.PlatformServiceStub(signed)
        self.rhythms = rhythm_pb2_grpc.RhythmServiceStub(signed)
        self.attach()
        voice = [types_pb2.Coefficient(re=self.random.uniform(-1, 1), im=self.random.uniform(-1, 1))]
        request = platform_pb2.SetVoiceRequest(voice=voice * answer.circle.channels)
        self.call("voice", self.platforms.SetVoice, request)
        self.opt_in()

    def attach(self) -> None:
        """Opens the data plane, and the stream."""
        answer = self.call("attach", self.platforms.AttachPlatform, platform_pb2.AttachPlatformRequest())
        given = answer.time_keys
        keys = TimeKeys(given.aead_algorithm, given.client_key, given.server_key, list(given.cookies))
        self.platform.connect(self.night.sanctuary.host, answer.udp_port, answer.session_id, answer.secret, keys)
        self.attached_at = time.monotonic()
        self.frames_before = self.platform.frames()["received"]
        self.stream = self.platforms.WatchPlatform(platform_pb2.WatchPlatformRequest())
        self.reader = gevent.spawn(self.read, self.stream)

    def read(self, stream: Any) -> None:
        """Follows the stream until this sleeper ends it; any other end is a failure."""
        try:
            for _ in stream:
                self.watching = True
        except grpc.RpcError as error:
            if stream is self.stream:
                self.report("watch", 0.0, error)
        else:
            if stream is self.stream:
                self.report("watch", 0.0, ConnectionError("the sanctuary ended the stream"))
        if stream is self.stream:
            self.watching = False

    def detach(self) -> None:
        """Ends the stream. The platform keeps its clock."""
        stream, self.stream = self.stream, None
        self.watching = False
        if stream is None:
            return
        self.night.frames += self.platform.frames()["received"] - self.frames_before
        self.night.platform_s += time.monotonic() - self.attached_at
        self.attached_at = float("inf")
        stream.cancel()

    def depart(self) -> None:
        """Switches the platform off."""
        if hasattr(self, "platform"):
            self.platform.close()
            self.channel.close()

    def settled(self) -> bool:
        """Whether the platform had its time to lock and to be sent frames."""
        return self.watching and time.monotonic() - max(self.attached_at, self.opted_in_at) > SETTLING_S

    @task(6)
    def turn(self) -> None:
        """Sets a phase offset of one's own."""
        turns = self.random.uniform(-0.5, 0.5)
        self.platform.set_offset(turns)
        self.call("offset", self.rhythms.SetPhaseOffset, rhythm_pb2.SetPhaseOffsetRequest(offset_turns=turns))

    @task(2)
    def opt_out_and_back_in(self) -> None:
        """Withdraws everything by one of the two doors, rests, and grants anew."""
        if self.night.over:
            return
        self.opted_in_at = float("inf")
        event_id = secrets.token_bytes(16)
        self.night.withdrawing += 1
        try:
            if self.random.random() < 0.5:
                self.call("withdraw", self.consents.Withdraw, consent_pb2.WithdrawRequest(event_id=event_id))
            else:
                self.withdraw_sealed(event_id)
        except (grpc.RpcError, TimeoutError):
            self.night.unacknowledged += 1
            raise
        finally:
            self.night.withdrawing -= 1
        gevent.sleep(OPTED_OUT_S)
        self.opt_in()

    def withdraw_sealed(self, event_id: bytes) -> None:
        """Through the data plane, where Rust mutes and Python only writes it down."""
        with self.measured("withdraw sealed"):
            self.platform.withdraw(event_id, 0)
            end = time.monotonic() + ACKNOWLEDGED_WITHIN_S
            while not self.platform.acknowledged(event_id):
                if time.monotonic() > end:
                    raise TimeoutError(f"not acknowledged within {ACKNOWLEDGED_WITHIN_S:.0f} s")
                gevent.sleep(0.005)

    def opt_in(self) -> None:
        """Grants hearing and voice, each naming the withdrawal that it answers."""
        answer = self.call("consent", self.consents.GetConsent, consent_pb2.GetConsentRequest())
        withdrawn = {consent.purpose: consent.withdrawal_id for consent in answer.purposes}
        for purpose in (types_pb2.PURPOSE_HEARING, types_pb2.PURPOSE_VOICE):
            request = consent_pb2.GrantRequest(
                purpose=purpose, supersedes=withdrawn.get(purpose, ""), event_id=secrets.token_bytes(16)
            )
            self.call("grant", self.consents.Grant, request)
        self.platform.open_gate()
        self.opted_in_at = time.monotonic()

    @task(1)
    def lose_the_connection(self) -> None:
        """Drops the stream, and attaches again with the same credential."""
        self.detach()
        gevent.sleep(1.0)
        self.attach()

    @task(1)
    def leave_and_return(self) -> None:
        """Leaves for good, and comes again as somebody else."""
        self.detach()
        self.call("leave", self.circles.LeaveCircle, circle_pb2.LeaveCircleRequest())
        self.depart()
        self.arrive()

    def call(self, name: str, method: Callable[..., Any], request: Any) -> Any:
        """One measured call."""
        with self.measured(name):
            return method(request, timeout=CALL_TIMEOUT_S)

    @contextmanager
    def measured(self, name: str) -> Iterator[None]:
        """Reports how long the block took, and whether it failed."""
        began = time.perf_counter()
        try:
            yield
        except (grpc.RpcError, TimeoutError) as error:
            self.report(name, (time.perf_counter() - began) * 1000, error)
            raise
        self.report(name, (time.perf_counter() - began) * 1000, None)

    def report(self, name: str, took_ms: float, error: Exception | None) -> None:
        """Tells locust."""
        self.environment.events.request.fire(
            request_type="harmonia",
            name=name,
            response_time=took_ms,
            response_length=0,
            exception=error,
            context={},
        )


@events.test_start.add_listener  # type: ignore[untyped-decorator]
def begin(environment: Environment, **_: Any) -> None:
    """Before the first sleeper."""
    Sleeper.night = Night(environment)


@events.spawning_complete.add_listener  # type: ignore[untyped-decorator]
def watch(**_: Any) -> None:
    """All have been sent off."""
    gevent.spawn(Sleeper.night.watch)


@events.quitting.add_listener  # type: ignore[untyped-decorator]
def judge_the_run(environment: Environment, **_: Any) -> None:
    """The exit code is 1 unless every limit held; a run that never began held none."""
    night = getattr(Sleeper, "night", None)
    if night is not None:
        calls = {
            entry.name: Calls(
                entry.num_requests, entry.num_failures, float(entry.get_response_time_percentile(0.95) or 0)
            )
            for entry in environment.stats.entries.values()
        }
        rate = night.frames / night.platform_s if night.platform_s else 0.0
        measured = Measured(SLEEPERS, SECONDS, night.samples, calls, rate, night.unacknowledged)
        FINDINGS.extend(judge(measured, Limits()))
    environment.process_exit_code = 0 if FINDINGS and all(finding.held for finding in FINDINGS) else 1


@events.quit.add_listener  # type: ignore[untyped-decorator]
def say_so(**_: Any) -> None:
    """Below locust's own tables."""
    for finding in FINDINGS:
        print(f"  {'ok    ' if finding.held else 'FAILED'}  {finding.text}")
    broken = [finding.text for finding in FINDINGS if not finding.held]
    if not FINDINGS:
        print("load: FAILED, the run never began")
    elif broken:
        print(f"load: FAILED, {broken[0]}")
    else:
        print(f"load: {SLEEPERS} sleepers for {SECONDS:.0f} s, every limit held")
