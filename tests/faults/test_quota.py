"""An outage that lasts longer than there is room."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread

from tests.faults.judge import judge
from tests.paths import paths_in
from vision_event_block.outbox.disk import RealDisk
from vision_event_block.outbox.snapshot import take_snapshot

MAX_BYTES = 20_000_000
EVENTS = 200


def test_pictures_give_way_and_every_event_arrives(nursery, api, task):
    task = replace(
        task,
        events=EVENTS,
        picture_bytes=100_000,  # twice as much as there is room for
        limits={"max_bytes": MAX_BYTES, "min_free_bytes": 0},
        close_timeout_s=0.0,
    )
    api.refuse()
    most_bytes = Most(Path(task.outbox))
    with most_bytes:
        assert nursery.wait(nursery.start(task)) == 0
    api.accept()

    waiting = take_snapshot(Path(task.outbox), RealDisk())
    assert len(waiting.pending) == waiting.stored == EVENTS
    assert waiting.unaccounted == 0

    verdict = judge(nursery, api, task, may_shed=True)

    assert 0.8 * MAX_BYTES < most_bytes.bytes <= 1.05 * MAX_BYTES
    assert verdict.stored == verdict.arrived == EVENTS + 1
    after = take_snapshot(Path(task.outbox), RealDisk())
    print(f"{verdict}, at most {most_bytes.bytes / 1e6:.2f} MB on disk, shed {after.shed}")  # noqa: T201 -- seen with -s
    assert after.stored == after.delivered == EVENTS + 1
    assert after.unaccounted == 0
    assert verdict.missing_pictures == sum(after.shed.values()) > EVENTS / 2


class Most:
    """The most bytes that a folder held, looked at every 20 ms; a context manager."""

    def __init__(self, folder):
        self.bytes = 0
        self._folder = folder
        self._ended = Event()
        self._thread = Thread(target=self._watch)

    def __enter__(self):
        self._thread.start()

    def __exit__(self, *error):
        self._ended.set()
        self._thread.join()

    def _watch(self):
        while not self._ended.wait(0.02):
            total = 0
            for path in paths_in(self._folder, "**/*"):
                with suppress(FileNotFoundError):
                    total += path.stat().st_size * path.is_file()
            self.bytes = max(self.bytes, total)
