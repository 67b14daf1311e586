"""Every call in every role, over real gRPC: what the table allows is answered, everything else is refused in a line."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import message_factory

from harmonia.domain.roles import GIVEN, MAY, Access, Role
from harmonia.engine.plane import number_of
from harmonia.rpc.auth import ACCESS, PACKAGE
from harmonia.v1 import dialogue_pb2, platform_pb2, steward_pb2, types_pb2
from tests.rpc.daemon import PATIENCE_S, Guest, Running, daemon, reason_of
from tests.rpc.test_doors import PROTOS

METHODS = {
    f"{PACKAGE}{service.name}/{method.name}": method
    for proto in PROTOS
    for service in proto.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
CIRCLE = {"circle_id": "{circle}"}
"""A request's fields; what is in braces is filled in when it is sent."""
FIELDS: dict[str, dict[str, Any]] = {
    "GetCircle": CIRCLE,
    "WatchCircle": CIRCLE,
    "AdvanceCircle": {**CIRCLE, "state": types_pb2.CIRCLE_STATE_ENTRAINING},
    "CreateJoinTokens": {**CIRCLE, "count": 1},
    "GetRhythm": CIRCLE,
    "SetRhythm": {**CIRCLE, "frequency_hz": 4.0},
    "SetWeaving": {**CIRCLE, "mode": types_pb2.CIRCLE_MODE_FREE},
    "OfferOffsets": {**CIRCLE, "pattern_turns": [0.25]},
    "FindStem": {"sha256": b"s" * 32},
    "ReadStem": {"sha256": b"s" * 32},
    "WriteStem": {"sha256": b"s" * 32, "size": 8, "file": "a.flac"},
    "Grant": {"purpose": types_pb2.PURPOSE_RESEARCH, "event_id": b"g" * 16},
    "Withdraw": {"purposes": [types_pb2.PURPOSE_RESEARCH], "event_id": b"w" * 16},
    "KeepApart": {"sleeper_id": "sleeper-nobody", "unheard": True},
    "SetVoice": {"voice": [types_pb2.Coefficient(re=1)] * 2},
    "SetOwnRhythm": {},
    "SetPhaseOffset": {"offset_turns": 0.25},
    "SetCoupling": {"coupling": 0.5, "weight": 1.0},
    "SetHearing": {"hearing_level": 1.0, "own_level": 1.0},
    "ListenIn": {"sleeper_id": "sleeper-nobody"},
    "GrantRole": {**CIRCLE, "role": steward_pb2.ROLE_GUEST, "name": "Lee"},
    "ListRoles": CIRCLE,
    "RevokeRole": {**CIRCLE, "role_id": "{guest}"},
    "LookAtCircle": CIRCLE,
    "WatchRoom": CIRCLE,
    "SilenceRoom": CIRCLE,
    "LiftSilence": {**CIRCLE, "silence_id": "{silence}"},
    "AnswerHelp": {**CIRCLE, "help_id": "{help}"},
    "CallForHelp": {"event_id": b"h" * 16},
    "TakeBackHelp": {"help_id": "{help}"},
    "OpenDialogue": {**CIRCLE, "topic": "light"},
    "ListDialogues": CIRCLE,
    "GetDialogue": {**CIRCLE, "dialogue_id": "{dialogue}"},
    "Say": {**CIRCLE, "dialogue_id": "{dialogue}", "text": "yes"},
    "CloseDialogue": {**CIRCLE, "dialogue_id": "{dialogue}"},
    "MakePetition": {"event_id": b"p" * 16, "text": "more light"},
    "WithdrawPetition": {"petition_id": "{petition}"},
    "FilePetition": {"petition_id": "{petition}", "topic": "light"},
}
ADMITTED = {
    # Admitted, and then refused for what was asked, in these words.
    "FindStem": ("this sanctuary has no stem", "fetches only the stems that their circle's score names"),
    "ReadStem": ("this sanctuary has no stem", "fetches only the stems that their circle's score names"),
    "CarryDatagrams": ("a datagram has 1 to 2048 bytes",),
    "ListenIn": ("there is no sleeper",),
    "JoinCircle": ("there is no circle",),
    "CreateCircle": ("a score's format must be",),
}
PRINCIPALS = [*Role, None]
"""Every role, and a stranger."""


