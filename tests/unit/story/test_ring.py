"""The pictures of the last seconds: the right ones, at the right times, in bounded memory."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vision_event_block.events.encoding import jpeg_facts
from vision_event_block.events.errors import UnfitPicture
from vision_event_block.story.ring import (
    MAX_LATE_S,
    MAX_WAITING,
    CameraStory,
    StoryRing,
    story_images,
)

_rng = np.random.default_rng(3)
GREY = np.full((36, 64, 3), 90, np.uint8)
FPS = 30


def grey():
    return GREY


def unwanted():
    raise AssertionError("the pixels of a frame that is not kept were asked for")


def shade(level):
    """A picture that is known again by its grey."""
    return lambda: np.full((16, 16), level, np.uint8)


def level_of(story_picture):
    content = np.frombuffer(story_picture.picture.content, np.uint8)
    return round(float(cv2.imdecode(content, cv2.IMREAD_GRAYSCALE).mean()))


def times(pictures):
    return [round(each.time_s, 3) for each in pictures]


def filled(seconds, *, ring_seconds=10.0, **options):
    ring = StoryRing(seconds=ring_seconds, **options)
    for number in range(round(seconds * FPS) + 1):
        ring.add(grey, number / FPS)
    return ring


def test_two_pictures_a_second_are_kept_of_thirty_frames():
    ring = filled(10.0)

    assert times(ring.before(10.0, 3.0)) == [7.0, 7.5, 8.0, 8.5, 9.0, 9.5]


@pytest.mark.parametrize("fps", [1, 2, 3, 7, 10])
def test_the_rate_is_kept_though_it_does_not_divide_that_of_the_camera(fps):
    ring = filled(10.0, fps=fps)

    assert len(ring.before(10.0, 10.0)) == pytest.approx(10 * fps, abs=1)


def test_of_a_camera_that_is_slower_every_frame_is_kept():
    ring = StoryRing(seconds=10.0, fps=10)
    for number in range(8):
        ring.add(grey, number * 0.7)

    assert times(ring.before(99.0, 99.0)) == [round(number * 0.7, 3) for number in range(8)]


def test_each_time_has_the_picture_of_its_frame():
    ring = StoryRing(seconds=10.0, fps=FPS)
    for number in range(200):
        ring.add(shade(number), number / FPS)

    found = ring.before(5.0, 2.0)

    assert [level_of(each) for each in found] == [round(each.time_s * FPS) for each in found]
    assert len(found) == pytest.approx(60, abs=1)


def test_a_frame_that_is_not_kept_is_not_read():
    ring = filled(0)

    assert not ring.add(unwanted, 0.2)
    assert ring.add(grey, 0.5)


def test_what_came_before_ends_at_the_frame_and_what_came_after_begins_there():
    ring = filled(4.0)

    assert times(ring.before(2.0, 1.0)) == [1.0, 1.5]
    assert times(ring.after(2.0, 1.0)) == [2.5, 3.0]
    assert ring.after(4.0, 1.0) == []


def test_the_ring_reaches_back_as_far_as_it_was_asked_to():
    ring = filled(60.0, ring_seconds=5.0)

    assert times(ring.before(60.0, 5.0)) == [55.0 + half / 2 for half in range(10)]
    assert len(ring) <= 12


# --- bounds


@pytest.mark.parametrize("shape", [(360, 640, 3), (640, 640, 3), (1080, 1920, 3), (640, 360)])
def test_ten_seconds_of_noise_take_less_than_two_megabytes(shape):
    """Nothing that a camera sees takes more."""
    noise = _rng.integers(0, 256, shape, dtype=np.uint8)
    ring = StoryRing(seconds=10.0)
    for number in range(60):
        ring.add(lambda: noise, number / 2)

    assert ring.size_bytes < 2_000_000
    assert len(ring.before(29.5, 10.0)) == 20


def test_ten_minutes_take_no_more_than_ten_seconds():
    ring = StoryRing(seconds=10.0)
    sizes = []
    for number in range(600 * FPS):
        ring.add(grey, number / FPS)
        if number % (10 * FPS) == 0:
            sizes.append((len(ring), ring.size_bytes))

    assert len(set(sizes[2:])) == 1
    assert ring.size_bytes == sum(each.picture.size_bytes for each in ring.before(1e9, 1e9))


def test_a_ring_without_end_has_a_limit():
    ring = StoryRing(seconds=1e6, fps=10)
    noise = _rng.integers(0, 256, (640, 640, 3), dtype=np.uint8)
    ring.add(lambda: noise, 0.0)
    size_bytes = ring.size_bytes
    ring._max_bytes = 10 * size_bytes
    for number in range(1, 100):
        ring.add(lambda: noise, float(number))

    assert ring.size_bytes <= 10 * size_bytes
    assert times(ring.before(1e9, 1e9))[-1] == 99.0


def test_no_picture_has_a_longer_side():
    ring = StoryRing(seconds=1.0, side_px=320)
    ring.add(lambda: np.zeros((1080, 1920, 3), np.uint8), 0.0)
    [kept] = ring.before(1.0, 5.0)
    facts = jpeg_facts(kept.picture.content)

    assert (facts.width_px, facts.height_px) == (320, 180)


# --- odd times


@pytest.mark.parametrize("time_s", [math.nan, math.inf, -math.inf])
def test_a_time_that_is_none_is_passed_over(time_s):
    ring = filled(2.0)
    before = times(ring.before(2.1, 9.0))

    assert not ring.add(unwanted, time_s)
    assert times(ring.before(2.1, 9.0)) == before


def test_a_frame_that_comes_late_is_passed_over():
    ring = filled(4.0)

    assert not ring.add(unwanted, 4.0 - MAX_LATE_S)
    assert ring.add(grey, 4.5)
    assert times(ring.before(5.0, 1.6)) == [3.5, 4.0, 4.5]


def test_after_a_restart_nothing_is_left_of_the_time_before():
    ring = filled(6.0)
    for number in range(FPS):
        ring.add(grey, number / FPS)

    assert times(ring.before(9.0, 9.0)) == [0.0, 0.5]


def test_after_a_gap_what_is_too_old_is_not_before():
    ring = filled(6.0)
    ring.add(grey, 3600.0)

    assert times(ring.before(3600.5, 5.0)) == [3600.0]
    assert len(ring) == 1


def test_pixels_that_are_none_are_named_and_cost_their_own_turn_only():
    ring = filled(1.0)
    with pytest.raises(UnfitPicture):
        ring.add(lambda: np.zeros((4, 4, 7), np.uint8), 1.5)

    assert not ring.add(unwanted, 1.6)
    assert ring.add(grey, 2.0)
    assert times(ring.before(3.0, 9.0)) == [0.0, 0.5, 1.0, 2.0]


@given(
    steps=st.lists(st.floats(-8, 8) | st.floats(0, 0.2), max_size=120),
    fps=st.sampled_from([0.5, 2, 10]),
    seconds=st.floats(0.5, 5),
    asked=st.tuples(st.floats(-10, 10), st.floats(0, 5)),
)
@settings(max_examples=150, deadline=None)
def test_the_ring_keeps_what_a_slow_and_obvious_model_keeps(steps, fps, seconds, asked):
    """The model has all frames since the last restart, and thins them afterwards."""
    ring = StoryRing(seconds=seconds, fps=fps)
    kept: list[float] = []
    due_s = now_s = 0.0
    for step in steps:
        now_s += step
        if kept and now_s < kept[-1] - MAX_LATE_S:
            kept = []
        is_due = not kept or now_s >= due_s
        assert ring.add(grey, now_s) is is_due
        if is_due:
            follows = bool(kept) and due_s + 1 / fps > now_s
            due_s = due_s + 1 / fps if follows else now_s + 1 / fps - 0.001
            kept.append(now_s)
    at_s, span_s = (kept[-1] if kept else 0.0) + asked[0], min(asked[1], seconds)
    reach_s = (kept[-1] if kept else 0.0) - seconds
    held = [time_s for time_s in kept if time_s >= reach_s]

    before = [each.time_s for each in ring.before(at_s, span_s) if each.time_s >= reach_s]
    assert before == [time_s for time_s in held if at_s - span_s - 0.001 < time_s < at_s]
    after = [each.time_s for each in ring.after(at_s, span_s) if each.time_s >= reach_s]
    assert after == [time_s for time_s in held if at_s < time_s < at_s + span_s + 0.001]
    assert len(ring) <= (seconds + 2 / fps) * fps + 3


# --- the images of an event


def test_each_image_is_labelled_with_its_distance():
    ring = filled(8.0)

    images = story_images([*ring.before(5.0, 3.5), *ring.after(5.0, 1.0)], 5.0)

    assert [image.label for image in images] == [
        *("-3.5 s", "-3.0 s", "-2.5 s", "-2.0 s", "-1.5 s", "-1.0 s", "-0.5 s"),
        *("+0.5 s", "+1.0 s"),
    ]
    assert all(image.output.content and image.input is None for image in images)


@pytest.mark.parametrize("most", [0, 1, 2, 7, 19, 20, 21])
def test_of_more_pictures_than_an_event_takes_the_story_keeps_its_length(most):
    ring = filled(10.0)
    pictures = ring.before(10.0, 10.0)

    labels = [image.label for image in story_images(pictures, 10.0, most=most)]

    assert len(labels) == len(set(labels)) == min(most, 20)
    if most > 1:
        assert (labels[0], labels[-1]) == ("-10.0 s", "-0.5 s")


# --- events that wait for what comes after


def story(after_s=1.0):
    return CameraStory(StoryRing(seconds=5.0), after_s=after_s)


def played(camera, begin_s, end_s):
    """Shows the frames of these seconds; gives the events that were over, by frame time."""
    over = []
    for number in range(round(begin_s * FPS), round(end_s * FPS)):
        over += [(number / FPS, sequel) for sequel in camera.due(number / FPS)]
        camera.ring.add(grey, number / FPS)
    return over


def test_an_event_is_over_with_the_first_frame_beyond_its_time():
    camera = story()
    played(camera, 0, 2)
    camera.ring.add(grey, 2.0)
    assert camera.wait("fall", 2.0) == []

    [(time_s, sequel)] = played(camera, 2, 6)

    assert (sequel.event, sequel.at_s, times(sequel.pictures)) == ("fall", 2.0, [2.5, 3.0])
    assert 3.0 < time_s <= 3.0 + 1 / FPS + 1e-9


def test_events_close_to_each_other_each_have_what_came_after_them():
    camera = story()
    played(camera, 0, 1)
    camera.wait("a", 1.0)
    played(camera, 1, 1.5)
    camera.wait("b", 1.5)

    over = {each.event: times(each.pictures) for _, each in played(camera, 1.5, 4)}

    assert over == {"a": [1.5, 2.0], "b": [2.0, 2.5]}


def test_the_end_of_a_camera_ends_every_story_with_what_there_is():
    camera = story(after_s=5.0)
    played(camera, 0, 1)
    camera.wait("a", 0.9)
    played(camera, 1, 2)

    assert [(each.event, times(each.pictures)) for each in camera.close()] == [("a", [1.0, 1.5])]
    assert camera.close() == []


def test_a_restart_ends_every_story_before_the_pictures_are_gone():
    camera = story(after_s=5.0)
    played(camera, 0, 3)
    camera.wait("a", 1.9)

    [(time_s, sequel)] = played(camera, 0, 1)

    assert (time_s, times(sequel.pictures)) == (0.0, [2.0, 2.5])


def test_so_many_events_wait_and_the_oldest_ends_early():
    camera = story(after_s=5.0)
    played(camera, 0, 1)
    pushed_out = [camera.wait(number, number / 100) for number in range(MAX_WAITING + 2)]

    assert [sequel.event for each in pushed_out for sequel in each] == [0, 1]
    assert len(camera.close()) == MAX_WAITING
