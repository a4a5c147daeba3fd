"""What a process does while a fault hits it, about 20 ms each.

A scenario prepares in peace, does its work inside of `stage.harm()`, and leaves an API that takes
everything. After it the trial gives the system some time, and judges.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from tests.faults.relay_stage import RelayStage
from tests.faults.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Callable


def store(stage: Stage) -> None:
    """A host starts and stores events while nobody can be reached."""
    stage.api.refuse()
    with stage.harm():
        stage.open()
        for _ in range(2):
            stage.record()
    stage.api.accept()


def memory(stage: Stage) -> None:
    """Events are taken in memory, stored in the background and sent."""
    stage.open()
    with stage.harm():
        taken = [stage.record(waits=False) for _ in range(3)]
        stage.until(lambda: set(taken) <= stage.api.events.keys())


def deliver(stage: Stage) -> None:
    """The API is back: what is stored goes, and one event is refused for good."""
    stage.api.refuse()
    stage.open()
    for _ in range(3):
        stage.record()
    bad = stage.record()
    stage.api.poison(bad)
    stage.dead.add(bad)
    with stage.harm():
        stage.api.accept()
        stage.until(lambda: not stage.entries())


def adopt(stage: Stage) -> None:
    """A host starts beside what another one has left."""
    _leave_orphans(stage)
    stage.api.accept()
    with stage.harm():
        stage.open()
        stage.record()
        stage.until(lambda: len(stage.slots()) == 1 and not stage.entries())


def shed(stage: Stage) -> None:
    """More is stored than there is room for."""
    stage.api.refuse()
    stage.limits = replace(stage.limits, max_bytes=60_000)
    stage.may_shed = True
    stage.open()
    for _ in range(3):
        stage.record()
    with stage.harm():
        for _ in range(3):
            stage.record()
    stage.api.accept()


def requeue(stage: Stage) -> None:
    """Refused events go back into the line beside a running host."""
    bad = _two_dead_letters(stage)
    for event_id in bad:
        stage.api.cure(event_id)
    stage.dead.clear()
    with stage.harm():
        stage.command("requeue", "--all")
        stage.until(lambda: not stage.entries("dead") and not stage.entries())
    if stage.entries("dead"):
        assert stage.command("requeue", "--all") == 0


def drop(stage: Stage) -> None:
    """Two refused events and two that wait are given up."""
    dead = _two_dead_letters(stage)
    stage.close()
    waiting = _leave_orphans(stage)
    stage.dead.clear()
    stage.dropped |= {*dead, *waiting}
    with stage.harm():
        stage.command("drop", "--dead")
        stage.command("drop", *waiting)
    if stage.entries("dead"):
        stage.command("drop", "--dead")
    for left in stage.entries():
        stage.command("drop", left.stem.partition("-")[2])
    stage.api.accept()


def export(stage: Stage) -> None:
    """Events that wait are carried off, and sent from elsewhere."""
    _leave_orphans(stage)
    stick = stage.home / "stick"
    with stage.harm():
        stage.command("export", stick)
    if stage.entries():
        stage.command("export", stick)
    stage.api.accept()
    stage.exported |= {path.name.split("_")[-1].split(".")[0] for path in stick.glob("event_*")}
    if stage.exported:
        assert stage.command("upload", stick) == 0
    stage.left_over += [path.name for path in stick.iterdir() if path.name != "sent"]


def relay(stage: RelayStage) -> None:
    """A server takes events for the cloud and forwards them."""
    with stage.harm():
        stage.open()
        for _ in range(2):
            stage.record()
        stage.until(lambda: not stage.entries())
    if stage.dispatch is None:
        stage.open()
    stage.send_again()


SCENARIOS: Final[dict[str, Callable[[Any], None]]] = {
    each.__name__: each
    for each in (store, memory, deliver, adopt, shed, requeue, drop, export, relay)
}


def loses(stage: Stage) -> None:
    """A stored event disappears."""
    stage.api.refuse()
    stage.open()
    stage.record()
    stage.close()  # else it is in memory, too
    for path in stage.entries():
        path.unlink()
    stage.api.accept()


def leaves(stage: Stage) -> None:
    """A file is left that nobody knows of."""
    stage.open()
    stage.record()
    (stage.folder / "odd").write_bytes(b"")


def leaks(stage: Stage) -> None:
    """A file is opened and never closed."""
    stage.open()
    stage.left_open = os.open(stage.home / "open", os.O_CREAT)


def lies(stage: Stage) -> None:
    """An event is said to have failed, and arrives."""
    stage.open()
    event_id = stage.record()
    stage.logs.stored.discard(event_id)
    stage.logs.refused.add(event_id)


def miscounts(stage: Stage) -> None:
    """The journal says that there was one event more."""
    stage.open()
    stage.record()
    [slot] = stage.slots()
    with (slot / "journal").open("a") as journal:
        journal.write("S 00000000-0000-4000-8000-000000000000\n")


#: Each does one thing that the judge is to notice, in the word that it has for that.
SABOTAGE: Final[dict[str, tuple[Callable[[Any], None], str]]] = {
    "loses": (loses, "lost"),
    "leaves": (leaves, "left over"),
    "leaks": (leaks, "descriptors"),
    "lies": (lies, "untrue"),
    "miscounts": (miscounts, "counts"),
}


def stage_of(scenario: str) -> type[Stage]:
    """Where it plays."""
    return RelayStage if scenario == relay.__name__ else Stage


def _two_dead_letters(stage: Stage) -> list[str]:
    """Dead letters in the outbox of a host that runs."""
    stage.open()
    bad = []
    for _ in range(2):
        event_id = stage.record()
        stage.api.poison(event_id)
        bad.append(event_id)
    stage.dead.update(bad)
    return bad


def _leave_orphans(stage: Stage) -> list[str]:
    """Events of a host that is gone, and what it was writing when it went."""
    stage.api.refuse()
    stage.open()
    waiting = [stage.record() for _ in range(2)]
    stage.close()
    [slot] = stage.slots()
    (slot / "0000000000001-half.tar.tmp").write_bytes(b"half")
    return waiting
