"""Annotations from every prediction that a host hands over."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace
from uuid import uuid4

import cv2
import numpy as np
import pytest
import supervision as sv
from pycocotools import mask as coco
from supervision.detection.compact_mask import CompactMask

from vision_event_block.contract import limits
from vision_event_block.convert.annotations import annotate, annotate_row, combined
from vision_event_block.convert.masks import decode_rle
from vision_event_block.convert.placement import PictureFrame
from vision_event_block.convert.predictions import read_detections

BOX = {"x": 30.0, "y": 25.0, "width": 40.0, "height": 30.0}


def detections(xyxy=((10, 10, 50, 40),), *, data=None, **columns):
    """`sv.Detections` as the host makes them; names and confidences unless told otherwise."""
    xyxy = np.asarray(xyxy, dtype=columns.pop("dtype", np.float32)).reshape(-1, 4)
    rows = len(xyxy)
    columns.setdefault("confidence", np.full(rows, 0.5))
    columns.setdefault("class_id", np.arange(rows))
    data = {"class_name": np.array([f"c{row}" for row in range(rows)]), **(data or {})}
    return sv.Detections(xyxy=xyxy, data=data, **columns)


def disc(size=(120, 160), centre=(60, 50), radius=20):
    return cv2.circle(np.zeros(size, np.uint8), centre, radius, 1, -1).astype(bool)


def filled(points, size=(120, 160)):
    ring = np.round(np.array(points)).astype(np.int32)
    return cv2.fillPoly(np.zeros(size, np.uint8), [ring], 1).astype(bool)


def iou(one, other):
    return (one & other).sum() / (one | other).sum()


def only(lists, key):
    assert list(lists) == [key]
    return lists[key]


def annotations_from(prediction):
    return annotate(prediction).lists


# --- boxes


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.float16, np.float32, np.float64])
def test_a_box_of_any_number_type_is_its_centre_and_size(dtype):
    entry = only(annotations_from(detections(dtype=dtype)), "objectDetections")[0]

    assert entry == {"class": "c0", **BOX, "confidence": 0.5}
    json.dumps(entry)


def test_fractions_of_a_pixel_are_kept():
    entry = annotations_from(detections([[0.5, 0.25, 10.75, 20.5]]))["objectDetections"][0]

    assert (entry["x"], entry["width"]) == (5.625, 10.25)


def test_a_box_with_swapped_corners_keeps_its_place():
    entry = annotations_from(detections([[50, 40, 10, 10]]))["objectDetections"][0]

    assert {key: entry[key] for key in BOX} == BOX


BOXES = {
    "of trackers, oriented": {
        "tracker_id": np.array([7]),
        "data": {"xyxyxyxy": np.zeros((1, 4, 2)), "angle": np.array([3], np.float16)},
    },
    "of codes": {
        "dtype": np.int64,
        "data": {"detection_id": np.array([uuid4()]), "data": np.array(["serial 7"])},
    },
}


@pytest.mark.parametrize("columns", BOXES.values(), ids=BOXES)
def test_boxes_with_columns_of_their_own_are_boxes(columns):
    assert only(annotations_from(detections(**columns)), "objectDetections") == [
        {"class": "c0", **BOX, "confidence": 0.5}
    ]


def test_no_detections_make_no_lists():
    assert annotations_from(sv.Detections.empty()) == {}
    assert annotations_from(detections(np.zeros((0, 4)))) == {}
    assert annotations_from(None) == {}


def test_a_sound_prediction_is_sent_as_it_is():
    xyxy = [[10, 10, 50, 40]] * 4
    sound = annotate(detections(xyxy, confidence=np.array([0.0, 0.25, 0.9999, 1.0])))

    assert sound.adjustments == []
    assert [it["confidence"] for it in sound.lists["objectDetections"]] == [0.0, 0.25, 0.9999, 1.0]


@pytest.mark.parametrize(
    ("odd", "sent", "named"), [(math.nan, 0.0, "sent as 0.0"), (1.5, 1.0, "1 clamped")]
)
def test_an_odd_confidence_leaves_those_beside_it_alone(odd, sent, named):
    xyxy = [[10, 10, 50, 40]] * 4
    mixed = annotate(detections(xyxy, confidence=np.array([0.0, 0.25, 1.0, odd])))

    assert [it["confidence"] for it in mixed.lists["objectDetections"]] == [0.0, 0.25, 1.0, sent]
    (adjustment,) = mixed.adjustments
    assert named in adjustment.what


def test_without_a_name_the_class_is_its_id_and_without_an_id_unknown():
    nameless = sv.Detections(xyxy=np.array([[10, 10, 50, 40]]), class_id=np.array([3]))
    classless = sv.Detections(xyxy=np.array([[10, 10, 50, 40]]))

    assert annotations_from(nameless)["objectDetections"][0]["class"] == "class_3"
    assert annotations_from(classless)["objectDetections"][0]["class"] == "unknown"


@pytest.mark.parametrize(
    ("confidence", "sent", "is_named"),
    [
        (None, 0.0, True),
        (np.array([np.nan]), 0.0, True),
        (np.array([np.inf]), 0.0, True),
        (np.array([1.5]), 1.0, True),
        (np.array([-0.5]), 0.0, True),
        (np.array([0.9], np.float32), 0.9, False),
        (np.array([1], np.int64), 1.0, False),
    ],
)
def test_a_confidence_that_is_none_is_never_certain_and_named(confidence, sent, is_named):
    annotations = annotate(detections(confidence=confidence))

    assert annotations.lists["objectDetections"][0]["confidence"] == sent
    assert ["confidence" in str(adjustment) for adjustment in annotations.adjustments] == (
        [True] if is_named else []
    )


def test_a_box_that_is_not_a_number_is_left_out_and_named():
    boxes = detections([[0, 0, 1, 1], [0, 0, np.nan, 1], [np.inf, 0, 1, 1], [2, 2, 4, 4]])

    annotations = annotate(boxes)

    assert [entry["class"] for entry in annotations.lists["objectDetections"]] == ["c0", "c3"]
    assert "2 left out" in str(annotations.adjustments[0])


def test_only_boxes_that_are_no_numbers_make_no_list():
    assert annotations_from(detections([[np.nan] * 4])) == {}


def test_a_list_too_long_is_cut_to_the_most_confident_in_their_order():
    rows = limits.MAX_ANNOTATIONS + 200
    confidence = np.random.default_rng(3).permutation(rows) / rows
    confidence[5] = np.nan

    annotations = annotate(detections(np.tile([0, 0, 4, 4], (rows, 1)), confidence=confidence))

    entries = annotations.lists["objectDetections"]
    kept = [int(entry["class"][1:]) for entry in entries]
    assert len(kept) == limits.MAX_ANNOTATIONS
    assert kept == sorted(kept)
    assert set(kept) == set(np.argsort(-np.nan_to_num(confidence, nan=-1))[: len(kept)].tolist())
    assert "most confident of 1200" in str(annotations.adjustments[0])


# --- masks


@pytest.mark.parametrize("as_compact", [False, True])
def test_a_mask_becomes_a_polygon_of_its_area(as_compact):
    mask = disc()[None]
    if as_compact:
        mask = CompactMask.from_dense(mask, np.array([[40, 30, 81, 71]]), (120, 160))

    entry = only(annotations_from(detections(mask=mask)), "instanceSegmentations")[0]

    assert iou(filled(entry["points"]), disc()) >= 0.98
    assert {key: entry[key] for key in BOX} == BOX


@pytest.mark.parametrize("counts", ["packed", "bytes", "list"])
def test_a_run_length_mask_needs_no_dense_one(counts):
    if counts == "list":
        runs = np.diff(np.flatnonzero(np.diff(disc().ravel(order="F"), prepend=2, append=2)))
        code = {"size": [120, 160], "counts": runs.tolist()}
    else:
        code = coco.encode(np.asfortranarray(disc().astype(np.uint8)))
        if counts == "packed":
            code = {"size": list(code["size"]), "counts": code["counts"].decode()}

    entry = only(
        annotations_from(detections(data={"rle_mask": np.array([code], dtype=object)})),
        "instanceSegmentations",
    )[0]

    assert iou(filled(entry["points"]), disc()) >= 0.98


PACKED = coco.encode(np.asfortranarray(disc().astype(np.uint8)))["counts"].decode()
UNFIT = {
    "a size beyond all pictures": {"size": [200_000, 200_000], "counts": "0"},
    "a size whose product wraps around": {"size": [2**31, 2**33], "counts": "0"},
    "no size": {"size": [0, 0], "counts": []},
    "a negative size": {"size": [-120, -160], "counts": [19_200]},
    "a size of one number": {"size": [120], "counts": [120]},
    "a size of texts": {"size": ["a", "b"], "counts": [120]},
    "larger than its picture": {"size": [120, 161], "counts": [120 * 161]},
    "counts beyond the size": {"size": [120, 160], "counts": [19_200, 1]},
    "counts short of the size": {"size": [120, 160], "counts": [19_199]},
    "a negative count": {"size": [120, 160], "counts": [19_201, -1]},
    "counts whose sum wraps around": {"size": [120, 160], "counts": [2**62] * 4 + [19_200]},
    "a count beyond all integers": {"size": [120, 160], "counts": [2**80]},
    "a count that is no number": {"size": [120, 160], "counts": [float("nan")]},
    "packed counts of another size": {"size": [60, 160], "counts": PACKED},
    "packed counts that are cut off": {"size": [120, 160], "counts": PACKED[:-1]},
    "packed counts that never end": {"size": [120, 160], "counts": "o" * 1000},
    "a run of a thousand digits": {"size": [120, 160], "counts": "o" * 1000 + "0"},
    "packed counts that are no code": {"size": [120, 160], "counts": "\x01\x02"},
    "packed counts in no alphabet": {"size": [120, 160], "counts": "ü"},
    "no counts": {"size": [120, 160]},
    "a number": 5,
}


@pytest.mark.parametrize("case", UNFIT)
def test_a_run_length_mask_that_cannot_be_true_becomes_a_box_and_is_named(case):
    codes = np.empty(2, object)
    codes[:] = [UNFIT[case], {"size": [120, 160], "counts": PACKED}]
    size = np.array([[120, 160]] * 2)

    annotations = annotate(
        detections([[10, 10, 50, 40]] * 2, data={"rle_mask": codes, "image_dimensions": size})
    )

    assert [entry["class"] for entry in annotations.lists["instanceSegmentations"]] == ["c1"]
    assert annotations.lists["objectDetections"] == [{"class": "c0", **BOX, "confidence": 0.5}]
    (adjustment,) = annotations.adjustments
    assert str(adjustment) == (
        "instanceSegmentations: 1 sent as plain boxes (the outline does not fit its picture)"
    )


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 1.0])
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (37, 1), (120, 160)])
def test_run_lengths_are_read_as_their_inventors_read_them(size, share):
    drawn = np.random.default_rng(7).random(size) < share
    code = coco.encode(np.asfortranarray(drawn.astype(np.uint8)))

    assert (decode_rle(code, at_most_px=size) == drawn).all()


FAR = limits.MAX_COORDINATE_PX + 1


@pytest.mark.parametrize(
    "xyxy", [[0, 0, FAR, 9], [-FAR, 0, 9, 9], [-6e5, 0, 6e5, 9]], ids=["right", "left", "wide"]
)
def test_a_box_beyond_all_pictures_is_left_out_and_named(xyxy):
    annotations = annotate(detections([xyxy, [10, 10, 50, 40]], dtype=np.float64))

    assert [entry["class"] for entry in annotations.lists["objectDetections"]] == ["c1"]
    (adjustment,) = annotations.adjustments
    assert str(adjustment) == "predictions: 1 left out (the box cannot be on any picture)"


def test_an_outline_beyond_all_pictures_becomes_a_box_and_is_named():
    polygons = np.empty(2, object)
    polygons[:] = [[[0, 0], [FAR, 0], [9, 9]], [[1, 1], [9, 1], [5, 9]]]

    annotations = annotate(detections([[10, 10, 50, 40]] * 2, data={"polygon": polygons}))

    assert [entry["class"] for entry in annotations.lists["instanceSegmentations"]] == ["c1"]
    assert [entry["class"] for entry in annotations.lists["objectDetections"]] == ["c0"]
    (adjustment,) = annotations.adjustments
    assert "the outline does not fit its picture" in str(adjustment)


def test_one_endless_skeleton_does_not_make_room_for_as_many_points_in_all_others():
    points = np.empty(3000, object)
    points[:] = [[[1.0, 1.0]]] * 2999 + [np.ones((200_000, 2))]

    with pytest.raises(ValueError, match="200000 key points of one of 3000"):
        annotations_from(detections([[0, 0, 9, 9]] * 3000, data={"keypoints_xy": points}))


def test_a_polygon_that_comes_with_the_detection_goes_before_its_mask():
    triangle = np.array([[[1, 1], [9, 1], [5, 9]]])

    entry = annotations_from(detections(mask=disc()[None], data={"polygon": triangle}))[
        "instanceSegmentations"
    ][0]

    assert entry["points"] == [[1.0, 1.0], [9.0, 1.0], [5.0, 9.0]]


def test_pieces_and_holes_stay_one_entry_with_their_area():
    mask = disc(radius=25) & ~disc(radius=12) | disc(centre=(120, 90), radius=15)

    entries = only(annotations_from(detections(mask=mask[None])), "instanceSegmentations")

    assert len(entries) == 1
    assert iou(filled(entries[0]["points"]), mask) >= 0.98


@pytest.mark.parametrize(
    ("mask", "named"),
    [
        (np.zeros((120, 160), bool), "1 sent as plain boxes"),
        (disc(centre=(130, 90)), "lies outside the box"),
    ],
    ids=["empty", "beside its box"],
)
def test_a_mask_that_cannot_be_true_falls_back_to_a_box_and_is_named(mask, named):
    masks = np.stack([disc(), mask])

    annotations = annotate(detections([[40, 30, 80, 70], [10, 10, 50, 40]], mask=masks))

    assert [entry["class"] for entry in annotations.lists["instanceSegmentations"]] == ["c0"]
    assert annotations.lists["objectDetections"] == [{"class": "c1", **BOX, "confidence": 0.5}]
    assert named in str(annotations.adjustments[0])


def test_a_polygon_that_a_step_forgot_to_move_gives_way_to_the_mask():
    forgotten = np.array([[[101, 101], [109, 101], [105, 109]]])

    entry = annotations_from(detections(mask=disc()[None], data={"polygon": forgotten}))[
        "instanceSegmentations"
    ][0]

    assert iou(filled(entry["points"]), disc()) >= 0.98


def test_a_detection_without_an_outline_leaves_those_of_its_neighbours_alone():
    square = np.array([[10, 10], [50, 10], [50, 40], [10, 40]], np.float64)
    polygons = np.empty(3, object)
    polygons[:] = [square, None, square + 5]
    lists = annotations_from(detections([[10, 10, 50, 40]] * 3, data={"polygon": polygons}))

    assert [it["points"] for it in lists["instanceSegmentations"]] == [
        square.tolist(),
        (square + 5).tolist(),
    ]
    assert len(lists["objectDetections"]) == 1


def test_polygons_of_different_lengths_are_read_without_the_points_that_are_no_numbers():
    ragged = np.empty(2, dtype=object)
    ragged[:] = [[[1, 1], [9, 1], [5, 9], [np.nan, 3]], np.array([[2, 2], [4, 2], [4, 4], [2, 4]])]

    entries = annotations_from(detections([[0, 0, 9, 9]] * 2, data={"polygon": ragged}))[
        "instanceSegmentations"
    ]

    assert [entry["points"] for entry in entries] == [
        [[1, 1], [9, 1], [5, 9]],
        [[2, 2], [4, 2], [4, 4], [2, 4]],
    ]


SOUND = [
    np.array([[11, 11], [49, 12], [30, 39]]),
    np.array([[20, 20], [40, 20], [40, 30.5], [20, 30]]),
]


@pytest.mark.parametrize(
    "odd",
    [
        None,
        np.zeros((0, 2)),
        np.array([[11, 11], [49, 12]]),
        np.array([[11, 11], [np.nan, 12], [30, 39], [30, 11]]),
        np.array([[FAR, FAR], [49, 12], [30, 39]]),
        np.array([[500, 500], [520, 500], [520, 520]]),
        [[11, 11], [49, 12], [30, 39]],
        np.array([[[11, 11]], [[49, 12]], [[30, 39]]]),
        np.array([[11, 11], [49, 12], [30, 39]], dtype=object),
    ],
    ids=lambda odd: f"{type(odd).__name__}{np.shape(odd)}",
)
def test_an_odd_polygon_leaves_those_of_its_neighbours_as_they_are(odd):
    def outlines(*rings):
        polygons = np.empty(len(rings), object)
        polygons[:] = rings
        found = detections([[10, 10, 50, 40]] * len(rings), data={"polygon": polygons})
        lists = annotate(found, resize=0.5).lists
        return {entry["class"]: entry["points"] for entry in lists["instanceSegmentations"]}

    alone = outlines(*SOUND)
    assert alone["c0"] == [[5.5, 5.5], [24.5, 6.0], [15.0, 19.5]]
    beside_the_odd = outlines(*SOUND, odd)
    assert {name: beside_the_odd[name] for name in alone} == alone


@pytest.mark.parametrize("points", [2, 1, 0])
def test_a_polygon_of_too_few_points_falls_back_to_a_box(points):
    polygon = np.array([None, np.zeros((points, 2))], dtype=object)[1:]

    assert list(annotations_from(detections(data={"polygon": polygon}))) == ["objectDetections"]


def test_a_cut_list_takes_the_right_masks_along():
    rows = limits.MAX_ANNOTATIONS + 1
    masks = np.zeros((rows, 8, 8), bool)
    masks[np.arange(rows), 2:6, 2:6] = True
    masks[-1, :, :] = True
    confidence = np.linspace(0.1, 1.0, rows)

    entries = annotations_from(
        detections(np.tile([2, 2, 6, 6], (rows, 1)), mask=masks, confidence=confidence)
    )["instanceSegmentations"]

    assert entries[-1]["points"] == [[0, 0], [0, 7], [7, 7], [7, 0]]
    assert entries[0]["class"] == "c1"


# --- key points


def skeletons(**changes):
    """Two detections in three slots: three real points and one, the rest padding."""
    data = {
        "keypoints_xy": np.array([[[1, 2], [3, 4], [5, 6]], [[7, 8], [0, 0], [0, 0]]], np.float32),
        "keypoints_class_id": np.array([[4, 5, 6], [5, 0, 0]]),
        "keypoints_class_name": np.array([["nose", "eye", "ear"], ["eye", "", ""]], dtype=object),
        "keypoints_confidence": np.array([[0.9, 0.8, 0.7], [0.6, 0, 0]], np.float32),
        **changes,
    }
    return detections(
        [[0, 0, 4, 4], [10, 10, 50, 40]],
        data={key: value for key, value in data.items() if value is not None},
    )


def points_of(lists):
    return [entry["keypoints"] for entry in lists["keypoints"]]


def test_padding_is_dropped_and_ids_are_the_points_class_ids():
    assert points_of(annotations_from(skeletons())) == [
        [{"id": 4, "x": 1, "y": 2}, {"id": 5, "x": 3, "y": 4}, {"id": 6, "x": 5, "y": 6}],
        [{"id": 5, "x": 7, "y": 8}],
    ]


def test_without_names_every_point_counts_and_without_ids_their_order():
    points = points_of(
        annotations_from(skeletons(keypoints_class_name=None, keypoints_class_id=None))
    )

    assert [[point["id"] for point in row] for row in points] == [[0, 1, 2], [0, 1, 2]]


def test_ragged_rows_are_read_too():
    ragged = np.empty(2, dtype=object)
    ragged[:] = [np.array([[1, 2], [3, 4]]), np.array([[5, 6]])]
    names = np.empty(2, dtype=object)
    names[:] = [["nose", "eye"], ["ear"]]
    ids = np.empty(2, dtype=object)
    ids[:] = [[0, 1], [2]]

    points = points_of(
        annotations_from(
            skeletons(keypoints_xy=ragged, keypoints_class_name=names, keypoints_class_id=ids)
        )
    )

    assert points == [
        [{"id": 0, "x": 1, "y": 2}, {"id": 1, "x": 3, "y": 4}],
        [{"id": 2, "x": 5, "y": 6}],
    ]


def test_fewer_ids_than_points_leave_the_rest_without_one_of_their_own():
    points = points_of(
        annotations_from(
            skeletons(
                keypoints_xy=np.array([[[1, 2], [3, 4]]] * 2),
                keypoints_class_name=np.array([["nose", "eye"]] * 2),
                keypoints_class_id=np.array([[7], [8]]),
            )
        )
    )

    assert [[point["id"] for point in each] for each in points] == [[7, 0], [8, 0]]


def test_points_that_are_not_numbers_are_dropped():
    xy = np.array([[[1, 2], [np.nan, 4], [5, np.inf]], [[7, 8], [0, 0], [0, 0]]])

    assert [len(row) for row in points_of(annotations_from(skeletons(keypoints_xy=xy)))] == [1, 1]


def test_a_detection_of_padding_only_falls_back_to_a_box_and_is_named():
    names = np.array([["nose", "eye", "ear"], ["", "", ""]], dtype=object)

    annotations = annotate(skeletons(keypoints_class_name=names))

    assert [entry["class"] for entry in annotations.lists["keypoints"]] == ["c0"]
    assert annotations.lists["objectDetections"] == [{"class": "c1", **BOX, "confidence": 0.5}]
    assert "plain boxes" in str(annotations.adjustments[0])


def test_detections_without_any_slot_for_key_points_are_boxes():
    assert list(annotations_from(skeletons(
        keypoints_xy=np.zeros((2, 0, 2)), keypoints_class_name=None, keypoints_class_id=None
    ))) == ["objectDetections"]  # fmt: skip
    nowhere = detections([[np.nan] * 4], data={"keypoints_xy": np.zeros((1, 2, 2))})
    assert annotations_from(nowhere) == {}


def test_a_key_point_is_occluded_where_its_confidence_is_below_the_threshold_asked_for():
    unsure = skeletons(keypoints_confidence=np.array([[0.9, 0.2, 0.0], [0.3, 0.29, 0.0]]))

    assert "occluded" not in json.dumps(annotations_from(unsure))
    untold = skeletons(keypoints_confidence=None)
    assert "occluded" not in json.dumps(annotate(untold, occluded_below=0.3).lists)
    told = points_of(annotate(unsure, occluded_below=0.3).lists)
    assert [[p["occluded"] for p in row] for row in told] == [[False, True, True], [False]]


# --- several predictions on one picture


def test_boxes_and_classes_of_one_picture_stand_side_by_side():
    boxes = annotate(detections([[0, 0, 10, 20]], confidence=np.array([0.5])))
    classes = annotate({"predictions": [{"class": "ok", "confidence": 0.75}], "top": "ok"})

    together = combined([boxes, classes, boxes])

    assert list(together.lists) == ["objectDetections", "classifications"]
    assert together.lists["objectDetections"] == 2 * boxes.lists["objectDetections"]
    assert len(boxes.lists["objectDetections"]) == 1
    assert combined([]).lists == {}


def test_several_predictions_share_the_limit_of_a_list_and_the_most_confident_stay():
    rows = 600
    weak = annotate(detections([[0, 0, 10, 20]] * rows, confidence=np.full(rows, 0.25)))
    strong = annotate(detections([[0, 0, 10, 20]] * rows, confidence=np.full(rows, 0.75)))

    together = combined([weak, strong])

    kept = [entry["confidence"] for entry in together.lists["objectDetections"]]
    assert kept == [0.25] * 400 + [0.75] * 600
    assert "1000 most confident of 1200" in str(together.adjustments[-1])


# --- classes


def entry(name, confidence):
    return {"class": name, "confidence": confidence}


CLASSES = {
    "multi-class, best first": (
        {"predictions": [entry("nok", 0.2), entry("ok", 0.8)], "top": "ok", "confidence": 0.8},
        [entry("ok", 0.8), entry("nok", 0.2)],
    ),
    "multi-class with numpy values": (
        {"predictions": [entry(np.str_("ok"), np.float32(0.8))], "top": np.str_("ok")},
        [entry("ok", 0.8)],
    ),
    "multi-label, only the predicted ones": (
        {
            "predictions": {
                "ok": {"confidence": 0.8, "class_id": 0},
                "wet": {"confidence": 0.6, "class_id": 1},
                "nok": {"confidence": 0.1, "class_id": 2},
            },
            "predicted_classes": ["wet", "ok"],
        },
        [entry("wet", 0.6), entry("ok", 0.8)],
    ),
    "multi-label, none predicted": (
        {"predictions": {"ok": {"confidence": 0.1, "class_id": 0}}, "predicted_classes": []},
        [],
    ),
    "multi-label as numbers": (
        {"predictions": {"ok": 0.8, "nok": 0.1}, "predicted_classes": ["ok"]},
        [entry("ok", 0.8)],
    ),
    "multi-label without the predicted ones": (
        {"predictions": {"ok": {"confidence": 0.8}}},
        [entry("ok", 0.8)],
    ),
    "only the top class": ({"top": "ok", "confidence": 0.7}, [entry("ok", 0.7)]),
    "class_name instead of class": (
        {"predictions": [{"class_name": "ok", "confidence": 0.8}]},
        [entry("ok", 0.8)],
    ),
    "nothing": ({}, []),
    "empty": ({"predictions": [], "top": "", "confidence": 0.0}, []),
}


@pytest.mark.parametrize(("prediction", "expected"), CLASSES.values(), ids=CLASSES)
def test_classes_of_a_picture(prediction, expected):
    assert annotations_from(prediction) == ({"classifications": expected} if expected else {})


def test_an_unknown_class_confidence_is_named():
    annotations = annotate({"predictions": [entry("ok", None), entry("nok", math.nan)]})

    assert [c["confidence"] for c in annotations.lists["classifications"]] == [0.0, 0.0]
    assert len(annotations.adjustments) == 1


def test_too_many_classes_are_cut_to_the_most_confident():
    classes = [entry(f"c{i}", i / 2000) for i in range(1500)]

    annotations = annotate({"predictions": classes})

    entries = annotations.lists["classifications"]
    assert len(entries) == limits.MAX_ANNOTATIONS
    assert entries[0]["class"] == "c1499"
    assert len(annotations.adjustments) == 1


def test_as_many_classes_as_the_api_takes_are_left_as_they_are():
    classes = [entry(f"c{i}", 0.5) for i in range(limits.MAX_ANNOTATIONS)]

    annotations = annotate({"predictions": classes})

    assert len(annotations.lists["classifications"]) == limits.MAX_ANNOTATIONS
    assert annotations.adjustments == []


@pytest.mark.parametrize("odd", ["text", 5, [1, 2], object()])
def test_what_is_no_prediction_is_left_out_and_named(odd):
    annotations = annotate(odd)

    assert annotations.lists == {}
    assert type(odd).__name__ in str(annotations.adjustments[0])


# --- places

ROOT = PictureFrame(
    width_px=640, height_px=480, picture_id="image", root_id="image", root_size_px=(640, 480)
)
CROP = replace(
    ROOT, width_px=160, height_px=120, picture_id="crop-1", root_left_px=100, root_top_px=50
)


def made_on(picture, *, detection_id="d-1", scale=None, parent=(0, 0, 640, 480), **columns):
    """One box as a model gives it that looked at this picture, cut from a parent of the root."""
    left, top, width, height = parent
    offset = [picture.root_left_px, picture.root_top_px]
    data = {
        "detection_id": np.array([detection_id]),
        "image_dimensions": np.array([[picture.height_px, picture.width_px]]),
        "parent_id": np.array([picture.picture_id]),
        "parent_coordinates": np.array([[offset[0] - left, offset[1] - top]]),
        "parent_dimensions": np.array([[height, width]]),
        "root_parent_id": np.array([picture.root_id]),
        "root_parent_coordinates": np.array([offset]),
        "root_parent_dimensions": np.array([picture.root_size_px[::-1]]),
    }
    if scale:
        data["scaling_relative_to_root_parent"] = np.array([scale])
    return detections(data={**data, **columns.pop("data", {})}, **columns)


def centre(annotations):
    box = next(iter(annotations.lists.values()))[0]
    return box["x"], box["y"]


def rolled_up(*, parent_offset, xyxy=((410, 310, 450, 350),)):
    """What the host leaves: the root's sizes, and where the first crop was."""
    data = {"image_dimensions": np.array([[480, 640]])}
    left, top = parent_offset
    crop = replace(CROP, root_left_px=380, root_top_px=290)
    made = made_on(crop, parent=(left, top, 640, 480), xyxy=xyxy, data=data)
    assert made.data["parent_coordinates"].tolist() == [[380 - left, 290 - top]]
    return made


