"""`vision-events requeue`, `recheck` and `drop` against real folders and living processes."""

from __future__ import annotations

import json
import threading
from dataclasses import replace

import pytest

from tests.unit.cli.entries import LIMITS, accounts, payload_of, real_run
from tests.waiting import eventually
from vision_event_block.outbox.outbox import Outbox


def test_a_requeued_event_waits_again_without_being_counted_twice(run, orphans, folder):
    _, (first, second) = orphans(0, dead=2)
    result = run("requeue", first.event_id)
    assert (result.exit_code, result.output) == (0, "Requeued: 1 event\n")
    found = accounts(run)
    assert (found["stored"], found["pending"], found["dead"]) == (2, 1, 1)
    assert found["unaccounted"] == 0
    assert [path.name for path in folder.glob("dead/*.tar")] == [second.name]
    assert len(list(folder.glob("dead/*.json"))) == 1


def test_all_dead_letters_can_be_requeued_at_once_by_a_process(run, orphans):
    orphans(1, dead=3)
    result = real_run("requeue", "--all")
    assert (result.returncode, result.stdout) == (0, "Requeued: 3 events\n")
    found = accounts(run)
    assert (found["stored"], found["pending"], found["dead"], found["unaccounted"]) == (4, 4, 0, 0)
    assert not any(slot["has_owner"] for slot in found["slots"])


@pytest.mark.parametrize(
    "words",
    [
        ("drop", ""),
        ("drop", "--patience", "0", " "),
        ("requeue", ""),
        ("requeue", "--all", "--use-case", ""),
        ("show", ""),
        ("send", "--through-outbox", "--use-case", ""),
        ("delete", "-y", "--use-case", "dock", "e-1", ""),
        ("delete", "-y", "--use-case", "", "e-1"),
        ("use-cases", "archive", ""),
    ],
)
def test_an_empty_id_as_of_a_variable_that_is_not_set_is_a_usage_error(run, orphans, api, words):
    orphans(1, dead=1)
    result = run(*words)
    assert result.exit_code == 2
    assert "is empty" in result.output
    found = accounts(run)
    assert (found["stored"], found["pending"], found["dead"]) == (2, 1, 1)
    assert api.requests == []


def test_requeue_and_drop_without_saying_what_are_usage_errors(run, orphans):
    _, (dead,) = orphans(1, dead=1)
    assert run("requeue").exit_code == 2
    assert run("requeue", "--all", dead.event_id).exit_code == 2
    assert run("drop").exit_code == 2
    assert accounts(run)["dead"] == 1


def test_a_pending_event_is_no_dead_letter(run, orphans):
    (waiting,), _ = orphans(1)
    assert run("requeue", waiting.event_id).exit_code == 1
    assert accounts(run)["pending"] == 1


def test_nothing_is_made_where_no_outbox_is(run, folder):
    assert run("drop", "0123").exit_code == 2
    assert run("requeue", "--all").exit_code == 2
    assert not folder.exists()


def test_dropped_dead_letters_and_damaged_files_are_counted_and_gone(run, orphans, folder):
    orphans(2, dead=2)
    (waiting, _) = sorted(folder.glob("slots/*/*.tar"))
    waiting.rename(folder / "corrupt" / waiting.name)
    result = real_run("drop", "--dead")
    assert (result.returncode, result.stdout) == (0, "Dropped: 3 events\n")
    found = accounts(run)
    assert (found["stored"], found["pending"], found["dead"], found["corrupt"]) == (4, 1, 0, 0)
    assert (found["dropped"], found["unaccounted"]) == ({"operator": 3}, 0)
    assert list((folder / "dead").iterdir()) == []


def test_a_pending_event_of_a_process_that_is_gone_is_dropped_alone(run, orphans, folder):
    (first, second, third), _ = orphans(3)
    result = run("drop", second.event_id)
    assert (result.exit_code, result.output) == (0, "Dropped: 1 event\n")
    left = {path.name for path in folder.glob("slots/*/*.tar")}
    assert left == {first.name, third.name}
    found = accounts(run)
    assert (found["stored"], found["pending"], found["dropped"]) == (3, 2, {"operator": 1})
    assert found["unaccounted"] == 0


