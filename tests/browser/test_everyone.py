"""The page for every eye and every screen."""

from __future__ import annotations

import pytest

from tests.browser.conftest import opened_everything

PAGES = {
    "use cases": "/",
    "archive": "/?status=inactive",
    "grid": "/use-cases/{line}",
    "filters": "/use-cases/{line}?device=cam-2&range=24h&type=safety_alert",
    "past": "/use-cases/{line}?at=2020-01-01T00:00Z&feedback_events=no",
    "nothing found": "/use-cases/{line}?device=none",
    "charts": "/use-cases/{line}/charts",
    "event": "/events/checked",
    "event without pictures": "/events/bare",
    "missing": "/events/missing",
    "forwarding": "{relay}/forwarding",
}


@pytest.fixture
def address_of(site, relay_site, line):
    """A function that gives the whole address of a page by its name."""

    def address(name):
        path = PAGES[name].format(line=line, relay=relay_site)
        return path if path.startswith("http") else site.address + path

    return address


@pytest.mark.expects_errors
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_no_page_has_a_serious_barrier(open_page, address_of, axe, name, scheme):
    page = open_page(address_of(name), color_scheme=scheme)
    opened_everything(page)
    page.evaluate(axe)

    found = page.evaluate("axe.run()")

    assert found["passes"], "nothing was looked at"
    barriers = [
        f"{one['id']}: {node['html'][:160]} {node['failureSummary']}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]
    assert not barriers, "\n".join(barriers)


def test_the_login_has_no_serious_barrier(open_page, locked_site, axe):
    page = open_page(f"{locked_site.address}/login")
    page.evaluate(axe)

    found = page.evaluate("axe.run()")["violations"]

    assert not [one["id"] for one in found if one["impact"] in ("serious", "critical")]


@pytest.mark.expects_errors
@pytest.mark.parametrize("width", [320, 390, 768, 1400])
@pytest.mark.parametrize("name", PAGES)
def test_no_page_scrolls_sideways(open_page, address_of, name, width):
    page = open_page(address_of(name), viewport={"width": width, "height": 800})
    for is_open in (False, True):
        if is_open:
            opened_everything(page)
        inner = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert inner[0] <= inner[1], f"{inner[0]} px wide on {inner[1]}"


@pytest.mark.parametrize("name", ["use cases", "grid", "charts", "event"])
def test_both_colour_schemes_are_what_they_say(open_page, address_of, name):
    brightness = {}
    for scheme in ("light", "dark"):
        page = open_page(address_of(name), color_scheme=scheme)
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
