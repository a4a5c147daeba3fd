"""`vision-events send`: a test event, straight to the API or through the outbox."""

from __future__ import annotations

import mimetypes
from datetime import datetime, timezone
from functools import partial
from pathlib import Path  # noqa: TC003 -- typer reads annotations
from typing import TYPE_CHECKING, Annotated, Any, Optional
from uuid import uuid4

import typer

from vision_event_block.cli.options import (
    USAGE,
    OutboxOption,
    api_client,
    api_destination,
    fail,
    folder_of,
    not_empty,
    opened,
    patiently,
    required_key,
)
from vision_event_block.contract.names import FORMAT_VERSION, FORMAT_VERSION_KEY, MEMBERS
from vision_event_block.redaction import printable

if TYPE_CHECKING:
    from vision_event_block.events.bundle import Bundle


def send(
    *,
    use_case: Annotated[
        str,
        typer.Option(
            "--use-case",
            help="Id of the event's use case.",
            callback=not_empty,
            show_default=False,
        ),
    ],
    image: Annotated[
        Optional[Path],  # noqa: UP045 -- the oldest typer knows no `|`
        typer.Option(
            help="A picture for the event.", exists=True, dir_okay=False, show_default=False
        ),
    ] = None,
    through_outbox: Annotated[
        bool,
        typer.Option(
            "--through-outbox",
            help="Store the event as the block does; a running host sends it, or the next one to "
            "start, or vision-events drain.",
        ),
    ] = False,
    outbox: OutboxOption = None,
) -> None:
    """Send a test event and print its id.

    Exits with 1 if the API rejects it or cannot be reached.
    """
    required_key()
    content = None if image is None else image.read_bytes()
    media_type = "" if image is None else mimetypes.guess_type(image.name)[0] or "image/jpeg"
    if through_outbox and content is not None and not content.startswith(b"\xff\xd8"):
        fail(f"{image} is not a JPEG, as pictures in the outbox must be.", USAGE)
    bundle = _bundle(use_case, content)
    event_id = str(bundle.payload["eventId"])
    if through_outbox:
        _store(event_id, bundle, folder_of(outbox))
        said = "Stored; a running host sends it, or vision-events drain:"
    else:
        _create(bundle, media_type)
        said = "Delivered:"
    typer.echo(said, err=True)
    typer.echo(event_id)


def _bundle(use_case_id: str, picture: bytes | None) -> Bundle:
    """The event, built by hand: the block's own code for this needs an image library."""
    from vision_event_block.events.bundle import Bundle  # noqa: PLC0415

    member = f"images/{uuid4()}.jpg"
    shown = {"label": "workflow", MEMBERS.input: member}
    payload = {
        FORMAT_VERSION_KEY: FORMAT_VERSION,
        "eventId": str(uuid4()),
        "eventType": "custom",
        "useCaseId": use_case_id,
        "timestamp": datetime.now(timezone.utc).isoformat(timespec="microseconds"),
        "eventData": {"value": "A test event of vision-events send"},
        "images": [] if picture is None else [shown],
    }
    return Bundle(payload, {} if picture is None else {member: picture})


def _store(event_id: str, bundle: Bundle, folder: Path) -> None:
    from vision_event_block.outbox import clock  # noqa: PLC0415
    from vision_event_block.outbox.entry import DeliveryMetadata  # noqa: PLC0415
    from vision_event_block.outbox.quota import NoRoom  # noqa: PLC0415

    with opened(folder) as own:  # creates it, as the block does
        address = api_destination(folder, required_key()).address
        metadata = DeliveryMetadata(address, clock.reading())
        try:
            own.store(event_id, bundle.payload, bundle.pictures, metadata)
        except (OSError, NoRoom) as error:
            fail(f"The event cannot be stored: {error}")


def _create(bundle: Bundle, media_type: str) -> None:
    from vision_event_block.events.bundle import create_body  # noqa: PLC0415

    source_ids: dict[str, str] = {}
    with api_client() as client:
        for member, picture in bundle.pictures.items():
            upload = partial(client.upload, picture, file_name=member, media_type=media_type)
            source_ids[member] = patiently(upload).source_id
        body: dict[str, Any] = create_body(bundle.payload, source_ids)
        reply = patiently(lambda: client.create(body))
    for remark in reply.remarks:
        typer.echo(printable(f"The API warns: {remark}"), err=True)
