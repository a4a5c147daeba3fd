"""What a command does that is run by root stays within reach of the host's user."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.unit.cli.entries import accounts, real_run

USER = 31_415
GROUP = 31_416
#: A host of that user that takes over what waits, and says what.
HOST = f"""
import os, sys
from pathlib import Path
from vision_event_block.outbox import clock
from vision_event_block.outbox.outbox import Outbox
from vision_event_block.outbox.quota import OutboxLimits
clock.boot_id()  # read here: the libraries of these tests may be out of that user's reach
os.setgid({GROUP})
os.setuid({USER})
outbox = Outbox(Path(sys.argv[1]), OutboxLimits(min_free_bytes=0))
entries = outbox.adopt()
for entry in entries:
    assert outbox.read(entry) is not None
    outbox.delivered(entry)
print(len(entries))
outbox.close()
"""

pytestmark = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may act for others"
)


@pytest.fixture
def tmp_path():
    """A folder that other users may pass through, as they may not pass through pytest's."""
    with tempfile.TemporaryDirectory(prefix="vision-events-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def owned(folder, tmp_path):
    """Gives an outbox to the user."""

    def give():
        for path in (tmp_path, folder, *folder.rglob("*")):
            os.chown(path, USER, GROUP)

    return give


def owners(folder):
    found = [path.stat() for path in (folder, *folder.rglob("*"))]
    return {(each.st_uid, each.st_gid) for each in found}


def modes(folder):
    return {(path.is_dir(), path.stat().st_mode & 0o777) for path in (folder, *folder.rglob("*"))}


@pytest.mark.parametrize("command", [["requeue", "--all"], ["drain"], ["recheck"]])
def test_the_host_gets_at_everything_after_a_command_of_root(
    run, orphans, api, folder, owned, command
):
    orphans(2, dead=2)
    (damaged, _) = sorted(folder.glob("slots/*/*.tar"))
    damaged.rename(folder / "corrupt" / damaged.name)
    owned()
    api.refuse()
    result = real_run(*command, *(["--timeout", 0.5] if command == ["drain"] else []))
    assert result.returncode in {0, 1}

    assert owners(folder) == {(USER, GROUP)}
    assert modes(folder) == {(True, 0o700), (False, 0o600)}
    before = accounts(run)
    host = subprocess.run(
        [sys.executable, "-c", HOST, str(folder)], capture_output=True, text=True, check=False
    )
    assert host.stdout == f"{before['pending']}\n", host.stderr
    after = accounts(run)
    assert (after["pending"], after["delivered"]) == (0, before["pending"])
    assert after["unaccounted"] == 0


def test_an_outbox_that_root_makes_for_a_user_is_the_users(folder, tmp_path, run, orphans):
    os.chown(tmp_path, USER, GROUP)
    orphans(1)
    assert owners(folder) == {(USER, GROUP)}


@pytest.mark.parametrize("is_named", [False, True], ids=["by the environment", "--outbox"])
def test_a_user_who_may_not_look_is_told_whose_it_is(orphans, folder, owned, is_named):
    orphans(1)
    owned()
    code = (
        "import os, sys; from vision_event_block.cli import commands, main, status; "
        "os.setgid(27182); os.setuid(27182); main()"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, "status", *(["--outbox", folder] if is_named else [])],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr == (
        f"{folder} cannot be read (Permission denied); run this as user {USER}, who owns it\n"
    )
