"""The demo from its first line to its table: recordings, workflows, and the events that arrived."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich import box
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from vision_event_block.contract.names import SOURCE_IDS, pictures_named
from vision_event_block.demo import engine
from vision_event_block.demo.streams import STREAMS, recording_of, results

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from vision_event_block.demo.engine import Played
    from vision_event_block.demo.streams import Recording, Stream
    from vision_event_block.server.storage import Store


ARRIVES_WITHIN_S: Final = 30.0


@dataclass(frozen=True)
class Outcome:
    stream: Stream
    recording: Recording
    played: Played
    #: The events as the server stored them.
    events: tuple[Mapping[str, Any], ...]
    #: How many of their pictures the server has.
    pictures: int

    @property
    def is_complete(self) -> bool:
        """Whether every frame was played, and every event arrived with its pictures."""
        sent = len(self.played.event_ids)
        return (
            self.played.frames == self.recording.frames
            and not self.played.troubles
            and 0 < sent == len(self.events)
            and self.pictures == sent * self.stream.pictures_per_event
        )


def outcome_of(
    store: Store,
    stream: Stream,
    recording: Recording,
    played: Played,
    *,
    timeout_s: float = ARRIVES_WITHIN_S,
) -> Outcome:
    """What the server has, once everything has arrived or after the timeout.

    A pipeline sends all its events when it ends, unless the host is too old to close its blocks.
    """
    ends_at_s = time.monotonic() + timeout_s
    while True:
        found = [stored for each in played.event_ids if (stored := store.get(each))]
        if len(found) == len(played.event_ids) or time.monotonic() > ends_at_s:
            break
        time.sleep(0.1)
    events = tuple(stored.body for stored in found)
    # A picture that is both an event's input and its output is stored once, and counts as both.
    pictures = sum(
        store.pictures.exists(picture_id)
        for event in events
        for key in SOURCE_IDS
        for picture_id in pictures_named(event, [key])
    )
    return Outcome(stream, recording, played, events, pictures)


def create_use_cases(store: Store) -> None:
    """Creates the use cases of the streams if they are missing."""
    for stream in STREAMS:
        if store.use_cases.get(stream.use_case_id) is None:
            store.use_cases.create(stream.use_case, stream.use_case_id)


def run(store: Store, url: str, console: Console) -> list[Outcome]:
    """Runs every stream against the server at `url`, which stores what it receives in `store`."""
    with tempfile.TemporaryDirectory(
        prefix="vision-events-demo-", ignore_cleanup_errors=True
    ) as made:
        folder = Path(made)
        with Progress(
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=console,
        ) as progress:
            loading = progress.add_task("Loading Roboflow Inference, up to 20 s:", total=1)
            pipeline_class = engine.load(url, folder)
            progress.advance(loading)
        return _play_all(store, folder, pipeline_class, console)


def _play_all(
    store: Store, folder: Path, pipeline_class: object, console: Console
) -> list[Outcome]:
    outcomes = []
    ends_at = datetime.now(timezone.utc)
    with Progress(
        TextColumn("{task.description:<13}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("frames"),
        console=console,
    ) as progress:
        tasks = [progress.add_task(stream.use_case, total=None) for stream in STREAMS]
        for stream, task in zip(STREAMS, tasks, strict=True):
            recording = recording_of(stream.use_case_id, folder, ends_at=ends_at)
            progress.update(task, total=recording.frames)
            played = engine.play(pipeline_class, stream, recording, partial(progress.advance, task))
            outcomes.append(outcome_of(store, stream, recording, played))
    return outcomes


def table_of(outcomes: Sequence[Outcome]) -> Table:
    table = Table(
        title="What the workflows sent",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,  # so that it fits into 80 columns
    )
    table.add_column("use case")
    table.add_column("workflow")
    for heading in ("frames", "events", "pictures"):
        table.add_column(heading, justify="right")
    table.add_column("results")
    for outcome in outcomes:
        table.add_row(
            outcome.stream.use_case,
            outcome.stream.workflow,
            str(outcome.played.frames),
            str(len(outcome.events)),
            str(outcome.pictures),
            results(outcome.events),
        )
    return table


def troubles_of(outcomes: Sequence[Outcome]) -> list[str]:
    """What is missing, a sentence for each stream that is not complete."""
    return [
        f"{outcome.stream.use_case}: {outcome.played.frames} of {outcome.recording.frames} frames "
        f"played, {len(outcome.events)} of {len(outcome.played.event_ids)} events arrived, with "
        f"{outcome.pictures} pictures. {' '.join(outcome.played.troubles)}".rstrip()
        for outcome in outcomes
        if not outcome.is_complete
    ]
