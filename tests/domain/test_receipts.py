"""Receipts, as another program reads them: a JSON-LD processor without a network, and the fields of TS 27560."""

import json
from typing import Any

import pytest
from pyld import jsonld

from harmonia.domain.consent import Purpose
from harmonia.domain.controller import Controller, Statement
from harmonia.domain.events import ConsentGranted, ConsentWithdrawn, OffsetSet
from harmonia.domain.receipts import SCHEMA, UNNAMED, UNSTATED, receipt, record_id, utc
from tests.domain.test_consent import fold

DPV = "https://w3id.org/dpv#"
DCT = "http://purl.org/dc/terms/"
T_NS = 1_795_841_557_336_808_042
GRANT = ConsentGranted(Purpose.MONITORING, "sleeper-b", 0.5, T_NS + 3600 * 10**9, b"s" * 16, b"g" * 16, T_NS)
WITHDRAWAL = ConsentWithdrawn((Purpose.VOICE, Purpose.BIOSIGNAL), b"w" * 16, T_NS)


def no_network(url: str, _options: Any) -> Any:
    raise AssertionError(f"a receipt asks for {url}")


NAMED = Controller("Sleep e.V.", "post@example.org", "1 Long Lane", "https://example.org/privacy")
STATED = (Statement(T_NS, NAMED), Statement(T_NS + 1, Controller("Another", "else@example.org")))


def expanded(event: ConsentGranted | ConsentWithdrawn, controllers: tuple[Statement, ...] = ()) -> dict[str, Any]:
    document = receipt(event, fold([]), "sanctuary-a", controllers)
    text = json.loads(json.dumps(document))
    (node,) = jsonld.expand(text, {"documentLoader": no_network})
    found: dict[str, Any] = node
    return found


def values(node: dict[str, Any], term: str) -> list[Any]:
    return [one.get("@value", one) for one in node.get(term, [])]


MANDATORY_IN_A_RECEIPT = [DCT + "conformsTo", DCT + "identifier", DPV + "hasDataSubject", DPV + "hasNotice"]
MANDATORY_IN_A_PROCESS = [
    *("hasPurpose", "hasPersonalData", "hasDataController", "hasStorageCondition", "hasJurisdiction", "hasRecipient"),
    *("hasConsentControl", "hasRight"),
]
MANDATORY_OF_A_PARTY = [DCT + "identifier", DPV + "hasAddress", DPV + "hasName", DPV + "hasContact"]
MANDATORY_IN_AN_EVENT = [DCT + "date", DCT + "valid", DPV + "isImplementedByEntity"]
"""As the guide's tables have them."""


@pytest.mark.parametrize("event", [GRANT, WITHDRAWAL])
def test_a_receipt_has_every_field_that_is_mandatory(event: ConsentGranted | ConsentWithdrawn) -> None:
    node = expanded(event)
    assert node["@type"] == [DPV + "ConsentReceipt"]
    assert [term for term in MANDATORY_IN_A_RECEIPT if not values(node, term)] == []
    assert node[DCT + "conformsTo"] == [{"@id": SCHEMA}]
    (notice,) = node[DPV + "hasNotice"]
    assert notice["@type"] == [DPV + "ConsentNotice"] and values(notice, DCT + "language") == ["en"]
    (party,) = node[DPV + "hasEntity"]
    assert party["@type"] == [DPV + "DataController"]
    assert [term for term in MANDATORY_OF_A_PARTY if not values(party, term)] == []
    for process in node[DPV + "hasProcess"]:
        assert [term for term in MANDATORY_IN_A_PROCESS if not values(process, DPV + term)] == []
        assert process[DPV + "hasLegalBasis"] == [{"@id": DPV + "ExpressedConsent"}]
    (happened,) = node[DPV + "hasConsentStatus"]
    assert [term for term in MANDATORY_IN_AN_EVENT if not values(happened, term)] == []
    assert values(happened, DCT + "date") == ["2026-11-28T04:52:00.336Z"]


def test_a_grant_says_scope_level_end_and_what_it_answers() -> None:
    (happened,) = expanded(GRANT)[DPV + "hasConsentStatus"]
    assert happened["@type"] == [DPV + "ConsentGiven"]
    said = {key.rpartition("#")[2]: values(happened, key)[0] for key in happened if key.startswith("urn:uuid:")}
    assert said == {"level": 0.5, "scope": "sleeper-b", "supersedes": (b"s" * 16).hex()}
    assert values(happened, DCT + "valid") == ["until 2026-11-28T05:52:00.336Z"]


