"""Track Event in the real engine and in an `InferencePipeline`, behind the host's real trackers."""

from __future__ import annotations

import gc
import json
import math
import random
import time
import tracemalloc
from collections import Counter, defaultdict
from datetime import datetime, timedelta, timezone
from importlib import import_module
from itertools import pairwise

import cv2
import numpy as np
import pytest
import supervision as sv

from tests.host_environment import ENGINE, needs_new_host
from tests.integration.workflows import predicted, workflow
from tests.waiting import eventually
from vision_event_block import settings
from vision_event_block.delivery.shared_dispatch import shared_dispatch
from vision_event_block.tracking.sighting import CLEAR_LEAD

FPS = 15
WIDTH, HEIGHT = 640, 480
#: Ten bits as white and black squares along the lower edge survive any codec.
BITS, SQUARE_PX = 10, 24
TRACKER = "roboflow_core/byte_tracker@v3"
#: As the block has them, which cannot be imported before its host.
SILENT_AFTER_S, MAX_CAMERAS = 60.0, 64


def frame_with(number, boxes=()):
    """A grey frame with the number written on it as squares, and things as boxes."""
    frame = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    for left, top, width, height in boxes:
        cv2.rectangle(frame, (left, top), (left + width, top + height), (200, 160, 60), -1)
    for bit in range(BITS):
        left = 10 + bit * (SQUARE_PX + 10)
        shade = 255 if number >> bit & 1 else 0
        frame[HEIGHT - SQUARE_PX :, left : left + SQUARE_PX] = shade
    return frame


def number_on(picture):
    """The number of the frame that the bytes of a picture show."""
    pixels = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_GRAYSCALE)
    scale = pixels.shape[1] / WIDTH
    middles = [
        pixels[
            round((HEIGHT - SQUARE_PX / 2) * scale),
            round((10 + bit * (SQUARE_PX + 10) + SQUARE_PX / 2) * scale),
        ]
        for bit in range(BITS)
    ]
    return sum(1 << bit for bit, shade in enumerate(middles) if shade > 128)


class Thing:
    """One thing of a clip: where it is in each frame, and whether it can be seen there."""

    def __init__(self, number):
        self.name = f"thing-{number:02}"
        #: Two lanes that touch are driven in opposite directions: the things cross.
        self.top = 10 + number * 21
        self.step = 2 if number % 2 else -2
        self.start, self.end = 3 + number % 7, 172 - number % 5
        #: The even ones are hidden for 0.3 to 5 seconds.
        hidden = round(FPS * (0.3 + 4.7 * number / 18)) if number % 2 == 0 else 0
        self.hidden = range(60, 60 + hidden)

    def box(self, frame):
        left = (60 if self.step > 0 else 540) + self.step * (frame - self.start)
        # It comes nearer, and goes away again.
        width = 40 + round(20 * (1 - abs(frame - 90) / 90))
        return left, self.top, width, 26

    def is_there(self, frame):
        return self.start <= frame <= self.end and frame not in self.hidden

    def confidence(self, frame):
        return 0.6 + 0.39 * ((frame * 7 + self.top) % 11) / 10


