"""The SDK: join a circle, follow its night, sound in it, leave it at any instant. For trio.

`join` and `resume` give a running `Sleeper`; `Sanctuary` is the host's side. Every error is a
`harmonia.errors.HarmoniaError` whose message says what to do.
"""

from harmonia.client.calibration import Calibration
from harmonia.client.calls import SleeperCalls, redeem
from harmonia.client.following import Following
from harmonia.client.identity import Identity
from harmonia.client.invitation import Endpoint, Invitation
from harmonia.client.names import (
    EVERY_PURPOSE,
    CircleCause,
    CircleEnding,
    CircleMode,
    CircleState,
    LockState,
    Purpose,
)
from harmonia.client.phase import PhaseEstimate, PhaseTracker
from harmonia.client.platform import Platform
from harmonia.client.sanctuary import Sanctuary
from harmonia.client.sleeper import Moment, Sleeper, join, resume
from harmonia.client.sound import Output, Sound
from harmonia.client.ticket import Ticket
from harmonia.client.udp import UdpLoss
from harmonia.client.views import (
    Apart,
    Circle,
    CircleView,
    Listener,
    NightPlan,
    NightWish,
    Place,
    PlatformState,
    PurposeConsent,
    RhythmView,
    SanctuaryStatus,
    ScoreText,
    SleeperView,
    Source,
    Tracking,
    Weaving,
    Woven,
    WovenShare,
)

__all__ = [
    "EVERY_PURPOSE",
    "Apart",
    "Calibration",
    "Circle",
    "CircleCause",
    "CircleEnding",
    "CircleMode",
    "CircleState",
    "CircleView",
    "Endpoint",
    "Following",
    "Identity",
    "Invitation",
    "Listener",
    "LockState",
    "Moment",
    "NightPlan",
    "NightWish",
    "Output",
    "PhaseEstimate",
    "PhaseTracker",
    "Place",
    "Platform",
    "PlatformState",
    "Purpose",
    "PurposeConsent",
    "RhythmView",
    "Sanctuary",
    "SanctuaryStatus",
    "ScoreText",
    "Sleeper",
    "SleeperCalls",
    "SleeperView",
    "Sound",
    "Source",
    "Ticket",
    "Tracking",
    "UdpLoss",
    "Weaving",
    "Woven",
    "WovenShare",
    "join",
    "redeem",
    "resume",
]