ON_A_CROP = rolled_up(parent_offset=(200, 170), xyxy=[[210, 140, 250, 180]])
#: (what was found, shown on, where it belongs there)
PLACES = {
    "on the root picture": (made_on(ROOT), ROOT, (30, 25)),
    "on a crop": (made_on(CROP), CROP, (30, 25)),
    "on a crop at the corner": (
        made_on(replace(CROP, root_left_px=0, root_top_px=0)),
        ROOT,
        (30, 25),
    ),
    "on a crop of a crop": (made_on(CROP, parent=(40, 20, 300, 200)), ROOT, (130, 75)),
    "on an enlarged crop": (made_on(CROP, scale=2.0), ROOT, (115, 62.5)),
    "on the root picture, shown on a crop": (
        made_on(ROOT, xyxy=[[110, 60, 150, 90]]),
        CROP,
        (30, 25),
    ),
    # It describes the root picture and lies on the crop all the same.
    "the crop step's own": (made_on(ROOT, detection_id="crop-1"), CROP, (30, 25)),
    # A step moved it off the crop that it is still said to have been made on.
    "moved already": (made_on(CROP, xyxy=[[200, 100, 240, 130]]), ROOT, (220, 115)),
    "rolled up onto the whole picture": (rolled_up(parent_offset=(0, 0)), ROOT, (430, 330)),
    "rolled up onto a crop, shown on the whole picture": (ON_A_CROP, ROOT, (430, 330)),
}


