"""The line by a clock that the tests move: which request comes next."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from vision_event_block.delivery.errors import Unreachable
from vision_event_block.delivery.gate import Gate
from vision_event_block.delivery.line import (
    BATCH_WAIT_S,
    MAX_HELD_BYTES,
    MAX_KEY_REFUSALS,
    Create,
    Line,
    Open,
    Upload,
)
from vision_event_block.delivery.parcel import Parcel, Ticket
from vision_event_block.outbox.entry import Address

ADDRESS = Address("api", "https://example.invalid", "fingerprint")


@pytest.fixture
def line():
    return line_of()


def line_of(*, lanes=8, backlog_bytes_per_s=0):
    gate = Gate(lanes=lanes, max_backoff_s=60, key_retry_s=300, uniform=lambda _low, high: high)
    destination = SimpleNamespace(address=ADDRESS, max_batch_events=100)
    return Line(destination, gate, lanes=lanes, backlog_bytes_per_s=backlog_bytes_per_s)


def parcel(name, *, size_bytes=1000, **changes):
    return Parcel(name, ADDRESS, SimpleNamespace(size_bytes=size_bytes), **changes)


def names(errand):
    parcels = errand.parcels if isinstance(errand, Create) else [errand.parcel]
    return [parcel.event_id for parcel in parcels]


def opened(line, count, now_s=0.0):
    return [names(line.next(now_s))[0] for _ in range(count)]


def test_an_empty_line_has_nothing_to_do(line):
    assert line.next(0.0) is None


def test_events_go_in_order_with_the_urgent_in_front(line):
    for name in ("a", "b"):
        line.join(parcel(name))
    line.join(parcel("urgent", is_urgent=True))

    assert opened(line, 3) == ["urgent", "a", "b"]
    assert line.next(0.0) is None


def test_the_backlog_goes_oldest_first_with_the_urgent_in_front(line):
    for name in ("a", "b"):
        line.join(parcel(name, is_backlog=True))
    line.join(parcel("urgent", is_backlog=True, is_urgent=True))

    assert opened(line, 3) == ["urgent", "a", "b"]


def test_fresh_events_have_half_of_the_lanes_while_a_backlog_waits():
    line = line_of(lanes=4)
    for number in range(5):
        line.join(parcel(f"fresh {number}"))
        line.join(parcel(f"old {number}", is_backlog=True))

    assert opened(line, 5) == ["fresh 0", "fresh 1", "old 0", "old 1", "old 2"]


def test_without_a_backlog_fresh_events_have_all_lanes():
    line = line_of(lanes=4)
    for number in range(4):
        line.join(parcel(str(number)))

    assert opened(line, 4) == ["0", "1", "2", "3"]


def test_pictures_of_events_that_are_begun_come_before_new_events(line):
    line.join(parcel("new"))
    line.add_uploads([Upload(parcel("begun"), "images/b.jpg", b"b", bytes.hex)])

    assert isinstance(line.next(0.0), Upload)
    assert isinstance(line.next(0.0), Open)


def test_a_lone_event_waits_for_no_company(line):
    line.add_ready(parcel("a"), 0.0)

    assert names(line.next(0.0)) == ["a"]


def test_events_wait_a_moment_for_company_that_is_coming(line):
    line.add_ready(parcel("a"), 0.0)
    line.join(parcel("b"))
    assert isinstance(line.next(0.0), Open)
    line.join(parcel("c"))
    line.add_ready(parcel("b"), 0.05)

    assert isinstance(line.next(0.05), Open)
    assert names(line.next(BATCH_WAIT_S)) == ["a", "b"]


def test_while_a_create_is_under_way_the_next_one_is_put_off(line):
    line.add_ready(parcel("a"), 0.0)
    line.next(0.0)
    line.add_ready(parcel("b"), 0.0)

    assert line.next(BATCH_WAIT_S / 2) == BATCH_WAIT_S
    line.creation_ended()
    line.add_ready(parcel("c"), BATCH_WAIT_S)
    assert names(line.next(BATCH_WAIT_S)) == ["b", "c"]


def test_right_after_a_create_the_next_event_waits_for_company_unless_somebody_waits_for_it(line):
    line.add_ready(parcel("a"), 0.0)
    line.next(0.0)
    line.creation_ended()
    line.add_ready(parcel("b"), 0.01)
    assert line.next(0.01) == 0.01 + BATCH_WAIT_S
    line.add_ready(parcel("c"), 0.02)
    assert names(line.next(0.01 + BATCH_WAIT_S)) == ["b", "c"]
    line.creation_ended()

    line.add_ready(parcel("unawaited", ticket=Ticket()), 0.15)
    assert line.next(0.15) == 0.15 + BATCH_WAIT_S
    assert names(line.next(0.15 + BATCH_WAIT_S)) == ["unawaited"]
    line.creation_ended()

    awaited = parcel("awaited", ticket=Ticket())
    awaited.ticket.is_awaited = True
    line.add_ready(awaited, 0.2)
    assert names(line.next(0.2)) == ["awaited"]


def test_what_new_events_hold_stays_in_memory_up_to_a_limit_until_they_go_or_the_gate_closes(line):
    third = MAX_HELD_BYTES // 3 + 1
    parcels = [parcel(name, size_bytes=third, contents=object()) for name in "abcd"]
    for each in parcels[:3]:
        line.join(each)
    assert [each.contents is not None for each in parcels[:3]] == [True, True, False]

    assert opened(line, 1) == ["a"]
    assert parcels[0].contents is not None
    line.join(parcels[3])
    assert parcels[3].contents is not None

    line.pile_up()
    assert [each.contents for each in parcels[1:]] == [None, None, None]
    again = parcel("e", size_bytes=2 * third, contents=object())
    line.join(again)
    assert again.contents is not None


def test_a_hundred_go_at_once_and_the_rest_later(line):
    for number in range(130):
        line.add_ready(parcel(str(number)), 0.0)
    line.join(parcel("more"))

    assert len(line.next(0.0).parcels) == 100
    assert isinstance(line.next(0.0), Open)
    assert len(line.next(BATCH_WAIT_S).parcels) == 30


def test_the_halves_of_a_refused_batch_go_next_and_as_they_are(line):
    line.add_ready(parcel("other"), 0.0)
    line.split([parcel(name) for name in "abc"])

    assert [names(line.next(0.0)) for _ in range(2)] == [["a"], ["b", "c"]]


def test_a_suspect_travels_alone(line):
    line.add_ready(parcel("a"), 0.0)
    line.add_ready(parcel("suspect", is_suspect=True), 0.0)
    line.add_ready(parcel("b"), 0.0)

    assert names(line.next(0.0)) == ["suspect"]
    assert names(line.next(BATCH_WAIT_S)) == ["a", "b"]


def test_an_event_to_be_tried_again_comes_when_it_is_due_and_then_first(line):
    line.join(parcel("new"))
    line.back(parcel("again"), 5.0)
    assert opened(line, 1) == ["new"]
    assert line.next(0.0) == 5.0

    line.join(parcel("newer"))

    assert opened(line, 2, 5.0) == ["again", "newer"]


def test_hurrying_makes_due_what_is_to_be_tried_again(line):
    line.back(parcel("a"), 60.0)

    line.hurry(1.0)

    assert opened(line, 1, 1.0) == ["a"]


def test_an_event_whose_key_was_refused_comes_behind_the_others(line):
    for name in ("a", "b"):
        line.join(parcel(name, is_backlog=True))
    line.back(parcel("refused", is_backlog=True), 0.0, is_first=False)

    assert opened(line, 3) == ["a", "b", "refused"]


def test_what_waits_when_the_link_fails_becomes_the_backlog_in_its_order(line):
    for name in ("a", "b"):
        line.join(parcel(name))
    line.join(parcel("urgent", is_urgent=True))

    line.pile_up()
    line.join(parcel("fresh"))

    assert opened(line, 4) == ["fresh", "urgent", "a", "b"]


def test_nothing_goes_while_the_gate_is_closed(line):
    for _ in range(3):
        line.gate.troubled(
            line.gate.start(0.0), Unreachable("not there", route="POST /vision-events"), 0.0
        )
    line.join(parcel("a"))

    assert line.next(0.0) == 1.0
    assert opened(line, 1, 1.0) == ["a"]


def test_a_backlog_with_a_share_of_the_line_keeps_to_it_and_fresh_events_do_not():
    line = line_of(backlog_bytes_per_s=500)
    for name in ("a", "b"):
        line.join(parcel(name, is_backlog=True, size_bytes=1000))

    assert opened(line, 1) == ["a"]
    assert line.next(0.0) == 2.0
    line.join(parcel("fresh"))
    assert opened(line, 1) == ["fresh"]
    assert opened(line, 1, 2.0) == ["b"]


def test_what_is_begun_and_not_on_its_way_is_known(line):
    a, b, c = (parcel(name) for name in "abc")
    line.add_uploads(
        [Upload(a, "images/1.jpg", b"1", bytes.hex), Upload(a, "images/2.jpg", b"2", bytes.hex)]
    )
    line.add_ready(b, 0.0)
    line.split([b, c])

    assert line.begun() == [a, b, c]


def test_a_refused_key_is_an_events_own_doing_once_others_passed_in_between_often_enough(line):
    suspect = parcel("suspect")
    verdicts = []
    for _ in range(MAX_KEY_REFUSALS + 1):
        verdicts.append(line.blames(suspect))
        verdicts.append(line.blames(suspect))  # nothing was delivered since
        line.delivered += 1
    assert verdicts == [False] * (2 * MAX_KEY_REFUSALS) + [True, True]
    assert suspect.is_suspect


def test_company_is_not_waited_for_once_there_is_a_full_batch(line):
    line.add_uploads([Upload(parcel("busy"), "images/1.jpg", b"1", bytes.hex)])
    for number in range(100):
        line.add_ready(parcel(str(number)), 0.0)

    assert len(line.next(0.0).parcels) == 100


def test_what_is_to_be_tried_again_during_an_outage_joins_the_backlog(line):
    again = parcel("again")
    line.back(again, 5.0)

    line.pile_up()
    line.join(parcel("fresh"))

    assert again.is_backlog
    assert opened(line, 2, 5.0) == ["fresh", "again"]


def test_an_event_that_is_nowhere_but_in_memory_keeps_what_it_holds_during_an_outage(line):
    contents = SimpleNamespace(payload={}, pictures={})
    kept = Parcel("in-memory", ADDRESS, contents=contents)
    line.join(kept)

    line.pile_up()

    assert kept.contents is contents
    assert opened(line, 1) == ["in-memory"]
