"""The recordings of the demo, as tests look at them."""

from __future__ import annotations

import json

import cv2

from vision_event_block.demo.streams import CLIPS

PARTS = 36
#: Frames that show a part on its way, one after the other.
WAY = 8
#: Parts, counted from 0, whose label came off or got oil on it.
UNREADABLE = frozenset({6, 11, 19, 20, 21, 28, 33})
#: How many caps lie in the tray, frame by frame.
CAPS = (15, 14, 12, 12, 9, 8, 5, 4, 1, 15, 13, 12, 10, 7, 7, 6, 3, 0, 15, 15, 12, 11, 9, 6)


def code_of(part):
    return f"PART-{1041 + part}"


def lines_of(name):
    """What is said of each frame; the same keys for all."""
    lines = json.loads((CLIPS / f"{name}.json").read_text("utf-8"))
    return [{"predictions": [], "serial_number": "", **line} for line in lines]


def frames_of(name):
    """One at a time: all together they may be hundreds of megabytes."""
    video = cv2.VideoCapture(str(CLIPS / f"{name}.mp4"))
    while (read := video.read())[0]:
        yield read[1]
    video.release()
