"""When a stream of the demo counts as complete."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import cv2
import pytest

from vision_event_block.demo import show
from vision_event_block.demo.engine import Played
from vision_event_block.demo.show import outcome_of
from vision_event_block.demo.streams import STREAMS, Recording
from vision_event_block.server.api.ingest import ingest
from vision_event_block.server.storage import Store
from vision_event_block.testing import scenes

STREAM = next(stream for stream in STREAMS if stream.use_case_id == "steel-sheets")
RECORDING = Recording(Path("clip.avi"), Path("clip.json"), frames=3)
PLAYED = Played(frames=3, event_ids=("e-0", "e-1"), troubles=())
NOW = datetime.now(timezone.utc)


@pytest.fixture
def store(tmp_path):
    """A server's store with two events of two pictures each."""
    with Store.open(tmp_path) as opened:
        show.create_use_cases(opened)
        content = cv2.imencode(".jpg", scenes.tray(1))[1].tobytes()
        for event_id in PLAYED.event_ids:
            image = {key: opened.pictures.put(content).id for key in ("sourceId", "inputSourceId")}
            event = {
                "eventId": event_id,
                "eventType": "quality_check",
                "useCaseId": STREAM.use_case_id,
                "timestamp": NOW.isoformat(),
                "eventData": {"result": "pass"},
                "images": [image],
            }
            opened.put([ingest(event, now=NOW).event])
        yield opened


def outcome(store, played=PLAYED):
    return outcome_of(store, STREAM, RECORDING, played, timeout_s=0.0)


def test_all_frames_and_all_events_with_their_pictures_are_complete(store):
    found = outcome(store)
    assert found.is_complete
    assert (len(found.events), found.pictures) == (2, 4)
    assert show.troubles_of([found]) == []


def test_a_picture_that_is_not_there_is_missed(store):
    image = store.get("e-1").body["images"][0]
    store.pictures.get(image["sourceId"]).path.unlink()
    assert not outcome(store).is_complete
    assert "3 pictures" in show.troubles_of([outcome(store)])[0]


@pytest.mark.parametrize(
    "change",
    [
        {"event_ids": ("e-0", "e-1", "never-arrived")},
        {"event_ids": ()},
        {"frames": 2},
        {"troubles": ("Not recorded: the disk is full.",)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_anything_else_that_is_missing_is_told(store, change):
    found = outcome(store, replace(PLAYED, **change))
    assert not found.is_complete
    [words] = show.troubles_of([found])
    assert words.startswith(STREAM.use_case)
    assert all(trouble in words for trouble in found.played.troubles)


def test_a_folder_that_was_shown_before_keeps_its_use_cases(store):
    show.create_use_cases(store)
    assert len(store.use_cases.list()) == len(STREAMS)
