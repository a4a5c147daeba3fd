"""Keys let in whom they should, and are never shown."""

from __future__ import annotations

import pytest

from vision_event_block.server.keys import ALL_SCOPES, BadKey, Keys

KEY = "a-key-of-the-tests"
READER = "another-key-1"


class Clock:
    def __init__(self):
        self.now_s = 1_000_000.0

    def __call__(self):
        return self.now_s


def test_without_keys_everybody_may_do_everything():
    keys = Keys()

    assert not keys.in_force
    assert keys.scopes_of(None) == keys.scopes_of("whatever") == ALL_SCOPES


def test_a_key_without_scopes_may_do_everything_and_one_with_scopes_only_that():
    keys = Keys([KEY, f"{READER}:read,write"])

    assert keys.in_force
    assert keys.scopes_of(KEY) == ALL_SCOPES
    assert keys.scopes_of(READER) == {"read", "write"}


@pytest.mark.parametrize(
    "key", [None, "", "x", KEY[:-1], KEY + "x", KEY.upper(), "\udc80", "é" * 9]
)
def test_no_other_key_is_known(key):
    assert Keys([KEY, READER]).scopes_of(key) is None


def test_a_colon_may_be_part_of_a_key():
    keys = Keys(["with:colon-in-it", "https://key:read"])

    assert keys.scopes_of("with:colon-in-it") == ALL_SCOPES
    assert keys.scopes_of("https://key") == {"read"}


@pytest.mark.parametrize(
    "text", ["", "short", "short:read", ":read", "with a space", "naïve-key-1"]
)
def test_a_key_that_cannot_protect_or_be_sent_is_refused_without_repeating_it(text):
    with pytest.raises(BadKey) as refused:
        Keys([text])

    assert not text or text not in str(refused.value)


def test_a_key_is_nowhere_in_what_is_kept():
    keys = Keys([KEY])

    assert KEY not in repr(keys) + repr(vars(keys))
    assert KEY not in (keys.open_session(KEY) or "")


def test_a_session_stands_for_its_key_until_it_is_over():
    clock = Clock()
    keys = Keys([KEY, f"{READER}:read"], session_lifetime_s=60, clock=clock)

    session = keys.open_session(READER)

    assert keys.scopes_of_session(session) == {"read"}
    clock.now_s += 61
    assert keys.scopes_of_session(session) is None


def test_an_unknown_key_opens_no_session():
    assert Keys([KEY]).open_session("unknown-key") is None


def test_a_session_cannot_be_made_up_or_stretched():
    keys = Keys([f"{READER}:read", KEY])
    position, expires_s, signature = keys.open_session(READER).split(".")

    for forged in (
        None,
        "",
        ".",
        "..",
        f"1.{expires_s}.{signature}",
        f"{position}.{int(expires_s) + 1}.{signature}",
        f"{position}.{expires_s}.",
        f"{position}.{expires_s}.{signature}0",
        f"{position}.{expires_s}.é",
    ):
        assert keys.scopes_of_session(forged) is None


def test_a_session_holds_on_every_server_with_the_same_keys_and_on_no_other():
    given = [KEY, f"{READER}:read"]
    session = Keys(given).open_session(READER)

    assert Keys(given).scopes_of_session(session) == {"read"}
    for others in ([KEY], [*given, "one-more-key"], given[::-1], [KEY, READER], []):
        assert Keys(others).scopes_of_session(session) is None
