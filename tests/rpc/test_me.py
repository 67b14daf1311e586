"""Everything about me over the wire: for me alone, whole, and after the night as well as in it."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from harmonia.domain.controller import Controller
from harmonia.domain.events import decode
from harmonia.domain.receipts import UNNAMED
from harmonia.errors import StorageUnreadable
from harmonia.journal.opening import open_sealed
from harmonia.v1 import (
    circle_pb2,
    consent_pb2,
    me_pb2,
    offer_pb2,
    platform_pb2,
    sanctuary_pb2,
    sanctuary_pb2_grpc,
    types_pb2,
)
from tests.rpc.daemon import PATIENCE_S, Guest, daemon
from tests.rpc.test_doors import Code, refused

VOICE, MONITORING = types_pb2.PURPOSE_VOICE, types_pb2.PURPOSE_MONITORING


def my_events(guest: Guest, page_size: int = 0) -> list[tuple[str, dict[str, Any]]]:
    found, token = list[tuple[str, dict[str, Any]]](), ""
    while True:
        request = me_pb2.ListMyEventsRequest(page_token=token, page_size=page_size)
        answer = guest.call("Me", "ListMyEvents", request)
        found += [(event.position, json.loads(event.json)) for event in answer.events]
        token = answer.next_page_token
        if not token:
            return found


def lived(guest: Guest, circle_id: str) -> None:
    """A little of everything."""
    guest.grant(VOICE)
    request = consent_pb2.GrantRequest(purpose=MONITORING, scope="sleeper-b", level=0.5, event_id=os.urandom(16))
    guest.call("Consent", "Grant", request)
    guest.withdraw(VOICE)
    guest.set_offset(0.25)
    guest.call("Consent", "KeepApart", consent_pb2.KeepApartRequest(sleeper_id="sleeper-c", unheard=True))
    wish = consent_pb2.AdvanceWish(
        wish_id=b"w" * 16,
        kind=consent_pb2.ADVANCE_WISH_KIND_LOUD,
        level=-20.0,
        unit=consent_pb2.ADVANCE_WISH_UNIT_DBFS,
        unknown_ns=60 * 10**9,
    )
    guest.call("Consent", "AddAdvanceWish", consent_pb2.AddAdvanceWishRequest(wish=wish))
    (mode,) = guest.call("Offer", "ListOffers", offer_pb2.ListOffersRequest()).offers
    guest.call("Offer", "AnswerOffer", offer_pb2.AnswerOfferRequest(offer_id=mode.offer_id, event_id=os.urandom(16)))


@pytest.mark.parametrize("ending", ["none", "closed", "left"])
def test_the_export_holds_every_event_of_the_persons_stream(tmp_path: Path, ending: str) -> None:
    with daemon(tmp_path) as running:
        circle_id = running.create().circle_id
        guest, other = running.join(circle_id), running.join(circle_id)
        lived(guest, circle_id)
        other.grant(VOICE)
        if ending == "left":
            guest.call("Circle", "LeaveCircle", circle_pb2.LeaveCircleRequest())
        if ending == "closed":
            running.advance(circle_id, types_pb2.CIRCLE_STATE_CLOSED)
        exported = my_events(guest)
        assert my_events(guest, page_size=1) == exported
        receipts = guest.call("Me", "ListMyReceipts", me_pb2.ListMyReceiptsRequest()).receipts
        paged = guest.call("Me", "ListMyReceipts", me_pb2.ListMyReceiptsRequest(page_size=2))
        assert list(paged.receipts) == list(receipts[:1]) and paged.next_page_token
        me = guest.call("Me", "GetMe", me_pb2.GetMeRequest())
    journal = open_sealed(tmp_path)
    try:
        kept = journal.read(f"person/{guest.answer.sleeper_id}")
    finally:
        journal.close()
    assert [event for _, event in exported] == [json.loads(record.data) for record in kept]
    kinds = [type(decode(record.data)).__name__ for record in kept]
    assert kinds[0] == "SleeperJoined" and {"WishMade", "OfferAnswered", "ApartKept", "OffsetSet"} <= set(kinds)
    assert len(receipts) == kinds.count("ConsentGranted") + kinds.count("ConsentWithdrawn") == 3
    assert me.sleeper_id == guest.answer.sleeper_id and me.left == (ending == "left")
    (wish,) = me.wishes
    assert (wish.level, wish.unknown_ns, len(wish.purposes)) == (-20.0, 60 * 10**9, 12)


def test_a_host_or_another_sleeper_never_gets_in(tmp_path: Path) -> None:
    with daemon(tmp_path) as running:
        circle_id = running.create().circle_id
        guest, other = running.join(circle_id), running.join(circle_id)
        lived(guest, circle_id)
        for method, request in (
            (running.mine.GetMe, me_pb2.GetMeRequest()),
            (running.mine.ListMyEvents, me_pb2.ListMyEventsRequest()),
            (running.mine.ListMyReceipts, me_pb2.ListMyReceiptsRequest()),
        ):
            refused(
                Code.UNAUTHENTICATED, "NOT_AUTHENTICATED", method, request, metadata=running.admin, timeout=PATIENCE_S
            )
        assert [event["type"] for _, event in my_events(other)] == ["SleeperJoined"]
        token = my_events(guest)[-1][0]
        request = me_pb2.ListMyEventsRequest(page_token=token)
        assert not other.call("Me", "ListMyEvents", request).events
        bad = me_pb2.ListMyEventsRequest(page_token="x" * 99)
        assert "begin with an empty one" in refused(
            Code.INVALID_ARGUMENT, "BAD_INPUT", guest.call, "Me", "ListMyEvents", bad
        )


def test_offers_over_the_wire(tmp_path: Path) -> None:
    with daemon(tmp_path) as running:
        circle_id = running.create().circle_id
        guest = running.join(circle_id)
        make = offer_pb2.MakeOfferRequest(
            circle_id=circle_id,
            kind=offer_pb2.OFFER_KIND_CONSENT,
            text="sing with us",
            grants=[offer_pb2.OfferedGrant(purpose=VOICE, level=0.5)],
        )
        offer = running.offers.MakeOffer(make, metadata=running.admin, timeout=PATIENCE_S).offer
        assert offer.sets == "voice allowed up to 0.5"
        state = guest.call("Platform", "AttachPlatform", platform_pb2.AttachPlatformRequest()).state
        assert state.open_offers == 2 and not guest.audible
        no = guest.withdraw(VOICE).purposes[0].withdrawal_id
        answer = offer_pb2.AnswerOfferRequest(offer_id=offer.offer_id, accept=True, event_id=os.urandom(16))
        refused(Code.ABORTED, "STALE_GRANT", guest.call, "Offer", "AnswerOffer", answer)
        answer.supersedes.add(purpose=VOICE, withdrawal_id=no)
        accepted = guest.call("Offer", "AnswerOffer", answer).offer
        assert accepted.answer == offer_pb2.OFFER_ANSWER_ACCEPTED and guest.audible
        refused(
            Code.PERMISSION_DENIED,
            "NOT_PERMITTED",
            running.offers.MakeOffer,
            make,
            metadata=guest.signed("OfferService/MakeOffer"),
            timeout=PATIENCE_S,
        )
        end = offer_pb2.EndOfferRequest(circle_id=circle_id, offer_id=offer.offer_id)
        running.offers.EndOffer(end, metadata=running.admin, timeout=PATIENCE_S)
        listed = running.offers.ListOffers(
            offer_pb2.ListOffersRequest(circle_id=circle_id), metadata=running.admin, timeout=PATIENCE_S
        )
        assert [one.kind for one in listed.offers] == [offer_pb2.OFFER_KIND_MODE]
        assert guest.audible


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (consent_pb2.AdvanceWish(wish_id=b"w" * 16), "its kind is after, waking, loud or breath"),
        (consent_pb2.AdvanceWish(wish_id=b"w", kind=consent_pb2.ADVANCE_WISH_KIND_WAKING), "16 bytes"),
        (
            consent_pb2.AdvanceWish(wish_id=b"w" * 16, kind=consent_pb2.ADVANCE_WISH_KIND_LOUD, level=float("nan")),
            "-120 to 0 dBFS",
        ),
    ],
)
def test_a_wish_that_cannot_be_kept_is_refused_in_words(
    tmp_path: Path, wish: consent_pb2.AdvanceWish, said: str
) -> None:
    with daemon(tmp_path) as running:
        guest = running.join(running.create().circle_id)
        request = consent_pb2.AddAdvanceWishRequest(wish=wish)
        assert said in refused(Code.INVALID_ARGUMENT, "BAD_INPUT", guest.call, "Consent", "AddAdvanceWish", request)
        gone = consent_pb2.RemoveAdvanceWishRequest(wish_id=b"x" * 16)
        refused(Code.NOT_FOUND, "NOT_FOUND", guest.call, "Consent", "RemoveAdvanceWish", gone)


def test_receipts_and_the_overview_name_who_answered_for_the_sanctuary_over_restarts(tmp_path: Path) -> None:
    def named(guest: Guest) -> list[str]:
        answer = guest.call("Me", "ListMyReceipts", me_pb2.ListMyReceiptsRequest())
        return [json.loads(text)["dpv:hasEntity"]["dpv:hasName"] for text in answer.receipts]

    with daemon(tmp_path) as running:
        guest = running.join(running.create().circle_id)
        guest.grant(VOICE)
        assert named(guest) == [UNNAMED]
        assert not guest.call("Me", "GetMe", me_pb2.GetMeRequest()).HasField("controller")
    said = Controller("Sleep e.V.", "post@example.org", notice_url="https://example.org/privacy")
    with daemon(tmp_path, controller=said) as running:
        guest = guest.at(running)
        guest.withdraw(VOICE)
        assert named(guest) == [UNNAMED, "Sleep e.V."]
    with daemon(tmp_path) as running:
        guest = guest.at(running)
        assert named(guest) == [UNNAMED, "Sleep e.V."]
        told = guest.call("Me", "GetMe", me_pb2.GetMeRequest()).controller
        assert (told.name, told.contact, told.address, told.notice_url) == tuple(said)
        status: Any = sanctuary_pb2_grpc.SanctuaryServiceStub(running.channel)
        assert status.GetStatus(sanctuary_pb2.GetStatusRequest(), timeout=PATIENCE_S).controller == told
    (tmp_path / "controller.json").write_text("[3]")
    with pytest.raises(StorageUnreadable, match=r"controller\.json is damaged"), daemon(tmp_path):
        pass