@pytest.mark.parametrize(("found", "picture", "place"), PLACES.values(), ids=PLACES)
def test_a_prediction_lies_where_it_belongs_on_the_picture_that_is_shown(found, picture, place):
    annotations = annotate(found, picture=picture)

    assert centre(annotations) == place
    assert annotations.adjustments == []


def test_what_was_rolled_up_onto_a_crop_belongs_to_that_crop():
    annotations = annotate(ON_A_CROP, picture=replace(CROP, picture_id="crop-0"))

    assert centre(annotations) == (330, 280)


def test_a_prediction_made_on_a_crop_moves_to_its_place_on_the_root_picture():
    annotations = annotate(
        made_on(
            CROP,
            mask=disc()[None],
        ),
        picture=ROOT,
    )

    entry = annotations.lists["instanceSegmentations"][0]
    assert centre(annotations) == (130, 75)
    assert (entry["width"], entry["height"]) == (40, 30)
    whole = np.zeros((480, 640), bool)
    whole[50:170, 100:260] = disc()
    assert iou(filled(entry["points"], (480, 640)), whole) >= 0.98
    assert annotations.adjustments == []


def test_a_prediction_that_does_not_name_its_picture_moves_by_what_it_says_of_the_root():
    prediction = made_on(CROP)
    del prediction.data["parent_id"]

    assert centre(annotate(prediction, picture=ROOT)) == (130, 75)


