"""Who a client is and what it may do: keys and sessions, and the route dependencies for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fastapi import Depends, Request
from starlette.exceptions import HTTPException

from vision_event_block.redaction import printable
from vision_event_block.server.keys import ALL_SCOPES, FORBIDDEN, Scope

if TYPE_CHECKING:
    from vision_event_block.server.keys import Holder, Keys
    from vision_event_block.server.store.sessions import Sessions
    from vision_event_block.server.store.stored_keys import StoredKeys

SESSION_COOKIE: Final = "vision_events_session"


class LoginNeeded(Exception):  # noqa: N818 -- an answer, not an error of the server
    """A browser must log in with a key first; the app redirects it to the login page."""


class Admission:
    """The keys that the server was started with, those in its database, and sessions of both."""

    def __init__(
        self, keys: Keys, stored_keys: StoredKeys, sessions: Sessions, *, always: bool = False
    ) -> None:
        """With `always`, a key is needed even if none exists."""
        self._keys = keys
        self._stored_keys = stored_keys
        self._sessions = sessions
        self._always = always

    @property
    def in_force(self) -> bool:
        """Whether requests need a key. As long as no key exists, nobody needs one."""
        return self._always or self._keys.in_force or self._stored_keys.in_force

    def scopes_of(self, key: str | None) -> frozenset[Scope] | None:
        """What the holder of this key may do; None if the key is unknown."""
        if not self.in_force:
            return ALL_SCOPES
        found = self._holder(key)
        return None if found is None else found.scopes

    def open_session(self, key: str) -> str | None:
        """A session for the browser to keep instead of the key; None if the key is unknown."""
        found = self._holder(key)
        return None if found is None else self._sessions.open(found.key_id)

    def scopes_of_session(self, session: str | None) -> frozenset[Scope] | None:
        """What the holder of this session may do; None if it or its key is no longer valid."""
        key_id = self._sessions.key_id_of(session)
        if key_id is None:
            return None
        scopes = self._keys.scopes_of_id(key_id, self._sessions.salt)
        return scopes if scopes is not None else self._stored_keys.scopes_of_id(key_id)

    def end_session(self, session: str | None) -> None:
        self._sessions.end(session)

    def _holder(self, key: str | None) -> Holder | None:
        salt = self._sessions.salt if self._keys.in_force else b""
        found = self._keys.holder(key, salt)
        return found if found is not None else self._stored_keys.holder(key)


def admission_of(request: Request) -> Admission:
    admission: Admission = request.app.state.admission
    return admission


def needs(scope: Scope | None, *, query_key: bool = False, header_key: str | None = None) -> Any:
    """A dependency of API routes: refuses clients that lack this scope, with 401 or 403.

    Args:
        scope: What the key must allow; None for any key.
        query_key: Whether the key may be in the query, as `api_key`.
        header_key: A header that may hold the key, in addition to the bearer token.
    """

    def check(request: Request) -> None:
        admission = admission_of(request)
        if not admission.in_force:
            return  # what was sent may be a real key of another service: do not look at it
        key = _bearer(request)
        if key is None and header_key is not None:
            key = request.headers.get(header_key)
        if key is None and query_key:
            key = request.query_params.get("api_key")
        scopes = _session_scopes(request) if key is None else admission.scopes_of(key)
        if scopes is None:
            words = "the API key is missing" if key is None else "this API key is not known here"
            raise HTTPException(401, words, headers={"WWW-Authenticate": "Bearer"})
        if scope is not None and scope not in scopes:
            lacking = f'Bearer error="insufficient_scope", scope="vision-events:{scope}"'
            raise HTTPException(403, FORBIDDEN, headers={"WWW-Authenticate": lacking})

    return Depends(check)


def page_needs(scope: Scope) -> Any:
    """A dependency of the page's routes: redirects a browser without a session to the login."""

    def check(request: Request) -> None:
        if not admission_of(request).in_force:
            return
        scopes = _session_scopes(request)
        if scopes is None:
            raise LoginNeeded
        if scope not in scopes:
            raise HTTPException(403, f"your key lacks the scope vision-events:{scope}")

    return Depends(check)


def scopes_of_visitor(request: Request) -> frozenset[Scope]:
    """What the page may offer to its viewer."""
    if not admission_of(request).in_force:
        return ALL_SCOPES
    return _session_scopes(request) or frozenset()


def client_address(request: Request) -> str:
    """The client's network address, as given by a trusted proxy if there is one."""
    return printable(request.client.host) if request.client is not None else "an unknown address"


def _session_scopes(request: Request) -> frozenset[Scope] | None:
    return admission_of(request).scopes_of_session(request.cookies.get(SESSION_COOKIE))


def _bearer(request: Request) -> str | None:
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" and key.strip() else None
