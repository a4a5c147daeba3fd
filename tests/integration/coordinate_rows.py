"""What may stand between a model and an event: the rows of the table in docs/coordinates.md."""

from __future__ import annotations

import json
from dataclasses import dataclass

#: What the stand-in for a model, the step type `Finder`, finds.
KINDS = {
    "boxes": "object_detection_prediction",
    "masks": "instance_segmentation_prediction",
    "points": "keypoint_detection_prediction",
    "classes": "classification_prediction",
}
INSTANCES = ("boxes", "masks", "points")
WHOLE = "$inputs.image"
CROPS = "$steps.crop.crops"
FOUND = "$steps.find.{kind}"


@dataclass(frozen=True)
class Row:
    """The steps behind which something is recorded; `{kind}` stands for what is recorded."""

    steps: list[dict]
    #: The picture that the model saw and another one of which it is a part; None: not to be had.
    seen: str | None = CROPS
    whole: str | None = WHOLE
    predictions: str = FOUND
    kinds: tuple[str, ...] = ("boxes",)
    #: Pixels by which the step makes a box larger, on each of its sides.
    wider_px: tuple[int, int] = (0, 0)
    #: Frames without the patch that go before.
    empty_frames: int = 0
    #: For the input `text`.
    text: str | None = None


def step(kind, name, **fields):
    return {"type": f"roboflow_core/{kind}", "name": name, **fields}


def find(picture=WHOLE, name="find"):
    return {"type": "Finder", "name": name, "image": picture}


def crop(picture=WHOLE, name="crop", *, x=460, y=320, width=200, height=160):
    place = {"x_center": x, "y_center": y, "width": width, "height": height}
    return step("absolute_static_crop@v1", name, images=picture, **place)


def changed(kind, picture, **fields):
    """A row whose model sees what a step made of a picture."""
    steps = [] if picture == WHOLE else [crop()]
    output = fields.pop("output", "image")
    last = step(kind, "changed", image=picture, **fields)
    seen = f"$steps.changed.{output}"
    return Row([*steps, last, find(seen)], seen=seen)


def preprocessed(picture, task, **fields):
    return changed("image_preprocessing@v1", picture, task_type=task, **fields)


def calibrated(picture, cx, cy):
    lens = {
        "fx": 500,
        "fy": 500,
        "cx": cx,
        "cy": cy,
        "k1": 0.01,
        "k2": 0,
        "k3": 0,
        "p1": 0,
        "p2": 0,
    }
    return changed("camera-calibration@v1", picture, output="calibrated_image", **lens)


def passed(kind, output, *, kinds=("boxes",), before=(), wider_px=(0, 0), **fields):
    """A row in which a step passes on what was found on a crop."""
    return Row(
        [crop(), find(CROPS), *before, step(kind, "last", **fields)],
        predictions=f"$steps.last.{output}",
        kinds=kinds,
        wider_px=wider_px,
    )


def tracked(kind, output="tracked_detections", *, picture=CROPS, **fields):
    """A row in which a step passes on what a tracker passed on."""
    tracker = step("byte_tracker@v3", "tracker", image=CROPS, detections=FOUND)
    ours = {"image": picture, "detections": "$steps.tracker.tracked_detections", **fields}
    return passed(kind, output, before=[tracker], **ours)


LARGE_CROP = crop(name="large", x=400, y=320, width=400, height=300)


def cut_out(picture):
    """The patch with its surroundings, found on a picture, cut out and searched once more."""
    widened = {"predictions": "$steps.rough.boxes", "offset_width": 60, "offset_height": 40}
    place = {"images": picture, "predictions": "$steps.widened.predictions"}
    return [
        find(picture, "rough"),
        step("detection_offset@v1", "widened", **widened),
        step("dynamic_crop@v1", "crop", **place),
        find(CROPS),
    ]


ROLL_UP = [
    step("dimension_collapse@v1", "list", data=FOUND),
    step(
        "detections_list_rollup@v1",
        "rolled",
        parent_detection="$steps.widened.predictions",
        child_detections="$steps.list.output",
    ),
]
ROLLED_UP = "$steps.rolled.rolled_up_detections"


def sliced(version, *after, picture=WHOLE):
    size = {"slice_width": 220, "slice_height": 200}
    overlap = {"overlap_ratio_width": 0.5, "overlap_ratio_height": 0.5}
    slicer = step(f"image_slicer@v{version}", "slicer", image=picture, **size, **overlap)
    return [slicer, find("$steps.slicer.slices"), *after]


def joined(picture):
    return step(
        "detections_stitch@v1",
        "joined",
        reference_image=picture,
        predictions=FOUND,
        overlap_filtering_strategy="nmm",
        iou_threshold=0.1,
    )


def perspective(**fields):
    return step(
        "perspective_correction@v1",
        "plan",
        images=WHOLE,
        perspective_polygons=[[300, 200], [600, 200], [600, 450], [300, 450]],
        transformed_rect_width=500,
        transformed_rect_height=400,
        warp_image=True,
        **fields,
    )


