"""Room that is made: in which order what goes, what never does, and what is left of it."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from tests.unit.server.scenes import (
    NOON,
    event,
    everything,
    feedback,
    found,
    kept_at_one_moment,
    kept_bytes,
    noise,
    picture,
)
from tests.unit.server.store.test_deletion import figures, many
from tests.unit.server.versions import as_version_1
from vision_event_block.server.storage import Store
from vision_event_block.server.store.disk_quota import DiskLimits
from vision_event_block.server.store.errors import LimitReached, StorageDown
from vision_event_block.server.store.records import Waiting
from vision_event_block.server.store.room import Room

HOUR_MINUTES = 60
SIDE = 64


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "data" / "pictures"


def files(folder):
    return {path.stem for path in folder.glob("??/*")}


@pytest.fixture
def put(store):
    """Puts an event with an original and an annotated picture; returns the ids of both."""
    chance = random.Random(3)

    def put_one(event_id, hours, *, originals=1, annotated=1, **more):
        ids = [store.pictures.put(noise(chance)).id for _ in range(originals + annotated)]
        new = event(event_id, minutes=hours * HOUR_MINUTES, **more)
        new.body["images"] = [
            *({"inputSourceId": each} for each in ids[:originals]),
            *({"sourceId": each} for each in ids[originals:]),
        ]
        store.put([new])
        return ids

    return put_one


@pytest.fixture
def make_room(open_store, folder):
    """Makes room in the store until so much less is kept."""

    def make(store, less_bytes, **settings):
        # What is left of the limit is a hundredth less.
        keep_bytes = round((kept_bytes(store, folder) - less_bytes + 100) / 0.99)
        opened = open_store(quota=DiskLimits(keep_bytes=max(keep_bytes, 1)), **settings)
        return opened, opened.room.make()

    return make


ONE = 3 * SIDE * SIDE


def test_the_oldest_originals_go_first_and_no_more_than_has_to(store, put, make_room, folder):
    pictures = {
        hours: put(f"e{hours}", hours, use_case=("dock", "line")[hours % 2])
        for hours in (40, 10, 30, 20, 50)
    }

    store, cleaned = make_room(store, 2.5 * ONE)

    assert (cleaned.events, cleaned.pictures) == (0, 3)
    gone = {pictures[hours][0] for hours in (50, 40, 30)}
    assert files(folder) == {each for both in pictures.values() for each in both} - gone
    assert len(found(store)) + len(found(store, use_case="line")) == 5


def test_an_annotated_picture_stays_twice_as_long_and_an_event_ten_times(
    store, put, make_room, folder, clock
):
    hours = (100, 60, 44, 20, 9, 4)
    pictures = {each: put(f"e{each}", each) for each in hours}

    store, _ = make_room(store, 5.5 * ONE)

    # By the age that they count as: originals 100, 60, annotated 100 / 2, original 44, annotated
    # 60 / 2, 44 / 2, and original 20 would be next.
    left = files(folder)
    assert [each for each in hours if pictures[each][0] in left] == [20, 9, 4]
    assert [each for each in hours if pictures[each][1] in left] == [20, 9, 4]
    assert len(found(store)) == len(hours)


def test_an_event_says_when_its_picture_went_and_keeps_all_else(store, put, make_room, clock):
    original, annotated = put("a", 5)
    clock.go(days=1)
    now = clock()

    store, _ = make_room(store, 0.5 * ONE)

    kept = store.get("a")
    assert kept.body["images"] == [{"inputSourceId": original}, {"sourceId": annotated}]
    assert store.pictures.get(original) is None
    assert store.pictures.info_of_many([original, annotated]).keys() == {annotated}
    shed = store.pictures.info_of_many([original], also_shed=True)[original]
    assert (shed.shed_at, shed.width, shed.height) == (now, SIDE, SIDE)
    assert store.delete("dock", ["a"], with_pictures=True).pictures == 2
    assert store.pictures.info_of_many([original], also_shed=True) == {}


def test_what_is_pinned_or_waits_never_goes_even_if_nothing_else_is_left(
    store, put, make_room, folder, database_url
):
    kept = put("pinned", 90)
    store.pin("dock", ["pinned"])
    waiting = event("waiting", minutes=80 * HOUR_MINUTES)
    waits_for = store.pictures.put(picture()).id
    waiting.body["images"] = [{"sourceId": waits_for}]
    object.__setattr__(waiting, "waits_as", Waiting("relay", "entry"))
    store.put([waiting, feedback("f", "pinned", "correct", minutes=70 * HOUR_MINUTES)])
    for hours in (60, 50, 1):
        put(f"e{hours}", hours)

    store, cleaned = make_room(store, 10**9)

    assert cleaned.pictures == 6
    assert files(folder) == {*kept, waits_for}
    assert {"pinned", "waiting", "f"} <= set(found(store))
    assert store.get("pinned").feedback == "correct"
    assert store.room.make().pictures == 0


def test_a_shared_picture_is_as_old_as_the_newest_event_that_shows_it(
    store, put, make_room, folder
):
    [shared] = put("old", 90, originals=0)
    middle = put("middle", 50, originals=0)
    both = event("both", minutes=10 * HOUR_MINUTES, pictures=[shared, shared])
    [of_pinned] = put("older", 95, originals=0)
    pinned = event("pinned", minutes=94 * HOUR_MINUTES, pictures=[of_pinned])
    store.put([both, pinned])
    store.pin("dock", ["pinned"])

    store, cleaned = make_room(store, 0.5 * ONE)
    assert cleaned.pictures == 1
    assert files(folder) == {shared, of_pinned}

    store.delete("dock", ["both"])
    put_after = [event("new", minutes=5, pictures=middle)]
    store.put(put_after)
    assert store.pictures.get(middle[0]) is None
    store, cleaned = make_room(store, 0.5 * ONE)
    assert cleaned.pictures == 1
    assert files(folder) == {of_pinned}


def test_events_that_come_late_are_as_old_as_they_say(store, put, make_room, folder):
    young = put("young", 5, originals=0)
    store, _ = make_room(store, -10)
    late = put("late", 50, originals=0)

    store, cleaned = make_room(store, 0.5 * ONE)

    assert cleaned.pictures == 1
    assert files(folder) == {*young}
    assert late[0] not in files(folder)


def test_whoever_puts_a_picture_makes_the_room_for_it(open_store, store, put, folder):
    first = put("first", 9)
    for hours in (8, 7, 6, 5, 4, 3, 2, 1):
        put(f"e{hours}", hours)
    limit = kept_bytes(store, folder) + ONE // 2
    store = open_store(quota=DiskLimits(keep_bytes=limit))
    store.room.make()
    chance = random.Random(8)

    for number in range(20):
        new = store.pictures.put(noise(chance))
        store.put([event(f"new {number}", pictures=[new.id])])

    assert kept_bytes(store, folder) < limit * 1.02 + ONE
    assert first[0] not in files(folder)
    assert new.id in files(folder)


@pytest.mark.parametrize("database_url", [None], ids=["sqlite"])
def test_the_size_stays_within_two_percent_while_two_put_at_once(store, open_store, folder, soak):
    for number in range(3):
        store.put([event(f"pinned {number}", minutes=10**5, pictures=[picture_of(store, number)])])
    pinned = files(folder)
    store.pin("dock", [f"pinned {number}" for number in range(3)])
    limit = kept_bytes(store, folder) + 3_000_000
    full = open_store(quota=DiskLimits(keep_bytes=limit))
    full.room.make()
    count = round(300 * soak)
    shown = [[""] * count for _ in range(2)]

    def put_all(worker):
        for number in range(count):
            shown[worker][number] = picture_of(full, 10 + 2 * number + worker)
            minutes = 10**4 - number / 10
            new = event(f"{worker}-{number}", minutes=minutes, pictures=[shown[worker][number]])
            full.put([new])

    with ThreadPoolExecutor(2) as workers:
        putting = [workers.submit(put_all, worker) for worker in range(2)]
        most = 0
        while not all(each.done() for each in putting):
            most = max(most, kept_at_one_moment(full))
        [each.result() for each in putting]

    assert 0.98 * limit < most < 1.02 * limit
    assert kept_bytes(full, folder) == kept_at_one_moment(full)
    left = files(folder)
    assert pinned < left
    for ids in shown:  # newest first, and what is gone is gone from one place on
        is_left = [each in left for each in ids]
        assert is_left == sorted(is_left)
        assert not is_left[0]
        assert is_left[-1]
    events = list(full.walk(everything()))
    timeline = full.timeline(everything(), buckets=10)
    assert timeline.event_count == full.count(everything()) == len(events)
    assert timeline.series["class"] == {}


def picture_of(store, number):
    return store.pictures.put(noise(random.Random(number), side=48)).id


def test_a_full_server_refuses_only_once_nothing_may_go(open_store, store, put, folder):
    pinned = put("pinned", 99)
    store.pin("dock", ["pinned"])
    for hours in range(10):
        put(f"e{hours}", hours)
    keep = DiskLimits(keep_bytes=10**12, max_bytes=store.sizes().database_bytes + 10**6 // 4)
    store = open_store(quota=keep)
    store.room.make()
    data = noise(random.Random(9), side=3 * SIDE)

    store.pictures.put(data)
    assert files(folder) > {*pinned}
    with pytest.raises(LimitReached):
        [store.pictures.put(data) for _ in range(9)]  # in no event yet, so they may not go
    assert {*pinned} < files(folder)

    full_disk = open_store(quota=DiskLimits(keep_bytes=10**12, min_free_bytes=10**18))
    full_disk.room.make()
    with pytest.raises(LimitReached):
        full_disk.put([event("one more")])
    assert {*pinned} < files(folder)


def test_on_a_full_disk_what_was_passed_over_goes_once_it_may(open_store, store, put, folder):
    put("sent by now", 99)
    store.pin("dock", ["sent by now"])
    put("younger", 9)
    full = open_store(quota=DiskLimits(keep_bytes=10**12, min_free_bytes=10**18))
    full.room.make()
    with pytest.raises(LimitReached):
        full.pictures.put(picture())
    assert len(files(folder)) == 2  # of the event that may not go

    full.pin("dock", ["sent by now"], on=False)
    full.clean_up()
    with pytest.raises(LimitReached):
        full.pictures.put(picture())

    assert not files(folder)


def test_on_a_full_disk_events_take_the_place_of_the_oldest(
    store, open_store, tmp_path, database_url
):
    old = [event(f"old {n}", minutes=1_000 - n, comment="x" * 9_999) for n in range(900)]
    store.put(old)
    store.pin("dock", ["old 0"])
    store.close()

    full = open_store(quota=DiskLimits(keep_bytes=10**12, min_free_bytes=10**18))
    full.room.make()
    if database_url is not None:  # what is deleted there may or may not be used again
        with pytest.raises(LimitReached):
            full.put([event("new")])
        assert full.count(everything()) == 900
        return
    size_bytes = full.sizes().database_bytes
    for n in range(300):
        full.put([event(f"new {n}", minutes=100 - n / 10, comment="y" * 9_999)])

    left = found(full)
    assert set(left) >= {"old 0", "old 899", *(f"new {n}" for n in range(300))}
    gone = 900 - sum(each.startswith("old") for each in left)
    assert gone > 300
    assert not set(left) & {f"old {n}" for n in range(1, gone + 1)}
    assert full.timeline(everything(), buckets=1).event_count == len(left)
    assert (tmp_path / "data/vision-events.db").stat().st_size <= size_bytes + 2**20
    with pytest.raises(LimitReached):  # what events leave is no room for it
        full.pictures.put(picture())


def test_without_the_setting_a_full_server_removes_nothing(open_store, store, put, folder):
    put("a", 9)
    full = open_store(quota=DiskLimits(min_free_bytes=10**18))

    with pytest.raises(LimitReached):
        full.put([event("one more")])
    assert full.room.make().pictures == 0
    assert len(files(folder)) == 2


def test_a_removal_that_broke_off_is_said_at_once_and_ends_with_the_next_look(
    store, put, folder, clock
):
    original, annotated = put("a", 5)

    def break_off(_media_types):
        raise KeyboardInterrupt

    class Full:
        keep_bytes = 1

        def look_again(self):
            """There is always too much."""

        def excess_bytes(self, share=1.0):
            return 1

    room = Room(store._database, store._fields, Full(), break_off, clock)
    with pytest.raises(KeyboardInterrupt):
        room.make()

    assert original in files(folder)
    assert store.pictures.get(original) is None
    assert store.pictures.info_of_many([original], also_shed=True)[original].shed_at == clock()
    assert store.sizes().pictures == 2  # until they are gone
    store.put([event("again", pictures=[original])])

    assert store.clean_up().pictures == 1
    assert files(folder) == {annotated}
    assert store.pictures.info_of_many([original], also_shed=True)


def test_a_storage_that_was_down_is_asked_again_once_what_it_kept_is_gone_otherwise(
    store, put, clock
):
    put("a", 5)
    is_down = True

    def remove(media_types):
        if is_down:
            raise StorageDown("it does not answer")
        store.pictures.remove_bytes(media_types)

    room = Room(store._database, store._fields, store._quota, remove, clock)
    room.make()
    assert not room.make_some(disk_is_full=True)
    is_down = False
    store.delete("dock", ["a"], with_pictures=True)
    put("b", 4)

    room.make()

    assert room.make_some(disk_is_full=True)


def test_pictures_of_an_earlier_version_get_their_age_first(
    store, put, make_room, open_store, folder
):
    pictures = {hours: put(f"e{hours}", hours) for hours in (30, 10, 20)}
    unused = store.pictures.put(picture()).id
    as_version_1(store)

    store = open_store()
    assert store.room.kept().oldest_original_at is None
    store, cleaned = make_room(store, 1.5 * ONE)

    assert cleaned.pictures == 2
    expected = {pictures[30][1], pictures[20][1], *pictures[10], unused}
    assert files(folder) == expected


def test_counts_and_charts_afterwards_are_those_of_a_recount(
    open_store, store, tmp_path, clock, database_url
):
    events = many(random.Random(5))
    store.put(events)
    pinned = [each.event_id for each in events[:300:50]]
    store.pin("dock", pinned)
    with store._database.reading() as connection:
        records_bytes = store._database.records_bytes(connection)
    if database_url is None:  # by size, and in PostgreSQL events go by age
        store = open_store(quota=DiskLimits(keep_bytes=records_bytes * 2 // 3))
        store.room.make()
    else:
        store = open_store(deletes_after_days=1)
        store.clean_up()

    left = {each.event_id for each in store.walk(everything())}
    assert 0 < len(left) < len(events)
    with Store.open(tmp_path / "recount", lookback_days=None, clock=clock) as other:
        other.use_cases.create("Dock", id="dock")
        other.put([each for each in events if each.event_id in left])
        other.pin("dock", pinned)
        assert figures(store) == figures(other)
        assert found(store, is_pinned=True) == found(other, is_pinned=True)
    gone = [each for each in events if each.event_id not in left]
    oldest_left = min(
        each.timestamp
        for each in events
        if each.event_id in left
        and each.event_id not in pinned
        and "relatedEventId" not in each.body["eventData"]
    )
    assert all(
        each.timestamp <= oldest_left
        for each in gone
        if "relatedEventId" not in each.body["eventData"]
    )


def test_what_is_kept_is_told(store, put, make_room, folder):
    for hours in (3, 2, 1):
        put(f"e{hours}", hours)
    store.pin("dock", ["e1"])
    assert store.room.kept().limit_bytes is None

    store, _ = make_room(store, 0.5 * ONE)

    kept = store.room.kept()
    hours = [NOON - timedelta(hours=each) for each in (3, 2, 3)]
    assert [kept.oldest_event_at, kept.oldest_original_at, kept.oldest_annotated_at] == hours
    assert kept.pinned == 1
    assert kept.size_bytes == pytest.approx(kept_bytes(store, folder), abs=ONE)
    assert kept.size_bytes < kept.limit_bytes
