"""Each camera of a block has its own ring, by its own clock; what has none is named."""

from __future__ import annotations

from datetime import datetime, timezone
from types import SimpleNamespace

import numpy as np
import pytest

from vision_event_block.blocks import host_images
from vision_event_block.blocks.camera_stories import MAX_CAMERAS, CameraStories, with_story
from vision_event_block.blocks.inputs import StoryOptions
from vision_event_block.contract import limits
from vision_event_block.events.event import EventImage, VisionEvent
from vision_event_block.events.images import Picture

GREY = np.full((36, 64, 3), 90, np.uint8)
OPTIONS = StoryOptions(before_s=3.0, after_s=1.0)
NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


def frame(number, *, camera="0", is_file=True, fps=10, pixels=GREY):
    """A frame of a video as the host hands it over, as far as it is read here."""
    taken = datetime.fromtimestamp(NOON.timestamp() + number / 10, timezone.utc)
    metadata = SimpleNamespace(
        video_identifier=camera,
        frame_number=number,
        fps=fps,
        frame_timestamp=taken,
        comes_from_video_file=is_file,
    )
    return SimpleNamespace(numpy_image=pixels, _video_metadata=metadata)


def still(*, parent="image.[0]", root="image.[0]"):
    return SimpleNamespace(
        numpy_image=GREY,
        parent_metadata=SimpleNamespace(parent_id=parent),
        workflow_root_ancestor_metadata=SimpleNamespace(parent_id=root),
    )


def offsets(stories, found, seconds=3.0):
    return [round(each.time_s - found.time_s, 3) for each in stories.before(found, seconds)]


@pytest.mark.parametrize("is_file", [True, False])
def test_files_count_by_their_frames_and_live_cameras_by_their_times(is_file):
    stories = CameraStories()
    for number in range(31):
        found = stories.see(frame(number, is_file=is_file), OPTIONS)

    assert offsets(stories, found) == [-3.0, -2.5, -2.0, -1.5, -1.0, -0.5]
    assert found.time_s == pytest.approx(3.0 if is_file else NOON.timestamp() + 3.0)


@pytest.mark.parametrize("fps", [None, 0])
def test_a_file_that_does_not_say_how_fast_it_is_counts_by_the_hosts_times(fps):
    assert host_images.video_time_s(frame(20, fps=fps)) == NOON.timestamp() + 2.0


def test_a_live_frame_has_no_place_in_a_video():
    assert host_images.video_time_s(frame(20, is_file=False)) is None
    assert host_images.video_time_s(still()) is None


def test_each_camera_has_its_own_story():
    stories = CameraStories()
    for number in range(11):
        north = stories.see(frame(number, camera="north"), OPTIONS)
        if number % 5 == 0:
            south = stories.see(frame(100 + number, camera="south"), OPTIONS)

    assert offsets(stories, north) == offsets(stories, south) == [-1.0, -0.5]


def test_pictures_without_a_clock_count_by_ours():
    now_s = 100.0
    stories = CameraStories(lambda: now_s)
    for now_s in (100.0, 100.2, 100.5, 101.0):  # noqa: B007 - the clock reads it
        found = stories.see(still(), OPTIONS)

    assert offsets(stories, found) == [-1.0, -0.5]


@pytest.mark.parametrize("image", [None, still(parent="a1b2")])
def test_what_has_no_past_is_named(image):
    stories = CameraStories()
    found = stories.see(image, OPTIONS)

    assert [each.what for each in found.adjustments] == ["left out"]
    assert stories.before(found, 3.0) == stories.wait(found, "event") == []


def test_a_part_of_a_cameras_picture_that_stays_is_a_camera():
    stories = CameraStories()
    for number in range(11):
        found = stories.see(frame(number, camera="0 | crop: door"), OPTIONS)

    assert offsets(stories, found) == [-1.0, -0.5]


def test_a_picture_that_cannot_be_read_costs_no_event_that_is_over():
    stories = CameraStories()
    stories.wait(stories.see(frame(0), OPTIONS), "event")
    stories.see(frame(6), OPTIONS)

    found = stories.see(frame(20, pixels=np.zeros((3, 3, 9), np.uint8)), OPTIONS)

    [sequel] = found.ended
    assert (sequel.event, [each.time_s for each in sequel.pictures]) == ("event", [0.6])


def test_other_options_end_the_story_and_begin_another():
    stories = CameraStories()
    stories.wait(stories.see(frame(0), OPTIONS), "event")
    stories.see(frame(6), OPTIONS)

    found = stories.see(frame(7), StoryOptions(before_s=1.0, fps=1.0))

    assert [(each.event, len(each.pictures)) for each in found.ended] == [("event", 1)]
    assert offsets(stories, found) == []


def test_cameras_without_end_end_the_story_of_the_first():
    stories = CameraStories()
    first = stories.see(frame(0, camera="first"), OPTIONS)
    stories.wait(first, "event")
    ended = [
        sequel.event
        for number in range(MAX_CAMERAS + 5)
        for sequel in stories.see(frame(1, camera=str(number)), OPTIONS).ended
    ]

    assert ended == ["event"]
    assert len(stories._stories) == MAX_CAMERAS


def test_closing_ends_every_story_of_every_camera():
    stories = CameraStories()
    for camera in "ab":
        stories.wait(stories.see(frame(0, camera=camera), OPTIONS), camera)

    assert [sequel.event for sequel in stories.close()] == ["a", "b"]
    assert stories.close() == []


# --- the event


def event(*images):
    return VisionEvent(
        event_type="custom", use_case_id="dock", timestamp=NOON, images=tuple(images)
    )


def test_the_events_own_picture_stays_on_display():
    stories = CameraStories()
    for number in range(11):
        found = stories.see(frame(number), OPTIONS)
    own = EventImage(label="workflow", output=Picture(content=b"own"))

    told = with_story(event(own), stories.before(found, 3.0), found.time_s)

    assert [image.label for image in told.images] == ["workflow", "-1.0 s", "-0.5 s"]
    assert told.payload({each.picture_id: "x" for each in told.pictures})[
        "displayImagePosition"
    ] == 0  # fmt: skip


def test_an_event_gets_no_more_images_than_the_api_takes():
    stories = CameraStories()
    options = StoryOptions(before_s=60.0, fps=10.0, side_px=64)
    for number in range(601):
        found = stories.see(frame(number), options)
    own = [EventImage(label=str(number)) for number in range(limits.MAX_IMAGES - 100)]

    told = with_story(event(*own), stories.before(found, 60.0), found.time_s, share=0.5)

    labels = [image.label for image in told.images[len(own) :]]
    assert (len(labels), labels[0], labels[-1]) == (50, "-60.0 s", "-0.1 s")
    assert [each.what for each in told.adjustments] == ["50 of 600 pictures kept"]
