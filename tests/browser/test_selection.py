"""Many events at once: selected by mouse, finger and keyboard, judged, taken back, deleted."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.test_page import ids_of

WIDE = {"viewport": {"width": 1440, "height": 900}}


@pytest.fixture
def case(site, request):
    return site.new_use_case(request.node.name)


def verdicts_of(site, case, numbers):
    return [site.store.get(f"many-{case}-{number}").feedback for number in numbers]


def selected(page):
    return page.locator("[data-selected]")


def said(page):
    return page.locator(".notice [role=status]")


def box(page, number):
    return page.locator(f".tile[data-event$='-{number}'] input")


def test_events_are_selected_and_judged_by_keyboard_alone(open_page, site, case):
    site.put_many(case, 60)
    page = open_page(f"{site.address}/use-cases/{case}?class=cap", **WIDE)
    press = page.keyboard.press
    expect(selected(page)).to_be_hidden()
    press("c")  # nothing is selected: nothing is judged

    for key in ("j", "j", "x", "j", "j", "Shift+X"):
        press(key)
    expect(selected(page)).to_have_text("3 events selected")
    press("Escape")
    expect(selected(page)).to_be_hidden()
    for key in ("k", "k", "Shift+X", "j", "x"):  # Shift alone begins no range
        press(key)
    expect(selected(page)).to_have_text("2 events selected")
    with page.expect_navigation():
        press("c")
    expect(said(page)).to_have_text("2 events judged correct.")
    assert verdicts_of(site, case, range(4)) == [None, "correct", "correct", None]

    press("a")
    expect(selected(page)).to_have_text("48 events selected")
    press("Shift+A")
    expect(selected(page)).to_have_text("All 60 events selected")
    with page.expect_navigation():
        press("i")
    expect(said(page)).to_have_text("60 events judged incorrect.")
    assert set(verdicts_of(site, case, range(60))) == {"incorrect"}


def test_one_verdict_for_all_that_match_and_its_way_back(open_page, site, case):
    site.put_many(case, 230)
    page = open_page(f"{site.address}/use-cases/{case}?class=cap", **WIDE)
    box(page, 3).check()
    page.get_by_role("button", name="Incorrect").click()
    expect(said(page)).to_have_text("1 event judged incorrect.")
    box(page, 0).check()
    page.get_by_role("button", name="Select all that match").click()
    expect(selected(page)).to_have_text("All 230 events selected")
    site.put(case, f"late-{case}", minutes=0.5)
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    expect(page.locator(".tile").nth(95)).to_be_attached()
    expect(page.locator(".tile input:not(:checked)")).to_have_count(0)
    expect(selected(page)).to_have_text("All 230 events selected")
    expect(page.get_by_role("button", name="Delete 230 events…")).to_be_visible()

    page.get_by_label("Your name").fill("Anna Müller")
    page.get_by_role("button", name="Correct", exact=True).click()

    expect(said(page)).to_have_text("230 events judged correct.")
    assert set(verdicts_of(site, case, range(230))) == {"correct"}
    assert site.store.get(f"many-{case}-229").feedback_by == "Anna Müller"
    assert site.store.get(f"late-{case}").feedback is None
    assert "class=cap" in page.url
    page.get_by_role("button", name="Undo").click()
    expect(said(page)).to_have_text("230 verdicts taken back.")
    assert verdicts_of(site, case, range(2, 5)) == [None, "incorrect", None]
    assert site.store.get(f"many-{case}-3").feedback_by is None
    expect(page.get_by_role("button", name="Undo")).to_have_count(0)


def test_a_range_is_ticked_with_shift_and_feedback_is_not_judged(open_page, site, case):
    site.put_many(case, 6)
    data = {"relatedEventId": f"many-{case}-5", "feedback": "correct"}
    site.put(case, f"f-{case}", minutes=7.5, kind="operator_feedback", eventData=data)
    page = open_page(f"{site.address}/use-cases/{case}", **WIDE)

    box(page, 1).check()
    box(page, 4).click(modifiers=["Shift"])
    expect(selected(page)).to_have_text("5 events selected, 4 to judge")
    box(page, 4).click()
    page.locator(".tile[data-event$='-5'] a").click(modifiers=["Shift"])
    expect(selected(page)).to_have_text("6 events selected, 5 to judge")
    box(page, 5).click()
    page.locator(".tile[data-event$='-4'] input").focus()
    page.keyboard.press("Enter")  # no button of the form is meant

    page.get_by_role("button", name="Inconclusive").click()
    expect(said(page)).to_contain_text("4 events judged inconclusive. 1 left out: feedback itself")
    assert verdicts_of(site, case, range(6)) == [None, *["inconclusive"] * 4, "correct"]


def test_all_that_match_are_deleted_after_the_question(open_page, site, case):
    site.put_many(case, 60)
    page = open_page(f"{site.address}/use-cases/{case}?class=cap", **WIDE)
    box(page, 0).check()
    page.get_by_role("button", name="Select all that match").click()
    page.get_by_role("button", name="Delete 60 events…").click()
    expect(page.get_by_role("heading", name="Delete 60 events?")).to_be_visible()
    site.put(case, f"late-{case}", minutes=0.5)

    page.get_by_role("button", name="Delete 60 events").click()

    expect(page.locator(".notice [role=status]")).to_have_text("60 events deleted.")
    page.goto(f"{site.address}/use-cases/{case}")
    assert ids_of(page) == [f"late-{case}"]


def test_the_grid_stays_where_it_was_when_a_verdict_is_given(open_page, site, case):
    site.put_many(case, 120)
    page = open_page(f"{site.address}/use-cases/{case}?class=cap", **WIDE)
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    expect(page.locator(".tile").nth(95)).to_be_attached()
    tile = page.locator(f".tile[data-event='many-{case}-70']")
    tile.scroll_into_view_if_needed()
    box(page, 70).check()

    with page.expect_navigation():
        page.keyboard.press("c")

    expect(tile.get_by_text("Feedback: correct")).to_be_attached()
    expect(tile).to_be_in_viewport()
    expect(said(page)).to_be_in_viewport()
