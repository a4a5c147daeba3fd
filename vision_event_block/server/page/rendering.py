"""The templates and their filters. Everything that comes from an event is escaped."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse

from vision_event_block import __version__
from vision_event_block.server.auth import SESSION_COOKIE, admission_of, scopes_of_visitor
from vision_event_block.server.page import formatting
from vision_event_block.server.page.zones import server_zone_name, zone_of
from vision_event_block.server.store.timestamps import iso_milliseconds, utc_now

if TYPE_CHECKING:
    from datetime import datetime

    from fastapi import Request
    from starlette.responses import Response

THEME_COOKIE: Final = "theme"


class Theme(NamedTuple):
    """A choice of colours, and when the dark ones apply."""

    name: str
    media: str


#: Dark colours are never used in print.
THEMES: Final = {
    "auto": Theme("Auto", "screen and (prefers-color-scheme: dark)"),
    "light": Theme("Light", "not all"),
    "dark": Theme("Dark", "screen"),
}


def rendered(
    request: Request, template: str, *, status: int | None = None, **values: Any
) -> HTMLResponse:
    """A page. `problem` says what was wrong with the request, `notice` what was done.

    Without a `status` it is 400 if there was a problem, otherwise 200.
    """
    has_session = admission_of(request).in_force and SESSION_COOKIE in request.cookies
    relay = request.app.state.sink.forwarding
    is_told = relay is not None and "read" in scopes_of_visitor(request)
    theme = request.cookies.get(THEME_COOKIE)
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    values = {
        "theme": theme if theme in THEMES else "auto",
        "themes": THEMES,
        "here_again": here if request.method == "GET" else "/",
        "problem": None,
        "notice": None,
        # Not shown before signing in.
        "version": __version__ if scopes_of_visitor(request) else None,
        "has_session": has_session,
        "forwarding": relay.summary() if is_told else None,
        "zone": zone_of(request),
        "server_zone": server_zone_name(),
        "now": utc_now(),
        **values,
    }
    status = status or (400 if values["problem"] else 200)
    return HTMLResponse(_environment().get_template(template).render(values), status)


def missing(request: Request, what: str, advice: str, *, status: int = 404) -> HTMLResponse:
    """A page that says what is missing, or why something failed."""
    return rendered(request, "missing.html", status=status, words=what, advice=advice, back="/")


def refused(request: Request, problem: str, back: str = "/") -> HTMLResponse:
    """A page that says why a form was refused, without showing anything that is stored.

    Visitors who may write but not read get no link back, because they may not see the page that
    holds the form.
    """
    advice = "Nothing was changed."
    back = back if "read" in scopes_of_visitor(request) else "/"
    return rendered(request, "missing.html", status=400, words=problem, advice=advice, back=back)


def step(text: str) -> str:
    return quote(text, safe="")


def use_case_address(use_case_id: str, query: str = "", path: str = "") -> str:
    return f"/use-cases/{step(use_case_id)}{path}" + (f"?{query}" if query else "")


def event_address(event_id: str, query: str = "") -> str:
    return f"/events/{step(event_id)}" + (f"?{query}" if query else "")


def keep_cookie(
    request: Request, response: Response, name: str, value: str, max_age_s: int
) -> None:
    """Sets a cookie that scripts and other sites cannot read."""
    is_secure = request.url.scheme == "https"
    response.set_cookie(
        name, value, max_age=max_age_s, httponly=True, samesite="strict", secure=is_secure
    )


def picture_address(picture_id: str, side_px: int | None = None) -> str:
    """The address of a picture, or of its thumbnail."""
    side = "" if side_px is None else f"?side={side_px}"
    return f"/vision-events/pictures/{step(picture_id)}{side}"


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["static"] = lambda name: f"/static/{name}"
    environment.filters |= {
        "ago": _ago,
        "count": formatting.count,
        "feedback_tone": formatting.feedback_tone,
        "iso": iso_milliseconds,
        "size": formatting.size,
        "step": step,
        "type_name": lambda name: formatting.TYPE_NAMES.get(name, name),
    }
    return environment


def _ago(moment: datetime) -> str:
    return formatting.ago(moment, utc_now())
