"""The states of an event, and the diagram of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from vision_event_block.delivery.jobs import progress_note, read_progress
from vision_event_block.delivery.queued_event import (
    TRANSITIONS,
    On,
    QueuedEvent,
    State,
    UploadedImage,
    diagram,
)
from vision_event_block.outbox import clock
from vision_event_block.outbox.entry import Address

ARCHITECTURE = Path(__file__).parents[3] / "docs/architecture.md"
HOUR_S = 3600.0


def test_the_diagram_of_the_docs_is_that_of_the_table():
    """If this fails, run docs/states.py."""
    assert f"```mermaid\n{diagram()}\n```" in ARCHITECTURE.read_text("utf-8")


def test_every_state_can_be_reached_and_ends_somewhere():
    reached = {State.UNROUTABLE}
    while True:
        following = {after for state in reached for after in TRANSITIONS[state].values()}
        if following <= reached:
            break
        reached |= following
    assert reached == set(State)
    ends = {state for state, moves in TRANSITIONS.items() if not moves}
    assert ends == {State.DELIVERED, State.DEAD, State.GONE, State.SUPERSEDED}


def test_whatever_a_worker_has_can_go_back():
    for state in (State.LOADING, State.UPLOADING, State.CREATING, State.REFUSED):
        assert TRANSITIONS[state][On.FAILED] is State.DELAYED


def test_an_event_moves_as_the_table_says_and_in_no_other_way():
    event = QueuedEvent("e", Address("api", "https://example.invalid"))
    for on in (On.ROUTED, On.TAKEN, On.LOADED, On.UPLOADED, On.SENT, On.CONFIRMED, On.CLEARED):
        event.move(on)
    assert event.state is State.DELIVERED
    with pytest.raises(RuntimeError, match="no transition from delivered when something fails"):
        event.move(On.FAILED)
    assert event.state is State.DELIVERED


NOW = clock.reading()


@pytest.mark.parametrize(
    ("later", "is_fresh"),
    [
        ({"uptime_s": NOW.uptime_s + HOUR_S}, True),
        ({"uptime_s": NOW.uptime_s + 7 * HOUR_S}, False),
        ({"uptime_s": NOW.uptime_s - 1}, False),
        # The wall clock says nothing as long as the machine runs.
        ({"uptime_s": NOW.uptime_s + 1, "wall_s": NOW.wall_s + 9 * HOUR_S}, True),
        ({"boot_id": "later", "wall_s": NOW.wall_s + HOUR_S}, True),
        ({"boot_id": "later", "wall_s": NOW.wall_s + 25 * HOUR_S}, False),
        ({"boot_id": "later", "wall_s": NOW.wall_s - HOUR_S}, False),
        ({"boot_id": "later", "wall_s": 12.0}, False),
    ],
)
def test_an_uploaded_image_is_used_as_long_as_it_is_certainly_young(later, is_fresh):
    image = UploadedImage("source", NOW)
    assert image.is_fresh(replace(NOW, **later), 6 * HOUR_S) is is_fresh


def test_what_is_noted_of_uploaded_images_is_read_again_with_its_time():
    images = {"images/a.jpg": UploadedImage("source-1", NOW)}
    assert read_progress(progress_note(images)) == images


@pytest.mark.parametrize("member", ["images/a.jpg", "images/a.jpg x y z", "images/a.jpg 1 2", ""])
def test_a_note_without_a_time_is_not_used(member):
    assert read_progress({member: "source-1"}) == {}


def test_an_earlier_version_finds_none_of_its_images_in_a_note_of_this_one():
    assert "images/a.jpg" not in progress_note({"images/a.jpg": UploadedImage("source-1", NOW)})
