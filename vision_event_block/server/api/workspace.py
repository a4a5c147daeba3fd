"""What the official SDK asks for before it sends events, and the server's health and metrics."""

from __future__ import annotations

from fastapi import APIRouter, Request
from prometheus_client.exposition import choose_encoder
from starlette.responses import JSONResponse, Response

from vision_event_block import __version__
from vision_event_block.server.api import replies
from vision_event_block.server.api.dependencies import answers
from vision_event_block.server.api.use_cases import WORKSPACE
from vision_event_block.server.auth import needs

router = APIRouter(tags=["workspace"])


@router.get("/health", responses={200: {"model": replies.Health}})
async def health() -> JSONResponse:
    """The server is up. Needs no key."""
    return JSONResponse({"status": "ok", "version": __version__})


@router.get("/metrics", include_in_schema=False, dependencies=[needs("read")])
def metrics(request: Request) -> Response:
    """Metrics for Prometheus, in the format that it asks for."""
    encode, media_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(request.app.state.metrics.registry), media_type=media_type)


@router.post(
    "/",
    dependencies=[needs(None, query_key=True)],
    responses=answers(200, replies.Workspace),
)
def check_key() -> JSONResponse:
    """The workspace of an API key. The official SDK asks for it first."""
    return JSONResponse({"workspace": WORKSPACE})


@router.get(
    f"/{WORKSPACE}",
    dependencies=[needs(None, query_key=True)],
    responses=answers(200, replies.Workspace),
)
def workspace() -> JSONResponse:
    """The workspace itself, which has no projects here."""
    about = {"name": WORKSPACE, "url": WORKSPACE, "projects": [], "members": 1}
    return JSONResponse({"workspace": about})
