"""How the forwarding goes: what waits, what was refused and why."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response  # noqa: TC002 -- read at run time

from vision_event_block.server.api.dependencies import EventSinkOf  # noqa: TC001 -- read at run time
from vision_event_block.server.auth import page_needs
from vision_event_block.server.page.rendering import missing, rendered

router = APIRouter(dependencies=[page_needs("read")])


@router.get("/forwarding")
def forwarding(request: Request, sink: EventSinkOf) -> Response:
    if sink.forwarding is None:
        return missing(
            request,
            "This server forwards nothing",
            "Started with --forward-to, it sends its events on to another one.",
        )
    report = sink.forwarding.report()
    return rendered(
        request,
        "forwarding.html",
        report=report,
        forwarding=report.summary,
    )
