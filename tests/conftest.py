"""What tests of all rooms use."""

from __future__ import annotations

import os

import pytest

from vision_event_block.testing import StandInApi


@pytest.fixture(scope="session")
def soak():
    """How many times longer than usual to try, from the variable TEST_SOAK."""
    return float(os.environ.get("TEST_SOAK", "1"))


@pytest.fixture
def api():
    """A Vision Events API on this machine."""
    with StandInApi() as api:
        yield api
