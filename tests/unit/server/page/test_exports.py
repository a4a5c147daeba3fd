"""Exports: the files hold what the events hold, and open where people open them."""

from __future__ import annotations

import csv
import io
import json
import re
import resource
import tracemalloc
import zipfile
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as masks
from pycocotools.coco import COCO

from vision_event_block.server.api.ingest import ingest
from vision_event_block.server.page.exports import EXPORTS, export
from vision_event_block.server.page.exports.csv_table import harmless
from vision_event_block.server.page.exports.zip_file import zipped
from vision_event_block.server.storage import Store
from vision_event_block.server.store.filters import Filters
from vision_event_block.server.store.records import NewEvent

NOW = datetime.now(timezone.utc)
BOX = {"class": "pallet", "x": 40.5, "y": 30.25, "width": 21.0, "height": 10.5, "confidence": 0.91}
RING = [[10, 10], [40, 10], [40, 30], [10, 30]]
SEGMENT = {
    "class": "scratch", "x": 25, "y": 20, "width": 30, "height": 20, "confidence": 0.8,
    "points": RING,
}  # fmt: skip


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path, lookback_days=None) as opened:
        opened.use_cases.create("Dock", id="dock")
        yield opened


def picture(colour="red", size=(64, 48)):
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "JPEG")
    return out.getvalue()


def put(store, number=0, *, kind="custom", **body):
    event = {
        "eventId": f"event-{number}",
        "eventType": kind,
        "useCaseId": "dock",
        "timestamp": (NOW - timedelta(minutes=number)).isoformat(),
        **body,
    }
    store.put([ingest(event, now=NOW).event])


def exported(store, kind, keys=()):
    return b"".join(export(store, kind, Filters(use_case_id="dock"), keys))


def opened(document, tmp_path):
    path = tmp_path / "annotations.json"
    path.write_bytes(document)
    return COCO(path)


def rows_of(document):
    return list(csv.DictReader(io.StringIO(document.decode("utf-8-sig"))))


@pytest.mark.parametrize("kind", ["coco", "coco-rle"])
def test_no_event_is_an_empty_data_set(store, tmp_path, kind):
    data = opened(exported(store, kind), tmp_path)

    assert (data.imgs, data.anns, data.cats) == ({}, {}, {})


def test_boxes_are_the_payloads(store, tmp_path):
    source = store.pictures.put(picture()).id
    put(store, images=[{"inputSourceId": source, "objectDetections": [BOX]}])

    data = opened(exported(store, "coco"), tmp_path)

    (annotation,) = data.loadAnns(data.getAnnIds())
    assert annotation["bbox"] == [30.0, 25.0, 21.0, 10.5]
    assert annotation["area"] == 21.0 * 10.5
    assert annotation["score"] == 0.91
    assert data.loadCats(annotation["category_id"])[0]["name"] == "pallet"
    image = data.loadImgs(annotation["image_id"])[0]
    assert (image["width"], image["height"]) == (64, 48)
    assert image["file_name"] == f"{source}.jpg"
    assert image["event_id"] == "event-0"


@pytest.mark.parametrize("kind", ["coco", "coco-rle"])
def test_outlines_fill_to_the_mask_that_was_sent(store, tmp_path, kind):
    source = store.pictures.put(picture()).id
    put(store, images=[{"sourceId": source, "instanceSegmentations": [SEGMENT]}])

    data = opened(exported(store, kind), tmp_path)

    (annotation,) = data.loadAnns(data.getAnnIds())
    expected = masks.decode(masks.merge(masks.frPyObjects([np.ravel(RING).tolist()], 48, 64)))
    assert np.array_equal(data.annToMask(annotation), expected)
    assert annotation["area"] == expected.sum() > 500
    assert isinstance(annotation["segmentation"], dict) == (kind == "coco-rle")


def put_as_stored(store, number, ring, source):
    """An event as an earlier version, which knew no limit, took it."""
    put(store, number)
    segment = {**SEGMENT, "points": ring}
    event = store.get(f"event-{number}")
    body = {**event.body, "images": [{"sourceId": source, "instanceSegmentations": [segment]}]}
    kept = {each: getattr(event, each) for each in ("event_id", "event_type", "use_case_id")}
    store.put([NewEvent(**kept, timestamp=event.timestamp, body=body)])


