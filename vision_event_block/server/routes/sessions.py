"""Logging in and out of the page, where keys are in force."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse

from vision_event_block.server.access import SESSION_COOKIE, keys_of
from vision_event_block.server.keys import SESSION_LIFETIME_S
from vision_event_block.server.routes.wire import Form  # noqa: TC001 -- FastAPI reads annotations

router = APIRouter(include_in_schema=False)


@router.post("/login")
def log_in(request: Request, form: Form) -> RedirectResponse:
    """Changes a key for a session, and leads back to where the visitor wanted to go."""
    key, wanted = form.get("key"), form.get("next")
    target = local_target(wanted if isinstance(wanted, str) else "/")
    keys = keys_of(request)
    if not keys.in_force:
        return RedirectResponse(target, 303)
    session = keys.open_session(key.strip()) if isinstance(key, str) else None
    if session is None:
        return RedirectResponse(f"/login?failed=1&next={quote(target)}", 303)
    response = RedirectResponse(target, 303)
    response.set_cookie(
        SESSION_COOKIE,
        session,
        max_age=SESSION_LIFETIME_S,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return response


@router.post("/logout")
def log_out() -> RedirectResponse:
    """Ends the session of this browser."""
    response = RedirectResponse("/login", 303)
    response.delete_cookie(SESSION_COOKIE, httponly=True, samesite="strict")
    return response


def local_target(wanted: str) -> str:
    """The address, if it is a page of this server; else the first page.

    >>> local_target("/use-cases/a?page=2"), local_target("//elsewhere.invalid"), local_target("x")
    ('/use-cases/a?page=2', '/', '/')
    """
    is_local = wanted.startswith("/") and not wanted.startswith(("//", "/\\"))
    try:
        parts = urlsplit(wanted)
    except ValueError:
        return "/"
    has_control = any(char <= " " for char in wanted)
    return wanted if is_local and not parts.netloc and not has_control else "/"