THINGS = [Thing(number) for number in range(20)]
FRAMES = 180


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A video of numbered frames with twenty things, and what a flickering detector says of it."""
    folder = tmp_path_factory.mktemp("clips")
    rng = random.Random(7)
    writer = cv2.VideoWriter(
        str(folder / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), FPS, (WIDTH, HEIGHT)
    )
    script = []
    for number in range(1, FRAMES + 1):
        there = [thing for thing in THINGS if thing.is_there(number)]
        writer.write(frame_with(number, [thing.box(number) for thing in there]))
        seen = [
            thing
            for thing in there
            # One box in five is missed, but for the ends: these are the truth to be found.
            if number in (thing.start, thing.start + 1, thing.end) or rng.random() > 0.2
        ]
        script.append({"answer": answer(seen, number)})
    writer.release()
    (folder / "clip.json").write_text(json.dumps(script))
    return folder


def answer(things, number):
    predictions = []
    for thing in things:
        left, top, width, height = thing.box(number)
        predictions.append({
            "x": left + width / 2, "y": top + height / 2, "width": width, "height": height,
            "confidence": thing.confidence(number), "class": thing.name, "class_id": 0,
            "detection_id": f"{thing.name}-{number}",
        })  # fmt: skip
    return {"image": {"width": WIDTH, "height": HEIGHT}, "predictions": predictions}


@pytest.fixture
def plugins(_host, monkeypatch):
    """The engine knows the blocks that stand in for a model, too."""
    monkeypatch.setenv("WORKFLOWS_PLUGINS", "vision_event_block,vision_event_block.demo.model")


def tracker_step(**fields):
    return {
        "type": TRACKER,
        "name": "tracker",
        "image": "$inputs.image",
        "detections": "$steps.model.predictions",
        # Tracks are remembered for as long as things may be gone.
        "lost_track_buffer": 250,
        **fields,
    }


def track_step(request, **fields):
    return {
        "type": "vision_event_block/track_event@v1",
        "name": "event",
        "input_image": "$inputs.image",
        "predictions": "$steps.tracker.tracked_detections",
        "event_type": "custom",
        "use_case": request.node.name,
        "lost_after_seconds": 6,
        **fields,
    }


def scripted(script, *steps):
    model = {
        "type": "vision_event_demo/scripted_model@v1",
        "name": "model",
        "images": "$inputs.image",
        "model_id": str(script),
    }
    return workflow(model, *steps, shown=("event", "tracker"))


@pytest.fixture
def play(plugins):
    """A function that runs a workflow over videos to their end.

    It gives for each camera its rows: the frame's number and time, the step's outputs, and what
    the tracker said.
    """
    from inference import InferencePipeline  # noqa: PLC0415

    def run(videos, specification):
        cameras = defaultdict(list)

        def keep(predictions, frames):
            rows = predictions if isinstance(predictions, list) else [predictions]
            for row, frame in zip(
                rows, frames if isinstance(frames, list) else [frames], strict=True
            ):
                if row is not None:
                    moment = frame.frame_timestamp.astimezone(timezone.utc)
                    cameras[str(frame.source_id or 0)].append((
                        frame.frame_id, moment, row["event"], row["tracker"]["tracked_detections"],
                    ))  # fmt: skip

        pipeline = InferencePipeline.init_with_workflow(
            video_reference=videos, workflow_specification=specification, on_prediction=keep
        )
        pipeline.start(use_main_thread=True)
        pipeline.join()
        return cameras

    return run


def seen_by(rows):
    """By the tracker's id, the frames that show it: number, time, truth's name, confidence, box."""
    seen = defaultdict(list)
    for number, moment, _, tracked in rows:
        for row in range(len(tracked)):
            seen[int(tracked.tracker_id[row])].append((
                number, moment, str(tracked.data["class_name"][row]),
                float(tracked.confidence[row]), [float(x) for x in tracked.xyxy[row]],
            ))  # fmt: skip
    return seen


def best_frame(sights):
    """The rule of the event, by hand: the number of the frame that it keeps."""
    best, best_score = None, None
    for number, _, _, confidence, (left, top, right, bottom) in sights:
        area = (min(right, WIDTH) - max(left, 0)) * (min(bottom, HEIGHT) - max(top, 0))
        score = confidence * (area / (WIDTH * HEIGHT)) ** 0.5
        edge_x, edge_y = WIDTH * 0.005, HEIGHT * 0.005
        if left < edge_x or top < edge_y or right > WIDTH - edge_x or bottom > HEIGHT - edge_y:
            score /= 2
        if best is None or score > best_score * CLEAR_LEAD:
            best, best_score = number, score
    return best


def events_of(api, camera):
    return [event for event in api.events.values() if event["streamId"] == camera]


def is_around(moment, first, last):
    """Whether a frame is of the second before a thing, or of the two seconds after it."""
    little = timedelta(milliseconds=2)
    is_before = first - timedelta(seconds=1) - little <= moment < first
    return is_before or last < moment <= last + timedelta(seconds=2) + little


@needs_new_host("it closes no block")
def test_each_thing_of_two_cameras_is_one_event_with_its_times_and_its_best_picture(
    api, play, clip, request
):
    video = str(clip / "clip.avi")

    step = track_step(request, before_seconds=1, after_seconds=2)
    cameras = play([video, video], scripted(clip / "clip.json", tracker_step(), step))

    assert sorted(cameras) == ["0", "1"]
    eventually(lambda: "still there" not in states_of(api))
    for camera, rows in cameras.items():
        seen = seen_by(rows)
        switches = sum(
            before[2] != after[2] for sights in seen.values() for before, after in pairwise(sights)
        ) + (len(seen) - len(THINGS))
        events = events_of(api, camera)
        by_id = {event["customMetadata"]["track_id"]: event for event in events}
        assert len(events) == len(by_id) == len(seen)
        # The tracker's own mistakes, which are not the block's: it makes none on this clip.
        assert switches == 0
        times = {number: moment for number, moment, *_ in rows}
        # Two a second: the first frame at or after each half of it.
        kept = [1 + math.ceil(FPS / 2 * n) for n in range(FRAMES * 2 // FPS)]
        for thing in THINGS:
            (track_id,) = {key for key, sights in seen.items() if sights[0][2] == thing.name}
            said = by_id[track_id]["customMetadata"]
            first, last = map(datetime.fromisoformat, (said["first_seen"], said["last_seen"]))
            frame = timedelta(seconds=1.01 / FPS)
            assert abs(first - times[thing.start]) <= frame
            assert abs(last - times[thing.end]) <= frame
            duration_s = (times[thing.end] - times[thing.start]).total_seconds()
            assert said["duration_s"] == pytest.approx(duration_s, abs=0.1)
            assert said["class"] == thing.name
            assert said["frames"] == len(seen[track_id])
            assert (
                said["state"] == "left" if last <= rows[-1][1] - timedelta(seconds=6) else "cut off"
            )
            best = best_frame(seen[track_id])
            assert number_on(api.picture_of(by_id[track_id], "input")) == best
            assert said["best_seen"] == times[best].isoformat(timespec="microseconds")
            story = story_of(api, by_id[track_id])
            around = [n for n in kept if is_around(times[n], first, last)]
            assert list(story.values()) == around
            offsets = [(times[n] - first).total_seconds() for n in around]
            assert list(story) == [f"{offset:+.1f} s" for offset in offsets]
            (found,) = by_id[track_id]["images"][0]["objectDetections"]
            left, top, width, height = thing.box(best)
            assert (found["x"], found["y"]) == pytest.approx(
                (left + width / 2, top + height / 2), abs=0.01
            )


@needs_new_host("it closes no block")
def test_what_began_and_ended_is_told_frame_by_frame(api, play, clip, request):
    rows = play(
        str(clip / "clip.avi"),
        scripted(clip / "clip.json", tracker_step(), track_step(request, lost_after_seconds=1)),
    )["0"]

    told = [change for _, _, outputs, _ in rows for change in outputs["events"]]
    assert {tuple(change) for change in told} == {
        ("track_id", "event_id", "state", "delivery_status")
    }
    assert {change["state"] for change in told} == {"still there", "left"}
    began = Counter(each["event_id"] for each in told if each["state"] == "still there")
    ended = Counter(each["event_id"] for each in told if each["state"] == "left")
    assert set(began.values()) == {1}
    assert set(ended) < set(began)
    # A thing that was hidden for longer than this is another thing.
    hidden_long = sum(len(thing.hidden) >= FPS for thing in THINGS)
    assert len(began) >= len(THINGS) + hidden_long
    eventually(lambda: "still there" not in states_of(api))
    assert set(api.events) == set(began)
    quiet = [outputs for *_, outputs, _ in rows if not outputs["events"]]
    assert {outputs["delivery_status"] for outputs in quiet} == {"waiting"}
    assert {outputs["event_id"] for outputs in quiet} == {""}
    for _, _, outputs, _ in rows:
        if outputs["events"]:
            assert outputs["event_id"] == outputs["events"][-1]["event_id"]
            assert outputs["delivery_status"] == outputs["events"][-1]["delivery_status"]


# --- One frame after the other, with ids as a tracker would give them --------------------------

STARTS_AT = datetime.now(timezone.utc).replace(microsecond=0) - timedelta(minutes=20)


def box(track_id, *, name="car", confidence=0.5, x=320.0, size=80.0):
    found = {
        "x": x, "y": 240.0, "width": size, "height": size, "confidence": confidence,
        "class": name, "class_id": 0, "detection_id": f"{name}-{track_id}-{x}",
    }  # fmt: skip
    return found if track_id is None else {**found, "tracker_id": track_id}


@pytest.fixture
def watching(compiled, request):
    """Makes a function that shows a step one frame and gives the step's outputs."""

    def start(*steps, width=WIDTH, height=HEIGHT, **fields):
        step = track_step(request, **{"predictions": "$inputs.tracked", **fields})
        engine = compiled(workflow(*steps, step, inputs=[predicted("tracked")]))

        def show(at_s, *boxes, camera="gate", number=None, pixels=None):
            number = round(at_s * 10) if number is None else number
            frame = {
                "type": "numpy_object",
                "value": frame_with(number) if pixels is None else pixels,
                "video_metadata": {
                    "video_identifier": camera,
                    "frame_number": number,
                    "frame_timestamp": STARTS_AT + timedelta(seconds=at_s),
                    "fps": 10,
                    "comes_from_video_file": False,
                },
            }
            tracked = {"image": {"width": width, "height": height}, "predictions": list(boxes)}
            (row,) = engine.run(runtime_parameters={"image": [frame], "tracked": [tracked]})
            return row["event"]

        show.engine = engine
        return show

    return start


