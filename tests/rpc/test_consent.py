"""Consent over the wire: the door that is always open, and the disk that is full."""

import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest

from harmonia.rpc import interceptor
from harmonia.v1 import circle_pb2, consent_pb2, types_pb2
from tests.rpc.daemon import PATIENCE_S, Guest, daemon
from tests.rpc.test_doors import Code, refused

VOICE, HEARING = types_pb2.PURPOSE_VOICE, types_pb2.PURPOSE_HEARING


def standing(guest: Guest, purpose: int) -> consent_pb2.PurposeConsent:
    answer = guest.call("Consent", "GetConsent", consent_pb2.GetConsentRequest())
    (found,) = (each for each in answer.purposes if each.purpose == purpose)
    assert isinstance(found, consent_pb2.PurposeConsent)
    return found


def test_grant_withdraw_and_grant_again(tmp_path: Path) -> None:
    with daemon(tmp_path) as running:
        guest = running.join(running.create().circle_id)
        assert not guest.audible
        assert not standing(guest, VOICE).granted
        assert guest.grant(VOICE).granted
        assert guest.audible
        event_id = os.urandom(16)
        answer = guest.withdraw(VOICE, event_id=event_id)
        assert not guest.audible
        assert answer.gate_epoch > 0
        assert [(each.purpose, each.granted) for each in answer.purposes] == [(VOICE, False)]
        refused(Code.ABORTED, "STALE_GRANT", guest.grant, VOICE)
        refused(Code.ABORTED, "STALE_GRANT", guest.grant, VOICE, os.urandom(16).hex())
        named = standing(guest, VOICE).withdrawal_id
        assert named == event_id.hex()
        assert guest.grant(VOICE, named).granted
        assert guest.audible
        # What the consent says is what the next grant has to name, also without a withdrawal in between.
        assert guest.grant(VOICE, standing(guest, VOICE).withdrawal_id).granted


def test_an_empty_withdrawal_withdraws_everything(tmp_path: Path) -> None:
    with daemon(tmp_path) as running:
        guest = running.join(running.create().circle_id)
        for purpose in range(1, 13):
            guest.grant(types_pb2.Purpose.ValueType(purpose))
        answer = guest.withdraw()
        assert [each.granted for each in answer.purposes] == [False] * 12
        assert not guest.audible


@pytest.mark.parametrize("ending", ["closed", "left"])
def test_an_ended_credential_can_withdraw_and_nothing_else(tmp_path: Path, ending: str) -> None:
    with daemon(tmp_path) as running:
        circle_id = running.create().circle_id
        guest = running.join(circle_id)
        guest.grant(types_pb2.PURPOSE_RESEARCH)
        if ending == "left":
            guest.call("Circle", "LeaveCircle", circle_pb2.LeaveCircleRequest())
        else:
            running.advance(circle_id, types_pb2.CIRCLE_STATE_CLOSED)
        refused(Code.PERMISSION_DENIED, "CREDENTIAL_ENDED", guest.set_offset, 0.1)
        refused(Code.PERMISSION_DENIED, "CREDENTIAL_ENDED", guest.grant, VOICE)
        refused(Code.PERMISSION_DENIED, "CREDENTIAL_ENDED", standing, guest, VOICE)
        assert not any(each.granted for each in guest.withdraw().purposes)
    with daemon(tmp_path) as again:
        back = guest.at(again)
        refused(Code.PERMISSION_DENIED, "CREDENTIAL_ENDED", back.attach)
        back.withdraw()


def test_on_a_full_disk_a_sleeper_is_muted_stays_so_and_is_told(tmp_path: Path) -> None:
    with daemon(tmp_path) as running:
        guest = running.join(running.create().circle_id)
        guest.grant(VOICE)
    size = (tmp_path / "journal.db").stat().st_size
    event_id = os.urandom(16)
    with daemon(tmp_path, journal_bytes_max=size) as full:
        guest = guest.at(full)
        assert guest.audible
        fill(guest)
        said = refused(Code.UNAVAILABLE, "MUTED_NOT_RECORDED", guest.withdraw, event_id=event_id)
        assert "stays so, but not yet on disk" in said
        assert "free some space" in said
        assert not guest.audible
        refused(Code.UNAVAILABLE, "STORAGE_UNAVAILABLE", guest.set_offset, 0.25)
        assert not guest.audible
    with daemon(tmp_path) as roomy:
        guest = guest.at(roomy)
        guest.withdraw(event_id=event_id)  # the client has gone on repeating it
        assert not guest.audible
    with daemon(tmp_path) as again:
        assert not guest.at(again).audible


