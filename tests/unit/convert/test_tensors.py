"""Predictions that arrive as tensors give what the same predictions give as arrays."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import supervision as sv
from pycocotools import mask as coco

from vision_event_block.convert.annotations import annotate
from vision_event_block.convert.placement import PictureFrame
from vision_event_block.convert.predictions import read_prediction
from vision_event_block.convert.tensors import without_tensors

torch = pytest.importorskip("torch")
pytest.importorskip("inference_models", reason="this host has no types of its own for tensors")

from inference_models.models.base.classification import (  # noqa: E402
    ClassificationPrediction,
    MultiLabelClassificationPrediction,
)
from inference_models.models.base.instance_segmentation import InstanceDetections  # noqa: E402
from inference_models.models.base.keypoints_detection import KeyPoints  # noqa: E402
from inference_models.models.base.object_detection import Detections  # noqa: E402
from inference_models.models.base.types import InstancesRLEMasks  # noqa: E402

NAMES = {0: "cat", 1: "dog", 2: "bird"}
XYXY = [[10.5, 10, 50, 40], [60, 20, 90.25, 70], [0, 0, 4, 4]]
CLASS_IDS, TRACKERS = [1, 0, 1], [7, 9, 8]
CONFIDENCE = [0.9, 0.25, 0.125]
#: How the host describes the picture that a model looked at: here a crop of a larger one.
PICTURE = {
    "image_dimensions": [120, 160],
    "parent_id": "crop-1",
    "parent_coordinates": [100, 50],
    "root_parent_id": "image",
    "root_parent_coordinates": [100, 50],
    "root_parent_dimensions": [480, 640],
    "prediction_type": "object-detection",
}
ROOT = PictureFrame(width_px=640, height_px=480, picture_id="image", root_id="image")
CROP = PictureFrame(
    width_px=160, height_px=120, picture_id="crop-1", root_id="image", root_left_px=100,
    root_top_px=50,
)  # fmt: skip


def arrays(rows=3, data=None, **columns):
    """The boxes as `sv.Detections`, as the host makes them without tensors."""
    of_picture = {key: np.array([value] * rows) for key, value in PICTURE.items()}
    columns.setdefault("class_id", np.array(CLASS_IDS[:rows]))
    return sv.Detections(
        xyxy=np.array(XYXY[:rows], np.float32).reshape(-1, 4),
        confidence=np.array(CONFIDENCE[:rows], np.float32),
        data={
            "class_name": np.array([NAMES[one] for one in CLASS_IDS[:rows]]),
            "detection_id": np.array([f"d-{row}" for row in range(rows)]),
            **of_picture,
            **(data or {}),
        },
        **columns,
    )


def tensors(rows=3, *, kind=Detections, of_boxes=None, of_picture=None, dtype=None, **fields):
    """The same boxes as the host's models give them."""
    metadata = [{"detection_id": f"d-{row}"} for row in range(rows)]
    for row, more in enumerate(of_boxes or ()):
        metadata[row].update(more)
    return kind(
        xyxy=torch.tensor(XYXY[:rows], dtype=dtype or torch.float32).reshape(-1, 4),
        class_id=torch.tensor(CLASS_IDS[:rows], dtype=torch.int32),
        confidence=torch.tensor(CONFIDENCE[:rows], dtype=dtype or torch.float32),
        image_metadata={**PICTURE, "class_names": NAMES, **(of_picture or {})},
        bboxes_metadata=metadata if rows else None,
        **fields,
    )


