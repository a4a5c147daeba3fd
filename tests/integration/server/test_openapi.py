"""The OpenAPI document is true: whatever is sent, the answers are of the shapes it names."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode, checks

from tests.integration.server.conftest import ago
from vision_event_block.contract import limits
from vision_event_block.server.app import create_app
from vision_event_block.server.storage import Store

ROUTES = {
    ("POST", "/vision-events"): "201",
    ("POST", "/vision-events/batch"): "201",
    ("POST", "/vision-events/bundle"): "201",
    ("POST", "/vision-events/upload"): "201",
    ("POST", "/vision-events/query"): "200",
    ("POST", "/vision-events/delete"): "200",
    ("POST", "/vision-events/pin"): "200",
    ("GET", "/vision-events/use-cases"): "200",
    ("POST", "/vision-events/use-cases"): "201",
    ("PUT", "/vision-events/use-cases/{use_case_id}"): "200",
    ("POST", "/vision-events/use-cases/{use_case_id}/archive"): "200",
    ("POST", "/vision-events/use-cases/{use_case_id}/unarchive"): "200",
    ("GET", "/vision-events/custom-metadata-schema/{use_case_id}"): "200",
    ("GET", "/vision-events/image-metadata-schema/{use_case_id}"): "200",
    ("GET", "/vision-events/pictures/{source_id}"): "200",
    ("POST", "/v2/events"): "201",
    ("GET", "/health"): "200",
    ("POST", "/"): "200",
    ("GET", "/local"): "200",
}


@schemathesis.serializer("application/gzip", "application/x-tar")
def _archive(_, body):
    return body if isinstance(body, bytes) else str(body).encode()


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    with Store.open(tmp_path_factory.mktemp("document")) as store:
        return create_app(store).openapi()


def test_the_document_names_every_route_of_the_api_and_its_success(document):
    named = {
        (method.upper(), path): operation["responses"]
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }

    assert {key: next(iter(answers)) for key, answers in named.items()} == ROUTES
    assert "422" not in named["POST", "/vision-events"]


def test_every_reference_in_the_document_leads_somewhere(document):
    schemas = document["components"]["schemas"]
    found = set()

    def look(node):
        if isinstance(node, dict):
            found.add(node.get("$ref"))
            for inner in node.values():
                look(inner)
        elif isinstance(node, list):
            for inner in node:
                look(inner)

    look(document)
    assert {name.rpartition("/")[2] for name in found if isinstance(name, str)} <= set(schemas)
    assert "HTTPValidationError" not in schemas


def test_the_document_asks_for_an_id_and_a_time_where_the_server_does(document, tmp_path):
    with Store.open(tmp_path) as store:
        strict = create_app(store, strict=True).openapi()

    schemas, strictly = document["components"]["schemas"], strict["components"]["schemas"]
    assert set(schemas["NewEvent"]["required"]) == {"eventType", "useCaseId"}
    assert set(strictly["NewEvent"]["required"]) == {
        "eventId",
        "eventType",
        "useCaseId",
        "timestamp",
    }
    for kept in (schemas["Event"], strictly["Event"]):
        assert {"eventId", "eventType", "timestamp", "images"} <= set(kept["required"])
        assert "useCaseId" not in kept["properties"]


def test_the_document_and_the_table_of_limits_agree(document):
    schemas = document["components"]["schemas"]

    properties = schemas["NewEvent"]["properties"]
    assert tuple(properties["eventType"]["enum"]) == limits.EVENT_TYPES
    assert properties["images"]["maxItems"] == limits.MAX_IMAGES
    assert properties["useCaseId"]["maxLength"] == limits.MAX_USE_CASE_ID_CHARS
    assert schemas["Batch"]["properties"]["events"]["maxItems"] == limits.MAX_BATCH_EVENTS


@pytest.fixture(scope="module")
def schema(server):
    server.store.use_cases.create("For the document", id="documented")
    return schemathesis.openapi.from_url(f"{server.url}/openapi.json")


#: Eager ingestion takes more than the document promises: only the answers are looked at.
CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=str)
@settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_answers_are_as_the_document_says(schema, method, path, data):
    operation = schema[path][method]
    mode = data.draw(st.sampled_from([GenerationMode.POSITIVE, GenerationMode.NEGATIVE]))
    try:
        case = data.draw(operation.as_strategy(generation_mode=mode))
    except Unsatisfiable:  # there is nothing wrong to send to a route that takes nothing
        return
    if data.draw(st.booleans()):
        make_acceptable(case.path_parameters)
        make_acceptable(case.body)
    case.call_and_validate(checks=CHECKS, timeout=60)


def make_acceptable(place):
    """Puts in what no schema can say: a use case that is there, and a time close to now."""
    if not isinstance(place, dict):
        return
    known = {"use_case_id": "documented", "useCaseId": "documented", "solution": "documented"}
    known |= dict.fromkeys(("timestamp", "inference_timestamp", "startTime", "endTime"), ago())
    place.update({key: value for key, value in known.items() if key in place})
    for event in place["events"] if isinstance(place.get("events"), list) else ():
        make_acceptable(event)
