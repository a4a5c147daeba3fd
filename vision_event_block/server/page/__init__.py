"""The web page: use cases, their events with what was seen drawn over the pictures, charts, files.

Written by the server and readable without scripts; a few small modules add what needs them.
"""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from vision_event_block.server.access import keys_of
from vision_event_block.server.page import browse, detail, forwarding, index
from vision_event_block.server.page.rendering import rendered
from vision_event_block.server.routes.sessions import local_target

__all__ = ["router"]

#: Asked anew each time, so that a page and its scripts are always of one version.
_CACHING: Final = "no-cache"

router = APIRouter(include_in_schema=False)
_files = StaticFiles(packages=[(__name__, "static")])


@router.get("/static/{path:path}")
async def static(request: Request, path: str) -> Response:
    """Style sheets, scripts and icons."""
    response = await _files.get_response(path, request.scope)
    response.headers["Cache-Control"] = _CACHING
    return response


@router.get("/favicon.ico")
def favicon() -> Response:
    """For those who do not read where the icon is."""
    return RedirectResponse("/static/favicon.svg", 308)


@router.get("/login")
def login(request: Request, next: str = "/", failed: str = "") -> Response:  # noqa: A002 -- in the address
    """Asks for a key, where one is needed."""
    target = local_target(next)
    if not keys_of(request).in_force:
        return RedirectResponse(target, 303)
    error = "This is no key of this server." if failed else None
    return rendered(request, "login.html", status=401 if failed else 200, next=target, error=error)


for _part in (index, browse, detail, forwarding):
    router.include_router(_part.router)
