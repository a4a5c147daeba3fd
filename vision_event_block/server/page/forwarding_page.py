"""How the forwarding goes: what waits, what was refused and why."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response  # noqa: TC002 -- read at run time

from vision_event_block.server.api.dependencies import IntakeOf  # noqa: TC001 -- read at run time
from vision_event_block.server.auth import page_needs
from vision_event_block.server.page.rendering import missing, rendered

#: What a state of the link means to a reader.
STATES: Final = {
    "open": "works",
    "down": "does not answer; events wait",
    "key refused": "refuses the key; events wait until it is mended",
}

router = APIRouter(dependencies=[page_needs("read")])


@router.get("/forwarding")
def forwarding(request: Request, intake: IntakeOf) -> Response:
    """The account of everything that was taken on."""
    if intake.forwarding is None:
        return missing(
            request,
            "This server forwards nothing",
            "Started with --forward-to, it sends its events on to another one.",
        )
    account = intake.forwarding.account()
    return rendered(
        request,
        "forwarding.html",
        account=account,
        forwarding=account.glance,
        state=STATES.get(account.state, account.state),
    )
