"""Settings come from the environment, typed, and a wrong one names its variable."""

from __future__ import annotations

import pytest

from vision_event_block.settings import Settings, current, log_odd_variables, odd_variables


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
        ("CLOSE_TIMEOUT_S", "1e10"),
        ("KEY_RETRY_S", "1e10"),
        ("KEY_RETRY_S", "nan"),
        ("KEY_RETRY_S", "-300"),
        ("MAX_BACKOFF_S", "inf"),
        ("WAIT_S", "1e9"),
        ("READ_TIMEOUT_S", "1e9"),
        ("CONNECT_TIMEOUT_S", "inf"),
        ("IMAGE_REUSE_S", "1e6"),
        ("IMAGE_METADATA_KEY", "meta data"),
        ("IMAGE_METADATA_KEY", ""),
        ("OUTBOX_MAX_AGE_DAYS", "1e6"),
    ],
)
def test_a_wrong_value_is_refused_by_name(monkeypatch, name, value):
    monkeypatch.setenv(f"VISION_EVENT_{name}", value)

    with pytest.raises(ValueError, match=f"VISION_EVENT_{name}: .*{value}"):
        current.__wrapped__()


@pytest.mark.parametrize("name", ["API_URL", "STORE_URL", "STORE_ALLOWED_URLS"])
@pytest.mark.parametrize("rest", ["me:s3cret@box", "box/?", "box#", "box\\@elsewhere"])
def test_an_address_is_plain_and_a_password_in_one_is_not_repeated(monkeypatch, name, rest):
    monkeypatch.setenv(f"VISION_EVENT_{name}", f"http://{rest}")

    with pytest.raises(ValueError, match=f"VISION_EVENT_{name}: ") as refused:
        current.__wrapped__()

    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("name", ["API_URL", "STORE_URL", "STORE_ALLOWED_URLS"])
@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("http://[::1", "Invalid IPv6 URL"),
        ("http://::1]:9100", "Invalid IPv6 URL"),
        ("http://box:http", "Port could not be cast to integer"),
        ("http://box:70000", "Port out of range"),
        ("http://box:0", "nothing listens on port 0"),
        ("http://:9100", "it names no host"),
        ("https:///events", "it names no host"),
    ],
)
def test_what_no_request_can_be_sent_to_is_no_address(monkeypatch, name, address, words):
    monkeypatch.setenv(f"VISION_EVENT_{name}", address)

    with pytest.raises(ValueError, match="is not an address") as refused:
        current.__wrapped__()
    assert f"VISION_EVENT_{name}: {address} is not an address: {words}" in str(refused.value)
    assert f"not '{address}'" not in str(refused.value), "it is said once"


@pytest.mark.parametrize("address", ["http://box", "https://[::1]:9100/api", "http://127.0.0.1:9"])
def test_an_address_is_taken_as_it_was_given(monkeypatch, address):
    for name in ("API_URL", "STORE_URL", "STORE_ALLOWED_URLS"):
        monkeypatch.setenv(f"VISION_EVENT_{name}", address)

    given = Settings()

    assert {given.api_url, given.store_url, given.store_allowed_urls} == {address}


def test_other_variables_of_the_family_do_no_harm(monkeypatch):
    monkeypatch.setenv("VISION_EVENT_OF_THE_FUTURE", "x")

    Settings()


@pytest.mark.parametrize(
    ("name", "what", "advice"),
    [
        ("VISION_EVENT_SENDER", "is not a setting", "did you mean VISION_EVENT_SENDERS?"),
        ("VISION_EVENTS_SENDERS", "is not a setting", "did you mean VISION_EVENT_SENDERS?"),
        ("VISION_EVENT_XYZ", "is not a setting", "remove it"),
        ("VISION_EVENTS_API_KEYS", "is an old name", "rename it to VISION_EVENT_API_KEYS"),
    ],
)
def test_a_variable_that_is_unknown_or_outdated_is_named_without_its_value(name, what, advice):
    assert odd_variables({name: "s3cret"}) == [(f"{name} {what}", advice)]


def test_variables_that_are_read_and_those_of_others_are_not_odd():
    names = ("VISION_EVENT_SENDERS", "vision_event_senders", "VISION_EVENT_DATABASE_URL", "HOME")

    assert odd_variables(dict.fromkeys(names, "x")) == []


def test_an_odd_variable_is_logged_once(monkeypatch, caplog):
    monkeypatch.setenv("VISION_EVENT_XYZ", "s3cret")
    log_odd_variables.cache_clear()

    current.__wrapped__()
    current.__wrapped__()

    assert [record.getMessage() for record in caplog.records] == [
        "VISION_EVENT_XYZ is not a setting; remove it"
    ]
    log_odd_variables.cache_clear()
