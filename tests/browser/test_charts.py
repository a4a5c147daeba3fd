"""The bar of hours and the charts: with a mouse, with the keyboard, without scripts, live."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect


@pytest.fixture
def day(site, request):
    """Ten hours with 1 to 10 events each, of which every third is bad."""
    use_case = site.new_use_case(request.node.name)
    site.store.put(
        [
            site.event(
                use_case,
                f"{use_case} {hour} {n}",
                minutes=60 * hour + 30,
                kind="quality_check",
                eventData={"result": "pass" if n % 3 else "fail"},
                deviceId=f"cam-{n % 2}",
            )
            for hour in range(10)
            for n in range(hour + 1)
        ]
    )
    return use_case


def tiles(page):
    return page.locator(".tile")


def ready(page):
    """The scripts have run."""
    expect(page.locator("a[data-period][tabindex='0']").first).to_be_attached()


def period_of(page):
    expect(page).to_have_url(re.compile("start=.*end="))
    return page.url


def test_a_period_is_chosen_on_the_bar_of_hours(open_page, site, day):
    address = f"{site.address}/use-cases/{day}"
    page = open_page(address, viewport={"width": 1440, "height": 900})
    bar = page.locator("[data-hours] svg.hours")
    expect(bar).to_have_attribute("aria-label", re.compile(r": 55, 22 of them failed"))
    ready(page)
    links = bar.locator("a")
    expect(links).to_have_count(10)
    box, ends = bar.bounding_box(), [links.nth(n).bounding_box() for n in (0, 2)]
    assert box is not None

    # A button that was let go outside chooses nothing.
    page.mouse.move(ends[0]["x"] + 2, box["y"] + 10)
    page.mouse.down()
    page.mouse.move(ends[0]["x"] + 2, box["y"] - 60)
    page.mouse.up()
    page.mouse.move(ends[1]["x"] + 2, box["y"] + 10, steps=4)
    expect(bar.locator(".chosen")).to_be_hidden()

    # Dragged over the three oldest hours, which have 10, 9 and 8 events.
    page.mouse.move(ends[0]["x"] + 2, box["y"] + 10)
    page.mouse.down()
    page.mouse.move(ends[1]["x"] + 2, box["y"] + 12, steps=4)
    expect(bar.locator(".chosen")).to_be_visible()
    page.mouse.up()
    period_of(page)
    expect(tiles(page)).to_have_count(27)

    # Back, and the same with the keyboard alone: one stop of the Tab key, then arrows.
    page.goto(address)
    ready(page)
    page.locator("[data-hours] a[tabindex='0']").focus()
    page.keyboard.press("ArrowLeft")
    for _ in range(12):  # bars of five minutes
        page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("Enter")
    period_of(page)
    expect(tiles(page)).to_have_count(2 + 3)
    page.get_by_role("link", name="Zoom out").click()
    expect(tiles(page)).not_to_have_count(5)


def test_without_scripts_the_bars_of_hours_are_links(open_page, site, day):
    page = open_page(f"{site.address}/use-cases/{day}", java_script_enabled=False)

    page.locator("[data-hours] a").nth(0).click()

    expect(tiles(page)).to_have_count(10)


def test_charts_are_split_lead_to_events_and_follow_what_comes_in(open_page, site, day):
    page = open_page(f"{site.address}/use-cases/{day}/charts")

    ready(page)
    page.get_by_label("Split by").select_option("device")
    expect(page).to_have_url(re.compile(r"split=device"))
    chart = page.locator(".chart-panel", has_text="Events by device")
    expect(chart.locator(".legend")).to_contain_text(re.compile(r"cam-030.*cam-125"))
    expect(page.locator(".chart-panel", has_text="Failed checks by device")).to_be_visible()

    ready(page)
    page.get_by_label("Compare with").select_option("1")
    expect(chart.locator(".figure")).to_contain_text("55events, 0 the day before")
    site.put(day, f"{day} new", minutes=1, deviceId="cam-2")
    expect(chart.locator(".figure")).to_contain_text("56events")
    site.put(day, f"{day} newer", minutes=1, deviceId="cam-2")  # sooner than charts are renewed
    expect(chart.locator(".figure")).to_contain_text("57events")
    expect(chart.locator(".legend")).to_contain_text("cam-2")

    # With the keyboard a choice is made by its button, not on the way there.
    ready(page)
    page.get_by_label("Compare with").focus()
    for key in ("ArrowDown", "ArrowDown", "Tab", "Enter"):
        page.keyboard.press(key)
    expect(page).to_have_url(re.compile(r"beside=28"))
    expect(chart.locator(".figure")).to_contain_text("four weeks before")

    ready(page)
    first = chart.locator("a[data-period]").nth(0)
    first.focus()
    page.keyboard.press("ArrowUp")
    words = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert re.search(r": 5 cam-\d$", words), words
    page.keyboard.press("Enter")
    expect(tiles(page)).to_have_count(5)
    expect(page.locator(".chips")).to_contain_text("cam-")


def test_a_device_that_fell_silent_stands_first_on_the_first_page(open_page, site):
    use_case = site.new_use_case("Two cameras")
    site.store.put(
        [
            site.event(use_case, f"{use_case} {name} {n}", minutes=minutes + n * gap, deviceId=name)
            for name, minutes, gap in (("quiet-cam", 4_000, 0.01), ("busy-cam", 1, 1))
            for n in range(1_000)
        ]
    )

    page = open_page(site.address)

    devices = page.locator(".device")
    expect(devices.first).to_contain_text("quiet-cam")
    expect(devices.first).to_contain_text("Silent since")
    page.goto(f"{site.address}/devices")
    expect(page.locator(".device", has_text="busy-cam")).not_to_contain_text("Silent")
    devices.first.get_by_role("link").click()
    expect(page).to_have_url(re.compile("device=quiet-cam"))
    expect(tiles(page).first).to_be_visible()
