"""`vision-events list` and `show`: the events on disk one by one."""

from __future__ import annotations

import json
import time
from enum import Enum
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Final, Optional

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from vision_event_block.cli import formatting
from vision_event_block.cli.options import (
    DISK,
    JsonOption,
    OutboxOption,
    UtcOption,
    aside,
    chosen,
    console,
    fail,
    outbox_of,
    print_json,
    snapshot_of,
)
from vision_event_block.cli.verdict import WAYS_OUT
from vision_event_block.contract.names import PAYLOAD_NAME
from vision_event_block.outbox.entry import Corrupt, unpack
from vision_event_block.outbox.snapshot import dead_letter_reason
from vision_event_block.redaction import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vision_event_block.outbox.entry import EntryContents
    from vision_event_block.outbox.snapshot import File, OutboxSnapshot


#: Narrower terminals get blocks of lines instead of a table.
WIDE_CHARS: Final = 120


class Order(str, Enum):
    STATE = "state"
    AGE = "age"
    NEWEST = "newest"
    SIZE = "size"


_ORDERS: Final[Mapping[Order, Callable[[tuple[str, File]], float]]] = {
    Order.AGE: lambda row: row[1].stored_at_s,
    Order.NEWEST: lambda row: row[1].stored_at_s,
    Order.SIZE: lambda row: -row[1].size_bytes,
}


def list_events(  # noqa: PLR0913 -- a list has these options
    *,
    outbox: OutboxOption = None,
    dead: Annotated[bool, typer.Option("--dead", help="Only rejected and damaged events.")] = False,
    sort: Annotated[
        Order,
        typer.Option(
            help="By state (waiting, rejected, damaged), by age (oldest first), newest first, or "
            "by size (largest first)."
        ),
    ] = Order.STATE,
    limit: Annotated[
        Optional[int],  # noqa: UP045 -- the oldest typer knows no `|`
        typer.Option(min=1, help="List at most this many. [default: all]", show_default=False),
    ] = None,
    as_json: JsonOption = False,
    utc: UtcOption = False,
) -> None:
    """List waiting, rejected and damaged events."""
    folder = outbox_of(outbox)
    found = snapshot_of(folder)
    listed = [] if dead else [("pending", file) for file in found.pending]
    listed += [("dead", file) for file in found.dead]
    listed += [("corrupt", file) for file in found.corrupt]
    if sort in _ORDERS:
        listed.sort(key=_ORDERS[sort])
    if sort is Order.NEWEST:
        listed.reverse()
    rows = [_row(state, file, folder) for state, file in listed[:limit]]
    if as_json:
        print_json(rows)
    elif not rows:
        typer.echo("No events.")
    else:
        to = console()
        to.print(_table(rows, utc=utc) if to.width >= WIDE_CHARS else _blocks(rows, utc=utc))
    if left := len(listed) - len(rows):
        aside(f"Not listed: {formatting.count(left, 'event')}; raise --limit to see more.")
    if any(state == "dead" for state, _ in listed) and not as_json:
        aside(f"{WAYS_OUT}.")


def show(
    event_id: Annotated[
        str, typer.Argument(help="Event id, or its first characters.", show_default=False)
    ],
    *,
    outbox: OutboxOption = None,
    utc: UtcOption = False,
    save: Annotated[
        Optional[Path],  # noqa: UP045 -- the oldest typer knows no `|`
        typer.Option(
            help="Write the payload and the pictures to this folder.",
            file_okay=False,
            show_default=False,
        ),
    ] = None,
) -> None:
    """Show an event: its payload, its destination, and why it was rejected."""
    folder = outbox_of(outbox)
    found = snapshot_of(folder)
    file = chosen([*found.pending, *found.dead, *found.corrupt], [event_id])[0]
    try:
        contents = unpack(DISK.read(file.path))
    except FileNotFoundError:
        fail(f"{file.event_id} has just been moved; try again.")
    except (Corrupt, OSError) as error:
        fail(f"{file.path} cannot be read: {error}")
    document = {
        "event_id": file.event_id,
        "file": str(file.path),
        "state": _state(file, found),
        "destination": str(contents.metadata.address),
        "taken": formatting.time_of(contents.metadata.taken.wall_s, utc=utc),
        "pictures": {name: len(content) for name, content in contents.pictures.items()},
        "pictures_shed": contents.metadata.shed,
        "reason": dead_letter_reason(folder, file.name, DISK) if file in found.dead else None,
        "payload": contents.payload,
    }
    print_json(document)
    if save is not None:
        _write(contents, save)
        written = formatting.count(len(contents.pictures), "picture")
        typer.echo(f"Written to {save}: {PAYLOAD_NAME} and {written}", err=True)


def _state(file: File, found: OutboxSnapshot) -> str:
    if file in found.dead:
        return "dead"
    return "corrupt" if file in found.corrupt else "pending"


def _row(state: str, file: File, folder: Path) -> dict[str, Any]:
    row: dict[str, Any] = {
        "event_id": file.event_id,
        "state": state,
        "age_s": file.age_s(time.time()),
        "stored_at_s": file.stored_at_s,
        "size_bytes": file.size_bytes,
        "slot": file.folder.name if state == "pending" else None,
        "destination": None,
        "pictures_shed": 0,
        "reason": dead_letter_reason(folder, file.name, DISK) if state == "dead" else None,
    }
    try:
        metadata = file.metadata(DISK)
    except (Corrupt, OSError):
        return row  # damaged, or gone meanwhile
    return {**row, "destination": str(metadata.address), "pictures_shed": len(metadata.shed)}


def _table(rows: list[dict[str, Any]], *, utc: bool) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("event", "state", "stored", "age", "size", "destination", "why"):
        table.add_column(title, overflow="fold", no_wrap=title in ("event", "stored"))
    for row in rows:
        table.add_row(
            row["event_id"],
            row["state"],
            formatting.time_of(row["stored_at_s"], utc=utc),
            formatting.age(row["age_s"]),
            formatting.size(row["size_bytes"]),
            row["destination"] or "",
            _why(row["reason"]),
        )
    return table


def _blocks(rows: list[dict[str, Any]], *, utc: bool) -> Group:
    """The same for a narrow terminal: a few lines per event, without truncation."""
    lines = []
    for row in rows:
        stored = formatting.time_of(row["stored_at_s"], utc=utc)
        lines += [
            f"{row['event_id']}  {row['state']}",
            f"  {stored}, {formatting.size(row['size_bytes'])}",
            *(f"  {line}" for line in (row["destination"], _why(row["reason"])) if line),
        ]
    return Group(*(Text(printable(line), overflow="fold") for line in lines))


def _why(reason: dict[str, Any] | None) -> str:
    """The short reason for people; `show` and the JSON have the rest."""
    if reason is None:
        return ""
    if "reason" in reason:
        return str(reason["reason"])
    return ", ".join(f"{name}: {value}" for name, value in reason.items())


def _write(contents: EntryContents, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(contents.payload, indent=2, ensure_ascii=False)
    (folder / PAYLOAD_NAME).write_text(text + "\n", encoding="utf-8")
    for name, picture in contents.pictures.items():
        if not _is_safe(name):
            fail(f"{name!r} would be written outside {folder}; skipped")
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(picture)


def _is_safe(name: str) -> bool:
    """Whether a member's name stays inside the folder that it is unpacked to, on any system."""
    path = PurePosixPath(name)
    is_below = not path.is_absolute() and ".." not in path.parts
    return bool(path.parts) and is_below and "\\" not in name and ":" not in name
