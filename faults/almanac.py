"""Who keeps the series of a campaign: circles that recur, and the nights that the sanctuary makes of them by itself.

Nobody is answered when a night is made or missed. It follows from a series that was acknowledged, though, and what was
once shown of it has to stay. Each series here has one night that has passed, which is missed, and one that comes.
"""

from datetime import UTC, datetime, timedelta

from faults.house import House
from faults.ledger import ANYTHING, Caller
from harmonia.v1 import series_pb2, series_pb2_grpc, types_pb2

_SERIES_MAX = 3
_RULE = "FREQ=DAILY;INTERVAL=5;COUNT=2"
_FIRST_AGO = timedelta(days=3)
_NIGHT_NS = 8 * 3600 * 1_000_000_000
_SCORE = types_pb2.Score(name="series.sbg", format=types_pb2.SCORE_FORMAT_SBG, text="theta: 200+5/20\nNOW theta\n")


class Almanac(Caller):
    """Facts are series by their titles: room, nights that are left out, whether it has ended."""

    OPERATIONS = ("recur", "change_series", "change_series", "end_series")

    def __init__(self, house: House, seed: int) -> None:
        super().__init__(house, seed)
        self._nights: dict[str, dict[str, str]] = {}
        """What was shown of the nights of a series: the circle's id, or why it was missed."""

    def connect(self) -> None:
        """To the daemon that runs now."""
        assert self.house.channel is not None
        self._metadata = (("authorization", f"Bearer {self.house.place.admin_token}"),)
        self._series = series_pb2_grpc.SeriesServiceStub(self.house.channel)

    def verify(self) -> list[str]:
        """What is wrong with the series that are there, and with their nights."""
        for one in self._listed():
            if not one.ended:
                self._settle(one)
        listed = self._listed()
        wrong = self.ledger.compare({f"series {one.title}": _standing(one) for one in listed})
        return wrong + [words for one in listed for words in self._wrong_nights(one)]

    def recur(self) -> None:
        if len(self._going_on()) >= _SERIES_MAX:
            self.end_series()
        title = f"{self.random.getrandbits(48):012x}"
        request = series_pb2.CreateSeriesRequest(
            title=title,
            score=_SCORE,
            capacity=self.random.randint(1, 100),
            night_ns=_NIGHT_NS,
            wish=types_pb2.NightWish(zone="Europe/Berlin", gather_at="21:00", lights_out="22:00"),
            rule=_RULE,
            first=(datetime.now(UTC).date() - _FIRST_AGO).isoformat(),
        )
        self.ledger.wish = {f"series {title}": (ANYTHING, request.capacity, (), False)}
        made = self.call(self._series.CreateSeries, request, metadata=self._metadata).series
        self.ledger.granted({f"series {title}": _standing(made)})
        self._settle(made)

    def change_series(self) -> None:
        """How many fit in, or a night that it leaves out."""
        name = self._one()
        series_id, capacity, excluded, _ = self.ledger.facts[name]
        request = series_pb2.ChangeSeriesRequest(series_id=series_id)
        if self.random.random() < 0.5:
            capacity = request.capacity = self.random.randint(1, 100)
        else:
            night = datetime.now(UTC).date() + timedelta(days=self.random.randint(100, 3000))
            request.excluded.append(night.isoformat())
            excluded = tuple(sorted({*excluded, night.isoformat()}))
        self.ledger.wish = {name: (series_id, capacity, excluded, False)}
        self.call(self._series.ChangeSeries, request, metadata=self._metadata)
        self.ledger.granted(self.ledger.wish)

    def end_series(self) -> None:
        name = self._one()
        series_id, *rest, _ = self.ledger.facts[name]
        self.ledger.wish = {name: (series_id, *rest, True)}
        request = series_pb2.EndSeriesRequest(series_id=series_id)
        self.call(self._series.EndSeries, request, metadata=self._metadata)
        self.ledger.granted(self.ledger.wish)

    def _settle(self, one: series_pb2.Series) -> None:
        """Changes nothing; but a change is made behind the nights that are being made, so that they are there then."""
        request = series_pb2.ChangeSeriesRequest(series_id=one.series_id)
        self.call(self._series.ChangeSeries, request, metadata=self._metadata)

    def _wrong_nights(self, one: series_pb2.Series) -> list[str]:
        seen = {night.night: night.circle_id for night in one.nights if night.circle_id}
        seen |= {night.night: night.reason for night in one.missed}
        wrong = []
        for night, was in self._nights.get(one.title, {}).items():
            if seen.get(night) != was:
                wrong.append(f"the night {night} of {one.title} was {was!r}, and is {seen.get(night)!r}")
        if not one.ended and (len(one.missed), len(seen)) != (1, 2):
            wrong.append(f"of {one.title} one night was to be missed and one to be made; there are {seen}")
        self._nights[one.title] = seen
        return wrong

    def _listed(self) -> list[series_pb2.Series]:
        request = series_pb2.ListSeriesRequest()
        return list(self.call(self._series.ListSeries, request, metadata=self._metadata).series)

    def _going_on(self) -> list[str]:
        return [name for name, value in self.ledger.facts.items() if not value[-1]]

    def _one(self) -> str:
        if not self._going_on():
            self.recur()
        return self.random.choice(self._going_on())


def _standing(one: series_pb2.Series) -> tuple[object, ...]:
    return (one.series_id, one.capacity, tuple(one.excluded), one.ended)
