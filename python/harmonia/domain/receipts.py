"""Receipts: what a person has for every grant and withdrawal, in a form that other people's programs read.

ISO/IEC TS 27560:2023 says which fields a record of consent has, and a receipt is a copy of the record. W3C's Data
Privacy Vocabulary says how they are written as JSON-LD; this follows its guide "Consent Records and Receipts as per
ISO/IEC TS 27560:2023 using DPV" (final report of the community group, 2024-08-01): every field that is mandatory there
is here. The context is in the document, so that nobody has to fetch one.

Three things are as they are on purpose. Everybody is named by pseudonym: a sanctuary knows no others. No law is named,
and no legal basis but an expressed consent: whether and which law applies is not for a program to claim; who runs the
sanctuary states it. They may state who answers for it, with a way to reach them; a receipt then names the one who was
stated when its event happened, and says so where nobody was. And what is no standard term, the level and the withdrawal
that a grant answers, stands under a namespace of our own.

Times are the sanctuary's: node time is TAI; UTC is 37 s behind it (IERS Bulletin C, since 2017).
"""

import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from harmonia.domain.consent import Purpose
from harmonia.domain.controller import Controller, Statement, stated_at
from harmonia.domain.events import ConsentGranted, ConsentWithdrawn, Event
from harmonia.domain.sleeper import Sleeper

TAI_MINUS_UTC_S = 37
SCHEMA = "https://w3id.org/dpv/schema/dpv-27560#receipt"
UNNAMED = "whoever runs this sanctuary has not named who answers for it"
UNSTATED = "not stated; ask the host of the circle"
_NAMESPACE = uuid.UUID("6e641aec-dac6-4387-b0fc-b969b6bb9765")
CONTEXT = {
    "dpv": "https://w3id.org/dpv#",
    "dct": "http://purl.org/dc/terms/",
    "schema": "https://schema.org/",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
    "harmonia": f"urn:uuid:{_NAMESPACE}#",
    "dct:created": {"@type": "xsd:dateTime"},
    "dct:date": {"@type": "xsd:dateTime"},
    "dct:conformsTo": {"@type": "@id"},
}


class _What(NamedTuple):
    """One purpose in the words of a notice."""

    title: str
    data: str
    processing: str
    recipient: str
    sensitive: bool = False


_HERE = "nobody beyond this sanctuary and the circle's platforms"
_PURPOSES = {
    Purpose.PRESENCE: _What("others may know that I am here", "a pseudonym is counted", "Display", "the circle"),
    Purpose.HEARING: _What("I hear others", "a level", "Use", _HERE),
    Purpose.VOICE: _What("others hear me", "one complex coefficient a channel; no sound", "Combine", "the circle"),
    Purpose.PULL: _What("the circle may pull my rhythm", "a frequency and a coupling", "Use", _HERE),
    Purpose.BIOSIGNAL: _What("my biosignals may be used", "a frequency; the signal stays here", "Use", _HERE, True),
    Purpose.CIRCADIAN: _What("my circadian data may be used", "times of sleep", "Use", _HERE, True),
    Purpose.HISTORY: _What("my history may be woven", "what I gave earlier nights", "Use", _HERE, True),
    Purpose.RECORDING: _What("my voice may be recorded", "what a recorder renders", "Record", "who records"),
    Purpose.MONITORING: _What("somebody may listen in to my mix", "what I hear", "Share", "who listens in"),
    Purpose.VISIBILITY: _What("my state may be shown", "clock, level, mute, grants", "Display", "the circle, its host"),
    Purpose.SHARING: _What("my data may leave this house", "what the other purposes allow", "Transfer", "other houses"),
    Purpose.RESEARCH: _What("my data may be used in research", "what I gave", "Analyse", "who researches", True),
}
"""The last word but one is a kind of processing in DPV."""


