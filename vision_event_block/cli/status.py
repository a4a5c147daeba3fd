"""`vision-events status`: a one-sentence verdict, and the figures behind it."""

from __future__ import annotations

import time
from functools import partial
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
    UtcOption,
    console,
    current_settings,
    outbox_of,
    print_json,
    seconds_in,
    snapshot_of,
)
from vision_event_block.cli.verdict import StatusContext, told, unstored, verdict
from vision_event_block.delivery.destinations import RELAY
from vision_event_block.outbox.entry import Corrupt
from vision_event_block.outbox.owner_status import DestinationState
from vision_event_block.outbox.snapshot import dead_letter_reason
from vision_event_block.redaction import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from rich.console import RenderableType

    from vision_event_block.cli.verdict import Finding
    from vision_event_block.outbox.owner_status import DestinationStatus
    from vision_event_block.outbox.snapshot import File, OutboxSnapshot, SlotView

WATCH_PERIOD_S: Final = 1.0


def status(
    *,
    outbox: OutboxOption = None,
    max_age: Annotated[
        str, typer.Option(help="Events that wait longer count as a problem: 45s, 10m, 24h.")
    ] = "10m",
    as_json: JsonOption = False,
    utc: UtcOption = False,
    watch: Annotated[bool, typer.Option("--watch", help="Refresh every second.")] = False,
) -> None:
    """Say whether all is well, or what is wrong, since when, and what to do; and show the figures.

    Exits with 1 if events have waited longer than --max-age, if the API is unreachable or refuses
    the key, or if events were rejected or are damaged.
    """
    folder = outbox_of(outbox)
    look = partial(_look, folder, max_age_s=seconds_in("--max-age", max_age), utc=utc)
    if watch and not as_json:
        _watch(look)
        return
    document, page = look()
    if as_json:
        print_json(document)
    else:
        console().print(page)
    if document["needs_help"]:
        raise typer.Exit(NEEDS_HELP)


def _look(folder: Path, *, max_age_s: float, utc: bool) -> tuple[dict[str, Any], RenderableType]:
    """The status for programs, and for people."""
    found = snapshot_of(folder)
    findings = findings_of(folder, found, max_age_s=max_age_s, utc=utc)
    document = {**_summary(findings), **as_document(folder, found)}
    return document, _page(document, found, findings, utc=utc)


def findings_of(
    folder: Path, found: OutboxSnapshot, *, max_age_s: float, utc: bool = False
) -> list[Finding]:
    """What there is to say about an outbox, most urgent first."""
    return verdict(
        found,
        StatusContext(
            now_s=time.time(),
            max_bytes=settings.outbox_max_bytes(folder),
            is_disk_full=DISK.free_bytes(folder) < current_settings().outbox_min_free_bytes,
            max_age_s=max_age_s,
            time_of=partial(formatting.time_of, utc=utc),
            reason_of=lambda file: str(
                dead_letter_reason(folder, file.name, DISK).get("reason", "")
            ),
            is_relayed=_is_relayed,
        ),
    )


def _is_relayed(file: File) -> bool:
    try:
        return file.metadata(DISK).address.kind == RELAY
    except (Corrupt, OSError):
        return False  # damaged, or gone meanwhile


def _summary(findings: list[Finding]) -> dict[str, Any]:
    return {
        "summary": str(findings[0]),
        "findings": [str(finding) for finding in findings],
        "needs_help": any(finding.needs_help for finding in findings),
    }


def as_document(folder: Path, found: OutboxSnapshot) -> dict[str, Any]:
    now_s = time.time()
    pending = found.pending
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
        #: Not part of the sum: an event counts once, however many versions of it there are.
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
        "free_bytes": DISK.free_bytes(folder),
        "in_memory": unstored(found),
        "slots": [_slot(slot) for slot in found.slots],
    }


def _slot(slot: SlotView) -> dict[str, Any]:
    return {
        "name": slot.name,
        "has_owner": slot.has_owner,
        "pid": slot.status.pid,
        "pending": len(slot.pending),
        "size_bytes": slot.size_bytes,
        "destinations": [row.to_json() for row in slot.status.destinations]
        if slot.has_owner is not False or slot.pending
        else [],
    }


def _watch(look: Callable[[], tuple[dict[str, Any], RenderableType]]) -> None:
    with Live(console=console(), auto_refresh=False) as live:
        try:
            while True:
                live.update(look()[1], refresh=True)
                time.sleep(WATCH_PERIOD_S)
        except KeyboardInterrupt:
            return


def _page(
    document: dict[str, Any], found: OutboxSnapshot, findings: list[Finding], *, utc: bool
) -> RenderableType:
    first, *others = findings
    style = "bold red" if document["needs_help"] else ""
    parts: list[RenderableType] = [Text(printable(str(first)), style=style), "", _sum(document)]
    if rows := told(found):
        parts.append(_destinations(rows, utc=utc))
    # An empty slot without an owner only keeps its counts until another process adopts it.
    if slots := [
        slot for slot in document["slots"] if slot["has_owner"] is not False or slot["pending"]
    ]:
        parts.append(_slots(slots))
    parts += [Text(printable(str(finding))) for finding in others]
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
    if document["in_memory"]:
        grid.add_row("in memory only", f"{document['in_memory']:,}", "not on disk yet")
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
    room += f", {formatting.size(document['free_bytes'])} free on the disk"
    grid.add_row("on disk", formatting.size(document["size_bytes"]), room)
    return grid


def _aside(document: dict[str, Any]) -> str:
    return f"{document['corrupt']:,} of them damaged" if document["corrupt"] else ""


def _destinations(
    rows: Sequence[tuple[SlotView, DestinationStatus]], *, utc: bool
) -> RenderableType:
    table = Table(title="Destinations", title_justify="left", box=None, pad_edge=False)
    for title in ("address", "state", "pending", "last success", "last error"):
        table.add_column(title, overflow="fold")
    for slot, row in rows:
        last_s = row.last_success_s
        is_open = row.state is DestinationState.OPEN
        state = row.state.value if slot.has_owner is not False else f"was {row.state.value}"
        table.add_row(
            row.address,
            Text(state, style="" if is_open else "bold red"),
            str(row.pending),
            "none yet" if last_s is None else formatting.time_of(last_s, utc=utc),
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
