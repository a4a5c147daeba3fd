"""How much a page asks of the database: one transaction, so that all of it is of one moment."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from sqlalchemy import event as sqlalchemy_event

from tests.integration.server.conftest import event, picture
from vision_event_block.server import app

#: What tells who asks. It is read beside the page, at most once a second.
KEYS = ("api_keys", "sessions")


async def _never(_):
    """Instead of the server's own clean-up: on a busy machine its first one reads beside a page."""


@pytest.fixture
def looked_at(start, monkeypatch):
    """A server with a use case of three events and a picture, after a clean-up."""
    monkeypatch.setattr(app, "_keep_clean", _never)
    server = start()
    server.use_case_id = server.new_use_case()
    server.picture_id = server.upload(picture()).json()["sourceId"]
    for name in "abc":
        body = event(server.use_case_id, eventId=name, deviceId="cam", customMetadata={"door": 1})
        body["images"] = [{"sourceId": server.picture_id}]
        assert server.post("/vision-events", json=body).status_code == 201
    server.store.clean_up()
    return server


@contextmanager
def transactions(store):
    """The statements of each transaction, but for those that read who asks."""
    engine = store._database._engine
    begun = {}
    found = []

    def begin(connection):
        begun[id(connection)] = []

    def note(connection, cursor, statement, *_):
        if not statement.startswith("BEGIN"):
            begun[id(connection)].append(statement)

    def end(connection):
        statements = begun.pop(id(connection), [])
        # A page that takes more than that second asks for it in the middle, too.
        if others := [it for it in statements if not any(table in it for table in KEYS)]:
            found.append(others)

    listeners = {"begin": begin, "before_cursor_execute": note, "commit": end, "rollback": end}
    for name, listener in listeners.items():
        sqlalchemy_event.listen(engine, name, listener)
    try:
        yield found
    finally:
        for name, listener in listeners.items():
            sqlalchemy_event.remove(engine, name, listener)


@pytest.mark.parametrize(
    ("path", "most_statements"),
    [
        ("/", 22),
        ("/use-cases/{use_case}", 29),
        ("/use-cases/{use_case}?device=cam&meta_key=door&meta_is=eq&meta_value=1", 33),
        ("/use-cases/{use_case}/charts", 23),
        ("/events/a", 32),
    ],
    ids=["use cases", "grid", "filtered grid", "charts", "event"],
)
def test_a_page_reads_one_moment_of_the_database(looked_at, path, most_statements):
    path = path.format(use_case=looked_at.use_case_id)

    with transactions(looked_at.store) as found:
        reply = looked_at.get(path)

    assert reply.status_code == 200
    assert [len(statements) <= most_statements for statements in found] == [True], found


def test_a_query_reads_one_moment_of_the_database(looked_at):
    with transactions(looked_at.store) as found:
        events = looked_at.events_of(looked_at.use_case_id, deviceId="cam")

    assert [each["eventId"] for each in events] == ["c", "b", "a"]
    assert len(found) == 1
    assert len(found[0]) <= 8


def test_a_thumbnail_that_is_kept_costs_one_look_up(looked_at):
    address = f"/vision-events/pictures/{looked_at.picture_id}?side=160"
    made = looked_at.get(address)

    with transactions(looked_at.store) as found:
        kept = looked_at.get(address)

    assert made.content == kept.content
    assert kept.headers["content-type"] == "image/jpeg"
    assert [len(statements) for statements in found] == [1]
