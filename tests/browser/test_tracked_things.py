"""Events of tracked things: written again while the thing is there, with what came before."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import cv2
import numpy as np
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import BOX, opened_everything
from tests.browser.test_page import ids_of

OFFSETS = ("-1.0 s", "-0.5 s", "+0.5 s", "+1.0 s")


def thing(state, duration_s, **more):
    return {"track_id": 7, "state": state, "duration_s": duration_s, **more}


def shade(site, value):
    """A picture that is told from others by its brightness."""
    content = cv2.imencode(".jpg", np.full((90, 160, 3), value, np.uint8))[1].tobytes()
    return site.store.pictures.put(content).id


@pytest.fixture
def case(site, request):
    return site.new_use_case(request.node.name)


@pytest.fixture
def story(site, case):
    """The id of an event with two pictures before and two after its own, out of order."""
    event_id = f"story-{case}"
    shades = (40, 80, 160, 200)
    images = [
        {"label": label, "inputSourceId": shade(site, value)}
        for label, value in zip(OFFSETS, shades, strict=True)
    ]
    own = {"label": "workflow", "inputSourceId": shade(site, 120), "objectDetections": [BOX]}
    site.put(
        case, event_id, images=[own, *reversed(images)], displayImagePosition=0,
        customMetadata=thing("left", 4.2),
    )  # fmt: skip
    return event_id


def tile(page, event_id):
    return page.locator(f".tile[data-event='{event_id}']")


def brightness(page):
    """Of the large picture in sight."""
    return page.locator(".view img").first.evaluate(
        """async (image) => {
            await image.decode();
            const canvas = new OffscreenCanvas(1, 1).getContext("2d");
            canvas.drawImage(image, 0, 0, 1, 1);
            return Math.round(canvas.getImageData(0, 0, 1, 1).data[0] / 10) * 10;
        }"""
    )


def test_the_tile_of_a_thing_changes_in_place(open_page, site, case):
    site.put(case, "later", minutes=1)
    site.put(case, "thing", minutes=2, customMetadata=thing("still there", 0.5))
    site.put(case, "earlier", minutes=3)
    page = open_page(f"{site.address}/use-cases/{case}")
    expect(tile(page, "thing").locator(".lasted")).to_contain_text("0.5 s so far")
    tile(page, "thing").get_by_role("checkbox").check()
    tile(page, "thing").get_by_role("link").focus()

    images = [{"inputSourceId": site.picture(), "objectDetections": [BOX]}]
    site.put(case, "thing", minutes=2, customMetadata=thing("left", 4.24), images=images)

    expect(tile(page, "thing").locator(".lasted")).to_have_text("Lasted 4.2 s")
    expect(tile(page, "thing").locator(".box")).to_be_visible()
    assert ids_of(page) == ["later", "thing", "earlier"]
    expect(page.locator("[data-count]").first).to_have_text("3 events")
    expect(page.locator("[data-news]")).to_be_hidden()
    expect(tile(page, "thing").get_by_role("checkbox")).to_be_checked()
    expect(tile(page, "thing").get_by_role("link")).to_be_focused()


def test_a_thing_that_matches_no_more_leaves_the_grid_and_one_that_does_comes(
    open_page, site, case
):
    for number in range(3):
        site.put(case, f"thing-{number}", minutes=1 + number, customMetadata=thing("x", 5))
    page = open_page(f"{site.address}/use-cases/{case}?longer_than=4")
    assert ids_of(page) == ["thing-0", "thing-1", "thing-2"]

    site.put(case, "thing-2", minutes=3, customMetadata=thing("left", 1))
    expect(page.locator(".tile")).to_have_count(2)
    site.put(case, "thing-2", minutes=3, customMetadata=thing("left", 60))

    expect(page.locator(".tile")).to_have_count(3)
    assert ids_of(page) == ["thing-0", "thing-1", "thing-2"]
    expect(page.locator("[data-count]").first).to_have_text("3 events")


def test_a_thing_whose_time_changed_moves_to_its_place(open_page, site, case):
    for number in range(3):
        site.put(case, f"e{number}", minutes=10 + number)
    page = open_page(f"{site.address}/use-cases/{case}")

    site.put(case, "e2", minutes=5, customMetadata=thing("left", 2))

    expect(page.locator(".tile").first).to_have_attribute("data-event", "e2")
    assert ids_of(page) == ["e2", "e0", "e1"]


def test_new_events_are_counted_once_for_a_reader_further_down(open_page, site, case):
    site.put_many(case, 100)
    page = open_page(f"{site.address}/use-cases/{case}", viewport={"width": 800, "height": 600})
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    expect(page.locator(".tile")).to_have_count(96)
    last = f"many-{case}-90"
    pill = page.locator("[data-news]")

    for seconds in (1, 2):
        site.put(case, "thing", minutes=1, customMetadata=thing("still there", seconds))
        site.put(case, last, minutes=95, customMetadata=thing("still there", seconds))
        # Also what lies below the first page is kept up.
        expect(tile(page, last).locator(".lasted")).to_contain_text(f"{seconds}.0 s so far")
        expect(pill).to_have_text("1 new event")
    site.store.delete(case, ["thing"])
    expect(pill).to_be_hidden()

    site.put(case, "other", minutes=1, customMetadata=thing("left", 9))
    expect(pill).to_have_text("1 new event")
    pill.click()
    expect(tile(page, "other")).to_have_count(1)
    expect(tile(page, "thing")).to_have_count(0)
    assert len(ids_of(page)) == len(set(ids_of(page)))


def test_an_event_says_how_long_it_lasted_and_is_found_by_it(open_page, site, case):
    for name, seconds in (("short", 4.2), ("long", 75.0), ("longest", 7_380)):
        site.put(case, f"{name}-{case}", customMetadata=thing("left", seconds))
    page = open_page(f"{site.address}/use-cases/{case}")
    page.locator("summary", has_text="Filters").click()
    page.get_by_label("Longer than (seconds)").fill("60")
    page.get_by_role("button", name="Show events").click()

    expect(page.locator(".chip")).to_contain_text("Longer than 60 s")
    expect(page.locator(".tile")).to_have_count(2)
    expect(tile(page, f"longest-{case}").locator(".lasted")).to_contain_text("2 h 3 min")
    tile(page, f"long-{case}").get_by_role("link").click()
    expect(page.locator(".lasted")).to_have_text("lasted 1 min 15 s")


def test_a_story_is_a_strip_in_the_order_of_time(open_page, site, story):
    page = open_page(f"{site.address}/events/{story}")
    strip = page.get_by_role("navigation", name="Pictures before and after the event")

    expect(strip.get_by_role("link")).to_have_text(
        [
            "\N{MINUS SIGN}1.0 s, 1 second before",
            "\N{MINUS SIGN}0.5 s, 0.5 seconds before",
            "0.0 s, the event",
            "+0.5 s, 0.5 seconds after",
            "+1.0 s, 1 second after",
        ]
    )
    expect(strip.locator("[aria-current]")).to_contain_text("the event")
    # They are no further images beside those.
    expect(page.get_by_role("navigation", name="Images of this event")).to_have_count(0)


def test_arrow_keys_step_through_a_story_and_leave_the_event_alone(open_page, site, story):
    page = open_page(f"{site.address}/events/{story}")
    box = page.locator(".view .box").first
    expect(box).to_be_visible()
    assert brightness(page) == 120
    page.locator("[data-story-strip] [aria-current]").focus()

    page.keyboard.press("ArrowLeft")
    assert brightness(page) == 80
    expect(page.locator("[data-story-strip] [aria-current]")).to_be_focused()
    expect(box).to_be_hidden()  # it lies on the event's own picture
    page.keyboard.press("Home")
    assert brightness(page) == 40
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("End")
    assert brightness(page) == 200
    assert page.locator("[data-stage]").first.get_attribute("data-moment") == "+1.0 s"
    assert f"/events/{story}?image=" in page.url

    page.reload()
    assert brightness(page) == 200
    page.locator("[data-story-strip]").get_by_text("0.0 s").click()
    assert brightness(page) == 120


def test_a_story_is_played_at_its_own_pace_and_held(open_page, site, story):
    page = open_page(f"{site.address}/events/{story}")
    page.evaluate(
        """() => {
            window.moments = [];
            const stage = document.querySelector("[data-stage]");
            new MutationObserver(() =>
                moments.push([stage.dataset.moment, performance.now()]))
                .observe(stage, { attributeFilter: ["data-moment"] });
        }"""
    )
    page.locator("[data-story-strip] a").first.click()
    page.evaluate(  # no next picture arrives: else a slow reader finds the story at its end
        """() => {
            const { decode } = HTMLImageElement.prototype;
            const arrived = new Promise((done) => (window.letThemCome = done));
            HTMLImageElement.prototype.decode = function () {
                return arrived.then(() => decode.call(this));
            };
        }"""
    )
    page.keyboard.press("s")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    page.keyboard.press("s")
    expect(page.get_by_role("button", name="Play")).to_be_visible()
    held_at = page.locator("[data-story-strip] [aria-current]").text_content()
    page.evaluate("letThemCome()")
    page.wait_for_timeout(1200)  # two more pictures' time
    expect(page.locator("[data-story-strip] [aria-current]")).to_have_text(held_at)
    expect(page.locator("[data-story-status]")).to_have_text(held_at)

    page.locator("[data-story-strip] a").first.click()
    page.evaluate("moments.length = 0")
    page.get_by_role("button", name="Play").click()
    expect(page.locator("[data-story-strip] a").last).to_have_attribute("aria-current", "true")
    expect(page.get_by_role("button", name="Play")).to_be_visible()

    shown = page.evaluate("moments")
    minus = "\N{MINUS SIGN}"
    assert [moment for moment, _ in shown] == [f"{minus}0.5 s", "0.0 s", "+0.5 s", "+1.0 s"]
    # Never faster than it happened; a busy machine may show it later.
    gaps_ms = [after - before for (_, before), (_, after) in pairwise(shown)]
    assert min(gaps_ms) > 400


def test_a_story_is_a_row_of_links_without_scripts(open_page, site, story):
    page = open_page(f"{site.address}/events/{story}", java_script_enabled=False)
    expect(page.get_by_role("button", name="Play")).to_be_hidden()

    page.get_by_role("link", name="1 second before").click()

    expect(page.locator("[aria-current]", has_text="1 second before")).to_be_visible()
    expect(page.locator(".view img")).to_have_count(1)
    expect(page.locator(".view .box")).to_have_count(0)


@pytest.mark.parametrize("recorded_after_s", [0, 21.7], ids=["camera", "file"])
def test_the_pictures_of_a_tracked_thing_stand_at_their_own_times(
    open_page, site, case, recorded_after_s
):
    def iso(seconds):
        return (site.now + timedelta(minutes=-1, seconds=seconds)).isoformat()

    labels = ("first", "best", "last", "-0.5 s", "+3.0 s")
    images = [
        {"label": label, "inputSourceId": shade(site, 40 * number)}
        for number, label in enumerate(labels, start=1)
    ]
    seen = {"first_seen": iso(0), "best_seen": iso(1.24), "last_seen": iso(2)}
    metadata = {**thing("left", 2), **seen}
    fields = {"timestamp": iso(recorded_after_s), "customMetadata": metadata}
    site.put(case, f"t-{case}", images=images, displayImagePosition=1, **fields)
    page = open_page(f"{site.address}/events/t-{case}")

    dot, minus = "\N{MIDDLE DOT}", "\N{MINUS SIGN}"
    strip = page.locator("[data-story-strip] a")
    names = [name.partition(",")[0] for name in strip.all_text_contents()]
    assert names == [
        f"{minus}0.5 s", f"0.0 s {dot} first", f"+1.2 s {dot} best", f"+2.0 s {dot} last", "+3.0 s",
    ]  # fmt: skip
    expect(page.locator("[data-story-strip] [aria-current]")).to_contain_text("best")
    expect(page.get_by_role("navigation", name="Images of this event")).to_have_count(0)
    assert brightness(page) == 80


def test_a_story_whose_pictures_are_gone_still_shows_the_event(open_page, site, case):
    images = [
        {"label": "-0.5 s", "inputSourceId": "0" * 32},
        {"label": "workflow", "inputSourceId": site.picture()},
        {"label": "top", "inputSourceId": site.picture()},
    ]
    site.put(case, f"gone-{case}", images=images, displayImagePosition=1)
    page = open_page(f"{site.address}/events/gone-{case}?image=2")

    page.get_by_role("button", name="Next picture").click()

    expect(page.locator("[data-stage]").first).to_have_attribute("data-moment", "0.0 s")
    others = page.get_by_role("navigation", name="Images of this event")
    expect(others.get_by_role("link")).to_have_text(["workflow", "top"])


@pytest.mark.parametrize("width", [390, 1440])
def test_a_story_scrolls_within_itself(open_page, site, case, width):
    own = {"inputSourceId": site.picture(), "objectDetections": [BOX]}
    # A use case with a long name, as this one has, does not widen the page either.
    others = [
        {"label": f"{offset:+.1f} s", "inputSourceId": shade(site, 90)}
        for offset in (*range(-8, 0), *range(1, 9))
    ]
    site.put(case, f"long-{case}", images=[own, *others], customMetadata=thing("left", 16.0))
    for path in (f"/events/long-{case}", *([f"/use-cases/{case}"] if width == 390 else [])):
        page = open_page(site.address + path, viewport={"width": width, "height": 844})
        opened_everything(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        if path.startswith("/events"):
            strip = page.locator("[data-story-strip]")
            current = strip.locator("[aria-current]").bounding_box()
            frame = strip.bounding_box()
            assert frame["x"] <= current["x"] < frame["x"] + frame["width"]
            overflows = strip.evaluate("strip => strip.scrollWidth > strip.clientWidth")
            assert overflows
