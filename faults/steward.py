"""Whoever is awake in a campaign: gives and takes roles, silences the room, answers calls, leads dialogues."""

import time
from typing import Any

from faults.host import Host
from faults.house import House
from faults.ledger import ANYTHING, NOTHING, Caller, Facts, Surprise
from harmonia.v1 import dialogue_pb2, dialogue_pb2_grpc, steward_pb2, steward_pb2_grpc

_ROLES = (
    steward_pb2.ROLE_STEWARD,
    steward_pb2.ROLE_WEAVER,
    steward_pb2.ROLE_COUNCIL,
    steward_pb2.ROLE_ADVOCATE,
    steward_pb2.ROLE_GUEST,
)
_ROLES_MAX = 6
_DIALOGUES_MAX = 3
_UNTIL_NS = 24 * 3600 * 1_000_000_000
_REVOKED = "has been revoked"

Metadata = tuple[tuple[str, str], ...]


class Steward(Caller):
    """Facts are roles by their names, the silence, answered calls by their messages, dialogues by their topics."""

    OPERATIONS = (
        "give_role",
        "take_role",
        "silence",
        "lift",
        "answer_help",
        "open_dialogue",
        "speak",
        "speak",
        "close_dialogue",
        "file",
    )

    def __init__(self, house: House, host: Host, seed: int) -> None:
        super().__init__(house, seed)
        self._host = host
        self._credentials: dict[str, str] = {}
        """Of roles, by their names; each is promised to be good until its role is over."""
        self.forgotten: set[str] = set()
        """Calls for help, by their messages, of people who were forgotten, or may have been."""

    def connect(self) -> None:
        """To the daemon that runs now."""
        assert self.house.channel is not None
        self._admin = _bearer(self.house.place.admin_token)
        self._room = steward_pb2_grpc.StewardServiceStub(self.house.channel)
        self._talk = dialogue_pb2_grpc.DialogueServiceStub(self.house.channel)

    def verify(self) -> list[str]:
        """What is wrong with the room that is there, and with whom its roles let in."""
        if not self._host.main:
            return []
        seen: Facts = {f"role {one.name}": _standing(one) for one in self._roles()}
        room = self._look()
        if room.HasField("silence"):
            seen["silence"] = (room.silence.silence_id, room.silence.message, room.silence.alarm)
        calls = (call for call in room.calls if call.by and call.message not in self.forgotten)
        seen |= {f"help {call.message}": (call.by, call.HasField("resolved_ns")) for call in calls}
        listed = self._ask(self._talk.ListDialogues, dialogue_pb2.ListDialoguesRequest(circle_id=self._host.main))
        seen |= {f"dialogue {one.topic}": self._dialogue(one.dialogue_id) for one in listed.dialogues}
        for message in self.forgotten:
            self.ledger.facts.pop(f"help {message}", None)
            self.ledger.wish.pop(f"help {message}", None)
        return self.ledger.compare(seen) + self._wrong_credentials()

    def clock_was_lost(self) -> None:
        """Roles that have an end are over."""
        for facts in (self.ledger.facts, self.ledger.wish):
            for name, value in facts.items():
                if name.startswith("role ") and value[1] is not None:
                    facts[name] = (*value[:2], _REVOKED)

    def give_role(self, role: steward_pb2.Role.ValueType | None = None) -> None:
        role = role or self.random.choice(_ROLES)
        if len(self._held()) >= _ROLES_MAX:
            self.take_role()
        name, until_ns = f"{self.random.getrandbits(48):012x}", None
        if self.random.random() < 0.3:
            until_ns = time.time_ns() + _UNTIL_NS
        self.ledger.wish = {f"role {name}": (role, until_ns, "")}
        request = steward_pb2.GrantRoleRequest(circle_id=self._host.main, role=role, name=name, until_ns=until_ns)
        self._credentials[name] = self._ask(self._room.GrantRole, request).credential
        self.ledger.granted(self.ledger.wish)

    def take_role(self) -> None:
        if not self._held():
            self.give_role()
        name = self._held()[0]
        self.ledger.wish = {f"role {name}": (*self.ledger.facts[f"role {name}"][:2], _REVOKED)}
        (role_id,) = (one.role_id for one in self._roles() if one.name == name)
        request = steward_pb2.RevokeRoleRequest(circle_id=self._host.main, role_id=role_id)
        self._ask(self._room.RevokeRole, request)
        self.ledger.granted(self.ledger.wish)

    def silence(self) -> None:
        message, alarm = f"{self.random.getrandbits(48):012x}", self.random.random() < 0.3
        *_, alarmed = self.ledger.facts.get("silence") or (False,)
        alarm = alarm or alarmed  # no silence ends an alarm
        self.ledger.wish = {"silence": (ANYTHING, message, alarm)}
        request = steward_pb2.SilenceRoomRequest(circle_id=self._host.main, message=message, alarm=alarm)
        answer = self._ask(self._room.SilenceRoom, request, steward_pb2.ROLE_STEWARD)
        self.ledger.granted({"silence": (answer.silence.silence_id, message, alarm)})

    def lift(self) -> None:
        if "silence" not in self.ledger.facts:
            self.silence()
        request = steward_pb2.LiftSilenceRequest(circle_id=self._host.main, silence_id=self.ledger.facts["silence"][0])
        self.ledger.wish = {"silence": NOTHING}
        self._ask(self._room.LiftSilence, request, steward_pb2.ROLE_STEWARD)
        self.ledger.granted(self.ledger.wish)

    def unsilence(self) -> None:
        """So that people can be heard."""
        if "silence" in self.ledger.facts:
            self.lift()

    def answer_help(self) -> None:
        """One of the calls that wait, if there is one."""
        waiting = [one for one in self._look().calls if not one.HasField("resolved_ns")]
        if not waiting:
            return
        call = self.random.choice(waiting)
        resolved = bool(call.by) or self.random.random() < 0.5
        self.ledger.wish = {f"help {call.message}": (call.by or ANYTHING, resolved)}
        request = steward_pb2.AnswerHelpRequest(circle_id=self._host.main, help_id=call.help_id, resolved=resolved)
        try:
            answer = self._ask(self._room.AnswerHelp, request, steward_pb2.ROLE_STEWARD)
        except Surprise:
            if call.message not in self.forgotten:
                raise
            self.ledger.refused()
            return
        self.ledger.granted({f"help {call.message}": (answer.call.by, resolved)})

    def open_dialogue(self) -> None:
        if len(self._open()) >= _DIALOGUES_MAX:
            self.close_dialogue()
        topic = f"{self.random.getrandbits(48):012x}"
        request = dialogue_pb2.OpenDialogueRequest(circle_id=self._host.main, topic=topic)
        self.ledger.wish = {f"dialogue {topic}": ANYTHING}
        answer = self._ask(self._talk.OpenDialogue, request, steward_pb2.ROLE_COUNCIL)
        self.ledger.granted({f"dialogue {topic}": _plain(answer.dialogue)})

    def speak(self) -> None:
        one, text = self._one_dialogue(), f"{self.random.getrandbits(48):012x}"
        request = dialogue_pb2.SayRequest(circle_id=self._host.main, dialogue_id=one.dialogue_id, text=text)
        self.ledger.wish = {f"dialogue {one.topic}": ANYTHING}
        answer = self._ask(self._talk.Say, request, steward_pb2.ROLE_COUNCIL)
        self.ledger.granted({f"dialogue {one.topic}": _plain(answer.dialogue)})

    def close_dialogue(self) -> None:
        one = self._one_dialogue()
        request = dialogue_pb2.CloseDialogueRequest(
            circle_id=self._host.main, dialogue_id=one.dialogue_id, outcome=f"{self.random.getrandbits(48):012x}"
        )
        self.ledger.wish = {f"dialogue {one.topic}": ANYTHING}
        answer = self._ask(self._talk.CloseDialogue, request, steward_pb2.ROLE_COUNCIL)
        self.ledger.granted({f"dialogue {one.topic}": _plain(answer.dialogue)})

    def file(self) -> None:
        """One of the petitions that wait, if there is one, as the advocate."""
        if self._as(steward_pb2.ROLE_ADVOCATE) == self._admin:
            self.give_role(steward_pb2.ROLE_ADVOCATE)
        advocate = self._as(steward_pb2.ROLE_ADVOCATE)
        waiting = self.call(self._talk.ListPetitions, dialogue_pb2.ListPetitionsRequest(), metadata=advocate).petitions
        if not waiting:
            return
        petition = self.random.choice(waiting)
        request = dialogue_pb2.FilePetitionRequest(petition_id=petition.petition_id)
        if self.random.random() < 0.2:
            topic = request.topic = f"{self.random.getrandbits(48):012x}"
        else:
            one = self._one_dialogue()
            topic, request.dialogue_id = one.topic, one.dialogue_id
        self.ledger.wish = {f"dialogue {topic}": ANYTHING}
        try:
            answer = self.call(self._talk.FilePetition, request, metadata=advocate)
        except Surprise as surprise:
            if "waits in this circle" not in str(surprise):  # taken back meanwhile, or its maker was forgotten
                raise
            self.ledger.refused()
            return
        self.ledger.granted(self.ledger.wish)
        said = self.ledger.facts[f"dialogue {topic}"] = self._dialogue(answer.dialogue_id)
        if petition.text.encode() not in said:
            raise Surprise(f"a petition was filed, and its text is not in the dialogue on {topic}")

    def _open(self) -> list[dialogue_pb2.Dialogue]:
        kept = (v for k, v in self.ledger.facts.items() if k.startswith("dialogue "))
        return [one for one in map(dialogue_pb2.Dialogue.FromString, kept) if not one.HasField("closed_ns")]

    def _one_dialogue(self) -> dialogue_pb2.Dialogue:
        if not self._open():
            self.open_dialogue()
        return self.random.choice(self._open())

    def _dialogue(self, dialogue_id: str) -> bytes:
        request = dialogue_pb2.GetDialogueRequest(circle_id=self._host.main, dialogue_id=dialogue_id)
        return _plain(self._ask(self._talk.GetDialogue, request).dialogue)

    def _roles(self) -> list[steward_pb2.RolePass]:
        request = steward_pb2.ListRolesRequest(circle_id=self._host.main)
        return list(self._ask(self._room.ListRoles, request).roles)

    def _held(self) -> list[str]:
        """The names of roles that are not over, oldest first."""
        facts = self.ledger.facts.items()
        return [k.removeprefix("role ") for k, v in facts if k.startswith("role ") and not v[2]]

    def _look(self) -> steward_pb2.WatchRoomResponse:
        request = steward_pb2.WatchRoomRequest(circle_id=self._host.main)
        answer: steward_pb2.WatchRoomResponse = self.first(self._room.WatchRoom, request, metadata=self._admin)
        return answer

    def _wrong_credentials(self) -> list[str]:
        wrong = []
        there = {name: held for name, held in self._credentials.items() if f"role {name}" in self.ledger.facts}
        for name, credential in there.items():
            role, _, over = self.ledger.facts[f"role {name}"]
            if self._lets_in(role, credential) is bool(over):
                wrong.append(f"the role {name} {over or 'is good'}, and is {'let in' if over else 'refused'}")
            if over:
                del self._credentials[name]
        return wrong

    def _lets_in(self, role: int, credential: str) -> bool:
        advocate = role == steward_pb2.ROLE_ADVOCATE
        method = self._talk.ListPetitions if advocate else self._room.LookAtCircle
        request = dialogue_pb2.ListPetitionsRequest() if advocate else steward_pb2.LookAtCircleRequest()
        try:
            self.call(method, request, metadata=_bearer(credential))
        except Surprise:
            return False
        return True

    def _as(self, role: int) -> Metadata:
        """The credential of somebody in that role, or the host's, if nobody is known to be."""
        held = (name for name in self._held() if self.ledger.facts[f"role {name}"][0] == role)
        return next((_bearer(self._credentials[name]) for name in held if name in self._credentials), self._admin)

    def _ask(self, method: Any, request: Any, role: int | None = None) -> Any:
        """As the host, or at random as the holder of that role."""
        metadata = self._as(role) if role is not None and self.random.random() < 0.5 else self._admin
        return self.call(method, request, metadata=metadata)


def _bearer(credential: str) -> Metadata:
    return (("authorization", f"Bearer {credential}"),)


def _standing(one: steward_pb2.RolePass) -> tuple[Any, ...]:
    return (one.role, one.until_ns if one.HasField("until_ns") else None, one.over)


def _plain(dialogue: dialogue_pb2.Dialogue) -> bytes:
    return dialogue.SerializeToString(deterministic=True)
