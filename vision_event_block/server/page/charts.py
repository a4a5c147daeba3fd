"""Charts over time as SVG: data in, markup out.

Nothing is scaled as a picture would be: places along the time axis are percentages and heights are
pixels, so that text keeps its size on a phone. Colours come from the style sheet's classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from markupsafe import Markup

from vision_event_block.server.page.zones import UTC
from vision_event_block.server.store.timestamps import iso_milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from vision_event_block.server.page.zones import Zone

HEIGHT_PX: Final = 200
#: Room below the plot for the times.
AXIS_PX: Final = 24
TOP_PX: Final = 8
PLOT_PX: Final = HEIGHT_PX - AXIS_PX - TOP_PX
_MAX_TIMES: Final = 5
_Y_TICKS: Final = 4
#: Share of a bucket's width that its bar takes, in percent.
_BAR_PERCENT: Final = 78


@dataclass(frozen=True)
class Series:
    """What is counted under one name; `tone` is a class of the style sheet."""

    name: str
    tone: str
    values: tuple[int, ...]

    @property
    def total(self) -> int:
        return sum(self.values)


@dataclass(frozen=True)
class Buckets:
    """Equal stretches of time, the first from `start`."""

    start: datetime
    width: timedelta
    count: int
    zone: Zone = UTC

    def starts(self) -> list[datetime]:
        return [self.start + index * self.width for index in range(self.count)]

    def label(self, moment: datetime) -> str:
        """The time as an axis says it."""
        moment = moment.astimezone(self.zone.info)
        return f"{moment:%d %b}" if self.style == "day" else f"{moment:%H:%M}"

    def tip(self, moment: datetime, words: str) -> Markup:
        """What a pointer is told; a script puts the time into the reader's zone and language."""
        return Markup('<title data-datetime="{}" data-words="{}">{}</title>').format(
            iso_milliseconds(moment),
            words,
            f"{moment.astimezone(self.zone.info):%d %b %H:%M %Z}: {words}",
        )

    @property
    def style(self) -> str:
        """Whether days tell the buckets apart, or hours are needed."""
        return "day" if self.width * self.count > timedelta(days=2) else "hour"


def stacked_bars(title: str, buckets: Buckets, series: Sequence[Series]) -> Markup:
    """Counts per bucket, one colour for each series."""
    totals = [sum(column) for column in zip(*(one.values for one in series), strict=True)]
    totals = totals or [0] * buckets.count
    ticks = _ticks(max(totals, default=0))
    bars: list[Markup] = []
    slot = 100 / max(buckets.count, 1)
    for index, start in enumerate(buckets.starts()):
        base = 0
        parts = []
        for one in series:
            value = one.values[index]
            if value:
                y, height = _y(base + value, ticks[-1]), _y(base, ticks[-1])
                parts.append(
                    Markup('<rect class="{}" x="{}%" y="{}" width="{}%" height="{}"/>').format(
                        one.tone,
                        _plain(index * slot + slot * (100 - _BAR_PERCENT) / 200),
                        _plain(y),
                        _plain(slot * _BAR_PERCENT / 100),
                        _plain(height - y),
                    )
                )
                base += value
        if parts:
            words = ", ".join(
                f"{one.values[index]:,} {one.name}" for one in series if one.values[index]
            )
            tip = buckets.tip(start, words)
            bars.append(Markup("<g>{}{}</g>").format(tip, Markup("").join(parts)))
    summary = "; ".join(f"{one.name}: {one.total:,}" for one in series) or "nothing to count"
    return _chart(f"{title}: {summary}", buckets, ticks, bars, suffix="")


def share_line(
    title: str, buckets: Buckets, *, hits: Sequence[int], totals: Sequence[int], tone: str
) -> Markup:
    """The percentage that `hits` are of `totals`; no line where there is nothing to judge."""
    slot = 100 / max(buckets.count, 1)
    runs: list[list[tuple[float, float]]] = [[]]
    marks: list[Markup] = []
    for index, (hit, total, start) in enumerate(zip(hits, totals, buckets.starts(), strict=True)):
        if not total:
            runs.append([])
            continue
        share = 100 * hit / total
        x = (index + 0.5) * slot
        runs[-1].append((x, share))
        marks.append(
            Markup('<circle class="{}" cx="{}%" cy="{}" r="3.5">{}</circle>').format(
                tone,
                _plain(x),
                _plain(_y(share, 100)),
                buckets.tip(start, f"{share:.0f} % of {total:,}"),
            )
        )
    lines = Markup("").join(
        Markup('<polyline class="line {}" points="{}"/>').format(
            tone, " ".join(f"{_plain(x)},{_plain(100 - share)}" for x, share in run)
        )
        for run in runs
        if len(run) > 1
    )
    plot = Markup(
        '<svg x="0" y="{}" width="100%" height="{}" viewBox="0 0 100 100"'
        ' preserveAspectRatio="none" overflow="visible">{}</svg>'
    ).format(TOP_PX, PLOT_PX, lines)
    judged = sum(totals)
    summary = f"{sum(hits) / judged:.1%} of {judged:,}" if judged else "nothing to judge"
    return _chart(f"{title}: {summary}", buckets, [0, 25, 50, 75, 100], [plot, *marks], suffix=" %")


def _chart(
    label: str,
    buckets: Buckets,
    ticks: Sequence[int],
    content: Iterable[Markup],
    *,
    suffix: str,
) -> Markup:
    lines = Markup("").join(
        Markup(
            '<line class="grid-line" x1="0" x2="100%" y1="{0}" y2="{0}"/>'
            '<text class="y-label" x="-8" y="{0}" dy="0.32em">{1}</text>'
        ).format(_plain(_y(tick, ticks[-1])), f"{_short_count(tick)}{suffix}")
        for tick in ticks
    )
    times = Markup("").join(
        Markup(
            '<text class="x-label" x="{}%" y="{}" data-datetime="{}" data-style="{}">{}</text>'
        ).format(
            _plain(100 * (index + 0.5) / buckets.count),
            HEIGHT_PX - 5,
            iso_milliseconds(moment),
            buckets.style,
            buckets.label(moment),
        )
        for index, moment in _some(buckets)
    )
    return Markup(
        '<svg class="chart" role="img" width="100%" height="{}" overflow="visible"'
        ' aria-label="{}">{}{}{}</svg>'
    ).format(HEIGHT_PX, label, lines, Markup("").join(content), times)


def _some(buckets: Buckets) -> list[tuple[int, datetime]]:
    """As many buckets as have room for their time below them."""
    step = max(1, math.ceil(buckets.count / _MAX_TIMES))
    return [
        (index, moment)
        for index, moment in enumerate(buckets.starts())
        if index % step == step // 2
    ]


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


def _y(value: float, highest: float) -> float:
    return TOP_PX + PLOT_PX * (1 - value / highest)


def _short_count(value: int) -> str:
    """`1.5k` for what would not fit beside the plot."""
    if value >= 1_000_000:  # noqa: PLR2004 -- a million
        return f"{value / 1_000_000:g}M"
    return f"{value / 1000:g}k" if value >= 10_000 else f"{value:,}"  # noqa: PLR2004 -- five digits


def _plain(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".")
