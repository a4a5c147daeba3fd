"""Days, times and the zone that they are in."""

from __future__ import annotations

import re
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import expect

from tests.browser.test_page import ids_of

KOLKATA = ZoneInfo("Asia/Kolkata")


@pytest.fixture
def case(site, request):
    return site.new_use_case(request.node.name)


@pytest.fixture
def midnight(site):
    """One of Kolkata's, a few days ago."""
    day = (site.now - timedelta(days=6)).astimezone(KOLKATA)
    return day.replace(hour=0, minute=0, second=0, microsecond=0)


def put_at(site, case, event_id, moment, **fields):
    site.put(case, event_id, minutes=(site.now - moment) / timedelta(minutes=1), **fields)


def put_hourly(site, case, first, count):
    """Events an hour apart, the newest with the highest number."""
    site.store.put(
        [
            site.event(
                case, f"{case}-{number}",
                minutes=(site.now - first) / timedelta(minutes=1) - 60 * number,
            )
            for number in range(count)
        ]
    )  # fmt: skip


def headings_and_tiles(page):
    """The day above each tile, as a reader sees it, in the order of the page."""
    return page.locator("[data-grid] > li").evaluate_all(
        """all => all.map(
            one => one.matches(".day") ? one.textContent.replace(",", "") : one.dataset.event
        )"""
    )


def day_of(moment):
    moment = moment.astimezone(KOLKATA)
    return f"{moment:%A} {moment.day} {moment:%B %Y}"


def test_each_day_stands_once_above_its_tiles_also_of_those_that_come_later(
    open_page, site, case, midnight
):
    put_hourly(site, case, midnight, 60)
    page = open_page(f"{site.address}/use-cases/{case}")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    expect(page.locator(".tile")).to_have_count(60)
    page.evaluate("scrollTo(0, 0)")
    put_at(site, case, "next-day", midnight + timedelta(days=3, minutes=5))
    put_at(site, case, "between", midnight + timedelta(days=2, minutes=30))
    expect(page.locator("[data-event=between]")).to_be_visible()

    def hours(first, last):
        return [f"{case}-{number}" for number in range(last, first - 1, -1)]

    assert headings_and_tiles(page) == [
        *(day_of(midnight + timedelta(days=3)), "next-day"),
        *(day_of(midnight + timedelta(days=2)), *hours(49, 59), "between", f"{case}-48"),
        *(day_of(midnight + timedelta(days=1)), *hours(24, 47)),
        *(day_of(midnight), *hours(0, 23)),
    ]
    expect(page.locator(f"[data-event='{case}-5'] time")).to_have_text("05:00:00")

    # Below the last tile of a short row the arrow finds the one that stands there.
    page.locator("[data-event=next-day] a").focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator(f"[data-event='{case}-59'] a")).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(page.locator("[data-event=next-day] a")).to_be_focused()


def test_one_zone_is_chosen_and_holds_everywhere(open_page, site, case, midnight):
    put_at(site, case, "early", midnight + timedelta(hours=2))
    address = f"{site.address}/use-cases/{case}?start={midnight:%Y-%m-%dT%H:%M}%2B05:30"
    page = open_page(address)
    tile = page.locator(".tile time")
    expect(tile).to_have_text("02:00:00")
    assert "GMT+5:30" in tile.get_attribute("title")

    def written():
        """What the server wrote, before any script."""
        text = page.request.get(address).text()
        return re.search(r'data-as="clock">([^<]*)<', text)[1], re.search(
            r'title="([^"]*)" data-as="clock"', text
        )[1]

    assert written()[0] == "02:00:00", "the browser did not tell the server its zone"
    assert written()[1].endswith(" IST")

    page.get_by_title("Time zone").click()
    utc_button = page.get_by_role("button", name="UTC", exact=True)
    utc_button.focus()
    page.keyboard.press("Escape")
    expect(utc_button).to_be_hidden()
    expect(page.get_by_title("Time zone")).to_be_focused()
    # By keyboard nothing is chosen on the way to a zone.
    for key in ("Enter", "Tab", "ArrowDown", "ArrowRight", "Tab"):
        page.keyboard.press(key)
    expect(utc_button).to_be_focused()
    expect(tile).to_have_text("02:00:00")
    # The page comes again; until its scripts ran, the form below would speak UTC by itself.
    with page.expect_navigation():
        page.keyboard.press("Enter")
    expect(tile).to_have_text("20:30:00")
    expect(page.locator("[data-zones] [value=UTC]")).to_have_attribute("aria-pressed", "true")
    utc = midnight - timedelta(hours=5, minutes=30)
    assert tile.get_attribute("title").split(" · ")[0].endswith(" UTC")
    assert headings_and_tiles(page)[0] == f"{utc:%A} {utc.day} {utc:%B %Y}"
    expect(page.locator(".chip time")).to_contain_text("18:30")
    page.locator("[data-filters] summary").click()
    expect(page.get_by_label("From")).to_have_value(f"{utc:%Y-%m-%d}T18:30")
    page.get_by_label("From").fill(f"{utc:%Y-%m-%d}T20:00")
    with page.expect_navigation():
        page.get_by_role("button", name="Show events").click()
    assert parse_qs(urlsplit(page.url).query)["start"] == [f"{utc:%Y-%m-%d}T20:00:00.000Z"]
    page.get_by_role("link", name="Charts").click()
    expect(page.get_by_text("Times are in UTC").first).to_be_visible()
    tip = page.locator("svg.chart title").first  # the browser's September is "Sept"
    expect(tip).to_have_text(re.compile(rf"^{utc.day} {utc:%b}t?,? 20:30"))
    assert written() == ("20:30:00", f"{utc.day} {utc:%b %Y}, 20:30:00 UTC")


