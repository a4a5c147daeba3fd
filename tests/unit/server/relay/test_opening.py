"""Where events may be forwarded to, and with which key."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from vision_event_block.cli.commands import app
from vision_event_block.server.relay.opening import BadForwarding, relaying


@pytest.fixture(autouse=True)
def _no_key(monkeypatch):
    monkeypatch.delenv("ROBOFLOW_API_KEY", raising=False)


def refusal(tmp_path, url, *, host="127.0.0.1", port=9100):
    """Why there is no relay to this address."""
    relay = relaying(url, None, tmp_path / "outbox", host=host, port=port)
    with pytest.raises(BadForwarding) as refused, relay:
        pass
    assert not (tmp_path / "outbox").exists()
    return str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.roboflow.com",
        "ftp://x.test",
        "http://",
        "http://x.test:0",
        "http://x.test:99999",
        "http://[::1",
        "https://x.test/?key=1",
        "https://x.test/#a",
    ],
)
def test_what_is_no_address_is_refused(tmp_path, url):
    assert "https://api.roboflow.com" in refusal(tmp_path, url)


def test_a_password_in_the_address_is_refused_and_not_repeated(tmp_path):
    assert "s3cret" not in refusal(tmp_path, "https://me:s3cret@x.test")


def test_another_machine_needs_a_key_that_can_be_sent(tmp_path, monkeypatch):
    assert "ROBOFLOW_API_KEY" in refusal(tmp_path, "https://api.roboflow.invalid")
    monkeypatch.setenv("ROBOFLOW_API_KEY", "schl\N{LATIN SMALL LETTER U WITH DIAERESIS}ssel")
    assert "ROBOFLOW_API_KEY" in refusal(tmp_path, "https://api.roboflow.invalid")


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://127.0.0.1:9100", "127.0.0.1"),
        ("http://localhost:9100/", "127.0.0.1"),
        ("http://127.0.0.1:9100", "localhost"),
        ("http://127.0.0.1:9100", "0.0.0.0"),
        ("http://127.0.0.2:9100", "0.0.0.0"),
    ],
)
def test_the_servers_own_address_is_refused(tmp_path, url, host):
    assert "own address" in refusal(tmp_path, url, host=host)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9101", "http://127.0.0.2:9100"])
def test_another_server_on_this_machine_is_none_of_its_own_and_needs_no_key(tmp_path, url):
    with relaying(url, None, tmp_path / "outbox", host="127.0.0.1", port=9100) as relay:
        assert relay.summary().waiting == 0


def test_without_an_address_there_is_no_relay_and_no_folder(tmp_path):
    with relaying(None, None, tmp_path / "outbox", host="127.0.0.1", port=9100) as relay:
        assert relay is None
    assert not (tmp_path / "outbox").exists()


def test_a_folder_that_cannot_be_used_ends_the_start(tmp_path):
    (tmp_path / "file").write_text("in the way")
    relay = relaying(
        "http://127.0.0.1:9101", None, tmp_path / "file" / "outbox", host="127.0.0.1", port=9100
    )
    with pytest.raises(BadForwarding, match="cannot be used"), relay:
        pass


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://api.roboflow.invalid", "ROBOFLOW_API_KEY"),
        ("http://127.0.0.1:9100", "own address"),
    ],
)
def test_the_command_says_in_one_line_that_it_was_called_wrongly(tmp_path, url, words):
    done = CliRunner().invoke(app, ["serve", "--data", str(tmp_path), "--forward-to", url])

    assert done.exit_code == 2
    assert words in done.output
    assert done.output.count("\n") == 1
