"""Whatever comes in, what goes out is legal JSON within the API's limits."""

from __future__ import annotations

from datetime import datetime, timezone

import numpy as np
import pytest
import supervision as sv
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from tests.payloads import assert_within_limits
from vision_event_block.contract import limits
from vision_event_block.convert.annotations import annotate
from vision_event_block.convert.boxes import FEW
from vision_event_block.convert.placement import PictureFrame
from vision_event_block.events.errors import UnfitEvent
from vision_event_block.events.event import EventImage, VisionEvent, use_case_id
from vision_event_block.events.event_data import DATA_FIELDS, event_data
from vision_event_block.events.images import Picture
from vision_event_block.events.metadata import clean_metadata
from vision_event_block.events.values import short_text

pytestmark = pytest.mark.filterwarnings("ignore:.*:RuntimeWarning:numpy")
often = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])

floats = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(-50, 200),
)
texts = st.text(st.characters(), max_size=30)  # any code point, lone surrogates among them
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), floats, texts, st.binary(max_size=20),
    st.dates(), st.datetimes(), st.timedeltas(), st.decimals(), st.uuids(),
    floats.map(np.float64), st.floats(width=32).map(np.float32),
    st.integers(-100, 100).map(np.int16), st.booleans().map(np.bool_), texts.map(np.str_),
)  # fmt: skip
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(texts, inner, max_size=4)
        | st.tuples(inner, inner)
        | st.frozensets(st.one_of(texts, st.integers()), max_size=3)
    ),
    max_leaves=12,
)


def event(**parts):
    values = {
        "event_type": "custom",
        "use_case_id": "dock",
        "timestamp": datetime.now(timezone.utc),
        **parts,
    }
    return VisionEvent(**values)


@often
@given(st.dictionaries(st.one_of(texts, st.text(min_size=95, max_size=120), st.integers()),
                       st.one_of(anything, st.text(min_size=990, max_size=1010))))  # fmt: skip
def test_any_metadata(metadata):
    cleaned, adjustments = clean_metadata(metadata)

    assert_within_limits(event(custom_metadata=cleaned).payload({}))
    if len(cleaned) < len(metadata):
        assert adjustments


@often
@given(st.integers(101, 130))
def test_any_number_of_keys(count):
    cleaned, _ = clean_metadata({f"k.{number}": number for number in range(count)})

    assert_within_limits(event(custom_metadata=cleaned).payload({}))


data_values = st.one_of(
    anything,
    st.text(min_size=990, max_size=1010),
    st.sampled_from(
        ["pass", "FAIL", "high", " low ", "correct", "x" * 10_001, -1, 3, 2.0, "7", "é" * 300]
    ),
)


@often
@given(
    st.sampled_from(limits.EVENT_TYPES),
    st.dictionaries(st.sampled_from(DATA_FIELDS), data_values),
)
def test_any_event_data(event_type, fields):
    try:
        data = event_data(event_type, fields)
    except UnfitEvent:
        assert event_type == "operator_feedback"
        return

    assert_within_limits(
        event(event_type=event_type, event_data=data.values, comment=data.comment).payload({})
    )


@often
@given(anything, anything)
def test_any_ids(device, use_case):
    device_id, _ = short_text(device, "device_id", max_chars=limits.MAX_CONTEXT_ID_CHARS)
    try:
        use_case = use_case_id(use_case)
    except UnfitEvent:
        use_case = "dock"

    assert_within_limits(event(device_id=device_id, use_case_id=use_case).payload({}))


@st.composite
def detections(draw):
    """`sv.Detections` of any make, with columns present or not and values good or bad."""
    rows = draw(st.integers(0, 5))
    kind = draw(st.sampled_from([np.float32, np.float64, np.int32, np.float16]))
    numbers = st.integers(-500, 500) if kind is np.int32 else st.floats(width=16)
    xyxy = draw(npst.arrays(kind, (rows, 4), elements=numbers))
    if kind is np.float64:
        xyxy = draw(npst.arrays(kind, (rows, 4), elements=floats))
    columns = {
        "confidence": npst.arrays(np.float64, rows, elements=floats),
        "class_id": npst.arrays(np.int64, rows, elements=st.integers(-1, 99)),
        "tracker_id": npst.arrays(np.int64, rows, elements=st.integers(0, 99)),
        "mask": npst.arrays(np.bool_, (rows, 12, 17)),
    }
    slots = draw(st.integers(0, 4))
    names = st.lists(texts, min_size=rows, max_size=rows).map(
        lambda values: np.array(values, dtype=object)
    )
    data = {
        "class_name": names,
        "detection_id": names,
        "image_dimensions": npst.arrays(np.int64, (rows, 2), elements=st.integers(0, 900)),
        "parent_id": names,
        "parent_coordinates": npst.arrays(np.int64, (rows, 2), elements=st.integers(-900, 900)),
        "parent_dimensions": npst.arrays(np.int64, (rows, 2), elements=st.integers(0, 900)),
        "root_parent_id": st.just(np.array(["image"] * rows)),
        "root_parent_coordinates": npst.arrays(
            np.int64, (rows, 2), elements=st.integers(-900, 900)
        ),
        "root_parent_dimensions": npst.arrays(np.int64, (rows, 2), elements=st.integers(0, 900)),
        "scaling_relative_to_root_parent": npst.arrays(np.float64, rows, elements=floats),
        "keypoints_xy": npst.arrays(np.float64, (rows, slots, 2), elements=floats),
        "keypoints_class_id": npst.arrays(np.int64, (rows, slots), elements=st.integers(0, 20)),
        "polygon": npst.arrays(np.float64, (rows, draw(st.integers(0, 5)), 2), elements=floats),
    }

    def some_of(candidates):
        chosen = draw(st.sets(st.sampled_from(sorted(candidates))))
        return {name: draw(candidates[name]) for name in sorted(chosen)}

    return sv.Detections(xyxy=xyxy, data=some_of(data), **some_of(columns))


