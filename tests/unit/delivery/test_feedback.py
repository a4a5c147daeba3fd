"""What a step's next frames say about its earlier events."""

from __future__ import annotations

import pytest

from vision_event_block.delivery.feedback import MAX_STEPS, SAID_FOR_S, Feedback, StepFeedback
from vision_event_block.delivery.queued_event import DeliveryOutcome, Verdict

STEP = ("https://api.example", "step")
REJECTED = DeliveryOutcome(Verdict.REJECTED, reason="no such use case")
DELIVERED = DeliveryOutcome(Verdict.DELIVERED)
NOTHING = Feedback()


class Clock:
    now_s = 1000.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def feedback(clock):
    return StepFeedback(clock_s=clock)


def test_a_step_without_a_past_says_nothing(feedback):
    assert feedback.say(STEP) == NOTHING


def test_a_rejection_is_said_by_every_frame_for_a_minute(feedback, clock):
    feedback.hear(STEP, REJECTED)

    assert [feedback.say(STEP).rejected for _ in range(3)] == ["no such use case"] * 3
    clock.now_s += SAID_FOR_S + 1
    assert feedback.say(STEP) == NOTHING


def test_a_later_success_ends_it_once_it_was_said(feedback):
    feedback.hear(STEP, REJECTED)
    feedback.say(STEP)
    feedback.hear(STEP, DELIVERED)

    assert feedback.say(STEP) == NOTHING


def test_a_rejection_among_successes_is_said_once(feedback):
    feedback.hear(STEP, REJECTED)
    feedback.hear(STEP, DELIVERED)

    assert feedback.say(STEP).rejected == "no such use case"
    assert feedback.say(STEP) == NOTHING


def test_what_the_api_warns_of_is_said_until_an_event_arrives_without_a_warning(feedback):
    feedback.hear(STEP, DeliveryOutcome(Verdict.DELIVERED, warnings=("x is deprecated",)))

    assert feedback.say(STEP).warnings == ("x is deprecated",)
    assert feedback.say(STEP).warnings == ("x is deprecated",)
    feedback.hear(STEP, DELIVERED)
    assert feedback.say(STEP) == NOTHING


def test_an_event_that_only_waits_changes_nothing(feedback):
    feedback.hear(STEP, REJECTED)
    feedback.hear(STEP, DeliveryOutcome(Verdict.WAITING, reason="503"))

    assert feedback.say(STEP) == Feedback(rejected="no such use case")


def test_steps_do_not_speak_for_each_other(feedback):
    feedback.hear(STEP, REJECTED)
    feedback.hear_not_stored("another", "the disk is full")

    assert feedback.say(STEP) == Feedback(rejected="no such use case")
    assert feedback.say("another") == Feedback(not_stored="the disk is full")


def test_so_many_steps_are_remembered_and_the_newest_stay(feedback):
    for number in range(2 * MAX_STEPS):
        feedback.hear(number, REJECTED)

    assert feedback.say(0) == NOTHING
    assert feedback.say(2 * MAX_STEPS - 1).rejected
