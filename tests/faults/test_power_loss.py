"""Whatever ends the process and whenever, an event that was called stored is not lost.

Two processes share an outbox on the model of a disk. Hypothesis makes up what they do, when they
are killed (also in the middle of a step) and when the power goes, and ends each story by one more
process that takes over all that is left.
"""

from __future__ import annotations

import os
from collections import Counter
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from tests.faults.disk_model import (
    HOME,
    Killed,
    Medium,
    ModelDisk,
    NoDataSync,
    NoEntryFolderSync,
    NoParentSync,
)
from vision_event_block.outbox.entry import Address, ClockReading, DeliveryMetadata
from vision_event_block.outbox.entry_names import event_id_of, is_entry
from vision_event_block.outbox.operator_outbox import OperatorOutbox
from vision_event_block.outbox.quota import OutboxLimits

IS_SOAK = float(os.environ.get("TEST_SOAK", "1")) > 1
SEQUENCES = 100_000 if IS_SOAK else 1_000
FOLDER = HOME / "boxes" / "outbox"
LIMITS = OutboxLimits(max_bytes=2**40, min_free_bytes=1)
NOW_S = 1_800_000_000.0
METADATA = DeliveryMetadata(
    Address("api", "http://api.invalid", "k"), ClockReading(NOW_S, 1.0, "boot")
)
PICTURES = {"images/i.jpg": b"input", "images/o.jpg": b"output"}

workers = st.integers(0, 1)
choices = st.integers(0, 7)
steps = st.none() | st.integers(0, 14)


def payload_of(event_id):
    image = {"inputFile": "images/i.jpg", "file": "images/o.jpg", "objectDetections": [{}]}
    return {"eventId": event_id, "images": [image]}


class Worker:
    """A process with its hold on the outbox."""

    def __init__(self, disk):
        self.disk = disk
        self.outbox = OperatorOutbox(FOLDER, LIMITS, disk=disk, now=lambda: NOW_S)


class Story(RuleBasedStateMachine):
    """What happens to an outbox, and what must hold at the end of it."""

    disk_type = ModelDisk

    def __init__(self):
        super().__init__()
        self.medium = Medium()
        self.workers = [None, None]
        self.number = 0
        #: Called stored, and neither delivered nor given up since.
        self.promised = set()
        self.had_power_cut = False

    @rule(which=workers, steps_left=steps)
    def store(self, which, steps_left):
        event_id = f"e{self.number}"
        self.number += 1
        entry = self.act(
            which,
            steps_left,
            lambda box: box.store(event_id, payload_of(event_id), PICTURES, METADATA),
        )
        if entry is not None:
            self.promised.add(event_id)

    @rule(which=workers, choice=choices, steps_left=steps, drop=st.booleans())
    def take_off(self, which, choice, steps_left, drop):
        def end(box, entry):
            self.promised.discard(entry.event_id)
            if drop:
                box.drop(entry, "age")
            else:
                box.delivered(entry)

        self.with_entry(which, choice, steps_left, end)

    @rule(which=workers, choice=choices, steps_left=steps)
    def move_to_dead_letters(self, which, choice, steps_left):
        self.with_entry(
            which,
            choice,
            steps_left,
            lambda box, entry: box.move_to_dead_letters(entry, {"why": "4"}),
        )

    @rule(which=workers, choice=choices, steps_left=steps)
    def requeue(self, which, choice, steps_left):
        dead = sorted(filter(is_entry, ModelDisk(self.medium).names(FOLDER / "dead")))
        if dead:
            name = dead[choice % len(dead)]
            self.act(which, steps_left, lambda box: box.adopt_dead([name]))

    @rule(which=workers, choice=choices, steps_left=steps)
    def note_progress(self, which, choice, steps_left):
        self.with_entry(which, choice, steps_left, lambda box, e: box.note_progress(e, {"i": "s"}))

    @rule(which=workers, steps_left=steps)
    def shed(self, which, steps_left):
        self.medium.free_bytes = 0
        self.act(which, steps_left, lambda box: box.do_housekeeping())
        self.medium.free_bytes = 2**40

    @rule(which=workers, steps_left=st.none() | st.integers(0, 30))
    def adopt(self, which, steps_left):
        self.act(which, steps_left, lambda box: box.adopt())

    @rule(which=workers)
    def release(self, which):
        if self.workers[which]:
            self.workers[which].outbox.close()
            self.workers[which] = None

    @rule(which=workers)
    def kill(self, which):
        if self.workers[which]:
            self.workers[which].disk.die()
            self.workers[which] = None

    @rule(seed=st.integers(0, 2**16))
    def cut_power(self, seed):
        self.workers = [None, None]
        self.had_power_cut = True
        self.medium.cut_power(Random(seed))

    def act(self, which, steps_left, action):
        """What the action gives, None if the process is killed in it."""
        if self.workers[which] is None:
            self.workers[which] = Worker(self.disk_type(self.medium))
        worker = self.workers[which]
        worker.disk.steps_left = steps_left
        try:
            return action(worker.outbox)
        except Killed:
            worker.disk.steps_left = None
            self.kill(which)
            return None
        finally:
            worker.disk.steps_left = None

    def with_entry(self, which, choice, steps_left, action):
        def on_one(box):
            entries = box.entries()
            if entries:
                action(box, entries[choice % len(entries)])

        self.act(which, steps_left, on_one)

    def teardown(self):
        for which in (0, 1):
            self.kill(which)
        disk = ModelDisk(self.medium)
        box = OperatorOutbox(FOLDER, LIMITS, disk=disk, now=lambda: NOW_S)
        box.adopt()
        assert disk.names(FOLDER / "slots") == [box.slot_folder.name]
        assert disk.names(FOLDER / "corrupt") == []
        dead = [event_id_of(name) for name in filter(is_entry, disk.names(FOLDER / "dead"))]
        pending = [entry.event_id for entry in box.entries()]
        lost = self.promised - {*dead, *pending}
        assert not lost, f"lost: {lost}"
        if not self.had_power_cut:
            totals = Counter(box.journal.totals)
            gone = totals["delivered"] + totals["dropped age"]
            assert totals["stored"] == gone + len(pending) + len(dead), (totals, pending, dead)
        box.adopt_dead([name for name in disk.names(FOLDER / "dead") if is_entry(name)])
        for entry in box.entries():
            contents = box.read(entry)
            assert contents is not None
            assert contents.payload["eventId"] == entry.event_id
            assert all(PICTURES[name] == data for name, data in contents.pictures.items())
            assert contents.metadata.shed.keys() | contents.pictures.keys() == PICTURES.keys()


def story_on(disk_type):
    class StoryOnThisDisk(Story):
        pass

    StoryOnThisDisk.disk_type = disk_type
    return StoryOnThisDisk


def often(sequences, *, phases):
    return settings(
        max_examples=sequences,
        stateful_step_count=20,
        report_multiple_bugs=False,
        deadline=None,
        database=None,
        derandomize=not IS_SOAK,
        phases=phases,
        suppress_health_check=list(HealthCheck),
    )


@pytest.mark.timeout(7_200 if IS_SOAK else 600)
def test_what_was_called_stored_survives_kills_and_power_cuts_and_the_counts_add_up():
    run_state_machine_as_test(Story, settings=often(SEQUENCES, phases=[Phase.generate]))


@pytest.mark.parametrize("mutant", [NoDataSync, NoEntryFolderSync, NoParentSync])
def test_a_disk_without_one_of_the_syncs_is_caught(mutant):
    with pytest.raises(AssertionError):
        run_state_machine_as_test(story_on(mutant), settings=often(2_000, phases=[Phase.generate]))