def discs(rows=3):
    masks = np.zeros((rows, 120, 160), np.uint8)
    for row, (left, top, right, bottom) in enumerate(XYXY[:rows]):
        cv2.circle(masks[row], (int(left + right) // 2, int(top + bottom) // 2), 12, 1, -1)
    return masks.astype(bool)


def run_lengths(masks):
    return [coco.encode(np.asfortranarray(mask.astype(np.uint8))) for mask in masks]


def segments(masks, rows=3, **fields):
    return tensors(rows, kind=InstanceDetections, mask=masks, **fields)


POINTS = [[[11, 12], [20, 21.5]], [[70, 30]], []]
PADDED = {
    "keypoints_xy": np.array([[[11, 12], [20, 21.5]], [[70, 30], [0, 0]], [[0, 0], [0, 0]]]),
    "keypoints_confidence": np.array([[0.9, 0.8], [0.7, 0], [0, 0]]),
    "keypoints_class_id": np.array([[0, 1], [0, 0], [0, 0]]),
    "keypoints_class_name": np.array([["nose", "ear"], ["nose", ""], ["", ""]], dtype=object),
}


def key_points(rows=3):
    """Slots for two points; what the model did not see has no confidence."""
    return KeyPoints(
        xy=torch.tensor(PADDED["keypoints_xy"][:rows], dtype=torch.float32),
        class_id=torch.tensor(CLASS_IDS[:rows]),
        confidence=torch.tensor(PADDED["keypoints_confidence"][:rows], dtype=torch.float32),
    )


def skeletons(described=3):
    """Both parts, as the host's key point steps give them: the points stand with the boxes."""
    with_points = [
        {
            "keypoints_xy": points,
            "keypoints_confidence": [0.9] * len(points),
            "keypoints_class_id": list(range(len(points))),
            "keypoints_class_name": ["nose", "ear"][: len(points)],
        }
        for points in POINTS[:described]
    ]
    return key_points(), tensors(of_boxes=with_points)


def classes(scores, **of_picture):
    return ClassificationPrediction(
        class_id=torch.tensor([int(np.argmax(scores)) if scores else 0]),
        confidence=torch.tensor([scores], dtype=torch.float32),
        images_metadata=[{"class_names": NAMES, **of_picture}],
    )


def labels(scores, found, **of_picture):
    return MultiLabelClassificationPrediction(
        class_ids=torch.tensor(found, dtype=torch.int64),
        confidence=torch.tensor(scores, dtype=torch.float32),
        image_metadata={"class_names": NAMES, **of_picture},
    )


def entry(name, confidence):
    return {"class": name, "class_id": 0, "confidence": confidence}


TRIANGLE = [[1, 1], [9, 1], [5, 9]]
SAME = {
    "boxes": (arrays(), tensors()),
    "one box": (arrays(1), tensors(1)),
    "no box": (arrays(0), tensors(0)),
    "tracked boxes": (
        arrays(tracker_id=np.array(TRACKERS)),
        tensors(of_boxes=[{"tracker_id": one} for one in TRACKERS]),
    ),
    "boxes with texts of their own": (
        arrays(data={"class_name": np.array(["AB 12", "cat", "dog"])}),
        tensors(of_boxes=[{"class": "AB 12"}]),
    ),
    "classes without names": (
        arrays(data={"class_name": np.array(["class_1", "class_0", "class_1"])}),
        tensors(of_picture={"class_names": None}),
    ),
    "dense masks": (arrays(mask=discs()), segments(torch.tensor(discs()))),
    "one dense mask": (arrays(1, mask=discs(1)), segments(torch.tensor(discs(1)), 1)),
    "no mask": (arrays(0), segments(torch.zeros((0, 0, 0), dtype=torch.bool), 0)),
    "run lengths": (
        arrays(data={"rle_mask": np.array(run_lengths(discs()), dtype=object)}),
        segments(InstancesRLEMasks.from_coco_rle_masks((120, 160), run_lengths(discs()))),
    ),
    "no run lengths": (arrays(0), segments(InstancesRLEMasks((0, 0), []), 0)),
    "polygons that go before masks": (
        arrays(mask=discs(), data={"polygon": np.array([TRIANGLE] * 3)}),
        segments(torch.tensor(discs()), of_boxes=[{"polygon": np.array(TRIANGLE)}] * 3),
    ),
    "key points": (arrays(data=PADDED), skeletons()),
    "a box whose key points nobody describes": (arrays(data=PADDED), skeletons(described=2)),
    "key points in tensors only": (arrays(data=PADDED), (key_points(), tensors())),
    "no key points": (arrays(0), (key_points(0), tensors(0))),
    "a class": (
        {"predictions": [entry("dog", 0.75), entry("cat", 0.25), entry("bird", 0.0)]},
        classes([0.25, 0.75, 0.0]),
    ),
    "classes above a threshold": (
        {"predictions": [entry("dog", 0.9), entry("bird", 0.5)]},
        classes([0.1, 0.9, 0.5], classification_confidence_threshold=0.5),
    ),
    "a class at its threshold": (
        {"predictions": [entry("cat", 0.9)]},
        classes([0.9, 0.1], classification_confidence_threshold=0.9),
    ),
    "a gap between class ids": (
        {"predictions": [entry("dog", 0.75)]},
        classes([0.0, 0.75], class_names={1: "dog"}),
    ),
    "no class": ({"predictions": [], "top": ""}, classes([])),
    "labels": (
        {
            "predictions": {"cat": {"confidence": 0.25}, "dog": {"confidence": 0.75}},
            "predicted_classes": ["dog"],
        },
        labels([0.25, 0.75], [1]),
    ),
    "no label": ({"predictions": {}, "predicted_classes": []}, labels([0.25, 0.75], [])),
}


@pytest.mark.parametrize("picture", [ROOT, CROP, None], ids=["root", "crop", "no picture"])
@pytest.mark.parametrize(("as_arrays", "as_tensors"), SAME.values(), ids=SAME)
def test_tensors_give_the_annotations_that_arrays_give(as_arrays, as_tensors, picture):
    expected = annotate(as_arrays, picture=picture)

    assert annotate(as_tensors, picture=picture) == expected


@pytest.mark.parametrize(
    ("case", "key", "count"),
    [
        ("boxes", "objectDetections", 3),
        ("dense masks", "instanceSegmentations", 3),
        ("run lengths", "instanceSegmentations", 3),
        ("key points", "keypoints", 2),
        ("a class", "classifications", 3),
        ("labels", "classifications", 1),
    ],
)
def test_no_annotation_is_lost_on_the_way(case, key, count):
    assert len(annotate(SAME[case][1]).lists[key]) == count


def test_class_ids_and_trackers_come_along():
    read = without_tensors(tensors(of_boxes=[{"tracker_id": one} for one in TRACKERS]))

    assert read.class_id.tolist() == CLASS_IDS
    assert read.tracker_id == TRACKERS
    assert without_tensors(tensors(of_boxes=[{"tracker_id": 7}])).tracker_id is None


def test_an_id_of_a_tracker_is_read_from_either():
    read = [
        read_prediction(tensors(of_boxes=[{"tracker_id": one} for one in TRACKERS]))[0],
        read_prediction(arrays(tracker_id=np.array(TRACKERS)))[0],
    ]

    assert [list(each.tracker_ids) for each in read] == [TRACKERS, TRACKERS]
    assert read_prediction(arrays())[0].tracker_ids is None


@pytest.mark.parametrize("as_run_lengths", [False, True])
@pytest.mark.parametrize("frame", [None, (100, 150)])
def test_masks_and_boxes_on_a_coarser_grid_cover_what_the_host_says_they_cover(
    as_run_lengths, frame
):
    grid = discs()
    masks = torch.tensor(grid)
    if as_run_lengths:
        masks = InstancesRLEMasks.from_coco_rle_masks((240, 320), run_lengths(grid), (120, 160))
    coarse = segments(masks, image_size=(240, 320), mask_frame_size=frame)

    stretched = coarse.to_supervision()
    stretched.data["class_name"] = np.array([NAMES[one] for one in CLASS_IDS])

    assert stretched.mask.shape[1:] == (240, 320)
    assert annotate(coarse).lists == annotate(stretched).lists


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])  # numpy has no bfloat16
def test_boxes_of_half_precision_are_read(dtype):
    (box, *_) = annotate(tensors(dtype=dtype)).lists["objectDetections"]

    assert (box["x"], box["width"]) == (30.25, 39.5)


