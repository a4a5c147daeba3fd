"""`vision-events delete`: deletes events from the API or the local server."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Final

import typer

from vision_event_block.cli import formatting
from vision_event_block.cli.options import (
    NEEDS_HELP,
    JsonOption,
    YesOption,
    api_client,
    api_url,
    aside,
    not_empty,
    patiently,
    print_json,
    required_key,
)
from vision_event_block.delivery.errors import VisionEventsError
from vision_event_block.redaction import printable, without_passwords

#: Events per request: fewer than the API allows, so that each is answered in time.
BATCH_EVENTS: Final = 200


def delete(
    event_ids: Annotated[
        list[str], typer.Argument(help="Event ids.", callback=not_empty, show_default=False)
    ],
    *,
    use_case: Annotated[
        str,
        typer.Option(
            "--use-case", help="Id of their use case.", callback=not_empty, show_default=False
        ),
    ],
    with_pictures: Annotated[
        bool,
        typer.Option(
            "--with-pictures",
            help="Also delete pictures that no other event shows, immediately (local server only).",
        ),
    ] = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Delete events from the API or the local server, for good.

    Feedback about them is deleted from the local server as well. Exits with 1 if an event was not
    found, or if the server cannot be reached or refuses; run it again to continue.
    """
    required_key()  # before anybody is asked
    wanted = list(dict.fromkeys(event_ids))
    number, server = formatting.count(len(wanted), "event"), without_passwords(api_url())
    question = f"Delete {number} of use case {use_case} from {server}? This cannot be undone."
    if not yes and not typer.confirm(printable(question), err=True):
        aside("Nothing was deleted.")
        raise typer.Exit(NEEDS_HELP)
    deleted, missing, tried = 0, list[str](), 0
    with api_client() as client:
        try:
            for start in range(0, len(wanted), BATCH_EVENTS):
                batch = wanted[start : start + BATCH_EVENTS]
                request = partial(client.delete, use_case, batch, with_pictures=with_pictures)
                reply = patiently(request)
                deleted, missing = deleted + reply.deleted, [*missing, *reply.not_found]
                tried += len(batch)
        except VisionEventsError as error:
            aside(f"{error}")
    if as_json:
        print_json({"deleted": deleted, "notFound": missing, "notTried": wanted[tried:]})
    else:
        typer.echo(f"Deleted: {deleted:,} of {number}")
        for event_id in missing:
            aside(f"Not found: {event_id}")
    if missing or tried < len(wanted):
        raise typer.Exit(NEEDS_HELP)