TRACKERS = {
    "roboflow_core/byte_tracker@v3": {},
    "roboflow_core/trackers_bytetrack@v1": {"minimum_consecutive_frames": 1},
    "roboflow_core/trackers_ocsort@v1": {"minimum_consecutive_frames": 1},
    "roboflow_core/trackers_sort@v1": {"minimum_consecutive_frames": 1},
    "roboflow_core/trackers_botsort@v1": {"minimum_consecutive_frames": 1},
}


@needs_new_host("it has one tracker")
@pytest.mark.parametrize(("tracker", "fields"), TRACKERS.items(), ids=TRACKERS)
def test_every_tracker_of_the_host_will_do(api, watching, tracker, fields):
    step = {
        "type": tracker,
        "name": "tracker",
        "image": "$inputs.image",
        "detections": "$inputs.tracked",
        **fields,
    }
    show = watching(step, predictions="$steps.tracker.tracked_detections", report="end")
    things = ((60, 3, "car"), (200, 2, "truck"), (400, -2, "bus"))
    for n in range(24):
        show(
            n / 10,
            *(box(None, name=name, x=x + step * n, confidence=0.9) for x, step, name in things),
        )

    show.engine.close()

    eventually(lambda: states_of(api) == {"cut off": 3})
    said = [event["customMetadata"] for event in api.events.values()]
    assert {each["class"] for each in said} == {"car", "truck", "bus"}
    assert len({each["track_id"] for each in said}) == 3
    assert all(each["frames"] > 20 for each in said)