FAR = 1e9
BEYOND = {
    "far beyond": ([[0, 0], [FAR, 0], [FAR, FAR]], 64 * 48 / 2 + 48 * 16 / 2),
    "beyond all numbers of pixels": (
        [[-9e15, -9e15], [9e15, -9e15], [9e15, 9e15], [-9e15, 9e15]],
        64 * 48,
    ),
    "beyond on the left": ([[-FAR, 10], [10, 10], [10, 20], [-FAR, 20]], 100),
    "above and below": ([[10, -FAR], [20, -FAR], [20, FAR], [10, FAR]], 480),
    "a corner": ([[-5, -5], [15, -5], [-5, 15]], 50),
    "two pieces": ([[5, 5], [90, 5], [90, 40], [5, 40], [5, 35], [80, 35], [80, 10], [5, 10]], 590),
}


@pytest.mark.parametrize("kind", ["coco", "coco-rle"])
@pytest.mark.parametrize("case", BEYOND)
def test_an_outline_that_leaves_its_picture_is_cut_off_at_the_edge(store, tmp_path, kind, case):
    ring, area = BEYOND[case]
    put_as_stored(store, 0, ring, store.pictures.put(picture()).id)

    data = opened(exported(store, kind), tmp_path)

    (annotation,) = data.loadAnns(data.getAnnIds())
    assert data.annToMask(annotation).sum() == annotation["area"]
    assert annotation["area"] == pytest.approx(area, rel=0.06, abs=10)
    if kind == "coco":
        xs, ys = annotation["segmentation"][0][::2], annotation["segmentation"][0][1::2]
        assert 0 <= min(xs) <= max(xs) <= 64
        assert 0 <= min(ys) <= max(ys) <= 48


@pytest.mark.parametrize("kind", ["coco", "coco-rle"])
def test_an_outline_that_cannot_be_drawn_is_left_out_and_named(store, tmp_path, kind):
    source = store.pictures.put(picture()).id
    put_as_stored(store, 0, [[-9, -9], [-5, -9], [-5, -5]], source)
    put_as_stored(store, 1, [[0, 0], [64, 48]] * 20_000, source)

    data = opened(exported(store, kind), tmp_path)

    annotations = data.loadAnns(data.getAnnIds())
    assert [each["segmentation_left_out"] for each in annotations] == [
        "the outline lies outside of the picture",
        "the outline is longer than 1000000 pixels",
    ]
    assert [each["bbox"] for each in annotations] == [[10.0, 10.0, 30, 20]] * 2


def test_a_picture_of_unknown_size_is_no_larger_than_masks_can_be(store, tmp_path):
    put_as_stored(store, 0, [[0, 0], [9e15, 0], [9e15, 9e15]], "f" * 32)
    body = store.get("event-0").body
    body["images"][0]["instanceSegmentations"][0] |= {"x": 9e15, "y": 9e15}
    event = store.get("event-0")
    kept = {each: getattr(event, each) for each in ("event_id", "event_type", "use_case_id")}
    store.put([NewEvent(**kept, timestamp=event.timestamp, body=body)])

    data = opened(exported(store, "coco-rle"), tmp_path)

    (annotation,) = data.loadAnns(data.getAnnIds())
    assert annotation["segmentation"]["size"] == [65_535, 65_535]
    assert annotation["area"] == pytest.approx(65_535**2 / 2, rel=0.01)


def test_key_points_have_a_place_for_each_joint_of_their_class(store, tmp_path):
    source = store.pictures.put(picture()).id
    early = [{"id": 0, "x": 1.5, "y": 2}]
    late = [{"id": 2, "x": 5, "y": 6, "occluded": True}]
    for number, points in enumerate((early, late)):
        entry = {**BOX, "class": "gripper", "keypoints": points}
        put(store, number, images=[{"sourceId": source, "keypoints": [entry]}])

    data = opened(exported(store, "coco"), tmp_path)

    first, second = data.loadAnns(data.getAnnIds())
    assert first["keypoints"] == [1.5, 2, 2, 0, 0, 0, 0, 0, 0]
    assert second["keypoints"] == [0, 0, 0, 0, 0, 0, 5, 6, 1]
    assert first["num_keypoints"] == second["num_keypoints"] == 1
    assert data.loadCats(data.getCatIds())[0]["keypoints"] == ["0", "1", "2"]


