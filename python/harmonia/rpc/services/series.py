"""SeriesService: circles that recur."""

from dataclasses import replace
from typing import Any

from harmonia.domain.circle import CAPACITY_DEFAULT
from harmonia.domain.events import SeriesTemplate
from harmonia.domain.schedule import TimesOfDay, parse_times
from harmonia.rpc import codec
from harmonia.rpc.services.house import House
from harmonia.v1 import series_pb2, series_pb2_grpc

NIGHTS_DEFAULT = 10
NIGHTS_MAX = 100


class SeriesServicer(series_pb2_grpc.SeriesServiceServicer):
    """Circles that recur."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def CreateSeries(self, request: Any, _context: Any) -> series_pb2.CreateSeriesResponse:  # noqa: N802
        """Makes a circle recur."""
        sanctuary, given = self._house.sanctuary, request.score
        weaving = codec.parse_new_weaving(request.weaving)

        async def create() -> series_pb2.Series:
            read, name, format, text = sanctuary.read_score(given.name, codec.parse_format(given.format), given.text)
            template = SeriesTemplate(
                title=request.title or given.name,
                score_name=name,
                score_format=format,
                score_text=text,
                channels=read.channels,
                duration_ns=read.duration_ns,
                capacity=request.capacity or CAPACITY_DEFAULT,
                night_ns=request.night_ns if request.HasField("night_ns") else None,
                mode=weaving.mode,
                strength_rad_s=weaving.strength_rad_s,
                lag_rad=weaving.lag_rad,
                times=_times(request.wish),
            )
            excluded = tuple(request.excluded)
            keeper = await sanctuary.create_series(
                rule=request.rule, first=request.first, excluded=excluded, template=template
            )
            return codec.series(keeper, NIGHTS_DEFAULT)

        return series_pb2.CreateSeriesResponse(series=await self._house.bridge.call(create))

    async def ListSeries(self, request: Any, _context: Any) -> series_pb2.ListSeriesResponse:  # noqa: N802
        """Every series."""
        count = min(request.nights or NIGHTS_DEFAULT, NIGHTS_MAX)

        def look() -> list[series_pb2.Series]:
            return [codec.series(keeper, count) for keeper in self._house.sanctuary.keepers()]

        return series_pb2.ListSeriesResponse(series=await self._house.bridge.ask(look))

    async def ChangeSeries(self, request: Any, _context: Any) -> series_pb2.ChangeSeriesResponse:  # noqa: N802
        """Changes what nights are made from."""
        sanctuary, given = self._house.sanctuary, request.score
        keeper = sanctuary.keeper(request.series_id)

        async def change() -> series_pb2.Series:
            template, score = keeper.series.template, None
            if request.HasField("title"):
                template = replace(template, title=request.title)
            if request.HasField("capacity"):
                template = replace(template, capacity=request.capacity)
            if request.HasField("wish"):
                template = replace(template, times=_times(request.wish))
            if request.HasField("score"):
                score = sanctuary.read_score(given.name, codec.parse_format(given.format), given.text)
                read, name, format, text = score
                template = replace(template, score_name=name, score_format=format, score_text=text)
                template = replace(template, channels=read.channels, duration_ns=read.duration_ns)
            await keeper.change(template, tuple(request.excluded), score)
            return codec.series(keeper, NIGHTS_DEFAULT)

        return series_pb2.ChangeSeriesResponse(series=await self._house.bridge.call(change))

    async def EndSeries(self, request: Any, _context: Any) -> series_pb2.EndSeriesResponse:  # noqa: N802
        """Makes no more nights."""
        keeper = self._house.sanctuary.keeper(request.series_id)
        await self._house.bridge.call(keeper.end)
        return series_pb2.EndSeriesResponse(series=await self._house.bridge.ask(codec.series, keeper, NIGHTS_DEFAULT))


def _times(wish: Any) -> TimesOfDay:
    return parse_times(wish.zone, wish.gather_at, wish.lights_out, wish.wake)