class House:
    """A circle in which everybody has their role, and something is there to be acted upon."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self.circle_id = running.create().circle_id
        self.sleeper = running.join(self.circle_id)
        self.keys: dict[Role, str] = {}
        self.ids: dict[Role, str] = {}
        for role in sorted(GIVEN):
            self.ids[role], self.keys[role] = self.grant(role)

    def grant(self, role: Role) -> tuple[str, str]:
        request = steward_pb2.GrantRoleRequest(circle_id=self.circle_id, role=int(role), name=role.word)  # type: ignore[arg-type]
        answer = self.send("StewardService/GrantRole", request, self.running.admin)
        return answer.role.role_id, answer.credential

    def begin(self) -> None:
        self.running.advance(self.circle_id, types_pb2.CIRCLE_STATE_ENTRAINING)

    def metadata(self, role: Role | None, method: str) -> list[tuple[str, str]]:
        if role is None:
            return []
        if role is Role.HOST:
            return self.running.admin
        if role is Role.SLEEPER:
            return self.sleeper.signed(method)
        return [("authorization", f"Bearer {self.keys[role]}")]

    def send(self, method: str, request: Any, metadata: list[tuple[str, str]]) -> Any:
        """The answer, or the first of a stream."""
        described = METHODS[PACKAGE + method]
        answers: Any = message_factory.GetMessageClass(described.output_type)
        kinds = {(False, False): "unary_unary", (False, True): "unary_stream", (True, True): "stream_stream"}
        kind = kinds[described.client_streaming, described.server_streaming]
        call = getattr(self.running.channel, kind)(
            f"{PACKAGE}{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answers.FromString,
        )
        given = iter([request]) if described.client_streaming else request
        answer = call(given, metadata=metadata, timeout=PATIENCE_S)
        return next(iter(answer)) if described.server_streaming else answer

    def request(self, method: str) -> Any:
        made: Any = message_factory.GetMessageClass(METHODS[PACKAGE + method].input_type)
        name = method.partition("/")[2]
        return made(**{field: self.filled(value) for field, value in FIELDS.get(name, {}).items()})

    def filled(self, value: Any) -> Any:
        """What stands in braces, made for this very call."""
        if not isinstance(value, str) or not (named := re.fullmatch(r"\{(\w+)\}", value)):
            return value
        makers: dict[str, Callable[[], str]] = {
            "circle": lambda: self.circle_id,
            "guest": lambda: self.grant(Role.GUEST)[0],
            "silence": self.silence,
            "help": self.help,
            "dialogue": self.dialogue,
            "petition": self.petition,
        }
        return makers[named[1]]()

    def silence(self) -> str:
        request = steward_pb2.SilenceRoomRequest(circle_id=self.circle_id)
        name: str = self.send("StewardService/SilenceRoom", request, self.running.admin).silence.silence_id
        return name

    def help(self) -> str:
        method = "StewardService/CallForHelp"
        request = steward_pb2.CallForHelpRequest(event_id=b"h" * 16)
        name: str = self.send(method, request, self.sleeper.signed(method)).call.help_id
        return name

    def dialogue(self) -> str:
        request = dialogue_pb2.OpenDialogueRequest(circle_id=self.circle_id, topic="dark")
        name: str = self.send("DialogueService/OpenDialogue", request, self.running.admin).dialogue.dialogue_id
        return name

    def petition(self) -> str:
        method = "DialogueService/MakePetition"
        request = dialogue_pb2.MakePetitionRequest(event_id=os.urandom(16), text="less light")
        name: str = self.send(method, request, self.sleeper.signed(method)).petition.petition_id
        return name

    def outcome(self, method: str, role: Role | None) -> tuple[str, str]:
        """The reason of the refusal, or nothing, and its line."""
        request = self.request(method)
        try:
            self.send(method, request, self.metadata(role, method))
        except grpc.RpcError as error:
            return reason_of(error), str(error.details())
        return "", ""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with daemon(tmp_path_factory.mktemp("roles")) as running:
        yield running


@pytest.fixture(scope="module")
def house(running: Running) -> House:
    return House(running)


@pytest.fixture(scope="module")
def begun(running: Running) -> House:
    house = House(running)
    house.begin()
    return house


NEEDS_RHYTHM = {"GetRhythm", "SetRhythm", "SetOwnRhythm"}
ALONE = {"LeaveCircle", "ForgetMe", "AdvanceCircle", "MakePetition", "WithdrawPetition", "FilePetition"}
"""What changes a circle so that the next call would find another."""


@pytest.mark.parametrize("role", PRINCIPALS, ids=lambda role: "stranger" if role is None else role.word)
@pytest.mark.parametrize("method", sorted(method.removeprefix(PACKAGE) for method in METHODS))
def test_a_call_is_answered_where_the_table_allows_it_and_refused_everywhere_else(
    house: House, begun: House, method: str, role: Role | None
) -> None:
    name, access = method.partition("/")[2], ACCESS[PACKAGE + method]
    where = begun if name in NEEDS_RHYTHM else house
    if name in ALONE:
        where = House(house.running)
    reason, said = where.outcome(method, role)
    allowed = access is Access.OPEN if role is None else role in MAY[access]
    if allowed and reason:
        # What is not filled in above is only seen to be let in.
        unfilled = name not in FIELDS and METHODS[PACKAGE + method].input_type.fields and name not in ADMITTED
        assert unfilled or any(words in said for words in ADMITTED.get(name, ())), said
        assert reason not in ("NOT_AUTHENTICATED", "INTERNAL")
        assert reason != "NOT_PERMITTED" or not unfilled
    elif allowed:
        assert name not in ADMITTED
    else:
        assert reason in ("NOT_PERMITTED", "NOT_AUTHENTICATED"), (reason, said)
        assert "only" in said
        assert len(said) < 250
        words = {one.word for one in MAY[access]}
        assert any(word in said for word in words), "who may"


def test_a_role_opens_its_own_circle_and_no_other(house: House) -> None:
    other = house.running.create().circle_id
    for role in sorted(GIVEN - {Role.ADVOCATE}):
        request = steward_pb2.LookAtCircleRequest(circle_id=other)
        with pytest.raises(grpc.RpcError) as caught:
            house.send("StewardService/LookAtCircle", request, house.metadata(role, ""))
        assert reason_of(caught.value) == "NOT_PERMITTED"
        assert f"a {role.word} sees only the circle that they are in" in str(caught.value)


@pytest.mark.parametrize("role", [Role.WEAVER, Role.COUNCIL])
def test_who_reads_the_score_hears_the_music_of_no_other(house: House, role: Role) -> None:
    for method in ("StemService/FindStem", "StemService/ReadStem"):
        reason, said = house.outcome(method, role)
        assert reason == "NOT_PERMITTED"
        assert f"a {role.word} fetches only the stems that their circle's score names" in said


def test_what_a_guest_sees_is_no_score_and_nobody(house: House) -> None:
    seen = house.send("StewardService/LookAtCircle", steward_pb2.LookAtCircleRequest(), house.metadata(Role.GUEST, ""))
    assert (seen.title, seen.sleepers, seen.capacity) == ("Night", 1, 64)
    assert "sleeper-" not in str(seen)


def test_a_revoked_role_is_refused_at_once_and_its_stream_ends(running: Running) -> None:
    house = House(running)
    method, metadata = "StewardService/WatchRoom", house.metadata(Role.STEWARD, "")
    stub: Any = running.channel.unary_stream(
        f"{PACKAGE}{method}",
        request_serializer=steward_pb2.WatchRoomRequest.SerializeToString,
        response_deserializer=steward_pb2.WatchRoomResponse.FromString,
    )
    rooms = stub(steward_pb2.WatchRoomRequest(), metadata=metadata, timeout=PATIENCE_S)
    assert next(rooms).circle_id == house.circle_id
    request = steward_pb2.RevokeRoleRequest(circle_id=house.circle_id, role_id=house.ids[Role.STEWARD])
    assert house.send("StewardService/RevokeRole", request, running.admin).role.over == "has been revoked"
    for call in (lambda: house.send(method, steward_pb2.WatchRoomRequest(), metadata), lambda: list(rooms)):
        with pytest.raises(grpc.RpcError) as caught:
            call()
        assert reason_of(caught.value) == "NOT_PERMITTED"
        assert "this role of steward has been revoked: ask the host for another" in str(caught.value)


def test_a_role_of_a_closed_circle_is_refused(running: Running) -> None:
    house = House(running)
    running.advance(house.circle_id, types_pb2.CIRCLE_STATE_CLOSED)
    for role in sorted(GIVEN):
        reason, said = house.outcome("StewardService/LookAtCircle", role)
        assert reason == "NOT_PERMITTED"
        assert f"this role of {role.word} has ended with its circle" in said


def test_roles_outlive_a_restart_and_so_does_what_ended_them(tmp_path: Path) -> None:
    with daemon(tmp_path) as running:
        house = House(running)
        request = steward_pb2.RevokeRoleRequest(circle_id=house.circle_id, role_id=house.ids[Role.GUEST])
        house.send("StewardService/RevokeRole", request, running.admin)
        assert not any(key.encode() in path.read_bytes() for key in house.keys.values() for path in tmp_path.iterdir())
    with daemon(tmp_path) as running:
        house.running = running
        assert house.outcome("StewardService/LookAtCircle", Role.COUNCIL) == ("", "")
        assert house.outcome("StewardService/LookAtCircle", Role.GUEST)[0] == "NOT_PERMITTED"


def test_the_advocate_is_told_a_text_and_nothing_of_its_maker(running: Running) -> None:
    house = House(running)
    petition_id = house.petition()
    waiting = house.send(
        "DialogueService/ListPetitions", dialogue_pb2.ListPetitionsRequest(), house.metadata(Role.ADVOCATE, "")
    )
    assert [(one.petition_id, one.text) for one in waiting.petitions] == [(petition_id, "less light")]
    assert {field.name for field in dialogue_pb2.WaitingPetition.DESCRIPTOR.fields} == {"petition_id", "text"}
    file = dialogue_pb2.FilePetitionRequest(petition_id=petition_id, topic="light")
    filed = house.send("DialogueService/FilePetition", file, house.metadata(Role.ADVOCATE, "")).dialogue_id
    method = "DialogueService/ListOwnPetitions"
    (own,) = house.send(method, dialogue_pb2.ListOwnPetitionsRequest(), house.sleeper.signed(method)).petitions
    assert own.dialogue_id == filed
    request = dialogue_pb2.GetDialogueRequest(dialogue_id=filed)
    read = house.send("DialogueService/GetDialogue", request, house.metadata(Role.STEWARD, "")).dialogue
    assert house.sleeper.answer.sleeper_id not in str(read)


def test_a_silence_is_in_force_when_it_is_answered(running: Running) -> None:
    house = House(running)
    guest: Guest = house.sleeper
    guest.grant(types_pb2.PURPOSE_VOICE)
    assert guest.audible
    request = steward_pb2.SilenceRoomRequest(message="quiet", alarm=True)
    silence = house.send("StewardService/SilenceRoom", request, house.metadata(Role.STEWARD, "")).silence
    assert not guest.audible
    state = guest.attach().state
    assert state.silence == silence
    *_, epoch = running.plane.hushes[number_of(house.circle_id)]
    assert state.hush_epoch == epoch > 0
    assert not running.plane.sleepers[guest.number].hears_hush, "a platform that does not ask for it"
    guest.call("Platform", "AttachPlatform", platform_pb2.AttachPlatformRequest(hears_hush=True))
    assert running.plane.sleepers[guest.number].hears_hush
    assert (silence.by, silence.message, silence.alarm) == ("steward", "quiet", True)
    lift = steward_pb2.LiftSilenceRequest(silence_id=silence.silence_id)
    house.send("StewardService/LiftSilence", lift, house.metadata(Role.STEWARD, ""))
    assert guest.audible
    assert not guest.attach().state.HasField("silence")


def test_the_documentation_has_the_table(root_docs: str) -> None:
    assert matrix() in root_docs


def matrix() -> str:
    """The table of roles as docs/stewards.md has it: print it with `python -m tests.rpc.test_roles`."""
    head = "| | " + " | ".join(role.word for role in Role) + " |\n| --- |" + " :-: |" * len(Role) + "\n"
    rows = (f"| {one.value} |" + "".join(" yes |" if role in MAY[one] else " |" for role in Role) for one in Access)
    return head + "\n".join(rows) + "\n"


@pytest.fixture
def root_docs() -> str:
    return (Path(__file__).resolve().parents[2] / "docs" / "stewards.md").read_text()


if __name__ == "__main__":
    print(matrix())
