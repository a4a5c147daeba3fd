"""Recordings on disk: the video, and the script beside it."""

from __future__ import annotations

import json
from datetime import datetime, timezone

import cv2
import numpy as np
import pytest

from vision_event_block.demo import parts, recordings, trays

ENDS_AT = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


@pytest.fixture(scope="module")
def shots():
    return list(trays.shots())


@pytest.fixture(scope="module")
def recording(shots, tmp_path_factory):
    return recordings.write(shots, tmp_path_factory.mktemp("clips"), "trays", ends_at=ENDS_AT)


def frames_of(recording):
    """The frames as a player reads them, one at a time."""
    video = cv2.VideoCapture(str(recording.video))
    while (read := video.read())[0]:
        yield read[1]
    video.release()


def test_a_video_shows_every_shot(recording, shots):
    frames = list(frames_of(recording))
    assert len(frames) == recording.frames == len(shots)
    for frame, shot in zip(frames, shots, strict=True):
        assert np.abs(frame.astype(int) - shot.picture.astype(int)).mean() < 4


def test_codes_can_be_read_from_the_video_unless_they_are_torn_or_smeared(tmp_path):
    conveyor = recordings.write(parts.shots(), tmp_path, "parts", ends_at=ENDS_AT)
    middles = range(3, parts.PARTS * len(parts.WAY_PX), len(parts.WAY_PX))
    read = [
        cv2.QRCodeDetector().detectAndDecode(frame)[0]
        for number, frame in enumerate(frames_of(conveyor))
        if number in middles
    ]
    assert read == [
        parts.code_of(index) if parts.is_readable(index) else "" for index in range(parts.PARTS)
    ]
    assert read.count("") == len(parts.TORN | parts.SMEARED) > 0


def test_the_script_has_a_line_for_each_frame_and_ends_when_the_recording_does(recording, shots):
    lines = json.loads(recording.script.read_text("utf-8"))
    assert len(lines) == len(shots)
    assert lines[-1]["captured_at_s"] == ENDS_AT.timestamp()
    assert lines[-1]["captured_at_s"] - lines[0]["captured_at_s"] == pytest.approx(
        shots[-1].at_s - shots[0].at_s, abs=0.01
    )


def test_a_folder_that_is_not_there_is_an_error(shots, tmp_path):
    with pytest.raises(OSError, match="cannot write"):
        recordings.write(shots[:1], tmp_path / "missing", "parts", ends_at=ENDS_AT)
