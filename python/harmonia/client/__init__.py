"""The SDK: join a circle, follow its night, sound in it, leave it at any instant. For trio.

`join` and `resume` give a running `Sleeper`; `Sanctuary` is the host's side. Every error is a
`harmonia.errors.HarmoniaError` whose message says what to do.
"""

from harmonia.client.calibration import Calibration
from harmonia.client.calls import SleeperCalls, redeem
from harmonia.client.following import Following
from harmonia.client.gesture import Taps, obey_pipe
from harmonia.client.identity import Identity
from harmonia.client.invitation import Endpoint, Invitation
from harmonia.client.names import (
    EVERY_PURPOSE,
    GIVEN_ROLES,
    CircleCause,
    CircleEnding,
    CircleMode,
    CircleState,
    LockState,
    Purpose,
    Role,
    Trouble,
)
from harmonia.client.phase import PhaseEstimate, PhaseTracker
from harmonia.client.platform import Platform
from harmonia.client.rooms import (
    Bed,
    Dialogue,
    HelpCall,
    Petition,
    PublicCircle,
    RoleView,
    RoomView,
    Silence,
    Statement,
    WaitingPetition,
)
from harmonia.client.sanctuary import Sanctuary
from harmonia.client.sleeper import Moment, Sleeper, join, resume
from harmonia.client.sound import Output, Sound
from harmonia.client.stewardship import RoleKey, Stewardship
from harmonia.client.ticket import Ticket
from harmonia.client.udp import UdpLoss
from harmonia.client.views import (
    Apart,
    Circle,
    CircleView,
    Controller,
    LedgerEntry,
    Listener,
    Me,
    Night,
    NightWish,
    Offer,
    Place,
    PlatformState,
    PurposeConsent,
    RhythmView,
    SanctuaryStatus,
    ScoreText,
    Series,
    SleeperView,
    Source,
    Tracking,
    Use,
    Weaving,
    Woven,
    WovenShare,
)
from harmonia.domain.advance import AdvanceWish, LevelUnit, Since, StandingWish, WishKind

__all__ = [
    "EVERY_PURPOSE",
    "GIVEN_ROLES",
    "AdvanceWish",
    "Apart",
    "Bed",
    "Calibration",
    "Circle",
    "CircleCause",
    "CircleEnding",
    "CircleMode",
    "CircleState",
    "CircleView",
    "Controller",
    "Dialogue",
    "Endpoint",
    "Following",
    "HelpCall",
    "Identity",
    "Invitation",
    "LedgerEntry",
    "LevelUnit",
    "Listener",
    "LockState",
    "Me",
    "Moment",
    "Night",
    "NightPlan",
    "NightWish",
    "Offer",
    "Output",
    "Petition",
    "PhaseEstimate",
    "PhaseTracker",
    "Place",
    "Platform",
    "PlatformState",
    "PublicCircle",
    "Purpose",
    "PurposeConsent",
    "RhythmView",
    "Role",
    "RoleKey",
    "RoleView",
    "RoomView",
    "Sanctuary",
    "SanctuaryStatus",
    "ScoreText",
    "Series",
    "Silence",
    "Since",
    "Sleeper",
    "SleeperCalls",
    "SleeperView",
    "Sound",
    "Source",
    "StandingWish",
    "Statement",
    "Stewardship",
    "Taps",
    "Ticket",
    "Tracking",
    "Trouble",
    "UdpLoss",
    "Use",
    "WaitingPetition",
    "Weaving",
    "WishKind",
    "Woven",
    "WovenShare",
    "join",
    "obey_pipe",
    "redeem",
    "resume",
]
from harmonia.domain.schedule import NightPlan
