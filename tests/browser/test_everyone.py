"""The page for every eye and every screen."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import BOX, KEY, opened_everything


def signed_in(page):
    page.get_by_label("API key").fill(KEY)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="No use case yet")).to_be_visible()


def mistyped(page):
    page.get_by_label("API key").fill("not-this-one")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_be_visible()


def selecting(page):
    page.locator(".tile a").first.focus()
    page.keyboard.press("x")
    expect(page.get_by_role("button", name="Delete 1 event…")).to_be_visible()


def deleting(page):
    page.get_by_role("button", name="Delete…").click()
    expect(page.get_by_role("button", name="Delete 1 event")).to_be_visible()


def looking_up_keys(page):
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()


def as_it_is(_page):
    pass


#: Each page in each of its states: its address, and what a reader does there.
STATES = {
    "login": ("{locked}/login", as_it_is),
    "wrong key": ("{locked}/login", mistyped),
    "nothing yet": ("{locked}/", signed_in),
    "use cases": ("/", as_it_is),
    "archive": ("/?status=inactive", as_it_is),
    "devices": ("/devices", as_it_is),
    "grid": ("/use-cases/{line}", as_it_is),
    "selection": ("/use-cases/{line}?type=safety_alert", selecting),
    "keys": ("/use-cases/{line}", looking_up_keys),
    "filters": ("/use-cases/{line}?device=cam-2&meta_key=a&meta_is=neq&meta_value=+b", as_it_is),
    "past": ("/use-cases/{line}?at=2020-01-01T00:00Z&feedback_events=no", as_it_is),
    "unreadable filters": ("/use-cases/{line}?range=1y", as_it_is),
    "nothing found": ("/use-cases/{line}?device=none", as_it_is),
    "no events yet": ("/use-cases/{empty}", as_it_is),
    "charts": ("/use-cases/{line}/charts", as_it_is),
    "charts split": ("/use-cases/{line}/charts?split=device", as_it_is),
    "charts by metadata": ("/use-cases/{line}/charts?split=meta:shift", as_it_is),
    "charts beside": ("/use-cases/{line}/charts?split=stream&beside=7", as_it_is),
    "event": ("/events/checked", as_it_is),
    "judged event": ("/events/alert?judged=correct&last=yes", as_it_is),
    "event without pictures": ("/events/bare", as_it_is),
    "story": ("/events/told", as_it_is),
    "deletion": ("/events/told", deleting),
    "no such event": ("/events/missing", as_it_is),
    "mistake": ("/use-cases/{line}?part=grid&shown=abc", as_it_is),
    "forwarding": ("{relay}/forwarding", as_it_is),
    "documentation": ("/docs", as_it_is),
}  # fmt: skip


@pytest.fixture(scope="module")
def addresses(site, locked_site, relay_site, line):
    """The whole address of each state's page, by its name."""
    told = site.new_use_case("A line with quite a long name, in the hall behind the other one")
    own = {"inputSourceId": site.picture(), "objectDetections": [BOX]}
    moments = [
        {"label": f"{offset:+.1f} s", "inputSourceId": site.picture(2)}
        for offset in (*range(-8, 0), *range(1, 9))
    ]
    site.put(told, "told", images=[own, *moments], customMetadata={"duration_s": 16.0})
    empty = site.new_use_case("Nothing came yet")
    places = {"line": line, "empty": empty, "locked": locked_site.address, "relay": relay_site}
    found = {name: path.format(**places) for name, (path, _) in STATES.items()}
    return {
        name: path if path.startswith("http") else site.address + path
        for name, path in found.items()
    }


@pytest.mark.expects_errors
@pytest.mark.parametrize("name", STATES)
def test_nobody_meets_a_serious_barrier_or_scrolls_sideways(open_page, addresses, axe, name, soak):
    page = open_page(addresses[name], viewport={"width": 1440, "height": 900})
    STATES[name][1](page)
    page.evaluate(axe)
    barriers = []
    for is_open in (False, True):
        if is_open:
            opened_everything(page)
        for width in (320, 390, 768, 1440):
            page.set_viewport_size({"width": width, "height": 844})
            inner = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
            if inner[0] > inner[1]:
                barriers.append(f"{inner[0]} px wide on {inner[1]}")
    # Both widths and both schemes; when there is time, each with each.
    looks = [(1440, "light"), (390, "dark")]
    for width, scheme in [*looks, *([(1440, "dark"), (390, "light")] if soak > 1 else [])]:
        page.set_viewport_size({"width": width, "height": 844})
        page.emulate_media(color_scheme=scheme)
        found = page.evaluate("axe.run({ resultTypes: ['violations'], preload: false })")
        assert found["passes"], "nothing was looked at"
        barriers += [
            f"{width} {scheme}: {one['id']}: {node['html'][:160]} {node['failureSummary']}"
            for one in found["violations"]
            if one["impact"] in ("serious", "critical")
            for node in one["nodes"]
        ]
    assert not barriers, "\n".join(barriers)


@pytest.mark.parametrize("name", ["use cases", "grid", "charts", "event"])
def test_both_colour_schemes_are_what_they_say(open_page, addresses, name):
    page = open_page(addresses[name])
    brightness = {}
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        colours = page.evaluate(
            """() => [getComputedStyle(document.body).backgroundColor,
                      getComputedStyle(document.body).color]"""
        )
        brightness[scheme] = [sum(map(int, one[4:-1].split(","))) for one in colours]

    for scheme, (ground, text) in (("light", (light, dark)), ("dark", (dark, light))):
        assert ground(brightness[scheme][0]), scheme
        assert text(brightness[scheme][1]), scheme


def light(brightness):
    return brightness > 600


def dark(brightness):
    return brightness < 150
