"""Charts: data in, SVG out."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from urllib.parse import parse_qsl
from xml.etree import ElementTree as ET
from zoneinfo import ZoneInfo

import pytest

from tests.unit.server.scenes import event
from vision_event_block.server.page.chart_specs import Charts, width_in_words
from vision_event_block.server.page.charts import (
    PLOT_PX,
    TOP_PX,
    Buckets,
    Series,
    hour_bar,
    share_line,
    stacked_bars,
)
from vision_event_block.server.page.filter_query import FilterQuery
from vision_event_block.server.page.shifts import shifts_of
from vision_event_block.server.storage import Store
from vision_event_block.server.store.facets import Field
from vision_event_block.server.store.records import Timeline
from vision_event_block.server.store.statistics import BY_CHARTED

START = datetime(2026, 3, 1, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)


def hours(count):
    return Buckets(tuple(START + n * HOUR for n in range(count + 1)), HOUR)


HOURS = hours(4)


def parsed(markup):
    return ET.fromstring(str(markup))


def bars(chart):
    return [
        (rect.get("class"), float(rect.get("y")), float(rect.get("height")))
        for rect in chart.iter("rect")
    ]


def test_bars_are_as_high_as_their_counts_and_stand_on_each_other():
    chart = parsed(
        stacked_bars(
            "Events",
            HOURS,
            [Series("good", "c2", (0, 5, 20, 0)), Series("bad", "c5", (0, 5, 0, 0))],
        )
    )

    unit = PLOT_PX / 20
    floor = TOP_PX + PLOT_PX
    assert bars(chart) == [
        ("c2", pytest.approx(floor - 5 * unit), pytest.approx(5 * unit)),
        ("c5", pytest.approx(floor - 10 * unit), pytest.approx(5 * unit)),
        ("c2", pytest.approx(TOP_PX), pytest.approx(20 * unit)),
    ]


def test_a_bar_says_when_and_what_it_counts():
    chart = parsed(stacked_bars("Events", HOURS, [Series("scratch", "c0", (0, 0, 1234, 0))]))

    (title,) = chart.iter("title")
    assert title.text == "01 Mar 02:00 UTC: 1,234 scratch"
    assert (title.get("data-datetime"), title.get("data-words")) == (
        "2026-03-01T02:00:00.000Z",
        "1,234 scratch",
    )


def test_a_bar_says_its_time_in_the_readers_zone():
    berlin = Buckets(HOURS.edges, HOUR, ZoneInfo("Europe/Berlin"))
    chart = parsed(stacked_bars("Events", berlin, [Series("scratch", "c0", (0, 0, 1, 0))]))

    assert [title.text for title in chart.iter("title")] == ["01 Mar 03:00 CET: 1 scratch"]


def test_a_bar_leads_to_its_events_and_says_so_to_a_screen_reader():
    links = tuple(f"/events-of-{n}" for n in range(4))
    chart = parsed(stacked_bars("Events", HOURS, [Series("cap", "c0", (0, 7, 0, 1), links)]))

    assert [(link.get("href"), link.get("aria-label")) for link in chart.iter("a")] == [
        ("/events-of-1", "01 Mar 01:00 UTC: 7 cap"),
        ("/events-of-3", "01 Mar 03:00 UTC: 1 cap"),
    ]


def test_what_was_counted_before_stands_beside_and_has_its_room_on_the_axis():
    before = Series("the week before", "before", (0, 40, 0, 0))
    chart = parsed(stacked_bars("Events", HOURS, [Series("cap", "c0", (0, 20, 0, 0))], before))

    earlier, now = chart.iter("rect")
    assert (earlier.get("class"), float(earlier.get("height"))) == ("before", PLOT_PX)
    assert float(now.get("height")) == PLOT_PX / 2
    end = float(earlier.get("x").rstrip("%")) + float(earlier.get("width").rstrip("%"))
    assert float(now.get("x").rstrip("%")) == pytest.approx(end)


def test_the_bar_of_hours_says_how_many_and_how_many_of_them_were_bad():
    links = ("/0", "/1", "/2", "/3")
    bad, others = (
        Series("bad", "tone-bad", (0, 2, 1, 0)),
        Series("events", "other", (5, 3, 0, 0), links),
    )
    chart = parsed(hour_bar("Events", HOURS, bad, others))

    assert [(link.get("href"), link.get("aria-label")) for link in chart.iter("a")] == [
        ("/0", "01 Mar 00:00 UTC: 5 events"),
        ("/1", "01 Mar 01:00 UTC: 5 events, 2 bad"),
        ("/2", "01 Mar 02:00 UTC: 1 event, 1 bad"),
    ]
    assert json.loads(chart.get("data-edges"))[::4] == [
        "2026-03-01T00:00:00Z",
        "2026-03-01T04:00:00Z",
    ]


def test_a_screen_reader_is_told_the_totals():
    chart = parsed(stacked_bars("Events by type", HOURS, [Series("dent", "c0", (1, 2, 3, 4))]))

    assert chart.get("role") == "group", "links in it are for everybody"
    assert chart.get("aria-label") == "Events by type: dent: 10"


@pytest.mark.parametrize("series", [[], [Series("a", "c0", (0, 0, 0, 0))]], ids=["none", "zeros"])
def test_nothing_to_count_is_still_a_chart(series):
    chart = parsed(stacked_bars("Events", HOURS, series))

    assert bars(chart) == []
    assert chart.findall("line")


@pytest.mark.parametrize(
    ("highest", "marks"),
    [
        (1, ["0", "1"]),
        (4, ["0", "1", "2", "3", "4"]),
        (37, ["0", "10", "20", "30", "40"]),
        (100, ["0", "50", "100"]),
        (123_456, ["0", "50k", "100k", "150k"]),
        (2_000_000, ["0", "500k", "1M", "1.5M", "2M"]),
    ],
)
def test_the_axis_has_round_numbers_that_reach_the_highest_bar(highest, marks):
    chart = parsed(stacked_bars("Events", HOURS, [Series("a", "c0", (0, highest, 0, 0))]))

    assert [text.text for text in chart.iter("text") if text.get("class") == "y-label"] == marks


@pytest.mark.parametrize("count", [1, 2, 7, 48, 1000])
def test_a_few_times_stand_below_however_many_buckets_there_are(count):
    buckets = hours(count)
    chart = parsed(stacked_bars("Events", buckets, [Series("a", "c0", (1,) * count)]))

    times = [text for text in chart.iter("text") if text.get("class") == "x-label"]
    assert 1 <= len(times) <= 5
    assert all(text.get("data-datetime").endswith("Z") for text in times)


def test_names_are_text_whatever_they_hold():
    evil = '<script>alert("1")</script>'
    markup = stacked_bars(evil, HOURS, [Series(evil, "c0", (1, 0, 0, 0))])

    assert "<script" not in markup
    assert parsed(markup).get("aria-label").startswith(evil)


def judged(hits, totals):
    return Series("passed", "tone-good", hits), Series("passed", "tone-good", totals)


def test_a_share_is_drawn_where_there_is_something_to_judge():
    chart = parsed(share_line("Pass rate", HOURS, [judged((1, 0, 3, 1), (2, 0, 3, 4))]))

    heights = [float(circle.get("cy")) for circle in chart.iter("circle")]
    assert heights == pytest.approx([TOP_PX + PLOT_PX / 2, TOP_PX, TOP_PX + 0.75 * PLOT_PX])
    (line,) = chart.iter("polyline")
    assert line.get("points") == "62.5,0 87.5,75", "the gap must stay a gap"
    assert chart.get("aria-label") == "Pass rate: 55.6% of 9"


def test_no_share_of_nothing():
    chart = parsed(share_line("Pass rate", HOURS, [judged((0,) * 4, (0,) * 4)]))

    assert not list(chart.iter("circle"))
    assert chart.get("aria-label") == "Pass rate: nothing to judge"


CHARTS = Charts(FilterQuery(), lambda query: f"/grid?{query}")


def timeline(**series):
    return Timeline(
        edges=HOURS.edges,
        bucket_s=3600.0,
        events=(1, 0, 0, 0),
        series={"eventType": {}, "result": {}, "severity": {}, "class": {}, **series},
    )


def test_only_charts_with_something_to_show_are_shown():
    sheets = CHARTS.of(timeline(eventType={"custom": (1, 0, 0, 0)}), {})

    assert [sheet.title for sheet in sheets] == ["Events by type"]


def test_each_question_has_its_chart_and_its_figure():
    sheets = CHARTS.of(
        timeline(
            eventType={"quality_check": (3, 0, 0, 1), "safety_alert": (0, 0, 2, 0)},
            result={"pass": (3, 0, 0, 0), "fail": (0, 0, 0, 1)},
            severity={"high": (0, 0, 2, 0)},
            **{"class": {"cap": (3, 0, 0, 1)}},
        ),
        {"cap": 2},
    )

    assert {sheet.title: sheet.figure for sheet in sheets} == {
        "Events by type": "6",
        "Pass rate": "75.0%",
        "Events by class seen": "4",
        "Alerts by severity": "2",
    }
    assert sheets[2].legend[0].tone == "c2"


def test_rare_classes_are_counted_together():
    counts = {f"c{number:02}": (20 - number, 0, 0, 0) for number in range(12)}

    (_, sheet) = CHARTS.of(timeline(eventType={"custom": (1,) * 4}, **{"class": counts}), {})

    assert [one.name for one in sheet.legend][-1] == "others"
    # No address shows the events of all others, so their bars lead nowhere.
    links = [parsed(sheet.svg).iter(tag) for tag in ("{*}a", "a")]
    assert "others" not in " ".join(link.get("aria-label") for each in links for link in each)
    assert sum(one.total for one in sheet.legend) == sum(20 - number for number in range(12))


def test_failed_checks_of_rare_values_lead_to_failed_checks_only():
    counted = timeline(split={f"cam-{n:02}": (12 - n, 0, 0, 0) for n in range(12)})

    (_, failed) = CHARTS.split(counted, counted, "device")

    assert failed.legend[-1].name == "others"
    for one in failed.legend[:-1]:
        assert all("result=fail" in link for link in one.links), one.name


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1, "1 second"),
        (60, "1 minute"),
        (10800, "3 hours"),
        (90, "1.5 minutes"),
        (172800, "2 days"),
    ],
)
def test_a_buckets_width_is_said_in_words(seconds, words):
    assert width_in_words(float(seconds)) == words


BERLIN = ZoneInfo("Europe/Berlin")
SHIFTS = shifts_of("early 6:00-14:00, late 14:00-22:00, night 22:00-6:00")
DOOR = (Field("metadata", "door", "number"), Field("metadata", "door", "string"))


def test_each_bar_leads_to_exactly_the_events_that_it_counts(tmp_path):
    """Also at the edges of periods, in parts of periods, and by numbers and texts."""
    now = START + timedelta(days=9, hours=5)
    events = [
        event(
            f"e{n}",
            event_type=("quality_check", "safety_alert", "custom")[n % 3],
            time=START + timedelta(minutes=43 * n) - timedelta(microseconds=n % 2),
            data=({"result": ("pass", "fail")[n % 2]}, {"severity": ("high", "low")[n % 2]}, {})[
                n % 3
            ],
            metadata={"door": (1, 2.5, "gate")[n % 3]},
            seen=[("cap", 0.9)] if n % 4 else [],
        )
        for n in range(310)
    ]
    query = FilterQuery.of([("start", "2026-03-04T07:31:00.5Z"), ("class", "cap")])
    types = {"door": ["number", "string"]}
    charts = Charts(query, str, BERLIN, "the day before")
    with Store.open(tmp_path, lookback_days=None) as store:
        store.use_cases.create("Dock", id="dock")
        store.put(events)
        filters = query.filters("dock", types=types, now=now)
        by = {**BY_CHARTED, "split": DOOR}
        counted = store.timeline(filters, buckets=48, zone=BERLIN, by=by, beside_days=1)
        by_shift = store.timeline(
            filters,
            buckets=48,
            zone=BERLIN,
            by={"result": BY_CHARTED["result"]},
            starts_min=(360, 840, 1320),
        )
        specs = [
            *charts.of(counted, {}),
            *charts.split(counted, counted, "meta:door")[:1],
            *charts.shifts(by_shift, SHIFTS),
        ]
        bars = [
            (spec.title, one, value, link)
            for spec in specs
            for one in spec.legend
            for value, link in zip(one.values, one.links, strict=bool(one.links))
            if value
        ]
        assert len({title for title, *_ in bars}) == 6
        for title, one, value, link in bars:
            if (title, one.name) == ("Events by class seen", "the day before"):
                continue  # it adds up sightings
            linked = FilterQuery.of(parse_qsl(link)).filters("dock", types=types, now=now)
            assert store.count(linked) == value, (title, one.name, link)
        assert sum(value for title, one, value, _ in bars if title == "Events by shift") == (
            counted.event_count
        )


def test_this_period_stands_beside_the_one_before():
    before = timeline(
        eventType={"custom": (2, 2, 0, 0)}, result={"pass": (1, 0, 0, 0), "fail": (1, 0, 0, 0)}
    )
    now = replace(
        timeline(eventType={"custom": (1, 2, 3, 0)}, result={"pass": (3, 0, 0, 0)}), beside=before
    )

    types, share = replace(CHARTS, before="the week before").of(now, {})

    assert types.figure_note == "events, 4 the week before (+50%)"
    assert share.figure_note == "of 3 checks passed, 50.0% the week before"
    assert [one.name for one in types.legend] == ["Custom", "the week before"]


def test_bars_of_shifts_are_coloured_by_shift_from_one_night_to_the_next_morning(tmp_path):
    edges = [
        datetime(2026, 3, 2, 22, tzinfo=BERLIN),
        *(datetime(2026, 3, 3, hour, tzinfo=BERLIN) for hour in (6, 14, 22)),
    ]
    counted = replace(
        timeline(result={"fail": (1, 2, 0), "pass": (1, 0, 4)}),
        edges=tuple(edges),
        events=(5, 6, 7),
    )

    events, failed = replace(CHARTS, zone=BERLIN).shifts(counted, SHIFTS)

    assert {one.name: one.values for one in events.legend} == {
        "night": (5, 0, 0),
        "early": (0, 6, 0),
        "late": (0, 0, 7),
    }
    assert {one.name: one.note for one in failed.legend} == {
        "night": "50.0%",
        "early": "100.0%",
        "late": "0.0%",
    }