def test_a_withdrawal_names_all_that_it_withdraws() -> None:
    node = expanded(WITHDRAWAL)
    (happened,) = node[DPV + "hasConsentStatus"]
    assert happened["@type"] == [DPV + "ConsentWithdrawn"]
    titles = [values(process[DPV + "hasPurpose"][0], DCT + "identifier")[0] for process in node[DPV + "hasProcess"]]
    assert titles == ["voice", "biosignal"]
    sensitive = [
        DPV + "SensitivePersonalData" in p[DPV + "hasPersonalData"][0]["@type"] for p in node[DPV + "hasProcess"]
    ]
    assert sensitive == [False, True]


@pytest.mark.parametrize("event", [GRANT, WITHDRAWAL])
def test_a_receipt_names_who_answered_for_it_then_or_says_that_nobody_was_named(
    event: ConsentGranted | ConsentWithdrawn,
) -> None:
    def party(controllers: tuple[Statement, ...]) -> list[Any]:
        (one,) = expanded(event, controllers)[DPV + "hasEntity"]
        return [values(one, DPV + term)[0] for term in ("hasName", "hasContact", "hasAddress")]

    assert party(STATED) == ["Sleep e.V.", "post@example.org", "1 Long Lane"]
    assert party(STATED[1:]) == party(()) == [UNNAMED, UNSTATED, UNSTATED]
    assert party((Statement(0, Controller("A", "b@c")),)) == ["A", "b@c", UNSTATED]
    (ours, theirs) = expanded(event, STATED)[DPV + "hasNotice"]
    assert ours["@type"] == [DPV + "ConsentNotice"]
    assert (theirs["@id"], theirs["@type"]) == ("https://example.org/privacy", [DPV + "PrivacyNotice"])


@pytest.mark.parametrize("controllers", [(), STATED])
@pytest.mark.parametrize("event", [GRANT, WITHDRAWAL])
def test_every_word_is_a_term_and_nothing_is_dropped(
    event: ConsentGranted | ConsentWithdrawn, controllers: tuple[Statement, ...]
) -> None:
    """A key that no vocabulary knows would vanish in expansion; so would a type that is no IRI."""
    document = receipt(event, fold([]), "sanctuary-a", controllers)
    back = jsonld.compact(expanded(event, controllers), document["@context"], {"documentLoader": no_network})  # type: ignore[index]
    assert back == json.loads(json.dumps(_compacted(document)))
    assert len(jsonld.to_rdf(document, {"documentLoader": no_network})["@default"]) > 30


def _compacted(value: Any) -> Any:
    """As compaction writes it: what is alone in a list stands without it."""
    if isinstance(value, list):
        return _compacted(value[0]) if len(value) == 1 else [_compacted(one) for one in value]
    if isinstance(value, dict):
        return {key: one if key == "@context" else _compacted(one) for key, one in value.items()}
    return value


def test_nobody_is_named_but_by_pseudonym_and_ids_hold() -> None:
    sleeper = fold([])
    text = json.dumps(receipt(GRANT, sleeper, "sanctuary-a"))
    assert sleeper.sleeper_id in text
    assert all(word not in text for word in ("credential", "token", 'key"'))
    again = receipt(GRANT, sleeper, "sanctuary-a")
    assert json.dumps(again) == text
    other = receipt(ConsentWithdrawn((Purpose.MONITORING,), b"g" * 16, T_NS), sleeper, "sanctuary-a")
    assert again is not None and other is not None and again["@id"] != other["@id"]
    assert again["dct:source"][0]["@id"] == other["dct:source"][0]["@id"] == record_id("sleeper-a", Purpose.MONITORING)


def test_every_purpose_has_its_words_and_no_other_event_a_receipt() -> None:
    for purpose in Purpose:
        assert receipt(ConsentWithdrawn((purpose,), b"w" * 16, T_NS), fold([]), "sanctuary-a") is not None
    assert receipt(OffsetSet(1, T_NS), fold([]), "sanctuary-a") is None


def test_utc_is_37_seconds_behind_node_time() -> None:
    assert utc(37 * 10**9) == "1970-01-01T00:00:00.000Z"
