"""A store on each of the databases that it can live in, and a clock that stands still."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from tests.unit.server.scenes import StandingClock
from vision_event_block.server.storage import Store


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request):
    """None for the SQLite file in the store's folder, or the PostgreSQL database of a new store."""
    if request.param == "sqlite":
        return None
    return request.getfixturevalue("postgres").new_store_database()


@pytest.fixture
def clock():
    return StandingClock()


@pytest.fixture
def open_store(tmp_path, database_url, clock):
    """Opens the one store again and again, with other settings; closed after the test."""
    with ExitStack() as opened:

        def open_it(**settings):
            settings = {"lookback_days": None, "clock": clock, **settings}
            store = Store.open(tmp_path / "data", database_url=database_url, **settings)
            return opened.enter_context(store)

        yield open_it


@pytest.fixture
def store(open_store):
    """An empty store with the use cases "dock" and "line"."""
    store = open_store()
    store.use_cases.create("Dock", id="dock")
    store.use_cases.create("Line", id="line")
    return store
