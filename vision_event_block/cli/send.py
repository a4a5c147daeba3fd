"""`vision-events send`: a test event, straight to the API or through the outbox."""

from __future__ import annotations

import mimetypes
from datetime import datetime, timezone
from functools import partial
from pathlib import Path  # noqa: TC003 -- typer reads annotations
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from vision_event_block.cli.options import (
    USAGE,
    OutboxOption,
    api_client,
    api_url,
    fail,
    folder_of,
    opened,
    patiently,
    required_key,
)
from vision_event_block.redaction import printable

if TYPE_CHECKING:
    from vision_event_block.events.event import VisionEvent


def send(
    *,
    use_case: Annotated[
        str, typer.Option("--use-case", help="Id of the event's use case.", show_default=False)
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
            help="Store the event like the block does; a running host sends it, or the next one, "
            "or vision-events drain.",
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
        fail(f"{image} is no JPEG, as pictures in the outbox are.", USAGE)
    event = _event(use_case, content, media_type)
    if through_outbox:
        _store(event, folder_of(outbox))
        said = "Stored; a running host sends it, or vision-events drain:"
    else:
        _create(event)
        said = "Delivered:"
    typer.echo(said, err=True)
    typer.echo(event.event_id)


def _event(use_case_id: str, picture: bytes | None, media_type: str) -> VisionEvent:
    from vision_event_block.events.event import EventImage, VisionEvent  # noqa: PLC0415 -- numpy
    from vision_event_block.events.images import Picture  # noqa: PLC0415

    images: tuple[EventImage, ...] = ()
    if picture is not None:
        shown = Picture(content=picture, media_type=media_type)
        images = (EventImage(label="workflow", input=shown),)
    return VisionEvent(
        event_type="custom",
        use_case_id=use_case_id,
        timestamp=datetime.now(timezone.utc),
        event_data={"value": "A test event of vision-events send"},
        images=images,
    )


def _store(event: VisionEvent, folder: Path) -> None:
    from vision_event_block.delivery.destinations import API  # noqa: PLC0415
    from vision_event_block.events.bundle import bundle_of  # noqa: PLC0415
    from vision_event_block.outbox import clock  # noqa: PLC0415
    from vision_event_block.outbox.entry import Address, DeliveryMetadata  # noqa: PLC0415
    from vision_event_block.outbox.key_salt import key_salt  # noqa: PLC0415
    from vision_event_block.outbox.quota import NoRoom  # noqa: PLC0415

    bundle, key = bundle_of(event), required_key()
    with opened(folder) as own:  # makes it, as the block does
        address = Address(API, api_url(), key.identity(key_salt(folder)))
        metadata = DeliveryMetadata(address, clock.reading())
        try:
            own.store(event.event_id, bundle.payload, bundle.pictures, metadata)
        except (OSError, NoRoom) as error:
            fail(f"The event cannot be stored: {error}")


def _create(event: VisionEvent) -> None:
    from vision_event_block.delivery.errors import VisionEventsError  # noqa: PLC0415
    from vision_event_block.events.bundle import bundle_of, create_body  # noqa: PLC0415

    bundle, source_ids = bundle_of(event), dict[str, str]()
    with api_client() as client:
        try:
            for member, picture in zip(bundle.pictures, event.encoded_pictures, strict=True):
                upload = partial(
                    client.upload, picture.content, file_name=member, media_type=picture.media_type
                )
                source_ids[member] = patiently(upload).source_id
            body: dict[str, Any] = create_body(bundle.payload, source_ids)
            reply = patiently(lambda: client.create(body))
        except VisionEventsError as error:
            fail(f"{error}")
    for remark in reply.remarks:
        typer.echo(printable(f"The API warns: {remark}"), err=True)
