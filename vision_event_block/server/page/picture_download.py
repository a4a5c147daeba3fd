"""One picture of an event as a file whose name says where and when it was taken."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import Response

from vision_event_block.contract.names import SOURCE_IDS
from vision_event_block.server.api.dependencies import StoreOf, in_turn
from vision_event_block.server.auth import page_needs
from vision_event_block.server.page.rendering import event_address, missing
from vision_event_block.server.page.tiles import Which  # noqa: TC001 -- FastAPI reads annotations

if TYPE_CHECKING:
    from vision_event_block.server.storage import Store
    from vision_event_block.server.store.records import StoredEvent

#: For the use case and the stream each, so that the whole name stays below file systems' limits.
_MAX_PART_CHARS: Final = 40
_ID_CHARS: Final = 8

router = APIRouter()


@router.get(
    "/events/{event_id:path}/pictures/{position}/{which}", dependencies=[page_needs("read")]
)
async def save(
    request: Request, store: StoreOf, event_id: str, position: int, which: Which
) -> Response:
    return await in_turn(request, partial(_file, request, store, event_id, position, which))


def address(event_id: str, position: int, which: Which) -> str:
    return f"{event_address(event_id)}/pictures/{position}/{which}"


def file_stem(case_name: str, event: StoredEvent, position: int, which: Which) -> str:
    """Use case, time, stream (otherwise device), and the beginning of the event's id.

    `Dock-pallets_2026-03-01_09-15-27Z_north_5b0a3a52`
    """
    source = event.body.get("streamId") or event.body.get("deviceId")
    parts = [
        _part(case_name),
        f"{event.timestamp:%Y-%m-%d_%H-%M-%SZ}",
        *([_part(str(source))] if source else []),
        _part(event.event_id)[:_ID_CHARS],
        *([f"image-{position + 1}"] if len(event.body.get("images") or ()) > 1 else []),
        *(["output"] if which == "output" else []),
    ]
    return "_".join(part for part in parts if part)


def _file(request: Request, store: Store, event_id: str, position: int, which: Which) -> Response:
    found = store.get(event_id)
    case = None if found is None else store.use_cases.get(found.use_case_id)
    images = [] if found is None else found.body.get("images") or []
    picture_id = (
        images[position].get(getattr(SOURCE_IDS, which)) if 0 <= position < len(images) else None
    )
    taken = None if picture_id is None else store.pictures.read(picture_id)
    if found is None or case is None or taken is None:
        return missing(request, "There is no such picture", "It may have been deleted.")
    file, content = taken
    name = f"{file_stem(case.name, found, position, which)}.{file.name.rpartition('.')[2]}"
    return Response(
        content,
        media_type=file.media_type,
        headers={"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}"},
    )


def _part(text: str) -> str:
    """The text for a file name: letters and digits of any script, hyphens for all else."""
    words = "".join(char if char.isalnum() else " " for char in text).split()
    return "-".join(words)[:_MAX_PART_CHARS].strip("-")
