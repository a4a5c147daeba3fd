"""What a test needs beside Python and may not find."""

from __future__ import annotations

import os

import pytest


def missing(what):
    """Skips the test aloud; fails it in CI, where `tests/tools.sh` installs everything."""
    words = f"NOT TESTED: {what} is not installed"
    if os.environ.get("CI"):
        pytest.fail(words)
    pytest.skip(words)