class_entry = st.fixed_dictionaries(
    {},
    optional={"class": scalars, "class_name": texts, "confidence": scalars, "class_id": scalars},
)
classifications = st.fixed_dictionaries(
    {},
    optional={
        "predictions": st.one_of(
            st.lists(class_entry, max_size=5),
            st.dictionaries(texts, st.one_of(class_entry, scalars), max_size=5),
            scalars,
        ),
        "predicted_classes": st.one_of(st.lists(texts, max_size=5), scalars),
        "top": st.one_of(texts, st.lists(texts, max_size=3), st.none()),
        "confidence": scalars,
    },
)
frames = st.one_of(
    st.none(),
    st.builds(
        PictureFrame,
        width_px=st.integers(1, 900),
        height_px=st.integers(1, 900),
        picture_id=st.sampled_from(["image", "crop"]),
        root_id=st.just("image"),
        root_left_px=st.integers(-50, 50).map(float),
        root_top_px=st.integers(-50, 50).map(float),
        root_size_px=st.one_of(st.none(), st.tuples(st.integers(1, 900), st.integers(1, 900))),
    ),
)


@often
@given(st.one_of(detections(), classifications, scalars), frames, st.floats(0.01, 1.0))
def test_any_prediction(prediction, frame, resize):
    annotations = annotate(prediction, picture=frame, resize=resize)
    lists = annotations.lists

    picture = Picture(content=b"x")
    image = EventImage(label="workflow", input=picture, annotations=lists)
    assert_within_limits(event(images=(image,)).payload({picture.picture_id: "id"}))
    if isinstance(prediction, sv.Detections):
        entries = sum(len(entries) for entries in lists.values())
        corners = prediction.xyxy.astype(np.float64)
        sides = corners[:, 2:] - corners[:, :2]
        reach = np.abs(np.concatenate([corners, sides], axis=1)) <= limits.MAX_COORDINATE_PX
        expected = reach.all(axis=1).sum()
        is_named = any("is nowhere" in each.why for each in annotations.adjustments)
        # What lies on its own picture may lie nowhere on the one that it is placed on.
        assert entries == expected or (entries < expected and is_named)


often_sound = st.one_of(st.floats(0, 90, width=32), st.floats(0, 90), st.floats(0, 90), floats)


@st.composite
def plain_boxes(draw):
    """Boxes as models give them, nearly always sound and made on the picture they are shown on."""
    rows = draw(st.integers(1, FEW))
    kind = draw(st.sampled_from([np.float32, np.float64]))
    elements = draw(st.sampled_from([st.floats(0, 90, width=32), often_sound]))
    xyxy = draw(st.lists(st.lists(elements, min_size=4, max_size=4), min_size=rows, max_size=rows))
    certainty = draw(
        st.sampled_from([st.floats(0, 1, width=32), st.one_of(st.floats(0, 1), floats)])
    )
    confidence = draw(st.lists(certainty, min_size=rows, max_size=rows))
    picture_id = draw(st.sampled_from(["image", "image", "image", "crop"]))
    size = draw(st.sampled_from([(90, 100), (90, 100), (100, 90)]))
    return sv.Detections(
        xyxy=np.array(xyxy, dtype=np.float64).astype(kind),
        confidence=np.array(confidence).astype(kind),
        data={
            "class_name": np.array(draw(st.lists(texts, min_size=rows, max_size=rows))),
            "parent_id": np.array([picture_id] * rows),
            "image_dimensions": np.array([size] * rows),
        },
    )


@often
@given(plain_boxes())
def test_a_few_boxes_are_what_they_are_among_many(boxes):
    picture = PictureFrame(width_px=100, height_px=90, picture_id="image", root_id="image")
    times = FEW // len(boxes) + 1
    few = annotate(boxes, picture=picture)
    many = annotate(boxes[np.tile(np.arange(len(boxes)), times)], picture=picture)

    assert many.lists == {key: entries * times for key, entries in few.lists.items()}
    assert {each.kind for each in many.adjustments} == {each.kind for each in few.adjustments}