def test_a_prediction_that_does_not_tell_its_size_is_no_cause_for_alarm():
    prediction = made_on(replace(CROP, root_id="another"))
    del prediction.data["image_dimensions"]

    assert annotate(prediction, picture=ROOT).adjustments == []


def test_key_points_move_along():
    skeleton = {
        "keypoints_xy": np.array([[[1.0, 2.0]]]),
        "keypoints_class_id": np.array([[0]]),
        "keypoints_class_name": np.array([["nose"]], dtype=object),
    }

    annotations = annotate(made_on(CROP, data=skeleton), picture=ROOT)

    assert points_of(annotations.lists) == [[{"id": 0, "x": 101.0, "y": 52.0}]]


def test_detections_of_several_crops_each_find_their_place():
    data = {
        "image_dimensions": np.array([[120, 160], [480, 640]]),
        "parent_id": np.array(["crop-1", "image"]),
        "root_parent_id": np.array(["image", "image"]),
        "root_parent_coordinates": np.array([[100, 50], [0, 0]]),
        "root_parent_dimensions": np.array([[480, 640]] * 2),
    }

    boxes = annotations_from_on(detections([[0, 0, 4, 4]] * 2, data=data), ROOT)

    assert [(box["x"], box["y"]) for box in boxes] == [(102, 52), (2, 2)]