def test_boxes_whose_descriptions_are_of_another_number_are_still_boxes():
    odd = tensors()
    odd.bboxes_metadata = odd.bboxes_metadata[:1]

    assert len(annotate(odd).lists["objectDetections"]) == 3


def test_the_classes_of_several_pictures_are_no_prediction_for_one():
    several = ClassificationPrediction(torch.tensor([0, 1]), torch.eye(2), [{}, {}])

    with pytest.raises(ValueError, match="one picture, found 2"):
        annotate(several)


def test_key_points_without_boxes_are_left_out_and_named():
    annotations = annotate((key_points(), None))

    assert annotations.lists == {}
    assert "tuple left out" in str(annotations.adjustments[0])


def test_the_tensors_themselves_are_left_alone():
    """Steps that run beside ours share the very tensors, and a double is handed on as it is."""
    points = key_points()
    points.xy = points.xy.double()
    boxes = tensors(dtype=torch.float64)
    before = (points.xy.clone(), boxes.xyxy.clone(), boxes.confidence.clone())

    annotate((points, boxes), picture=ROOT, resize=0.5)

    for tensor, was in zip((points.xy, boxes.xyxy, boxes.confidence), before, strict=True):
        assert torch.equal(tensor, was)


# --- a device, as far as there need not be one


