"""One judge for all faults: when they have stopped, is everything there and as it was?"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from vision_event_block.delivery.dispatch import WITHDRAWN
from vision_event_block.outbox.snapshot import take_snapshot

if TYPE_CHECKING:
    from collections.abc import Collection

    from tests.faults.worker import Nursery, Task
    from vision_event_block.outbox.disk import Disk
    from vision_event_block.testing import StandInApi

_PICTURE_KEYS = ("sourceId", "inputSourceId")


@dataclass
class Logs:
    """What the workers of a test say that they did."""

    #: The hashes of the pictures of every event that a worker may have stored.
    hashes: dict[str, list[str]] = field(default_factory=dict)
    #: Must arrive.
    stored: set[str] = field(default_factory=set)
    #: Not stored but taken: must arrive too, unless the process was killed.
    kept: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    #: Open files before the first event and after the end, by log.
    descriptors: list[tuple[int, int]] = field(default_factory=list)
    #: All events in the order in which they were begun, by log.
    order: dict[str, list[str]] = field(default_factory=dict)


def read_logs(folder: str) -> Logs:
    logs = Logs()
    for path in sorted(Path(folder).glob("*.log")):
        for line in path.read_text().splitlines():
            kind, *words = line.split(" ")
            if kind == "intends":
                logs.hashes[words[0]] = words[1:]
                logs.order.setdefault(path.name, []).append(words[0])
            elif kind == "descriptors":
                logs.descriptors.append((int(words[0]), int(words[1])))
            else:
                getattr(logs, kind).add(words[0])
    return logs


@dataclass(frozen=True)
class Verdict:
    """The figures of a test in which nothing was lost or mixed up."""

    stored: int
    arrived: int
    #: Times that an event arrived which the API had already.
    replayed: int
    #: Pictures that did not arrive with their event.
    missing_pictures: int


def judge(nursery: Nursery, api: StandInApi, task: Task, *, may_shed: bool = False) -> Verdict:
    """What came of a test's events once its faults have stopped; fails if one was harmed."""
    recover(nursery, api, task)
    return inspect(api, task, may_shed=may_shed)


def recover(nursery: Nursery, api: StandInApi, task: Task) -> None:
    """Lets a last worker take over what others left, in 60 s; fails unless a new event arrives."""
    known = read_logs(task.logs).order.keys()
    last = nursery.start(replace(task, events=1, ends="drain", waits=True, every_s=0.0, full=""))
    assert nursery.wait(last) == 0, "the outbox was not drained within 60 s"
    order = read_logs(task.logs).order
    [[fresh]] = [order[name] for name in order.keys() - known]
    assert fresh in api.events, "a fresh event does not go through"


def inspect(api: StandInApi, task: Task, *, may_shed: bool = False) -> Verdict:
    """The verdict on what has arrived by now."""
    return inspect_logs(api, read_logs(task.logs), may_shed=may_shed)


def inspect_logs(api: StandInApi, logs: Logs, *, may_shed: bool = False) -> Verdict:
    """The verdict on what has arrived by now of what somebody says to have stored."""
    arrived = api.events.keys()
    must = logs.stored | logs.kept
    assert not must - arrived, f"{len(must - arrived)} of {len(must)} events are lost"
    assert not arrived - logs.hashes.keys(), "events arrived that nobody sent"
    missing = sum(
        _missing_pictures(api, event_id, logs.hashes[event_id], may_shed=may_shed)
        for event_id in arrived
    )
    return Verdict(
        stored=len(logs.stored),
        arrived=len(arrived),
        replayed=len(api.arrivals) - len(arrived),
        missing_pictures=missing,
    )


def counts_that_are_off(
    folder: Path,
    disk: Disk,
    *,
    stored: Collection[str],
    maybe_stored: Collection[str],
    told: Collection[str],
    arrived: Collection[str],
    resent: int,
    dead: int,
    dropped: Collection[str],
    shed: int,
) -> list[str]:
    """What the outbox counts in another way than it was, once nothing waits any more.

    Events that were taken and could not be stored may have been all the same, when a disk says
    that it failed and did not; so there is a least and a most.
    """
    found = take_snapshot(folder, disk)
    dropped_count = sum(found.dropped.values())
    withdrawn = found.dropped.get(WITHDRAWN, 0)
    stored_here = set(stored) - set(dropped)
    least, most = len(stored_here & set(arrived)), len(set(maybe_stored) & set(arrived))
    most += resent
    checks = {
        f"unaccounted {found.unaccounted}": found.unaccounted == 0,
        f"pending {len(found.pending)}": not found.pending,
        f"dead {len(found.dead)}, not {dead}": len(found.dead) == dead,
        f"corrupt {len(found.corrupt)}": not found.corrupt,
        f"delivered {found.delivered}, not {least} to {most}": least <= found.delivered <= most,
        # An event that was neither stored nor kept may be counted, and whoever sent it was told.
        f"dropped {dropped_count - withdrawn}, not {len(dropped)}": (
            len(dropped) <= dropped_count - withdrawn <= len(dropped) + len(told)
        ),
        # What is shed on disk may be held in memory, and arrive.
        f"shed {sum(found.shed.values())}, not {shed}": sum(found.shed.values()) >= shed,
    }
    return [words for words, is_right in checks.items() if not is_right]


def left_over(folder: Path) -> list[str]:
    """Files and folders that nobody needs any more, by kind."""
    found = []
    slots = list((folder / "slots").glob("*"))
    if len(slots) > 1:
        found.append(f"{len(slots) - 1} slots")
    usual = {".lock", "journal", "status.json"}
    found += [
        _kind(path)
        for slot in slots
        if slot.is_dir()
        for path in slot.iterdir()
        if path.name not in usual
    ]
    dead = {path.stem for path in (folder / "dead").glob("*.tar")}
    found += [
        _kind(path)
        for path in (folder / "dead").iterdir()
        if path.suffix not in (".tar", ".json") or path.stem not in dead
    ]
    found += [_kind(path) for path in (folder / "corrupt").iterdir()]
    usual = {"slots", "dead", "corrupt", "ballast", "key.salt", "receipts", "versions"}
    found += [path.name for path in folder.iterdir() if path.name not in usual]
    return sorted(set(found))


def _kind(path: Path) -> str:
    """The folder, and the name without what is another one each time."""
    where = path.parent.name if path.parent.parent.name != "slots" else "slots"
    name = path.name
    if name[0].isdigit():
        name = f"*.{name.split('.', 1)[-1]}"
    elif name.startswith("journal-"):
        name = "journal-*"
    return f"{where}/{name}"


def _missing_pictures(api: StandInApi, event_id: str, hashes: list[str], *, may_shed: bool) -> int:
    event = api.events[event_id]
    assert event["eventData"] == {"value": event_id}
    images = event.get("images") or [{}]
    assert len(images) == 1
    missing = 0
    for key, sha256 in zip(_PICTURE_KEYS, hashes, strict=True):
        if key in images[0]:
            upload = api.uploads[images[0][key]]
            assert upload.sha256 == sha256, f"a picture of {event_id} is another one"
        else:
            missing += 1
    assert may_shed or not missing, f"{missing} pictures of {event_id} are missing"
    return missing