def test_a_living_process_hands_an_event_over_to_be_dropped(run, owner, folder):
    ids, process = owner(3)
    result = run("drop", ids[1])
    assert (result.exit_code, result.output) == (0, "Dropped: 1 event\n")
    found = accounts(run)
    assert (found["stored"], found["pending"], found["dropped"]) == (3, 2, {"operator": 1})
    assert found["unaccounted"] == 0
    assert process.poll() is None
    assert not list(folder.glob("slots/*/release.json"))


def test_an_event_that_is_being_sent_is_not_dropped_and_the_command_says_so(run, owner, folder):
    ids, _ = owner(2, sending=[0])
    result = run("drop", *ids, "--patience", 0.5)
    assert result.exit_code == 1
    assert "Dropped: 1 event\n" in result.output
    assert "Not dropped: 1 event" in result.output
    found = accounts(run)
    assert (found["pending"], found["unaccounted"]) == (1, 0)
    assert not list(folder.glob("slots/*/release.json")), "the request is withdrawn"


@pytest.mark.parametrize("asker", ["nobody", "..", "../dead"])
def test_a_request_of_a_command_that_was_killed_costs_nothing(run, owner, folder, asker):
    ids, process = owner(2)
    (path,) = folder.glob(f"slots/*/*{ids[0]}.tar")
    half = path.with_name("release.part")
    half.write_text(json.dumps({"to": asker, "names": [path.name]}))
    half.rename(path.with_name("release.json"))
    eventually(lambda: not path.with_name("release.json").exists())
    assert (path.exists(), process.poll()) == (True, None)
    assert run("drop", ids[0]).exit_code == 0


def test_two_commands_that_drop_the_same_event_count_it_once(run, orphans):
    _, dead = orphans(0, dead=12)
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(real_run("drop", "--dead")))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = accounts(run)
    assert (found["dropped"], found["dead"], found["unaccounted"]) == (
        {"operator": len(dead)},
        0,
        0,
    )


def test_what_was_set_aside_and_is_whole_goes_back_into_the_line(run, orphans, folder):
    orphans(3)
    whole, damaged, _ = sorted(folder.glob("slots/*/*.tar"))
    whole.rename(folder / "corrupt" / whole.name)
    damaged.rename(folder / "corrupt" / damaged.name).write_bytes(b"no tar")
    result = run("recheck")
    assert result.exit_code == 1
    assert result.output == ("Requeued: 1 event\nStill damaged: 1 event; restore or drop them\n")
    found = accounts(run)
    assert (found["stored"], found["pending"], found["corrupt"], found["unaccounted"]) == (
        3,
        2,
        1,
        0,
    )
    assert run("drop", "--dead").exit_code == 0
    result = run("recheck")
    assert (result.exit_code, result.output) == (0, "Requeued: 0 events\n")


def test_a_host_that_runs_sends_what_was_requeued_and_rechecked(run, orphans, api, folder):
    _, (dead,) = orphans(0, dead=1)
    (waiting,), _ = orphans(1)
    (path,) = folder.glob("slots/*/*.tar")
    path.rename(folder / "corrupt" / path.name)
    assert run("requeue", "--all").exit_code == run("recheck").exit_code == 0
    assert run("drain").exit_code == 0
    assert set(api.events) == {dead.event_id, waiting.event_id}


def test_a_dead_letter_is_not_requeued_over_a_newer_version(run, orphans, folder, api):
    _, (dead,) = orphans(0, dead=1)
    newer = replace(dead.metadata, version=1, is_update=True)
    outbox = Outbox(folder, LIMITS)
    outbox.store(dead.event_id, payload_of(dead.event_id, images=[]), {}, newer)
    outbox.close()

    result = run("requeue", "--all")
    assert (result.exit_code, result.output) == (
        0,
        "Requeued: 0 events\nNot requeued, since a newer version was sent or is waiting: 1 event\n",
    )
    found = accounts(run)
    assert (found["stored"], found["delivered"], found["dead"], found["unaccounted"]) == (
        1,
        1,
        0,
        0,
    )
    assert found["versions"] == {"taken": 0, "superseded": 1, "pending": 1, "dead": 0}
