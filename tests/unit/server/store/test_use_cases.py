from __future__ import annotations

import threading

import pytest
from sqlalchemy import insert

from tests.unit.server.scenes import NOON, event
from vision_event_block.server.forwarding import MAX_USE_CASES, EventSink
from vision_event_block.server.store import schema
from vision_event_block.server.store.errors import (
    AlreadyActive,
    DuplicateName,
    LimitReached,
    NoSuchUseCase,
)
from vision_event_block.server.store.records import UseCase


@pytest.fixture
def use_cases(open_store):
    return open_store().use_cases


def test_events_make_only_so_many_use_cases_on_a_server_that_forwards(store):
    row = {"status": "active", "created_us": 0, "updated_us": 0, "event_count": 0, "changes": 0}
    rows = [
        {"no": n, "id": f"id-{n}", "name": f"n-{n}", "folded_name": f"n-{n}", **row}
        for n in range(100, 100 + MAX_USE_CASES - 3)  # beside two of the fixture
    ]
    with store._database.writing() as connection:
        connection.execute(insert(schema.use_cases), rows)
    sink = EventSink(store, forwarding=object())

    assert sink.use_case("the last one").id == "the last one"
    with pytest.raises(LimitReached, match="1,000 use cases"):
        sink.use_case("one more")

    assert sink.use_case("dock").id == "dock"
    assert sink.use_case("the last one").id == "the last one"
    assert store.use_cases.create("one more", id="one more").id == "one more"
    assert sink.use_case("one more").id == "one more"


def test_a_new_use_case_is_active_and_empty(use_cases):
    made = use_cases.create("  Dock pallets ")

    assert made == UseCase(
        id=made.id,
        name="Dock pallets",
        status="active",
        created_at=NOON,
        updated_at=NOON,
        event_count=0,
        last_event_at=None,
        event_types=(),
    )
    assert len(made.id) == 8
    assert use_cases.get(made.id) == made


@pytest.mark.parametrize("name", ["", "   ", "x" * 257, "a\0b", "\ud800"])
def test_a_name_that_is_empty_or_too_long_is_refused(use_cases, name):
    with pytest.raises(ValueError, match="1 to 256 characters"):
        use_cases.create(name)
    with pytest.raises(ValueError, match="1 to 256 characters"):
        use_cases.create("fine", id=name and "x" * 257)


@pytest.mark.parametrize("name", ["Dock", "dock", " DOCK "])
def test_a_name_is_taken_whatever_its_case_and_even_by_an_archived_one(use_cases, name):
    use_cases.create("Dock", id="first")
    use_cases.archive("first")
    use_cases.create("Line", id="second")

    with pytest.raises(DuplicateName):
        use_cases.create(name)
    with pytest.raises(DuplicateName):
        use_cases.update("second", name=name)


def test_an_id_is_taken_once(use_cases):
    use_cases.create("Dock", id="dock")

    with pytest.raises(DuplicateName):
        use_cases.create("Other", id="dock")


def test_a_use_case_is_found_by_its_id_and_by_its_exact_name(use_cases):
    dock = use_cases.create("Dock pallets", id="dock")
    archived = use_cases.create("Gaps / holes", id="gaps")
    use_cases.archive("gaps")

    assert use_cases.find("dock") == use_cases.find("Dock pallets") == dock
    assert use_cases.find("Gaps / holes").id == archived.id
    for wrong in ("Dock", "dock pallets", "DOCK PALLETS", " Dock pallets", "", "\0", "\ud800", "%"):
        assert use_cases.find(wrong) is None


def test_an_id_comes_before_the_same_text_as_a_name(use_cases):
    use_cases.create("shared", id="by-name")
    assert use_cases.find("shared").id == "by-name"

    use_cases.create("Another", id="shared")

    assert use_cases.find("shared").name == "Another"
    use_cases.archive("shared")
    assert use_cases.find("shared").name == "Another"


def test_a_new_name_is_found_and_the_old_one_no_more(use_cases):
    use_cases.create("Dock", id="dock")
    use_cases.update("dock", name="Quay")

    assert use_cases.find("Quay").id == "dock"
    assert use_cases.find("Dock") is None


def test_a_use_case_can_change_the_case_of_its_own_name(use_cases, clock):
    use_cases.create("dock", id="dock")
    clock.go(hours=1)

    changed = use_cases.update("dock", name="Dock")

    assert (changed.name, changed.created_at, changed.updated_at) == ("Dock", NOON, clock.now)


def test_archiving_hides_and_unarchiving_brings_back(use_cases):
    use_cases.create("Dock", id="dock")
    use_cases.create("a line", id="line")

    assert use_cases.archive("dock").status == "inactive"
    assert use_cases.archive("dock").status == "inactive"
    assert [each.id for each in use_cases.list("active")] == ["line"]
    assert [each.id for each in use_cases.list("inactive")] == ["dock"]
    assert [each.id for each in use_cases.list()] == ["line", "dock"]
    assert use_cases.unarchive("dock").status == "active"
    with pytest.raises(AlreadyActive):
        use_cases.unarchive("dock")


@pytest.mark.parametrize("use_case_id", ["nowhere", "", "\0", "\ud800"])
def test_an_unknown_use_case_cannot_be_changed(use_cases, use_case_id):
    assert use_cases.get(use_case_id) is None
    for change in (use_cases.archive, use_cases.unarchive):
        with pytest.raises(NoSuchUseCase):
            change(use_case_id)
    with pytest.raises(NoSuchUseCase):
        use_cases.update(use_case_id, name="Dock")


def test_a_use_case_tells_what_it_holds(store):
    store.put(
        [
            event("a", event_type="safety_alert", minutes=5),
            event("b", event_type="quality_check", minutes=9),
            event("c", event_type="quality_check", minutes=7),
        ]
    )

    dock = store.use_cases.get("dock")

    assert dock.event_count == 3
    assert dock.last_event_at == NOON.replace(hour=11, minute=55)
    assert dock.event_types == ("quality_check", "safety_alert")
    assert store.use_cases.list()[0] == dock


def test_of_two_that_take_a_name_at_once_one_gets_it(use_cases):
    outcomes = []

    def create():
        try:
            outcomes.append(use_cases.create("Dock").id)
        except DuplicateName:
            outcomes.append("taken")

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert outcomes.count("taken") == 7
    assert len(use_cases.list()) == 1
