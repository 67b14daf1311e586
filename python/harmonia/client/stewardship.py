"""A circle as whoever has a role in it sees it: the room at night, its dialogues, petitions, or only its public state.

A role is passed on as one line of text, like an invitation: where the sanctuary is, which circle, and the credential.
Who can read it has the role until it is revoked. The host does the same with the house's own token, for any circle.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from harmonia import errors
from harmonia.client import channel, rooms
from harmonia.client.invitation import Endpoint, Invitation
from harmonia.client.rooms import Dialogue, HelpCall, PublicCircle, RoomView, Silence, WaitingPetition
from harmonia.client.sanctuary import read_admin_token, read_endpoint
from harmonia.v1 import dialogue_pb2, dialogue_pb2_grpc, steward_pb2, steward_pb2_grpc

SCHEME = "harmonia-role://"


@dataclass(frozen=True, slots=True)
class RoleKey:
    """A role in a circle at an endpoint. The credential is not shown by ``repr``."""

    endpoint: Endpoint
    circle_id: str
    credential: str

    def __repr__(self) -> str:
        return f"RoleKey({self.endpoint.host}:{self.endpoint.port}/{self.circle_id})"

    def __str__(self) -> str:
        """The text form, secret credential included."""
        invitation = str(Invitation(self.endpoint, self.circle_id, self.credential))
        return SCHEME + invitation.partition("://")[2]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads the text form. Raises BadInput."""
        if not text.strip().startswith(SCHEME):
            raise errors.BadInput(f"not a role; it has the form {SCHEME}HOST:PORT/CIRCLE?token=CREDENTIAL&ca=CA")
        try:
            found = Invitation.parse("harmonia://" + text.strip().removeprefix(SCHEME))
        except errors.BadInput:
            raise errors.BadInput("this role is damaged; copy the whole line again") from None
        return cls(found.endpoint, found.circle_id, found.token)


class Stewardship:
    """A connection with a role, or as the host, to one circle. A context manager, async or not.

    What a role does not open raises NotPermitted; so does everything once it has ended. Every method raises a
    HarmoniaError.
    """

    def __init__(self, key: RoleKey) -> None:
        self.circle_id = key.circle_id
        self._metadata = [("authorization", f"Bearer {key.credential}")] if key.credential else []
        self._channel = channel.open_channel(key.endpoint.host, key.endpoint.port, key.endpoint.ca_pem.encode())
        self._steward = steward_pb2_grpc.StewardServiceStub(self._channel)
        self._dialogue = dialogue_pb2_grpc.DialogueServiceStub(self._channel)

    @classmethod
    def at(cls, data_dir: Path, circle_id: str) -> Self:
        """As the host, of the sanctuary whose data folder is on this machine."""
        return cls(RoleKey(read_endpoint(data_dir), circle_id, read_admin_token(data_dir) or ""))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends every call under way."""
        self._channel.close()

    async def _call(self, method: Any, request: Any) -> Any:
        return await channel.call(method, request, self._metadata)

    async def look(self) -> PublicCircle:
        """The public state: title, state, schedule, counts."""
        request = steward_pb2.LookAtCircleRequest(circle_id=self.circle_id)
        return rooms.public_circle(await self._call(self._steward.LookAtCircle, request))

    # The room. Steward and host.

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[AsyncIterator[RoomView]]:
        """The room, at once, after every change and at least every second; the newest wins."""
        request = steward_pb2.WatchRoomRequest(circle_id=self.circle_id)
        async with channel.stream(self._steward.WatchRoom, request, self._metadata) as answers:
            yield (rooms.room_view(answer) async for answer in answers)

    async def silence(self, message: str = "", *, alarm: bool = False) -> Silence:
        """Silences everybody; with ``alarm``, wakes them. In force for all when it returns.

        Raises StorageError where the sanctuary's disk refuses: it is in force all the same, until a restart.
        """
        request = steward_pb2.SilenceRoomRequest(circle_id=self.circle_id, message=message, alarm=alarm)
        return rooms.silence((await self._call(self._steward.SilenceRoom, request)).silence)

    async def lift(self, silence_id: str) -> None:
        """Ends that silence. Whoever withdrew meanwhile stays silent. Raises BadInput if another is in force."""
        request = steward_pb2.LiftSilenceRequest(circle_id=self.circle_id, silence_id=silence_id)
        await self._call(self._steward.LiftSilence, request)

    async def answer(self, help_id: str, *, resolved: bool = False) -> HelpCall:
        """Says that you are coming, or that it is ``resolved``."""
        request = steward_pb2.AnswerHelpRequest(circle_id=self.circle_id, help_id=help_id, resolved=resolved)
        return rooms.help_call((await self._call(self._steward.AnswerHelp, request)).call)

    # Dialogues. Everybody but guests and the advocate reads and speaks; host and council open and close.

    async def dialogues(self) -> list[Dialogue]:
        """All of the circle's, without what was said."""
        request = dialogue_pb2.ListDialoguesRequest(circle_id=self.circle_id)
        return [rooms.dialogue(m) for m in (await self._call(self._dialogue.ListDialogues, request)).dialogues]

    async def dialogue(self, dialogue_id: str) -> Dialogue:
        """One, whole. Raises NotFound."""
        request = dialogue_pb2.GetDialogueRequest(circle_id=self.circle_id, dialogue_id=dialogue_id)
        return rooms.dialogue((await self._call(self._dialogue.GetDialogue, request)).dialogue)

    async def open_dialogue(self, topic: str) -> Dialogue:
        """Opens one, in any live phase; the night goes on."""
        request = dialogue_pb2.OpenDialogueRequest(circle_id=self.circle_id, topic=topic)
        return rooms.dialogue((await self._call(self._dialogue.OpenDialogue, request)).dialogue)

    async def say(self, dialogue_id: str, text: str) -> Dialogue:
        """Says something there."""
        request = dialogue_pb2.SayRequest(circle_id=self.circle_id, dialogue_id=dialogue_id, text=text)
        return rooms.dialogue((await self._call(self._dialogue.Say, request)).dialogue)

    async def close_dialogue(self, dialogue_id: str, outcome: str = "") -> Dialogue:
        """Ends it, with an outcome in words."""
        request = dialogue_pb2.CloseDialogueRequest(circle_id=self.circle_id, dialogue_id=dialogue_id, outcome=outcome)
        return rooms.dialogue((await self._call(self._dialogue.CloseDialogue, request)).dialogue)

    # Petitions. Advocate only.

    async def petitions(self) -> list[WaitingPetition]:
        """Those that wait."""
        answer = await self._call(self._dialogue.ListPetitions, dialogue_pb2.ListPetitionsRequest())
        return [WaitingPetition(m.petition_id, m.text) for m in answer.petitions]

    async def file(self, petition_id: str, *, dialogue_id: str = "", topic: str = "") -> str:
        """Puts a petition into an open dialogue, or opens one on ``topic``; returns that dialogue's id."""
        request = dialogue_pb2.FilePetitionRequest(petition_id=petition_id, dialogue_id=dialogue_id, topic=topic)
        filed: str = (await self._call(self._dialogue.FilePetition, request)).dialogue_id
        return filed