def utc(t_ns: int) -> str:
    """A node time as xsd:dateTime, to the millisecond."""
    whole_s, rest_ns = divmod(t_ns, 1_000_000_000)
    at = datetime.fromtimestamp(whole_s - TAI_MINUS_UTC_S, UTC).replace(microsecond=rest_ns // 1_000_000 * 1000)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def record_id(sleeper_id: str, purpose: Purpose) -> str:
    """Names a person's consent to one purpose, through all that becomes of it."""
    return _urn("record", sleeper_id, purpose.name)


def receipt(
    event: Event, sleeper: Sleeper, sanctuary_id: str, controllers: Sequence[Statement] = ()
) -> dict[str, Any] | None:
    """The receipt for one event of this sleeper's stream; None for an event that is neither grant nor withdrawal.

    ``controllers``: who answered for this sanctuary, oldest first.
    """
    match event:
        case ConsentGranted():
            until = "with the circle" if event.until_ns is None else f"until {utc(event.until_ns)}"
            more = {
                "harmonia:level": event.level,
                "harmonia:scope": event.scope or sleeper.circle_id,
                "harmonia:supersedes": event.supersedes.hex() or "none",
                "dct:valid": until,
            }
            return _document(event, [event.purpose], "ConsentGiven", more, sleeper, sanctuary_id, controllers)
        case ConsentWithdrawn():
            more = {"dct:valid": "for good"}
            return _document(event, event.purposes, "ConsentWithdrawn", more, sleeper, sanctuary_id, controllers)
        case _:
            return None


def _document(
    event: ConsentGranted | ConsentWithdrawn,
    purposes: Iterable[Purpose],
    status: str,
    more: dict[str, Any],
    sleeper: Sleeper,
    sanctuary_id: str,
    controllers: Sequence[Statement],
) -> dict[str, Any]:
    purposes, stated = sorted(purposes), stated_at(controllers, event.t_ns)
    subject = {"@id": _urn("sleeper", sleeper.sleeper_id), "@type": "dpv:DataSubject"}
    controller_id = _urn("sanctuary", sanctuary_id)
    controller = {
        "@id": controller_id,
        "@type": "dpv:DataController",
        "dct:identifier": sanctuary_id,
        "dpv:hasName": UNNAMED if stated is None else stated.name,
        "dpv:hasAddress": (stated and stated.address) or UNSTATED,
        "dpv:hasContact": UNSTATED if stated is None else stated.contact,
    }
    names = ",".join(purpose.name for purpose in purposes)
    receipt_id = _urn("receipt", sleeper.sleeper_id, type(event).__name__, event.event_id.hex(), names)
    happened = {
        "@type": f"dpv:{status}",
        "dct:identifier": event.event_id.hex(),
        "dct:date": utc(event.t_ns),
        "dpv:isIndicatedBy": {"@id": subject["@id"]},
        "dpv:isImplementedByEntity": {"@id": controller_id},
        "dpv:hasIndicationMethod": "the person's own command, key, gesture or advance wish, signed by their platform",
        **more,
    }
    return {
        "@context": CONTEXT,
        "@id": receipt_id,
        "@type": "dpv:ConsentReceipt",
        "dct:conformsTo": SCHEMA,
        "dct:identifier": receipt_id.removeprefix("urn:uuid:"),
        "dct:created": utc(event.t_ns),
        "dpv:hasDataSubject": {**subject, "dct:identifier": sleeper.sleeper_id},
        "dpv:hasEntity": controller,
        "dct:source": [
            {
                "@id": record_id(sleeper.sleeper_id, purpose),
                "@type": "dpv:ConsentRecord",
                "dct:identifier": record_id(sleeper.sleeper_id, purpose).removeprefix("urn:uuid:"),
            }
            for purpose in purposes
        ],
        "dpv:hasNotice": _notices(stated),
        "dpv:hasProcess": [_process(purpose, controller_id, sleeper) for purpose in purposes],
        "dpv:hasConsentStatus": happened,
    }


def _notices(stated: Controller | None) -> list[dict[str, Any]]:
    ours = {
        "@id": _urn("notice", "docs/consent.md"),
        "@type": "dpv:ConsentNotice",
        "dct:title": "What each purpose allows: docs/consent.md of the program that runs this sanctuary",
        "dct:language": "en",
    }
    if stated is None or not stated.notice_url:
        return [ours]
    theirs = {"@id": stated.notice_url, "@type": "dpv:PrivacyNotice", "dct:title": f"as {stated.name} states it"}
    return [ours, theirs]


def _process(purpose: Purpose, controller_id: str, sleeper: Sleeper) -> dict[str, Any]:
    what = _PURPOSES[purpose]
    kinds = ["dpv:PersonalData", "dpv:SensitivePersonalData"] if what.sensitive else ["dpv:PersonalData"]
    return {
        "@id": f"{record_id(sleeper.sleeper_id, purpose)}#process",
        "@type": "dpv:Process",
        "dpv:hasPurpose": {
            "@id": _urn("purpose", purpose.name),
            "@type": "dpv:Purpose",
            "dct:identifier": purpose.name.lower(),
            "dct:title": what.title,
        },
        "dpv:hasLegalBasis": {"@id": "dpv:ExpressedConsent"},
        "dpv:hasPersonalData": {"@type": kinds, "dct:title": what.data},
        "dpv:hasProcessing": {"@id": f"dpv:{what.processing}"},
        "dpv:hasDataController": {"@id": controller_id},
        "dpv:hasDataSource": {"@id": "dpv:DataSubject"},
        "dpv:hasRecipient": {"@type": "dpv:Recipient", "dct:title": what.recipient},
        "dpv:hasStorageCondition": [
            {"@type": "dpv:StorageLocation", "dct:title": "the journal on this sanctuary's own disk"},
            {"@type": "dpv:StorageDuration", "dct:title": "until the person asks to be forgotten"},
        ],
        "dpv:hasJurisdiction": {"@type": "dpv:Location", "dct:title": "where this sanctuary stands"},
        "dpv:hasService": {"@type": "dpv:Service", "dct:title": "a shared night", "dct:identifier": sleeper.circle_id},
        "dpv:hasConsentControl": {
            "@type": "dpv:WithdrawConsent",
            "dct:title": "`harmonia optout`, the key `o` or `w`, the signal SIGUSR1, ConsentService.Withdraw",
        },
        "dpv:hasRight": {
            "@type": "dpv:DataSubjectRight",
            "dct:title": "to withdraw at any time, and to have a copy: `harmonia me export`",
        },
    }


def _urn(*name: str) -> str:
    return uuid.uuid5(_NAMESPACE, "\0".join(name)).urn