SIDES = [
    crop(name="left", x=260, y=240, width=500, height=460),
    crop(name="right", x=390, y=240, width=490, height=460),
]
STITCHED = "$steps.stitched.stitched_image"
GRID = "$steps.grid.image"
CONFIDENT = {
    "type": "DetectionsFilter",
    "filter_operation": {
        "type": "StatementGroup",
        "operator": "and",
        "statements": [
            {
                "type": "BinaryStatement",
                "left_operand": {
                    "type": "DynamicOperand",
                    "operations": [
                        {"type": "ExtractDetectionProperty", "property_name": "confidence"}
                    ],
                },
                "comparator": {"type": "(Number) >="},
                "right_operand": {"type": "StaticOperand", "value": 0.1},
            }
        ],
    },
}
#: What a language model says of the crop: it holds the patch there.
ANSWER = {
    "x_min": 50 / 200,
    "x_max": 90 / 200,
    "y_min": 70 / 160,
    "y_max": 110 / 160,
    "class_name": "patch",
    "confidence": 0.9,
}

#: By their names in docs/coordinates.md.
ROWS = {
    "none": Row([find()], seen=None, kinds=INSTANCES),
    "`absolute_static_crop@v1`": Row([crop(), find(CROPS)], kinds=INSTANCES),
    "`relative_statoic_crop@v1`": Row(
        [
            step(
                "relative_statoic_crop@v1",
                "crop",
                images=WHOLE,
                x_center=0.7,
                y_center=0.7,
                width=0.4,
                height=0.4,
            ),
            find(CROPS),
        ]
    ),
    "a crop of a crop": Row(
        [LARGE_CROP, crop("$steps.large.crops", x=220, y=150), find(CROPS)],
        kinds=INSTANCES,
    ),
    "a crop of a crop (on the first)": Row(
        [LARGE_CROP, crop("$steps.large.crops", x=220, y=150), find(CROPS)],
        whole="$steps.large.crops",
    ),
    "`dynamic_crop@v1`": Row(cut_out(WHOLE), whole=None, kinds=INSTANCES),
    "`dynamic_crop@v1` (its predictions)": Row(
        cut_out(WHOLE),
        whole=None,
        predictions="$steps.crop.predictions",
        wider_px=(30, 20),
    ),
    "`image_slicer@v1`": Row(sliced(1), seen="$steps.slicer.slices", whole=None),
    "`image_slicer@v2`": Row(sliced(2), seen="$steps.slicer.slices", whole=None),
    "`detections_stitch@v1`": Row(
        sliced(2, joined(WHOLE)),
        seen=None,
        predictions="$steps.joined.predictions",
        kinds=("boxes", "masks"),
    ),
    "`detections_stitch@v1` (slices of a crop)": Row(
        [LARGE_CROP, *sliced(2, joined("$steps.large.crops"), picture="$steps.large.crops")],
        seen="$steps.large.crops",
        predictions="$steps.joined.predictions",
        kinds=("boxes", "masks"),
    ),
    "`detections_list_rollup@v1`": Row(
        [*cut_out(WHOLE), *ROLL_UP], seen=None, predictions=ROLLED_UP, kinds=INSTANCES
    ),
    "`detections_list_rollup@v1` (crops of a crop)": Row(
        [LARGE_CROP, *cut_out("$steps.large.crops"), *ROLL_UP],
        seen="$steps.large.crops",
        predictions=ROLLED_UP,
    ),
    "`image_preprocessing@v1` (resize)": preprocessed(WHOLE, "resize", width=320, height=240),
    "`image_preprocessing@v1` (resize and then a crop)": Row(
        [
            step(
                "image_preprocessing@v1",
                "changed",
                image=WHOLE,
                task_type="resize",
                width=320,
                height=240,
            ),
            crop("$steps.changed.image", x=220, y=160, width=100, height=80),
            find(CROPS),
        ],
    ),
    "`image_preprocessing@v1` (a crop made larger)": preprocessed(
        CROPS, "resize", width=1000, height=800
    ),
    "`image_preprocessing@v1` (a crop made smaller)": preprocessed(
        CROPS, "resize", width=100, height=80
    ),
    "`image_preprocessing@v1` (rotate)": preprocessed(WHOLE, "rotate", rotation_degrees=90),
    "`image_preprocessing@v1` (flip)": preprocessed(WHOLE, "flip", flip_type="horizontal"),
    "`image_preprocessing@v1` (a crop flipped)": preprocessed(
        CROPS, "flip", flip_type="horizontal"
    ),
    "`auto_rotate_on_edges@v1`": changed("auto_rotate_on_edges@v1", WHOLE),
    "`camera-calibration@v1`": calibrated(WHOLE, 320, 240),
    "`camera-calibration@v1` (of a crop)": calibrated(CROPS, 100, 80),
    "`image_blur@v1`": changed("image_blur@v1", CROPS, blur_type="gaussian", kernel_size=3),
    "`morphological_transformation@v2`": changed(
        "morphological_transformation@v2", CROPS, kernel_size=3, operation="Closing"
    ),
    "`contrast_enhancement@v1`": changed("contrast_enhancement@v1", CROPS),
    "`perspective_correction@v1` (its picture)": Row(
        [perspective(), find("$steps.plan.warped_image")], seen="$steps.plan.warped_image"
    ),
    "`perspective_correction@v1` (its predictions)": Row(
        [find(), perspective(predictions=FOUND)],
        seen="$steps.plan.warped_image",
        predictions="$steps.plan.corrected_coordinates",
    ),
    "`stitch_images@v1`": Row(
        [
            *SIDES,
            step(
                "stitch_images@v1",
                "stitched",
                image1="$steps.left.crops",
                image2="$steps.right.crops",
                max_allowed_reprojection_error=3,
                count_of_best_matches_per_query_descriptor=2,
            ),
            find(STITCHED),
        ],
        seen=STITCHED,
    ),
    "`grid_visualization@v1`": Row(
        [
            *SIDES,
            step(
                "grid_visualization@v1",
                "grid",
                images=["$steps.left.crops", "$steps.right.crops"],
                width=800,
                height=400,
            ),
            find(GRID),
        ],
        seen=GRID,
    ),
    "`detections_filter@v1`": passed(
        "detections_filter@v1",
        "predictions",
        kinds=INSTANCES,
        predictions=FOUND,
        operations=[CONFIDENT],
    ),
    "`per_class_confidence_filter@v1`": passed(
        "per_class_confidence_filter@v1",
        "predictions",
        predictions=FOUND,
        class_thresholds={"patch": 0.1},
        default_threshold=0.1,
    ),
    "`detections_combine@v1`": passed(
        "detections_combine@v1", "predictions", prediction_one=FOUND, prediction_two=FOUND
    ),
    "`detections_consensus@v1`": passed(
        "detections_consensus@v1",
        "predictions",
        predictions_batches=[FOUND, FOUND],
        required_votes=2,
    ),
    "`bounding_rect@v1`": passed(
        "bounding_rect@v1", "detections_with_rect", kinds=("masks",), predictions=FOUND
    ),
    "`dynamic_zone@v1`": passed(
        "dynamic_zone@v1",
        "predictions",
        kinds=("masks",),
        predictions=FOUND,
        required_number_of_vertices=4,
    ),
    "`mask_edge_snap@v1`": passed(
        "mask_edge_snap@v1",
        "refined_segmentation",
        kinds=("masks",),
        image=CROPS,
        segmentation=FOUND,
    ),
    "`detections_classes_replacement@v1`": Row(
        [
            *cut_out(WHOLE),
            step(
                "detections_classes_replacement@v1",
                "last",
                object_detection_predictions="$steps.widened.predictions",
                classification_predictions="$steps.find.classes",
            ),
        ],
        seen=None,
        predictions="$steps.last.predictions",
        wider_px=(30, 20),
    ),
    "`frame_delay@v1`": passed("frame_delay@v1", "output", image=CROPS, data=FOUND, offset=0),
    "`byte_tracker@v3`": tracked("byte_tracker@v3"),
    "`stabilize_detections@v1`": tracked("stabilize_detections@v1"),
    "`track_class_lock@v1`": tracked("track_class_lock@v1"),
    "`velocity@v1`": tracked("velocity@v1", "velocity_detections", picture=WHOLE),
    "`time_in_zone@v3`": tracked(
        "time_in_zone@v3",
        "timed_detections",
        picture=WHOLE,
        zone=[[0, 0], [190, 0], [190, 150], [0, 150]],
    ),
    "`detection_offset@v1`": passed(
        "detection_offset@v1",
        "predictions",
        predictions=FOUND,
        offset_width=60,
        offset_height=40,
        wider_px=(30, 20),
    ),
    "`detections_transformation@v1` (Detections Shift)": passed(
        "detections_transformation@v1",
        "predictions",
        predictions=FOUND,
        operations=[{"type": "DetectionsShift", "shift_x": 360, "shift_y": 240}],
    ),
    "`detections_merge@v1`": passed("detections_merge@v1", "predictions", predictions=FOUND),
    "`template_matching@v1`": Row(
        [
            crop(),
            crop(name="template", x=430, y=330, width=60, height=60),
            step(
                "template_matching@v1",
                "match",
                image=CROPS,
                template="$steps.template.crops",
                matching_threshold=0.99,
            ),
        ],
        predictions="$steps.match.predictions",
        wider_px=(10, 10),
    ),
    "`vlm_as_detector@v2`": Row(
        [
            crop(),
            step(
                "vlm_as_detector@v2",
                "said",
                image=CROPS,
                vlm_output="$inputs.text",
                classes=["patch"],
                model_type="google-gemini",
                task_type="object-detection",
            ),
        ],
        predictions="$steps.said.predictions",
        text=json.dumps({"detections": [ANSWER]}),
    ),
    "`motion_detection@v1`": Row(
        [crop(), step("motion_detection@v1", "motion", image=CROPS, history=5)],
        predictions="$steps.motion.detections",
        empty_frames=6,
    ),
}
