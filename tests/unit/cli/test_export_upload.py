"""`vision-events export` and `upload` against real folders and the stand-in."""

from __future__ import annotations

import gzip
import json
import shutil
import tarfile
import uuid
from dataclasses import replace
from datetime import datetime, timezone

import pytest

from tests.bodies import tar
from tests.unit.cli.entries import KEY, LIMITS, PICTURE, accounts, payload_of, real_run
from vision_event_block.cli import verification
from vision_event_block.cli.export_upload import pack_archive
from vision_event_block.contract.archives import MAX_ARCHIVE_BYTES
from vision_event_block.outbox.entry import Address
from vision_event_block.outbox.outbox import Outbox
from vision_event_block.server.http_server import serving
from vision_event_block.server.keys import Keys
from vision_event_block.server.storage import Store


@pytest.fixture
def stick(tmp_path):
    folder = tmp_path / "stick"
    folder.mkdir()
    return folder


def archive_of(event_id=None, members=None, **changes):
    event_id = event_id or str(uuid.uuid4())
    payload = payload_of(event_id, **changes)
    if members is None:
        members = {image["file"]: PICTURE for image in payload["images"]}
    return pack_archive(payload, members, plain=False)


@pytest.mark.parametrize("plain", [False, True], ids=["gzip", "plain"])
def test_pending_events_are_carried_off_and_uploaded_elsewhere(run, orphans, stick, api, plain):
    entries, _ = orphans(3, dead=1)
    result = real_run("export", stick, *(["--plain"] if plain else []))
    assert result.returncode == 0
    assert f"Exported to {stick}: 3 events" in result.stdout
    found = accounts(run)
    assert (found["pending"], found["dead"], found["dropped"]) == (0, 1, {"exported": 3})
    assert found["unaccounted"] == 0
    archives = sorted(stick.iterdir())
    assert len(archives) == 3
    assert all(tarfile.is_tarfile(path) for path in archives)
    assert all(path.name.endswith(".tar" if plain else ".tar.gz") for path in archives)

    result = real_run("upload", stick)
    assert result.returncode == 0, result.stderr
    assert set(api.events) == {entry.event_id for entry in entries}
    for entry in entries:
        assert api.picture_of(api.events[entry.event_id]) == PICTURE + entry.event_id.encode()
    assert sorted(path.name for path in (stick / "sent").iterdir()) == [
        path.name for path in archives
    ]


@pytest.mark.parametrize("plain", [False, True], ids=["gzip", "plain"])
def test_an_archive_is_posted_unopened_by_the_bundle_route(run, orphans, stick, api, plain):
    (entry,), _ = orphans(1)
    run("export", stick, *(["--plain"] if plain else []))
    result = run("upload", stick, "--bundle-route", "--use-case", "line-5")
    assert result.exit_code == 0
    [sent] = [request for request in api.requests if request.route]
    assert sent.route == "bundle"
    media_type = "application/x-tar" if plain else "application/gzip"
    assert sent.headers["Content-Type"] == media_type
    event = api.events[entry.event_id]
    assert event["useCaseId"] == "line-5"
    assert api.picture_of(event) == PICTURE + entry.event_id.encode()


def test_events_of_a_living_process_are_carried_off_too(run, owner, stick):
    ids, process = owner(3)
    result = run("export", stick)
    assert result.exit_code == 0
    assert process.poll() is None
    carried = {path.name.rpartition("_")[2].removesuffix(".tar.gz") for path in stick.iterdir()}
    assert carried == set(ids)
    assert accounts(run)["pending"] == 0


def before_and_after_export(run, folder, stick):
    """Exports, and puts the outbox back as if the power had gone before it was told."""
    saved = folder.with_name("saved")
    shutil.copytree(folder, saved)
    run("export", stick)
    shutil.rmtree(folder)
    saved.rename(folder)
    (archive,) = stick.iterdir()
    return archive


def test_another_file_of_the_same_name_is_not_overwritten(run, orphans, stick, folder):
    orphans(1)
    archive = before_and_after_export(run, folder, stick)
    archive.write_bytes(b"somebody else's")
    result = run("export", stick)
    assert result.exit_code == 1
    assert "there already" in result.output
    assert archive.read_bytes() == b"somebody else's"
    assert accounts(run)["pending"] == 1


