"""What an owner says about itself, written and read back, by this version and by others."""

from __future__ import annotations

import json

import pytest

from vision_event_block.outbox.owner_status import (
    DestinationState,
    DestinationStatus,
    OwnerStatus,
)

ROW = {"address": "https://api.example", "state": "open", "pending": 2}


@pytest.mark.parametrize("state", DestinationState)
def test_what_was_written_is_read_back(state):
    row = DestinationStatus("https://api.example", state, 2, "refused", 1.5, "KeyError", "404")
    status = OwnerStatus(7, (row, DestinationStatus("https://other", state, 0)))

    assert OwnerStatus.from_json(json.loads(json.dumps(status.to_json()))) == status


def test_the_words_in_the_file_are_those_that_people_know():
    assert [state.value for state in DestinationState] == [
        "open",
        "down",
        "key refused",
        "no key",
        "unknown",
    ]


def test_only_a_missing_or_refused_key_needs_a_person():
    needing = [state for state in DestinationState if state.needs_key]
    assert needing == [DestinationState.KEY_REFUSED, DestinationState.NO_KEY]


@pytest.mark.parametrize("word", ["on fire", "", None, 7, ["open"]])
def test_a_word_of_another_version_is_an_unknown_state(word):
    (row,) = OwnerStatus.from_json(
        {"pid": 1, "destinations": [{**ROW, "state": word}]}
    ).destinations
    assert row.state is DestinationState.UNKNOWN
    assert (row.address, row.pending) == (ROW["address"], 2)


@pytest.mark.parametrize(
    "document",
    [None, 7, [], {}, {"destinations": 7}, {"destinations": {"address": "a"}}, {"pid": "seven"}],
)
def test_a_document_that_says_nothing_is_an_empty_status(document):
    assert OwnerStatus.from_json(document) == OwnerStatus()


def test_rows_without_an_address_are_left_out_and_odd_values_are_none():
    rows = [{"state": "open"}, 7, None, {**ROW, "pending": "two", "last_success_s": "soon"}]

    found = OwnerStatus.from_json({"pid": 1, "destinations": rows}).destinations

    assert found == (DestinationStatus(ROW["address"], DestinationState.OPEN, 0),)


def test_a_password_that_an_older_version_left_is_masked():
    row = {**ROW, "address": "https://me:s3cret@box", "last_error": "no https://me:s3cret@box"}
    status = OwnerStatus.from_json({"pid": 1, "destinations": [row]})
    assert "s3cret" not in repr(status)
    assert status.destinations[0].address == "https://***@box"