def states_of(api):
    return Counter(event["customMetadata"]["state"] for event in api.events.values())


def test_a_thing_is_recorded_when_it_is_confirmed_and_replaced_when_it_has_left(api, watching):
    show = watching(lost_after_seconds=2, custom_metadata={"shift": "night", "path": "mine"})
    for n in range(8):
        outputs = show(n / 10, box(7, size=80 + 40 * n))
        if n == 5:
            began = outputs
    (event,) = api.wait_for_events(1)
    assert event["customMetadata"]["state"] == "still there"
    assert number_on(api.picture_of(event, "input")) == 5

    ended = show(3)

    (change,) = ended["events"]
    assert began["events"] == [{**change, "state": "still there"}]
    assert change == {
        "track_id": 7,
        "event_id": ended["event_id"],
        "state": "left",
        "delivery_status": "stored",
    }
    eventually(lambda: states_of(api) == {"left": 1})
    ((event_id, event),) = api.events.items()
    said = event["customMetadata"]
    assert event_id == ended["event_id"]
    assert number_on(api.picture_of(event, "input")) == 7
    assert event["images"][0]["label"] == "best"
    assert event["images"][0]["objectDetections"][0]["width"] == 360
    assert datetime.fromisoformat(event["timestamp"]) == STARTS_AT
    assert said["first_seen"] == STARTS_AT.isoformat(timespec="microseconds")
    assert (said["duration_s"], said["frames"], said["track_id"]) == (0.7, 8, 7)
    assert (said["shift"], said["path"]) == ("night", "mine")
    assert "10 %" in said["best_rule"]


@pytest.mark.parametrize(
    ("report", "told"),
    [("start", ["still there"]), ("end", ["left"]), ("start_and_end", ["still there", "left"])],
)
def test_the_step_says_when_events_are_sent(api, watching, report, told):
    show = watching(lost_after_seconds=2, report=report)

    changes = [c for n in range(8) for c in show(n / 10, box(7))["events"]] + show(3)["events"]

    assert [change["state"] for change in changes] == told
    assert len({change["event_id"] for change in changes}) == 1


