"""Filters that add to each other, are changed, taken away, and know what there is."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import parse_qsl, urlsplit

import pytest
from playwright.sync_api import expect

from tests.browser.test_page import ids_of


@pytest.fixture
def case(site, request):
    """A use case with a night and a day shift at two cameras, and somebody who judged them."""
    case = site.new_use_case(request.node.name)
    for number in range(8):
        site.put(
            case, f"{case} {number}", minutes=10 + number, kind="quality_check",
            deviceId=f"cam-{number % 2}",
            eventData={"result": "fail" if number < 4 else "pass", "externalId": f"part-{number}"},
            customMetadata={"shift": ("night", "day")[number // 2 % 2], "door": number % 4},
        )  # fmt: skip
    site.put(
        case, f"{case} said", minutes=2, kind="operator_feedback",
        eventData={"relatedEventId": f"{case} 0", "feedback": "correct"},
    )  # fmt: skip
    return case


def asked(page):
    return parse_qsl(urlsplit(page.url).query)


def test_a_value_of_an_event_adds_to_the_filters_and_chips_change_and_drop_them(
    open_page, site, case
):
    page = open_page(f"{site.address}/use-cases/{case}?result=fail")
    page.locator(f"[data-event='{case} 1'] a").click()
    page.get_by_role("link", name="night", exact=True).click()
    assert ids_of(page) == [f"{case} 0", f"{case} 1"]
    page.locator(f"[data-event='{case} 1'] a").click()
    page.get_by_role("link", name="cam-1").click()
    assert ids_of(page) == [f"{case} 1"]
    shift = [("meta_key", "shift"), ("meta_is", "eq"), ("meta_value", "night")]
    assert asked(page) == [("device", "cam-1"), ("result", "fail"), *shift]

    # Each chip leads to its field, wherever it is.
    page.get_by_role("link", name="shift: night", exact=True).click()
    field = page.locator("#f-meta-1")
    expect(field).to_be_focused()
    field.fill("day")
    with page.expect_navigation():  # the page before shows one event too
        field.press("Enter")
    expect(page.locator(".tile")).to_have_count(1)
    assert ids_of(page) == [f"{case} 3"]
    page.get_by_role("link", name="Device: cam-1", exact=True).click()
    expect(page.get_by_label("Device", exact=True)).to_be_focused()

    page.get_by_role("link", name="Remove shift: day").click()
    assert ids_of(page) == [f"{case} 1", f"{case} 3"]
    page.get_by_role("link", name="Remove Device: cam-1").click()
    assert asked(page) == [("result", "fail")]


@pytest.mark.parametrize("has_scripts", [True, False])
def test_a_period_stays_as_exact_as_it_was_when_another_filter_is_set(
    open_page, site, case, has_scripts
):
    minute = site.now.replace(second=0, microsecond=0) - timedelta(hours=1)
    moment = minute + timedelta(seconds=30)
    lot = {"lot": " 7 "}
    site.put(
        case, f"{case} then", timestamp=moment.isoformat(), deviceId="cam-7", customMetadata=lot
    )  # fmt: skip
    period = f"start={minute:%Y-%m-%dT%H:%M}:07.000001Z&end={minute:%Y-%m-%dT%H:%M}:59.999999Z"
    page = open_page(f"{site.address}/events/{case} then?{period}", java_script_enabled=has_scripts)
    page.locator("dl.facts a", has_text="7").last.click()
    assert ids_of(page) == [f"{case} then"], "the value's own spaces are part of it"

    page.locator("[data-filters] summary").click()
    typed = page.get_by_label("Device", exact=True)
    typed.fill("cam-7 " if has_scripts else "cam-7")  # as a phone's keyboard ends a word
    typed.press("Enter")

    expect(page.locator(".chips")).to_contain_text("cam-7")
    expect(page.locator(".chips")).to_contain_text("lot: “ 7 ”")
    assert ids_of(page) == [f"{case} then"]
    assert [(name, value) for name, value in asked(page) if name in ("start", "end")] == parse_qsl(
        period
    )
    assert not [name for name, _ in asked(page) if name.endswith("_was")]


def test_chips_lead_to_their_fields_without_scripts(open_page, site, case):
    page = open_page(f"{site.address}/use-cases/{case}?device=cam-1", java_script_enabled=False)
    page.get_by_role("link", name="Device: cam-1", exact=True).click()

    expect(page.get_by_label("Device", exact=True)).to_be_in_viewport()
    page.get_by_role("link", name="Remove Device: cam-1").click()
    assert asked(page) == []


def test_feedback_leaves_the_grid_by_a_switch(open_page, site, case):
    page = open_page(f"{site.address}/use-cases/{case}?picture=output")
    assert ids_of(page)[0] == f"{case} said"

    page.get_by_role("link", name="Hide feedback").click()
    assert ids_of(page) == [f"{case} {number}" for number in range(8)]
    expect(page.locator("[data-count]").first).to_have_text("8 events")
    page.locator(f"[data-event='{case} 0'] a").click()
    expect(page.get_by_role("link", name="Newer event")).to_have_count(0)
    page.go_back()
    page.get_by_role("link", name="Show feedback").click()
    assert ids_of(page)[0] == f"{case} said"
    assert asked(page) == [("picture", "output")]


def test_values_are_suggested_while_somebody_types(open_page, site, case):
    page = open_page(f"{site.address}/use-cases/{case}")
    page.locator("[data-filters] summary").click()
    options = page.locator("#l-values option")
    page.get_by_label("Metadata key").first.fill("shift")
    page.get_by_label("Metadata value").first.focus()
    expect(options).to_have_count(2)
    assert options.evaluate_all("all => all.map(one => one.value)") == ["day", "night"]
    page.get_by_label("Metadata value").first.fill("n")
    expect(options).to_have_count(1)

    # Another row, which was added, has its own key's values.
    page.get_by_label("Metadata key").nth(1).fill("door")
    page.get_by_label("Metadata value").nth(1).focus()
    expect(options).to_have_count(4)
    assert options.evaluate_all("all => all.map(one => one.value)") == ["0", "1", "2", "3"]
    page.get_by_label("External id", exact=True).fill("part-3")
    expect(page.locator("#l-external option")).to_have_count(1)

    # Whoever goes on to the next field at once gets its values.
    requests = []
    page.on("request", lambda request: requests.append(urlsplit(request.url)))
    page.evaluate(
        """([left, next]) => {
            left.dispatchEvent(new Event("input", { bubbles: true }));
            next.focus();
        }""",
        [
            page.get_by_label("External id", exact=True).element_handle(),
            page.get_by_label("Metadata value").nth(1).element_handle(),
        ],
    )
    page.wait_for_timeout(400)  # a question waits 150 ms for the next letter
    assert [it.query for it in requests if it.path.endswith("/values")] == ["key=door&start="]
