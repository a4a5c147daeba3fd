"""`vision-events status`: what is waiting, what became of the rest, and the connections."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from vision_event_block import settings
from vision_event_block.cli import formatting
from vision_event_block.cli.options import (
    DISK,
    NEEDS_HELP,
    JsonOption,
    OutboxOption,
    console,
    folder_of,
    print_json,
    snapshot_of,
)
from vision_event_block.outbox.owner_status import DestinationState

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import RenderableType

    from vision_event_block.outbox.owner_status import DestinationStatus
    from vision_event_block.outbox.snapshot import OutboxSnapshot, SlotView

WATCH_PERIOD_S: Final = 1.0


def status(
    *,
    outbox: OutboxOption = None,
    as_json: JsonOption = False,
    watch: Annotated[bool, typer.Option("--watch", help="Refresh every second.")] = False,
) -> None:
    """Show what is waiting for the API, what became of the rest, and the state of the connections.

    Exits with 1 if an event was rejected or is damaged, or a key is missing or refused.
    """
    folder = folder_of(outbox)
    if watch and not as_json:
        _watch(folder)
        return
    found = snapshot_of(folder)
    document = as_document(folder, found)
    if as_json:
        print_json(document)
    else:
        console().print(_page(document, found))
    if _needs_help(found):
        raise typer.Exit(NEEDS_HELP)


def as_document(folder: Path, found: OutboxSnapshot) -> dict[str, Any]:
    now_s = time.time()
    pending = found.pending
    there = folder if folder.exists() else None
    return {
        "outbox": str(folder),
        "stored": found.stored,
        "unstored": found.unstored,
        "delivered": found.delivered,
        "pending": sum(not file.is_update for file in pending),
        "spooled": found.spooled,
        "dead": sum(not file.is_update for file in found.dead),
        "corrupt": len(found.corrupt),
        "dropped": found.dropped,
        #: Beside the sum: an event counts once, however many versions of it there are.
        "versions": {
            "taken": found.versions,
            "superseded": found.superseded,
            "pending": sum(file.is_update for file in pending),
            "dead": sum(file.is_update for file in found.dead),
        },
        "unaccounted": found.unaccounted,
        "is_moving": found.is_moving,
        "pictures_shed": found.shed,
        "oldest_pending_s": pending[0].age_s(now_s) if pending else None,
        "size_bytes": found.size_bytes,
        "max_bytes": settings.outbox_max_bytes(folder),
        "free_bytes": DISK.free_bytes(folder) if there else None,
        "slots": [_slot(slot) for slot in found.slots],
    }


def _slot(slot: SlotView) -> dict[str, Any]:
    return {
        "name": slot.name,
        "has_owner": slot.has_owner,
        "pid": slot.status.pid,
        "pending": len(slot.pending),
        "size_bytes": slot.size_bytes,
        "destinations": [row.to_json() for row in _destinations(slot)],
    }


def _destinations(*slots: SlotView) -> list[DestinationStatus]:
    """What processes that run say; what one that has ended said of its connections is old news."""
    return [row for slot in slots if slot.has_owner for row in slot.status.destinations]


def _needs_help(found: OutboxSnapshot) -> bool:
    needs_key = any(row.state.needs_key for row in _destinations(*found.slots))
    return bool(found.dead or found.corrupt or needs_key)


def _watch(folder: Path) -> None:
    with Live(console=console(), auto_refresh=False) as live:
        try:
            while True:
                found = snapshot_of(folder)
                live.update(_page(as_document(folder, found), found), refresh=True)
                time.sleep(WATCH_PERIOD_S)
        except KeyboardInterrupt:
            return


def _page(document: dict[str, Any], found: OutboxSnapshot) -> RenderableType:
    parts: list[RenderableType] = [_sum(document)]
    if rows := _destinations(*found.slots):
        parts.append(_links(rows))
    # An empty slot without an owner only keeps its counts until another process adopts it.
    if slots := [
        slot for slot in document["slots"] if slot["has_owner"] is not False or slot["pending"]
    ]:
        parts.append(_slots(slots))
    parts += [Text(hint) for hint in _hints(document, rows)]
    return Group(*parts)


def _sum(document: dict[str, Any]) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column()
    grid.add_column(justify="right")
    grid.add_column()
    oldest = document["oldest_pending_s"]
    waits = f"the oldest for {formatting.age(oldest)}" if document["pending"] else ""
    grid.add_row("stored", f"{document['stored']:,}", document["outbox"])
    if document["unstored"]:
        grid.add_row("never on disk", f"{document['unstored']:,}", "sent from memory, or lost")
    grid.add_row("  delivered", f"{document['delivered']:,}", "")
    grid.add_row("  pending", f"{document['pending']:,}", waits)
    grid.add_row("  dead", f"{document['dead'] + document['corrupt']:,}", _aside(document))
    dropped = document["dropped"]
    reasons = ", ".join(f"{reason} {number:,}" for reason, number in dropped.items())
    grid.add_row("  dropped", f"{sum(dropped.values()):,}", reasons)
    if document["unaccounted"]:
        why = "events are moving right now" if document["is_moving"] else "as after a power cut"
        grid.add_row("  not accounted for", f"{document['unaccounted']:,}", why)
    versions = document["versions"]
    if any(versions.values()):
        said = ", ".join(f"{name} {number:,}" for name, number in versions.items() if number)
        grid.add_row("newer versions", f"{versions['taken']:,}", said)
    shed = document["pictures_shed"]
    if shed:
        reasons = ", ".join(f"{reason} {number:,}" for reason, number in shed.items())
        grid.add_row("pictures shed", f"{sum(shed.values()):,}", reasons)
    room = f"of {formatting.size(document['max_bytes'])}"
    if document["free_bytes"] is not None:
        room += f", {formatting.size(document['free_bytes'])} free on the disk"
    grid.add_row("on disk", formatting.size(document["size_bytes"]), room)
    return grid


def _aside(document: dict[str, Any]) -> str:
    return f"{document['corrupt']:,} of them damaged" if document["corrupt"] else ""


def _links(rows: Sequence[DestinationStatus]) -> RenderableType:
    table = Table(title="Destinations", title_justify="left", box=None, pad_edge=False)
    for title in ("address", "state", "pending", "last success", "last error"):
        table.add_column(title, overflow="fold")
    for row in rows:
        last_s = row.last_success_s
        is_open = row.state is DestinationState.OPEN
        table.add_row(
            row.address,
            Text(row.state.value, style="" if is_open else "bold red"),
            str(row.pending),
            "none yet" if last_s is None else formatting.time_of(last_s),
            row.last_error or "",
        )
    return table


def _slots(slots: list[dict[str, Any]]) -> RenderableType:
    table = Table(title="Processes", title_justify="left", box=None, pad_edge=False)
    for title in ("slot", "owner", "pending", "size"):
        table.add_column(title, overflow="fold")
    for slot in slots:
        owner = {True: "runs", False: "gone", None: "unknown"}[slot["has_owner"]]
        pid = f", pid {slot['pid']}" if slot["has_owner"] and slot["pid"] else ""
        pending = f"{slot['pending']:,}"
        table.add_row(slot["name"], owner + pid, pending, formatting.size(slot["size_bytes"]))
    return table


def _hints(document: dict[str, Any], rows: Sequence[DestinationStatus]) -> list[str]:
    hints = []
    if document["dead"]:
        hints.append("Rejected events: vision-events list --dead says why; requeue or drop them.")
    if document["corrupt"]:
        hints.append(
            f"Damaged events are in {document['outbox']}/corrupt: vision-events recheck requeues "
            "those that are intact; restore or drop the others."
        )
    slots = document["slots"]
    if document["pending"] and not any(slot["has_owner"] for slot in slots):
        hints.append("No process is sending them: start the host, or run vision-events drain.")
    if document["spooled"]:
        hints.append(
            f"{formatting.count(document['spooled'], 'event')} of a process that was killed, still "
            "in memory: the next host, or vision-events drain, stores and sends."
        )
    for row in rows:
        if row.internal_error:
            hints.append(
                f"{row.internal_error}. The cause is in the process, not in the network; "
                "see its log."
            )
        if row.unknown_reply:
            hints.append(f"Events wait: {row.unknown_reply}")
    return hints
