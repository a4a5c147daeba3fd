"""The time zone that a reader has chosen: it applies to all times, days and charts of the page.

The browser keeps the choice in a cookie, with the name of its own zone; the server reads it.
Visitors without a cookie or without scripts see UTC.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import datetime, timezone, tzinfo
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import unquote
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from fastapi import Request

#: Holds `UTC`, `server`, or `local:` with the name of the browser's zone.
COOKIE: Final = "zone"
_NAME: Final = re.compile(r"[A-Za-z0-9_+-]{1,32}(?:/[A-Za-z0-9_+-]{1,32}){0,2}")
_LOCAL: Final = "local:"
_LOCALTIME: Final = Path("/etc/localtime")

Choice = Literal["local", "UTC", "server"]


@dataclass(frozen=True)
class Zone:
    """A zone, and how times in it are written."""

    choice: Choice
    name: str
    info: tzinfo

    def full(self, moment: datetime) -> str:
        """The time in full.

        >>> UTC.full(datetime(2026, 3, 1, 9, 15, 27, tzinfo=timezone.utc))
        '1 Mar 2026, 09:15:27 UTC'
        """
        moment = local_time(moment, self.info)
        return f"{moment.day} {moment:%b %Y, %H:%M:%S %Z}"

    def clock(self, moment: datetime) -> str:
        return f"{local_time(moment, self.info):%H:%M:%S}"

    def day(self, moment: datetime) -> date:
        return local_time(moment, self.info).date()

    def day_in_words(self, moment: datetime, now: datetime) -> str:
        """The day, as the heading of its events.

        >>> noon = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
        >>> UTC.day_in_words(noon, noon), UTC.day_in_words(noon, noon.replace(day=4))
        ('Today, 1 March 2026', 'Sunday, 1 March 2026')
        """
        day = self.day(moment)
        days_ago = (self.day(now) - day).days
        name = {0: "Today", 1: "Yesterday"}.get(days_ago, f"{day:%A}")
        return f"{name}, {day.day} {day:%B %Y}"


UTC: Final = Zone("UTC", "UTC", timezone.utc)
#: Used until a script has set the cookie.
_UNKNOWN: Final = Zone("local", "UTC", timezone.utc)


def local_time(moment: datetime, zone: tzinfo) -> datetime:
    """The time in a zone; unchanged at the ends of the calendar, where conversion may overflow."""
    try:
        return moment.astimezone(zone)
    except OverflowError:
        return moment


def zone_of(request: Request) -> Zone:
    chosen = unquote(request.cookies.get(COOKIE, ""))
    if chosen == "server" and (name := server_zone_name()):
        return _named("server", name) or UTC
    if chosen.startswith(_LOCAL):
        return _named("local", chosen.removeprefix(_LOCAL)) or _UNKNOWN
    return UTC if chosen == "UTC" else _UNKNOWN


@lru_cache(maxsize=1)
def server_zone_name() -> str | None:
    """The name of this machine's zone, from the environment or the system."""
    return zone_name(os.environ, _LOCALTIME)


def zone_name(environ: Mapping[str, str], localtime: Path) -> str | None:
    """The name of a machine's zone; None if it is UTC or has no name.

    Args:
        environ: The environment; `TZ` may name the zone.
        localtime: The fallback: a link into the system's zone files.
    """
    name = environ.get("TZ", "").lstrip(":")
    if not name:
        name = os.path.realpath(localtime).rpartition("zoneinfo/")[2]
    zone = _named("server", name)
    return None if zone is None or name.rpartition("/")[2] in ("UTC", "UCT", "Zulu") else name


def _named(choice: Choice, name: str) -> Zone | None:
    if not _NAME.fullmatch(name):
        return None
    try:
        return Zone(choice, name, ZoneInfo(name))
    except (KeyError, ValueError, OSError):  # an unknown name, not a zone file, or a folder
        return None
