"""The clips, and the script that is written beside one."""

from __future__ import annotations

import json
from datetime import datetime, timezone

import cv2
import pytest

from tests.clips import CAPS, PARTS, UNREADABLE, WAY, code_of, frames_of, lines_of
from vision_event_block.demo.streams import STREAMS, recording_of

ENDS_AT = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


@pytest.mark.parametrize("name", [stream.use_case_id for stream in STREAMS])
def test_a_script_has_a_line_for_each_frame_and_all_that_is_found_lies_on_it(name, tmp_path):
    recording = recording_of(name, tmp_path, ends_at=ENDS_AT)
    told = json.loads(recording.script.read_text("utf-8"))
    shapes = {frame.shape for frame in frames_of(name)}
    assert recording.frames == len(told) == sum(1 for _ in frames_of(name))
    assert told[-1]["captured_at_s"] == ENDS_AT.timestamp()
    times_s = [line["captured_at_s"] for line in told]
    assert times_s == sorted(set(times_s))
    for line in told:
        image = line["answer"]["image"]
        assert shapes == {(image["height"], image["width"], 3)}
        for found in line["answer"]["predictions"]:
            assert found["width"] / 2 - 0.1 <= found["x"] <= image["width"] - found["width"] / 2 + 1
            assert found["height"] / 2 <= found["y"] <= image["height"] - found["height"] / 2


def test_codes_can_be_read_from_the_video_unless_they_are_torn_or_smeared():
    middles = range(WAY // 2 - 1, PARTS * WAY, WAY)
    read = [
        cv2.QRCodeDetector().detectAndDecode(frame)[0]
        for number, frame in enumerate(frames_of("part-labels"))
        if number in middles
    ]
    assert read == ["" if part in UNREADABLE else code_of(part) for part in range(PARTS)]


def test_a_tray_shows_as_many_caps_as_it_holds():
    for frame, count in zip(frames_of("cap-trays"), CAPS, strict=True):
        discs = cv2.inRange(frame, (20, 100, 180), (120, 190, 255))
        _, _, stats, _ = cv2.connectedComponentsWithStats(discs)
        assert sum(stats[1:, cv2.CC_STAT_AREA] > 1500) == count


def test_a_part_goes_through_the_picture_and_none_is_there_at_the_end():
    seen = [line["predictions"] for line in lines_of("part-labels")]
    assert [len(found) for found in seen] == [1] * PARTS * WAY + [0, 0, 0]


def test_a_video_that_opencv_cannot_read_is_an_error_that_names_it(tmp_path):
    (tmp_path / "odd.mp4").write_bytes(b"no video")
    with pytest.raises(OSError, match=r"cannot read H\.264 video: .*odd\.mp4"):
        recording_of("odd", tmp_path, ends_at=ENDS_AT, clips=tmp_path)
