"""Judging many events in a row, and finding the grid again as it was left."""

from __future__ import annotations

from datetime import timedelta

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import BOX
from tests.browser.test_page import ids_of
from tests.waiting import eventually
from vision_event_block import __version__

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


@pytest.fixture
def case(site, request):
    return site.new_use_case(request.node.name)


def verdicts_of(site, case, count):
    return [site.store.get(f"many-{case}-{number}").feedback for number in range(count)]


def test_fifty_events_are_judged_by_keyboard_alone(open_page, site, case):
    site.put_many(case, 50)
    page = open_page(f"{site.address}/use-cases/{case}?feedback=none")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    keys = {"c": "correct", "i": "incorrect", "u": "inconclusive"}

    for number in range(50):
        page.wait_for_url(f"**/events/many-{case}-{number}*")
        key = "ciu"[number % 3]
        with page.expect_navigation():
            page.keyboard.press(key)
        expect(page.get_by_role("status").first).to_contain_text(f"Saved: {keys[key]}.")

    # After the last one she stays, and is told so; feedback itself was nobody's next event.
    expect(page.get_by_role("status").first).to_contain_text("no older one")
    assert verdicts_of(site, case, 50) == [keys["ciu"[number % 3]] for number in range(50)]
    assert len(site.store.feedback_on(f"many-{case}-7")) == 1
    page.goto(f"{site.address}/use-cases/{case}?feedback_events=no")
    marks = page.locator(".tile .mark[title^=Feedback]").evaluate_all(
        "all => all.map(one => one.title)"
    )
    assert marks == [f"Feedback: {keys['ciu'[number % 3]]}" for number in range(48)]


def test_a_key_pressed_again_on_a_slow_network_judges_once(open_page, site, case):
    site.put_many(case, 1)
    page = open_page(f"{site.address}/events/many-{case}-0")
    page.evaluate(  # nothing arrives, so the page stays
        """() => {
            window.sent = 0;
            addEventListener("submit", (event) => {
                window.sent += !event.defaultPrevented;
                event.preventDefault();
            });
        }"""
    )

    page.keyboard.press("c")
    page.keyboard.press("c")
    assert page.evaluate("sent") == 1

    page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow'))")  # back in the browser
    page.keyboard.press("i")
    assert page.evaluate("sent") == 2

    page.evaluate(  # eleven seconds later: the reader stopped it
        """() => {
            const later = { value: performance.now() + 11_000 };
            const shift = (event) => Object.defineProperty(event, "timeStamp", later);
            addEventListener("submit", shift, true);
        }"""
    )
    page.keyboard.press("c")
    page.keyboard.press("c")
    assert page.evaluate("sent") == 3


def test_many_classes_leave_the_picture_in_sight(open_page, site, case):
    seen = [{**BOX, "class": f"class {number}"} for number in range(500)]
    images = [{"inputSourceId": site.picture(), "objectDetections": seen}]
    site.put(case, f"many-{case}", images=images)
    page = open_page(f"{site.address}/events/many-{case}", viewport={"width": 1440, "height": 900})

    expect(page.locator(".stage").first).to_be_in_viewport()


def test_keys_go_from_event_to_event_and_do_nothing_while_somebody_types(open_page, site, case):
    site.put_many(case, 3)
    page = open_page(f"{site.address}/events/many-{case}-0")

    for key, expected in (("j", 1), ("k", 0), ("ArrowRight", 1), ("ArrowLeft", 0)):
        page.keyboard.press(key)
        page.wait_for_url(f"**/events/many-{case}-{expected}")
    page.get_by_label("Comment").press_sequentially("cijku?")

    expect(page.get_by_label("Comment")).to_have_value("cijku?")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert page.url.endswith(f"many-{case}-0")
    assert verdicts_of(site, case, 3) == [None] * 3


def test_keys_go_from_tile_to_tile(open_page, site, case):
    site.put_many(case, 3)
    page = open_page(f"{site.address}/use-cases/{case}")

    for key, expected in (("j", 0), ("j", 1), ("k", 0), ("ArrowRight", 1)):
        page.keyboard.press(key)
        expect(page.locator(f".tile[data-event='many-{case}-{expected}'] a")).to_be_focused()


def test_the_keys_are_listed_on_every_page(open_page, site, case):
    site.put_many(case, 1)
    for path in ("/", f"/use-cases/{case}", f"/events/many-{case}-0"):
        page = open_page(site.address + path)
        page.keyboard.press("?")
        expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
        expect(page.get_by_text("Play or pause the story")).to_be_visible()
        page.keyboard.press("c")  # it is a list: nothing is judged behind it
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)
        page.get_by_role("button", name="Keyboard").click()
        page.get_by_role("button", name="Close").click()
    assert verdicts_of(site, case, 1) == [None]


