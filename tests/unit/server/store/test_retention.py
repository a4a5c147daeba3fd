from __future__ import annotations

import threading

import pytest
from sqlalchemy import delete, select

from tests.unit.server.scenes import (
    event,
    everything,
    feedback,
    found,
    picture,
    thumbnail_of,
)
from vision_event_block.server.pictures.folder import PictureFolder
from vision_event_block.server.store import schema
from vision_event_block.server.store.filters import Condition
from vision_event_block.server.store.records import Cleaned
from vision_event_block.server.store.retention import (
    erase_and_settle,
    oldest_events,
    step,
    sweep_pictures,
)

DAY_MINUTES = 24 * 60


def test_nothing_is_deleted_unless_asked(store):
    store.put([event("old", minutes=300 * DAY_MINUTES)])

    assert store.clean_up() == Cleaned(events=0, pictures=0)
    assert found(store) == ["old"]


def test_events_older_than_the_setting_are_deleted_with_all_their_traces(open_store, store):
    store.put(
        [
            event("old", minutes=11 * DAY_MINUTES, deviceId="gone", metadata={"k": 1}),
            event("older", use_case="line", minutes=99 * DAY_MINUTES, seen=[("pallet", 0.5)]),
            event("young", minutes=9 * DAY_MINUTES, deviceId="cam"),
        ]
    )
    store = open_store(deletes_after_days=10)

    assert store.clean_up() == Cleaned(events=2, pictures=0)

    assert store.get("old") is None
    assert found(store) == ["young"]
    assert found(store, device_id=Condition("eq", "gone")) == []
    assert store.choices("dock")["deviceId"] == ["cam"]
    assert store.metadata_schema("dock") == {}
    assert [each.event_count for each in store.use_cases.list()] == [1, 0]
    assert store.use_cases.get("line").event_types == ()
    assert store.timeline(everything(), buckets=5).event_count == 1
    assert store.timeline(everything("line"), buckets=5).event_count == 0
    assert store.clean_up() == Cleaned(events=0, pictures=0)


def test_more_than_one_step_deletes_all(open_store, store):
    store.put([event(f"e{n}", minutes=11 * DAY_MINUTES) for n in range(250)] + [event("young")])

    assert open_store(deletes_after_days=10).clean_up().events == 250
    assert found(store) == ["young"]


def test_an_event_that_got_the_number_of_a_deleted_one_meanwhile_stays(store):
    store.put([event("old", minutes=11 * DAY_MINUTES)])
    with store._database.reading() as connection:
        [use_case_no] = connection.execute(select(schema.events.c.use_case_no)).scalars()
        due = oldest_events(connection, use_case_no, None, 9)
    store.delete("dock", ["old"])
    store.put([event("new")])

    with step(store._database) as connection:
        assert erase_and_settle(connection, due, store._fields, idle_since_us=0) == 0

    assert [row.event_id for row in due] == ["old"]
    assert found(store) == ["new"]


def test_deleting_is_a_change_that_a_page_sees(open_store, store):
    store.put([event("old", minutes=11 * DAY_MINUTES)])
    before = store.latest_change("dock")

    open_store(deletes_after_days=10).clean_up()

    assert store.latest_change("dock") > before


def test_feedback_stays_as_long_as_its_event_and_goes_with_it(open_store, store, clock):
    old, young = 11 * DAY_MINUTES, 5 * DAY_MINUTES
    store.put(
        [
            event("a"),
            feedback("of a", "a", "correct", minutes=old),
            event("b", minutes=old),
            feedback("of b", "b", "incorrect", minutes=young),
            feedback("of none", "gone before", "correct", minutes=old),
        ]
    )
    store = open_store(deletes_after_days=10)

    assert store.clean_up().events == 3
    assert found(store) == ["a", "of a"]
    assert store.get("a").feedback == "correct"
    assert found(store, feedback=("incorrect",)) == []


def test_a_picture_that_waits_for_its_event_is_kept_for_a_day(store, clock):
    put = store.pictures.put(picture())

    clock.go(hours=23)
    assert store.clean_up().pictures == 0
    clock.go(hours=2)
    assert store.clean_up().pictures == 1

    assert not store.pictures.exists(put.id)
    assert store.pictures.info(put.id) is None


def test_a_picture_that_an_event_refers_to_is_kept(store, clock):
    put = store.pictures.put(picture())
    other = store.pictures.put(picture())
    store.put([event("a", pictures=[put.id])])
    store.get("a")
    as_input = event("b")
    as_input.body["images"] = [{"inputSourceId": other.id}]
    store.put([as_input])

    clock.go(days=30)

    assert store.clean_up().pictures == 0
    assert store.pictures.exists(put.id)
    assert store.pictures.exists(other.id)


