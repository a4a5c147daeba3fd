"""Data sets: what supervision and pycocotools load from them is what was sent."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
import zipfile
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime, timedelta, timezone
from multiprocessing import get_context

import numpy as np
import pytest
import supervision
import yaml
from PIL import Image
from pycocotools import mask as masks
from pycocotools.coco import COCO

from vision_event_block.server.api.ingest import ingest
from vision_event_block.server.page.exports import export
from vision_event_block.server.page.exports.data_set import DataSet
from vision_event_block.server.page.exports.samples import SPLITS, Candidates, split_of
from vision_event_block.server.page.exports.zip_file import zipped_data_set
from vision_event_block.server.storage import Store
from vision_event_block.server.store.filters import Filters
from vision_event_block.server.store.records import StoredEvent, StoredPicture

NOW = datetime.now(timezone.utc).replace(microsecond=0)
WIDTH, HEIGHT = 64, 48
RING = [[10, 10], [40.5, 10], [40.5, 30], [10, 30]]
DENT = {"class": "dent", "x": 40.5, "y": 30.25, "width": 21.0, "height": 10.5, "confidence": 0.9}
HOLE = {"class": "hole", "x": 12.3, "y": 9.1, "width": 3.3, "height": 7.7, "confidence": 0.4}
SCRATCH = {**DENT, "class": "scratch", "x": 25.25, "y": 20, "width": 30.5, "height": 20}
GRIP = {**DENT, "class": "grip", "keypoints": [{"id": 0, "x": 33, "y": 27.5}]}
YOLO = ("yolo", "yolo-seg", "yolo-pose")


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "data", lookback_days=None) as opened:
        opened.use_cases.create("Dock", id="dock")
        yield opened


def picture(colour="red", kind="JPEG"):
    out = io.BytesIO()
    Image.new("RGB", (WIDTH, HEIGHT), colour).save(out, kind)
    return out.getvalue()


def put(store, event_id, *images, kind="custom", minutes=0, **body):
    event = {
        "eventId": event_id,
        "eventType": kind,
        "useCaseId": "dock",
        "timestamp": (NOW - timedelta(minutes=minutes)).isoformat(),
        "images": list(images),
        **body,
    }
    store.put([ingest(event, now=NOW).event])


def image(store, *, colour="red", **lists):
    return {"inputSourceId": store.pictures.put(picture(colour)).id, **lists}


def in_split(name, number=0):
    """An event id that belongs there."""
    return [each for each in map(str, range(200)) if split_of(each) == name][number]


@pytest.fixture
def unpacked(store, tmp_path):
    """The folder of a data set, taken from its zip file."""

    def unpack(kind, **filters):
        content = b"".join(export(store, kind, Filters(use_case_id="dock", **filters), []))
        folder = tmp_path / f"{kind}-{len(list(tmp_path.iterdir()))}"
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            assert archive.testzip() is None
            archive.extractall(folder)
        return folder

    return unpack


def loaded(folder, kind, split):
    """As README.txt says, with all of the pictures read."""
    if kind == "coco-zip":
        found = supervision.DetectionDataset.from_coco(
            images_directory_path=str(folder / split),
            annotations_path=str(folder / split / "_annotations.coco.json"),
        )
    else:
        found = supervision.DetectionDataset.from_yolo(
            images_directory_path=str(folder / split / "images"),
            annotations_directory_path=str(folder / split / "labels"),
            data_yaml_path=str(folder / "data.yaml"),
        )
    for _, pixels, _ in found:
        assert pixels.shape == (HEIGHT, WIDTH, 3)
    return found


def boxes_of(found):
    """Class and corners of everything in a data set, sorted."""
    return sorted(
        (found.classes[class_id], *np.round(corners.astype(float), 2).tolist())
        for _, _, detections in found
        for corners, class_id in zip(detections.xyxy, detections.class_id, strict=True)
    )


def sent(*entries):
    return sorted(
        (
            each["class"],
            *(round(each["x"] - each["width"] / 2, 2), round(each["y"] - each["height"] / 2, 2)),
            *(round(each["x"] + each["width"] / 2, 2), round(each["y"] + each["height"] / 2, 2)),
        )
        for each in entries
    )


@pytest.mark.parametrize("kind", [*YOLO, "coco-zip"])
def test_supervision_loads_the_boxes_that_were_sent_in_the_split_of_each_event(
    store, unpacked, kind
):
    seen = {"train": [DENT, HOLE], "valid": [HOLE], "test": []}
    for split, entries in seen.items():
        put(store, in_split(split), image(store, objectDetections=entries))

    folder = unpacked(kind)

    for split, entries in seen.items():
        found = loaded(folder, kind, split)
        assert found.classes == ["dent", "hole"]
        assert len(found) == 1
        assert boxes_of(found) == sent(*entries)


def test_supervision_loads_the_masks_that_were_sent(store, unpacked):
    put(store, in_split("train"), image(store, instanceSegmentations=[{**SCRATCH, "points": RING}]))

    for kind in ("yolo-seg", "coco-zip"):
        found = loaded(unpacked(kind), kind, "train")
        ((_, _, detections),) = found
        numbers = np.ravel(RING).tolist()
        expected = masks.decode(masks.merge(masks.frPyObjects([numbers], HEIGHT, WIDTH)))
        differing = np.count_nonzero(detections.mask[0] != expected)
        assert differing <= 2 * (31 + 21), kind  # its rim: supervision draws it, too
        assert boxes_of(found) == sent(SCRATCH)


def test_the_lines_are_as_the_format_has_them(store, unpacked):
    points = [
        {"id": 0, "x": 32, "y": 24},
        {"id": 2, "x": 16, "y": 12, "occluded": True},
        {"id": 3, "x": 70, "y": 12},
    ]
    every = image(
        store,
        objectDetections=[{**DENT, "x": 32, "y": 24, "width": 16, "height": 12}],
        instanceSegmentations=[{**SCRATCH, "points": [[0, 0], [96, 0], [32, 24]]}],
        keypoints=[{**GRIP, "x": 32, "y": 24, "width": 64, "height": 48, "keypoints": points}],
    )
    put(store, in_split("train"), every)

    lines = {
        kind: next((unpacked(kind) / "train/labels").iterdir()).read_text().splitlines()
        for kind in YOLO
    }

    scratch = "0.39453125 0.41666667 0.4765625 0.41666667"
    assert lines["yolo"] == ["0 0.5 0.5 0.25 0.25", f"2 {scratch}", "1 0.5 0.5 1 1"]
    box, outline, grip = lines["yolo-seg"]
    assert box == "0 0.375 0.375 0.625 0.375 0.625 0.625 0.375 0.625"
    assert outline.startswith("2 ")
    assert set(map(float, outline.split()[1:])) == {0, 0.5, 1, 0.25}  # cut off at the right edge
    assert grip == "1 0 0 1 0 1 1 0 1"
    assert lines["yolo-pose"] == [
        "0 0.5 0.5 0.25 0.25" + " 0 0 0" * 4,
        f"2 {scratch}" + " 0 0 0" * 4,
        "1 0.5 0.5 1 1 0.5 0.5 2 0 0 0 0.25 0.25 1 0 0 0",
    ]


def test_key_points_have_their_number_in_data_yaml(store, unpacked):
    put(store, in_split("train"), image(store, keypoints=[GRIP]))

    with_points, without = (
        yaml.safe_load((unpacked(kind) / "data.yaml").read_text()) for kind in ("yolo-pose", "yolo")
    )

    assert with_points["kpt_shape"] == [1, 3]
    assert without == {
        "train": "train/images",
        "val": "valid/images",
        "test": "test/images",
        "nc": 1,
        "names": ["grip"],
    }


@pytest.mark.parametrize("kind", [*YOLO, "coco-zip"])
def test_what_reaches_beyond_its_picture_is_cut_off_or_left_out(store, unpacked, kind):
    beyond = [
        {**DENT, "x": 60, "y": 46, "width": 20, "height": 10},
        {**HOLE, "x": -30},
        {**HOLE, "width": 0},
    ]
    put(store, in_split("train"), image(store, objectDetections=beyond))

    found = loaded(unpacked(kind), kind, "train")

    assert boxes_of(found) == [("dent", 50.0, 41.0, 64.0, 48.0)]


@pytest.mark.parametrize("kind", [*YOLO, "coco-zip"])
def test_no_event_is_a_data_set_without_pictures(unpacked, kind):
    folder = unpacked(kind)

    assert [len(loaded(folder, kind, split)) for split in SPLITS] == [0, 0, 0]


def test_pycocotools_loads_each_split(store, unpacked):
    for split in SPLITS:
        put(store, in_split(split), image(store, objectDetections=[DENT], keypoints=[GRIP]))

    folder = unpacked("coco-zip")

    for split in SPLITS:
        data = COCO(folder / split / "_annotations.coco.json")
        (entry,) = data.imgs.values()
        assert (folder / split / entry["file_name"]).read_bytes() == picture()
        assert entry["event_id"] == in_split(split)
        dent, grip = data.loadAnns(data.getAnnIds())
        assert dent["bbox"] == grip["bbox"] == [30.0, 25.0, 21.0, 10.5]
        assert grip["keypoints"] == [33, 27.5, 2]


def test_only_the_input_picture_is_taught(store, unpacked):
    both = image(store, colour="red", objectDetections=[DENT])
    both["sourceId"] = store.pictures.put(picture("blue")).id
    only_drawn_on = {key: both[key] for key in ("sourceId", "objectDetections")}
    put(store, in_split("train"), both, only_drawn_on)

    folder = unpacked("yolo")

    (file,) = (folder / "train/images").iterdir()
    assert file.read_bytes() == picture("red")
    assert "1 without an input picture" in (folder / "README.txt").read_text()


def test_what_cannot_be_taught_is_left_out_and_counted(store, unpacked):
    gif = {"inputSourceId": store.pictures.put(picture(kind="GIF")).id}
    put(
        store,
        in_split("train"),
        image(store),
        image(store, label="-1.5 s"),
        image(store, classifications=[{"class": "wet", "confidence": 0.5}]),
        {"inputSourceId": "0" * 32, "objectDetections": [DENT]},
        {**gif, "objectDetections": [DENT]},
    )

    folder = unpacked("yolo")

    assert [each.read_bytes() for each in (folder / "train/labels").iterdir()] == [b""]
    about = (folder / "README.txt").read_text()
    for words in (
        "1 before or after the event, on which nothing was looked for",
        "1 classified as a whole, without boxes",
        "1 no longer there",
        "1 in a format that tools for training do not read",
    ):
        assert words in about


def test_an_event_stays_in_its_split_and_a_class_in_its_place_when_more_events_come(
    store, unpacked
):
    def files_of(folder):
        return {each.name: each.parent.parent.name for each in folder.glob("*/images/*")}

    for number in range(60):
        put(store, f"early-{number}", image(store, objectDetections=[HOLE]), minutes=number)
    before = unpacked("yolo")
    for number in range(60):
        put(store, f"late-{number}", image(store, objectDetections=[HOLE, DENT]))
    after = unpacked("yolo")
    put(store, "older", image(store, objectDetections=[HOLE]), minutes=999)

    was, now = files_of(before), files_of(after)

    assert was.items() <= now.items()
    assert {split: list(was.values()).count(split) for split in SPLITS} == {
        "train": 44, "valid": 13, "test": 3,
    }  # fmt: skip
    for each in (after, unpacked("yolo")):
        assert yaml.safe_load((each / "data.yaml").read_text())["names"] == ["dent", "hole"]


def test_the_shares_of_the_splits_are_those_asked_for():
    for shares in ((70, 20, 10), (80, 20, 0), (1, 1, 1)):
        counts = [0, 0, 0]
        for number in range(9000):
            counts[SPLITS.index(split_of(f"event-{number}", shares))] += 1
        assert np.array(counts) / 9000 == pytest.approx(np.array(shares) / sum(shares), abs=0.02)


def test_only_the_wrong_ones_and_what_was_said_about_each(store, unpacked):
    verdicts = {"a": "incorrect", "b": "correct", "c": None}
    for event_id, verdict in verdicts.items():
        put(store, event_id, image(store, objectDetections=[DENT]))
        if verdict:
            about = {"relatedEventId": event_id, "feedback": verdict}
            put(store, f"on-{event_id}", kind="operator_feedback", eventData=about)

    def feedback_in(folder):
        with (folder / "pictures.csv").open(newline="") as file:
            return {row["event_id"]: row["feedback"] or None for row in csv.DictReader(file)}

    assert feedback_in(unpacked("yolo")) == verdicts
    wrong = unpacked("yolo", feedback=("incorrect",))
    assert feedback_in(wrong) == {"a": "incorrect"}
    # What is wrong is not put right: nobody said how.
    (label,) = wrong.glob("*/labels/*.txt")
    assert label.read_text().startswith("0 ")


def test_names_of_files_and_classes_may_be_anything(store, unpacked):
    names = ['=cmd|"x"', "a: [b]\n- c", "Ü\u2028\u0085#", "yes", "1"]
    for number, event_id in enumerate(("../up", "..\\up", "A" * 256, "a" * 256, "ü", "u:*")):
        seen = [{**DENT, "class": name} for name in names]
        put(store, event_id, image(store, objectDetections=seen), minutes=number)

    folder = unpacked("yolo")

    pictures = list(folder.glob("*/images/*"))
    assert len({each.name.lower() for each in pictures}) == 6
    assert all(each.name.isascii() or "ü" in each.name for each in pictures)
    assert sum(len(loaded(folder, "yolo", split)) for split in SPLITS) == 6
    assert loaded(folder, "yolo", "train").classes == sorted(names)


@pytest.mark.parametrize("kind", ["yolo-seg", "coco"])
def test_memory_stays_flat(kind):
    # In a process of its own: what is counted is of all threads.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        (small_total, small), (large_total, large) = process.map(
            peak_bytes, [kind] * 2, [400, 1200]
        )

    assert large_total > 2.9 * small_total
    # Until it is too much and waits on disk: of each split, of what is said of each file.
    assert large - small < 4 * 256 * 1024


def peak_bytes(kind, count):
    """How large the data set of so many events is, and how much memory writing it took."""
    ring = [[number / 10, (number % 7) * 5] for number in range(50)]
    shown = {"inputSourceId": "0" * 32, "instanceSegmentations": [{**SCRATCH, "points": ring}]}
    content = picture()
    known = StoredPicture(
        id="0" * 32, media_type="image/jpeg", width=WIDTH, height=HEIGHT,
        size_bytes=len(content), name=None, metadata={},
    )  # fmt: skip
    events = (
        StoredEvent(
            event_id=str(number), event_type="custom", use_case_id="dock", timestamp=NOW,
            body={"images": [shown]}, received_at=NOW, feedback=None,
        )
        for number in range(count)
    )  # fmt: skip
    tracemalloc.start()
    pieces = zipped_data_set(
        DataSet(kind), events, info=lambda _: known, picture=lambda _: ("a.jpg", content)
    )
    total = sum(len(piece) for piece in pieces)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return total, peak


def test_names_tell_when_and_which():
    images = [{"inputSourceId": "a", "objectDetections": [DENT]}]
    moment = datetime(2026, 3, 1, 9, 15, 27, tzinfo=timezone.utc)

    (found,) = Candidates().of("5b0a3a52-6d2f", moment, {"images": images}, None)

    assert found.sample.name == "20260301T091527Z_5b0a3a52-6d2f_0"
    assert json.loads(json.dumps(found.sample.__dict__))["captured"] == "2026-03-01T09:15:27.000Z"
