"""The official SDK as its users have it: it reads the address of the API when it is imported.

    API_URL=http://127.0.0.1:9100 python sdk_process.py KEY PICTURE [KEY_THAT_MAY_ONLY_WRITE]

Prints what each call answered, as one line of JSON.
"""

from __future__ import annotations

import io
import json
import sys
from contextlib import redirect_stdout
from datetime import datetime, timedelta, timezone
from uuid import uuid4

from roboflow import Roboflow
from roboflow.adapters import vision_events_api as api
from roboflow.adapters.rfapi import RoboflowError


def event(use_case_id, **fields):
    moment = datetime.now(timezone.utc) - timedelta(minutes=5)
    return {
        "eventId": str(uuid4()),
        "eventType": "quality_check",
        "useCaseId": use_case_id,
        "timestamp": moment.isoformat(),
        "eventData": {"result": "pass"},
        **fields,
    }


def error_of(call, *arguments):
    try:
        call(*arguments)
    except RoboflowError as error:
        return json.loads(str(error))
    return None


def low_level(key, picture):
    """Each function of the adapter."""
    use_case_id = api.create_use_case(key, "Low level")["id"]
    uploaded = api.upload_image(key, picture, name="a name", metadata={"camera": "north"})
    images = [{"sourceId": uploaded["sourceId"]}]
    written = api.write_event(key, event(use_case_id, images=images, customMetadata={"door": 4}))
    batch = api.write_batch(key, [event(use_case_id) for _ in range(3)])
    return {
        "use_case_id": use_case_id,
        "uploaded": uploaded,
        "written": written,
        "batch": batch,
        "queried": api.query(key, {"useCaseId": use_case_id, "limit": 2}),
        "schema": api.get_custom_metadata_schema(key, use_case_id),
        "listed": api.list_use_cases(key),
        "renamed": api.rename_use_case(key, use_case_id, "Renamed"),
        "archived": api.archive_use_case(key, use_case_id),
        "inactive": api.list_use_cases(key, status="inactive"),
        "refused": error_of(api.write_event, key, event(use_case_id)),
        "unarchived": api.unarchive_use_case(key, use_case_id),
        "unknown": error_of(api.rename_use_case, key, "nowhere", "x"),
        "duplicate": error_of(api.create_use_case, key, "Renamed"),
    }


def as_in_the_guide(key):
    """Events as the guide shows them: no ids, in the batch no times, the use case by its name."""
    name = "Guide: bottle caps / line 3"
    use_case_id = api.create_use_case(key, name)["id"]
    single, bare = event(name), event(name, customMetadata={"door": 4})
    del single["eventId"], bare["eventId"], bare["timestamp"]
    return {
        "use_case_id": use_case_id,
        "written": api.write_event(key, single),
        "batch": api.write_batch(key, [bare, bare]),
        "queried": api.query(key, {"useCaseId": name}),
        "schema": api.get_custom_metadata_schema(key, name),
        "incomplete": error_of(api.write_event, key, {"useCaseId": name}),
    }


def with_a_limited_key(key):
    """What a camera may do, and what it may not."""
    sent = event("Guide: bottle caps / line 3")
    sent["solution"] = sent.pop("useCaseId")
    return {
        "written": api.write_event(key, sent),
        "refused": error_of(api.query, key, {"useCaseId": sent["solution"]}),
    }


def high_level(key, picture):
    """The same through the workspace, and a walk over pages."""
    with redirect_stdout(io.StringIO()):
        workspace = Roboflow(key).workspace()
    use_case_id = workspace.create_vision_event_use_case("High level")["id"]
    source_id = workspace.upload_vision_event_image(picture)["sourceId"]
    ids = []
    for number in range(7):
        sent = event(use_case_id, images=[{"sourceId": source_id}], customMetadata={"n": number})
        ids.append(workspace.write_vision_event(sent)["eventId"])
    workspace.write_vision_events_batch([event(use_case_id, eventType="custom", eventData={})])
    pages = workspace.query_all_vision_events(use_case_id, event_type="quality_check", limit=3)
    return {
        "name": workspace.name,
        "pages": [[each["eventId"] for each in page] for page in map(events_of, pages)],
        "written": ids,
        "use_cases": [each["id"] for each in workspace.list_vision_event_use_cases()["useCases"]],
        "use_case_id": use_case_id,
        "schema": workspace.get_vision_event_metadata_schema(use_case_id)["fields"],
        "renamed": workspace.rename_vision_event_use_case(use_case_id, "Higher")["name"],
        "archived": workspace.archive_vision_event_use_case(use_case_id),
        "unarchived": workspace.unarchive_vision_event_use_case(use_case_id),
    }


def events_of(page):
    return page["events"] if isinstance(page, dict) else page


if __name__ == "__main__":
    key, picture, *limited_keys = sys.argv[1:]
    result = {
        "low": low_level(key, picture),
        "guide": as_in_the_guide(key),
        "high": high_level(key, picture),
        "limited": [with_a_limited_key(each) for each in limited_keys],
    }
    print(json.dumps(result))  # noqa: T201
