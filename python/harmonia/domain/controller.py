"""Who answers for what a sanctuary keeps about people: as whoever runs it stated it, and since when.

A receipt of consent names its controller, with a way to reach them (ISO/IEC TS 27560:2023); only whoever runs the
sanctuary knows who that is. They may state it at any start, and another one later; a receipt names the one that was
stated when its event happened, or says that nobody was.
"""

import json
import re
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from harmonia.domain.roles import parse_line
from harmonia.errors import BadInput

LINE_MAX = 200
URL_MAX = 1000
_NO_IRI = re.compile(r"[\s<>\"{}|\\^`\x00-\x20]")
"""What a reference in JSON-LD may not hold (RFC 3987)."""


class Controller(NamedTuple):
    """Who answers for it."""

    name: str
    contact: str
    address: str = ""
    notice_url: str = ""
    """Their privacy notice; empty: none was stated."""


class Statement(NamedTuple):
    """A controller, and from which node time on."""

    since_ns: int
    controller: Controller


def parse_controller(
    name: str | None, contact: str | None, address: str | None, notice_url: str | None
) -> Controller | None:
    """What was said of the controller; None if nothing was. Raises :class:`BadInput`."""
    if name is None and contact is None and address is None and notice_url is None:
        return None
    if name is None or contact is None:
        raise BadInput("whoever answers for a sanctuary has a name and can be reached: give --controller and --contact")
    return Controller(
        parse_line("--controller", name, LINE_MAX),
        parse_line("--contact", contact, LINE_MAX),
        parse_line("--controller-address", address or "", LINE_MAX, least=0),
        _parse_url(notice_url or ""),
    )


def _parse_url(text: str) -> str:
    if not text:
        return ""
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        good = False
    if not good or len(text) > URL_MAX or _NO_IRI.search(text) or not text.isprintable():
        raise BadInput(f"--privacy-notice must be an address such as https://example.org/privacy, not {text[:80]!r}")
    return text


def stated(statements: Sequence[Statement], controller: Controller | None, t_ns: int) -> tuple[Statement, ...]:
    """``statements`` with what a start at ``t_ns`` says; the same as before, or nothing, adds none."""
    if controller is None or (statements and statements[-1].controller == controller):
        return tuple(statements)
    return (*statements, Statement(t_ns, controller))


def stated_at(statements: Sequence[Statement], t_ns: int) -> Controller | None:
    """Who answered for what happened at ``t_ns``; None: nobody had been stated."""
    return next((one.controller for one in reversed(statements) if one.since_ns <= t_ns), None)


def dumped(statements: Sequence[Statement]) -> str:
    """As a file keeps them."""
    return json.dumps([{"since_ns": one.since_ns, **one.controller._asdict()} for one in statements], indent=1) + "\n"


def loaded(text: str) -> tuple[Statement, ...]:
    """The inverse of :func:`dumped`. Raises ValueError."""
    try:
        entries = json.loads(text)
        kept = [(entry.pop("since_ns"), Controller(**entry)) for entry in entries]
    except (TypeError, AttributeError, KeyError) as error:
        raise ValueError(str(error)) from None
    good = all(type(since_ns) is int and all(type(word) is str for word in one) for since_ns, one in kept)
    if type(entries) is not list or not good:
        raise ValueError("not a list of statements")
    return tuple(Statement(since_ns, one) for since_ns, one in kept)
