"""Charts over time as SVG: data in, markup out.

Nothing is scaled like a picture: positions on the time axis are percentages and heights are
pixels, so that text keeps its size on a phone. Colours come from the style sheet's classes. Each
bar is a link to the events that it counts.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from typing import TYPE_CHECKING, Final

from markupsafe import Markup

from vision_event_block.server.page.formatting import count as in_words
from vision_event_block.server.page.zones import local_time
from vision_event_block.server.store.timestamps import iso_milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

HEIGHT_PX: Final = 200
#: Space below the plot for the times.
AXIS_PX: Final = 24
TOP_PX: Final = 8
PLOT_PX: Final = HEIGHT_PX - AXIS_PX - TOP_PX
_MAX_TIMES: Final = 5
_Y_TICKS: Final = 4
#: The share of a bucket's width that its bar takes, in percent; then for two bars side by side.
_BAR_PERCENT: Final = 78
_PAIR_PERCENT: Final = (30, 50)
_HOUR_PERCENT: Final = 86
#: Height of the bar of hours, with the times below it.
HOURS_PX: Final = 56


@dataclass(frozen=True)
class Series:
    """The counts under one name; `tone` is a class of the style sheet."""

    name: str
    tone: str
    values: tuple[int, ...]
    #: The address of the events of each period; empty if there are no links.
    links: tuple[str, ...] = ()
    #: Shown with the name and the total.
    note: str = ""

    @property
    def total(self) -> int:
        return sum(self.values)


@dataclass(frozen=True)
class Buckets:
    """The periods between these edges, drawn equally wide."""

    edges: tuple[datetime, ...]
    width: timedelta
    zone: tzinfo = timezone.utc

    @property
    def count(self) -> int:
        return len(self.edges) - 1

    @property
    def starts(self) -> tuple[datetime, ...]:
        return self.edges[:-1]

    def label(self, moment: datetime) -> str:
        moment = local_time(moment, self.zone)
        return f"{moment:%d %b}" if self.style == "day" else f"{moment:%H:%M}"

    def moment(self, start: datetime) -> str:
        local = local_time(start, self.zone)
        is_day = self.width >= timedelta(days=1)
        return f"{local:%a %d %b}" if is_day else f"{local:%d %b %H:%M %Z}"

    @property
    def style(self) -> str:
        """`day` if days are enough to tell the buckets apart, otherwise `hour`."""
        return "day" if self.width * self.count > timedelta(days=2) else "hour"


def stacked_bars(
    title: str, buckets: Buckets, series: Sequence[Series], before: Series | None = None
) -> Markup:
    """Counts per bucket, one colour for each series, next to the earlier counts."""
    sums = [sum(column) for column in zip(*(one.values for one in series), strict=True)]
    highest = max([*sums, *(before.values if before else ())], default=0)
    ticks = _ticks(highest)
    scale = _Scale(TOP_PX, PLOT_PX, ticks[-1])
    bars = list(_bars(buckets, series, scale, before))
    words = "; ".join(f"{one.name}: {one.total:,}" for one in series) or "nothing to count"
    if before:
        words += f"; {before.name}: {before.total:,}"
    return _chart(f"{title}: {words}", buckets, ticks, bars, suffix="")


def hour_bar(title: str, buckets: Buckets, bad: Series, others: Series) -> Markup:
    """A low chart without scales, whose bars select a period."""
    sums = [low + high for low, high in zip(bad.values, others.values, strict=True)]
    scale = _Scale(2, HOURS_PX - AXIS_PX - 2, max(max(sums, default=0), 1))
    slot = 100 / max(buckets.count, 1)
    bars = []
    for index, count in enumerate(sums):
        worse = bad.values[index]
        place = (index * slot, slot * _HOUR_PERCENT / 100)
        rects = [
            _rect(series.tone, place, span, scale)
            for series, span in ((bad, (0, worse)), (others, (worse, count)))
            if span[0] < span[1]
        ]
        if rects:
            words = in_words(count, "event") + (f", {worse:,} {bad.name}" if worse else "")
            bars.append(_linked(Markup("").join(rects), buckets, index, words, others))
    return Markup(
        '<svg class="chart hours" role="group" width="100%" height="{}" overflow="visible"'
        ' aria-label="{}" data-bars="" data-periods="{}" data-edges="{}">{}'
        '<rect class="chosen" y="0" height="{}" hidden="hidden"/>{}</svg>'
    ).format(
        HOURS_PX,
        title,
        buckets.count,
        json.dumps([exact(edge) for edge in buckets.edges]),
        Markup("").join(bars),
        HOURS_PX - AXIS_PX,
        _times(buckets, HOURS_PX - 5),
    )


def share_line(
    title: str,
    buckets: Buckets,
    shares: Sequence[tuple[Series, Series]],
) -> Markup:
    """Percentages of judged events; no line where there is nothing to judge.

    Args:
        title: The name of the percentages, such as `Pass rate`.
        buckets: The time axis.
        shares: For each line the events that count, whose tone the line takes, and all events.
    """
    slot = 100 / max(buckets.count, 1)
    drawn: list[Markup] = []
    words = []
    for hits, totals in shares:
        runs: list[list[tuple[float, float]]] = [[]]
        marks: list[Markup] = []
        for index, (hit, total) in enumerate(zip(hits.values, totals.values, strict=True)):
            if not total:
                runs.append([])
                continue
            share = 100 * hit / total
            x = (index + 0.5) * slot
            runs[-1].append((x, share))
            mark = Markup('<circle class="{}" cx="{}%" cy="{}" r="3.5"/>').format(
                hits.tone, _plain(x), _plain(_Scale(TOP_PX, PLOT_PX, 100).y(share))
            )
            said = f"{share:.0f} % of {total:,} {hits.name}"
            marks.append(_linked(mark, buckets, index, said, totals))
        lines = Markup("").join(
            Markup('<polyline class="line {}" points="{}"/>').format(
                hits.tone, " ".join(f"{_plain(x)},{_plain(100 - share)}" for x, share in run)
            )
            for run in runs
            if len(run) > 1
        )
        plot = Markup(
            '<svg x="0" y="{}" width="100%" height="{}" viewBox="0 0 100 100"'
            ' preserveAspectRatio="none" overflow="visible">{}</svg>'
        ).format(TOP_PX, PLOT_PX, lines)
        drawn += [plot, *marks]
        judged = totals.total
        name = f"{hits.name} " if len(shares) > 1 else ""
        words.append(
            f"{name}{hits.total / judged:.1%} of {judged:,}" if judged else "nothing to judge"
        )
    label = f"{title}: {'; '.join(words)}"
    return _chart(label, buckets, [0, 25, 50, 75, 100], drawn, suffix=" %")


@dataclass(frozen=True)
class _Scale:
    top: float
    height: float
    highest: float

    def y(self, value: float) -> float:
        return self.top + self.height * (1 - value / self.highest)


def _bars(
    buckets: Buckets, series: Sequence[Series], scale: _Scale, before: Series | None
) -> Iterable[Markup]:
    slot = 100 / max(buckets.count, 1)
    narrow, wide = (slot * each / 100 for each in (_PAIR_PERCENT if before else (0, _BAR_PERCENT)))
    margin = (slot - narrow - wide) / 2
    for index in range(buckets.count):
        stacked = [(one, (index * slot + margin + narrow, wide)) for one in series]
        earlier = [(before, (index * slot + margin, narrow))] if before else []
        base = 0
        for one, place in [*earlier, *stacked]:
            if value := one.values[index]:
                low = 0 if one is before else base
                rect = _rect(one.tone, place, (low, low + value), scale)
                yield _linked(rect, buckets, index, f"{value:,} {one.name}", one)
                base += 0 if one is before else value


def _rect(tone: str, place: tuple[float, float], span: tuple[int, int], scale: _Scale) -> Markup:
    low, high = map(scale.y, span)
    return Markup('<rect class="{}" x="{}%" y="{}" width="{}%" height="{}"/>').format(
        tone, _plain(place[0]), _plain(high), _plain(place[1]), _plain(low - high)
    )


def _linked(shape: Markup, buckets: Buckets, index: int, words: str, series: Series) -> Markup:
    """A shape with its description, for the pointer and for screen readers."""
    start = buckets.edges[index]
    said = f"{buckets.moment(start)}: {words}"
    tip = Markup('<title data-datetime="{}" data-words="{}">{}</title>').format(
        iso_milliseconds(start), words, said
    )
    if not series.links:
        return Markup("<g>{}{}</g>").format(tip, shape)
    return Markup('<a href="{}" aria-label="{}" data-period="{}">{}{}</a>').format(
        series.links[index], said, index, tip, shape
    )


def _chart(
    label: str,
    buckets: Buckets,
    ticks: Sequence[int],
    content: Iterable[Markup],
    *,
    suffix: str,
) -> Markup:
    scale = _Scale(TOP_PX, PLOT_PX, ticks[-1])
    lines = Markup("").join(
        Markup(
            '<line class="grid-line" x1="0" x2="100%" y1="{0}" y2="{0}"/>'
            '<text class="y-label" aria-hidden="true" x="-8" y="{0}" dy="0.32em">{1}</text>'
        ).format(_plain(scale.y(tick)), f"{_short_count(tick)}{suffix}")
        for tick in ticks
    )
    return Markup(
        '<svg class="chart" role="group" width="100%" height="{}" overflow="visible"'
        ' aria-label="{}" data-bars="">{}{}{}</svg>'
    ).format(HEIGHT_PX, label, lines, Markup("").join(content), _times(buckets, HEIGHT_PX - 5))


def _times(buckets: Buckets, y: int) -> Markup:
    """As many times as fit below the buckets."""
    step = max(1, math.ceil(buckets.count / _MAX_TIMES))
    return Markup("").join(
        Markup(
            '<text class="x-label" aria-hidden="true" x="{}%" y="{}" data-datetime="{}"'
            ' data-style="{}">{}</text>'
        ).format(
            _plain(100 * (index + 0.5) / buckets.count),
            y,
            iso_milliseconds(moment),
            buckets.style,
            buckets.label(moment),
        )
        for index, moment in enumerate(buckets.starts)
        if index % step == step // 2
    )


def exact(moment: datetime) -> str:
    """The moment as it is written in an address, to the microsecond."""
    return moment.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")


def last_of(end: datetime) -> str:
    """The last moment before an end, because a period in an address includes its end."""
    return exact(end - timedelta(microseconds=1))


def _ticks(highest: int) -> list[int]:
    """Round numbers from 0 to just above the highest.

    >>> _ticks(37)
    [0, 10, 20, 30, 40]
    """
    if highest <= 0:
        return [0, 1]
    rough = highest / _Y_TICKS
    magnitude = 10 ** math.floor(math.log10(rough)) if rough >= 1 else 1
    step = next(int(factor * magnitude) for factor in (1, 2, 5, 10) if factor * magnitude >= rough)
    return list(range(0, step * math.ceil(highest / step) + 1, step))


def _short_count(value: int) -> str:
    """`1.5k` for numbers that would not fit next to the plot."""
    if value >= 1_000_000:  # noqa: PLR2004 -- a million
        return f"{value / 1_000_000:g}M"
    return f"{value / 1000:g}k" if value >= 10_000 else f"{value:,}"  # noqa: PLR2004 -- five digits


def _plain(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".")
