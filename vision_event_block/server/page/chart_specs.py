"""The charts of a timeline: which ones, the figure above each, their colours and links."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta, timezone
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from vision_event_block.contract import limits
from vision_event_block.server.page.charts import (
    Buckets,
    Series,
    exact,
    hour_bar,
    last_of,
    share_line,
    stacked_bars,
)
from vision_event_block.server.page.filter_query import FilterQuery
from vision_event_block.server.page.formatting import TYPE_NAMES
from vision_event_block.server.page.palette import colour_classes, slot_of, slots_of
from vision_event_block.server.store.schema import MAX_KEY_CHARS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import tzinfo

    from markupsafe import Markup

    from vision_event_block.server.page.shifts import Shift
    from vision_event_block.server.store.records import Timeline

    #: Events by value and period.
    Counts = Mapping[str, tuple[int, ...]]
    #: Adds to the active filters the one that a value stands for.
    Narrowed = Callable[[FilterQuery, str], FilterQuery]

_TYPE_TONES: Final = {
    "quality_check": "c2",
    "inventory_count": "c1",
    "safety_alert": "c5",
    "custom": "c0",
    "operator_feedback": "c6",
}
_SEVERITY_TONES: Final = {"low": "tone-low", "medium": "tone-warn", "high": "tone-bad"}
#: Begins a split by a metadata key, in the address.
META: Final = "meta:"
#: Values shown one by one, the most frequent first; the others are counted together.
_MAX_VALUES: Final = 7
_UNITS: Final = ((86400.0, "day"), (3600.0, "hour"), (60.0, "minute"), (1.0, "second"))


@dataclass(frozen=True)
class ChartSpec:
    title: str
    figure: str
    figure_note: str
    svg: Markup
    legend: tuple[Series, ...] = ()


@dataclass(frozen=True)
class Charts:
    """Makes charts of timelines, with links to their events."""

    filter_query: FilterQuery
    #: Takes a query string; returns the address of the grid with these filters.
    grid_at: Callable[[str], str]
    zone: tzinfo = timezone.utc
    #: What the earlier periods are called, if any are compared: "the week before".
    before: str = ""

    def of(self, timeline: Timeline, slots: Mapping[str, int]) -> list[ChartSpec]:
        """The charts that have something to show."""
        by, earlier = timeline.series, timeline.beside.series if timeline.beside else {}
        buckets = self._buckets(timeline)
        types = tuple(
            self._series(timeline, TYPE_NAMES[name], tone, by["eventType"][name], _type, name)
            for name, tone in _TYPE_TONES.items()
            if name in by["eventType"]
        )
        specs = [self._bars("Events by type", timeline, types, "events", earlier.get("eventType"))]
        if by["result"]:
            specs.append(self._pass_rate(buckets, timeline))
        if by["class"]:
            classes = self._largest(timeline, by["class"], _plain("class"), slots)
            title = "Events by class seen"
            specs.append(self._bars(title, timeline, classes, "sightings", earlier.get("class")))
        if severity := by["severity"]:
            alerts = tuple(
                self._series(
                    timeline, name, _SEVERITY_TONES[name], severity[name], _plain("severity"), name
                )
                for name in limits.SEVERITIES
                if name in severity
            )
            title = "Alerts by severity"
            before = earlier.get("severity")
            specs.append(self._bars(title, timeline, alerts, "alerts", before, _alert))
        return specs

    def split(self, timeline: Timeline, failed: Timeline, name: str) -> list[ChartSpec]:
        """All events, and the failed checks among them, by the values of the split."""
        words = name.removeprefix(META)
        slots = slots_of(list(timeline.series["split"])[:_MAX_VALUES])
        narrowed = _narrowed(name)
        all_of = timeline.series["split"]
        values = self._largest(timeline, all_of, narrowed, slots)
        earlier = timeline.beside.series.get("split") if timeline.beside else None
        specs = [self._bars(f"Events by {words}", timeline, values, "events", earlier)]
        if failed.event_count:
            only_failed = self.filter_query.having(result="fail")
            bad = replace(self, filter_query=only_failed)._largest(  # noqa: SLF001 -- same class
                failed, failed.series["split"], narrowed, slots
            )
            bad = tuple(
                replace(one, note=f"{one.total / sum(all_of[one.name]):.1%}")
                if one.name in all_of
                else one
                for one in bad
            )
            earlier = failed.beside.series.get("split") if failed.beside else None
            title = f"Failed checks by {words}"
            specs.append(self._bars(title, failed, bad, "failed", earlier, _result("fail")))
        return specs

    def shifts(self, timeline: Timeline, shifts: Sequence[Shift]) -> list[ChartSpec]:
        """The charts by shift; each period of the timeline is one shift of one day."""
        names = [
            next((each.name for each in shifts if each.holds(start.astimezone(self.zone))), "none")
            for start in timeline.starts
        ]
        fails = timeline.series["result"].get("fail", (0,) * len(names))
        passes = timeline.series["result"].get("pass", (0,) * len(names))
        ordered = [each.name for each in shifts] + ["none"] * ("none" in names)
        specs = []
        for title, counts, narrowed, noun in (
            ("Events by shift", timeline.events, _everything, "events"),
            ("Failed checks by shift", fails, _result("fail"), "failed"),
        ):
            series = []
            for slot, name in enumerate(ordered):
                values = tuple(
                    count if of == name else 0 for of, count in zip(names, counts, strict=True)
                )
                checks = sum(
                    good + bad
                    for of, good, bad in zip(names, passes, fails, strict=True)
                    if of == name
                )
                note = f"{sum(values) / checks:.1%}" if noun == "failed" and checks else ""
                made = self._series(timeline, name, colour_classes(slot), values, narrowed, name)
                series.append(replace(made, note=note))
            if any(counts):
                specs.append(self._bars(title, timeline, tuple(series), noun, None))
        return specs

    def hours(self, timeline: Timeline) -> Markup:
        nothing = (0,) * len(timeline.starts)
        by = timeline.series
        fails = by["result"].get("fail", nothing)
        alerts = by["severity"].get("high", nothing)
        bad = tuple(failed + high for failed, high in zip(fails, alerts, strict=True))
        good = tuple(every - worse for every, worse in zip(timeline.events, bad, strict=True))
        title = (
            f"Events over time: {timeline.event_count:,}, {sum(bad):,} of them failed or with high "
            f"severity. Each bar covers {width_in_words(timeline.bucket_s)}"
        )
        return hour_bar(
            title,
            self._buckets(timeline),
            Series("bad", "tone-bad", bad),
            self._series(timeline, "events", "other", good, _everything, ""),
        )

    def _buckets(self, timeline: Timeline) -> Buckets:
        return Buckets(timeline.edges, timedelta(seconds=timeline.bucket_s), self.zone)

    def _series(  # noqa: PLR0913, PLR0917 -- a series and its links
        self,
        timeline: Timeline,
        name: str,
        tone: str,
        values: tuple[int, ...],
        narrowed: Narrowed,
        value: str,
    ) -> Series:
        query = narrowed(self.filter_query.without("range", "split", "beside"), value)
        links = tuple(
            self.grid_at(query.having(start=exact(start), end=last_of(end)).query)
            for start, end in pairwise(timeline.edges)
        )
        return Series(name, tone, values, links)

    def _largest(
        self, timeline: Timeline, counts: Counts, narrowed: Narrowed, slots: Mapping[str, int]
    ) -> tuple[Series, ...]:
        """A series for each of the most frequent values, and one for all others together."""
        ranked = sorted(counts, key=lambda name: -sum(counts[name]))
        series = []
        for name in ranked[:_MAX_VALUES]:
            tone = colour_classes(slot_of(name, slots))
            if FilterQuery.of(narrowed(FilterQuery(), name).pairs).pairs:
                made = self._series(timeline, name, tone, counts[name], narrowed, name)
            else:  # no filter stands for a blank value
                made = Series("(blank)", tone, counts[name])
            series.append(made)
        if rest := [counts[name] for name in ranked[_MAX_VALUES:]]:
            together = tuple(map(sum, zip(*rest, strict=True)))
            # No filter means "none of these", so it has no links.
            series.append(Series("others", "other", together))
        return tuple(series)

    def _bars(  # noqa: PLR0913, PLR0917 -- a chart and its comparison
        self,
        title: str,
        timeline: Timeline,
        series: tuple[Series, ...],
        noun: str,
        earlier: Counts | None,
        narrowed: Narrowed | None = None,
    ) -> ChartSpec:
        total = sum(one.total for one in series)
        before = None
        note = noun
        if timeline.beside is not None and earlier is not None:
            sums = tuple(map(sum, zip(*earlier.values(), strict=True))) or (0,) * len(
                timeline.starts
            )
            before = self._series(
                timeline.beside, self.before, "before", sums, narrowed or _everything, ""
            )
            note = f"{noun}, {before.total:,} {self.before}"
            note += f" ({total / before.total - 1:+.0%})" if before.total else ""
        svg = stacked_bars(title, self._buckets(timeline), series, before)
        return ChartSpec(title, f"{total:,}", note, svg, (*series, *([before] if before else [])))

    def _pass_rate(self, buckets: Buckets, timeline: Timeline) -> ChartSpec:
        now = self._judged(timeline, "passed", "tone-good")
        shares, note = [now], f"of {now[1].total:,} checks passed"
        legend: tuple[Series, ...] = ()
        if timeline.beside is not None:
            before = self._judged(timeline.beside, self.before, "before")
            shares.append(before)
            legend = (now[0], before[0])
            if before[1].total:
                note += f", {before[0].total / before[1].total:.1%} {self.before}"
        hits, totals = now
        share = f"{hits.total / totals.total:.1%}" if totals.total else "none"
        return ChartSpec("Pass rate", share, note, share_line("Pass rate", buckets, shares), legend)

    def _judged(self, timeline: Timeline, name: str, tone: str) -> tuple[Series, Series]:
        result, nothing = timeline.series["result"], (0,) * len(timeline.starts)
        passed, failed = result.get("pass", nothing), result.get("fail", nothing)
        checks = tuple(good + bad for good, bad in zip(passed, failed, strict=True))
        return (
            Series(name, tone, passed),
            self._series(timeline, name, tone, checks, _type, "quality_check"),
        )


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


def _everything(query: FilterQuery, _: str) -> FilterQuery:
    return query


def _type(query: FilterQuery, name: str) -> FilterQuery:
    return query.having(type=name)


def _alert(query: FilterQuery, _: str) -> FilterQuery:
    return query.having(type="safety_alert")


def _result(result: str) -> Narrowed:
    return lambda query, _: query.having(result=result)


def _plain(key: str) -> Narrowed:
    return lambda query, value: query.without(f"{key}_is").having(**{key: value})


def _narrowed(split: str) -> Narrowed:
    """The function that adds the filter for one value of the split in the address."""

    def narrowed(query: FilterQuery, value: str) -> FilterQuery:
        # The charts have only the start of a long value.
        operator = "contains" if len(value) == MAX_KEY_CHARS else "eq"
        if split.startswith(META):
            return query.also_metadata(split.removeprefix(META), value, operator)
        return query.having(**{split: value, f"{split}_is": operator})

    return narrowed