def test_an_archive_that_is_there_already_ends_the_carrying_of_its_event(
    run, orphans, stick, folder
):
    orphans(1)
    archive = before_and_after_export(run, folder, stick)
    written_ns = archive.stat().st_mtime_ns
    result = run("export", stick)
    assert (result.exit_code, archive.stat().st_mtime_ns) == (0, written_ns)
    assert accounts(run)["dropped"] == {"exported": 1}


def test_an_event_too_large_for_a_bundle_stays_and_the_rest_is_carried_off(run, orphans, stick):
    small, _ = orphans(1)
    large, _ = orphans(1, picture=bytes(MAX_ARCHIVE_BYTES))
    result = run("export", stick, "--plain")
    assert result.exit_code == 1
    assert f"{large[0].event_id} is too large" in result.output
    assert [small[0].event_id in path.name for path in stick.iterdir()] == [True]
    assert accounts(run)["pending"] == 1


def test_a_stick_that_takes_nothing_costs_no_event(run, orphans, tmp_path):
    orphans(2)
    in_the_way = tmp_path / "stick"
    in_the_way.write_bytes(b"")
    assert run("export", in_the_way / "folder").exit_code == 1
    assert accounts(run)["pending"] == 2


@pytest.mark.parametrize(
    ("address", "words"),
    [
        (Address("event_store", "http://127.0.0.1:8001"), "Not for the Vision Events API"),
        (
            Address("relay", "https://api.example"),
            "Left to the server with --forward-to, which has their pictures",
        ),
    ],
    ids=["the device's own store", "a relay"],
)
def test_events_for_others_are_not_carried_to_the_api(run, orphans, stick, address, words):
    orphans(1, address=address)
    result = run("export", stick)
    assert result.exit_code == 0
    assert f"{words}: 1 event" in result.output
    assert list(stick.iterdir()) == []
    assert accounts(run)["pending"] == 1


def test_a_refused_archive_stays_and_does_not_hold_up_the_others(run, stick, api):
    hostile = "b\x1b[2J\nSent.tgz"
    for name, event_id in (("a.tar.gz", "e-1"), (hostile, "e-2"), ("c.tar.gz", "e-3")):
        (stick / name).write_bytes(archive_of(event_id))
    api.poison("e-2", 422, "unknown use case\x1b[2J")
    result = run("upload", stick)
    assert result.exit_code == 1
    assert "b\\x1b[2J\\nSent.tgz was rejected" in result.output
    assert "\x1b" not in result.output
    assert "unknown use case" in result.output
    assert "Sent: 2 of 3 archives" in result.output
    assert set(api.events) == {"e-1", "e-3"}
    assert sorted(path.name for path in stick.iterdir()) == [hostile, "sent"]


def test_a_refused_key_ends_the_upload_at_once(run, stick, api):
    for name in ("a.tar.gz", "b.tar.gz"):
        (stick / name).write_bytes(archive_of())
    api.refuse_key(KEY)
    result = run("upload", stick)
    assert result.exit_code == 1
    assert [request.route for request in api.requests if request.route] == ["upload"]
    assert len(list(stick.glob("*.tar.gz"))) == 2


def test_a_short_indisposition_of_the_api_is_waited_out(run, stick, api):
    (stick / "a.tar.gz").write_bytes(archive_of("e-1"))
    api.fail(503, times=1)
    api.cut(route="create", times=1)
    assert run("upload", stick).exit_code == 0
    assert set(api.events) == {"e-1"}


def test_the_upload_without_a_key_is_a_usage_error(run, stick, monkeypatch):
    monkeypatch.delenv("ROBOFLOW_API_KEY")
    monkeypatch.delenv("API_KEY", raising=False)
    monkeypatch.delenv("VISION_EVENT_API_URL")
    result = run("upload", stick)
    assert result.exit_code == 2
    assert "ROBOFLOW_API_KEY" in result.output


PAYLOAD = json.dumps(payload_of("0b1c", images=[])).encode()
#: For each way to spoil a member see the tests of the contract.
BAD = {
    "parent": tar({"payload.json": PAYLOAD, "../outside.jpg": PICTURE}),
    "gzip bomb": gzip.compress(bytes(120 * 2**20), 1),
    "cut off": archive_of(members={"images/0b1c.jpg": bytes(5000)}, event_id="0b1c")[:-40],
    "no payload": pack_archive({}, {}, plain=True)[:512],
    "empty": b"",
    "names what it lacks": archive_of(members={}),
    "images of another kind": archive_of(members={}, images=["a", 3]),
    "too large": bytes(MAX_ARCHIVE_BYTES + 1),
}