@dataclass
class Away:
    """A tensor on a device: it can be brought over, and nothing else comes without that."""

    values: np.ndarray
    transfers: list[str] = field(default_factory=list)
    is_away: bool = True

    def detach(self):
        return self

    def bool(self):
        return Away(self.values.astype(bool), self.transfers, self.is_away)

    def double(self):
        return Away(self.values.astype(np.float64), self.transfers, self.is_away)

    def cpu(self):
        self.transfers.append("cpu")
        return Away(self.values, self.transfers, is_away=False)

    def numpy(self):
        if self.is_away:
            raise TypeError("can't convert a tensor on a device to numpy")
        return self.values


@dataclass
class Boxes:
    """The host's names for what is brought over."""

    xyxy: Any
    class_id: Any
    confidence: Any
    image_metadata: dict
    bboxes_metadata: list
    mask: Any = None


@pytest.mark.parametrize("rows", [1, 300])
def test_each_tensor_is_brought_over_once_however_many_rows_it_has(rows):
    transfers = []

    def away(*shape, value=0.5):
        return Away(np.full(shape, value), transfers)

    boxes = Boxes(
        xyxy=away(rows, 4),
        class_id=away(rows, value=1),
        confidence=away(rows),
        image_metadata={"class_names": NAMES},
        bboxes_metadata=[{"detection_id": str(row)} for row in range(rows)],
        mask=away(rows, 8, 8, value=1),
    )

    assert len(annotate(boxes).lists["instanceSegmentations"]) == rows
    assert len(transfers) == 4


READ_WITHOUT_TORCH = """
import sys
import vision_event_block
from vision_event_block.convert.annotations import annotate

class Tensor:
    def __init__(self, values):
        self.values = values
    def detach(self):
        return self
    cpu = double = detach
    def numpy(self):
        import numpy
        return numpy.array(self.values, float)

class Boxes:
    xyxy = Tensor([[0, 0, 4, 2]])
    class_id, confidence = Tensor([0]), Tensor([0.5])
    image_metadata, bboxes_metadata = {"class_names": {0: "cat"}}, None

loaded = set(sys.modules)
assert "torch" not in loaded, "imported with the package"
lists = annotate(Boxes()).lists
assert lists["objectDetections"][0]["class"] == "cat", lists
more = {name for name in set(sys.modules) - loaded if not name.startswith("numpy.")}
assert not more, f"reading imported {sorted(more)}"
"""


def test_neither_the_package_nor_reading_imports_torch():
    """A host without tensors need not have it, and its import takes seconds."""
    done = subprocess.run(
        [sys.executable, "-c", READ_WITHOUT_TORCH],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
