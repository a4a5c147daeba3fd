"""Keys of the database and sessions: whom they let in, for how long, and what is kept of them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from tests.unit.server.versions import as_version_1
from vision_event_block.server.auth import Admission
from vision_event_block.server.keys import ALL_SCOPES, Keys
from vision_event_block.server.store import schema
from vision_event_block.server.store.errors import DuplicateName, NoSuchKey
from vision_event_block.server.store.migrations import VERSION
from vision_event_block.server.store.sessions import MAX_SESSIONS, SESSION_LIFETIME_S
from vision_event_block.server.store.stored_keys import FRESH_S, StoredKeys

KEY = "a-key-of-the-tests"
READER = "a-key-that-may-only-read"


def admission_of(store, *given, always=False):
    return Admission(Keys(given), store.keys, store.sessions, always=always)


def rows_of(store, table):
    with store._database.reading() as connection:
        return connection.execute(select(table)).all()


# Keys


def test_without_keys_everybody_may_do_everything(store):
    admission = admission_of(store)

    assert not admission.in_force
    assert admission.scopes_of(None) == admission.scopes_of("whatever") == ALL_SCOPES


def test_where_a_key_is_needed_nobody_gets_in_without_one(store):
    admission = admission_of(store, always=True)

    assert admission.in_force
    assert admission.scopes_of(None) is None
    assert admission.scopes_of("whatever") is None


def test_a_key_that_is_made_opens_what_it_names_and_only_its_hash_is_kept(store):
    key = store.keys.new("line 1", ["write"])
    other = store.keys.new("office")

    admission = admission_of(store, KEY)
    assert admission.scopes_of(key) == {"write"}
    assert admission.scopes_of(other) == admission.scopes_of(KEY) == ALL_SCOPES
    assert admission.scopes_of(key[:-1]) is None
    assert len(key) > 40
    assert key not in str(rows_of(store, schema.api_keys))
    assert [each.name for each in store.keys.list()] == ["line 1", "office"]


def test_a_key_ends_when_it_was_told_to_and_locks_the_door_behind_it(store, clock):
    key = store.keys.new("visitor", ["read"], clock() + timedelta(hours=1))
    admission = admission_of(store)
    assert admission.scopes_of(key) == {"read"}

    clock.go(hours=1)

    assert admission.scopes_of(key) is None
    assert admission.scopes_of(None) is None
    assert not store.keys.list()[0].is_valid(clock())


def test_a_revoked_key_is_over_with_its_sessions_and_the_others_stay(store):
    key, other = store.keys.new("lost"), store.keys.new("kept")
    admission = admission_of(store)
    sessions = [admission.open_session(each) for each in (key, other)]

    store.keys.revoke("lost")
    store.keys.revoke("lost")  # once more does no harm

    assert [admission.scopes_of(each) for each in (key, other)] == [None, ALL_SCOPES]
    assert [admission.scopes_of_session(each) for each in sessions] == [None, ALL_SCOPES]


def test_the_last_key_locks_even_when_it_is_revoked_and_opens_when_it_is_forgotten(store):
    key = store.keys.new("only")
    admission = admission_of(store)

    store.keys.revoke("only")
    assert admission.in_force
    assert admission.scopes_of(key) is None

    store.keys.forget("only")
    assert not admission.in_force


def test_a_name_is_given_once_and_an_unknown_one_is_named(store, clock):
    store.keys.new("line 1")
    store.keys.revoke("line 1")

    with pytest.raises(DuplicateName, match="line 1"):
        store.keys.new("line 1")
    for call in (store.keys.revoke, store.keys.forget):
        with pytest.raises(NoSuchKey, match="nobody"):
            call("nobody")
    for name in ("", "x" * 65, "a\nb", "a\x1b[2J", "\ud800"):
        with pytest.raises(ValueError, match="printable"):
            store.keys.new(name)
    with pytest.raises(ValueError, match="expired already"):
        store.keys.new("late", expires_at=clock())


def test_a_server_follows_within_a_second_when_another_process_changes_the_keys(store, clock):
    now_s = 100.0
    elsewhere = StoredKeys(store._database, clock, timer=lambda: now_s)
    assert not elsewhere.in_force

    key = store.keys.new("line 1")
    now_s += FRESH_S
    assert elsewhere.holder(key).scopes == ALL_SCOPES

    store.keys.revoke("line 1")
    now_s += FRESH_S
    assert elsewhere.holder(key) is None


# Sessions


def test_a_session_stands_for_its_key_until_it_is_over(store, clock):
    admission = admission_of(store, KEY, f"{READER}:read")

    session = admission.open_session(READER)

    assert admission.scopes_of_session(session) == {"read"}
    clock.go(seconds=SESSION_LIFETIME_S)
    assert admission.scopes_of_session(session) is None


def test_an_unknown_key_opens_no_session(store):
    assert admission_of(store, KEY).open_session("unknown-key") is None
    assert rows_of(store, schema.sessions) == []


def test_who_logs_out_ends_the_session_and_no_other(store):
    admission = admission_of(store, KEY)
    one, another = admission.open_session(KEY), admission.open_session(KEY)

    admission.end_session(one)
    admission.end_session(None)
    admission.end_session("made up")

    assert admission.scopes_of_session(one) is None
    assert admission.scopes_of_session(another) == ALL_SCOPES


@pytest.mark.parametrize("forged", [None, "", ".", "x" * 43, "é", "\udc80", "0" * 10_000])
def test_a_session_cannot_be_made_up(store, forged):
    admission = admission_of(store, KEY)
    admission.open_session(KEY)

    assert admission.scopes_of_session(forged) is None


def test_neither_the_cookie_nor_the_database_holds_the_key_or_the_other(store):
    session = admission_of(store, KEY).open_session(KEY)

    kept = str(rows_of(store, schema.sessions) + rows_of(store, schema.session_salt))
    assert KEY not in session
    assert session not in kept
    assert KEY not in kept


def test_a_session_holds_on_every_server_that_has_its_key_and_the_database(store, open_store):
    session = admission_of(store, KEY, f"{READER}:read").open_session(READER)

    second = open_store()

    assert admission_of(second, f"{READER}:read", "one-more-key").scopes_of_session(session) == {
        "read"
    }
    assert admission_of(second, KEY).scopes_of_session(session) is None
    assert admission_of(second).scopes_of_session(session) is None


def test_the_oldest_sessions_of_a_key_make_room_and_old_ones_are_swept(store, clock):
    admission = admission_of(store, KEY, READER)
    first = admission.open_session(READER)
    opened = []
    for _ in range(MAX_SESSIONS + 1):
        clock.go(seconds=1)
        opened.append(admission.open_session(KEY))

    assert admission.scopes_of_session(opened[0]) is None
    assert admission.scopes_of_session(opened[1]) == ALL_SCOPES
    assert admission.scopes_of_session(first) == ALL_SCOPES
    clock.go(seconds=SESSION_LIFETIME_S)
    admission.open_session(KEY)
    assert len(rows_of(store, schema.sessions)) == 1


def test_a_database_from_before_there_were_keys_gets_them(store, open_store):
    as_version_1(store)

    upgraded = open_store()

    key = upgraded.keys.new("line 1")
    admission = admission_of(upgraded)
    assert admission.scopes_of_session(admission.open_session(key)) == ALL_SCOPES
    [row] = rows_of(upgraded, schema.version)
    assert row.number == VERSION