@pytest.mark.parametrize("ids", [["left", "right"], [-5, 10**12], [0.5, "tip"]], ids=str)
def test_joints_that_are_not_numbered_stand_in_a_row_by_name(store, tmp_path, ids):
    source = store.pictures.put(picture()).id
    points = [{"id": each, "x": row, "y": row} for row, each in enumerate(ids, start=1)][::-1]
    put(store, images=[{"sourceId": source, "keypoints": [{**BOX, "keypoints": points}]}])

    data = opened(exported(store, "coco"), tmp_path)

    assert data.loadAnns(data.getAnnIds())[0]["keypoints"] == [1, 1, 2, 2, 2, 2]


def test_what_was_classified_stands_at_the_image(store, tmp_path):
    seen = [{"class": "wet", "confidence": 0.5}]
    put(store, images=[{"sourceId": store.pictures.put(picture()).id, "classifications": seen}])

    (image,) = opened(exported(store, "coco"), tmp_path).imgs.values()

    assert image["classifications"] == seen


def test_metadata_of_an_image_stand_in_every_export(store, tmp_path):
    images = [
        {"sourceId": store.pictures.put(picture()).id, "metadata": {"gain": 2.5, "lens": "wide"}},
        {"label": "without"},
    ]
    put(store, images=images)
    kept = {"gain": 2.5, "lens": "wide"}

    (image,) = opened(exported(store, "coco"), tmp_path).imgs.values()
    (row,) = rows_of(exported(store, "csv"))
    line = json.loads(exported(store, "jsonl"))

    assert image["metadata"] == kept
    assert json.loads(row["imageMetadata"]) == [kept, {}]
    assert line["images"] == images
    assert "other" not in line


def test_what_the_server_does_not_know_is_exported_as_it_came(store):
    odd = {"invented": {"a": [1]}, "eventData": {"value": 5}}
    put(store, **odd)
    put(store, 1)

    rows = rows_of(exported(store, "csv"))
    lines = [json.loads(line) for line in exported(store, "jsonl").splitlines()]

    assert json.loads(rows[0]["other"]) == odd
    assert (rows[1]["other"], rows[1]["imageMetadata"]) == ("", "")
    assert lines[0]["other"] == odd
    assert lines[0]["eventData"] == {}


def test_a_picture_that_is_elsewhere_is_as_large_as_what_is_on_it(store, tmp_path):
    put(store, images=[{"sourceId": "in the cloud/1", "instanceSegmentations": [SEGMENT]}])

    data = opened(exported(store, "coco"), tmp_path)

    (image,) = data.imgs.values()
    assert (image["width"], image["height"]) == (40, 30)
    assert image["file_name"] == "in_the_cloud_1.jpg"


def test_a_row_holds_event_data_and_metadata(store):
    put(
        store,
        kind="inventory_count",
        deviceId="cam-2",
        eventData={"itemCount": 18, "itemType": "pallet"},
        customMetadata={"shift": "night", "door": -4, "other": True},
        images=[{"sourceId": "a", "objectDetections": [BOX, BOX]}],
    )

    (row,) = rows_of(exported(store, "csv", ["door", "shift"]))

    assert row["eventId"] == "event-0"
    assert row["deviceId"] == "cam-2"
    assert (row["itemCount"], row["itemType"]) == ("18", "pallet")
    assert (row["metadata.door"], row["metadata.shift"]) == ("-4", "night")
    assert json.loads(row["otherMetadata"]) == {"other": True}
    assert row["classes"] == "pallet: 2"


def test_csv_of_nothing_has_its_header(store):
    text = exported(store, "csv").decode("utf-8-sig")

    assert text.startswith("eventId,eventType,")
    assert rows_of(exported(store, "csv")) == []


