"""Charts: data in, SVG out."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from xml.etree import ElementTree as ET

import pytest

from vision_event_block.server.page.chart_specs import chart_specs_of, width_in_words
from vision_event_block.server.page.charts import (
    PLOT_PX,
    TOP_PX,
    Buckets,
    Series,
    share_line,
    stacked_bars,
)
from vision_event_block.server.store.records import Timeline

START = datetime(2026, 3, 1, tzinfo=timezone.utc)
HOURS = Buckets(START, timedelta(hours=1), 4)


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

    assert [title.text for title in chart.iter("title")] == ["01 Mar 02:00 UTC: 1,234 scratch"]


def test_a_screen_reader_is_told_the_totals():
    chart = parsed(stacked_bars("Events by type", HOURS, [Series("dent", "c0", (1, 2, 3, 4))]))

    assert chart.get("role") == "img"
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
    buckets = Buckets(START, timedelta(hours=1), count)
    chart = parsed(stacked_bars("Events", buckets, [Series("a", "c0", (1,) * count)]))

    times = [text for text in chart.iter("text") if text.get("class") == "x-label"]
    assert 1 <= len(times) <= 5
    assert all(text.get("data-datetime").endswith("Z") for text in times)


def test_names_are_text_whatever_they_hold():
    evil = '<script>alert("1")</script>'
    markup = stacked_bars(evil, HOURS, [Series(evil, "c0", (1, 0, 0, 0))])

    assert "<script" not in markup
    assert parsed(markup).get("aria-label").startswith(evil)


def test_a_share_is_drawn_where_there_is_something_to_judge():
    chart = parsed(
        share_line("Pass rate", HOURS, hits=(1, 0, 3, 1), totals=(2, 0, 3, 4), tone="tone-good")
    )

    heights = [float(circle.get("cy")) for circle in chart.iter("circle")]
    assert heights == pytest.approx([TOP_PX + PLOT_PX / 2, TOP_PX, TOP_PX + 0.75 * PLOT_PX])
    (line,) = chart.iter("polyline")
    assert line.get("points") == "62.5,0 87.5,75", "the gap must stay a gap"
    assert chart.get("aria-label") == "Pass rate: 55.6% of 9"


def test_no_share_of_nothing():
    chart = parsed(share_line("Pass rate", HOURS, hits=(0,) * 4, totals=(0,) * 4, tone="t"))

    assert not list(chart.iter("circle"))
    assert chart.get("aria-label") == "Pass rate: nothing to judge"


def timeline(**series):
    return Timeline(
        edges=(*HOURS.starts(), START + timedelta(hours=4)),
        bucket_s=3600.0,
        events=(1, 0, 0, 0),
        series={"eventType": {}, "result": {}, "severity": {}, "class": {}, **series},
    )


def test_only_charts_with_something_to_show_are_shown():
    sheets = chart_specs_of(timeline(eventType={"custom": (1, 0, 0, 0)}), {})

    assert [sheet.title for sheet in sheets] == ["Events by type"]


def test_each_question_has_its_chart_and_its_figure():
    sheets = chart_specs_of(
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

    (_, sheet) = chart_specs_of(timeline(eventType={"custom": (1,) * 4}, **{"class": counts}), {})

    assert [one.name for one in sheet.legend][-1] == "others"
    assert sum(one.total for one in sheet.legend) == sum(20 - number for number in range(12))


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
