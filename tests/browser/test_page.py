"""The page in a browser: what people see and do."""

from __future__ import annotations

import json
import re
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import BOX, HEIGHT_PX, KEY, MARKUP, OUTLINE, PERSON, WIDTH_PX
from tests.waiting import eventually


def ids_of(page):
    page.wait_for_load_state("domcontentloaded")  # the tiles may still be on their way
    return [tile.get_attribute("data-event") for tile in page.locator(".tile").all()]


def on_screen(entry, picture):
    """Where a box of the payload should be, from where the picture is."""
    scale_x, scale_y = picture["width"] / WIDTH_PX, picture["height"] / HEIGHT_PX
    return {
        "x": picture["x"] + (entry["x"] - entry["width"] / 2) * scale_x,
        "y": picture["y"] + (entry["y"] - entry["height"] / 2) * scale_y,
        "width": entry["width"] * scale_x,
        "height": entry["height"] * scale_y,
    }


def drawn_box(shape):
    """Where a shape is on the screen, without the width of its lines."""
    return shape.evaluate(
        """shape => {
            const { x, y, width, height } = shape.getBoundingClientRect();
            return { x, y, width, height };
        }"""
    )


def test_the_first_page_tells_a_newcomer_what_to_do(open_page, locked_site):
    page = open_page(f"{locked_site.address}/")

    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.get_by_label("API key").fill(KEY)
    page.get_by_role("button", name="Sign in").click()

    expect(page.get_by_role("heading", name="No use case yet")).to_be_visible()
    expect(page.get_by_text(f"export VISION_EVENT_API_URL={locked_site.address}")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


@pytest.mark.expects_errors
def test_a_wrong_key_opens_nothing(open_page, locked_site):
    page = open_page(f"{locked_site.address}/use-cases/any?type=custom")
    page.get_by_label("API key").fill("not-this-one")
    page.get_by_role("button", name="Sign in").click()

    expect(page.get_by_role("alert")).to_contain_text("not a key")
    page.get_by_label("API key").fill(KEY)
    with page.expect_navigation():
        page.get_by_role("button", name="Sign in").click()

    assert page.url == f"{locked_site.address}/use-cases/any?type=custom", (
        "lost where she was going"
    )


def test_a_use_case_is_made_renamed_archived_and_taken_back(open_page, site):
    page = open_page(f"{site.address}/")
    page.get_by_label("Name", exact=True).last.fill("Crates & pallets")
    page.get_by_role("button", name="Create").click()

    expect(page.get_by_role("heading", name="Crates & pallets")).to_be_visible()
    expect(page.get_by_role("heading", name="No events yet")).to_be_visible()
    case_id = page.url.rpartition("/")[2]
    expect(page.get_by_text(f'"use_case": "{case_id}"')).to_be_visible()

    page.goto(f"{site.address}/")
    page.get_by_label("Rename or archive Crates & pallets").click()
    menu = page.locator("details[open]")
    menu.get_by_role("textbox").fill("Crates")
    menu.get_by_role("button", name="Rename").click()
    expect(page.get_by_role("link", name="Crates", exact=True)).to_be_visible()

    page.get_by_label("Rename or archive Crates").click()
    page.locator("details[open]").get_by_role("button", name="Archive").click()
    expect(page.get_by_role("link", name="Crates", exact=True)).to_have_count(0)
    page.get_by_role("link", name="archived").click()
    page.get_by_label("Rename or archive Crates").click()
    page.get_by_role("button", name="Restore").click()
    expect(page.get_by_role("link", name="Crates", exact=True)).to_be_visible()


def test_the_grid_shows_the_newest_first(open_page, site, line):
    page = open_page(f"{site.address}/use-cases/{line}")

    assert ids_of(page) == ["verdict", "checked", "alert", "counted", "bare"]
    expect(page.locator("[data-event=checked] .headline")).to_have_text("Fail")
    expect(page.locator("[data-event=counted] .headline")).to_have_text(
        "3 \N{MULTIPLICATION SIGN} cap"
    )
    expect(page.locator("[data-event=alert] .mark")).to_have_attribute("title", "Feedback: correct")
    expect(page.locator("[data-event=bare] .mark")).to_have_attribute("title", "1 warning")


@pytest.mark.parametrize("width", [390, 1400])
def test_overlays_lie_where_the_payload_says_on_any_screen(open_page, site, line, width):
    page = open_page(f"{site.address}/use-cases/{line}", viewport={"width": width, "height": 900})

    for event, selector, entry in (
        ("checked", "[data-class=cap] .box", BOX),
        ("checked", "[data-class=scratch] polygon", OUTLINE),
        ("alert", "[data-class=person] .box", PERSON),
    ):
        tile = page.locator(f"[data-event={event}]")
        tile.locator("img").evaluate("image => image.decode()")
        expected = on_screen(entry, tile.locator("img").bounding_box())
        assert drawn_box(tile.locator(selector)) == pytest.approx(expected, abs=1)


def test_overlays_stay_in_place_in_the_large_view_and_when_zoomed(open_page, site, line):
    page = open_page(f"{site.address}/events/checked")
    view = page.locator(".view").first
    view.locator("img").evaluate("image => image.decode()")

    for _ in range(2):
        expected = on_screen(BOX, view.locator("img").bounding_box())
        drawn = drawn_box(view.locator("[data-class=cap] .box"))
        assert drawn == pytest.approx(expected, abs=1)
        page.get_by_role("button", name="Zoom in").click()
    assert page.locator("[data-zoom-text]").text_content() == "225 %"


def test_labels_keep_their_size_when_zoomed(open_page, site, line):
    page = open_page(f"{site.address}/events/checked")
    text = page.locator(".view").first.locator("[data-class=cap] .label text")
    before = text.bounding_box()["height"]

    page.get_by_role("button", name="Zoom in").click()

    assert text.bounding_box()["height"] == pytest.approx(before, rel=0.15)


def test_a_class_is_switched_off_and_on(open_page, site, line):
    page = open_page(f"{site.address}/use-cases/{line}")
    boxes = page.locator("[data-event=checked] [data-class=cap] .box")
    expect(boxes).to_be_visible()

    page.get_by_role("button", name="cap", exact=True).click()
    expect(boxes).to_be_hidden()
    expect(page.locator("[data-event=checked] polygon")).to_be_visible()

    page.get_by_role("button", name="cap", exact=True).click()
    expect(boxes).to_be_visible()


def test_overlays_are_on_for_the_input_picture_and_off_for_the_output(open_page, site, line):
    page = open_page(f"{site.address}/use-cases/{line}")
    shape = page.locator("[data-event=checked] .box")
    source = page.locator("[data-event=checked] img")
    before = source.get_attribute("src")
    expect(shape).to_be_visible()

    page.get_by_role("link", name="Output").click()
    page.wait_for_url("**?picture=output")
    expect(shape).to_be_hidden()
    assert source.get_attribute("src") != before

    page.get_by_role("button", name="Overlays").click()
    expect(shape).to_be_visible()


def test_filters_change_the_address_and_the_result(open_page, site, line):
    page = open_page(f"{site.address}/use-cases/{line}")
    page.get_by_text("Filters", exact=True).click()
    page.get_by_label("Device", exact=True).fill("cam-2")
    page.get_by_label("Inventory count").check()
    page.get_by_label("Metadata key").first.fill("")
    page.get_by_role("button", name="Show events").click()

    expect(page.locator(".tile")).to_have_count(1)
    assert ids_of(page) == ["counted"]
    assert parse_qs(urlsplit(page.url).query) == {"type": ["inventory_count"], "device": ["cam-2"]}

    page.get_by_role("link", name="Remove Inventory count").click()
    expect(page.locator(".tile")).to_have_count(2)
    assert ids_of(page) == ["alert", "counted"]
    page.get_by_role("link", name="Remove Device: cam-2").click()
    expect(page.locator(".tile")).to_have_count(5)


def test_times_are_entered_and_shown_in_the_readers_zone_and_shared_in_utc(open_page, site, line):
    page = open_page(f"{site.address}/use-cases/{line}")
    page.get_by_text("Filters", exact=True).click()
    page.get_by_label("From").fill("2026-03-01T12:00")
    with page.expect_navigation():
        page.get_by_role("button", name="Show events").click()

    assert parse_qs(urlsplit(page.url).query)["start"] == ["2026-03-01T06:30:00.000Z"]
    expect(page.locator(".chip time")).to_have_text(re.compile(r"1 Mar 2026,? (at )?12:00"))
    title = page.locator(".chip time").get_attribute("title")
    assert re.fullmatch(r"1 Mar 2026,? (at )?12:00:00 (GMT\+5:30|IST)", title)
    page.locator("[data-filters] summary").click()
    expect(page.get_by_label("From")).to_have_value("2026-03-01T12:00")


@pytest.mark.expects_errors
@pytest.mark.parametrize("query", ["range=9y", "cursor=zzz"])
def test_an_address_that_cannot_be_read_says_so(open_page, site, line, query):
    page = open_page(f"{site.address}/use-cases/{line}?{query}")

    expect(page.get_by_role("alert")).to_be_visible()
    assert ids_of(page) == []


def test_the_form_works_without_scripts(open_page, site, line):
    page = open_page(f"{site.address}/use-cases/{line}", java_script_enabled=False)
    page.get_by_text("Filters", exact=True).click()
    page.get_by_label("Device", exact=True).fill("cam-1")
    page.get_by_role("button", name="Show events").click()

    expect(page.locator(".tile")).to_have_count(1)
    assert ids_of(page) == ["checked"]
    assert urlsplit(page.url).query == "device=cam-1"
    expect(page.locator("[data-event=checked] .box")).to_be_visible()


def test_feedback_takes_one_click_and_is_kept_as_an_event(open_page, site):
    case = site.new_use_case("Judged")
    site.put(case, "to judge", kind="quality_check", eventData={"result": "pass"})
    page = open_page(f"{site.address}/use-cases/{case}?result=pass")
    page.locator(".tile a").click()
    page.get_by_label("Then show the next event").uncheck()
    page.get_by_label("Comment").fill("a <b>dent</b>")
    page.get_by_role("button", name="Incorrect").click()

    expect(page.locator(".history")).to_contain_text("incorrect")
    expect(page.locator(".said")).to_have_text("a <b>dent</b>")
    assert page.url.endswith("/events/to%20judge?result=pass"), "the filters were lost"
    (kept,) = site.store.feedback_on("to judge")
    assert kept.event_type == "operator_feedback"
    assert kept.use_case_id == case
    assert kept.body["eventData"] == {"relatedEventId": "to judge", "feedback": "incorrect"}
    assert kept.body["comment"] == "a <b>dent</b>"
    assert kept.warnings == ()
    assert site.store.get("to judge").feedback == "incorrect"

    # What was unticked stays so.
    page.get_by_role("button", name="Correct", exact=True).click()
    expect(page.locator(".history li")).to_have_count(2)
    expect(page.locator(".history li").first).to_contain_text("correct")
    assert site.store.get("to judge").feedback == "correct"


def test_an_archived_use_case_takes_no_feedback(open_page, site):
    case = site.new_use_case("Closed")
    site.put(case, "closed")
    site.store.use_cases.archive(case)

    page = open_page(f"{site.address}/events/closed")

    expect(page.get_by_text("archived and takes no feedback")).to_be_visible()
    expect(page.get_by_role("button", name="Correct", exact=True)).to_have_count(0)
    refused = page.request.post(
        f"{site.address}/events/closed/feedback", form={"feedback": "correct"}
    )
    assert refused.status == 400
    assert site.store.feedback_on("closed") == []


def test_a_new_event_appears_by_itself_at_the_top(open_page, site):
    case = site.new_use_case("Live")
    page = open_page(f"{site.address}/use-cases/{case}")
    expect(page.get_by_role("heading", name="No events yet")).to_be_visible()

    site.put(case, "first", minutes=3)
    expect(page.locator("[data-event=first]")).to_be_visible()

    images = [{"inputSourceId": site.picture(), "objectDetections": [BOX]}]
    site.put(case, "second", minutes=2, images=images)
    expect(page.locator("[data-event=second] .box")).to_be_visible()
    assert ids_of(page) == ["second", "first"]
    expect(page.locator("[data-count]").first).to_have_text("2 events")


def test_events_that_do_not_match_the_filters_do_not_appear(open_page, site):
    case = site.new_use_case("Live and filtered")
    site.put(case, "match-1", deviceId="a", minutes=9)
    page = open_page(f"{site.address}/use-cases/{case}?device=a")

    site.put(case, "other", deviceId="b", minutes=8)
    site.put(case, "match-2", deviceId="a", minutes=7)

    expect(page.locator("[data-event=match-2]")).to_be_visible()
    assert ids_of(page) == ["match-2", "match-1"]


def test_a_reader_further_down_is_told_quietly(open_page, site):
    case = site.new_use_case("Long")
    site.put_many(case, 60)
    page = open_page(f"{site.address}/use-cases/{case}", viewport={"width": 800, "height": 600})
    page.evaluate("scrollTo(0, 1200)")
    site.put(case, "news", minutes=1)

    pill = page.get_by_role("button", name="1 new event")
    expect(pill).to_be_visible()
    assert "news" not in ids_of(page)
    pill.click()
    expect(page.locator("[data-event=news]")).to_be_visible()
    assert ids_of(page)[0] == "news"


def test_older_events_come_when_the_reader_gets_to_the_end(open_page, site):
    case = site.new_use_case("Longer")
    site.put_many(case, 120)
    page = open_page(f"{site.address}/use-cases/{case}", viewport={"width": 800, "height": 600})
    assert len(ids_of(page)) == 48

    def at_the_end():  # she scrolls on as long as tiles come, however slowly they do
        page.mouse.wheel(0, 4000)
        page.wait_for_timeout(100)
        return page.locator(".tile").count() == 120

    eventually(at_the_end)

    assert ids_of(page) == [f"many-{case}-{number}" for number in range(120)]
    expect(page.get_by_role("link", name="Older events")).to_have_count(0)


def test_everything_on_the_way_to_a_picture_can_be_reached_and_seen_by_keyboard(
    open_page, site, line
):
    page = open_page(f"{site.address}/use-cases/{line}")
    reached = []
    for _ in range(100):
        page.keyboard.press("Tab")
        focused = page.evaluate(
            """() => {
                const one = document.activeElement;
                const style = getComputedStyle(one);
                return [one.closest(".tile")?.dataset.event ?? one.textContent.trim().slice(0, 20),
                        parseFloat(style.outlineWidth) > 0 && style.outlineStyle !== "none"];
            }"""
        )
        assert focused[1], f"no visible focus on {focused[0]!r}"
        reached.append(focused[0])
        if focused[0] == "checked":
            break
    assert reached[0] == "Skip to content"
    for name in (
        "Charts",
        "Filters",
        "24 h",
        "Go",
        "Output",
        "Overlays",
        "cap",
        "verdict",
        "checked",
    ):
        assert name in reached


def test_a_picture_is_zoomed_and_moved_by_keyboard_and_wheel(open_page, site, line):
    page = open_page(f"{site.address}/events/checked")
    stage = page.locator("[data-stage]").first
    scale = page.locator("[data-zoom-text]")
    stage.focus()

    page.keyboard.press("+")
    expect(scale).to_have_text("150 %")
    before = stage.locator("img").bounding_box()
    page.keyboard.press("ArrowRight")
    assert stage.locator("img").bounding_box()["x"] < before["x"]
    assert page.url.endswith("/events/checked"), "the key went to another event"
    page.keyboard.press("0")
    expect(scale).to_have_text("100 %")

    box = stage.bounding_box()
    page.mouse.move(box["x"] + 50, box["y"] + 50)
    page.mouse.wheel(0, -200)
    expect(scale).not_to_have_text("100 %")
    page.mouse.down()
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.up()
    assert stage.locator("img").bounding_box()["x"] < box["x"]


def test_both_pictures_move_together(open_page, site, line):
    page = open_page(f"{site.address}/events/checked")
    page.get_by_role("button", name="Zoom in").click()

    transforms = page.locator(".canvas").evaluate_all("all => all.map(one => one.style.transform)")

    assert len(transforms) == 2
    assert "scale(1.5)" in transforms[0]
    assert transforms[0] == transforms[1]


def test_an_event_shows_all_that_is_known_of_it(open_page, site, line):
    page = open_page(f"{site.address}/events/checked")

    for words in ("part-7", "cam-1", "night", "2.5", "checked"):
        expect(page.get_by_text(words, exact=True).first).to_be_visible()
    happened = page.locator("dt", has_text="Happened").locator("xpath=../dd/time")
    assert happened.get_attribute("title").endswith(" GMT+5:30")
    page.get_by_text("2 detections").click()
    expect(
        page.get_by_role("row", name=re.compile("scratch 70.0 % outline 320 240"))
    ).to_be_visible()
    page.get_by_text("JSON", exact=True).click()
    shown = json.loads(page.locator("pre").text_content())
    assert shown["customMetadata"]["note"] == MARKUP
    assert page.request.get(f"{site.address}/events/checked?as=json").json() == shown


def test_metadata_of_an_image_stand_beside_it(open_page, site, line):
    page = open_page(f"{site.address}/events/checked")

    beside = page.get_by_label("Metadata of the image")
    expect(beside.get_by_text("exposure us")).to_be_visible()
    expect(beside.get_by_text("900", exact=True)).to_be_visible()
    expect(beside.get_by_text(MARKUP, exact=True)).to_be_visible()


def test_what_the_server_does_not_know_is_shown_as_it_came(open_page, site, line):
    page = open_page(f"{site.address}/events/bare")

    page.get_by_text("Other", exact=True).click()
    shown = page.get_by_role("region", name="Other data of the event")
    assert json.loads(shown.text_content()) == {"unknown": 1}
    page = open_page(f"{site.address}/events/counted")
    expect(page.get_by_text("Other", exact=True)).to_have_count(0)


def test_warnings_are_said_in_words(open_page, site, line):
    page = open_page(f"{site.address}/events/bare")

    expect(page.get_by_text("unknown is not a field that the API knows: 1.")).to_be_visible()


def test_feedback_leads_to_what_it_is_about(open_page, site, line):
    page = open_page(f"{site.address}/events/verdict")
    page.get_by_role("link", name="alert", exact=True).click()

    page.wait_for_url("**/events/alert")
    expect(page.locator(".said")).to_have_text("a clear case")


def test_further_images_of_an_event_are_a_click_away(open_page, site, line):
    page = open_page(f"{site.address}/events/alert")
    page.get_by_role("link", name="Image 2").click()

    expect(page.locator("figcaption")).to_contain_text("Output picture")
    expect(page.locator("[data-class=person]")).to_have_count(0)


def test_markup_in_data_stays_text(open_page, site, line):
    for path in (
        f"/use-cases/{line}",
        "/events/bare",
        "/events/checked",
        "/",
        f"/use-cases/{line}/charts",
    ):
        page = open_page(site.address + path)
        assert page.title() != "1"
        assert page.locator("main script, main img[src=x]").count() == 0


def test_charts_follow_the_filters(open_page, site, line):
    page = open_page(f"{site.address}/use-cases/{line}?range=24h")
    page.get_by_role("link", name="Charts").click()

    page.wait_for_url("**/charts?range=24h")
    expect(page.get_by_role("heading", name="Events by type")).to_be_visible()
    expect(page.locator(".chart-panel").first.locator(".figure")).to_contain_text("5")
    expect(page.get_by_role("group", name=re.compile("^Pass rate: 0.0% of 1"))).to_be_visible()
    page.get_by_role("link", name="1 h", exact=True).click()
    page.wait_for_url("**/charts?range=1h")


def test_an_export_opens_and_holds_what_matches(open_page, site, line):
    page = open_page(f"{site.address}/use-cases/{line}?class=cap")
    page.get_by_text("Export").click()
    with page.expect_download() as coming:
        page.get_by_role("link", name=re.compile("^COCO Boxes")).click()

    document = json.loads(coming.value.path().read_text(encoding="utf-8"))
    assert coming.value.suggested_filename.endswith(".coco.json")
    assert [image["event_id"] for image in document["images"]] == ["checked"]
    assert len(document["annotations"]) == 2


@pytest.mark.expects_errors
@pytest.mark.parametrize(
    "path",
    ["/events/none", "/use-cases/none", "/use-cases/none/charts", "/nowhere", "/nowhere/at/all"],
)
def test_what_is_not_there_says_so_and_leads_back(open_page, site, path):
    page = open_page(site.address + path)

    expect(page.get_by_role("heading", name=re.compile("There is no such"))).to_be_visible()
    page.get_by_role("link", name="All use cases").click()
    expect(page.get_by_role("heading", name="Use cases", exact=True)).to_be_visible()


@pytest.mark.expects_errors
def test_a_lost_server_is_shown_and_its_return_too(open_page, site, line):
    page = open_page(f"{site.address}/use-cases/{line}")
    page.route("**/changes", lambda route: route.abort())
    expect(page.get_by_text("No connection")).to_be_visible()

    page.unroute("**/changes")
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
