"""Many events at once: selected by mouse, finger and keyboard, judged, taken back, deleted."""

from __future__ import annotations

import itertools
import json
import time

import pytest
from playwright.sync_api import expect

from tests.browser.test_page import ids_of
from tests.waiting import eventually

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
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
    with page.expect_navigation():
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
    expect(said(page)).to_have_text("230 verdicts undone.")
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


def test_a_pin_is_set_by_key_seen_on_the_tile_and_filtered_by(open_page, site, case):
    site.put_many(case, 3)
    page = open_page(f"{site.address}/events/many-{case}-1?class=cap")
    pin = page.locator("[data-pin]")
    for expected in ("true", "false", "true"):
        with page.expect_navigation():
            page.keyboard.press("p")
        expect(pin).to_have_attribute("aria-pressed", expected)
    page.locator("a.crumb").click()
    page.wait_for_load_state()
    expect(page.locator(".tile .pinned")).to_have_count(1)

    page.keyboard.press("a")
    with page.expect_navigation():
        page.keyboard.press("p")
    expect(said(page)).to_have_text("3 events pinned: no clean-up removes them.")
    box(page, 0).check()
    page.get_by_role("button", name="Unpin").click()
    expect(said(page)).to_have_text("1 event unpinned: clean-ups may remove it.")

    page.locator("summary", has_text="Filters").click()
    page.get_by_label("Pinned", exact=True).select_option("yes")
    page.get_by_role("button", name="Show events").click()
    expect(page.locator(".chip [data-edit]")).to_have_text(["Class: cap", "Pinned"])
    assert ids_of(page) == [f"many-{case}-1", f"many-{case}-2"]


def test_the_name_is_asked_for_once_and_stands_beside_the_verdict(open_page, site, case):
    site.put_many(case, 3)
    page = open_page(f"{site.address}/events/many-{case}-0")
    page.get_by_label("Your name").fill("  Zoë\tda Silva ")
    with page.expect_navigation():
        page.keyboard.press("Enter")  # keeps it, and judges nothing
    expect(page.get_by_text("Judging as Zoë da Silva")).to_be_visible()
    assert verdicts_of(site, case, [0]) == [None]

    page.get_by_label("Then show the next event").uncheck()
    with page.expect_navigation():
        page.keyboard.press("c")
    expect(page.locator(".history")).to_contain_text("Zoë da Silva")
    page.goto(f"{site.address}/events/many-{case}-1")
    page.get_by_text("Judging as").click()
    expect(page.get_by_label("Your name")).to_have_value("Zoë da Silva")
    page.get_by_label("Your name").fill("Bo")
    page.get_by_role("button", name="Incorrect").click()

    expect(page.locator(".history")).to_contain_text("Bo")
    page.locator("a.crumb").click()
    expect(page.locator(".tile[data-event$='-1'] .mark")).to_have_attribute(
        "title", "Feedback: incorrect, Bo"
    )
    table = page.request.get(f"{site.address}/use-cases/{case}/export/csv?feedback=correct")
    assert table.text().splitlines()[0].endswith(",feedbackBy")
    assert table.text().splitlines()[1].endswith(",Zoë da Silva")
    lines = page.request.get(f"{site.address}/use-cases/{case}/export/jsonl")
    whole = {each["eventId"]: each for each in map(json.loads, lines.text().splitlines())}
    assert whole[f"many-{case}-1"]["feedbackBy"] == "Bo"
    assert {"reviewer": "Bo"} in [each.get("customMetadata") for each in whole.values()]
    other = open_page(f"{site.address}/events/many-{case}-2")
    expect(other.get_by_label("Your name")).to_have_value("")


def swipe(page, start, end, *, steps=6):
    """One finger, as the browser gets it from the screen; as fast on a busy machine, too."""
    screen = page.context.new_cdp_session(page)
    began_s, moments = time.time(), itertools.count()

    def touch(kind, *points):
        given = [{"x": x, "y": y} for x, y in points]
        at_s = began_s + 0.01 * next(moments)
        screen.send(
            "Input.dispatchTouchEvent", {"type": kind, "touchPoints": given, "timestamp": at_s}
        )

    touch("touchStart", start)
    for step in range(1, steps + 1):
        moved = [a + (b - a) * step / steps for a, b in zip(start, end, strict=True)]
        touch("touchMove", moved)
    touch("touchEnd")


def test_a_swipe_leads_to_the_event_beside_and_a_zoomed_picture_is_moved(open_page, site, case):
    site.put_many(case, 3)
    page = open_page(f"{site.address}/events/many-{case}-1?class=cap", **PHONE)
    picture = page.locator("[data-stage]").bounding_box()
    y = picture["y"] + picture["height"] / 2
    here = f"{site.address}/events/many-{case}-1?class=cap"

    with page.expect_navigation(url=f"**/events/many-{case}-2?class=cap"):
        swipe(page, (320, y), (60, y + 10))
    with page.expect_navigation(url=here):
        swipe(page, (60, y), (320, y))
    swipe(page, (10, y), (300, y))  # from the edge: the browser's own
    page.get_by_role("button", name="Zoom in").click()
    before = page.locator(".canvas").evaluate("one => one.style.transform")
    swipe(page, (320, y), (60, y))
    # A touch may count as delivered before the page has seen it.
    canvas = page.locator(".canvas")
    eventually(
        lambda: page.wait_for_timeout(20) or canvas.evaluate("one => one.style.transform") != before
    )
    assert page.url == here
    page.get_by_role("button", name="150 %").click()
    swipe(page, (320, y), (120, y - 200))  # down the page
    eventually(lambda: page.wait_for_timeout(20) or page.evaluate("scrollY") > 0)
    assert page.url == here


def test_the_choice_of_colours_holds_from_the_first_paint_and_charts_keep_theirs(
    open_page, site, case
):
    site.put_many(case, 3)
    light, dark = "rgb(245, 246, 248)", "rgb(15, 18, 23)"
    address = f"{site.address}/use-cases/{case}/charts"
    page = open_page(address, color_scheme="light")
    ground = "getComputedStyle(document.body).backgroundColor"
    fills = "[...document.querySelectorAll('.chart rect')].map(one => getComputedStyle(one).fill)"
    drawn = page.evaluate(fills)
    assert drawn
    assert page.evaluate(ground) == light

    page.get_by_role("button", name="Dark").click()
    eventually(lambda: any(each["name"] == "theme" for each in page.context.cookies()))
    assert page.evaluate(ground) == dark
    assert page.evaluate(fills) == drawn
    # Without a script of the page the next one comes in it, so there is nothing to flash.
    nothing = {"body": "", "content_type": "text/javascript"}
    page.route("**/*.js", lambda route: route.fulfill(**nothing))
    page.goto(address)
    assert page.evaluate(ground) == dark
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"
    page.emulate_media(media="print")
    assert page.evaluate(ground) == "rgb(255, 255, 255)"
    page.emulate_media(media="screen", color_scheme="dark")
    with page.expect_navigation():
        page.get_by_role("button", name="Light").click()  # a form like any other
    assert page.url == address
    assert page.evaluate(ground) == light
    with page.expect_navigation():
        page.get_by_role("button", name="Auto").click()
    assert page.evaluate(ground) == dark
