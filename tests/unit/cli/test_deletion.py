"""`vision-events delete` against a real server."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from tests.unit.cli.entries import real_run
from tests.unit.server.scenes import event, picture
from vision_event_block import settings
from vision_event_block.cli.commands import app
from vision_event_block.cli.deletion import BATCH_EVENTS
from vision_event_block.server.http_server import serving
from vision_event_block.server.keys import Keys
from vision_event_block.server.storage import Store

WRITE, READ = "key-for-writing-1", "key-for-reading-1"


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A server's store; the environment names its address and a key."""
    with (
        Store.open(tmp_path / "server", lookback_days=None) as store,
        serving(store, Keys([f"{WRITE}:write", f"{READ}:read"])) as url,
    ):
        store.use_cases.create("Dock", id="dock")
        store.put([event(name, pictures=[store.pictures.put(picture()).id]) for name in "abc"])
        monkeypatch.setenv("VISION_EVENT_API_URL", url)
        monkeypatch.setenv("VISION_EVENT_READ_TIMEOUT_S", "60")
        monkeypatch.setenv("ROBOFLOW_API_KEY", WRITE)
        settings.current.cache_clear()
        yield store


def delete(*arguments, answer=None):
    command = ["delete", "--use-case", "dock", *arguments]
    return CliRunner().invoke(app, command, input=answer)


def left(store):
    return {name for name in "abc" if store.get(name)}


def test_it_asks_and_deletes_only_after_a_yes(store):
    result = delete("a", "b", answer="n\n")
    assert result.exit_code == 1
    assert "Delete 2 events of use case dock from http://127.0.0.1" in result.output
    assert "Nothing was deleted." in result.output
    assert delete("a", "b").exit_code == 1  # nobody answers
    assert left(store) == set("abc")

    result = delete("a", "b", answer="y\n")

    assert result.exit_code == 0
    assert result.output.endswith("Deleted: 2 of 2 events\n")
    assert left(store) == {"c"}


def test_what_is_not_found_is_named_and_the_rest_is_deleted(store):
    result = real_run("delete", "--use-case", "dock", "a", "nowhere", "b", "--yes")

    assert (result.returncode, result.stdout) == (1, "Deleted: 2 of 3 events\n")
    assert result.stderr == "Not found: nowhere\n"
    assert left(store) == {"c"}


def test_json_says_the_same(store):
    result = delete("a", "nowhere", "a", "--yes", "--json")

    assert result.exit_code == 1
    assert json.loads(result.stdout) == {"deleted": 1, "notFound": ["nowhere"], "notTried": []}


def test_pictures_go_at_once_if_asked(store):
    pictures = {name: store.get(name).body["images"][0]["sourceId"] for name in "ab"}

    assert delete("a", "--yes", "--with-pictures").exit_code == 0
    assert delete("b", "--yes").exit_code == 0

    assert {name: store.pictures.exists(each) for name, each in pictures.items()} == {
        "a": False,
        "b": True,
    }


def test_many_go_in_bounded_requests(store):
    many = [f"e{number}" for number in range(2 * BATCH_EVENTS + 5)]
    store.put([event(name) for name in many])

    result = delete(*many, "--yes", "--json")

    assert json.loads(result.stdout)["deleted"] == len(many)
    assert store.use_cases.get("dock").event_count == 3


def test_a_refusal_ends_it_and_says_what_was_not_tried(store, monkeypatch):
    monkeypatch.setenv("ROBOFLOW_API_KEY", READ)

    result = real_run("delete", "--use-case", "dock", "a", "--yes", "--json")

    assert result.returncode == 1
    assert "Insufficient permissions" in result.stderr
    assert json.loads(result.stdout) == {"deleted": 0, "notFound": [], "notTried": ["a"]}
    assert left(store) == set("abc")


def test_ids_and_a_use_case_are_needed(store):
    assert CliRunner().invoke(app, ["delete", "a", "--yes"]).exit_code == 2
    assert delete("--yes").exit_code == 2
