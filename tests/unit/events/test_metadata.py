"""Custom metadata: whatever a user or a step gives becomes what the API takes."""

from __future__ import annotations

import enum
import json
import math
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import numpy as np
import pytest

from vision_event_block.contract import limits
from vision_event_block.events.metadata import clean_metadata

DEEP: list = []
for _ in range(30):
    DEEP = [DEEP]


class Shift(enum.Enum):
    NIGHT = "night"


class Level(enum.IntEnum):
    HIGH = 3


UNCHANGED = {
    "text": ("night", "night"),
    "boolean": (True, True),
    "whole number": (4, 4),
    "number": (3.25, 3.25),
    "seventh decimal": (0.12345678, 0.123457),
    "numpy text": (np.str_("a"), "a"),
    "numpy boolean": (np.bool_(False), False),
    "numpy integer": (np.int64(7), 7),
    "numpy float32": (np.float32(0.1), 0.1),
    "zero-dimensional array": (np.array(5), 5),
    "enumeration": (Shift.NIGHT, "night"),
    "enumeration of numbers": (Level.HIGH, 3),
    "date": (date(2026, 3, 1), "2026-03-01"),
    "moment": (datetime(2026, 3, 1, 9, 5, tzinfo=timezone.utc), "2026-03-01T09:05:00+00:00"),
    "time span": (timedelta(seconds=90), 90.0),
    "decimal": (Decimal("2.5"), 2.5),
    "id": (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    "bytes": (b"abc", "abc"),
}


@pytest.mark.parametrize(("given", "expected"), UNCHANGED.values(), ids=UNCHANGED)
def test_a_value_arrives_as_its_json_type_without_being_called_changed(given, expected):
    cleaned, adjustments = clean_metadata({"key": given})

    assert cleaned == {"key": expected}
    assert type(cleaned["key"]) is type(expected)
    assert adjustments == []


RESHAPED = {
    "list": ([1, 2], "[1,2]"),
    "nested": ({"a": {"b": (1, np.float32(0.5))}}, '{"a":{"b":[1,0.5]}}'),
    "array": (np.arange(3), "[0,1,2]"),
    "set": ({2, 1}, "[1,2]"),
    "not a number": (math.nan, "nan"),
    "infinity": (-math.inf, "-inf"),
    "nan within": ([math.nan], '["nan"]'),
    "larger than a double holds, within": ([2**53 + 1], '["9007199254740993"]'),
    "larger than Python prints": (10**5000, "an integer of 16610 bits"),
    "deeper than anybody reads": (DEEP, "[" * 20 + '"list"' + "]" * 20),
    "larger than a double holds": (2**53 + 1, "9007199254740993"),
    "the first that a reader may take for another": (2**53, "9007199254740992"),
    "larger than a double holds, and broken": (1.5e17, "1.5e+17"),
    "larger than any double": (10**400, "1" + "0" * 400),
}


@pytest.mark.parametrize(("given", "expected"), RESHAPED.values(), ids=RESHAPED)
def test_a_value_that_had_to_be_reshaped_is_named(given, expected):
    cleaned, adjustments = clean_metadata({"key": given})

    assert cleaned == {"key": expected}
    assert len(adjustments) == 1
    assert "'key'" in str(adjustments[0])


@pytest.mark.parametrize("empty", [None, "", np.str_("")])
def test_an_empty_value_is_left_out_and_named(empty):
    cleaned, adjustments = clean_metadata({"gone": empty, "there": 1})

    assert cleaned == {"there": 1}
    assert ["'gone'" in str(adjustment) for adjustment in adjustments] == [True]


def test_text_is_cut_to_the_limit_and_named():
    cleaned, adjustments = clean_metadata({"note": "x" * 1001, "fits": "y" * 1000})

    assert cleaned["note"] == "x" * 999 + "…"
    assert cleaned["fits"] == "y" * 1000
    assert len(adjustments) == 1


def test_the_limit_counts_as_javascript_does():
    cleaned, _ = clean_metadata({"note": "\N{PILE OF POO}" * 600})

    assert len(cleaned["note"].encode("utf-16-le")) // 2 <= limits.MAX_METADATA_VALUE_CHARS


def test_text_that_strict_parsers_refuse_is_made_clean():
    cleaned, _ = clean_metadata({"note": "a\x00b\ud800c"})

    assert cleaned == {"note": "a�b�c"}
    json.dumps(cleaned).encode()


def test_keys_are_cleaned_without_colliding_and_legal_keys_keep_their_names():
    cleaned, adjustments = clean_metadata({"temp.c": 1, "temp/c": 2, "temp_c": 3, "ok key-1": 4})

    assert cleaned == {"temp_c_2": 1, "temp_c_3": 2, "temp_c": 3, "ok key-1": 4}
    assert len(adjustments) == 2


def test_long_keys_stay_apart_when_they_are_cut():
    long = "k" * 150
    cleaned, _ = clean_metadata({long + "a": 1, long + "b": 2})

    assert sorted(cleaned.values()) == [1, 2]
    assert all(len(key) <= limits.MAX_METADATA_KEY_CHARS for key in cleaned)


@pytest.mark.parametrize(("key", "expected"), [(5, "5"), ("", "_"), ("°", "_"), (None, "None")])
def test_any_key_becomes_a_legal_one(key, expected):
    cleaned, _ = clean_metadata({key: 1})

    assert cleaned == {expected: 1}


def test_of_too_many_keys_the_first_are_kept_and_the_cut_is_named():
    cleaned, adjustments = clean_metadata({f"k{number}": number for number in range(130)})

    assert list(cleaned) == [f"k{number}" for number in range(100)]
    assert "130" in str(adjustments[0])


def test_empty_metadata_stays_empty():
    assert clean_metadata({}) == ({}, [])
