"""An event laid down as it is becomes the same bundle as one that was encoded at once."""

from __future__ import annotations

import struct
from datetime import datetime, timezone

import cv2
import numpy as np
import pytest

from vision_event_block.events.bundle import bundle_of
from vision_event_block.events.event import EventImage, VisionEvent
from vision_event_block.events.frames import Frame, recovered
from vision_event_block.events.images import Picture, Snapshot

CHANCE = np.random.default_rng(3)


def pixels(shape=(60, 90, 3), dtype=np.uint8):
    return CHANCE.integers(0, 200, shape).astype(dtype)


def original_of(image):
    return cv2.imencode(".jpg", image)[1].tobytes()


def event(*images):
    return VisionEvent(
        event_type="custom",
        use_case_id="dock",
        timestamp=datetime(2026, 3, 1, tzinfo=timezone.utc),
        event_data={"value": "Nähe"},
        images=images,
    )


def laid_down(frame, size_bytes=None):
    memory = bytearray(b"\xaa" * (size_bytes or frame.size_bytes))
    return memory, frame.write(memoryview(memory))


JPEG = original_of(pixels())
DECODED = cv2.imdecode(np.frombuffer(JPEG, np.uint8), cv2.IMREAD_COLOR)
BOTH = Snapshot(pixels=pixels(), quality=95)


@pytest.mark.parametrize(
    "pictures",
    [
        {"input": Snapshot(pixels=pixels(), quality=90)},
        {
            "input": Snapshot(pixels=pixels((33, 7, 3)), quality=95, max_side_px=20),
            "output": Snapshot(pixels=pixels((400, 300)), quality=70),
        },
        {"input": Snapshot(pixels=pixels((80, 80, 3))[::2, ::-1], quality=90)},
        {"input": Snapshot(pixels=DECODED, quality=90, original=JPEG)},
        {"output": Picture(content=JPEG), "input": Snapshot(pixels=pixels(), quality=90)},
        {"input": BOTH, "output": BOTH},
        {},
    ],
    ids=["one", "two", "a view with steps", "its very bytes", "one encoded", "the same", "none"],
)
def test_the_bundle_is_the_one_that_encoding_at_once_gives(pictures):
    sent = event(EventImage(label="workflow", annotations={"classifications": []}, **pictures))
    expected = bundle_of(sent.encoded(lambda all_: [each.encode() for each in all_]))

    memory, copy = laid_down(Frame.of(sent, "{}"))
    found = recovered(bytes(memory))

    assert found.bundle == expected
    assert (found.metadata, found.left_out) == ("{}", ())
    assert bundle_of(copy.encoded(lambda all_: [each.encode() for each in all_])) == expected


def test_the_copy_is_nobody_elses(tmp_path):
    mine = pixels()
    sent = event(EventImage(label="workflow", input=Snapshot(pixels=mine, quality=90)))
    before = mine.copy()

    _, copy = laid_down(Frame.of(sent, "{}"))
    mine[:] = 0

    assert np.array_equal(copy.images[0].input.pixels, before)
    assert copy.images[0].input.picture_id == sent.images[0].input.picture_id


def test_it_may_have_more_memory_than_it_needs():
    sent = event(EventImage(label="workflow", input=Snapshot(pixels=pixels(), quality=90)))
    frame = Frame.of(sent, "notes")
    memory, _ = laid_down(frame, 2 * frame.size_bytes)
    assert recovered(bytes(memory)).metadata == "notes"


def test_a_picture_that_cannot_be_encoded_is_left_out_and_named():
    sent = event(
        EventImage(label="one", input=Snapshot(pixels=pixels((0, 5, 3)), quality=90)),
        EventImage(label="two", input=Snapshot(pixels=pixels(), quality=90)),
    )
    memory, _ = laid_down(Frame.of(sent, "{}"))
    found = recovered(bytes(memory))
    assert [image["label"] for image in found.bundle.payload["images"]] == ["two"]
    assert len(found.bundle.pictures) == 1
    assert len(found.left_out) == 1


def test_every_page_that_is_missing_shows():
    sent = event(
        EventImage(label="workflow", input=Snapshot(pixels=pixels((300, 400, 3)) + 1, quality=90))
    )
    frame = Frame.of(sent, "{}")
    memory, _ = laid_down(frame)
    for start in range(0, frame.starts[0] + 300 * 400 * 3 - 4096, 4096):
        torn = bytearray(memory)
        torn[start : start + 4096] = bytes(4096)
        if torn == memory:
            continue  # between the head and the first part
        with pytest.raises((ValueError, LookupError, TypeError)):
            recovered(bytes(torn))


@pytest.mark.parametrize(
    "memory",
    [
        bytes(100),
        struct.pack("<II", 2**31, 7) + bytes(100),
        struct.pack("<II", 2, 0x0A0A0A0A) + b"{}",
        struct.pack("<II", 2, 2745614147) + b"{}",
    ],
)
def test_what_is_no_frame_is_refused(memory):
    with pytest.raises((ValueError, LookupError, TypeError)):
        recovered(memory)
