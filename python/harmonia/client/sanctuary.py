"""A sanctuary as its host sees it: circles, invitations, the rhythm, the node's clock."""

import hashlib
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import trio

from harmonia import errors
from harmonia.client import channel, rooms, views
from harmonia.client.invitation import Endpoint, Invitation
from harmonia.client.names import CircleMode, CircleState, Purpose, Role
from harmonia.client.rooms import RoleView
from harmonia.client.views import (
    Circle,
    CircleView,
    NightWish,
    Offer,
    RhythmView,
    SanctuaryStatus,
    ScoreText,
    Series,
    Tracking,
    Weaving,
)
from harmonia.v1 import (
    circle_pb2,
    circle_pb2_grpc,
    ledger_pb2,
    ledger_pb2_grpc,
    offer_pb2,
    offer_pb2_grpc,
    rhythm_pb2,
    rhythm_pb2_grpc,
    sanctuary_pb2,
    sanctuary_pb2_grpc,
    series_pb2,
    series_pb2_grpc,
    stem_pb2,
    stem_pb2_grpc,
    steward_pb2,
    steward_pb2_grpc,
)

PART_BYTES = 1 << 20
"""What of a recording is sent at once."""


def read_endpoint(data_dir: Path) -> Endpoint:
    """Where the sanctuary of this data folder listens. Raises NotFound if none ever ran there."""
    try:
        place = json.loads((data_dir / "sanctuary.json").read_text())
        return Endpoint(place["host"], int(place["grpc_port"]), (data_dir / "ca.pem").read_text())
    except FileNotFoundError:
        raise errors.NotFound(
            f"no sanctuary's data in {data_dir}; start one with `harmonia serve`, or name its folder with --data"
        ) from None
    except OSError as error:
        raise errors.StorageError(f"cannot read {data_dir}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise errors.BadInput(f"{data_dir / 'sanctuary.json'} is damaged; restart `harmonia serve`") from None


def read_admin_token(data_dir: Path) -> str | None:
    """The host's token, or None where this user may not read it."""
    try:
        return (data_dir / "admin.token").read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None


class Sanctuary:
    """A connection to a sanctuary. A context manager, async or not.

    Status and tracking need no token; everything else needs the host's. Every method raises a HarmoniaError.
    """

    def __init__(self, endpoint: Endpoint, admin_token: str | None = None) -> None:
        self.endpoint = endpoint
        self._metadata = [("authorization", f"Bearer {admin_token}")] if admin_token else []
        self._channel = channel.open_channel(endpoint.host, endpoint.port, endpoint.ca_pem.encode())
        self._sanctuary = sanctuary_pb2_grpc.SanctuaryServiceStub(self._channel)
        self._circle = circle_pb2_grpc.CircleServiceStub(self._channel)
        self._series = series_pb2_grpc.SeriesServiceStub(self._channel)
        self._stem = stem_pb2_grpc.StemServiceStub(self._channel)
        self._ledger = ledger_pb2_grpc.LedgerServiceStub(self._channel)
        self._rhythm = rhythm_pb2_grpc.RhythmServiceStub(self._channel)
        self._steward = steward_pb2_grpc.StewardServiceStub(self._channel)
        self._offer = offer_pb2_grpc.OfferServiceStub(self._channel)

    @classmethod
    def at(cls, data_dir: Path) -> Self:
        """The sanctuary whose data folder is on this machine, as its host if the token there is readable."""
        return cls(read_endpoint(data_dir), read_admin_token(data_dir))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends every call under way."""
        self._channel.close()

    async def _call(self, method: Any, request: Any) -> Any:
        return await channel.call(method, request, self._metadata)

    async def status(self) -> SanctuaryStatus:
        """What the sanctuary is and hosts."""
        return views.status(await self._call(self._sanctuary.GetStatus, sanctuary_pb2.GetStatusRequest()))

    async def tracking(self) -> Tracking:
        """How the sanctuary's own clock stands."""
        return views.tracking(await self._call(self._sanctuary.GetTracking, sanctuary_pb2.GetTrackingRequest()))

    async def create_circle(
        self,
        score: ScoreText,
        *,
        title: str = "",
        capacity: int = 0,
        gather_s: float | None = None,
        night_s: float | None = None,
        weaving: Weaving | None = None,
        wish: NightWish | None = None,
        draft: bool = False,
        note: Callable[[str], None] = lambda _: None,
    ) -> Circle:
        """Opens a circle in gathering, or as a draft.

        ``wish`` is the night in civil time: when it gathers (``YYYY-MM-DD HH:MM``, or empty: at once), lights-out (the
        same, or ``HH:MM``) and the wake window (``FROM..UNTIL``, or empty: with the score's end), in a zone. What has
        to be said of it (times at which the clocks change) is given to ``note``, a line each. A circle whose wish says
        when it gathers is a draft until then.

        ``capacity`` 0 means 64. The score begins after ``gather_s`` seconds, or when the host advances the circle; the
        night lasts ``night_s`` seconds from there, or until the score ends. ``weaving`` is its mode, strength and lag;
        without it the mode is standard. Raises BadInput with FILE:LINE: reason if
        the score cannot be played.
        """
        request = circle_pb2.CreateCircleRequest(
            title=title,
            score=views.score_message(score),
            capacity=capacity,
            gather_ns=None if gather_s is None else round(gather_s * 1e9),
            night_ns=None if night_s is None else round(night_s * 1e9),
            weaving=None if weaving is None else views.weaving_message(weaving),
            wish=None if wish is None else views.night_wish_message(wish),
            draft=draft,
        )
        answer = await self._call(self._circle.CreateCircle, request)
        for line in answer.notes:
            note(line)
        return views.circle(answer.circle)

    async def edit_circle(
        self,
        circle_id: str,
        *,
        title: str | None = None,
        capacity: int | None = None,
        score: ScoreText | None = None,
        schedule: NightWish | tuple[float | None, float | None] | None = None,
        note: Callable[[str], None] = lambda _: None,
    ) -> Circle:
        """Changes a circle (None: as it is): all of it while it is a draft, title and schedule until it begins.

        Its capacity can be changed always; nobody leaves for a lower one. ``schedule`` is a whole one in place of the
        one before: a wish, or the lengths of gathering and night in seconds (None: until its host moves it on). Raises
        BadInput where that cannot be changed any more.
        """
        request = circle_pb2.EditCircleRequest(circle_id=circle_id, title=title, capacity=capacity)
        if score is not None:
            request.score.CopyFrom(views.score_message(score))
        if isinstance(schedule, NightWish):
            request.schedule.wish.CopyFrom(views.night_wish_message(schedule))
        elif schedule is not None:
            gather_ns, night_ns = (None if length_s is None else round(length_s * 1e9) for length_s in schedule)
            request.schedule.CopyFrom(circle_pb2.ScheduleWish(gather_ns=gather_ns, night_ns=night_ns))
        answer = await self._call(self._circle.EditCircle, request)
        for line in answer.notes:
            note(line)
        return views.circle(answer.circle)

    async def add_stem(self, path: Path) -> str:
        """Gives the sanctuary a recording, by its file's name; goes on where it was interrupted. Returns its SHA-256.

        Raises NotFound, StorageError, BadInput.
        """

        def measure() -> tuple[bytes, int]:
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").digest(), path.stat().st_size

        def part(offset: int) -> bytes:
            with path.open("rb") as file:
                file.seek(offset)
                data = file.read(min(PART_BYTES, size - offset))
            if not data:
                raise errors.BadInput(f"{path} became shorter while it was sent; add it when it is whole")
            return data

        try:
            path.name.encode()
        except UnicodeEncodeError:
            raise errors.BadInput(f"{str(path)!r} has a name that is no UTF-8; give the file another name") from None
        try:
            sha256, size = await trio.to_thread.run_sync(measure)
            data, offset = b"", 0
            while True:
                request = stem_pb2.WriteStemRequest(sha256=sha256, file=path.name, size=size, offset=offset, data=data)
                answer = await self._call(self._stem.WriteStem, request)
                if answer.complete:
                    return sha256.hex()
                offset = answer.received
                data = await trio.to_thread.run_sync(part, offset)
        except FileNotFoundError:
            raise errors.NotFound(f"{path}: no such file") from None
        except OSError as error:
            raise errors.StorageError(f"{path}: {error.strerror}") from None

    async def circle(self, circle_id: str) -> Circle:
        """One circle. Raises NotFound."""
        request = circle_pb2.GetCircleRequest(circle_id=circle_id)
        return views.circle((await self._call(self._circle.GetCircle, request)).circle)

    async def circles(self) -> list[Circle]:
        """Every circle, page by page."""
        found: list[Circle] = []
        page_token = ""
        while True:
            request = circle_pb2.ListCirclesRequest(page_token=page_token)
            answer = await self._call(self._circle.ListCircles, request)
            found += map(views.circle, answer.circles)
            page_token = answer.next_page_token
            if not page_token:
                return found

    async def advance(self, circle_id: str, state: CircleState, reason: str = "") -> Circle:
        """Moves a circle to ``state``. Raises BadInput where the table has no such way.

        To close one that has not begun cancels it; everybody is told ``reason``.
        """
        number = views.state_number(state)
        request = circle_pb2.AdvanceCircleRequest(circle_id=circle_id, state=number, reason=reason)
        return views.circle((await self._call(self._circle.AdvanceCircle, request)).circle)

    async def create_series(
        self,
        score: ScoreText,
        *,
        rule: str,
        times: NightWish,
        title: str = "",
        capacity: int = 0,
        night_s: float | None = None,
        weaving: Weaving | None = None,
        first: str = "",
        excluded: Sequence[str] = (),
    ) -> Series:
        """Makes a circle recur: each night is a circle of its own, made a week ahead.

        ``rule``: full-moon, new-moon, daily, a weekday, or an RRULE of RFC 5545, counted from ``first`` (a local date;
        empty: today), without the dates ``excluded``. ``times`` are times of day. Raises BadInput.
        """
        request = series_pb2.CreateSeriesRequest(
            title=title,
            score=views.score_message(score),
            capacity=capacity,
            night_ns=None if night_s is None else round(night_s * 1e9),
            weaving=None if weaving is None else views.weaving_message(weaving),
            wish=views.night_wish_message(times),
            rule=rule,
            first=first,
            excluded=excluded,
        )
        return views.series((await self._call(self._series.CreateSeries, request)).series)

    async def series(self, nights: int = 10) -> list[Series]:
        """Every series, with so many of the nights that come."""
        answer = await self._call(self._series.ListSeries, series_pb2.ListSeriesRequest(nights=nights))
        return list(map(views.series, answer.series))

    async def change_series(
        self,
        series_id: str,
        *,
        title: str | None = None,
        capacity: int | None = None,
        score: ScoreText | None = None,
        times: NightWish | None = None,
        excluded: Sequence[str] = (),
    ) -> Series:
        """Changes all later nights of a series (None: as it is), also those that are made and drafts still.

        ``excluded``: nights to leave out besides; one that is made already is called off as any circle.
        """
        request = series_pb2.ChangeSeriesRequest(series_id=series_id, title=title, capacity=capacity, excluded=excluded)
        if score is not None:
            request.score.CopyFrom(views.score_message(score))
        if times is not None:
            request.wish.CopyFrom(views.night_wish_message(times))
        return views.series((await self._call(self._series.ChangeSeries, request)).series)

    async def end_series(self, series_id: str) -> Series:
        """Makes no more nights of a series; circles that are made stay."""
        request = series_pb2.EndSeriesRequest(series_id=series_id)
        return views.series((await self._call(self._series.EndSeries, request)).series)

    async def invitations(self, circle_id: str, count: int = 1, valid_s: float = 0) -> list[Invitation]:
        """``count`` invitations, each good for one sleeper for ``valid_s`` seconds (0: one day)."""
        request = circle_pb2.CreateJoinTokensRequest(circle_id=circle_id, count=count, valid_ns=round(valid_s * 1e9))
        answer = await self._call(self._circle.CreateJoinTokens, request)
        return [Invitation(self.endpoint, circle_id, token) for token in answer.tokens]

    async def grant_role(
        self, circle_id: str, role: Role, name: str, until_ns: int | None = None
    ) -> tuple[RoleView, str]:
        """Gives somebody a role until ``until_ns`` (None: with the circle). Its credential is told here, once."""
        request = steward_pb2.GrantRoleRequest(
            circle_id=circle_id, role=rooms.role_number(role), name=name, until_ns=until_ns
        )
        answer = await self._call(self._steward.GrantRole, request)
        return rooms.role_view(answer.role), answer.credential

    async def roles(self, circle_id: str) -> list[RoleView]:
        """Every role that was given in a circle."""
        request = steward_pb2.ListRolesRequest(circle_id=circle_id)
        return [rooms.role_view(m) for m in (await self._call(self._steward.ListRoles, request)).roles]

    async def revoke_role(self, circle_id: str, role_id: str) -> RoleView:
        """Takes a role back: no call of its holder passes from now on. Raises NotFound."""
        request = steward_pb2.RevokeRoleRequest(circle_id=circle_id, role_id=role_id)
        return rooms.role_view((await self._call(self._steward.RevokeRole, request)).role)

    async def rhythm(self, circle_id: str) -> RhythmView | None:
        """The circle's timeline; None while it has none."""
        request = rhythm_pb2.GetRhythmRequest(circle_id=circle_id)
        return views.rhythm((await self._call(self._rhythm.GetRhythm, request)).rhythm)

    async def set_rhythm(self, circle_id: str, frequency_hz: float, ramp_s: float = 0) -> RhythmView | None:
        """Leads the rhythm to ``frequency_hz`` within ``ramp_s`` seconds (0: ten), without a jump."""
        request = rhythm_pb2.SetRhythmRequest(
            circle_id=circle_id, frequency_hz=frequency_hz, ramp_ns=round(ramp_s * 1e9)
        )
        return views.rhythm((await self._call(self._rhythm.SetRhythm, request)).rhythm)

    async def set_weaving(
        self, circle_id: str, *, mode: CircleMode | None = None, strength_rad_s: float | None = None
    ) -> Circle:
        """Changes a circle's mode, or lowers its strength. Raises BadInput on a strength above the present one."""
        number = views.mode_number(mode or CircleMode.UNKNOWN)
        request = rhythm_pb2.SetWeavingRequest(circle_id=circle_id, mode=number, strength_rad_s=strength_rad_s)
        return views.circle((await self._call(self._rhythm.SetWeaving, request)).circle)

    async def offer_offsets(self, circle_id: str, pattern_turns: Sequence[float]) -> None:
        """Offers sleepers the offsets of a pattern, in the order of joining; each takes theirs or does not."""
        request = rhythm_pb2.OfferOffsetsRequest(circle_id=circle_id, pattern_turns=pattern_turns)
        await self._call(self._rhythm.OfferOffsets, request)

    async def ledger(self) -> tuple[str, str]:
        """The ledger's verifier key and its newest signed checkpoint."""
        answer = await self._call(self._ledger.GetLedger, ledger_pb2.GetLedgerRequest())
        return answer.verifier_key, answer.checkpoint

    async def forget(self, sleeper_id: str) -> None:
        """Withdraws everything of a sleeper's, and makes all they ever said unreadable. Cannot be undone."""
        await self._call(self._ledger.ForgetSleeper, ledger_pb2.ForgetSleeperRequest(sleeper_id=sleeper_id))

    async def make_offer(
        self,
        circle_id: str,
        text: str,
        *,
        grants: Mapping[Purpose, float] | None = None,
        for_s: float | None = None,
        ruling: bool = False,
    ) -> Offer:
        """Offers everybody in a circle consents (``grants``: how far each) or a ruling, for so many seconds.

        Nothing follows from it until a sleeper accepts it. Raises BadInput.
        """
        until_ns = None if for_s is None else (await self.status()).node_time_ns + round(for_s * 1e9)
        request = offer_pb2.MakeOfferRequest(
            circle_id=circle_id,
            kind=offer_pb2.OFFER_KIND_RULING if ruling else offer_pb2.OFFER_KIND_CONSENT,
            text=text,
            until_ns=until_ns,
            grants=[
                offer_pb2.OfferedGrant(purpose=views.purpose_number(purpose), level=level)
                for purpose, level in (grants or {}).items()
            ],
        )
        return views.offer((await self._call(self._offer.MakeOffer, request)).offer)

    async def end_offer(self, circle_id: str, offer_id: str) -> None:
        """Takes an offer back; whoever accepted it keeps what it set. Raises NotFound, BadInput."""
        request = offer_pb2.EndOfferRequest(circle_id=circle_id, offer_id=bytes.fromhex(offer_id))
        await self._call(self._offer.EndOffer, request)

    async def offers(self, circle_id: str) -> list[Offer]:
        """What lies open in a circle."""
        request = offer_pb2.ListOffersRequest(circle_id=circle_id)
        return [views.offer(one) for one in (await self._call(self._offer.ListOffers, request)).offers]

    @asynccontextmanager
    async def watch(self, circle_id: str, interval_s: float = 0) -> AsyncIterator[AsyncIterator[CircleView]]:
        """The circle and its visible sleepers, at least every ``interval_s`` seconds (0: one); the newest wins."""
        request = circle_pb2.WatchCircleRequest(circle_id=circle_id, interval_ns=round(interval_s * 1e9))
        async with channel.stream(self._circle.WatchCircle, request, self._metadata) as answers:
            yield (views.circle_view(answer) async for answer in answers)
