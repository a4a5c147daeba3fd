"""Who asks: the key or the session of a request, as dependencies of routes."""

from __future__ import annotations

from typing import Any, Final

from fastapi import Depends, Request
from starlette.exceptions import HTTPException

from vision_event_block.server.keys import ALL_SCOPES, Keys, Scope

SESSION_COOKIE: Final = "vision_events_session"


class LoginNeeded(Exception):  # noqa: N818 -- an answer, not an error of the server
    """A browser must show a key first; the app leads it to the login page."""


def keys_of(request: Request) -> Keys:
    """The keys of the server."""
    keys: Keys = request.app.state.keys
    return keys


def needs(scope: Scope | None, *, query_key: bool = False, header_key: str | None = None) -> Any:
    """A dependency of API routes: refuses with 401 and 403 who may not do this.

    Args:
        scope: What the key must allow; None for anything.
        query_key: The key may stand in the address, as `api_key`.
        header_key: A header that may hold the key, beside the bearer.
    """

    def check(request: Request) -> None:
        keys = keys_of(request)
        if not keys.in_force:
            return  # whatever came may be a real key of another service: it is not looked at
        key = _bearer(request)
        if key is None and header_key is not None:
            key = request.headers.get(header_key)
        if key is None and query_key:
            key = request.query_params.get("api_key")
        scopes = keys.scopes_of(key) if key is not None else _session_scopes(request, keys)
        if scopes is None:
            words = "the API key is missing" if key is None else "this API key is not known here"
            raise HTTPException(401, words, headers={"WWW-Authenticate": "Bearer"})
        if scope is not None and scope not in scopes:
            raise HTTPException(403, f"this API key lacks the scope vision-events:{scope}")

    return Depends(check)


def page_needs(scope: Scope) -> Any:
    """A dependency of the page's routes: leads a browser without session to the login."""

    def check(request: Request) -> None:
        keys = keys_of(request)
        if not keys.in_force:
            return
        scopes = _session_scopes(request, keys)
        if scopes is None:
            raise LoginNeeded
        if scope not in scopes:
            raise HTTPException(403, f"your key lacks the scope vision-events:{scope}")

    return Depends(check)


def scopes_of_visitor(request: Request) -> frozenset[Scope]:
    """What the page may offer to whoever looks at it."""
    keys = keys_of(request)
    return (_session_scopes(request, keys) or frozenset()) if keys.in_force else ALL_SCOPES


def _session_scopes(request: Request, keys: Keys) -> frozenset[Scope] | None:
    return keys.scopes_of_session(request.cookies.get(SESSION_COOKIE))


def _bearer(request: Request) -> str | None:
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" and key.strip() else None
