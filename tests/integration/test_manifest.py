"""The committed schema is the one that the host gives for the block, and the form makes sense."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest
from jsonschema_rs import Draft202012Validator
from typer.testing import CliRunner

from vision_event_block.contract.names import EVENT_DATA_KEYS
from vision_event_block.events.event_data import FIELD_OF

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "manifests"
FILE = FOLDER / "vision_event@v1.json"


@pytest.fixture(scope="module")
def description():
    return json.loads(FILE.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def form(description):
    return description["block_schema"]["properties"]


def invoke(*arguments):
    app = runpy.run_path(str(ROOT / "docs/manifests.py"))["app"]
    return CliRunner().invoke(app, [*map(str, arguments)])


@pytest.mark.usefixtures("_host")
def test_the_committed_file_is_up_to_date():
    result = invoke("--folder", FOLDER)

    assert result.exit_code == 0, result.output


@pytest.mark.usefixtures("_host")
def test_a_stale_or_missing_file_is_told_and_written_anew(tmp_path):
    assert invoke("--folder", tmp_path).exit_code == 1
    assert invoke("--folder", tmp_path, "--write").exit_code == 0
    copy = tmp_path / FILE.name
    assert copy.read_bytes() == FILE.read_bytes()
    copy.write_text(copy.read_text() + " ")
    result = invoke("--folder", tmp_path)
    assert result.exit_code == 1
    assert "make manifests" in result.output


def test_every_field_says_what_it_is(form):
    for name, field in form.items():
        if name not in ("type", "name"):
            assert field["title"], name
            assert field["description"].endswith("."), name
            assert field.get("examples") or field.get("hidden"), name


@pytest.mark.parametrize("event_type", EVENT_DATA_KEYS)
def test_the_editor_shows_the_fields_of_the_chosen_type_and_no_others(form, event_type):
    shown = {
        name
        for name, field in form.items()
        if event_type in field.get("relevant_for", {}).get("event_type", {}).get("values", ())
    }

    expected = {FIELD_OF[key] for key in EVENT_DATA_KEYS[event_type]}
    assert shown - {"feedback_comment"} == expected


def test_each_type_has_its_main_field_in_sight(form):
    for event_type in EVENT_DATA_KEYS:
        assert any(
            field.get("always_visible")
            and event_type in field.get("relevant_for", {}).get("event_type", {}).get("values", ())
            for field in form.values()
        ), event_type


def test_choices_have_names_and_descriptions(form):
    for name in ("event_type", "qc_result", "severity", "feedback", "durability"):
        options = [*form[name].get("anyOf", ()), form[name]]
        choices = next(option["enum"] for option in options if "enum" in option)
        assert set(form[name]["values_metadata"]) == set(choices), name


def test_the_use_case_has_the_editors_picker(form):
    kinds = {
        kind["name"] for option in form["use_case"]["anyOf"] for kind in option.get("kind", ())
    }

    assert kinds == {"roboflow_solution", "string"}


OFFICIAL = "roboflow_core/roboflow_vision_events@v1"


@pytest.fixture(scope="module")
def official_form(_host):
    from vision_event_block.host import describe_block  # noqa: PLC0415 - takes the host's 20 s

    return describe_block(OFFICIAL)["block_schema"]


def shapes(field):
    """What a field takes, in the order in which an editor offers it."""
    return [
        "wire" if option.get("reference") else option.get("type")
        for option in field.get("anyOf", [field])
        if option.get("type") != "null"
    ]


def test_a_step_of_the_official_block_satisfies_the_form(description, official_form):
    """An editor that validates refuses no step of which only the type was changed."""
    form = description["block_schema"]
    step = {"type": "vision_event_block/vision_event@v1", "name": "event", "event_type": "custom"}

    assert set(official_form["properties"]) <= set(form["properties"])
    assert set(form["required"]) <= set(official_form["required"])
    valid = Draft202012Validator(form).is_valid
    assert valid({**step, "solution": "dock", "input_image": "$inputs.image"})
    assert valid({**step, "use_case": "$inputs.use_case", "durability": "$inputs.durability"})
    assert not valid(step)
    assert not valid({**step, "solution": "dock", "durability": "ram"})


def test_shared_fields_offer_values_and_wires_in_the_official_order(form, official_form):
    for name, field in official_form["properties"].items():
        ours, theirs = shapes(form[name]), shapes(field)
        assert ("wire" in ours) == ("wire" in theirs), name
        if "wire" in theirs:
            assert (ours[0] == "wire") == (theirs[0] == "wire"), name


def test_the_form_holds_nothing_that_is_not_for_its_reader(description, form):
    assert "description" not in description["block_schema"]
    assert "step_fingerprint" not in form


def test_the_long_help_is_the_packages_text(description):
    text = (FOLDER.parent / "vision_event_block/blocks/vision_event.md").read_text("utf-8")

    assert description["block_schema"]["long_description"] == text


def test_the_outputs_are_the_official_blocks_and_the_delivery_status(description):
    assert [output["name"] for output in description["outputs_manifest"]] == [
        "error_status",
        "throttling_status",
        "event_id",
        "message",
        "delivery_status",
    ]
