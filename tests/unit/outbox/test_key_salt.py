"""The salt of an outbox: one for all processes, and nothing depends on it."""

from __future__ import annotations

import stat

import pytest

from vision_event_block.outbox.key_salt import NAME, key_salt, read_key_salt


def test_it_is_made_once_for_a_folder_that_is_not_there_yet(tmp_path):
    folder = tmp_path / "a" / "outbox"
    assert read_key_salt(folder) is None

    salt = key_salt(folder)

    assert len(salt) == 16
    assert key_salt(folder) == read_key_salt(folder) == salt
    assert key_salt(tmp_path / "another") != salt
    assert stat.S_IMODE((folder / NAME).stat().st_mode) == 0o600
    assert [path.name for path in folder.iterdir()] == [NAME]


@pytest.mark.parametrize("content", [b"", b"zz", b"ab", bytes(16), b"\xff" * 32])
def test_a_damaged_one_is_replaced(tmp_path, content):
    (tmp_path / NAME).write_bytes(content)
    assert read_key_salt(tmp_path) is None

    assert key_salt(tmp_path) == read_key_salt(tmp_path)


def test_where_none_can_be_kept_the_process_has_one(tmp_path):
    (tmp_path / "file").touch()

    salt = key_salt(tmp_path / "file" / "outbox")

    assert len(salt) == 16
    assert key_salt(tmp_path / "file" / "another") == salt
