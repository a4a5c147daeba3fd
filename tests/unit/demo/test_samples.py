"""The sample workflows as the demo finds and prepares them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vision_event_block.demo.streams import STREAMS, Recording, results, with_model, workflow

SAMPLES = Path(__file__).resolve().parents[3] / "sample_workflows"
RECORDING = Recording(Path("clip.avi"), Path("clip.json"), frames=2)


@pytest.mark.parametrize("name", sorted(path.stem for path in SAMPLES.glob("*.json")))
def test_every_sample_is_found_as_it_stands(name):
    assert workflow(name) == json.loads((SAMPLES / f"{name}.json").read_text("utf-8"))


def test_a_wheel_has_the_samples_where_they_are_looked_for():
    assert '"sample_workflows" = "vision_event_block/demo/workflows"' in (
        SAMPLES.parent / "pyproject.toml"
    ).read_text("utf-8")


def test_a_sample_that_is_not_there_is_an_error_that_names_it():
    with pytest.raises(LookupError, match="no_such_sample"):
        workflow("no_such_sample")


@pytest.mark.parametrize(
    "name",
    ["instance_segmentation", "key_points", "safety_alert", "parts_on_belt", "vehicle_story"],
)
def test_a_model_put_in_feeds_every_step_that_the_input_fed(name):
    given = workflow(name)
    made = with_model(given, "your-project/1", block_type="roboflow_core/a_model@v2")

    assert made["steps"][0] == {
        "type": "roboflow_core/a_model@v2",
        "name": "model",
        "images": "$inputs.image",
        "model_id": "your-project/1",
    }
    assert made["outputs"] == given["outputs"]
    assert [step["name"] for step in made["steps"][1:]] == [step["name"] for step in given["steps"]]
    assert "$inputs.predictions" not in json.dumps(made)
    text = json.dumps(made["steps"][1:])
    assert text.count("$steps.model.predictions") == json.dumps(given).count("$inputs.predictions")
    assert [each["name"] for each in made["inputs"]] == [
        each["name"] for each in given["inputs"] if each["name"] != "predictions"
    ]


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.workflow)
def test_a_stream_changes_nothing_but_the_model_and_fields_of_the_step_that_records(stream):
    made, given = stream.definition(RECORDING), workflow(stream.workflow)

    assert made["outputs"] == given["outputs"]
    before = json.loads(
        json.dumps(given["steps"]).replace("$inputs.predictions", "$steps.model.predictions")
    )
    steps = {step["name"]: step for step in made["steps"]}
    for step in before:
        changed = {key for key, value in steps.pop(step["name"]).items() if step.get(key) != value}
        if step["type"].startswith("vision_event_block/"):
            assert changed >= {"device_id", "stream_id", "timestamp", "workflow_id"}
        else:
            assert changed == set()
    assert set(steps) == ({"model", "recording"} if stream.has_model else {"recording"})


def test_every_stream_is_told_apart():
    assert len({stream.use_case_id for stream in STREAMS}) == len(STREAMS)
    assert len({(stream.device_id, stream.stream_id) for stream in STREAMS}) == len(STREAMS)


@pytest.mark.parametrize(
    ("event_data", "words"),
    [
        ([], ""),
        ([{"result": "fail"}, {"result": "pass"}, {"result": "pass"}], "2 pass, 1 fail"),
        ([{"itemCount": 7}, {"itemCount": 0}], "0 to 7 items"),
        ([{"alertType": "x", "severity": "high"}], "1 high"),
    ],
)
def test_results_are_told_in_a_few_words(event_data, words):
    assert results([{"eventData": data} for data in event_data]) == words
