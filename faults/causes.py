"""What leads to each failpoint: somebody's wish, or the circumstances in which the sanctuary comes there by itself.

Every kind of event and every call that changes something has its line here. A kind or a call that is added without one
is refused by a test: nobody could say that what it promises survives a death.
"""

from collections.abc import Mapping

from harmonia.failpoints import NAMES

WISHES: Mapping[str, str] = {
    # kinds of events
    "ApartKept": "keep_apart",
    "AwakeSet": "wake",
    "CapacitySet": "resize",
    "CircleAdvanced": "advance",
    "CircleCreated": "create",
    "CircleTitled": "retitle",
    "ConsentGranted": "grant",
    "CouplingSet": "couple",
    "DialogueClosed": "close_dialogue",
    "DialogueOpened": "open_dialogue",
    "DialogueSpoken": "speak",
    "HearingSet": "hear",
    "HelpAnswered": "answer_help",
    "HelpCalled": "call_for_help",
    "HelpTakenBack": "need_no_help",
    "NightMissed": "recur",
    "OfferAnswered": "answer",
    "OfferEnded": "end_rule",
    "OfferMade": "end_rule",
    "OffsetSet": "offset",
    "OffsetsOffered": "offer",
    "PetitionFiled": "file",
    "PetitionMade": "petition",
    "PetitionWithdrawn": "take_back",
    "RhythmLed": "lead",
    "RhythmOwned": "follow",
    "RoleGranted": "give_role",
    "RoleRevoked": "take_role",
    "RoomLifted": "lift",
    "RoomSilenced": "silence",
    "ScheduleOffsetSet": "wake_later",
    "ScheduleSet": "reschedule",
    "ScoreSet": "rescore",
    "SeriesChanged": "change_series",
    "SeriesCreated": "recur",
    "SeriesEnded": "end_series",
    "SleeperCameBack": "come_back",
    "SleeperForgotten": "forget",
    "SleeperJoined": "leave",
    "SleeperLeft": "leave",
    "SleeperWentAway": "go_away",
    "TokensCreated": "invite",
    "VoiceSet": "voice",
    "WaitingBegun": "queue",
    "WaitingEnded": "step_out",
    "WeavingSet": "weave",
    "WishMade": "wish",
    "WishRemoved": "unwish",
    # calls
    "AddAdvanceWish": "wish",
    "AdvanceCircle": "advance",
    "AnswerHelp": "answer_help",
    "AnswerOffer": "answer",
    "AttachPlatform": "attach",
    "CallForHelp": "call_for_help",
    "ChangeSeries": "change_series",
    "CloseDialogue": "close_dialogue",
    "ComeBack": "come_back",
    "CreateCircle": "create",
    "CreateJoinTokens": "invite",
    "CreateSeries": "recur",
    "EditCircle": "make_room",
    "EndOffer": "end_rule",
    "EndSeries": "end_series",
    "FilePetition": "file",
    "ForgetMe": "forget",
    "ForgetSleeper": "be_forgotten",
    "Grant": "grant",
    "GrantRole": "give_role",
    "JoinCircle": "leave",
    "KeepApart": "keep_apart",
    "LeaveCircle": "leave",
    "LiftSilence": "lift",
    "MakeOffer": "end_rule",
    "MakePetition": "petition",
    "OfferOffsets": "offer",
    "OpenDialogue": "open_dialogue",
    "RemoveAdvanceWish": "unwish",
    "RevokeRole": "take_role",
    "Say": "speak",
    "SetAwake": "wake",
    "SetCoupling": "couple",
    "SetHearing": "hear",
    "SetOwnRhythm": "own_rhythm",
    "SetPhaseOffset": "offset",
    "SetRhythm": "lead",
    "SetScheduleOffset": "wake_later",
    "SetVoice": "voice",
    "SetWeaving": "weave",
    "SilenceRoom": "silence",
    "StopWaiting": "step_out",
    "TakeBackHelp": "need_no_help",
    "Withdraw": "withdraw",
    "WithdrawPetition": "take_back",
    "WriteStem": "stem",
    # steps of what is written below
    "checkpoint": "write_much",
    "checkpointed": "write_much",
}
"""What leads to a place, by the last part of its name; whoever leaves joins again."""

UNCHANGING: Mapping[str, tuple[str, ...]] = {
    "it is asked, and nothing is different afterwards": (
        *("GetStatus", "GetTracking", "GetCircle", "ListCircles", "LookAtCircle", "GetRhythm", "ListSeries"),
        *("GetConsent", "ListOffers", "ListRoles", "ListDialogues", "GetDialogue", "ListOwnPetitions", "ListPetitions"),
        *("GetMe", "ListMyEvents", "ListMyReceipts", "GetLedger", "ListEntries", "GetProof", "FindStem", "ReadStem"),
    ),
    "it shows what others change, for as long as its caller looks": (
        *("WatchCircle", "WatchPlatform", "WatchRoom", "WaitForPlace"),
    ),
    "it lasts as long as its stream, and promises nothing beyond": ("ListenIn", "CarryDatagrams"),
}
"""Calls for which nobody wishes here, by the reason."""

_KINDS: Mapping[str, str] = {
    "datagram": "withdraw_sealed",
    "erasures": "forget",
    "files": "stem",
    "journal": "offset",
    "keys": "forget",
    "ledger": "prove",
    "stem": "stem",
    "withdrawal": "withdraw",
}
"""By the first part, where the last is not among the wishes."""

FOUNDING = frozenset({"journal.schema", "append.SanctuaryFounded", "appended.SanctuaryFounded", "ledger.key"}) | {
    name for name in NAMES if name.startswith("tls.")
}
"""Reached only where nothing is there yet."""
OPENING = frozenset({"journal.open", "journal.read", "ledger.open", "ledger.start"}) | {
    name for name in NAMES if name.startswith("start.")
}
"""Reached at every start."""
CLOCK = frozenset(f"{when}.{what}" for when in ("append", "appended") for what in ("ClockBegun", "ConsentWithdrawn"))
"""Reached at a start on another clock: then timed grants end."""
CLOSING = frozenset({"journal.close"})
"""Reached at a quiet end."""
USING = frozenset({"append.UsageNoted", "appended.UsageNoted"})
"""Reached at a start where somebody is heard."""
PUBLISHING = frozenset(name for name in NAMES if name.startswith("publish."))
"""Reached by the operator's command beside the daemon, and not by the daemon."""
ONCE = FOUNDING | OPENING | CLOCK | CLOSING | USING
"""Reached once in a life."""


def wish_for(name: str) -> str:
    """The operation that leads to the failpoint ``name``; empty where none does. Raises KeyError on an unknown one."""
    kind, _, last = name.partition(".")
    if name in ONCE or name in PUBLISHING:
        return ""
    if kind in ("append", "appended", "answer") or "checkpoint" in last:
        return WISHES[last]
    if kind == "keys" and last in ("commit", "committed"):
        return "leave"  # whoever joins gets a key
    return _KINDS[kind]
