"""Adjustments as one line for people, and as one kind for the log."""

from __future__ import annotations

import pytest

from vision_event_block.events.adjustments import NAMED_IN_MESSAGE, Adjustment, sentence


def cut(number=1, field="predictions"):
    return Adjustment(field, f"cut by {number}", "the API takes at most 1000")


@pytest.mark.parametrize(
    ("count", "end"),
    [
        (1, "cut by 1 (the API takes at most 1000)."),
        (NAMED_IN_MESSAGE, f"cut by {NAMED_IN_MESSAGE} (the API takes at most 1000)."),
        (
            NAMED_IN_MESSAGE + 1,
            f"cut by {NAMED_IN_MESSAGE} (the API takes at most 1000); and 1 more.",
        ),
    ],
)
def test_a_sentence_names_some_and_counts_the_rest(count, end):
    said = sentence(cut(number + 1) for number in range(count))

    assert said.startswith("Adjusted: predictions: cut by 1 (the API takes at most 1000)")
    assert said.endswith(end)
    assert said.count("cut by") == min(count, NAMED_IN_MESSAGE)


def test_the_same_twice_is_said_once_and_nothing_is_not_said():
    assert sentence([cut(), cut()]) == sentence([cut()])
    assert sentence([]) == ""


def test_of_one_kind_is_what_differs_in_its_figures_only():
    assert cut(1).kind == cut(2).kind != cut(1, "images").kind
