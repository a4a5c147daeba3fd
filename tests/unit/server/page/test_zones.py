"""The zone that the reader of a page has chosen."""

from __future__ import annotations

from datetime import datetime, timezone
from types import SimpleNamespace
from urllib.parse import quote

import pytest

from vision_event_block.server.page.zones import zone_name, zone_of

SUMMER = datetime(2026, 7, 1, 22, 30, tzinfo=timezone.utc)


def zone(cookie):
    return zone_of(SimpleNamespace(cookies={} if cookie is None else {"zone": cookie}))


def test_the_browsers_zone_is_known_by_its_cookie():
    berlin = zone(quote("local:Europe/Berlin", safe=""))

    assert (berlin.choice, berlin.name) == ("local", "Europe/Berlin")
    assert berlin.full(SUMMER) == "2 Jul 2026, 00:30:00 CEST"
    assert berlin.clock(SUMMER) == "00:30:00"
    assert berlin.day_in_words(SUMMER, SUMMER) == "Today, 2 July 2026"
    assert zone("local:Asia/Calcutta").clock(SUMMER) == "04:00:00", "an older name"


@pytest.mark.parametrize(
    "cookie",
    [None, "", "UTC", "other", "local:", "local:Moon/Crater", "local:../../etc/passwd",
     "local:/etc/localtime", "local:Europe", "local:tzdata.zi", "local:\0", "local:a/b/c/d/e",
     f"local:{'x' * 300}"],
)  # fmt: skip
def test_without_a_zone_that_there_is_it_is_utc(cookie):
    assert zone(cookie).full(SUMMER) == "1 Jul 2026, 22:30:00 UTC"
    assert zone(cookie).choice == ("UTC" if cookie == "UTC" else "local")


@pytest.fixture
def localtime(tmp_path):
    link = tmp_path / "localtime"
    zones = tmp_path / "zoneinfo" / "Europe"
    zones.mkdir(parents=True)
    (zones / "Berlin").touch()
    link.symlink_to(zones / "Berlin")
    return link


def test_the_servers_zone_is_what_its_system_says(localtime, tmp_path):
    assert zone_name({}, localtime) == "Europe/Berlin"
    assert zone_name({"TZ": ":America/Lima"}, localtime) == "America/Lima"
    for environ in ({"TZ": "UTC"}, {"TZ": "Etc/UTC"}, {"TZ": "CEST-2"}):
        assert zone_name(environ, localtime) is None, "nothing to choose beside UTC"
    assert zone_name({}, tmp_path / "none") is None
