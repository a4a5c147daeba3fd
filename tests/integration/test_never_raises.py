"""Whatever is wired to the block: `run()` answers, and what it sends is within the limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.payloads import assert_within_limits
from tests.unit.events.test_properties import anything, classifications, detections, scalars
from vision_event_block.contract import limits
from vision_event_block.events.event_data import DATA_FIELDS

OUTPUTS = {"error_status", "throttling_status", "event_id", "message", "delivery_status"}
FIELDS_OF_ANYTHING = [
    *DATA_FIELDS,
    "device_id",
    "stream_id",
    "workflow_id",
    "workflow_version",
    "cooldown_key",
    "disable_sink",
    "jpeg_quality",
    "max_image_side",
    "extra_images",
    "input_image",
    "output_image",
    "unknown_field",
]

fields = st.fixed_dictionaries(
    {
        "event_type": st.one_of(st.sampled_from(limits.EVENT_TYPES), anything),
        "use_case": st.one_of(st.just("dock"), anything),
        "cooldown_seconds": st.one_of(st.just(0), anything),
        "fire_and_forget": st.just(False),
    },
    optional={
        "predictions": st.one_of(detections(), classifications, anything),
        "timestamp": st.one_of(anything, st.sampled_from(["2026-13-01", "1970-01-01T00:00:00Z"])),
        "custom_metadata": st.one_of(
            st.dictionaries(st.one_of(st.text(), st.integers(), st.none()), scalars), anything
        ),
        "durability": st.sampled_from(["disk", "memory", "nonsense"]),
        **dict.fromkeys(FIELDS_OF_ANYTHING, anything),
    },
)
#: None stands for a picture whose source cannot be read.
PIXELS = [
    np.zeros((4, 5, 3), np.uint8),
    np.zeros((4, 5), np.uint8),
    np.zeros((4, 5, 4), np.uint8),
    np.zeros((0, 5, 3), np.uint8),
    np.full((3, 3, 3), np.nan),
    np.zeros((3, 3, 7)),
    None,
]


@pytest.fixture(scope="module")
def block_class():
    import inference.core  # noqa: F401, PLC0415

    from vision_event_block.blocks.vision_event import VisionEventBlock  # noqa: PLC0415

    return VisionEventBlock


@pytest.fixture(scope="module")
def picture_of(block_class):
    """A function that gives the host's own picture of any pixels."""
    from roboflow_workflows.execution_engine.entities import base  # noqa: PLC0415

    def make(pixels):
        parent = base.ImageParentMetadata(parent_id="image")
        if pixels is None:
            return base.WorkflowImageData(parent, image_reference="/no/such/picture.jpg")
        return base.WorkflowImageData(parent, numpy_image=pixels)

    return make


@settings(
    deadline=None,
    max_examples=300,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    fields=fields,
    pixels=st.dictionaries(
        st.sampled_from(["input_image", "output_image"]), st.sampled_from(PIXELS)
    ),
)
def test_run_always_answers_and_sends_only_what_the_api_takes(
    api, block_class, picture_of, fields, pixels
):
    before = set(api.events)
    pictures = {name: picture_of(values) for name, values in pixels.items()}

    outputs = block_class(api_key="k").run(**{**fields, **pictures})

    status = outputs["delivery_status"]
    assert set(outputs) == OUTPUTS
    # No "failed": that is for what an operator can mend.
    assert status in {"delivered", "rejected", "disabled", "throttled"}, outputs["message"]
    assert (status == "delivered") == (len(set(api.events) - before) == 1)
    if status == "delivered":
        assert_within_limits(api.events[outputs["event_id"]])
        assert "The API warns" not in outputs["message"]
