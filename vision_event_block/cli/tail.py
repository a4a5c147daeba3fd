"""`vision-events tail`: events as they are stored, delivered, rejected and dropped."""

from __future__ import annotations

import json
import os
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Final

import typer

from vision_event_block.cli import formatting
from vision_event_block.cli.options import (
    DISK,
    JsonOption,
    OutboxOption,
    UtcOption,
    fail,
    outbox_of,
    seconds_in,
    unreadable,
)
from vision_event_block.outbox.entry_names import event_id_of, is_entry
from vision_event_block.outbox.receipts import NEW as RECEIPTS
from vision_event_block.outbox.receipts import Receipt
from vision_event_block.outbox.slot import DEAD, JOURNAL, SLOTS
from vision_event_block.outbox.snapshot import dead_letter_reason
from vision_event_block.redaction import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

POLL_S: Final = 0.25
#: Lines of a journal that say what became of an event.
_KINDS: Final = {"S": "stored", "X": "dropped"}


@dataclass(frozen=True)
class _News:
    what: str
    event_id: str
    #: Which process, or why.
    more: str = ""


@dataclass
class _Watcher:
    """What has been seen of an outbox: the position in each growing file, and the dead letters."""

    folder: Path
    _ends: dict[tuple[Path, int], int] = field(default_factory=dict)
    _dead: set[str] = field(default_factory=set)
    #: The most recent ones, since both a journal and the receipts may report a delivery.
    _delivered: deque[str] = field(default_factory=lambda: deque(maxlen=10_000))

    def look(self) -> list[_News]:
        """What has happened since the last look; raises OSError."""
        return [*self._of_journals(), *self._of_receipts(), *self._of_dead_letters()]

    def _of_journals(self) -> Iterator[_News]:
        for slot in sorted(DISK.names(self.folder / SLOTS)):
            for line in self._new_lines(self.folder / SLOTS / slot / JOURNAL):
                kind, _, rest = line.partition(" ")
                event_id, _, reason = rest.partition(" ")
                if kind == "D" and event_id:
                    yield from self._delivery(event_id, slot)
                elif event_id and kind in _KINDS:
                    yield _News(_KINDS[kind], event_id, reason or slot)

    def _of_receipts(self) -> Iterator[_News]:
        """Deliveries from memory, which no journal has."""
        for line in self._new_lines(self.folder / RECEIPTS):
            with suppress(ValueError, TypeError):  # cut off by a kill
                receipt = Receipt(*json.loads(line))
                yield from self._delivery(receipt.event_id, f"use case {receipt.use_case_id}")

    def _of_dead_letters(self) -> Iterator[_News]:
        names = set(filter(is_entry, DISK.names(self.folder / DEAD)))
        new, self._dead = names - self._dead, names
        for name in sorted(new):
            reason = dead_letter_reason(self.folder, name, DISK).get("reason", "")
            yield _News("rejected", event_id_of(name), str(reason))

    def _delivery(self, event_id: str, more: str) -> Iterator[_News]:
        if event_id not in self._delivered:
            self._delivered.append(event_id)
            yield _News("delivered", event_id, more)

    def _new_lines(self, path: Path) -> list[str]:
        """The lines added; a journal that was shortened is a new file, and repeats nothing."""
        try:
            with path.open("rb") as opened:
                file = (path, os.fstat(opened.fileno()).st_ino)
                begin = opened.seek(self._ends.get(file, 0))
                content = opened.read()
        except (FileNotFoundError, NotADirectoryError):
            return []
        whole = content[: content.rfind(b"\n") + 1]
        self._ends[file] = begin + len(whole)
        return whole.decode(errors="replace").splitlines()


def tail(
    *,
    duration: Annotated[
        str, typer.Option("--for", help="Stop after this time, such as 30s. [default: never]")
    ] = "",
    outbox: OutboxOption = None,
    as_json: JsonOption = False,
    utc: UtcOption = False,
) -> None:
    """Print events of all processes as they are stored, delivered, rejected and dropped.

    Ctrl-C stops it.
    """
    folder = outbox_of(outbox)
    ends_at_s = time.monotonic() + seconds_in("--for", duration) if duration else float("inf")
    watcher = _Watcher(folder)
    try:
        watcher.look()
        typer.echo(f"Watching {folder}", err=True)
        while time.monotonic() < ends_at_s:
            time.sleep(POLL_S)
            for news in watcher.look():
                _print(news, as_json=as_json, utc=utc)
    except KeyboardInterrupt:
        return
    except OSError as error:
        fail(unreadable(folder, error))


def _print(news: _News, *, as_json: bool, utc: bool) -> None:
    now_s = time.time()
    if as_json:
        typer.echo(json.dumps({"at_s": round(now_s, 3), **vars(news)}))
    else:
        when = formatting.time_of(now_s, utc=utc)
        typer.echo(printable(f"{when}  {news.what:9}  {news.event_id}  {news.more}".rstrip()))