def test_nothing_more_is_kept_of_a_thing_whose_only_event_was_sent_at_its_start(api, directly):
    fields = {"report": "start", "minimum_seconds": 0.2, "pictures": "first_best_last"}

    def watch(frames):
        for n in frames:
            rows = [(7, [10, 10, 60 + 30 * n, 60 + 30 * n])]
            directly(n / 10, frame_with(n)[:240, :320].copy(), rows, before_seconds=1, **fields)
        return directly.block._pictures.kept_count

    kept = watch(range(3))
    (event,) = api.wait_for_events(1)
    assert [each["label"] for each in event["images"]][:2] == ["first", "best and last"]
    assert watch(range(3, 8)) == kept
    gc.collect()
    pictures = directly.block._pictures
    assert (len(pictures._kept), len(pictures._held)) == (0, 0)


def test_an_event_is_replaced_while_the_thing_is_there(api, watching):
    show = watching(update_seconds=1)

    changes = [c for n in range(31) for c in show(n / 10, box(7))["events"]]

    assert [change["state"] for change in changes] == ["still there"] * 3
    eventually(
        lambda: [each["customMetadata"]["duration_s"] for each in api.events.values()] == [2.5]
    )


@pytest.mark.parametrize(
    ("pictures", "labels", "numbers"),
    [
        ("best", ["best"], [4]),
        ("first", ["first"], [0]),
        ("last", ["last"], [8]),
        ("first_best_last", ["first", "best", "last"], [0, 4, 8]),
    ],
)
def test_the_step_chooses_the_pictures(api, watching, pictures, labels, numbers):
    show = watching(lost_after_seconds=1, pictures=pictures, minimum_seconds=0.8, report="end")
    for n in range(9):
        pixels = frame_with(n)
        show(n / 10, box(7, size=[80, 90, 100, 110, 200][4 - abs(n - 4)]), pixels=pixels)
        pixels[:] = 0  # as steps do that draw into the picture
    for n in range(9, 20):
        show(n / 10)

    (event,) = api.wait_for_events(1)
    assert [image["label"] for image in event["images"]] == labels
    shown = [number_on(api.uploads[image["inputSourceId"]].picture) for image in event["images"]]
    assert shown == numbers
    assert event.get("displayImagePosition", 0) == labels.index(
        "best" if "best" in labels else labels[0]
    )
    widths = [image["objectDetections"][0]["width"] for image in event["images"]]
    assert widths == [{0: 80, 4: 200, 8: 80}[number] for number in numbers]


@needs_new_host("it closes no block")
def test_pictures_and_ways_are_scaled_together(api, watching):
    show = watching(max_image_side=320, minimum_seconds=0)

    show(0, box(7, x=100))
    show.engine.close()

    (event,) = api.wait_for_events(1)
    assert event["customMetadata"]["path"] == "50,120"
    assert event["images"][0]["objectDetections"][0]["x"] == 50


@needs_new_host("it closes no block")
def test_the_end_of_the_pipeline_completes_what_is_open(api, watching):
    show = watching()
    for n in range(8):
        show(n / 10, box(7), box(8), camera="a")
        show(n / 10, box(7), camera="b")
    show(1, box(9), camera="b")  # not yet confirmed

    show.engine.close()

    eventually(lambda: states_of(api) == {"cut off": 3})
    assert Counter(event["streamId"] for event in api.events.values()) == {"a": 2, "b": 1}


def test_detections_without_ids_are_named_and_not_recorded(api, watching):
    show = watching(minimum_seconds=0)

    outputs = [show(n / 10, box(None), box(None)) for n in range(10)]

    assert all("no tracker ids" in each["message"] for each in outputs)
    assert not any(each["events"] for each in outputs)
    assert "no tracker ids" not in show(1)["message"]
    assert not api.events


BAD = {
    "an id twice": ([box(7), box(7, confidence=0.9)], "another one has their tracker id"),
    "five thousand": ([box(n, confidence=n / 5000) for n in range(5000)], "most confident of 5000"),
}


@pytest.mark.parametrize(("boxes", "named"), BAD.values(), ids=BAD)
def test_odd_frames_are_named_and_bounded(api, watching, boxes, named):
    show = watching(max_open=50)

    outputs = [show(n / 10, *boxes) for n in range(4)]

    assert all(named in each["message"] for each in outputs)
    assert len(outputs[-1]["events"]) <= 50
    assert not any(each["error_status"] for each in outputs)


