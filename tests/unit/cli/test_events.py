"""`vision-events list` and `show` against real folders."""

from __future__ import annotations

import json

from tests.unit.cli.entries import PICTURE, real_run
from vision_event_block.outbox.entry import Address


def test_the_list_names_each_event_its_state_and_why_it_was_refused(run, orphans):
    (waiting,), (dead,) = orphans(1, dead=1)
    output = run("list").output
    assert waiting.event_id in output
    assert dead.event_id in output
    assert "no such use case" in output
    assert "status" not in output, "the list is for persons, and a dead letter has more keys"
    only_dead = run("list", "--dead").output
    assert waiting.event_id not in only_dead
    assert dead.event_id in only_dead


def test_the_list_for_programs_holds_state_age_size_and_reason(run, orphans):
    (waiting,), (dead,) = orphans(1, dead=1)
    rows = {row["event_id"]: row for row in json.loads(run("list", "--json").output)}
    assert rows[waiting.event_id]["state"] == "pending"
    assert rows[waiting.event_id]["size_bytes"] == waiting.size_bytes
    assert 0 <= rows[waiting.event_id]["age_s"] < 60
    assert rows[dead.event_id]["reason"] == {"status": 400, "reason": "no such use case"}


def test_an_empty_list_says_so(run, orphans):
    orphans(0)
    assert run("list").output == "No events.\n"
    assert json.loads(run("list", "--json").output) == []


def test_an_event_is_shown_with_payload_destination_and_reason(run, orphans, api):
    _, (dead,) = orphans(0, dead=1)
    found = json.loads(run("show", dead.event_id[:8]).output)
    assert found["event_id"] == dead.event_id
    assert found["state"] == "dead"
    assert found["destination"].startswith(api.url)
    assert found["reason"]["reason"] == "no such use case"
    assert found["payload"]["eventData"] == {"result": "pass"}


def test_an_unknown_id_needs_help_and_an_ambiguous_one_is_a_usage_error(run, orphans):
    entries, _ = orphans(20)
    assert run("show", "no-such-event").exit_code == 1
    firsts = [entry.event_id[0] for entry in entries]
    shared = next(first for first in firsts if firsts.count(first) > 1)
    assert run("show", shared).exit_code == 2


def test_a_shown_event_is_saved_with_its_pictures(orphans, tmp_path):
    (waiting,), _ = orphans(1)
    result = real_run("show", waiting.event_id, "--save", tmp_path / "there")
    assert result.returncode == 0
    saved = tmp_path / "there"
    payload = json.loads((saved / "payload.json").read_text())
    assert payload == json.loads(result.stdout)["payload"]
    picture = (saved / payload["images"][0]["file"]).read_bytes()
    assert picture == PICTURE + waiting.event_id.encode()


def test_a_damaged_event_is_named_and_not_shown(run, orphans, folder):
    (waiting,), _ = orphans(1)
    (path,) = folder.glob(f"slots/*/{waiting.name}")
    content = bytearray(path.read_bytes())
    content[content.index(PICTURE) + 3] ^= 1
    path.write_bytes(content)
    result = run("show", waiting.event_id)
    assert result.exit_code == 1
    assert "checksum" in result.output


def test_the_list_of_a_hundred_events_is_complete(run, orphans):
    entries, _ = orphans(100, address=Address("event_store", "http://127.0.0.1:8001"))
    rows = json.loads(run("list", "--json").output)
    assert [row["event_id"] for row in rows] == [
        entry.event_id for entry in sorted(entries, key=lambda entry: entry.name)
    ]
    assert {row["destination"] for row in rows} == {"http://127.0.0.1:8001"}
