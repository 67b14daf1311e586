"""Everything that a sanctuary knows of one sleeper, as files in open formats, for that sleeper to keep.

What the journal holds is the truth and comes whole, event by event, as it was written; everything else is a view of it
that a spreadsheet or another program opens. Nothing is asked of anybody but the sleeper's own credential.
"""

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from harmonia.client.calls import SleeperCalls
from harmonia.client.views import TURN, Me
from harmonia.domain.receipts import utc

README = """# Everything about {sleeper_id}

Kept by {sanctuary_id} about one sleeper in {circle_id}; exported at {now}.

| file | what it holds |
| --- | --- |
| `events.jsonl` | every event that the journal has of this sleeper, a JSON object a line, oldest first, as written |
| `me.json` | what is allowed now, settings, advance wishes, from whom they keep apart |
| `consents.csv` | every grant and withdrawal, oldest first: the history of what was allowed |
| `usage.csv` | who used what they allow, in whole minutes |
| `receipts.jsonld` | a receipt for each grant and withdrawal: ISO/IEC TS 27560:2023 in W3C DPV, JSON-LD |
| `clock.jsonl` | how the platform's clock stood over the night, if `join --log-clock` kept it on this machine |

Columns that end in `_ns` are node time in nanoseconds: TAI, counted from 1970; those that end in `_utc` are the same
instants as people write them. A sleeper is named by a pseudonym; the sanctuary knows no other name. Whoever holds these
files can read them: keep them as you would a diary.

Petitions are among the events. What was said aloud in a dialogue of the circle is not: it was said as a sleeper, and
the sanctuary does not know by which. The dialogue itself shows it.
"""

_CONSENTS = ("t_utc", "t_ns", "what", "purpose", "scope", "level", "until_ns", "supersedes", "event_id")
_USAGE = ("purpose", "by", "since_utc", "until_utc", "since_ns", "until_ns")


async def gather(calls: SleeperCalls) -> dict[str, bytes]:
    """The files of an export, by name, without the platform's own clock log. Raises a HarmoniaError."""
    me = await calls.me()
    events, receipts = await calls.my_events(), await calls.my_receipts()
    lines = [json.dumps({"position": where, "event": json.loads(text)}, ensure_ascii=False) for where, text in events]
    named = {"sleeper_id": me.sleeper_id, "sanctuary_id": me.sanctuary_id, "circle_id": me.circle_id}
    texts = {
        "README.md": README.format(**named, now=utc(me.node_time_ns)),
        "events.jsonl": "".join(line + "\n" for line in lines),
        "me.json": json.dumps(me_json(me), indent=1, ensure_ascii=False) + "\n",
        "consents.csv": _table(_CONSENTS, (row for _, text in events for row in _consent_rows(json.loads(text)))),
        "usage.csv": _table(_USAGE, map(use_json, me.uses)),
        "receipts.jsonld": json.dumps([json.loads(text) for text in receipts], indent=1, ensure_ascii=False) + "\n",
    }
    return {name: text.encode() for name, text in texts.items()}


def use_json(use: Any) -> dict[str, Any]:
    """One use for programs."""
    return {
        "purpose": use.purpose.word,
        "by": use.by,
        "since_utc": utc(use.since_ns),
        "until_utc": utc(use.until_ns),
        "since_ns": use.since_ns,
        "until_ns": use.until_ns,
    }


def me_json(me: Me) -> dict[str, Any]:
    """What is kept about a sleeper, but for their events, for programs."""
    return {
        "sleeper_id": me.sleeper_id,
        "circle_id": me.circle_id,
        "sanctuary_id": me.sanctuary_id,
        "controller": None if me.controller is None else asdict(me.controller),
        "node_time_ns": me.node_time_ns,
        "joined_ns": me.joined_ns,
        "left": me.left,
        "consents": {
            purpose.word: {
                "granted": one.granted,
                "scope": one.scope,
                "level": one.level,
                "until_ns": one.until_ns,
                "withdrawal_id": one.withdrawal_id,
            }
            for purpose, one in me.consents.items()
        },
        "settings": {
            "offset_turns": me.offset_bits / TURN,
            "coupling": me.coupling,
            "weight": me.weight,
            "hearing_level": me.hearing_level,
            "own_level": me.own_level,
            "voice": [[c.real, c.imag] for c in me.voice],
        },
        "wishes": [
            {
                **asdict(one.wish),
                "wish_id": one.wish.wish_id.hex(),
                "kind": one.wish.kind.name.lower(),
                "since": one.wish.since.name.lower(),
                "unit": one.wish.unit.name.lower(),
                "purposes": [purpose.name.lower() for purpose in one.wish.purposes],
                "set_ns": one.set_ns,
                "fired": one.fired,
            }
            for one in me.wishes
        ],
        "apart": [asdict(one) for one in me.apart],
        "listeners": [asdict(one) for one in me.listeners],
        "uses": [use_json(use) for use in me.uses],
    }


def _consent_rows(event: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a purpose of a grant or a withdrawal."""
    if event["type"] == "ConsentGranted":
        return [{**event, "t_utc": utc(event["t_ns"]), "what": "granted", "purpose": event["purpose"].lower()}]
    if event["type"] == "ConsentWithdrawn":
        row = {"t_utc": utc(event["t_ns"]), "t_ns": event["t_ns"], "event_id": event["event_id"], "what": "withdrawn"}
        return [{**row, "purpose": purpose.lower()} for purpose in event["purposes"]]
    return []


def _table(columns: tuple[str, ...], rows: Iterable[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