@pytest.mark.parametrize("route", [[], ["--bundle-route"]], ids=["opened", "unopened"])
@pytest.mark.parametrize("kind", BAD)
def test_a_hostile_or_damaged_archive_is_named_and_nothing_of_it_is_sent(
    run, stick, api, kind, route
):
    (stick / "bad.tar").write_bytes(BAD[kind])
    result = run("upload", stick, *route)
    assert result.exit_code == 1
    assert "bad.tar cannot be sent" in result.output
    assert api.requests == []
    assert [path.name for path in stick.iterdir()] == ["bad.tar"]


def test_hidden_unfinished_files_and_folders_are_left_alone(run, stick, api):
    (stick / ".a.tar.gz.tmp").write_bytes(b"half")
    (stick / ".b.tar.gz").write_bytes(b"half")
    (stick / "folder.tar").mkdir()
    result = run("upload", stick)
    assert (result.exit_code, api.requests) == (0, [])


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A real server, which can be asked what it has."""
    with (
        Store.open(tmp_path / "server") as store,
        serving(store, Keys([KEY])) as url,
    ):
        store.use_cases.create("Line", id="line-4")
        monkeypatch.setenv("VISION_EVENT_API_URL", url)
        monkeypatch.setenv("VISION_EVENT_READ_TIMEOUT_S", "60")
        yield store


def test_an_event_that_the_api_has_is_not_sent_over_it(run, stick, server):
    taken = datetime.now(timezone.utc).replace(microsecond=123_456)
    bare = {"members": {}, "images": []}
    old = archive_of("e-1", timestamp=taken.isoformat(), comment="older", **bare)
    (stick / "old.tar").write_bytes(old)
    newer = stick.parent / "newer"
    newer.mkdir()
    kept = taken.isoformat(timespec="milliseconds")  # an API may keep no finer times
    new = archive_of("e-1", timestamp=kept, comment="newer", **bare)
    (newer / "new.tar").write_bytes(new)
    (stick / "other.tar").write_bytes(archive_of("e-2", members={}, images=[]))
    assert run("upload", newer).exit_code == 0  # as over the network, in the meantime

    result = run("upload", stick)

    assert result.exit_code == 0
    assert "Sent: 1 of 2 archives" in result.output
    assert "Not sent again, since the API has them: 1 event" in result.output
    assert server.get("e-1").body["comment"] == "newer"
    assert server.get("e-2") is not None
    assert [path.name for path in stick.iterdir()] == ["sent"]


@pytest.mark.parametrize(("most_pages", "is_found"), [(500, True), (2, False)])
def test_the_api_is_asked_page_by_page_and_not_for_ever(
    run, stick, server, monkeypatch, most_pages, is_found
):
    monkeypatch.setattr(verification, "PAGE_EVENTS", 1)
    taken = datetime.now(timezone.utc).isoformat()
    for number in range(4):
        archive = archive_of(f"e-{number}", timestamp=taken, members={}, images=[])
        (stick / f"{number}.tar").write_bytes(archive)
    assert run("upload", stick).exit_code == 0
    (stick / "sent").rename(again := stick.parent / "again")
    monkeypatch.setattr(verification, "MAX_PAGES", most_pages)

    result = run("upload", again)

    assert ("the API has them: 4 events" in result.output) == is_found
    assert ("already has: there are more than 2 events" in result.output) != is_found
    assert result.exit_code == 0


def test_where_the_api_cannot_be_asked_archives_are_sent_and_that_is_said(run, stick, api):
    (stick / "a.tar").write_bytes(archive_of("e-1"))
    result = run("upload", stick)
    assert result.exit_code == 0
    assert "Sent without checking what the API already has" in result.output
    assert "e-1" in api.events


def test_a_newer_version_of_what_was_delivered_is_left_to_the_network(run, orphans, stick, folder):
    (waiting,), _ = orphans(1)
    newer = replace(waiting.metadata, version=2, is_update=True)
    outbox = Outbox(folder, LIMITS)
    outbox.store("e-1", payload_of("e-1", images=[]), {}, newer)
    outbox.close()

    result = run("export", stick)

    assert result.exit_code == 0
    assert f"Exported to {stick}: 1 event" in result.output
    assert "Newer versions of delivered or exported events, left to the network: 1" in result.output
    assert len(list(stick.iterdir())) == 1
    found = accounts(run)
    assert (found["pending"], found["versions"]["pending"], found["unaccounted"]) == (0, 1, 0)
