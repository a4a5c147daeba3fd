"""The table of the states of an outbox in docs/operating.md is what its script brings about."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.host_environment import host_environment

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/operating.md").read_text(encoding="utf-8")
#: A table of every state takes a minute; these are made in each run of the tests.
SAMPLE = ["absent", "not ours", "empty", "events have waited", "key refused", "damaged", "the disk"]


def script(*names):
    return subprocess.run(
        [sys.executable, ROOT / "docs/outbox_states.py", *names],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
        env=host_environment(),
    )


def test_the_table_has_every_state_with_its_exit_codes():
    rows = re.findall(r"^\| (.+?) \| .+ \| (\d) \| .+ \| (\d) \| .* \| .* \|$", PAGE, re.MULTILINE)
    states = (ROOT / "docs/outbox_states.py").read_text(encoding="utf-8").count("    State(")

    assert len(rows) == states > 15
    assert {status for _, status, _ in rows} == {"0", "1", "2"}
    assert {doctor for *_, doctor in rows} == {"0", "1"}


@pytest.mark.timeout(500)
def test_the_rows_are_what_the_states_look_like():
    made = script(*([] if "TEST_SOAK" in os.environ and os.geteuid() == 0 else SAMPLE))

    assert made.returncode == 0, made.stdout + made.stderr
