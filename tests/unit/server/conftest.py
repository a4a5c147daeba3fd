"""A store on each of the databases that it can live in, and a clock that stands still."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from tests.unit.server.scenes import StandingClock
from vision_event_block.server.storage import Store

_DATABASES = ["sqlite", "postgresql"]


def _database_url(request):
    """None for the SQLite file in the store's folder, or the PostgreSQL database of a new store."""
    if request.param == "sqlite":
        return None
    return request.getfixturevalue("postgres").new_store_database()


@pytest.fixture(params=_DATABASES)
def database_url(request):
    return _database_url(request)


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
    return _with_use_cases(open_store())


@pytest.fixture(scope="module", params=_DATABASES)
def shared_store(request, tmp_path_factory):
    """Such a store for a module: its fixtures put events into it, and its tests only read."""
    url = _database_url(request)
    folder = tmp_path_factory.mktemp("shared")
    with Store.open(folder, database_url=url, lookback_days=None, clock=StandingClock()) as store:
        yield _with_use_cases(store)


def _with_use_cases(store):
    store.use_cases.create("Dock", id="dock")
    store.use_cases.create("Line", id="line")
    return store
