"""DialogueService: what a circle talks over, and petitions."""

from typing import Any

from harmonia.domain import dialogue as dialogues
from harmonia.engine.stewarding import Stewarding
from harmonia.rpc import codec_room as codec
from harmonia.rpc.auth import caller, sleeper
from harmonia.rpc.services.house import House
from harmonia.v1 import dialogue_pb2, dialogue_pb2_grpc


def _speaker() -> str:
    """The name beside what the caller says: of the holder of a role; the house and sleepers have none."""
    held = caller().held
    return "" if held is None else held.name


class DialogueServicer(dialogue_pb2_grpc.DialogueServiceServicer):
    """Who may call what stands in :mod:`harmonia.domain.roles`."""

    def __init__(self, house: House) -> None:
        self._house = house

    def _circle(self, request: Any) -> Stewarding:
        return self._house.own_circle(request.circle_id).stewarding

    async def OpenDialogue(self, request: Any, _context: Any) -> dialogue_pb2.OpenDialogueResponse:  # noqa: N802
        """Opens a dialogue."""
        opening = self._circle(request).open_dialogue
        opened = await self._house.bridge.call(opening, request.topic, caller().role, _speaker())
        return dialogue_pb2.OpenDialogueResponse(dialogue=codec.dialogue(opened))

    async def ListDialogues(self, request: Any, _context: Any) -> dialogue_pb2.ListDialoguesResponse:  # noqa: N802
        """All dialogues, without what was said."""
        held = self._circle(request).dialogues.values()
        return dialogue_pb2.ListDialoguesResponse(dialogues=[codec.dialogue(one, whole=False) for one in held])

    async def GetDialogue(self, request: Any, _context: Any) -> dialogue_pb2.GetDialogueResponse:  # noqa: N802
        """One dialogue, whole."""
        found = dialogues.find(self._circle(request).dialogues, request.dialogue_id)
        return dialogue_pb2.GetDialogueResponse(dialogue=codec.dialogue(found))

    async def Say(self, request: Any, _context: Any) -> dialogue_pb2.SayResponse:  # noqa: N802
        """Says something in a dialogue."""
        say, who = self._circle(request).say, (caller().role, _speaker())
        said = await self._house.bridge.call(say, request.dialogue_id, request.text, *who)
        return dialogue_pb2.SayResponse(dialogue=codec.dialogue(said))

    async def CloseDialogue(self, request: Any, _context: Any) -> dialogue_pb2.CloseDialogueResponse:  # noqa: N802
        """Ends a dialogue."""
        close = self._circle(request).close_dialogue
        closed = await self._house.bridge.call(close, request.dialogue_id, request.outcome)
        return dialogue_pb2.CloseDialogueResponse(dialogue=codec.dialogue(closed))

    async def MakePetition(self, request: Any, _context: Any) -> dialogue_pb2.MakePetitionResponse:  # noqa: N802
        """Asks for something, through the advocate."""
        person = sleeper()
        make = person.conductor.stewarding.petition
        made = await self._house.bridge.call(make, person, request.event_id, request.text)
        return dialogue_pb2.MakePetitionResponse(petition=codec.petition(made))

    async def ListOwnPetitions(  # noqa: N802
        self, _request: Any, _context: Any
    ) -> dialogue_pb2.ListOwnPetitionsResponse:
        """The caller's own petitions."""
        person = sleeper()
        own = await self._house.bridge.ask(person.conductor.stewarding.petitions_of, person)
        return dialogue_pb2.ListOwnPetitionsResponse(petitions=map(codec.petition, own))

    async def WithdrawPetition(  # noqa: N802
        self, request: Any, _context: Any
    ) -> dialogue_pb2.WithdrawPetitionResponse:
        """Takes a petition back."""
        person = sleeper()
        withdraw = person.conductor.stewarding.withdraw_petition
        gone = await self._house.bridge.call(withdraw, person, request.petition_id)
        return dialogue_pb2.WithdrawPetitionResponse(petition=codec.petition(gone))

    async def ListPetitions(self, _request: Any, _context: Any) -> dialogue_pb2.ListPetitionsResponse:  # noqa: N802
        """Petitions that wait, as the advocate sees them."""
        waiting = await self._house.bridge.ask(self._house.own_circle("").stewarding.waiting_petitions)
        return dialogue_pb2.ListPetitionsResponse(petitions=map(codec.waiting_petition, waiting))

    async def FilePetition(self, request: Any, _context: Any) -> dialogue_pb2.FilePetitionResponse:  # noqa: N802
        """Puts a petition into a dialogue."""
        file, wish = self._house.own_circle("").stewarding.file, (request.dialogue_id, request.topic)
        held = await self._house.bridge.call(file, request.petition_id, *wish, _speaker())
        return dialogue_pb2.FilePetitionResponse(dialogue_id=held.dialogue_id)