def test_a_late_frame_and_a_clock_that_is_set_back_are_named(api, watching):
    show = watching(lost_after_seconds=2)
    for n in range(10):
        show(100 + n / 10, box(7))

    late, again = show(100.2, box(7)), show(0, box(7))

    assert "late" in late["message"]
    assert late["events"] == []
    assert "went back by" in again["message"]
    assert [change["state"] for change in again["events"]] == ["cut off"]


def test_a_frame_that_is_left_out_as_late_does_not_end_the_story(api, watching):
    show = watching(lost_after_seconds=5, before_seconds=3, minimum_seconds=0)
    for n in range(20):
        show(n / 10)
    assert "late" in show(0.3)["message"]

    assert len(show(2, box(7))["events"]) == 1

    (event,) = api.wait_for_events(1)
    labels = [image["label"] for image in event["images"]]
    assert labels == ["best", "-2.0 s", "-1.5 s", "-1.0 s", "-0.5 s"]


def test_events_of_one_frame_wait_for_the_api_together_no_longer_than_one(
    api, watching, monkeypatch
):
    monkeypatch.setenv("VISION_EVENT_WAIT_S", "1")
    settings.current.cache_clear()
    show = watching(fire_and_forget=False, minimum_seconds=0, durability="memory")

    api.delay_s = 3.0
    began_s = time.monotonic()
    found = show(0, *[box(n, x=40.0 + 18 * n) for n in range(30)])["events"]
    took_s = time.monotonic() - began_s
    api.delay_s = 0.0

    assert took_s < 20
    assert [change["delivery_status"] for change in found] == ["stored"] * 30


def test_a_camera_that_ends_and_comes_back_has_new_things(api, watching):
    show = watching(lost_after_seconds=2)
    first = [c for n in range(10) for c in show(n / 10, box(7))["events"]]

    second = [c for n in range(10) for c in show(500 + n / 10, box(7))["events"]]

    assert [change["state"] for change in first + second] == ["still there", "left", "still there"]
    assert len({change["event_id"] for change in first + second}) == 2


def test_a_story_that_a_restart_of_the_camera_ends_is_told_then(api, watching):
    show = watching(after_seconds=30, lost_after_seconds=1)
    for n in range(10):
        show(500 + n / 10, box(7))
    assert show(502)["events"] == []

    (change,) = show(0)["events"]

    assert change["state"] == "left"


def test_boxes_and_ids_that_are_no_numbers_are_named(api, directly):
    nowhere = [float("nan"), 0, float("inf"), 9e99]
    directly(0, frame_with(0), [(7, nowhere)], minimum_seconds=0)
    odd = np.array([None, "x", 1.5, 8], object)

    outputs = directly(0.1, frame_with(1), [(1, [9, 9, 40, 40])] * 4, ids=odd, minimum_seconds=0)

    assert [change["track_id"] for change in outputs["events"]] == [8]
    assert "3 left out" in outputs["message"]
    api.wait_for_events(2)


def test_more_things_than_may_be_open_push_out_the_oldest(api, watching):
    show = watching(max_open=2, minimum_seconds=0)
    show(0, box(1), box(2))

    outputs = show(0.1, box(1), box(2), box(3))

    assert [change["state"] for change in outputs["events"]] == ["pushed out", "still there"]
    assert "max_open" in outputs["message"]
    assert show(0.2, box(1), box(2), box(3))["events"] == []


@needs_new_host("it does not tell a plugin of its server")
def test_the_host_of_a_request_is_told_that_a_pipeline_is_needed(api, compiled, request, photo):
    step = track_step(request, predictions="$inputs.tracked", minimum_seconds=0)
    engine = compiled(
        workflow(step, inputs=[predicted("tracked")]),
        background_tasks=object(),  # which only a server has
    )
    tracked = {"image": {"width": 640, "height": 480}, "predictions": [box(7)]}

    (row,) = engine.run(runtime_parameters={"image": [photo], "tracked": [tracked]})

    assert "needs a pipeline" in row["event"]["message"]
    assert row["event"]["events"] == []
    assert row["event"]["error_status"]
    assert not api.events


