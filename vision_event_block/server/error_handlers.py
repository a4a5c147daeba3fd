"""All errors answered in one format, wherever they were raised."""

from __future__ import annotations

import errno
import logging
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, RedirectResponse

from vision_event_block.logs import QuietLog
from vision_event_block.server.api.ingest import RequestRefused
from vision_event_block.server.auth import LoginNeeded
from vision_event_block.server.middleware.request_watch import REFUSAL
from vision_event_block.server.middleware.security import error_body
from vision_event_block.server.store.errors import (
    Busy,
    LimitReached,
    NoSuchUseCase,
    StorageDown,
    StoreError,
    TooManyIdle,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fastapi import FastAPI, Request
    from starlette.responses import Response

_DISK_IS_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})

log = logging.getLogger(__name__)
_log = QuietLog(log)


def add_error_handlers(app: FastAPI, page: Callable[[Request, int, str], Response]) -> None:
    """Turns what routes raise into answers; `page` renders them for people in a browser."""

    def answer(request: Request, error: Exception) -> Response:
        verdict = next(_VERDICTS[kind] for kind in type(error).__mro__ if kind in _VERDICTS)
        status, words = verdict(error)
        path = request.scope["path"]
        if status == 507 and path.startswith("/v2/"):  # noqa: PLR2004 -- insufficient storage
            status = 529  # the event store's own word for it
        refusal = getattr(error, "refusal", None)
        if refusal is not None:
            setattr(request.state, REFUSAL, refusal)
        headers = getattr(error, "headers", None)
        # Without a database or disk space there is no page either.
        if (status < 500 or isinstance(error, Busy)) and _is_asked_by_a_reader(request):  # noqa: PLR2004 -- of the server
            answered = page(request, status, words)
            answered.headers.update(headers or {})
            return answered
        return JSONResponse(error_body(path, words), status, headers=headers)

    def lead_to_login(request: Request, _: Exception) -> Response:
        base = str(request.base_url)
        if request.method in ("GET", "HEAD"):
            address, unsaved = str(request.url), ""
        else:  # a form that came too late leads back to its page: it has no page of its own
            address, unsaved = request.headers.get("referer", base), "unsaved=1&"
        wanted = address[len(base) - 1 :] if address.startswith(base) else "/"
        return RedirectResponse(f"/login?{unsaved}next={quote(wanted, safe='/')}", 303)

    for kind in _VERDICTS:
        app.add_exception_handler(kind, answer)
    app.add_exception_handler(LoginNeeded, lead_to_login)


def _is_asked_by_a_reader(request: Request) -> bool:
    """Whether a browser is to show it: programs accept anything, or JSON."""
    return "text/html" in request.headers.get("accept", "")


def _invalid(error: RequestValidationError) -> tuple[int, str]:
    return 400, "; ".join(f"{found['loc'][-1]}: {found['msg']}" for found in error.errors())


def _no_database(error: OperationalError) -> tuple[int, str]:
    log.error("the database does not answer: %s", error.orig)
    return 503, "the database cannot be reached, or is full"


def _disk(error: OSError) -> tuple[int, str]:
    if error.errno not in _DISK_IS_FULL:
        raise error
    log.error("no space left on the disk: %s", error)
    return 507, "the server's disk is full"


def _limit_reached(error: LimitReached) -> tuple[int, str]:
    _log.say(logging.ERROR, "no room", f"refused: {error}")
    return 507, str(error)


#: Status and sentence by the exception; the closest ancestor counts.
_VERDICTS: Final[Mapping[type[Exception], Callable[[Any], tuple[int, str]]]] = {
    RequestRefused: lambda error: (error.status, error.words),
    StoreError: lambda error: (400, str(error)),
    NoSuchUseCase: lambda error: (404, str(error)),
    LimitReached: _limit_reached,
    TooManyIdle: lambda error: (503, str(error)),
    StorageDown: lambda _: (503, "the picture storage cannot be reached"),
    Busy: lambda error: (503, str(error)),
    HTTPException: lambda error: (error.status_code, str(error.detail)),
    RequestValidationError: _invalid,
    ClientDisconnect: lambda _: (400, "the body was cut off"),  # nobody reads it
    OperationalError: _no_database,
    OSError: _disk,
}
