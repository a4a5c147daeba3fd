"""What tests of all rooms use."""

from __future__ import annotations

import gc
import os
import signal

import pytest

from tests.tools import missing
from vision_event_block.testing import StandInApi


def pytest_configure():
    """What is started in the background ignores Ctrl-C, and so would all that the tests start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish():
    """Thousands of tests and all that they import stay: the collector need not look again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def soak():
    """How many times longer than usual to try, from the variable TEST_SOAK."""
    return float(os.environ.get("TEST_SOAK", "1"))


@pytest.fixture
def api():
    """A Vision Events API on this machine."""
    with StandInApi() as api:
        yield api


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL server of this process's tests."""
    from tests.postgres import cluster, server_binaries  # noqa: PLC0415 - few tests need its driver

    binaries = server_binaries()
    if binaries is None:
        missing("PostgreSQL")
    with cluster(binaries) as running:
        yield running
