"""The charts of a timeline: which ones, with which figure above and which colours."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from vision_event_block.contract import limits
from vision_event_block.server.page.charts import Buckets, Series, share_line, stacked_bars
from vision_event_block.server.page.formatting import TYPE_NAMES
from vision_event_block.server.page.palette import colour_classes, slot_of
from vision_event_block.server.page.zones import UTC

if TYPE_CHECKING:
    from collections.abc import Mapping

    from markupsafe import Markup

    from vision_event_block.server.page.zones import Zone
    from vision_event_block.server.store.records import Timeline

_TYPE_TONES: Final = {
    "quality_check": "c2",
    "inventory_count": "c1",
    "safety_alert": "c5",
    "custom": "c0",
    "operator_feedback": "c6",
}
_SEVERITY_TONES: Final = {"low": "tone-low", "medium": "tone-warn", "high": "tone-bad"}
#: The most frequent classes; the others are counted together.
_MAX_CLASSES: Final = 7
_UNITS: Final = ((86400.0, "day"), (3600.0, "hour"), (60.0, "minute"), (1.0, "second"))


@dataclass(frozen=True)
class ChartSpec:
    """One chart with what stands around it."""

    title: str
    figure: str
    figure_note: str
    svg: Markup
    legend: tuple[Series, ...] = ()


def chart_specs_of(
    timeline: Timeline, slots: Mapping[str, int], zone: Zone = UTC
) -> list[ChartSpec]:
    """The charts that have something to show."""
    buckets = Buckets(
        timeline.starts[0], timedelta(seconds=timeline.bucket_s), len(timeline.starts), zone
    )
    by = timeline.series
    sheets = [_bars("Events by type", buckets, _types(by.get("eventType", {})), "events")]
    result = by.get("result", {})
    if result:
        sheets.append(_pass_rate(buckets, result))
    if classes := _classes(by.get("class", {}), slots):
        sheets.append(_bars("Events by class seen", buckets, classes, "sightings"))
    if severity := by.get("severity", {}):
        alerts = tuple(
            Series(name, _SEVERITY_TONES[name], severity[name])
            for name in limits.SEVERITIES
            if name in severity
        )
        sheets.append(_bars("Alerts by severity", buckets, alerts, "alerts"))
    return sheets


def width_in_words(seconds: float) -> str:
    """`3 hours`.

    >>> width_in_words(10800.0), width_in_words(90.0)
    ('3 hours', '1.5 minutes')
    """
    for length_s, unit in _UNITS:
        if seconds >= length_s:
            number = f"{seconds / length_s:.1f}".removesuffix(".0")
            return f"1 {unit}" if number == "1" else f"{number} {unit}s"
    return f"{seconds:g} seconds"


def _bars(title: str, buckets: Buckets, series: tuple[Series, ...], noun: str) -> ChartSpec:
    total = sum(one.total for one in series)
    return ChartSpec(title, f"{total:,}", noun, stacked_bars(title, buckets, series), series)


def _pass_rate(buckets: Buckets, result: Mapping[str, tuple[int, ...]]) -> ChartSpec:
    nothing = (0,) * buckets.count
    passed, failed = result.get("pass", nothing), result.get("fail", nothing)
    totals = [good + bad for good, bad in zip(passed, failed, strict=True)]
    line = share_line("Pass rate", buckets, hits=passed, totals=totals, tone="tone-good")
    share = f"{sum(passed) / sum(totals):.1%}" if sum(totals) else "none"
    note = f"of {sum(totals):,} checks passed"
    return ChartSpec("Pass rate", share, note, line)


def _types(counts: Mapping[str, tuple[int, ...]]) -> tuple[Series, ...]:
    return tuple(
        Series(TYPE_NAMES[name], _TYPE_TONES[name], counts[name])
        for name in limits.EVENT_TYPES
        if name in counts
    )


def _classes(counts: Mapping[str, tuple[int, ...]], slots: Mapping[str, int]) -> tuple[Series, ...]:
    ranked = sorted(counts, key=lambda name: -sum(counts[name]))
    named = [
        Series(name, colour_classes(slot_of(name, slots)), counts[name])
        for name in ranked[:_MAX_CLASSES]
    ]
    rest = [counts[name] for name in ranked[_MAX_CLASSES:]]
    if rest:
        named.append(
            Series("others", "other", tuple(sum(column) for column in zip(*rest, strict=True)))
        )
    return tuple(named)