@pytest.mark.parametrize(
    "evil",
    [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "  =1",
        '=HYPERLINK("http://x.invalid")',
        "|calc",
        "\uff1d1+1",
        '"=1+1"',
        "\u00a0=1",
    ],
)
def test_no_cell_is_a_formula(store, evil):
    put(store, eventData={"value": evil}, customMetadata={"note": evil}, deviceId=evil)

    (row,) = rows_of(exported(store, "csv", ["note"]))

    for column in ("value", "metadata.note", "deviceId"):
        assert row[column].startswith("'"), f"{column}: {row[column]!r}"
        assert row[column].replace("'", "").strip() == evil.strip()


@pytest.mark.parametrize("separator", [";", ",", "\t", "|", "\n", "\r\n"])
@pytest.mark.parametrize("start", ["=", "+", "-", "@", " =", '"=', "'=", '" ='])
def test_no_cell_is_a_formula_whatever_separator_a_spreadsheet_takes(store, separator, start):
    evil = f"ok{separator}{start}cmd|'/c calc'!A1{separator}"
    put(
        store,
        eventData={"value": evil},
        customMetadata={evil: "x", "rest": evil},
        images=[{"sourceId": "a", "objectDetections": [{**BOX, "class": evil}]}],
    )

    text = exported(store, "csv", [evil]).decode("utf-8-sig")

    for cell in re.split(r"[;,|\t\r\n]", text):
        assert not re.match(r"""[\s"]*[=+\-@]""", cell), cell


def test_a_long_cell_takes_no_longer():
    for piece in ("\t", "; ", ' "', "\r\n", ";\t "):
        harmless(piece * 200_000)


def test_numbers_stay_numbers():
    assert harmless(-4) == -4
    assert harmless(-0.5) == -0.5
    assert harmless("plain - text") == "plain - text"


def test_lines_hold_the_events_as_they_came(store):
    put(store, 0, customMetadata={"name": "Ü\u2028<b>"}, eventData={"value": "x"})
    put(store, 1, nonsense=1)

    first, second = (json.loads(line) for line in exported(store, "jsonl").splitlines())

    assert first["eventId"] == "event-0"
    assert first["customMetadata"] == {"name": "Ü\u2028<b>"}
    assert first["warnings"] == []
    assert second["warnings"][0]["path"] == "nonsense"


def test_a_zip_holds_each_picture_once_and_the_document_that_names_them(store):
    red, blue = (store.pictures.put(picture(colour)).id for colour in ("red", "blue"))
    image = {"inputSourceId": red, "sourceId": blue, "objectDetections": [BOX]}
    for number in range(3):
        put(store, number, images=[image, {"sourceId": "not here"}])

    with zipfile.ZipFile(io.BytesIO(exported(store, "jsonl-zip"))) as archive:
        assert archive.testzip() is None
        pictures = {f"images/{each}.jpg" for each in (red, blue)}
        assert sorted(archive.namelist()) == sorted([*pictures, "events.jsonl"])
        assert archive.read(f"images/{red}.jpg") == picture("red")
        assert all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())
        assert archive.read("events.jsonl") == exported(store, "jsonl")


def test_a_zip_leaves_while_it_is_made_and_is_never_in_memory():
    pictures, size_bytes = 60, 1_000_000
    events = [{"body": number} for number in range(pictures)]
    pieces = zipped(
        "events",
        lambda given: (b"line\n" for _ in given),
        iter(events),
        pictures_of=lambda event: [str(event["body"])],
        picture=lambda picture_id: (f"{picture_id}.jpg", bytes(size_bytes)),
    )

    tracemalloc.start()
    total = sum(len(piece) for piece in pieces)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert total > pictures * size_bytes
    assert peak_bytes < 6 * size_bytes


def test_a_zip_without_room_for_what_waits_says_that_it_was_the_disk():
    pieces = zipped(
        "events",
        lambda given: (b"line\n" for _ in given),
        iter([1]),
        pictures_of=lambda _: ["large"],
        picture=lambda _: ("large.tiff", bytes(6_000_000)),
    )

    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000_000, most))
    try:
        with pytest.raises(OSError, match="File too large"):
            list(pieces)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


def test_each_kind_of_export_says_what_it_is(store):
    put(store)

    for kind, about in EXPORTS.items():
        assert exported(store, kind), kind
        assert about.help, kind
