"""`vision-events drain`: sends the events that no running process is sending."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from vision_event_block.cli import formatting
from vision_event_block.cli.options import (
    NEEDS_HELP,
    OutboxOption,
    api_destination,
    aside,
    current_settings,
    given_key,
    opened,
    outbox_of,
    snapshot_of,
    timeouts,
)
from vision_event_block.cli.verdict import READDRESS, WAYS_OUT
from vision_event_block.delivery.client import EventStoreClient
from vision_event_block.delivery.courier import Courier, CourierLimits
from vision_event_block.delivery.destinations import (
    EVENT_STORE,
    RELAY,
    EventStoreDestination,
)
from vision_event_block.outbox.owner_status import DestinationState, OwnerStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vision_event_block.outbox.outbox import Outbox
    from vision_event_block.outbox.owner_status import DestinationStatus

_FOR_THE_SERVER: Final = (
    "which only the server that received them can send: start vision-events serve --forward-to"
)
POLL_S: Final = 0.1
STATUS_PERIOD_S: Final = 1.0
CLOSE_TIMEOUT_S: Final = 5.0


def drain(
    *,
    timeout: Annotated[
        float, typer.Option(min=0.0, help="Stop after this many seconds without a delivery.")
    ] = 60.0,
    outbox: OutboxOption = None,
) -> None:
    """Send the events that no running process is sending.

    Leaves a running host's events to that host. Exits with 1, and says why, if events remain.
    """
    folder = outbox_of(outbox)
    orphans = [slot for slot in snapshot_of(folder).slots if not slot.has_owner]
    if not any(slot.pending or slot.spooled for slot in orphans):
        typer.echo("Nothing to send.")
        return
    with opened(folder) as own, _courier(own) as courier:
        left, relays = _carry(own, courier, timeout)
        states = courier.states()
        with suppress(OSError):  # until somebody adopts them, this says why they wait
            own.write_status(OwnerStatus(os.getpid(), tuple(states)))
        delivered, refused = courier.queues.counts["delivered"], courier.queues.counts["rejected"]
    typer.echo(f"Delivered: {formatting.count(delivered, 'event')}")
    if refused:
        typer.echo(
            f"Rejected: {formatting.count(refused, 'event')}; vision-events list --dead says why. "
            f"{WAYS_OUT}."
        )
    for state in states:
        if state.pending:
            waiting = formatting.count(state.pending, "event")
            why = _FOR_THE_SERVER if state.address in relays else _why(state)
            aside(f"Left: {waiting} for {state.address}, {why}")
    if left or refused:
        raise typer.Exit(NEEDS_HELP)


@contextmanager
def _courier(own: Outbox) -> Iterator[Courier]:
    courier = Courier(own, CourierLimits.of(current_settings()))
    key = given_key()
    if key is not None:
        courier.register(api_destination(own.folder, key))
    try:
        yield courier
    finally:
        courier.close(CLOSE_TIMEOUT_S if courier.pending else 0.0)


def _carry(own: Outbox, courier: Courier, timeout_s: float) -> tuple[int, set[str]]:
    """Adopts and delivers events until none are left or no progress is made.

    Returns:
        How many events are left, and the addresses of those that only a relay can send.
    """
    total, relays = _take(own, courier)
    left, moved_at_s, told_at_s = courier.pending, time.monotonic(), 0.0
    bar: Any  # click's own type has a parameter that means nothing here
    with typer.progressbar(length=total, label="Sending") as bar:
        while left:
            now_s = time.monotonic()
            if now_s - told_at_s >= STATUS_PERIOD_S:
                told_at_s = now_s
                with suppress(OSError):  # a full disk is no reason to send nothing
                    own.write_status(OwnerStatus(os.getpid(), tuple(courier.states())))
                own.hand_over()
                if own.take_retry_request():
                    courier.queues.retry_now()
            time.sleep(POLL_S)
            before, left = left, courier.pending
            if left != before:
                moved_at_s = time.monotonic()
                bar.update(before - left)
            elif time.monotonic() - moved_at_s > timeout_s or _is_hopeless(courier):
                break
    return left, relays


def _take(own: Outbox, courier: Courier) -> tuple[int, set[str]]:
    """Hands each entry to the courier as it is adopted; returns their number and relay addresses.

    Registers the event stores that they are for, except those that need a key: only the process
    that has the key can send to them.
    """
    total, known, relays = 0, set(), set()
    for entry in own.adoptions():
        address = entry.metadata.address
        if address.kind == RELAY:
            relays.add(str(address))
        if address.kind == EVENT_STORE and not address.key and address not in known:
            known.add(address)
            client = EventStoreClient(base_url=address.url, timeouts=timeouts())
            courier.register(EventStoreDestination(client, address.url))
        courier.take([entry])
        total += 1
    return total, relays


def _is_hopeless(courier: Courier) -> bool:
    return all(state.state.needs_key for state in courier.states() if state.pending)


def _why(state: DestinationStatus) -> str:
    if state.state is DestinationState.NO_KEY:
        return (
            "which needs a key or address that this environment does not have. If that key is "
            f"gone, {READDRESS} sends them with this one"
        )
    why = f"{state.state.value}: {state.last_error}" if state.last_error else state.state.value
    if state.state is DestinationState.KEY_REFUSED:
        why += f". Fix the key and run this again; with a new key, {READDRESS}"
    return why