def test_a_verdict_goes_on_without_scripts_too_unless_it_is_unticked(open_page, site, case):
    site.put_many(case, 2)
    page = open_page(f"{site.address}/events/many-{case}-0", java_script_enabled=False)

    with page.expect_navigation():
        page.get_by_role("button", name="Incorrect").click()
    assert f"/events/many-{case}-1?" in page.url
    page.get_by_label("Then show the next event").uncheck()
    with page.expect_navigation():
        page.get_by_role("button", name="Correct", exact=True).click()

    assert page.url.endswith(f"/events/many-{case}-1")
    assert verdicts_of(site, case, 2) == ["incorrect", "correct"]


def test_verdicts_lie_under_the_thumb_and_beside_the_picture(open_page, site, case):
    site.put_many(case, 2)
    page = open_page(f"{site.address}/events/many-{case}-0", **PHONE)
    box = page.get_by_role("button", name="Correct", exact=True).bounding_box()
    assert box["height"] >= 44
    assert 844 - 120 < box["y"] < box["y"] + box["height"] <= 844
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    assert page.get_by_role("button", name="Correct", exact=True).bounding_box() == box
    # Nor does the bar hide what is last on the page.
    last = page.get_by_role("link", name="API documentation").bounding_box()
    assert last["y"] + last["height"] <= box["y"]
    page.get_by_role("button", name="Incorrect").tap()
    page.wait_for_url(f"**/events/many-{case}-1*")

    page = open_page(
        f"{site.address}/events/many-{case}-0", viewport={"width": 1440, "height": 900}
    )
    picture = page.locator(".stage").bounding_box()
    box = page.get_by_role("button", name="Correct", exact=True).bounding_box()
    assert box["x"] > picture["x"] + picture["width"]
    assert box["y"] + box["height"] < 900


def test_zoom_and_switched_off_classes_stay_while_paging_and_after_a_reload(open_page, site, case):
    site.put_many(case, 2)
    page = open_page(f"{site.address}/use-cases/{case}")
    page.get_by_role("button", name="cap", exact=True).click()
    expect(page.locator(".tile .box").first).to_be_hidden()
    page.locator(".tile a").first.click()
    zoom = page.locator("[data-zoom-text]")
    expect(zoom).to_have_text("100 %")
    page.get_by_role("button", name="Zoom in").click()
    page.locator("[data-stage]").focus()
    page.keyboard.press("ArrowRight")
    moved = page.locator(".canvas").evaluate("one => one.style.transform")

    for step in ("j", "reload"):
        if step == "j":
            page.get_by_role("link", name="Older event").click()
            page.wait_for_url(f"**/events/many-{case}-1")
        else:
            page.reload()
        expect(zoom).to_have_text("150 %")
        assert page.locator(".canvas").evaluate("one => one.style.transform") == moved
        expect(page.locator(".view .box")).to_be_hidden()
        expect(page.get_by_role("button", name="cap", exact=True)).to_have_attribute(
            "aria-pressed", "false"
        )

    page.locator("a.crumb").click()
    page.locator(".tile a").first.click()
    expect(zoom).to_have_text("100 %")


def test_a_part_is_named_on_its_tile(open_page, site, case):
    data = {"result": "fail", "externalId": "PART-1041"}
    site.put(case, f"part-{case}", kind="quality_check", eventData=data)
    page = open_page(f"{site.address}/use-cases/{case}")

    expect(page.locator(".tile .external")).to_have_text("PART-1041")


def test_an_event_prints_on_one_page_with_its_colours(open_page, site, case):
    pictures = {"inputSourceId": site.picture(), "sourceId": site.picture(2)}
    images = [{**pictures, "objectDetections": [BOX]}]
    metadata = {f"key {number}": number for number in range(12)}
    site.put(case, f"print-{case}", images=images, customMetadata=metadata)
    page = open_page(f"{site.address}/events/print-{case}", color_scheme="dark")

    printed = page.pdf(format="A4", print_background=False)

    assert printed.count(b"/Type /Page\n") + printed.count(b"/Type /Page\r") == 1
    page.emulate_media(media="print")
    expect(page.get_by_role("button", name="Correct")).to_have_count(0)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == "rgb(255, 255, 255)"
    assert (
        page.locator(".view svg.overlay").first.evaluate(
            "one => getComputedStyle(one).printColorAdjust"
        )
        == "exact"
    )


