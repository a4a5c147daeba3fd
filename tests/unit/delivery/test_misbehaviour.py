"""A client trusts no answer that does not say that this very event was created."""

from __future__ import annotations

import time
import uuid
from datetime import datetime, timezone

import pytest

from tests.catalogue import CATALOGUE
from vision_event_block.delivery.client import Secret, Timeouts, VisionEventsClient
from vision_event_block.delivery.errors import VisionEventsError
from vision_event_block.testing import StandInApi

QUICK = Timeouts(connect_s=1.0, read_s=1.0)


@pytest.mark.parametrize("name", CATALOGUE)
def test_what_a_server_does_on_the_wire_delivers_nothing_that_it_does_not_keep(name):
    sent = [
        {
            "eventId": str(uuid.uuid4()),
            "eventType": "custom",
            "useCaseId": "dock",
            "timestamp": datetime.now(timezone.utc).isoformat(),
        }
        for _ in range(3)
    ]
    believed = set()
    with StandInApi() as api:
        client = VisionEventsClient(base_url=api.url, api_key=Secret("k"), timeouts=QUICK)
        how = CATALOGUE[name]
        # The script gets the right answer; so what it says is only true if that was carried out.
        api.misbehave(how, times=2, after_storing=how.moment == "read")
        for event in sent:
            started_s = time.monotonic()
            try:
                client.create(event)
            except VisionEventsError:
                continue
            else:
                believed.add(event["eventId"])
            finally:
                assert time.monotonic() - started_s < 20
        client.close()
        kept = set(api.events)

    assert believed <= kept
    if how.moment != "connected":  # else it met connections, and there may be a third
        assert sent[2]["eventId"] in believed