def test_without_scripts_times_are_utc_and_say_so(open_page, site, case, midnight):
    put_at(site, case, "early", midnight + timedelta(hours=2))
    page = open_page(f"{site.address}/use-cases/{case}", java_script_enabled=False)
    utc = midnight - timedelta(hours=5, minutes=30)

    assert headings_and_tiles(page) == [f"{utc:%A} {utc.day} {utc:%B %Y}", "early"]
    expect(page.locator(".tile time")).to_have_text("20:30:00")
    expect(page.locator("footer")).to_contain_text("Times are in UTC")
    expect(page.get_by_title("Time zone")).to_be_hidden()
    assert ids_of(page) == ["early"]


def test_who_goes_to_a_time_in_the_past_can_go_on_to_newer_events(open_page, site, case, midnight):
    put_hourly(site, case, midnight, 120)
    page = open_page(f"{site.address}/use-cases/{case}?range=24h&picture=output")
    page.get_by_label("Go to").fill(f"{midnight:%Y-%m-%d}T14:30")
    with page.expect_navigation():
        page.get_by_role("button", name="Go", exact=True).click()

    assert ids_of(page) == [f"{case}-{number}" for number in range(14, -1, -1)]
    utc = midnight + timedelta(hours=9)
    asked = parse_qs(urlsplit(page.url).query)
    assert asked == {"picture": ["output"], "at": [f"{utc:%Y-%m-%dT%H:%M}:00.000Z"]}
    expect(page.get_by_label("Go to")).to_have_value(f"{midnight:%Y-%m-%d}T14:30")
    expect(page.get_by_text("Live", exact=True)).to_have_count(0)
    expect(page.locator("[data-count]")).to_have_text("120 events")

    seen = page.locator(f"[data-event='{case}-14']")
    before = seen.bounding_box()["y"]
    page.get_by_role("link", name="Newer events").click()
    expect(page.locator(".tile")).to_have_count(15 + 48)
    assert seen.bounding_box()["y"] == pytest.approx(before, abs=2), "the page jumped"
    assert headings_and_tiles(page)[:2] == [day_of(midnight + timedelta(hours=62)), f"{case}-62"]

    # An event, and back: the same tiles.
    page.locator(f"[data-event='{case}-40'] a").click()
    page.go_back()
    expect(page.locator(".tile")).to_have_count(63)
    for _ in range(2):
        page.get_by_role("link", name="Newer events").click()
        expect(page.locator(f"[data-event='{case}-110']")).to_have_count(1)
    expect(page.get_by_role("link", name="Newer events")).to_have_count(0)
    assert ids_of(page) == [f"{case}-{number}" for number in range(119, -1, -1)]
    page.get_by_role("link", name="Newest events").click()
    assert urlsplit(page.url).query == "picture=output"


def test_without_scripts_both_ways_are_links(open_page, site, case, midnight):
    put_hourly(site, case, midnight, 120)
    page = open_page(f"{site.address}/use-cases/{case}", java_script_enabled=False)
    page.get_by_label("Go to (UTC)").fill(f"{midnight:%Y-%m-%d}T08:30")
    with page.expect_navigation():
        page.get_by_role("button", name="Go", exact=True).click()
    assert ids_of(page)[0] == f"{case}-14"
    page.get_by_role("link", name="Newer events").click()
    assert ids_of(page) == [f"{case}-{number}" for number in range(62, 14, -1)]
    page.get_by_role("link", name="Older events").click()
    assert ids_of(page)[0] == f"{case}-14"


def test_around_an_event_is_all_that_happened_then(open_page, site, case, midnight):
    noon = midnight + timedelta(hours=12)
    for number in range(40):  # of two cameras, half of them newer
        put_at(
            site, case, f"{case} {number}", noon + timedelta(seconds=10 * (number - 19)),
            deviceId=f"cam-{number % 2}",
        )  # fmt: skip
    put_at(site, case, "long before", noon - timedelta(minutes=6))
    page = open_page(f"{site.address}/events/{case} 20?device=cam-0")
    page.get_by_role("link", name="Around this event").click()

    assert ids_of(page) == [f"{case} {number}" for number in range(32, -1, -1)]
    target = page.locator(".tile:target")
    assert target.get_attribute("data-event") == f"{case} 20"
    expect(target).to_be_in_viewport()
    page.get_by_role("link", name="Newer events").click()
    expect(page.locator(".tile")).to_have_count(40)
