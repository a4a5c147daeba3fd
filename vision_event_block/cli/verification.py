"""`vision-events verify`: checks that the API still has what was delivered to it."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from vision_event_block.cli import formatting
from vision_event_block.cli.options import (
    DISK,
    NEEDS_HELP,
    JsonOption,
    OutboxOption,
    api_client,
    api_url,
    aside,
    fail,
    outbox_of,
    patiently,
    print_json,
    seconds_in,
)
from vision_event_block.delivery.errors import VisionEventsError
from vision_event_block.events.times import parse_time
from vision_event_block.outbox.receipts import Receipt, receipts_in
from vision_event_block.redaction import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from vision_event_block.delivery.client import VisionEventsClient
    from vision_event_block.delivery.query_replies import QueryReply

#: Events per request.
PAGE_EVENTS: Final = 1_000
#: Requests per use case: other devices may have events in the same period.
MAX_PAGES: Final = 500


class TooManyEvents(Exception):  # noqa: N818 - a state, and nobody's error
    """A query has more results than were read."""


@dataclass
class Verification:
    """What the API has of the events of some receipts."""

    complete: int = 0
    #: Not at the API.
    missing: list[Receipt] = field(default_factory=list)
    #: At the API with fewer images than were sent: how many, of how many.
    without_images: dict[str, tuple[int, int]] = field(default_factory=dict)
    #: Too old for the API to show.
    hidden: int = 0
    #: Not checked: too many other events, or the API failed.
    unchecked: int = 0


def verify(
    *,
    since: Annotated[
        str, typer.Option(help="How far back to check deliveries: 90m, 24h, 7d.")
    ] = "24h",
    outbox: OutboxOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask the API whether the events that this outbox delivered are there, with all their images.

    Uses the key and address of the environment; reads only ids and images. Exits with 1 if
    something is missing or could not be checked.
    """
    since_s = time.time() - seconds_in("--since", since)
    receipts = _receipts(outbox_of(outbox), since_s)
    found = Verification()
    bar: Any  # click's own type has a parameter that means nothing here
    stderr = typer.get_text_stream("stderr")
    with (
        api_client() as client,
        typer.progressbar(length=len(receipts), label="Checking", file=stderr) as bar,
    ):
        for use_case_id, own in _by_use_case(receipts).items():
            _check(client, use_case_id, own, found)
            bar.update(len(own))
    _say(found, len(receipts), as_json=as_json)
    if found.missing or found.without_images or found.unchecked:
        raise typer.Exit(NEEDS_HELP)


def _check(
    client: VisionEventsClient, use_case_id: str, own: Sequence[Receipt], found: Verification
) -> None:
    times = sorted(parse_time(receipt.timestamp) for receipt in own)
    query = period_query(use_case_id, times[0], times[-1])
    there: dict[str, int] = {}
    lookback_days: float | None = None
    try:
        for reply in pages(client, query):
            there |= {str(each.get("eventId")): _images_of(each) for each in reply.events}
            lookback_days = reply.lookback_days
    except TooManyEvents:
        found.unchecked += sum(receipt.event_id not in there for receipt in own)
        own = [receipt for receipt in own if receipt.event_id in there]
    except VisionEventsError as error:
        aside(f"Use case {use_case_id}: {error}")
        found.unchecked += len(own)
        return
    shown_from = None
    if lookback_days is not None:
        shown_from = datetime.now(timezone.utc) - timedelta(days=lookback_days)
    for receipt in own:
        if receipt.event_id in there:
            images = there[receipt.event_id]
            if images < receipt.images:
                found.without_images[receipt.event_id] = (images, receipt.images)
            else:
                found.complete += 1
        elif shown_from is not None and parse_time(receipt.timestamp) < shown_from:
            found.hidden += 1
        else:
            found.missing.append(receipt)


def _say(found: Verification, number: int, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "checked": number - found.unchecked - found.hidden,
                "complete": found.complete,
                "missing": [
                    {"eventId": each.event_id, "useCaseId": each.use_case_id}
                    for each in found.missing
                ],
                "withoutImages": [
                    {"eventId": event_id, "images": images, "sent": sent}
                    for event_id, (images, sent) in found.without_images.items()
                ],
                "hidden": found.hidden,
                "unchecked": found.unchecked,
            }
        )
        return
    typer.echo(f"Complete: {found.complete:,} of {formatting.count(number, 'event')}")
    for receipt in found.missing:
        when = formatting.time_of(receipt.delivered_at_s)
        typer.echo(
            printable(
                f"Missing: {receipt.event_id} of use case {receipt.use_case_id}, delivered {when}"
            )
        )
    for event_id, (images, sent) in found.without_images.items():
        typer.echo(printable(f"Images missing: {event_id} has {images} of {sent}"))
    if found.hidden:
        aside(f"Too old for the API to show: {formatting.count(found.hidden, 'event')}")
    if found.unchecked:
        aside(f"Not checked: {formatting.count(found.unchecked, 'event')}")


def _images_of(event: dict[str, Any]) -> int:
    """How many images the API shows for an event: those with a picture, if it names any."""
    images = [image for image in event.get("images") or () if isinstance(image, dict)]
    named = [image for image in images if image.get("sourceId") or image.get("inputSourceId")]
    return len(named) or len(images)


def _receipts(folder: Path, since_s: float) -> list[Receipt]:
    """Those for the API in use; an event that was delivered twice counts once."""
    url = api_url().rstrip("/")
    try:
        read = list(receipts_in(folder, DISK, since_s=since_s))
    except OSError as error:
        fail(f"{folder} cannot be read ({error.strerror})")
    return list({each.event_id: each for each in read if each.url == url}.values())


def _by_use_case(receipts: Iterable[Receipt]) -> dict[str, list[Receipt]]:
    found = defaultdict(list)
    for receipt in receipts:
        found[receipt.use_case_id].append(receipt)
    return found


def pages(client: VisionEventsClient, query: dict[str, Any]) -> Iterator[QueryReply]:
    """The replies to a query, one for each page.

    Raises:
        TooManyEvents: there are more after `MAX_PAGES`.
        VisionEventsError: a page could not be read.
    """
    for _ in range(MAX_PAGES):
        reply = patiently(partial(client.query, query))
        yield reply
        if not reply.next_cursor or not reply.events:
            return
        query = {**query, "cursor": reply.next_cursor}
    raise TooManyEvents(f"there are more than {MAX_PAGES * PAGE_EVENTS:,} events at that time")


def period_query(use_case_id: str, first: datetime, last: datetime) -> dict[str, Any]:
    """A query for the events of a period; in milliseconds, as the API may not keep finer times."""
    return {
        "useCaseId": use_case_id,
        "startTime": _iso(first),
        "endTime": _iso(last + timedelta(milliseconds=1)),
        "limit": PAGE_EVENTS,
    }


def _iso(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