def test_an_event_that_the_api_would_reject_is_told_once_and_things_are_followed_on(api, watching):
    show = watching(timestamp="2001-01-01T00:00:00Z", minimum_seconds=0)

    outputs = [show(n / 10, box(7)) for n in range(3)]

    assert [each["delivery_status"] for each in outputs] == ["rejected", "waiting", "waiting"]
    assert outputs[0]["events"][0]["event_id"] == ""
    assert not api.events


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"max_open": 0}, "max_open must be a whole number"),
        ({"report": "sometimes"}, "report"),
        ({"minimum_seconds": -1}, "minimum_seconds"),
        ({"minimum_second": 3}, "did you mean minimum_seconds"),
    ],
)
def test_a_wrong_literal_is_an_error_when_the_workflow_is_compiled(watching, fields, words):
    with pytest.raises(Exception, match="parse workflow") as caught:
        watching(**fields)(0)

    assert words in str(caught.value.inner_error)


def test_a_step_that_is_switched_off_follows_nothing(api, watching):
    show = watching(disable_sink=True, minimum_seconds=0)

    assert show(0, box(7))["delivery_status"] == "disabled"
    assert not api.events


def story_of(api, event):
    """The labels of a story's pictures, with the number of the frame that each shows."""
    return {
        image["label"]: number_on(api.uploads[image["sourceId"]].picture)
        for image in event["images"]
        if "sourceId" in image
    }


def test_what_came_before_and_after_is_told_with_frames_from_then(api, watching):
    show = watching(before_seconds=2, after_seconds=1.5, lost_after_seconds=1)
    for n in range(60):
        show(n / 10)
    for n in range(60, 70):
        show(n / 10, box(7))
    (event,) = api.wait_for_events(1)
    before = {"-2.0 s": 40, "-1.5 s": 45, "-1.0 s": 50, "-0.5 s": 55}
    assert story_of(api, event) == before
    told = [show(n / 10)["events"] for n in range(70, 90)]

    # It has left after a second. A picture of 1.5 s after it would still be in its story.
    assert [n for n, changes in enumerate(told, 70) if changes] == [85]
    eventually(lambda: states_of(api) == {"left": 1})
    (event,) = api.events.values()
    assert event["displayImagePosition"] == 0
    assert event["images"][0]["label"] == "best"
    after = {"+1.0 s": 70, "+1.5 s": 75, "+2.0 s": 80}
    assert story_of(api, event) == before | after


@needs_new_host("it closes no block")
def test_a_story_that_is_not_over_is_told_as_far_as_it_came(api, watching):
    show = watching(before_seconds=1, after_seconds=30, lost_after_seconds=1)
    for n in range(10):
        show(n / 10, box(7))
    for n in range(10, 40):
        show(n / 10)
    assert states_of(api) in ({}, {"still there": 1})

    show.engine.close()

    eventually(lambda: states_of(api) == {"left": 1})
    (event,) = api.events.values()
    assert list(story_of(api, event).values()) == [10, 15, 20, 25, 30, 35]


@pytest.fixture
def directly(api):
    """Makes a function that shows a block one frame, without an engine around it."""
    from vision_event_block.blocks.track_event import TrackEventBlock  # noqa: PLC0415

    base = import_module(f"{ENGINE}.execution_engine.entities.base")
    block = TrackEventBlock(api_key="made-up")

    def show(at_s, pixels, rows, ids=None, camera="gate", **fields):
        image = base.WorkflowImageData(
            base.ImageParentMetadata("image"),
            numpy_image=pixels,
            video_metadata=base.VideoMetadata(
                video_identifier=camera,
                frame_number=0,
                frame_timestamp=STARTS_AT + timedelta(seconds=at_s),
                fps=30,
                comes_from_video_file=False,
            ),
        )
        tracked = sv.Detections(
            xyxy=np.array([corners for _, corners in rows], float).reshape(-1, 4),
            confidence=np.full(len(rows), 0.5),
            class_id=np.zeros(len(rows), int),
            tracker_id=np.array([track_id for track_id, _ in rows], int),
            data={"class_name": np.array(["part"] * len(rows))},
        )
        if ids is not None:
            tracked.tracker_id = ids
        return block.run(
            input_image=image, predictions=tracked, event_type="custom", use_case="u", **fields
        )

    show.block = block
    yield show
    block.close()


def busy_belt(seconds, fps):
    """Things that come one after the other on three lanes, and grow, each for eight seconds."""
    for number in range(seconds * fps):
        rows = []
        for lane in range(3):
            crossing, since_s = divmod(number / fps + lane * 3, 10)
            if since_s < 8:
                left, size = 10 + 60 * lane, 10 + 5 * since_s
                rows.append((int(crossing) * 3 + lane, [left, 50, left + size, 50 + size]))
        yield number / fps, rows