@pytest.mark.parametrize("way", ["back", "link", "reload"])
def test_the_grid_is_found_again_as_it_was_left(open_page, site, case, way):
    # All on one day of the reader's: with midnight among the tiles in sight, the new event could
    # give the day above a further row, and those below it move down.
    site.now = site.now.replace(hour=12) - timedelta(days=1)
    site.put_many(case, 260)
    page = open_page(f"{site.address}/use-cases/{case}", viewport={"width": 1440, "height": 900})
    for shown in (96, 144, 192, 240):
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
        expect(page.locator(".tile").nth(shown - 1)).to_be_attached()
    count = len(ids_of(page))
    event_id = f"many-{case}-150"
    tile = page.locator(f".tile[data-event='{event_id}']")
    tile.scroll_into_view_if_needed()
    before = tile.bounding_box()

    if way == "reload":
        page.reload()
    else:
        tile.get_by_role("link").click()
        page.wait_for_url("**/events/**")
        site.put(case, "new", minutes=0.5)  # something came meanwhile
        if way == "back":
            page.go_back()
        else:
            page.locator("a.crumb").click()

    expect(tile).to_be_visible()
    expect(page.locator(".tile").nth(count - 1)).to_be_attached()
    expect(tile).to_be_in_viewport()
    eventually(lambda: abs(tile.bounding_box()["y"] - before["y"]) < 2)
    assert len(ids_of(page)) == len(set(ids_of(page)))
    if way != "reload":
        expect(tile.get_by_role("link")).to_be_focused()


@pytest.mark.expects_errors
def test_a_lost_server_is_not_asked_again_and_again_for_older_events(open_page, site, case):
    site.put_many(case, 60)
    page = open_page(f"{site.address}/use-cases/{case}", viewport={"width": 800, "height": 600})
    asked = []

    def lose(route):
        asked.append(route.request.url)
        route.abort()

    page.route("**/*cursor=*", lose)
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    eventually(lambda: page.wait_for_timeout(20) or asked)
    page.wait_for_timeout(500)
    assert len(asked) == 1

    page.unroute("**/*cursor=*")
    page.get_by_role("link", name="Older events").click()
    expect(page.locator(".tile")).to_have_count(60)


def test_a_grid_that_is_opened_anew_starts_at_its_top(open_page, site, case):
    site.put_many(case, 100)
    page = open_page(f"{site.address}/use-cases/{case}", viewport={"width": 800, "height": 600})
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    expect(page.locator(".tile").nth(95)).to_be_attached()

    page.goto(f"{site.address}/")
    page.goto(f"{site.address}/use-cases/{case}")

    expect(page.locator(".tile").first).to_be_in_viewport()
    assert page.evaluate("scrollY") == 0


def test_the_deleted_oldest_event_leaves_the_grid(open_page, site, case):
    site.put_many(case, 3)
    page = open_page(f"{site.address}/use-cases/{case}")

    site.store.delete(case, [f"many-{case}-2"])

    expect(page.locator(".tile")).to_have_count(2)


def test_every_page_names_the_version_and_leads_to_the_documentation(
    open_page, site, locked_site, case
):
    page = open_page(f"{site.address}/use-cases/{case}")
    expect(page.get_by_text(f"Vision Events {__version__}")).to_be_visible()
    page.get_by_role("link", name="API documentation").click()
    page.wait_for_url("**/docs")

    reply = page.request.get(f"{locked_site.address}/nowhere", headers={"Accept": "text/html"})
    assert reply.status == 404
    assert __version__ not in reply.text()


def test_the_days_are_said_only_where_they_hide_something(open_page, site, case):
    site.put_many(case, 1)
    page = open_page(f"{site.address}/use-cases/{case}")
    expect(page.locator(".head")).to_contain_text("last 14 days")

    for path in ("?range=24h", "/charts?range=24h"):
        page.goto(f"{site.address}/use-cases/{case}{path}")
        expect(page.locator(".head")).to_contain_text("1 event")
        expect(page.locator(".head")).not_to_contain_text("last 14 days")
    page.goto(f"{site.address}/use-cases/{case}?start=2020-01-01")
    expect(page.locator(".head")).to_contain_text("last 14 days")


@pytest.mark.parametrize(
    "name",
    ["MWMW", "scratch", "no-hard-hat", "illicit", "QUALITY OK 100", "Жжение ЩЩ", "品質検査 <=>#&"],
)
def test_a_label_fits_its_plate(open_page, site, case, name):
    box = {**BOX, "class": name, "x": 300.0}
    images = [{"inputSourceId": site.picture(), "objectDetections": [box]}]
    site.put(case, f"label-{case}", images=images)
    for path in (f"/use-cases/{case}", f"/events/label-{case}"):
        page = open_page(site.address + path)
        plate, text = page.locator(".label").first.evaluate(
            "label => [...label.children].map(one => one.getBoundingClientRect().toJSON())"
        )
        assert plate["left"] <= text["left"]
        assert text["right"] <= plate["right"]
