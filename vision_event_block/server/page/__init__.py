"""The web page: use cases, their events with what was seen drawn over the pictures, charts, files.

Written by the server and readable without scripts; a few small modules add what needs them.
"""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from vision_event_block.server.page import (
    deletion_page,
    event_page,
    forwarding_page,
    index,
    login,
    use_case_page,
)
from vision_event_block.server.page.rendering import missing

__all__ = ["not_found", "router"]

#: Asked for each time, so that a page and its scripts are always of one version.
_CACHING: Final = "no-cache"

router = APIRouter(include_in_schema=False)
_files = StaticFiles(packages=[(__name__, "static")])


@router.get("/static/{path:path}")
async def static(request: Request, path: str) -> Response:
    """Style sheets, scripts and icons."""
    response = await _files.get_response(path, request.scope)
    response.headers["Cache-Control"] = _CACHING
    return response


def not_found(request: Request) -> Response:
    """What a reader sees at an address that leads nowhere."""
    return missing(request, "There is no such page", "Perhaps the address was cut.")


@router.get("/favicon.ico")
def favicon() -> Response:
    """For those who do not read where the icon is."""
    return RedirectResponse("/static/favicon.svg", 308)


for _part in (login, index, deletion_page, use_case_page, event_page, forwarding_page):
    router.include_router(_part.router)
