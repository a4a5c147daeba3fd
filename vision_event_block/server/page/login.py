"""Signing in to the page and out of it, where keys are in force."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from vision_event_block.logs import QuietLog
from vision_event_block.server.api.dependencies import Form  # noqa: TC001 -- read at run time
from vision_event_block.server.auth import SESSION_COOKIE, admission_of, client_address
from vision_event_block.server.page.rendering import keep_cookie, rendered
from vision_event_block.server.store.sessions import SESSION_LIFETIME_S

if TYPE_CHECKING:
    from vision_event_block.server.login_limit import LoginLimit

#: The delay before a wrong key is answered.
FAILED_DELAY_S: Final = 0.5

_log = QuietLog(logging.getLogger(__name__))

router = APIRouter()


@router.get("/login")
def login(
    request: Request,
    next: str = "/",  # noqa: A002 -- in the address
    failed: str = "",
    unsaved: str = "",
) -> Response:
    target = local_target(next)
    if not admission_of(request).in_force:
        return RedirectResponse(target, 303)
    error = "This is not a key of this server." if failed else None
    if unsaved:
        error = "You were signed out, so nothing was saved. Sign in and try again."
    return rendered(request, "login.html", status=401 if failed else 200, next=target, error=error)


@router.post("/login")
async def log_in(request: Request, form: Form) -> Response:
    """Exchanges a key for a session, and redirects to where the visitor wanted to go."""
    key, wanted = form.get("key"), form.get("next")
    target = local_target(wanted if isinstance(wanted, str) else "/")
    admission = admission_of(request)
    if not await run_in_threadpool(lambda: admission.in_force):
        return RedirectResponse(target, 303)
    limit: LoginLimit = request.app.state.login_limit
    address = client_address(request)
    wait_s = limit.admit(address)  # counted before the key is checked: attempts may be simultaneous
    if wait_s > 0:
        _log.say(
            logging.WARNING,
            ("too many", address),
            f"too many logins with wrong keys from {address}",
        )
        error = f"Too many attempts. Wait {wait_s} s before the next one."
        page = await run_in_threadpool(
            rendered, request, "login.html", status=429, next=target, error=error
        )
        page.headers["Retry-After"] = str(wait_s)
        return page
    session = None
    if isinstance(key, str):
        session = await run_in_threadpool(admission.open_session, key.strip())
    if session is None:
        _log.say(logging.WARNING, ("wrong", address), f"a login with a wrong key from {address}")
        await asyncio.sleep(FAILED_DELAY_S)
        return RedirectResponse(f"/login?failed=1&next={quote(target)}", 303)
    limit.forgive(address)
    response = RedirectResponse(target, 303)
    keep_cookie(request, response, SESSION_COOKIE, session, SESSION_LIFETIME_S)
    return response


@router.post("/logout")
def log_out(request: Request) -> RedirectResponse:
    """Ends the session of this browser: a copy of its cookie is no longer valid."""
    admission_of(request).end_session(request.cookies.get(SESSION_COOKIE))
    response = RedirectResponse("/login", 303)
    response.delete_cookie(
        SESSION_COOKIE, httponly=True, samesite="strict", secure=request.url.scheme == "https"
    )
    return response


def local_target(wanted: str) -> str:
    """The address if it is a page of this server, otherwise the first page.

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