def test_a_withdrawal_waits_for_no_engine(tmp_path: Path) -> None:
    """The engine's thread hangs; both doors mute, write and answer all the same."""
    with daemon(tmp_path) as running:
        circle_id = running.create().circle_id
        first, second = running.join(circle_id), running.join(circle_id)
        for guest in (first, second):
            guest.grant(VOICE)
        hanging, go_on = threading.Event(), threading.Event()

        def hang() -> None:
            hanging.set()
            go_on.wait(PATIENCE_S)

        running.daemon.bridge.post(hang)
        assert hanging.wait(PATIENCE_S)
        try:
            assert not first.withdraw(VOICE).purposes[0].granted
            event_id = os.urandom(16)
            running.plane.hear(second.number, event_id)
            while not running.plane.sleepers[second.number].acknowledged:
                os.sched_yield()
            assert not first.audible
            assert not second.audible
        finally:
            go_on.set()
        assert not standing(second, VOICE).granted


def test_a_call_that_the_engine_does_not_finish_ends_at_its_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with daemon(tmp_path) as running:
        guest, go_on = running.join(running.create().circle_id), threading.Event()
        monkeypatch.setattr(interceptor, "DEADLINE_S", 0.05)
        running.daemon.bridge.post(lambda: (go_on.wait(PATIENCE_S), None)[1])
        try:
            said = refused(Code.UNAVAILABLE, "UNREACHABLE", guest.set_offset, 0.25)
            assert "overloaded; try again" in said
        finally:
            go_on.set()


def fill(guest: Guest) -> None:
    """Writes the smallest events there are until the journal takes no more of it, wherever in the file it would go."""
    refusals = 0
    while refusals < 30:
        with suppress(grpc.RpcError):
            guest.set_offset(0.0)
            refusals = -1
        refusals += 1


def test_who_keeps_apart_from_whom_is_told_to_nobody_else_and_outlives_the_daemon(tmp_path: Path) -> None:
    def keep(guest: Guest, other_id: str, **directions: bool) -> list[tuple[str, bool, bool]]:
        request = consent_pb2.KeepApartRequest(sleeper_id=other_id, **directions)
        answer: consent_pb2.KeepApartResponse = guest.call("Consent", "KeepApart", request)
        return [(wish.sleeper_id, wish.unheard, wish.unhearing) for wish in answer.apart]

    with daemon(tmp_path) as running:
        circle_id = running.create().circle_id
        ann, ben = running.join(circle_id), running.join(circle_id)
        for guest in (ann, ben):
            guest.grant(VOICE)
            guest.grant(HEARING)
        hears = running.plane.hears
        assert hears(ann.number, ben.number)
        ben_id = ben.answer.sleeper_id
        assert keep(ann, ben_id, unheard=True) == [(ben_id, True, False)]
        assert not hears(ann.number, ben.number)
        assert hears(ben.number, ann.number)
        assert keep(ann, "zoe-who-comes-later", unhearing=True) == [
            (ben_id, True, False),
            ("zoe-who-comes-later", False, True),
        ]
        assert [wish.sleeper_id for wish in ann.attach().state.apart] == [ben_id, "zoe-who-comes-later"]
        assert not ben.attach().state.apart
        refused(Code.INVALID_ARGUMENT, "BAD_INPUT", keep, ann, ann.answer.sleeper_id, unheard=True)
        refused(Code.INVALID_ARGUMENT, "BAD_INPUT", keep, ann, "", unheard=True)
    with daemon(tmp_path) as running:
        again = ann.at(running)
        assert not running.plane.hears(ann.number, ben.number)
        assert running.plane.hears(ben.number, ann.number)
        assert keep(again, ben_id, unheard=False) == [("zoe-who-comes-later", False, True)]
        assert running.plane.hears(ann.number, ben.number)


def test_visibility_to_somebody_alone_shows_a_person_to_them_and_to_nobody_else(tmp_path: Path) -> None:
    def seen(watching: Any) -> tuple[list[str], int]:
        answer = next(iter(watching))
        watching.cancel()
        return [row.sleeper_id for row in answer.sleepers], answer.hidden

    with daemon(tmp_path) as running:
        circle_id = running.create().circle_id
        guests = [running.join(circle_id) for _ in range(3)]
        person = guests[0]
        mine, theirs, others = (guest.answer.sleeper_id for guest in guests)
        person.grant(types_pb2.PURPOSE_PRESENCE)

        def show(scope: str) -> None:
            request = consent_pb2.GrantRequest(
                purpose=types_pb2.PURPOSE_VISIBILITY, scope=scope, event_id=os.urandom(16)
            )
            assert person.call("Consent", "Grant", request).consent.granted

        def watched() -> list[tuple[list[str], int]]:
            request = circle_pb2.WatchCircleRequest(circle_id=circle_id)
            host = running.circles.WatchCircle(request, metadata=running.admin, timeout=PATIENCE_S)
            return [seen(host), *(seen(guest.call("Circle", "WatchCircle", request)) for guest in guests)]

        show(theirs)
        assert watched() == [([], 1), ([mine], 0), ([mine, theirs], 0), ([others], 1)]
        show("host")
        assert watched() == [([mine], 0), ([mine], 0), ([theirs], 1), ([others], 1)]
        show("sleeper")
        assert watched() == [([], 1), ([mine], 0), ([mine, theirs], 0), ([mine, others], 0)]
        refused(Code.INVALID_ARGUMENT, "BAD_INPUT", show, "council")
