"""Foreign text is shown on one line, without passwords, and does nothing to a terminal."""

from __future__ import annotations

import pytest

from vision_event_block.redaction import printable, without_passwords


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://ann:s3cret@box/v1", "https://***@box/v1"),
        ("https://s3cret@box", "https://***@box"),
        ("no way to http://a:b@c@box:80/x: refused", "no way to http://***@box:80/x: refused"),
        ("http://box/mail@elsewhere", "http://box/mail@elsewhere"),
        ("two: http://a:b@x, http://c:d@y", "two: http://***@x, http://***@y"),
        ("somebody@example", "somebody@example"),
        ("", ""),
    ],
)
def test_what_stands_before_the_at_sign_of_an_address_is_masked(text, shown):
    assert without_passwords(text) == shown


def test_without_passwords_takes_no_longer_for_hostile_text():
    assert without_passwords("://" * 200_000).startswith("://")
    assert without_passwords("http://" + "a" * 500_000).endswith("a")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("line 4, naïve 検査 👷", "line 4, naïve 検査 👷"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
        ("\x9b2J\x7f", r"\x9b2J\x7f"),
        ("abc\u202egpj.exe\u2066", r"abc\u202egpj.exe\u2066"),
        ("a\u2028b\u2029c\ud800", r"a\u2028b\u2029c\ud800"),
        ("a\u00a0b\u3000c", "a\u00a0b\u3000c"),
    ],
)
def test_control_characters_are_spelt_out_and_nothing_else_is(text, shown):
    assert printable(text) == shown
