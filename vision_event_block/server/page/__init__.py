"""The web page: use cases, their events with what was seen drawn over the pictures, charts, files.

Written by the server and readable without scripts; a few small modules add what needs them.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from vision_event_block.server.api.dependencies import Form  # noqa: TC001 -- read at run time
from vision_event_block.server.page import (
    charts_page,
    deletion_page,
    event_page,
    feedback,
    index,
    login,
    picture_download,
    selection,
    use_case_page,
)
from vision_event_block.server.page.rendering import (
    THEME_COOKIE,
    THEMES,
    keep_cookie,
    missing,
    rendered,
)

__all__ = ["failed", "router"]

#: Revalidated each time, so that a page and its scripts are always of the same version.
_CACHING: Final = "no-cache"
_YEAR_S: Final = 365 * 24 * 3600
_FAILURES: Final = {
    400: "This request cannot be read",
    403: "Your key does not allow this",
    503: "The server is busy",
}

router = APIRouter(include_in_schema=False)
_files = StaticFiles(packages=[(__name__, "static")])


@router.get("/static/{path:path}")
async def static(request: Request, path: str) -> Response:
    response = await _files.get_response(path, request.scope)
    response.headers["Cache-Control"] = _CACHING
    return response


@router.post("/theme")
def theme(request: Request, form: Form) -> Response:
    """Stores the choice of colours in a cookie, so that pages use it from the start."""
    chosen, wanted = form.get("theme"), form.get("next")
    response = RedirectResponse(login.local_target(str(wanted or "/")), 303)
    if isinstance(chosen, str) and chosen in THEMES:
        keep_cookie(request, response, THEME_COOKIE, chosen, _YEAR_S)
    return response


def failed(request: Request, status: int, words: str) -> Response:
    """The error page for a failed page or form."""
    if status in (404, 405):
        return missing(
            request, "There is no such page", "The address may be incomplete.", status=status
        )
    words = f"{words[:1].upper()}{words[1:]}."
    if status == 401:  # noqa: PLR2004 -- not signed in
        # Without the query, which may hold the rejected key.
        error = f"{words} Sign in to open this address; programs send the key as a Bearer token."
        target = login.local_target(quote(request.scope["path"]))
        return rendered(request, "login.html", status=status, next=target, error=error)
    return missing(request, _FAILURES.get(status, "This cannot be done"), words, status=status)


@router.get("/favicon.ico")
def favicon() -> Response:
    """For clients that do not read the icon's address from the page."""
    return RedirectResponse("/static/favicon.svg", 308)


for _part in (
    *(login, index, deletion_page, selection, feedback, use_case_page, charts_page),
    *(picture_download, event_page),
):
    router.include_router(_part.router)
