"""Settings come from the environment, typed, and a wrong one names its variable."""

from __future__ import annotations

import pytest

from vision_event_block.settings import Settings, current


def test_a_variable_sets_its_field(monkeypatch):
    monkeypatch.setenv("VISION_EVENT_SENDERS", "3")
    monkeypatch.setenv("VISION_EVENT_WAIT_S", "2.5")

    assert (Settings().senders, Settings().wait_s) == (3, 2.5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SENDERS", "0"),
        ("SENDERS", "many"),
        ("WAIT_S", "-1"),
        ("MAX_PENDING_BYTES", "0"),
        ("API_URL", "ftp://somewhere"),
        ("CLOSE_TIMEOUT_S", "-0.1"),
    ],
)
def test_a_wrong_value_is_refused_by_name(monkeypatch, name, value):
    monkeypatch.setenv(f"VISION_EVENT_{name}", value)

    with pytest.raises(ValueError, match=f"VISION_EVENT_{name}: .*{value}"):
        current.__wrapped__()


def test_other_variables_of_the_family_do_no_harm(monkeypatch):
    monkeypatch.setenv("VISION_EVENT_OF_THE_FUTURE", "x")

    Settings()
