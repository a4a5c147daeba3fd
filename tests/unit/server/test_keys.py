"""The keys that a server is started with let in whom they should, and are never shown."""

from __future__ import annotations

import pytest

from vision_event_block.server.keys import ALL_SCOPES, MIN_KEY_CHARS, BadKey, Keys

KEY = "a-key-of-the-tests"
READER = "another-key-1"


def scopes_of(keys, key):
    found = keys.holder(key, b"")
    return None if found is None else found.scopes


def test_a_key_without_scopes_may_do_everything_and_one_with_scopes_only_that():
    keys = Keys([KEY, f"{READER}:read,write"])

    assert keys.in_force
    assert scopes_of(keys, KEY) == ALL_SCOPES
    assert scopes_of(keys, READER) == {"read", "write"}


@pytest.mark.parametrize(
    "key", [None, "", "x", KEY[:-1], KEY + "x", KEY.upper(), "\udc80", "é" * 9]
)
def test_no_other_key_is_known(key):
    assert scopes_of(Keys([KEY, READER]), key) is None
    assert scopes_of(Keys(), key) is None


SPELT = {
    "read": {"read"},
    "write": {"write"},
    "manage": {"manage"},
    "vision-events:read": {"read"},
    "vision-events:write": {"write"},
    "vision-events:manage": {"manage"},
    "visionEvents.read": {"read"},
    "visionEvents.write": {"write"},
    "visionEvents.manage": {"manage"},
    "device:read": {"read"},
    "device:update": {"write"},
    "device.read": {"read"},
    "device.update": {"write"},
    "vision-events:read,vision-events:write": {"read", "write"},
    "visionEvents.write,device:read,manage": {"read", "write", "manage"},
    "device:update,write": {"write"},
}


@pytest.mark.parametrize("scopes", SPELT)
def test_scopes_are_understood_as_the_documents_spell_them_and_end_up_in_no_key(scopes):
    keys = Keys([f"{KEY}:{scopes}"])

    assert scopes_of(keys, KEY) == SPELT[scopes]
    for wrong in (f"{KEY}:{scopes}", f"{KEY}:vision-events", f"{KEY}:device"):
        assert scopes_of(keys, wrong) is None


@pytest.mark.parametrize(
    "scopes",
    [
        "",
        ",",
        "read,",
        "Read",
        "all",
        "raed",
        "read,raed",
        "read write",
        "read, write",
        "device:create",
        "device:update:read",
        "vision-events",
        "vision-events:",
        "vision-events:update",
        "vision-events.read",
        "visionEvents:read",
        "workflow:read",
        "colon-of-a-key:read",
        "//a-key.invalid:read",
    ],
)
def test_an_unknown_scope_is_an_error_that_names_the_known_ones_and_not_the_key(scopes):
    with pytest.raises(BadKey, match="key 2 has an unknown scope") as refused:
        Keys([READER, f"{KEY}:{scopes}"])

    words = str(refused.value)
    for spelling in ("read", "vision-events:write", "visionEvents.manage", "device:update"):
        assert spelling in words
    assert KEY not in words
    assert "colon-of-a-key" not in words
    assert "a-key.invalid" not in words


@pytest.mark.parametrize("text", ["user:a-long-word-0123456789", "https://a-key.invalid/0123"])
def test_whoever_has_a_colon_in_a_key_hears_that_no_key_contains_one(text):
    with pytest.raises(BadKey, match="No key contains a colon"):
        Keys([text])


def test_a_key_that_is_given_twice_must_have_the_same_scopes():
    assert scopes_of(Keys([f"{KEY}:read", f"{KEY}:device.read", READER]), KEY) == {"read"}
    for others in ([KEY], [f"{KEY}:write"]):
        with pytest.raises(BadKey, match="more than once") as refused:
            Keys([f"{KEY}:read", *others])
        assert KEY not in str(refused.value)


@pytest.mark.parametrize(
    "text", ["", "short", "short:read", ":read", "with a space", "naïve-key-1"]
)
def test_a_key_that_cannot_protect_or_be_sent_is_refused_without_repeating_it(text):
    with pytest.raises(BadKey) as refused:
        Keys([text])

    assert not text or text not in str(refused.value)


@pytest.mark.parametrize(("chars", "is_short"), [(MIN_KEY_CHARS - 1, True), (MIN_KEY_CHARS, False)])
def test_a_key_that_others_could_guess_is_known_for_one(chars, is_short):
    assert Keys([KEY, "k" * chars]).has_short_ones is is_short


def test_a_key_is_nowhere_in_what_is_kept():
    keys = Keys([KEY])

    assert KEY not in repr(keys) + repr(vars(keys))


def test_the_id_of_a_key_is_the_same_on_servers_with_one_salt_and_on_no_other():
    first, second = Keys([KEY, READER]), Keys([f"{READER}:read", "one-more-key", f"{KEY}:write"])

    key_id = first.holder(KEY, b"salt").key_id

    assert second.scopes_of_id(key_id, b"salt") == {"write"}
    assert second.scopes_of_id(key_id, b"another salt") is None
    assert Keys([READER]).scopes_of_id(key_id, b"salt") is None
