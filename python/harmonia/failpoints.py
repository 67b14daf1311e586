"""Failpoints: the named places where a campaign ends the process, to see what is left of what was promised.

A crash between two lines is found neither by reading nor by chance. So each step between a wish and its acknowledgement
has a name here, and the variable HARMONIA_FAILPOINTS says what happens there: ``NAME=ACTION`` or ``NAME=ACTION@N`` (at
the N-th time), separated by commas. ``kill`` ends the process at once, as ``kill -9`` does; ``error`` fails as a disk
would; ``log`` says on standard error that the place was reached, and goes on. Unset, a place costs one look at an
empty dictionary. The idea is FreeBSD's fail(9); the campaign is in faults/.
"""

import os
import signal
import sys
import threading
from dataclasses import dataclass, field

from harmonia.errors import BadInput, StorageOutcomeUnknown

VARIABLE = "HARMONIA_FAILPOINTS"

EVENTS = [
    *("SanctuaryFounded", "ClockBegun"),
    *("CircleCreated", "CircleAdvanced", "CircleTitled", "CapacitySet", "ScheduleSet", "ScoreSet"),
    *("RhythmLed", "WeavingSet", "OffsetsOffered", "OfferMade", "OfferEnded"),
    *("TokensCreated", "WaitingBegun", "WaitingEnded", "SleeperForgotten"),
    *("RoleGranted", "RoleRevoked", "RoomSilenced", "RoomLifted", "HelpAnswered"),
    *("DialogueOpened", "DialogueSpoken", "DialogueClosed", "PetitionFiled"),
    *("SleeperJoined", "SleeperLeft", "SleeperWentAway", "SleeperCameBack"),
    *("ConsentGranted", "ConsentWithdrawn", "WishMade", "WishRemoved", "OfferAnswered", "UsageNoted"),
    *("OffsetSet", "RhythmOwned", "CouplingSet", "VoiceSet", "HearingSet", "ApartKept"),
    *("AwakeSet", "ScheduleOffsetSet"),
    *("HelpCalled", "HelpTakenBack", "PetitionMade", "PetitionWithdrawn"),
    *("SeriesCreated", "SeriesChanged", "NightMissed", "SeriesEnded"),
]
"""What the engine writes, every kind that there is; each has a place before and one behind its writing."""

METHODS = [
    *("CreateCircle", "EditCircle", "AdvanceCircle", "CreateJoinTokens"),
    *("JoinCircle", "StopWaiting", "LeaveCircle", "ComeBack"),
    *("SetRhythm", "SetWeaving", "OfferOffsets", "SetOwnRhythm", "SetCoupling", "SetPhaseOffset"),
    *("Grant", "Withdraw", "KeepApart", "AddAdvanceWish", "RemoveAdvanceWish"),
    *("AttachPlatform", "SetVoice", "SetHearing", "SetAwake", "SetScheduleOffset"),
    *("MakeOffer", "EndOffer", "AnswerOffer"),
    *("GrantRole", "RevokeRole", "SilenceRoom", "LiftSilence", "CallForHelp", "TakeBackHelp", "AnswerHelp"),
    *("OpenDialogue", "Say", "CloseDialogue", "MakePetition", "WithdrawPetition", "FilePetition"),
    *("CreateSeries", "ChangeSeries", "EndSeries"),
    *("ForgetMe", "ForgetSleeper"),
    "WriteStem",
]
"""Calls that change something, all that there are; each has a place where all is done but the answer."""

NAMES = frozenset(
    [
        # the journal's writer and reader
        "journal.open",
        "journal.schema",
        "journal.submitted",
        "journal.taken",
        "journal.begun",
        "journal.insert",
        "journal.inserted",
        "journal.commit",
        "journal.committed",
        "journal.answered",
        "journal.checkpoint",
        "journal.checkpointed",
        "journal.read",
        "journal.close",
        # the engine: an event that a person's or a circle's own hand writes
        *(f"append.{name}" for name in EVENTS),
        *(f"appended.{name}" for name in EVENTS),
        # people's keys, and who was forgotten
        "keys.commit",
        "keys.committed",
        "keys.delete",
        "keys.deleted",
        "keys.emptied",
        "erasures.name",
        "erasures.written",
        "erasures.named",
        "erasures.mark",
        "erasures.marked",
        # the ledger, and its files for everybody
        "ledger.open",
        "ledger.key",
        "ledger.start",
        "ledger.batch",
        "ledger.begun",
        "ledger.sign",
        "ledger.commit",
        "ledger.committed",
        "publish.begun",
        "publish.file",
        "publish.draft",
        "publish.checkpoint",
        "publish.published",
        # both doors
        "withdrawal.mute",
        "withdrawal.muted",
        "withdrawal.write",
        "withdrawal.written",
        "datagram.heard",
        "datagram.acknowledge",
        "datagram.acknowledged",
        # opening
        "start.held",
        "start.read",
        "start.clock",
        "start.opened",
        "start.listen",
        "start.place",
        # files
        "files.draft",
        "files.synced",
        "files.replaced",
        "tls.ca-key",
        "tls.ca",
        "tls.server-key",
        "tls.server",
        # music
        "stem.part",
        "stem.whole",
        "stem.named",
        # just before an answer
        *(f"answer.{name}" for name in METHODS),
    ]
)


@dataclass
class _Armed:
    action: str
    left: int
    lock: threading.Lock = field(default_factory=threading.Lock)


_armed: dict[str, _Armed] = {}


def hit(name: str) -> None:
    """The program is at the place ``name``. Any thread. Raises StorageOutcomeUnknown where that was asked for."""
    if _armed and (armed := _armed.get(name)) is not None:
        _act(name, armed)


def arm(text: str) -> None:
    """Sets what happens where, in place of what was set. Raises BadInput; then nothing is set."""
    wanted: dict[str, _Armed] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, rest = part.partition("=")
        action, _, count = rest.partition("@")
        if name not in NAMES:
            raise BadInput(f"{VARIABLE}: there is no failpoint {name[:80]!r}; there are {', '.join(sorted(NAMES))}")
        if action not in ("kill", "error", "log") or not (not count or (count.isdecimal() and int(count) > 0)):
            raise BadInput(f"{VARIABLE}: {part[:80]!r} is not NAME=kill, =error or =log, with @N for the N-th time")
        wanted[name] = _Armed(action, int(count or 1))
    _armed.clear()
    _armed.update(wanted)


def armed() -> list[str]:
    """The names at which something happens."""
    return sorted(_armed)


def _act(name: str, armed: _Armed) -> None:
    with armed.lock:
        armed.left -= 1
        if armed.left != 0:
            return
    if armed.action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if armed.action == "error":
        raise StorageOutcomeUnknown(f"the failpoint {name} failed here, as {VARIABLE} asks: repeat the request")
    print(f"failpoint {name}", file=sys.stderr, flush=True)