def ours(snapshot):
    """The memory that the block's rooms have taken; the stand-in keeps all that it gets."""
    rooms = ("blocks", "convert", "events", "story", "tracking")
    filters = [tracemalloc.Filter(True, f"*/vision_event_block/{room}/*") for room in rooms]
    return snapshot.filter_traces(filters).statistics("filename")


def test_five_minutes_leave_no_more_behind_than_one(api, directly):
    fields = {"report": "end", "lost_after_seconds": 1, "pictures": "first_best_last"}
    pixels = frame_with(1)[::2, ::2].copy()
    sizes = {}
    tracemalloc.start()
    try:
        for at_s, rows in busy_belt(300, fps=2):
            directly(at_s, pixels, rows, before_seconds=2, durability="memory", **fields)
            if at_s in (60, 290):
                # What waits to be sent takes memory too, and how much waits is the machine's doing.
                assert shared_dispatch()._dispatch.flush(timeout_s=60) == 0
                gc.collect()
                sizes[at_s] = sum(each.size for each in ours(tracemalloc.take_snapshot()))
    finally:
        tracemalloc.stop()

    assert sizes[290] - sizes[60] < 150_000
    assert 80 <= len(api.events) < 100


ONE = [(7, [10, 10, 60, 60])]
AT_ONCE = {"minimum_seconds": 0, "report": "end"}


def test_a_camera_that_is_silent_while_others_go_on_has_ended(api, directly):
    for camera in "ab":
        assert directly(0, frame_with(0), ONE, camera=camera, **AT_ONCE)["events"] == []
    directly.block._cameras[("a", "")].heard_s -= SILENT_AFTER_S + 1

    (change,) = directly(0.1, frame_with(1), ONE, camera="b", **AT_ONCE)["events"]

    assert change["state"] == "cut off"
    assert api.wait_for_events(1)[0]["streamId"] == "a"
    # It may come back.
    assert directly(0.2, frame_with(2), ONE, camera="a", **AT_ONCE)["delivery_status"] == "waiting"


def test_cameras_without_end_are_bounded(api, directly):
    pixels = frame_with(0)[:48, :64].copy()
    for number in range(MAX_CAMERAS):
        assert directly(0, pixels, ONE, camera=f"c{number}", **AT_ONCE)["events"] == []

    assert directly(0, pixels, ONE, camera="one more", **AT_ONCE)["events"][0]["state"] == "cut off"

    assert api.wait_for_events(1)[0]["streamId"] == "c0"
    assert len(directly.block._cameras) == MAX_CAMERAS


def test_pictures_of_open_things_take_no_more_memory_than_they_may(api, watching, monkeypatch):
    monkeypatch.setenv("VISION_EVENT_MAX_TRACK_BYTES", "300000")
    settings.current.cache_clear()
    try:
        show = watching(minimum_seconds=0)
        pixels = np.random.default_rng(1).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)

        outputs = [show(n / 10, box(n), pixels=pixels) for n in range(8)]
    finally:
        settings.current.cache_clear()

    said = [change["state"] for each in outputs for change in each["events"]]
    assert said.count("pushed out") in range(6, 9)
    assert "VISION_EVENT_MAX_TRACK_BYTES" in outputs[-1]["message"]
    eventually(lambda: states_of(api)["pushed out"] == said.count("pushed out"))
    # None has lost its picture by it.
    assert all("inputSourceId" in event["images"][0] for event in api.events.values())


def test_a_quiet_frame_costs_little(directly):
    pixels = np.zeros((1080, 1920, 3), np.uint8)
    rows = [(n, [100 + 80 * n, 100, 160 + 80 * n, 200]) for n in range(20)]
    took_s = []
    for number in range(100):
        started_s = time.perf_counter()
        outputs = directly(number / 30, pixels, rows)
        if not outputs["events"]:
            took_s.append(time.perf_counter() - started_s)

    assert len(took_s) > 90
    # A tenth of it on an idle machine; see benchmarks/track_events.py.
    assert sorted(took_s)[len(took_s) // 2] < 0.0015 * 5


def test_pictures_that_both_versions_show_are_uploaded_once(api, watching):
    show = watching(before_seconds=1, lost_after_seconds=1)
    for n in range(20):
        show(n / 10, *([box(7)] if n > 10 else []))
    api.wait_for_events(1)

    show(4)

    eventually(lambda: states_of(api) == {"left": 1})
    assert len(api.uploads) == 3