def test_a_picture_goes_with_the_last_event_that_refers_to_it(open_store, store, clock):
    put = store.pictures.put(picture())
    file = store.pictures.get(put.id).path
    thumbnail_of(store, put.id, 160)
    store.put([event("old", minutes=9 * DAY_MINUTES, pictures=[put.id])])
    store.put([event("young", pictures=[put.id])])
    store = open_store(deletes_after_days=10)

    clock.go(days=5)
    assert store.clean_up().events == 1
    clock.go(days=2)
    assert store.clean_up() == Cleaned(events=0, pictures=0)
    clock.go(days=5)
    assert store.clean_up() == Cleaned(events=1, pictures=0)
    assert file.exists()
    clock.go(days=2)
    assert store.clean_up() == Cleaned(events=0, pictures=1)

    assert not file.exists()
    assert list(file.parents[2].joinpath("thumbnails").rglob("*.jpg")) == []


def test_a_picture_that_an_event_lost_by_being_put_again_goes_after_a_day(store, clock):
    put = store.pictures.put(picture())
    store.put([event("a", pictures=[put.id])])
    clock.go(days=3)
    store.put([event("a")])

    assert store.clean_up().pictures == 0
    clock.go(days=2)
    assert store.clean_up().pictures == 1


def test_a_picture_stays_if_the_event_is_put_again_with_it(store, clock):
    put = store.pictures.put(picture())
    store.put([event("a", pictures=[put.id])])
    store.put([event("a", pictures=[put.id])])
    clock.go(days=3)

    assert store.clean_up().pictures == 0
    assert store.pictures.exists(put.id)


def test_more_pictures_than_one_step_takes_all_go(store, clock):
    for _ in range(120):
        store.pictures.put(picture(size=(1, 1)))
    clock.go(days=2)

    assert store.clean_up().pictures == 120


@pytest.fixture
def removal_that(store, tmp_path, clock):
    """A function that sweeps pictures from a place where removing does what a test wants."""

    def sweep(remove):
        class Place(PictureFolder):
            def remove(self, names):
                remove(names)
                super().remove(names)

        pictures = store.pictures
        kept, pictures._place = pictures._place, Place(tmp_path / "data" / "pictures")
        try:
            return sweep_pictures(store._database, pictures.remove_bytes, clock)
        finally:
            pictures._place = kept

    return sweep


def test_a_picture_whose_removal_broke_off_is_gone_for_all_and_goes_with_the_next_sweep(
    store, clock, removal_that
):
    put = store.pictures.put(picture())
    file = store.pictures.get(put.id).path
    clock.go(days=2)

    def break_off(_names):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        removal_that(break_off)

    assert file.exists()
    assert store.pictures.info(put.id) is None
    assert store.pictures.get(put.id) is None
    store.put([event("late", pictures=[put.id])])
    assert store.pictures.get(put.id) is None
    assert store.clean_up().pictures == 1
    assert not file.exists()
    assert store.clean_up().pictures == 0


def test_events_are_put_while_bytes_go_slowly(store, clock, removal_that):
    gone, used = (store.pictures.put(picture()) for _ in range(2))
    clock.go(days=2)
    store.put([event("a", pictures=[used.id])])

    def put_meanwhile(names):
        assert len(names) == 1
        late = event("late", pictures=[gone.id, used.id])
        thread = threading.Thread(target=store.put, args=([late],), daemon=True)
        thread.start()
        thread.join(10)
        assert not thread.is_alive()

    assert removal_that(put_meanwhile) == 1
    assert store.get("late") is not None
    assert not store.pictures.exists(gone.id)
    assert store.pictures.exists(used.id)


def test_thumbnails_of_a_picture_that_another_server_removed_go_too(store, tmp_path):
    gone, kept = (store.pictures.put(picture()).id for _ in range(2))
    for each in (gone, kept):
        thumbnail_of(store, each, 160)
    with store._database.writing() as connection:
        connection.execute(delete(schema.pictures).where(schema.pictures.c.id == gone))

    store.clean_up()

    left = [path.name for path in (tmp_path / "data" / "thumbnails").rglob("*.jpg")]
    assert left == [f"{kept}-160.jpg"]


def test_events_are_put_while_others_are_deleted(open_store, store):
    store.put([event(f"e{n}", minutes=11 * DAY_MINUTES) for n in range(1000)])
    store = open_store(deletes_after_days=10)
    cleaned = []
    thread = threading.Thread(target=lambda: cleaned.append(store.clean_up()))
    put_meanwhile = 0

    thread.start()
    while thread.is_alive():
        store.put([event(f"new {put_meanwhile}")])
        put_meanwhile += 1
    thread.join()

    assert cleaned == [Cleaned(events=1000, pictures=0)]
    assert put_meanwhile >= 10
    assert store.count(everything()) == put_meanwhile
