"""What is kept in memory outlives its process, and its files go before they would be written."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from vision_event_block.outbox.disk import RealDisk
from vision_event_block.outbox.spool import (
    MARK,
    MAX_AGE_S,
    MAX_IDLE,
    MAX_IDLE_BYTES,
    RENEW_AFTER_S,
    USED_LATELY_S,
    NoSpool,
    Spool,
    is_spooled,
    spooled,
)

DISK = RealDisk()


class Text:
    """Something to keep."""

    def __init__(self, text, size_bytes=1000):
        self.text = text
        self.size_bytes = size_bytes

    def write(self, memory):
        content = f"{self.text}\0".encode()
        memory[: len(content)] = content
        return self.text


class TinyDisk(RealDisk):
    """A disk that says there is more space than there is."""

    free = 2**62

    def free_bytes(self, folder):
        return self.free


class Clock:
    now_s = 0.0

    def __call__(self):
        return self.now_s


def kept(folder):
    """What the next process finds."""
    found = []
    for path in sorted(folder.glob("spool-*")):
        with suppress(FileNotFoundError):
            found.append(spooled(path.read_bytes()))
    return [content.partition(b"\0")[0].decode() for content in found if content is not None]


def test_a_place_holds_what_was_laid_down_until_it_is_released(tmp_path):
    spool = Spool(tmp_path, DISK)
    place = spool.keep(Text("one"))
    other = spool.keep(Text("two"))
    assert place.copy == "one"
    assert kept(tmp_path) == ["one", "two"]

    place.release()
    assert kept(tmp_path) == ["two"]
    other.release()
    assert kept(tmp_path) == []


def test_it_outlives_a_process_that_is_killed(tmp_path):
    script = (
        "import os, sys; from pathlib import Path; sys.path.insert(0, '.');"
        "from tests.unit.outbox.test_spool import DISK, Spool, Text;"
        f"spool = Spool(Path({str(tmp_path)!r}), DISK); spool.keep(Text('one')).release();"
        "spool.keep(Text('two')); spool.keep(Text('three')); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    assert kept(tmp_path) == ["two", "three"]


def test_what_is_not_laid_down_completely_is_not_there(tmp_path):
    class Broken(Text):
        def write(self, memory):
            super().write(memory)
            raise MemoryError

    spool = Spool(tmp_path, DISK)
    with pytest.raises(MemoryError):
        spool.keep(Broken("half"))
    assert kept(tmp_path) == []
    assert spool.keep(Text("next")).copy == "next"
    assert kept(tmp_path) == ["next"]


def test_a_file_that_held_more_shows_nothing_of_it(tmp_path):
    spool = Spool(tmp_path, DISK)
    spool.keep(Text("a long text")).release()

    class Empty(Text):
        def write(self, memory):
            assert spooled(next(tmp_path.glob("spool-*")).read_bytes()) is None
            return super().write(memory)

    spool.keep(Empty("short"))
    assert len(list(tmp_path.glob("spool-*"))) == 1


def test_files_are_used_again_the_last_one_first(tmp_path):
    spool = Spool(tmp_path, DISK)
    for place in [spool.keep(Text(str(number))) for number in range(3)]:
        place.release()
    before = set(tmp_path.iterdir())
    for _ in range(20):
        spool.keep(Text("again")).release()
    touched = [path for path in tmp_path.iterdir() if b"again" in path.read_bytes()]
    assert set(tmp_path.iterdir()) == before
    assert len(touched) == 1


def test_only_a_few_files_wait_to_be_used_again(tmp_path):
    spool = Spool(tmp_path, DISK)
    places = [spool.keep(Text("x")) for _ in range(MAX_IDLE + 3)]
    assert len(list(tmp_path.iterdir())) == MAX_IDLE + 3
    for place in places:
        place.release()
    assert len(list(tmp_path.iterdir())) == MAX_IDLE

    spool.keep(Text("x", MAX_IDLE_BYTES)).release()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= MAX_IDLE_BYTES


def test_a_file_is_used_for_some_seconds_only(tmp_path):
    clock = Clock()
    spool = Spool(tmp_path, DISK, clock_s=clock)
    spool.keep(Text("x")).release()
    [first] = tmp_path.iterdir()
    clock.now_s = MAX_AGE_S - 1
    place = spool.keep(Text("y"))
    spool.tidy()
    assert list(tmp_path.iterdir()) == [first]

    clock.now_s = MAX_AGE_S
    spool.tidy()
    assert kept(tmp_path) == ["y"], "what is kept stays"
    place.release()
    assert list(tmp_path.iterdir()) == []

    spool.keep(Text("z")).release()
    clock.now_s = 3 * MAX_AGE_S
    spool.tidy()
    assert list(tmp_path.iterdir()) == []


class Full(Text):
    """It fills its memory."""

    def write(self, memory):
        memory[:] = bytes(len(memory))
        return super().write(memory)


def faults_of(work):
    """How many pages were made meanwhile by this thread, as the kernel counts them."""
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    work()
    return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before


def test_a_file_that_is_used_has_its_successor_made_before_it_is_too_old(tmp_path):
    clock, size_bytes = Clock(), 4 * 2**20
    spool = Spool(tmp_path, DISK, clock_s=clock)
    spool.keep(Full("x", size_bytes)).release()
    [first] = tmp_path.iterdir()
    clock.now_s = RENEW_AFTER_S - 1
    spool.renew()
    spool.keep(Full("x", size_bytes)).release()
    assert list(tmp_path.iterdir()) == [first]

    clock.now_s = RENEW_AFTER_S
    spool.renew()
    [second] = tmp_path.iterdir()
    assert second != first
    assert kept(tmp_path) == []

    clock.now_s = MAX_AGE_S
    place = spool.keep(Full("y", size_bytes))
    assert list(tmp_path.iterdir()) == [second]
    place.release()


def test_each_page_of_a_successor_is_there_before_it_is_used(tmp_path):
    size_bytes = 4 * 2**20

    def faults_of_one(number):
        folder = tmp_path / str(number)
        folder.mkdir()
        clock = Clock()
        spool = Spool(folder, DISK, clock_s=clock)
        spool.keep(Full("x", size_bytes)).release()
        [first] = folder.iterdir()
        clock.now_s = RENEW_AFTER_S - 1
        spool.keep(Full("x", size_bytes)).release()
        clock.now_s = RENEW_AFTER_S
        spool.renew()
        assert list(folder.iterdir()) != [first]
        places = []
        return faults_of(lambda: places.append(spool.keep(Full("y", size_bytes))))

    few = size_bytes / resource.getpagesize() / 10
    # The kernel may write the pages at any time, and then each of them faults once more.
    assert any(faults_of_one(number) < few for number in range(10))


def test_what_is_being_used_goes_when_it_is_released_and_has_one_successor(tmp_path):
    clock = Clock()
    spool = Spool(tmp_path, DISK, clock_s=clock)
    spool.keep(Text("x")).release()
    clock.now_s = RENEW_AFTER_S - 1
    place = spool.keep(Text("y"))
    [first] = tmp_path.iterdir()
    for clock.now_s in (RENEW_AFTER_S, RENEW_AFTER_S + 1):
        spool.renew()
        assert len(list(tmp_path.iterdir())) == 2
        assert kept(tmp_path) == ["y"]

    place.release()
    assert first not in tmp_path.iterdir()
    assert len(list(tmp_path.iterdir())) == 1


def test_what_is_used_now_and_then_has_no_successor(tmp_path):
    clock = Clock()
    spool = Spool(tmp_path, DISK, clock_s=clock)
    spool.keep(Text("x")).release()
    before = list(tmp_path.iterdir())
    clock.now_s = max(RENEW_AFTER_S, USED_LATELY_S)
    spool.renew()
    assert list(tmp_path.iterdir()) == before


def test_without_space_for_a_successor_the_old_one_serves_its_time(tmp_path):
    clock, disk = Clock(), TinyDisk()
    spool = Spool(tmp_path, disk, clock_s=clock)
    spool.keep(Text("x")).release()
    clock.now_s = RENEW_AFTER_S - 1
    spool.keep(Text("x")).release()
    before = list(tmp_path.iterdir())
    disk.free = 0
    clock.now_s = RENEW_AFTER_S
    spool.renew()
    assert list(tmp_path.iterdir()) == before
    assert spool.keep(Text("y")).copy == "y"


def test_what_is_released_keeps_no_page_of_a_file_that_is_gone(tmp_path):
    clock = Clock()
    spool = Spool(tmp_path, DISK, clock_s=clock)
    places = [spool.keep(Text("x")), spool.keep(Text("y"))]
    for place in places:  # which are still at hand
        place.release()
    clock.now_s = MAX_AGE_S
    spool.tidy()

    mapped = Path("/proc/self/maps").read_text()
    assert str(tmp_path) not in mapped, "the kernel would write what nobody can read any more"


def test_at_the_end_only_what_is_kept_stays(tmp_path):
    spool = Spool(tmp_path, DISK)
    spool.keep(Text("over")).release()
    late = spool.keep(Text("late"))
    spool.keep(Text("kept"))
    spool.close()
    assert sorted(kept(tmp_path)) == ["kept", "late"]
    late.release()
    assert kept(tmp_path) == ["kept"]
    assert len(list(tmp_path.iterdir())) == 1


def test_without_space_nothing_is_made(tmp_path):
    spool = Spool(tmp_path, DISK, min_free_bytes=2**62)
    with pytest.raises(OSError, match="No space left"):
        spool.keep(Text("x"))
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_is_an_error_and_not_a_signal(tmp_path):
    spool = Spool(tmp_path, TinyDisk())
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            spool.keep(Text("x", 2**20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []
    spool.keep(Text("x", 2**20)).release()


def test_where_space_cannot_be_set_aside_there_is_no_spool(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "posix_fallocate")
    with pytest.raises(NoSpool, match="cannot reserve space"):
        Spool(tmp_path, DISK).keep(Text("x"))


def test_of_another_version_nobody_reads_anything(tmp_path):
    assert spooled(MARK + bytes(10_000)) is not None
    with pytest.raises(NoSpool, match="another version"):
        spooled(MARK[:-1] + b"2" + bytes(10_000))
    assert spooled(bytes(10_000)) is None
    assert spooled(b"") is None
    assert spooled(b"VEsp") is None


def test_a_process_tells_its_own_files_from_those_of_others(tmp_path):
    one, two = Spool(tmp_path, DISK), Spool(tmp_path, DISK)
    one.keep(Text("x"))
    [path] = tmp_path.iterdir()
    assert is_spooled(path.name)
    assert one.owns(path.name)
    assert not two.owns(path.name)


def test_threads_do_not_share_a_file(tmp_path):
    spool = Spool(tmp_path, DISK)
    wrong = []

    def work(name):
        for number in range(200):
            text = f"{name} {number}"
            place = spool.keep(Text(text))
            if text not in kept(tmp_path):
                wrong.append(text)
            place.release()

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert kept(tmp_path) == []
