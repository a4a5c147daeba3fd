"""What the server may take of its disk, and what it refuses beyond that."""

from __future__ import annotations

import shutil

import pytest

from tests.unit.server.scenes import event, picture
from vision_event_block.server.store.disk_quota import MAX_IDLE_BYTES, DiskLimits, DiskQuota
from vision_event_block.server.store.errors import LimitReached, TooManyIdle

MIB = 2**20
PICTURE = picture()
BYTES = len(PICTURE)


@pytest.fixture
def open_with(store, open_store):
    """Opens the store with another quota."""
    return lambda **limits: open_store(quota=DiskLimits(**limits))


def uploads(store, count):
    return [store.pictures.put(PICTURE).id for _ in range(count)]


def test_pictures_without_events_are_taken_up_to_a_limit(open_with):
    store = open_with(max_idle_bytes=3 * BYTES)
    uploads(store, 3)

    with pytest.raises(TooManyIdle, match="create their events first"):
        uploads(store, 1)


def test_a_picture_that_has_its_event_makes_room_for_the_next(open_with):
    store = open_with(max_idle_bytes=3 * BYTES)

    for number in range(20):
        store.put([event(f"e{number}", pictures=uploads(store, 2))])

    assert store.get("e19") is not None


def test_pictures_of_events_that_are_gone_do_not_count(open_with, clock):
    store = open_with(max_idle_bytes=3 * BYTES)
    store.put([event("old", pictures=uploads(store, 3))])
    clock.go(hours=1)
    store.put([event("old")])  # in its place, without pictures

    uploads(store, 3)


def test_uploads_of_an_hour_ago_go_when_there_is_no_room_and_younger_ones_stay(open_with, clock):
    store = open_with(max_idle_bytes=3 * BYTES)
    old = uploads(store, 2)
    used = uploads(store, 1)
    store.put([event("e", pictures=used)])
    clock.go(minutes=59)
    young = uploads(store, 1)
    with pytest.raises(TooManyIdle):
        uploads(store, 1)
    clock.go(minutes=2)

    uploads(store, 2)

    assert [store.pictures.exists(each) for each in (*old, *young, *used)] == [
        *(False, False),
        *(True, True),
    ]
    with pytest.raises(TooManyIdle):
        uploads(store, 1)


def test_the_usual_limit_of_pictures_without_events_is_far_from_a_full_disk(store):
    assert DiskLimits().max_idle_bytes == MAX_IDLE_BYTES == 512 * MIB


def test_beyond_its_size_a_server_takes_neither_pictures_nor_events(open_with, clock):
    large = picture("BMP", (400, 400))
    store = open_with(max_bytes=database_bytes(open_with()) + 4 * MIB)

    taken = [store.pictures.put(large) for _ in range(4)]
    with pytest.raises(LimitReached, match="--max-bytes"):
        taken += [store.pictures.put(large) for _ in range(100)]
    full = open_with(max_bytes=1)
    with pytest.raises(LimitReached, match="--delete-after-days"):
        full.put([event("e")])
    assert full.get("e") is None

    clock.go(days=2)
    store.clean_up()
    store.pictures.put(large)


def test_a_part_of_the_disk_stays_free(open_with, tmp_path):
    free = shutil.disk_usage(tmp_path).free
    store = open_with(min_free_bytes=free + 2**30)

    with pytest.raises(LimitReached, match="--min-free-bytes"):
        uploads(store, 1)
    with pytest.raises(LimitReached, match="MiB left"):
        store.put([event("e")])
    uploads(open_with(min_free_bytes=0), 1)


def test_sums_are_not_made_for_each_picture(store):
    now_s = 0.0
    asked = []

    class Asked:
        def reading(self):
            asked.append(now_s)
            return store._database.reading()

    quota = DiskQuota(DiskLimits(), Asked(), None, timer=lambda: now_s)
    for _ in range(100):
        quota.reserve_picture(BYTES)

    assert asked == [0.0]
    now_s += 10
    quota.reserve_picture(BYTES)
    assert asked == [0.0, 10.0]


def database_bytes(store):
    with store._database.reading() as connection:
        return store._database.size_bytes(connection)
