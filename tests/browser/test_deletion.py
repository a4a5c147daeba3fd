"""Deleting events on the page, in a browser."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import BOX


@pytest.fixture
def case(site, request):
    """A use case with three events of a class and one without."""
    name = request.node.name
    case_id = site.new_use_case(name)
    source = site.picture()
    for number in range(3):
        images = [{"inputSourceId": source, "objectDetections": [BOX]}]
        site.put(case_id, f"{name}-{number}", minutes=number + 1, images=images)
    site.put(case_id, f"{name}-bare", minutes=9)
    return case_id


def ids_of(page):
    return [
        tile.get_attribute("data-event").rpartition("-")[2] for tile in page.locator(".tile").all()
    ]


def tile(page, number):
    return page.locator(f".tile[data-event$='-{number}']")


def test_selected_events_are_deleted_after_a_question(open_page, site, case):
    page = open_page(f"{site.address}/use-cases/{case}?class=cap")
    button = page.get_by_role("button", name="Delete")
    expect(button).to_have_count(0)

    tile(page, 0).hover()
    tile(page, 0).get_by_role("checkbox").check()
    expect(button).to_have_text("Delete 1 event…")
    tile(page, 2).get_by_role("checkbox").check()
    page.get_by_role("button", name="Delete 2 events…").click()

    expect(page.get_by_role("heading", name="Delete 2 events?")).to_be_visible()
    assert ids_of(page) == ["0", "2"]
    page.get_by_role("link", name="Cancel").click()
    expect(page.locator(".tile")).to_have_count(3)

    tile(page, 0).get_by_role("checkbox").check()
    page.get_by_role("button", name="Select all shown").click()
    tile(page, 1).get_by_role("checkbox").uncheck()
    page.get_by_role("button", name="Delete 2 events…").click()
    page.get_by_label("Also delete their pictures now").check()
    page.get_by_role("button", name="Delete 2 events").click()

    expect(page.get_by_role("status")).to_have_text("2 events deleted.")
    assert ids_of(page) == ["1"]
    assert "class=cap" in page.url
    expect(page.locator("[data-count]")).to_have_text("1 event")


def test_one_event_is_deleted_from_its_own_page(open_page, site, case):
    page = open_page(f"{site.address}/use-cases/{case}")
    tile(page, 1).get_by_role("link").click()
    page.get_by_role("button", name="Delete…").click()
    expect(page.get_by_role("heading", name="Delete 1 event?")).to_be_visible()

    page.get_by_role("button", name="Delete 1 event").click()

    expect(page.get_by_role("status")).to_have_text("1 event deleted.")
    assert ids_of(page) == ["0", "2", "bare"]


@pytest.mark.expects_errors
def test_it_works_without_scripts(open_page, site, case):
    page = open_page(f"{site.address}/use-cases/{case}", java_script_enabled=False)

    page.get_by_role("button", name="Delete selected…").click()
    expect(page.get_by_role("alert")).to_contain_text("Select the events")
    page.get_by_role("link", name="Back to the events").click()
    tile(page, "bare").get_by_role("checkbox").check()
    page.get_by_role("button", name="Delete selected…").click()
    page.get_by_role("button", name="Delete 1 event").click()

    expect(page.get_by_role("status")).to_have_text("1 event deleted.")
    assert ids_of(page) == ["0", "1", "2"]


def test_new_filters_are_filled_in_and_said(open_page, site, case):
    page = open_page(f"{site.address}/use-cases/{case}")
    page.locator("summary", has_text="Filters").click()
    page.get_by_label("with confidence of at most").fill("0.95")
    page.get_by_label("Number of images", exact=True).fill("1")
    page.get_by_role("button", name="Show events").click()

    expect(page.locator(".chip [data-edit]")).to_have_text(["Anything seen up to 95%", "Images: 1"])
    assert ids_of(page) == ["0", "1", "2"]

    page.locator("summary", has_text="Filters").click()
    page.get_by_label("Longer than (seconds)").fill("30")
    page.get_by_role("button", name="Show events").click()
    expect(page.get_by_role("heading", name="No event matches")).to_be_visible()