def annotations_from_on(prediction, picture):
    return annotate(prediction, picture=picture).lists["objectDetections"]


TOO_LARGE = replace(CROP, width_px=1000, height_px=800)
TURNED = replace(CROP, width_px=120, height_px=600)
#: (made on, shown on): the figures show that one of the pictures was resized or turned.
CONTRADICTIONS = {
    "the whole picture made smaller": (replace(ROOT, width_px=320, height_px=240), ROOT),
    "shown smaller": (ROOT, replace(ROOT, width_px=320, height_px=240)),
    "another root of another size": (
        replace(ROOT, width_px=320, height_px=240, picture_id="other", root_id="other"),
        ROOT,
    ),
    "a crop made larger": (TOO_LARGE, ROOT),
    "a crop turned": (TURNED, ROOT),
    "a crop made larger, shown as it was": (TOO_LARGE, CROP),
    "shown as a crop made larger": (ROOT, TOO_LARGE),
    "a crop of the whole picture made smaller": (replace(CROP, root_size_px=(320, 240)), ROOT),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_where_sizes_do_not_fit_coordinates_stay_and_are_named(case):
    made, shown = CONTRADICTIONS[case]

    annotations = annotate(made_on(made), picture=shown)

    assert centre(annotations) == (30, 25)
    [adjustment] = annotations.adjustments
    assert f"made for {made.width_px}x{made.height_px}" in str(adjustment)
    assert f"a picture of {shown.width_px}x{shown.height_px}" in str(adjustment)


@pytest.mark.parametrize(
    "parent",
    [
        pytest.param((90, 40, 100, 100), id="the crop is larger than what it was cut from"),
        pytest.param((20, 10, 640, 480), id="what it was cut from is larger than the root"),
        pytest.param((0, 0, 320, 240), id="what it was cut from looks like the root made smaller"),
    ],
)
def test_where_the_pictures_between_do_not_fit_coordinates_stay_and_are_named(parent):
    annotations = annotate(made_on(CROP, parent=parent), picture=ROOT)

    assert centre(annotations) == (30, 25)
    assert "made for 160x120" in str(annotations.adjustments[0])


@pytest.mark.parametrize(
    ("xyxy", "is_named"),
    [
        ([0, 0, 700, 480], False),  # a model may reach a little beyond the edge
        ([0, 0, 705, 480], True),
        ([-70, 0, 100, 480], True),
        ([600, 440, 640, 530], True),
    ],
)
def test_boxes_outside_the_picture_are_named(xyxy, is_named):
    inside = [10, 10, 50, 40]

    annotations = annotate(detections([inside, xyxy]), picture=ROOT)

    named = [str(adjustment) for adjustment in annotations.adjustments]
    assert len(annotations.lists["objectDetections"]) == 2
    assert len(named) == is_named
    assert all("1 of 2 boxes outside the picture" in text for text in named)


def test_what_a_model_found_elsewhere_on_the_whole_picture_lies_outside_the_crop_and_is_named():
    made = made_on(ROOT, xyxy=[[10, 10, 50, 40]])

    annotations = annotate(made, picture=CROP)

    assert centre(annotations) == (30 - 100, 25 - 50)
    assert "outside the picture" in str(annotations.adjustments[0])


def test_a_prediction_without_relation_but_of_the_same_size_is_no_cause_for_alarm():
    plain = detections(data={"image_dimensions": np.array([[480, 640]])})

    assert annotate(plain, picture=ROOT).adjustments == []


def test_resizing_the_picture_resizes_everything_on_it():
    annotations = annotate(made_on(CROP, mask=disc()[None]), picture=ROOT, resize=0.5)

    entry = annotations.lists["instanceSegmentations"][0]
    assert (entry["x"], entry["y"], entry["width"]) == (65, 37.5, 20)
    assert np.array(entry["points"]).max(axis=0) == pytest.approx([90, 60], abs=1)


# --- actions in a video


@dataclass(frozen=True)
class Action:
    """As the host's model of it."""

    start_frame_idx: int
    end_frame_idx: int
    class_name: str
    confidence: float | None = None
    class_id: int = 0

    def as_dictionary(self):
        return {**asdict(self), "class": self.class_name}


@pytest.mark.parametrize("form", [lambda it: it, Action.as_dictionary], ids=["model", "dict"])
def test_of_each_action_the_last_range_counts(form):
    timeline = [Action(60, 95, "jump", 0.6), Action(110, 130, "wave", 0.9), Action(0, 48, "wave")]

    annotations = annotate([form(each) for each in timeline])

    assert annotations.lists["classifications"] == [
        {"class": "wave", "confidence": 0.9},
        {"class": "jump", "confidence": 0.6},
    ]
    assert annotations.metadata == {
        "jump_first_frame": 60,
        "jump_last_frame": 95,
        "wave_first_frame": 110,
        "wave_last_frame": 130,
    }
    assert [it.what for it in annotations.adjustments] == ["2 of 3 ranges of frames kept"]


def test_an_action_without_a_confidence_is_named():
    annotations = annotate([Action(0, 48, "wave")])

    assert annotations.lists["classifications"] == [{"class": "wave", "confidence": 0.0}]
    assert "sent as 0.0" in str(annotations.adjustments[0])


def test_a_list_of_anything_else_is_left_out_and_named():
    annotations = annotate([Action(0, 48, "wave"), "nonsense"])

    assert (annotations.lists, annotations.metadata) == ({}, {})
    assert "a list left out" in str(annotations.adjustments[0])


ROWS = {
    "boxes": {},
    "masks": {"mask": np.stack([disc(centre=(40, 30)), disc(centre=(80, 90))])},
    "key points": {
        "data": {
            "keypoints_xy": np.array([[[1.0, 2], [3, 4]], [[5, 6], [0, 0]]]),
            "keypoints_class_name": np.array([["a", "b"], ["a", ""]], object),
        }
    },
    "moved boxes": {
        "data": {
            "parent_id": np.array(["crop-1", "crop-2"]),
            "root_parent_id": np.array(["image", "image"]),
            "image_dimensions": np.array([[100, 100], [90, 90]]),
            "root_parent_coordinates": np.array([[10, 20], [30, 5]]),
            "root_parent_dimensions": np.array([[480, 640], [480, 640]]),
        }
    },
}


@pytest.mark.parametrize("columns", ROWS.values(), ids=ROWS)
@pytest.mark.parametrize("resize", [1.0, 0.5])
def test_one_row_is_told_as_if_it_were_the_only_one(columns, resize):
    found = detections([(20, 10, 60, 50), (60, 70, 90, 90)], **columns)
    picture = PictureFrame(640, 480, picture_id="image", root_id="image", root_size_px=(640, 480))

    for row in range(2):
        alone = annotate(found[row : row + 1], picture=picture, resize=resize).lists

        assert alone
        assert (
            annotate_row(read_detections(found), row, picture=picture, resize=resize).lists == alone
        )
